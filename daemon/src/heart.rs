//! A child's side of its supervisor's socket: it says when it serves, and answers for as long as it is alive.

use std::{future::pending, io, net::SocketAddr, os::fd::AsFd as _, os::unix::net::UnixStream as StdStream};

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    sync::watch,
};

use crate::{service_manager, service_manager::State, trouble::Trouble};

/// What the supervisor asks.
pub(crate) const ASKED: &str = "alive?\n";
/// What is answered.
pub(crate) const ALIVE: &str = "alive\n";
/// What is said once, when the process serves; behind it may stand where.
pub(crate) const SERVING: &str = "serving";

/// Who is told how this process does: its supervisor, or the service manager.
pub(crate) struct Heart {
    supervisor: Option<StdStream>,
    serving: watch::Sender<Option<Serving>>,
}

/// That it serves, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Serving {
    pub(crate) address: Option<SocketAddr>,
}

impl Heart {
    /// If there is a supervisor, its end is this process's end from here on. To be called before there are threads.
    pub(crate) fn of(supervised: bool) -> Result<Self, Trouble> {
        let serving = watch::Sender::new(None);
        if !supervised {
            return Ok(Self { supervisor: None, serving });
        }
        let supervisor = || {
            let stream = StdStream::from(io::stdin().as_fd().try_clone_to_owned()?);
            stream.set_nonblocking(true)?;
            set_parent_process_death_signal(Some(Signal::KILL))?;
            Ok(stream)
        };
        let supervisor = supervisor().map_err(|source| Trouble::Supervisor { source })?;
        // One that was lost before that is missed when its socket has ended.
        Ok(Self { supervisor: Some(supervisor), serving })
    }

    /// Another end of the line to the supervisor, for what is said from any thread; none without a supervisor.
    pub(crate) fn line(&self) -> Result<Option<StdStream>, Trouble> {
        let line = self.supervisor.as_ref().map(StdStream::try_clone).transpose();
        line.map_err(|source| Trouble::Supervisor { source })
    }

    /// Says that it serves.
    pub(crate) fn serves(&self, address: Option<SocketAddr>) {
        self.serving.send_replace(Some(Serving { address }));
        if self.supervisor.is_none() {
            service_manager::tell(State::Ready);
        }
    }

    /// Answers the supervisor; resolves when there is none any more. Needs a runtime, whose health this is a sign of.
    pub(crate) async fn beat(&self) {
        let Some(supervisor) = &self.supervisor else {
            return service_manager::beat().await;
        };
        let Ok(stream) = supervisor.try_clone().and_then(UnixStream::from_std) else { return pending().await };
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        let mut serving = self.serving.subscribe();
        // It may have been said before somebody listened.
        serving.mark_changed();
        loop {
            let said = tokio::select! {
                line = lines.next_line() => match line {
                    Ok(Some(_)) => write.write_all(ALIVE.as_bytes()).await,
                    Ok(None) | Err(_) => return,
                },
                Ok(()) = serving.changed() => {
                    let said = serving.borrow_and_update().map(|serving| match serving.address {
                        Some(address) => format!("{SERVING} {address}\n"),
                        None => format!("{SERVING}\n"),
                    });
                    write.write_all(said.unwrap_or_default().as_bytes()).await
                }
            };
            if said.is_err() {
                return;
            }
        }
    }
}
