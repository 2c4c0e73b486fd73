//! Keeps one child running until it is told to stop, or nothing helps.

use std::{future::pending, net::SocketAddr, time::Duration};

use rustix::process::Signal;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    child::{Child, Happened, How},
    falls::{Falls, Next},
    spec::Spec,
};
use crate::{pins::Pins, trouble::Trouble};

/// What a child is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Reload,
    Stop,
}

/// The hand on a child.
pub(super) struct Keeper {
    orders: mpsc::UnboundedSender<Order>,
    served: watch::Receiver<Served>,
    kept: JoinHandle<Result<(), Trouble>>,
    ended: Option<Result<(), Trouble>>,
}

/// Whether it has served, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    NotYet,
    There(Option<SocketAddr>),
}

impl Keeper {
    pub(super) fn start(spec: Spec) -> Self {
        let (orders, told) = mpsc::unbounded_channel();
        let (tell, served) = watch::channel(Served::NotYet);
        let kept = tokio::spawn(keep(spec, told, tell));
        Self { orders, served, kept, ended: None }
    }

    pub(super) fn order(&self, order: Order) {
        // One that has ended needs no order.
        let _ = self.orders.send(order);
    }

    /// Waits until it serves for the first time; where, if it is a front.
    pub(super) async fn serves(&mut self) -> Result<Option<SocketAddr>, Trouble> {
        let mut served = self.served.clone();
        let there = async {
            match served.wait_for(|served| *served != Served::NotYet).await.map(|served| *served) {
                Ok(Served::There(address)) => address,
                Ok(Served::NotYet) | Err(_) => pending().await,
            }
        };
        tokio::select! {
            address = there => Ok(address),
            ended = self.fails() => ended.map(|()| None),
        }
    }

    /// Waits until nothing helps any more.
    pub(super) async fn fails(&mut self) -> Result<(), Trouble> {
        if self.ended.is_some() {
            return pending().await;
        }
        let ended = (&mut self.kept).await.unwrap_or(Ok(()));
        self.ended = Some(Ok(()));
        ended
    }

    /// Waits until it has stopped.
    pub(super) async fn ended(mut self) -> Result<(), Trouble> {
        match self.ended.take() {
            Some(ended) => ended,
            None => self.kept.await.unwrap_or(Ok(())),
        }
    }
}

async fn keep(
    spec: Spec,
    mut orders: mpsc::UnboundedReceiver<Order>,
    tell: watch::Sender<Served>,
) -> Result<(), Trouble> {
    let (what, mut falls, mut first) = (spec.what, Falls::default(), true);
    let pins = spec.is_core.then(Pins::new).transpose();
    let mut pins = pins.map_err(|source| Trouble::Spawn { what, source })?;
    loop {
        let began = Instant::now();
        let (told, crashed) = match Child::spawn(&spec, first, pins.as_ref()) {
            Ok(mut child) => {
                let (how, stopping) = run(&mut child, &mut orders, &tell, (what, first, began)).await;
                if let Some(pins) = &mut pins {
                    child.refused_pins().into_iter().for_each(|digest| pins.remember(digest));
                }
                let told = how.to_string();
                if stopping {
                    return if how.is_in_order() { Ok(()) } else { Err(Trouble::NotStopped { what, how: told }) };
                }
                // The core alone is believed in this: a front says what it likes.
                if spec.is_core && how.is_final() {
                    return Err(Trouble::NotAgain { what, how: told });
                }
                if *tell.borrow() == Served::NotYet {
                    return Err(Trouble::NotStarted { what, how: told });
                }
                first = false;
                (told, how.is_crash())
            }
            // Processes and files of this machine may be there again in a moment.
            Err(error) if *tell.borrow() != Served::NotYet => (format!("it cannot be started: {error}"), false),
            Err(source) => return Err(Trouble::Spawn { what, source }),
        };
        // A front that comes down again and again is started again and again: its end is not the core's.
        match falls.fall(crashed && spec.is_core, Instant::now()) {
            Next::GiveUp(times) => return Err(Trouble::GaveUp { what, times, how: told }),
            Next::After(pause) => {
                tracing::error!("the {what} ended ({told}); it is started again{}", after(pause));
                if stopped_within(pause, &mut orders).await {
                    return Ok(());
                }
            }
        }
    }
}

fn after(pause: Duration) -> String {
    if pause.is_zero() { String::new() } else { format!(" in {} ms", pause.as_millis()) }
}

