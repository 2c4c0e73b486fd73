//! The token of a ceremony: which it is, what it can, and the way in.

mod other;

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hallmark_backends::{
    BackendConfig, BackendError, Description, Exception, Exceptions, Guard, KeyLabel, KeyPurpose, KeyReference,
    KeyRequest, Keyring, NewKey, SoftwareKeys, Survey, TokenConfig, WRAP_MECHANISM, Waiver, WrapValue,
    look_for_connector, make_trusted_wrap_key, survey, yubihsm_kinds,
};
use hallmark_policy::{
    key::{KeyKind, PublicKey, SpkiDigest},
    time::{Span, UnixTime},
};
use secrecy::SecretString;
use zeroize::Zeroizing;

use self::other::{AWS_KMS, OF_EACH_KEY, PKCS11, YUBIHSM, untold};
use crate::{
    attested,
    error::CeremonyError,
    facts::Fact,
    file::{StandsFor, YubiHsmPlace},
    meaning::{DevicePlace, Task},
    output,
    people::People,
    quorum::{QuorumRecord, Secret, Share, ShareError},
};

/// What says which keys may wrap a key.
const WRAP_WITH_TRUSTED: &str = "CKA_WRAP_WITH_TRUSTED";

/// How far the token's clock may be from the machine's.
pub(crate) const CLOCK_APART_MAX: Span = Span::from_secs(60);

/// How many shares may be mistyped, all together.
const MISTYPED_MAX: usize = 10;

/// Longest PIN that is read, in bytes.
const PIN_BYTES_MAX: usize = 256;

/// A token that is open.
pub(crate) struct Device {
    pub(crate) keyring: Keyring,
    pub(crate) description: Description,
    /// The way in, for whoever has to log in again.
    pin: SecretString,
    /// Keys that may be kept less strictly than CA keys are, as the file says.
    named: Exceptions,
    /// Those, and the key that the ceremony is about, where that is one.
    exceptions: Exceptions,
    /// It is a rehearsal's, and says what this would say of its keys.
    foretells: Option<StandsFor>,
}

/// Whether it is the device that the file describes.
fn is_the_one(found: &Description, place: &DevicePlace) -> Result<(), CeremonyError> {
    let compared = [
        ("serial number", &found.token_serial, Some(&place.serial)),
        ("firmware version", &found.firmware, place.firmware.as_ref()),
    ];
    for (what, found, wanted) in compared {
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            return Err(CeremonyError::OtherDevice { what, found: found.clone(), wanted: wanted.clone() });
        }
    }
    Ok(())
}

/// Asks the token what it is, without a log-in, and compares that with the file.
pub(crate) fn look(place: &DevicePlace) -> Result<Survey, CeremonyError> {
    if let Some(yubihsm) = &place.yubihsm {
        return look_at_yubihsm(yubihsm, place);
    }
    if let Some(region) = &place.aws_kms {
        return other::look_at_region(region, place);
    }
    let found = survey(&place.module(), &place.token, Some(&place.serial))?;
    if let Some(wanted) = &place.firmware
        && found.description.firmware != *wanted
    {
        let found = found.description.firmware;
        return Err(CeremonyError::OtherDevice { what: "firmware version", found, wanted: wanted.clone() });
    }
    let incapable = |sentence: &str| Err(CeremonyError::Incapable { sentence: sentence.to_owned() });
    if found.pin.locked {
        return incapable("its user PIN is locked; the security officer's PIN unlocks it");
    }
    if found.pin.final_try {
        return incapable("one more wrong PIN would lock it; log in once with the vendor's tool");
    }
    if !found.pin.is_set {
        return incapable("it has no user PIN yet; set one with the vendor's tool");
    }
    if found.pin.to_be_changed {
        return incapable("its user PIN must be changed first; do so with the vendor's tool");
    }
    Ok(found)
}

/// A YubiHSM tells nothing without a log-in: whether somebody is where it should be is all that can be seen. The rest is compared after the log-in.
fn look_at_yubihsm(yubihsm: &YubiHsmPlace, place: &DevicePlace) -> Result<Survey, CeremonyError> {
    let connector = yubihsm.config(SecretString::default()).map(|config| config.connector);
    let connector = connector.map_err(|sentence| CeremonyError::Incapable { sentence })?;
    look_for_connector(&connector)?;
    Ok(untold(YUBIHSM, connector.to_string(), yubihsm_kinds().collect(), place))
}

