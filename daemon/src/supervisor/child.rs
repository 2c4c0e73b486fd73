//! One process: started, asked again and again whether it is alive, and ended.

use std::{
    fmt, io,
    net::SocketAddr,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream as StdStream, process::ExitStatusExt as _},
    },
    process::{ExitStatus, Stdio},
    time::Duration,
};

use command_fds::{CommandFdExt as _, FdMapping};
use hallmark_signer::PinDigest;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    process::{Child as Process, Command},
    time::{Instant, MissedTickBehavior, interval},
};

use super::spec::Spec;
use crate::{
    heart::{ALIVE, ASKED, SERVING},
    pins::{PINS_MAX, PINS_SOCKET, Pins, heard},
    secrets::{SECRET_SOCKET, handed_over},
};

/// Number of the first socket that a child is given (sd_listen_fds(3)).
const FIRST_SOCKET: i32 = 3;
/// What a child must not be told: who this process's service manager is.
const NOT_INHERITED: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];
/// How often a child is asked whether it is alive.
const ASK_INTERVAL: Duration = Duration::from_millis(500);
/// How long it may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);
/// The same for its first answer: until then it reads files.
const FIRST_ANSWER_TIME_MAX: Duration = Duration::from_secs(15);
/// How long it may take to stop; it answers what it has taken.
const STOP_TIME_MAX: Duration = Duration::from_secs(60);
/// Longest line that a child says, in bytes.
const LINE_BYTES_MAX: usize = 128;

/// A process that runs.
pub(super) struct Child {
    process: Process,
    socket: UnixStream,
    /// What it said of a line that has not ended.
    said: Vec<u8>,
    began: Instant,
    start_time_max: Duration,
    /// Whether it is believed of PINs: the core alone.
    is_core: bool,
    /// What it said of PINs that tokens refused.
    refused_pins: Vec<PinDigest>,
    /// Since when an answer is waited for.
    asked: Option<Instant>,
    has_answered: bool,
    serves: bool,
    stopping_since: Option<Instant>,
}

/// What happened.
pub(super) enum Happened {
    /// It serves, there if it is a front.
    Serves(Option<SocketAddr>),
    /// It is no more.
    Ended(How),
}

/// How a process ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    Exited(ExitStatus),
    /// It was killed, since it did not answer.
    Hung,
    /// It was killed, since it did not begin to serve in time.
    DidNotServe,
    /// It was killed, since it said what no child says.
    Babbled,
    /// It was killed, since it did not stop.
    DidNotStop,
}