/// Until the child ends; how, and whether it was told to.
async fn run(
    child: &mut Child,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    tell: &watch::Sender<Served>,
    (what, first, began): (&'static str, bool, Instant),
) -> (How, bool) {
    let (mut stopping, mut serves, mut reload) = (false, false, false);
    loop {
        tokio::select! {
            happened = child.happens() => match happened {
                Happened::Ended(how) => return (how, stopping),
                Happened::Serves(address) => {
                    tell.send_replace(Served::There(address));
                    serves = true;
                    if reload {
                        child.signal(Signal::HUP);
                    }
                    if !first {
                        tracing::info!("the {what} serves again after {} ms", began.elapsed().as_millis());
                    }
                }
            },
            order = orders.recv(), if !stopping => match order {
                // Before it serves, a process does not hear this signal, and ends by it.
                Some(Order::Reload) if serves => child.signal(Signal::HUP),
                Some(Order::Reload) => reload = true,
                Some(Order::Stop) | None => {
                    stopping = true;
                    child.signal(Signal::TERM);
                }
            }
        }
    }
}

/// Whether it is told to stop meanwhile. What it is told otherwise, its next process reads anyhow.
async fn stopped_within(pause: Duration, orders: &mut mpsc::UnboundedReceiver<Order>) -> bool {
    let stop = async { while let Some(Order::Reload) = orders.recv().await {} };
    tokio::select! {
        biased;
        () = stop => true,
        () = sleep(pause) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, os::unix::fs::symlink, path::Path};

    use super::*;
    use crate::pins;

    /// What tells this test program which child it plays.
    const WRONG_PIN: &str = "ends-as-a-core-with-a-wrong-pin";
    const SERVES: &str = "serves-and-ends-with-a-sentence";
    const REFUSES: &str = "serves-and-says-that-a-pin-was-refused-and-ends-at-once-unless-it-was-told-so";

    fn spec(is_core: bool, plays: &str) -> Spec {
        let arguments = ["--exact", "supervisor::keeper::tests::played", "--skip", plays, "--nocapture"];
        Spec {
            what: "played",
            program: "/proc/self/exe".into(),
            is_core,
            start_time_max: Duration::from_secs(60),
            arguments: arguments.map(Into::into).into(),
            once: Vec::new(),
            sockets: Vec::new(),
            secret: None,
            has_environment: true,
        }
    }

    #[test]
    fn played() {
        let plays = |what: &str| std::env::args().any(|argument| argument == what);
        if plays(WRONG_PIN) {
            std::process::exit(crate::NOT_AGAIN.into());
        }
        if plays(REFUSES) {
            std::process::exit(refuses());
        }
        if plays(SERVES) {
            let supervisor = crate::heart::Heart::of(true).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            supervisor.serves(None);
            let lived =
                runtime.block_on(async { tokio::time::timeout(Duration::from_millis(500), supervisor.beat()).await });
            std::process::exit(i32::from(lived.is_err()));
        }
    }

    /// A core that serves, has a PIN refused and ends; one that was told of it before ends as after a wrong PIN.
    fn refuses() -> i32 {
        const LIFE: Duration = Duration::from_millis(500);
        let supervisor = crate::heart::Heart::of(true).unwrap();
        let socket = listenfd::ListenFd::from_env().take_unix_datagram(0).unwrap().unwrap();
        let known = format!("{:?}", pins::taken(&socket, drop).unwrap());
        if known.contains("(1 of them)") {
            return crate::NOT_AGAIN.into();
        }
        let mut line = supervisor.line().unwrap().unwrap();
        line.write_all(b"serving\n").unwrap();
        std::thread::sleep(LIFE);
        line.write_all(pins::said(&[9; hallmark_signer::PIN_DIGEST_BYTES]).as_bytes()).unwrap();
        1
    }

    #[tokio::test]
    async fn what_a_core_said_of_a_pin_with_its_last_breath_the_next_one_is_told() {
        let mut core = Keeper::start(spec(true, REFUSES));
        core.serves().await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(30), core.fails()).await.expect("the next one knows");
        assert!(matches!(ended, Err(Trouble::NotAgain { .. })), "{ended:?}");
    }

    #[tokio::test]
    async fn a_core_is_believed_that_another_start_does_harm_also_before_it_served_and_a_front_is_not() {
        let core = Keeper::start(spec(true, WRONG_PIN)).serves().await;
        assert!(matches!(core, Err(Trouble::NotAgain { .. })), "{core:?}");
        let front = Keeper::start(spec(false, WRONG_PIN)).serves().await;
        assert!(matches!(front, Err(Trouble::NotStarted { .. })), "{front:?}");
    }

    #[tokio::test]
    async fn a_program_that_cannot_be_started_for_a_while_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        let own = fs::read_link("/proc/self/exe").unwrap();
        let there = |target: &Path| {
            drop(fs::remove_file(&program));
            symlink(target, &program).unwrap();
        };
        there(&own);
        let mut keeper = Keeper::start(Spec { program: program.clone(), ..spec(true, SERVES) });
        assert_eq!(keeper.serves().await.unwrap(), None);
        there(Path::new("/nobody/is/here"));
        // It ends after half a second, and its next starts find nothing.
        let failed = tokio::time::timeout(Duration::from_secs(2), keeper.fails()).await;
        assert!(failed.is_err(), "{failed:?}");
        there(&own);
        keeper.served.mark_unchanged();
        tokio::time::timeout(Duration::from_secs(30), keeper.served.changed()).await.expect("it serves again").unwrap();
        keeper.order(Order::Stop);
        drop(keeper.ended().await);
    }
}