/// Whether the token's clock, if it has one, agrees with the machine's, by which everything is dated.
pub(crate) fn is_in_time(found: &Survey, now: UnixTime) -> Result<(), CeremonyError> {
    match found.clock {
        Some(clock) if clock.secs().abs_diff(now.secs()) > CLOCK_APART_MAX.secs() => {
            Err(CeremonyError::ClockApart { device: clock, machine: now })
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether the token can do what the task wants.
pub(crate) fn is_able(found: &Survey, task: &Task, kind: Option<KeyKind>) -> Result<(), CeremonyError> {
    if let Some(kind) = kind
        && !found.kinds.contains(&kind)
    {
        let sentence = format!("it makes no keys of kind {kind}");
        return Err(CeremonyError::Incapable { sentence });
    }
    if found.write_protected && (task.label().is_some() || matches!(task, Task::Destroy(_) | Task::WrapKey(_))) {
        return Err(CeremonyError::Incapable { sentence: "it is write-protected".to_owned() });
    }
    let wrapping = found.wrapping;
    let lacks = match task {
        Task::Restore(_) if !wrapping.unwraps => "brings no wrapped keys in",
        Task::Backup(_) if !wrapping.wraps => "wraps no keys",
        Task::Quorum(_) if found.description.kind == YUBIHSM => {
            let sentence = "the password of a YubiHSM's authentication key is changed with yubihsm-shell alone";
            return Err(CeremonyError::Incapable { sentence: sentence.to_owned() });
        }
        Task::Quorum(_) if found.description.kind == AWS_KMS => {
            let sentence = "credentials of AWS are a file, and no PIN that custodians could have";
            return Err(CeremonyError::Incapable { sentence: sentence.to_owned() });
        }
        Task::WrapKey(_) if !wrapping.wraps && !wrapping.unwraps => "neither wraps keys nor brings wrapped ones in",
        Task::Root(_) | Task::Key(_) if !wrapping.wraps && matches!(task.purpose(), KeyPurpose::Wrappable(_)) => {
            "wraps no keys, so that none is made to be wrapped"
        }
        Task::Root(_)
        | Task::Intermediate(_)
        | Task::CrossCertificate(_)
        | Task::Crl(_)
        | Task::Key(_)
        | Task::Destroy(_)
        | Task::LogKey(_)
        | Task::Quorum(_)
        | Task::WrapKey(_)
        | Task::Backup(_)
        | Task::Restore(_) => return Ok(()),
    };
    Err(CeremonyError::Incapable { sentence: format!("it {lacks} ({WRAP_MECHANISM})") })
}

impl Device {
    /// Logs in, once.
    pub(crate) fn open(place: &DevicePlace, people: &mut dyn People) -> Result<Self, CeremonyError> {
        let pin = match (&place.pin_file, &place.pin_quorum) {
            // The file is read by whoever calls AWS, whenever it changes.
            (Some(_), _) if place.aws_kms.is_some() => SecretString::default(),
            (Some(path), _) => pin_of(path)?,
            (None, Some(record)) => pin_of_quorum(&QuorumRecord::read(record)?, people)?,
            (None, None) => people.pin(&place.name())?,
        };
        Self::open_with(place, pin)
    }

    /// Logs in with this PIN, once.
    pub(crate) fn open_with(place: &DevicePlace, pin: SecretString) -> Result<Self, CeremonyError> {
        let named = || place.exception.iter().copied().collect::<Exceptions>();
        let (named, exceptions, again) = (named(), named(), pin.clone());
        let incapable = |sentence| CeremonyError::Incapable { sentence };
        let config = match (&place.yubihsm, &place.aws_kms) {
            (Some(yubihsm), _) => BackendConfig::YubiHsm(yubihsm.config(pin).map_err(incapable)?),
            (None, Some(region)) => {
                let credentials = place.pin_file.clone().unwrap_or_default();
                BackendConfig::AwsKms(region.config(&place.serial, credentials).map_err(incapable)?)
            }
            (None, None) => BackendConfig::Pkcs11(TokenConfig {
                module: place.module(),
                label: place.token.clone(),
                serial: Some(place.serial.clone()),
                pin,
                sessions: 1,
                waived: Vec::new(),
                exceptions: exceptions.clone(),
            }),
        };
        let keyring = Keyring::open_backend(config, SoftwareKeys::Refused)?;
        let description = keyring.describe();
        if place.yubihsm.is_some() {
            is_the_one(&description, place)?;
        }
        Ok(Self { keyring, description, pin: again, named, exceptions, foretells: place.stands_for })
    }

    /// Who is to vouch for keys: a YubiHSM is asked for certificates over each.
    pub(crate) fn vouches(&self) -> &'static str {
        let is_yubihsm = self.foretells == Some(StandsFor::YubiHsm) || self.description.kind == YUBIHSM;
        if is_yubihsm { "asked of the device" } else { attested::UNATTESTED }
    }

    /// Logs out, has the security officer make a trusted wrap key, and logs in again.
    pub(crate) fn make_trusted_wrap_key(
        self,
        place: &DevicePlace,
        so_pin: &SecretString,
        label: &KeyLabel,
        value: &WrapValue,
    ) -> Result<Self, CeremonyError> {
        let Self { keyring, pin, .. } = self;
        // Nobody else may be logged in to the token.
        drop(keyring);
        make_trusted_wrap_key(&place.module(), (&place.token, Some(&place.serial)), so_pin, label, value)?;
        Self::open_with(place, pin)
    }

    /// The ceremony is about this key, which may be kept less strictly than others.
    pub(crate) fn except(&self, key: SpkiDigest, exception: Exception) {
        self.exceptions.add(key, exception);
    }

    /// Whether the token has a private key of that label.
    pub(crate) fn has(&self, label: &KeyLabel) -> Result<bool, CeremonyError> {
        Ok(!self.labelled(label)?.is_empty())
    }

    /// The keys of that label.
    pub(crate) fn labelled(&self, label: &KeyLabel) -> Result<Vec<KeyReference>, CeremonyError> {
        Ok(self.keyring.list()?.into_iter().filter(|key| key.label() == label).collect())
    }

    /// Whether a key is the only one of its name: nothing is done with one that could be another.
    pub(crate) fn is_alone(&self, reference: &KeyReference) -> Result<(), CeremonyError> {
        let named = self.keyring.list()?.into_iter().filter(|found| found == reference);
        if named.count() > 1 { Err(BackendError::KeyAmbiguous { key: reference.clone() }.into()) } else { Ok(()) }
    }

    /// Makes a key under its label, or takes over the one that an interrupted run of this ceremony left there. Says which.
    pub(crate) fn make(
        &self,
        label: &KeyLabel,
        kind: KeyKind,
        purpose: KeyPurpose,
    ) -> Result<(NewKey, bool), CeremonyError> {
        match self.labelled(label)?.as_slice() {
            [] => {
                let made = self.keyring.generate(&KeyRequest { label: label.clone(), kind, purpose })?;
                self.may_be_wrapped(&made.public, purpose);
                Ok((made, true))
            }
            [reference] => {
                let public = self.keyring.inspect(reference, purpose)?;
                self.may_be_wrapped(&public, purpose);
                Ok((NewKey { reference: reference.clone(), public }, false))
            }
            [first, ..] => Err(BackendError::KeyAmbiguous { key: first.clone() }.into()),
        }
    }

    fn may_be_wrapped(&self, public: &PublicKey, purpose: KeyPurpose) {
        if let KeyPurpose::Wrappable(_) = purpose {
            self.except(public.digest(), Exception::Wrappable);
        }
    }

    /// Finds a key, compares it, and lets it sign.
    pub(crate) fn open_key(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<PublicKey, CeremonyError> {
        Ok(self.keyring.open(reference, expected)?)
    }

    /// Reads a key back: it is the only one of its name, it is the one that is expected, and what guards it is said.
    pub(crate) fn read_back(
        &self,
        reference: &KeyReference,
        expected: SpkiDigest,
    ) -> Result<(PublicKey, Vec<Fact>), CeremonyError> {
        self.is_alone(reference)?;
        let public = self.open_key(reference, expected)?;
        Ok((public, self.guards(reference, expected)?))
    }

    /// Who vouches for a key: SHA-256 of the certificates that the device made over it, or nobody; and these certificates.
    pub(crate) fn attestation(
        &self,
        reference: &KeyReference,
        key: &PublicKey,
    ) -> Result<(String, Vec<String>), CeremonyError> {
        let certificates = self.keyring.attest(reference, key.digest())?;
        attested::check(key, &certificates)
            .map_err(|why| CeremonyError::Wrong { what: "attestation", sentence: why.to_owned() })?;
        Ok((attested::said(&certificates), certificates.iter().map(|der| STANDARD.encode(der)).collect()))
    }

    /// Whether its keys have the attributes of PKCS #11 in records.
    pub(crate) fn is_behind_pkcs11(&self) -> bool {
        self.foretells.is_none() && self.description.kind == PKCS11
    }

    /// What guards a key, as facts. What the file says need not hold differs from the rehearsal's stand-in.
    pub(crate) fn guards(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<Vec<Fact>, CeremonyError> {
        let guards = self.keyring.guards(reference, expected)?;
        if let Some(stands_for) = self.foretells {
            let kind = self.keyring.open(reference, expected)?.kind();
            let fact = |(name, value): (&str, Option<String>)| match value {
                Some(value) => Fact::same(name, value),
                None => Fact::varies(name, ""),
            };
            return Ok(other::foretold(stands_for, kind).into_iter().map(fact).collect());
        }
        let waived = self.named.waived(expected);
        let differs = |attribute: &str| {
            OF_EACH_KEY.contains(&attribute)
                || waived.iter().any(|waiver| waiver.attribute() == attribute)
                || self.description.waived.contains(&attribute)
                || (attribute == WRAP_WITH_TRUSTED && waived.contains(&Waiver::Extractable))
        };
        let fact = |guard: Guard| Fact { varies: differs(guard.attribute), ..Fact::same(guard.attribute, guard.value) };
        Ok(guards.into_iter().map(fact).collect())
    }
}

/// What a device is, as facts: each says something else. What of a key's history need not hold in it is what the file says.
pub(crate) fn facts(description: &Description) -> Vec<Fact> {
    let Description { kind: _, path, library, token_label, token_serial, manufacturer, firmware, ends, waived } =
        description;
    // With what a destroyed key comes to, where that is not its end: the rehearsal's stand-in has the same facts.
    let path = &if ends.is_empty() { path.clone() } else { format!("{path}; {ends}") };
    let named = [
        ("module", path),
        ("library", library),
        ("token", token_label),
        ("serial", token_serial),
        ("manufacturer", manufacturer),
        ("firmware", firmware),
    ];
    let mut facts: Vec<_> = named.into_iter().map(|(name, value)| Fact::varies(name, value)).collect();
    if !waived.is_empty() {
        facts.push(Fact::same("waived", waived.join(" ")));
    }
    facts
}

/// The PIN that custodians have together.
pub(crate) fn pin_of_quorum(record: &QuorumRecord, people: &mut dyn People) -> Result<SecretString, CeremonyError> {
    Ok(secret_of_quorum(record, people)?.pin())
}

/// Asks custodians for their shares until there are enough, and combines them. Each is checked as soon as it is given.
pub(crate) fn secret_of_quorum(record: &QuorumRecord, people: &mut dyn People) -> Result<Secret, CeremonyError> {
    let mut shares: Vec<Share> = Vec::new();
    let mut problem = None;
    let mut refused = 0;
    while shares.len() < record.threshold {
        let text = people.share(record, shares.len(), problem.as_ref())?;
        let again = |share: Share| match shares.iter().any(|have| have.number() == share.number()) {
            true => Err(ShareError::Again { number: share.number() }),
            false => Ok(share),
        };
        match record.parse(&text).and_then(again) {
            Ok(share) => {
                shares.push(share);
                problem = None;
            }
            Err(error) if refused < MISTYPED_MAX => {
                refused += 1;
                problem = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(record.combine(&shares)?)
}

/// The security officer's PIN.
pub(crate) fn so_pin(place: &DevicePlace, people: &mut dyn People) -> Result<SecretString, CeremonyError> {
    match &place.so_pin_file {
        Some(path) => pin_of(path),
        None => people.so_pin(&place.token),
    }
}

fn pin_of(path: &Path) -> Result<SecretString, CeremonyError> {
    let text = Zeroizing::new(output::read(path)?);
    let refused = |sentence: &str| CeremonyError::NoPin { sentence: format!("`{}` {sentence}", path.display()) };
    let text = std::str::from_utf8(&text).map_err(|_| refused("is no text"))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(refused("is empty")),
        pin if pin.len() > PIN_BYTES_MAX => Err(refused("is too long for a PIN")),
        pin => Ok(SecretString::from(pin)),
    }
}
