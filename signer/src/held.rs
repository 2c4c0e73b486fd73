//! Whether a token holds the keys of roots as the transcripts of their ceremonies tell them. Somebody logs in for it, once; nothing is
//! written, and no key signs.

use hallmark_backends::{
    BackendConfig, BackendError, CommandLogUse, Exception, Exceptions, Keyring, SoftwareKeys, TokenConfig,
    YubiHsmConfig,
};

use crate::{HandOver, StartError, handed_over::ToldKey};

/// What only a key has that can be wrapped.
const WRAP_WITH_TRUSTED: &str = "CKA_WRAP_WITH_TRUSTED";

/// What was found of one root's key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// What holds, in sentences.
    pub holds: Vec<String>,
    /// What does not.
    pub broken: Vec<String>,
}

/// Compares the keys in this backend with what these transcripts, which were verified, say of them: in their order.
///
/// # Errors
/// [`StartError::Backend`] if the token cannot be opened; a wrong PIN is tried once.
pub fn compare_held(backend: BackendConfig, hand_overs: &[&HandOver]) -> Result<Vec<Held>, StartError> {
    let exceptions = backend.exceptions();
    let keyring = Keyring::open_backend(where_keys_are_made(backend), SoftwareKeys::Admitted).map_err(Box::new)?;
    let held = hand_overs.iter().map(|hand_over| held(&keyring, hand_over, &exceptions)).collect();
    keyring.stop();
    Ok(held)
}

fn held(keyring: &Keyring, hand_over: &HandOver, exceptions: &Exceptions) -> Held {
    let mut held = Held::default();
    let told = hand_over.told_key().map_err(|error| error.to_string());
    let compared =
        told.and_then(|told| compare(keyring, &told, exceptions, &mut held).map_err(|error| error.to_string()));
    if let Err(sentence) = compared {
        held.broken.push(sentence);
    }
    held
}

fn compare(keyring: &Keyring, told: &ToldKey, exceptions: &Exceptions, held: &mut Held) -> Result<(), BackendError> {
    let ToldKey { reference, spki, guards } = told;
    if keyring.list()?.iter().filter(|found| *found == reference).count() > 1 {
        return Err(BackendError::KeyAmbiguous { key: reference.clone() });
    }
    let public = keyring.open(reference, *spki)?;
    held.holds
        .push(format!("The token holds `{reference}`, {}, with the public key of SHA-256 {spki}.", public.kind()));
    let now = keyring.guards(reference, *spki)?;
    let found =
        |name: &str| now.iter().find(|guard| guard.attribute == name).map_or("absent", |guard| guard.value.as_str());
    let restored = exceptions.all().contains(&(*spki, Exception::Restored));
    // What was restored has another history in this token than where it was made, and cannot leave it any more.
    let has_another_history = |name: &str| {
        restored
            && (name == WRAP_WITH_TRUSTED
                || Exception::ALL.iter().flat_map(|one| one.waived()).any(|waiver| waiver.attribute() == name))
    };
    let compared: Vec<_> = guards.iter().filter(|(name, _)| !has_another_history(name)).collect();
    let differ: Vec<_> = compared.iter().filter(|(name, value)| found(name) != value.as_str()).collect();
    if differ.is_empty() {
        let but = if restored { ", but for its history: it was restored here" } else { "" };
        held.holds.push(format!("Its {} attributes are as the transcript says{but}.", compared.len()));
    }
    held.broken.extend(
        differ
            .iter()
            .map(|(name, value)| format!("`{reference}`: {name} is {}, and the transcript says {value}", found(name))),
    );
    Ok(())
}

/// The token in which keys are made: copies of them in others may lack their history. Beside a daemon that serves, sessions may be few.
fn where_keys_are_made(backend: BackendConfig) -> BackendConfig {
    match backend {
        BackendConfig::Pkcs11(token) => BackendConfig::Pkcs11(TokenConfig { sessions: 1, ..token }),
        BackendConfig::Replicated { tokens, choice } => match tokens.first().cloned() {
            Some(token) => BackendConfig::Pkcs11(TokenConfig { sessions: 1, ..token }),
            None => BackendConfig::Replicated { tokens, choice },
        },
        BackendConfig::YubiHsm(config) => {
            BackendConfig::YubiHsm(YubiHsmConfig { sessions: 1, command_log: CommandLogUse::Off, ..config })
        }
        software @ BackendConfig::Software { .. } => software,
    }
}

#[cfg(test)]
mod tests {
    use hallmark_backends::{KeyLabel, KeyPurpose, KeyRequest};
    use hallmark_policy::key::{KeyKind, SpkiDigest};

    use super::*;

    #[test]
    fn an_attribute_that_is_not_as_the_transcript_says_is_told_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let backend = || BackendConfig::Software {
            directory: directory.path().to_owned(),
            passphrase: "a passphrase of tests".into(),
        };
        let keyring = Keyring::open_backend(backend(), SoftwareKeys::Admitted).unwrap();
        let label = KeyLabel::parse("root").unwrap();
        let request = KeyRequest { label, kind: KeyKind::EcdsaP256, purpose: KeyPurpose::Root };
        let made = keyring.generate(&request).unwrap();
        let guards = keyring.guards(&made.reference, made.public.digest()).unwrap();
        let guards = guards.into_iter().map(|guard| (guard.attribute.to_owned(), guard.value)).collect();
        let good = ToldKey { reference: made.reference.clone(), spki: made.public.digest(), guards };
        let compared = |told: &ToldKey| {
            let mut held = Held::default();
            compare(&keyring, told, &Exceptions::default(), &mut held).map(|()| held)
        };
        let held = compared(&good).unwrap();
        assert!(held.broken.is_empty() && held.holds.len() == 2, "{held:?}");
        let mut bad = good.clone();
        bad.guards[0].1 = "otherwise".to_owned();
        bad.guards.push(("CKA_NEW".to_owned(), "true".to_owned()));
        let Held { holds, broken } = compared(&bad).unwrap();
        assert_eq!((holds.len(), broken.len()), (1, 2));
        assert!(broken[0].contains(&good.guards[0].0) && broken[0].ends_with("and the transcript says otherwise"));
        assert!(broken[1].ends_with("CKA_NEW is absent, and the transcript says true"), "{}", broken[1]);
        let other = ToldKey { spki: SpkiDigest::from_bytes([7; 32]), ..good };
        assert!(compared(&other).is_err(), "another public key");
    }
}
