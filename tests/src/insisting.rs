//! Callers at the same time, each of whom asks until it has what it wants, while the key's device goes and comes.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::daemon::{Daemon, Laboratory};

/// How long a caller tries.
pub const AMPLE: Duration = Duration::from_secs(60);

/// Callers at the same time.
pub const CALLERS: usize = 4;

/// Certificates that each wants.
pub const CERTIFICATES: usize = 4;

/// How far they are.
#[derive(Debug, Default)]
pub struct Insisting {
    minted: AtomicUsize,
    refused: AtomicUsize,
}

impl Insisting {
    /// Waits until so many certificates were minted.
    pub fn until_minted(&self, count: usize) {
        until("nothing is minted", || self.minted.load(Ordering::SeqCst) >= count);
    }

    /// Waits until another request is refused.
    pub fn until_refused(&self) {
        let before = self.refused.load(Ordering::SeqCst);
        until("somebody is answered although nobody can sign", || self.refused.load(Ordering::SeqCst) > before);
    }
}

fn until(otherwise: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < AMPLE, "{otherwise}");
        thread::yield_now();
    }
}

/// Asks once for a certificate to a CSR of the laboratory; whether it was minted.
#[must_use]
pub fn mint_once(laboratory: &Laboratory, daemon: &Daemon, csr: &str, out: &str) -> bool {
    let mut mint = laboratory.hallmark(daemon);
    mint.args(["mint", "--profile", "athenz-service", "--csr"]).arg(laboratory.path(csr));
    mint.arg("--out").arg(laboratory.path(out)).output().expect("the program starts").status.success()
}

/// Has every caller insist on its certificates, and meanwhile does what `meanwhile` does. Gives the names of the files, all of which are there.
pub fn insist(laboratory: &Laboratory, daemon: &Daemon, csr: &str, meanwhile: impl FnOnce(&Insisting)) -> Vec<String> {
    let insisting = Insisting::default();
    let file = |caller: usize, certificate: usize| format!("{caller}-{certificate}.pem");
    let insist = |caller: usize| {
        for certificate in 0..CERTIFICATES {
            let began = Instant::now();
            while !mint_once(laboratory, daemon, csr, &file(caller, certificate)) {
                insisting.refused.fetch_add(1, Ordering::SeqCst);
                assert!(began.elapsed() < AMPLE, "nothing is minted");
            }
            insisting.minted.fetch_add(1, Ordering::SeqCst);
        }
    };
    thread::scope(|scope| {
        (0..CALLERS).for_each(|caller| drop(scope.spawn(move || insist(caller))));
        meanwhile(&insisting);
    });
    let files = (0..CALLERS).flat_map(|caller| (0..CERTIFICATES).map(move |certificate| file(caller, certificate)));
    files.collect()
}
