//! `hallmarkd core`: the process that holds keys, policy and ledger. It takes frames from the doors that it was given, and nothing else.
//!
//! The doors are listening sockets of whoever started it, so that fronts can connect while it restarts: they wait.

use std::{
    env,
    io::Write as _,
    os::unix::net::{UnixDatagram, UnixListener},
    sync::Arc,
    time::Duration,
};

use hallmark_signer::{Core, PinDigest, RefusedPins};
use listenfd::ListenFd;
use rustix::process::{Signal, getpid, kill_process};
use secrecy::SecretString;
use tokio::{
    runtime::Handle,
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

use crate::{
    arguments::CoreArguments,
    child_process::{begin, until_orphaned},
    confine::confine,
    door::{Answers, Door, Quiet},
    hang::Hang,
    hardening,
    heart::Heart,
    link::{ForCallers, ForOperators},
    own_files,
    pins::{self, PINS_SOCKET},
    probe::{PROBE_INTERVAL, PROBE_TIME_MAX, Probe, ability},
    secrets::{SECRET_SOCKET, taken},
    service_manager::{self, State},
    settings::Settings,
    signals::{Asked, Signals},
    starting::{self, Starting},
    trouble::Trouble,
};

/// Name of the callers' door among the sockets.
pub(crate) const CALLERS_DOOR: &str = "callers";
/// Name of the operators' door.
pub(crate) const OPERATORS_DOOR: &str = "operators";
/// Connections that wait at a door while nobody attends it.
const BACKLOG: i32 = 64;
/// How often is looked whether a log-in was refused.
const PIN_LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long the last answers may take to be read by the fronts.
const FAREWELL_TIME: Duration = Duration::from_secs(1);

/// Serves until it is told to stop.
pub(crate) fn core(arguments: &CoreArguments) -> Result<(), Trouble> {
    // While it is root's, if it is.
    hardening::raise_limit_of_locked_memory();
    let heart = begin(&arguments.supervised, &arguments.logging)?;
    hardening::keep_out_of_swap();
    let (doors, Kept { secret, pins }) = Doors::inherited()?;
    let refused_pins = pins.map(|socket| pins_in(&socket, &heart)).transpose()?.flatten();
    let settings = Settings::read(&arguments.start.file)?;
    confine(&own_files::of_core(&settings))?;
    let starting = Starting::read(&settings, &arguments.start, secret)?.remembering(refused_pins);
    until_orphaned(&heart, live(&heart, starting, doors, &settings))
}

/// What the supervisor remembers of PINs that tokens refused. It is told of one more at once, from whichever thread hears of it, so that it knows also of
/// what this process did not live to say.
fn pins_in(socket: &UnixDatagram, heart: &Heart) -> Result<Option<RefusedPins>, Trouble> {
    let Some(line) = heart.line()? else { return Ok(None) };
    let tell = move |digest: PinDigest| {
        // One write, which nothing else on this line comes between.
        if let Err(error) = (&line).write_all(pins::said(&digest).as_bytes()) {
            tracing::error!(%error, "the supervisor is not told that a PIN was refused: the next core may try it once more");
        }
    };
    pins::taken(socket, tell).map(Some)
}

async fn live(heart: &Heart, starting: Starting, doors: Doors, settings: &Settings) -> Result<(), Trouble> {
    let mut signals = Signals::listen()?;
    let core = tokio::select! {
        core = start(starting) => core?,
        () = signals.stop() => {
            tracing::info!("the core is told to stop before it served");
            return Ok(());
        }
    };
    let served = serve(heart, &core, doors, settings, &mut signals).await;
    served.inspect(|()| tracing::info!("the core has stopped"))
}

/// Starts in a thread of its own: a ledger that recovers and a device that is slow to open hold up neither the heart nor a signal.
async fn start(starting: Starting) -> Result<Arc<Core>, Trouble> {
    let started = spawn_blocking(move || Handle::current().block_on(starting.start())).await;
    started.unwrap_or_else(|_| {
        Err(Trouble::CoreFailed { sentence: "the start failed; this is a fault of the daemon".to_owned() })
    })
}

/// Attends the doors until a signal says stop and the calls under way are answered.
async fn serve(
    heart: &Heart,
    core: &Arc<Core>,
    doors: Doors,
    settings: &Settings,
    signals: &mut Signals,
) -> Result<(), Trouble> {
    let (tell, serving) = watch::channel(false);
    let mut probe = Probe::new(ability(core), move |serves| _ = tell.send_replace(serves), PROBE_TIME_MAX);
    probe.look().await;
    let attended = doors.attended(core, &serving, settings)?;
    heart.serves(None);
    let hang = Hang::new();
    let ended = tokio::select! {
        () = reload_until_stop(signals, core) => Ok(()),
        sentence = core.failed() => Err(Trouble::CoreFailed { sentence }),
        sentence = hang.given_up() => give_up(&sentence),
        () = pin_refused(core) => Err(Trouble::PinRefused),
        () = hang.watch(core) => Ok(()),
        () = probe.watch(PROBE_INTERVAL) => Ok(()),
    };
    service_manager::tell(State::Stopping);
    core.stop().await;
    attended.farewell().await;
    ended
}

/// Waits until a log-in was refused. Then nothing is signed any more, and the end of this process must not lead to the next attempt.
async fn pin_refused(core: &Core) {
    while !core.pin_is_refused() {
        sleep(PIN_LOOK_INTERVAL).await;
    }
}

async fn reload_until_stop(signals: &mut Signals, core: &Core) {
    while signals.next().await == Asked::Reload {
        starting::reload_policy(core).await;
    }
    tracing::info!("the core is told to stop");
}

/// Ends the process at once: threads that hang in a vendor's module let nothing end in order. The ledger is durable; whoever watches
/// starts the next.
fn give_up(sentence: &str) -> Result<(), Trouble> {
    tracing::error!("the core ends itself: {sentence}; its successor goes on from the ledger");
    let _ = kill_process(getpid(), Signal::KILL);
    Err(Trouble::CoreFailed { sentence: sentence.to_owned() })
}

/// What a supervisor keeps for its cores.
struct Kept {
    /// The secret of the key backend, if it was typed or is a credential.
    secret: Option<SecretString>,
    /// The socket with what it remembers of PINs that tokens refused.
    pins: Option<UnixDatagram>,
}

/// The sockets that fronts connect to.
struct Doors {
    callers: UnixListener,
    operators: Option<UnixListener>,
}

impl Doors {
    /// Those that this process was given (sd_listen_fds(3)), and what a supervisor keeps for it.
    fn inherited() -> Result<(Self, Kept), Trouble> {
        // The names must be read before: they are no use to anybody later.
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut sockets = ListenFd::from_env();
        let place = |wanted: &str| names.split(':').position(|name| name == wanted);
        let broken = |source| Trouble::Door { source };
        let mut take = |wanted| place(wanted).map_or(Ok(None), |place| sockets.take_unix_listener(place));
        let callers = take(CALLERS_DOOR).map_err(broken)?.ok_or(Trouble::NoDoor)?;
        let operators = take(OPERATORS_DOOR).map_err(broken)?;
        let mut take = |wanted| place(wanted).map_or(Ok(None), |place| sockets.take_unix_datagram(place));
        let secret = take(SECRET_SOCKET).map_err(broken)?.map(|socket| taken(&socket)).transpose()?;
        let pins = take(PINS_SOCKET).map_err(broken)?;
        Ok((Self { callers, operators }, Kept { secret, pins }))
    }

    fn attended(
        self,
        core: &Arc<Core>,
        serving: &watch::Receiver<bool>,
        settings: &Settings,
    ) -> Result<Attended, Trouble> {
        let mut attended = Attended { doors: JoinSet::new(), quiet: Vec::new() };
        let mut attend = |listener: UnixListener, uid: u32, answers: Arc<dyn Answers>| {
            // Listening again makes the socket this process's: fronts look whose it is (unix(7), SO_PEERCRED).
            rustix::net::listen(&listener, BACKLOG).map_err(|error| Trouble::Door { source: error.into() })?;
            let door = Door::new(listener, uid, answers).map_err(|source| Trouble::Door { source })?;
            attended.quiet.push(door.quiet());
            attended.doors.spawn(door.attend());
            Ok::<_, Trouble>(())
        };
        let (core, serving) = (Arc::clone(core), serving.clone());
        let callers = ForCallers { core: Arc::clone(&core), serving: serving.clone() };
        attend(self.callers, settings.front_uid()?, Arc::new(callers))?;
        if let Some(operators) = self.operators {
            attend(operators, settings.operators_uid()?, Arc::new(ForOperators { core, serving }))?;
        }
        Ok(attended)
    }
}

/// Doors that are attended, until this is dropped.
struct Attended {
    doors: JoinSet<()>,
    quiet: Vec<Quiet>,
}

impl Attended {
    /// Waits until the fronts have what the last calls were answered.
    async fn farewell(mut self) {
        let quiet = async {
            for quiet in &self.quiet {
                quiet.come().await;
            }
        };
        if timeout(FAREWELL_TIME, quiet).await.is_err() {
            tracing::warn!("answers were still unread by a front when the core stopped");
        }
        self.doors.shutdown().await;
    }
}
