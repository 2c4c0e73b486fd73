//! What the processes have in common that a supervisor or a service manager starts: how they begin, and that they end when nobody watches
//! over them any more.

use crate::{
    arguments::{LogArguments, SupervisedArguments},
    hardening,
    heart::Heart,
    logging, runtime,
    trouble::Trouble,
};

/// Closes the process to others, becomes its user for good, and hears its supervisor. To be called while there is one thread.
pub(crate) fn begin(supervised: &SupervisedArguments, logging: &LogArguments) -> Result<Heart, Trouble> {
    hardening::close_to_others()?;
    if let Some(user) = &supervised.become_user {
        user.become_for_good()?;
        // Becoming another user opened it again.
        hardening::close_to_others()?;
    }
    let heart = Heart::of(supervised.supervised)?;
    logging::start(logging)?;
    Ok(heart)
}

/// Lives in a runtime of its own, to the end or until the supervisor is gone. What hangs in a thread does not hold up the end.
pub(crate) fn until_orphaned(heart: &Heart, life: impl Future<Output = Result<(), Trouble>>) -> Result<(), Trouble> {
    let runtime = runtime::start()?;
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = life => ended,
            () = heart.beat() => Err(Trouble::Supervisor { source: std::io::ErrorKind::NotConnected.into() }),
        }
    });
    runtime.shutdown_background();
    ended
}
