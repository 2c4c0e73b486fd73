//! fsync and fdatasync, counted. Where the module is preloaded (LD_PRELOAD), these stand before those of the C library; they
//! count once the process has loaded it as its PKCS #11 module, too.

use std::sync::atomic::Ordering::Relaxed;

use libc::{SYS_fdatasync, SYS_fsync, c_int, c_long, syscall};

use super::STATE;

/// As fsync(2).
#[unsafe(no_mangle)]
pub(crate) extern "C" fn fsync(file: c_int) -> c_int {
    count(SYS_fsync, file)
}

/// As fdatasync(2).
#[unsafe(no_mangle)]
pub(crate) extern "C" fn fdatasync(file: c_int) -> c_int {
    count(SYS_fdatasync, file)
}

fn count(call: c_long, file: c_int) -> c_int {
    if let Some(Some(state)) = STATE.get() {
        state.board.syncs.fetch_add(1, Relaxed);
    }
    // SAFETY: both calls take the number of a file and touch no memory of this process; `syscall` sets errno as they would.
    let answer = unsafe { syscall(call, file) };
    // 0 or -1.
    if answer == 0 { 0 } else { -1 }
}