impl Child {
    /// Starts a process; a core with what is remembered for it.
    pub(super) fn spawn(spec: &Spec, first: bool, pins: Option<&Pins>) -> io::Result<Self> {
        let (own, its) = StdStream::pair()?;
        own.set_nonblocking(true)?;
        let mut command = Command::new(&spec.program);
        command.arg0("hallmarkd").args(&spec.arguments).stdin(Stdio::from(OwnedFd::from(its))).kill_on_drop(true);
        // What is typed at a terminal is for the supervisor, which stops the others in order.
        command.process_group(0);
        if first {
            command.args(&spec.once);
        }
        if spec.has_environment {
            for variable in NOT_INHERITED {
                command.env_remove(variable);
            }
        } else {
            command.env_clear();
        }
        let clone = |(name, socket): &(&'static str, OwnedFd)| Ok((*name, socket.try_clone()?));
        let mut sockets = spec.sockets.iter().map(clone).collect::<io::Result<Vec<_>>>()?;
        if let Some(secret) = &spec.secret {
            sockets.push((SECRET_SOCKET, handed_over(secret)?));
        }
        if let Some(pins) = pins {
            sockets.push((PINS_SOCKET, pins.handed_over()?));
        }
        let names: Vec<_> = sockets.iter().map(|(name, _)| *name).collect();
        command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        let numbered = (FIRST_SOCKET..).zip(sockets);
        let mappings = numbered.map(|(child_fd, (_, parent_fd))| FdMapping { parent_fd, child_fd }).collect();
        command.fd_mappings(mappings).map_err(io::Error::other)?;
        Ok(Self {
            process: command.spawn()?,
            socket: UnixStream::from_std(own)?,
            said: Vec::new(),
            began: Instant::now(),
            start_time_max: spec.start_time_max,
            is_core: spec.is_core,
            refused_pins: Vec::new(),
            asked: None,
            has_answered: false,
            serves: false,
            stopping_since: None,
        })
    }

    /// Waits for something to happen. May be called again whether it came to an end or not.
    pub(super) async fn happens(&mut self) -> Happened {
        let mut ticks = interval(ASK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut buffer = [0; LINE_BYTES_MAX];
        loop {
            tokio::select! {
                ended = self.process.wait() => {
                    self.hear_out();
                    return Happened::Ended(How::Exited(ended.unwrap_or_default()));
                }
                read = self.socket.read(&mut buffer), if self.said.len() < LINE_BYTES_MAX => match read {
                    // It ends; how is heard above.
                    Ok(0) | Err(_) => self.said.resize(LINE_BYTES_MAX, 0),
                    Ok(bytes) => match self.hear(buffer.get(..bytes).unwrap_or_default()) {
                        Ok(None) => {}
                        Ok(Some(address)) => return Happened::Serves(address),
                        Err(Babble) => return self.killed(How::Babbled).await,
                    },
                },
                _ = ticks.tick() => if let Err(how) = self.ask().await {
                    return self.killed(how).await;
                }
            }
        }
    }

    /// Sends a signal.
    pub(super) fn signal(&mut self, signal: Signal) {
        if signal == Signal::TERM {
            self.stopping_since.get_or_insert_with(Instant::now);
        }
        if let Some(pid) = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// What it said of PINs that tokens refused.
    pub(super) fn refused_pins(&mut self) -> Vec<PinDigest> {
        std::mem::take(&mut self.refused_pins)
    }

    async fn killed(&mut self, how: How) -> Happened {
        drop(self.process.kill().await);
        self.hear_out();
        Happened::Ended(how)
    }

    /// Hears what it had said before it ended. Whatever else that was is over with it.
    fn hear_out(&mut self) {
        let mut buffer = [0; LINE_BYTES_MAX];
        while let Ok(bytes @ 1..) = rustix::io::read(&self.socket, &mut buffer) {
            if self.hear(buffer.get(..bytes).unwrap_or_default()).is_err() {
                return;
            }
        }
    }

    /// Asks whether it is alive, unless it has an answer to give; judges whether it took too long.
    async fn ask(&mut self) -> Result<(), How> {
        if let Some(since) = self.stopping_since {
            return if since.elapsed() > STOP_TIME_MAX { Err(How::DidNotStop) } else { Ok(()) };
        }
        if !self.serves && self.began.elapsed() > self.start_time_max {
            return Err(How::DidNotServe);
        }
        let time_max = if self.has_answered { ANSWER_TIME_MAX } else { FIRST_ANSWER_TIME_MAX };
        match self.asked {
            Some(since) if since.elapsed() > time_max => Err(How::Hung),
            Some(_) => Ok(()),
            None => {
                self.asked = Some(Instant::now());
                // A child that has gone is heard of otherwise.
                drop(self.socket.write_all(ASKED.as_bytes()).await);
                Ok(())
            }
        }
    }

    /// What it says: that it is alive, or once that it serves; a core also that a PIN was refused.
    fn hear(&mut self, bytes: &[u8]) -> Result<Option<Option<SocketAddr>>, Babble> {
        let mut serves = None;
        for byte in bytes {
            self.said.push(*byte);
            if *byte != b'\n' {
                if self.said.len() >= LINE_BYTES_MAX { return Err(Babble) } else { continue }
            }
            let line = std::mem::take(&mut self.said);
            if line == ALIVE.as_bytes() && self.asked.take().is_some() {
                self.has_answered = true;
            } else if let Some(address) = serving(&line).filter(|_| !self.serves) {
                self.serves = true;
                serves = Some(address);
            } else if let Some(digest) = heard(&line).filter(|_| self.is_core && self.refused_pins.len() < PINS_MAX) {
                self.refused_pins.push(digest);
            } else {
                return Err(Babble);
            }
        }
        Ok(serves)
    }
}

/// Something that no child says.
struct Babble;

/// Where it serves, if a line says that it does.
fn serving(line: &[u8]) -> Option<Option<SocketAddr>> {
    let rest = std::str::from_utf8(line).ok()?.strip_suffix('\n')?.strip_prefix(SERVING)?;
    match rest.strip_prefix(' ') {
        Some(address) => address.parse().ok().map(Some),
        None => rest.is_empty().then_some(None),
    }
}

impl How {
    /// Whether it ended without having said why.
    pub(super) fn is_crash(self) -> bool {
        match self {
            Self::Exited(status) => !matches!(status.code(), Some(0 | FAILED)),
            Self::Hung | Self::DidNotServe | Self::Babbled | Self::DidNotStop => true,
        }
    }

    /// Whether it says that another start could do harm.
    pub(super) fn is_final(self) -> bool {
        matches!(self, Self::Exited(status) if status.code() == Some(crate::NOT_AGAIN.into()))
    }

    /// Whether it stopped in order, or before it had anything to stop.
    pub(super) fn is_in_order(self) -> bool {
        matches!(self, Self::Exited(status) if status.success() || status.signal() == Some(Signal::TERM.as_raw()))
    }
}

/// Exit code of a process that has said in a sentence why it ends.
const FAILED: i32 = 1;

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => match (status.code(), status.signal()) {
                (Some(code), _) => write!(f, "exit code {code}"),
                (None, Some(signal)) => write!(f, "signal {signal}"),
                (None, None) => f.write_str("nobody knows how"),
            },
            Self::Hung => write!(f, "it did not answer in time, and was killed"),
            Self::DidNotServe => f.write_str("it did not serve within `start-time-max` of [process], and was killed"),
            Self::Babbled => f.write_str("it said what none of these processes says, and was killed"),
            Self::DidNotStop => write!(f, "it did not stop within {} s, and was killed", STOP_TIME_MAX.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_says_is_read_strictly() {
        assert_eq!(serving(b"serving\n"), Some(None));
        assert_eq!(serving(b"serving 127.0.0.1:4443\n"), Some(Some(SocketAddr::from(([127, 0, 0, 1], 4_443)))));
        for line in
            ["serving", "serving \n", "serving localhost:1\n", "serving 1.2.3.4\n", "servingx\n", "\n", "\u{ff}\n"]
        {
            assert_eq!(serving(line.as_bytes()), None, "{line:?}");
        }
    }
}
