//! `hallmarkd run`: starts core and fronts, watches over them, and starts again what ends. It reads the configuration and what its own
//! children say in a few words; nothing that comes from the network.
//!
//! It holds every listening socket: those of callers and operators, and the doors of the core. So whoever connects while a process
//! restarts waits, and is not refused.

mod child;
mod doors;
mod falls;
mod keeper;
mod spec;

use std::net::SocketAddr;

use tokio::runtime;

use self::{
    doors::Doors,
    keeper::{Keeper, Order},
    spec::Spec,
};
use crate::{
    arguments::RunArguments,
    files, hardening, logging, secrets,
    service_manager::{self, State},
    settings::Settings,
    signals::{Asked, Signals},
    stdout,
    trouble::Trouble,
    user::User,
};

/// Serves until it is told to stop.
pub(crate) fn run(arguments: &RunArguments) -> Result<(), Trouble> {
    hardening::close_to_others()?;
    logging::start(&arguments.logging)?;
    let settings = Settings::read(&arguments.start.file)?;
    let users = settings.users()?;
    match (&users, User::is_root()) {
        (Some(_), false) => return Err(Trouble::NotRoot),
        (Some(_), true) => {}
        (None, _) => tracing::warn!(
            "core and front are processes of the same user, who can read the files of both; hint: name users in [process]"
        ),
    }
    let secret = secrets::asked(&settings)?;
    if secret.is_some() {
        hardening::raise_limit_of_locked_memory();
        hardening::keep_out_of_swap();
    }
    let doors = Doors::open(users.as_ref())?;
    let specs = spec::specs(arguments, &settings, users.as_ref(), &doors, secret)?;
    // One thread, so that children end with this process and not with one of its threads (PR_SET_PDEATHSIG).
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| Trouble::Runtime { source })?;
    runtime.block_on(async {
        tokio::select! {
            ended = supervise(arguments, specs) => ended,
            () = service_manager::beat() => Ok(()),
        }
    })
}

/// The life of a daemon.
async fn supervise(arguments: &RunArguments, specs: spec::Specs) -> Result<(), Trouble> {
    let mut signals = Signals::listen()?;
    let mut core = Keeper::start(specs.core);
    let mut fronts = Vec::new();
    let lived = live(arguments, &mut core, specs.fronts, &mut fronts, &mut signals).await;
    service_manager::tell(State::Stopping);
    // Fronts first: what they have taken is still answered.
    let mut stopped = Vec::new();
    fronts.iter().for_each(|front| front.order(Order::Stop));
    for front in fronts {
        stopped.push(front.ended().await);
    }
    core.order(Order::Stop);
    stopped.push(core.ended().await);
    lived?;
    stopped.into_iter().collect::<Result<(), _>>().inspect(|()| tracing::info!("stopped"))
}

/// From the start until it is time to stop, for whatever reason.
async fn live(
    arguments: &RunArguments,
    core: &mut Keeper,
    fronts: Vec<Spec>,
    kept: &mut Vec<Keeper>,
    signals: &mut Signals,
) -> Result<(), Trouble> {
    tokio::select! {
        served = core.serves() => served?,
        () = signals.stop() => return Ok(()),
    };
    kept.extend(fronts.into_iter().map(Keeper::start));
    let mut addresses = Vec::new();
    for front in kept.iter_mut() {
        tokio::select! {
            served = front.serves() => addresses.extend(served?),
            () = signals.stop() => return Ok(()),
        }
    }
    announce(arguments, &addresses)?;
    loop {
        let (first, others) = kept.split_at_mut(1);
        let (front, operators) = (first.first_mut(), others.first_mut());
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop => {
                    tracing::info!("told to stop");
                    return Ok(());
                }
                Asked::Reload => [&*core].into_iter().chain(kept.iter()).for_each(|child| child.order(Order::Reload)),
            },
            ended = core.fails() => return ended,
            ended = fails(front) => return ended,
            ended = fails(operators) => return ended,
        }
    }
}

/// As [`Keeper::fails`], of one that there may be.
async fn fails(keeper: Option<&mut Keeper>) -> Result<(), Trouble> {
    match keeper {
        Some(keeper) => keeper.fails().await,
        None => std::future::pending().await,
    }
}

/// Everything serves: says so to everybody who wants to hear it.
fn announce(arguments: &RunArguments, addresses: &[SocketAddr]) -> Result<(), Trouble> {
    if let Some(path) = &arguments.ready_file {
        let lines = addresses.iter().fold(String::new(), |text, address| format!("{text}{address}\n"));
        files::replace(path, lines.as_bytes(), files::PUBLIC)?;
    }
    service_manager::tell(State::Ready);
    for (what, address) in ["serving", "operators"].into_iter().zip(addresses) {
        stdout::line(format!("{what} on {address}"));
    }
    Ok(())
}
