//! Whether a token holds the keys of roots as the transcripts of their ceremonies tell them. Somebody logs in for it, once; nothing is
//! written, and no key signs.

use hallmark_backends::{
    AwsKmsConfig, BackendConfig, BackendError, CommandLogUse, Exception, Exceptions, HistoryWaiver, Keyring,
    ModuleWaiver, SoftwareKeys, TokenConfig, Waiver, YubiHsmConfig,
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

/// Compares the keys in this backend, in each token that is to hold them, with what these transcripts, which were verified, say of them: in their
/// order.
///
/// # Errors
/// [`StartError::Backend`] if a token cannot be opened; a wrong PIN is tried once.
pub fn compare_held(backend: BackendConfig, hand_overs: &[&HandOver]) -> Result<Vec<Held>, StartError> {
    let exceptions = backend.exceptions();
    let mut found = vec![Held::default(); hand_overs.len()];
    let places = places(backend);
    let is_one_of_several = places.len() > 1;
    for place in places {
        let keyring = Keyring::open_backend(place.backend, SoftwareKeys::Admitted).map_err(Box::new)?;
        let there = There { name: &place.name, is_one_of_several, lacks: &place.lacks, exceptions: &exceptions };
        hand_overs.iter().zip(&mut found).for_each(|(hand_over, held)| look(&keyring, &there, hand_over, held));
        keyring.stop();
    }
    Ok(found)
}

/// A place with keys, opened for itself.
struct Place {
    name: String,
    backend: BackendConfig,
    /// What a copy's history may lack here.
    lacks: Vec<HistoryWaiver>,
}

/// What a key is compared with, beside the transcript.
struct There<'a> {
    name: &'a str,
    is_one_of_several: bool,
    lacks: &'a [HistoryWaiver],
    exceptions: &'a Exceptions,
}

impl There<'_> {
    /// What is wrong here, with the place's name where there are several.
    fn of_it(&self, sentence: String) -> String {
        if self.is_one_of_several { format!("{}: {sentence}", self.name) } else { sentence }
    }
}

fn look(keyring: &Keyring, there: &There<'_>, hand_over: &HandOver, held: &mut Held) {
    let told = hand_over.told_key().map_err(|error| error.to_string());
    let compared = told.and_then(|told| compare(keyring, there, &told, held).map_err(|error| error.to_string()));
    if let Err(sentence) = compared {
        held.broken.push(there.of_it(sentence));
    }
}

fn compare(keyring: &Keyring, there: &There<'_>, told: &ToldKey, held: &mut Held) -> Result<(), BackendError> {
    let ToldKey { reference, spki, guards } = told;
    if keyring.list()?.iter().filter(|found| *found == reference).count() > 1 {
        return Err(BackendError::KeyAmbiguous { key: reference.clone() });
    }
    let public = keyring.open(reference, *spki)?;
    held.holds.push(format!(
        "{} holds `{reference}`, {}, with the public key of SHA-256 {spki}.",
        there.name,
        public.kind()
    ));
    let now = keyring.guards(reference, *spki)?;
    let found =
        |name: &str| now.iter().find(|guard| guard.attribute == name).map_or("absent", |guard| guard.value.as_str());
    let restored = there.exceptions.all().contains(&(*spki, Exception::Restored));
    // What was restored has another history in this token than where it was made, and cannot leave it any more.
    let has_another_history = |name: &str| {
        let is_waived = there.lacks.iter().any(|waiver| waiver.attribute() == name);
        is_waived
            || restored
                && (name == WRAP_WITH_TRUSTED
                    || Exception::ALL.iter().flat_map(|one| one.waived()).any(|waiver| waiver.attribute() == name))
    };
    let compared: Vec<_> = guards.iter().filter(|(name, _)| !has_another_history(name)).collect();
    let differ: Vec<_> = compared.iter().filter(|(name, value)| found(name) != value.as_str()).collect();
    if differ.is_empty() {
        let but = if restored { ", but for its history: it was restored here" } else { "" };
        held.holds.push(format!("Its {} attributes are as the transcript says{but}.", compared.len()));
    }
    held.broken.extend(differ.iter().map(|(name, value)| {
        there.of_it(format!("`{reference}`: {name} is {}, and the transcript says {value}", found(name)))
    }));
    Ok(())
}

/// Where keys are, each place by itself. Beside a daemon that serves, sessions may be few.
fn places(backend: BackendConfig) -> Vec<Place> {
    let alone = |name: &str, backend| vec![Place { name: name.to_owned(), backend, lacks: Vec::new() }];
    match backend {
        BackendConfig::Pkcs11(token) => alone("The token", BackendConfig::Pkcs11(TokenConfig { sessions: 1, ..token })),
        BackendConfig::Replicated { tokens, choice: _ } => tokens.into_iter().map(copy).collect(),
        BackendConfig::YubiHsm(config) => {
            let config = YubiHsmConfig { sessions: 1, command_log: CommandLogUse::Off, kinds: None, ..config };
            alone("The token", BackendConfig::YubiHsm(config))
        }
        BackendConfig::AwsKms(config) => {
            alone("AWS KMS", BackendConfig::AwsKms(AwsKmsConfig { sessions: 1, ..config }))
        }
        software @ BackendConfig::Software { .. } => alone("The directory", software),
    }
}

/// A token that holds the keys, or copies of them, opened as if it were the only one: what a copy may lack is waived for all that is looked at.
fn copy(token: TokenConfig) -> Place {
    let name = format!("The token `{}`", token.label);
    let lacks: Vec<_> =
        HistoryWaiver::ALL.into_iter().filter(|word| token.waived.contains(&Waiver::from(*word))).collect();
    let mut module = token.module;
    module.waived.extend(lacks.iter().copied().map(ModuleWaiver::from));
    let backend = BackendConfig::Pkcs11(TokenConfig { module, sessions: 1, waived: Vec::new(), ..token });
    Place { name, backend, lacks }
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
            let there = There {
                name: "The directory",
                is_one_of_several: false,
                lacks: &[],
                exceptions: &Exceptions::default(),
            };
            compare(&keyring, &there, told, &mut held).map(|()| held)
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
