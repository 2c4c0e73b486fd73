//! What the mock does not show of a device.

use std::panic::{AssertUnwindSafe, catch_unwind};

use yubihsm::{Capability, Client, Connector, Credentials, Domain, asymmetric::Algorithm, object};

/// One thing that the mock cannot do, or does otherwise than a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// It makes no P-384 keys.
    P384,
    /// It makes no RSA keys.
    Rsa,
    /// It attests nothing.
    Attestation,
    /// It lets everybody do everything.
    Capabilities,
    /// It shows objects of all domains.
    Domains,
    /// It ends where a number is given twice.
    Duplicates,
    /// It ends with the 18th session since its start, of which a device closes those that are idle.
    Sessions,
    /// Its command log is empty.
    CommandLog,
    /// It has always the same room.
    Storage,
}

/// All of them.
pub const LIMITS: [Limit; 9] = [
    Limit::P384,
    Limit::Rsa,
    Limit::Attestation,
    Limit::Capabilities,
    Limit::Domains,
    Limit::Duplicates,
    Limit::Sessions,
    Limit::CommandLog,
    Limit::Storage,
];

impl Limit {
    /// Whether it is so. A library of tomorrow may do more: then the limit is to be taken away, and what it keeps from being shown is to be shown.
    #[must_use]
    pub fn holds(self) -> bool {
        let mock = Connector::mockhsm();
        match self {
            Self::P384 => !makes(&mock, Algorithm::EcP384),
            Self::Rsa => !makes(&mock, Algorithm::Rsa2048),
            Self::Attestation => {
                makes(&mock, Algorithm::EcP256) && !goes(&mock, |client| client.sign_attestation_certificate(KEY, None))
            }
            Self::Capabilities => {
                let may_nothing = |client: &Client| {
                    client.generate_asymmetric_key(
                        KEY,
                        label(),
                        Domain::DOM1,
                        Capability::empty(),
                        Algorithm::EcP256,
                    )?;
                    client.sign_ecdsa_prehash_raw(KEY, vec![1; 32])
                };
                goes(&mock, may_nothing)
            }
            Self::Domains => {
                makes(&mock, Algorithm::EcP256)
                    && goes(&mock, |client| client.get_object_info(KEY, object::Type::AsymmetricKey))
            }
            Self::Duplicates => makes(&mock, Algorithm::EcP256) && !makes(&mock, Algorithm::EcP256),
            Self::Sessions => {
                let opened = (0..18).filter(|_| goes(&mock, Client::device_info)).count();
                opened == 17
            }
            Self::CommandLog => {
                makes(&mock, Algorithm::EcP256)
                    && opened(&mock)
                        .is_some_and(|client| client.get_log_entries().is_ok_and(|log| log.entries.is_empty()))
            }
            Self::Storage => {
                let free = || opened(&mock)?.get_storage_info().ok().map(|storage| storage.free_records);
                let before = free();
                makes(&mock, Algorithm::EcP256) && before.is_some() && free() == before
            }
        }
    }
}

const KEY: u16 = 7;

fn label() -> object::Label {
    object::Label::default()
}

fn opened(mock: &Connector) -> Option<Client> {
    let open = AssertUnwindSafe(|| Client::open(mock.clone(), Credentials::default(), true));
    catch_unwind(open).ok()?.ok()
}

/// Whether something is answered, in a session of its own. What the mock does not know ends it.
fn goes<T>(mock: &Connector, work: impl FnOnce(&Client) -> Result<T, yubihsm::client::Error>) -> bool {
    let Some(client) = opened(mock) else { return false };
    catch_unwind(AssertUnwindSafe(|| work(&client))).is_ok_and(|answer| answer.is_ok())
}

fn makes(mock: &Connector, algorithm: Algorithm) -> bool {
    let generate = |client: &Client| {
        client.generate_asymmetric_key(KEY, label(), Domain::DOM2, Capability::SIGN_ECDSA, algorithm).map(drop)
    };
    goes(mock, generate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_that_is_named_is_one() {
        for limit in LIMITS {
            assert!(limit.holds(), "{limit:?} holds no longer");
        }
    }
}
