//! The runtime of a process that serves.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::trouble::Trouble;

/// How long a thread for slow work stays without any: a second one, which was wanted once, is not kept by the work that comes each second.
const IDLE_THREAD_STAYS: Duration = Duration::from_millis(900);

/// Starts one, with a thread for each processor.
pub(crate) fn start() -> Result<Runtime, Trouble> {
    let runtime = Builder::new_multi_thread().enable_all().thread_keep_alive(IDLE_THREAD_STAYS).build();
    runtime.map_err(|source| Trouble::Runtime { source })
}
