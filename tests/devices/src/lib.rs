//! PKCS #11 modules of other makers, each with a token that is thrown away: what a test starts, it ends, by the number of its process, and
//! what it writes lies in a directory of its own.
//!
//! A module reads the environment when it is loaded, so that each is tried in a process of its own ([`Stand::command`]).
//!
//! For tests only: everything here ends the test when it fails.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot have its device has failed")]

mod kryoptic;
mod nss;
mod open_cryptoki;
mod p11_kit;
mod process;
mod softhsm;
mod stand;
mod tpm;

pub use kryoptic::module as kryoptic_module;
pub use stand::{PIN, SO_PIN, Stand, TOKEN};

/// A module that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// SoftHSM, of Debian's package `softhsm2`.
    SoftHsm,
    /// kryoptic, which is built here.
    Kryoptic,
    /// The same with OpenSSL 4, which is built here, too.
    KryopticOwnOpenSsl,
    /// The software token of openCryptoki, with its daemon `pkcsslotd`.
    OpenCryptoki,
    /// NSS's softokn.
    Nss,
    /// The same, with what it does not know waived.
    NssWaived,
    /// tpm2-pkcs11 over a TPM in software and its resource manager.
    Tpm,
    /// SoftHSM in another process, reached through p11-kit.
    P11Kit,
}

impl Device {
    /// Those that every machine has that runs the tests.
    pub const ALWAYS: [Self; 2] = [Self::SoftHsm, Self::Kryoptic];

    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::SoftHsm,
        Self::Kryoptic,
        Self::KryopticOwnOpenSsl,
        Self::OpenCryptoki,
        Self::Nss,
        Self::NssWaived,
        Self::Tpm,
        Self::P11Kit,
    ];

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SoftHsm => "SoftHSM",
            Self::Kryoptic => "kryoptic",
            Self::KryopticOwnOpenSsl => "kryoptic with OpenSSL 4",
            Self::OpenCryptoki => "openCryptoki, software token",
            Self::Nss => "NSS softokn",
            Self::NssWaived => "NSS softokn, with what it lacks in `waive`",
            Self::Tpm => "tpm2-pkcs11 over swtpm",
            Self::P11Kit => "p11-kit, SoftHSM behind it",
        }
    }

    /// Starts it, with a token that nobody has used.
    #[must_use]
    pub fn start(self) -> Stand {
        match self {
            Self::SoftHsm => softhsm::start(),
            Self::Kryoptic => kryoptic::start(),
            Self::KryopticOwnOpenSsl => kryoptic::start_with_its_own_openssl(),
            Self::OpenCryptoki => open_cryptoki::start(),
            Self::Nss => nss::start(),
            Self::NssWaived => nss::start_waived(),
            Self::Tpm => tpm::start(),
            Self::P11Kit => p11_kit::start(),
        }
    }
}
