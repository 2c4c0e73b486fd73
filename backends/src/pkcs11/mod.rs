//! Keys in a token behind a PKCS #11 module.

pub(crate) mod access;
pub(crate) mod failure;
mod guarded;
mod module;
pub(crate) mod objects;
pub(crate) mod officer;
mod purpose;
#[expect(unsafe_code, reason = "C_Sign into our own buffer saves one of three calls; the file has nothing else")]
mod raw;
mod renewal;
mod session;
mod signer;
pub(crate) mod survey;
pub(crate) mod template;
pub(crate) mod throwaway;
mod wrapping;

use std::{
    cell::Cell,
    sync::{Arc, Mutex, PoisonError},
};

use cryptoki::{
    error::{Error, RvError},
    object::Attribute,
    session::Session,
    slot::TokenInfo,
};
use hallmark_policy::key::{PublicKey, SignatureAlgorithm, SpkiDigest};
use secrecy::SecretString;

use self::{
    access::{Access, Mode},
    failure::failed,
    session::TokenSession,
    signer::SessionSigner,
};
use crate::{
    backend::{Backend, Description, Guard, KeyPurpose, KeyRequest, NewKey, Signer, Wrapping},
    config::{SESSIONS_MAX, TokenConfig},
    error::BackendError,
    holder::Opened,
    making::Making,
    reference::{KeyLabel, KeyReference},
    refused_pins::RefusedPins,
    waiver::Waiver,
};

/// Random bytes of a new key's CKA_ID.
const ID_BYTES: usize = 16;

/// A token, with a session that makes, opens and destroys keys and one that draws random numbers and answers for the
/// token's health, so that neither waits for an RSA key in the making.
///
/// What fails by the device's fault is tried once more in a new session. Nothing is left half done by that: what an
/// attempt to make a key may have left is removed before the next.
pub(crate) struct Device {
    access: Arc<Access>,
    /// Stays open, because the log-in of a token ends with its last session.
    anchor: Mutex<Option<TokenSession>>,
    probe: Mutex<Option<TokenSession>>,
    making: Making,
}

/// Opens a token and its signing sessions, one after another; the first failure ends it. `beside` others that hold the same keys. A PIN that it is known to
/// have refused is not tried.
pub(crate) fn open(token: TokenConfig, beside: bool, refused_pins: &Arc<RefusedPins>) -> Result<Opened, BackendError> {
    let sessions = token.sessions;
    if !(1..=SESSIONS_MAX).contains(&sessions) {
        let detail = format!("`sessions` is {sessions}; write 1 to {SESSIONS_MAX}");
        return Err(BackendError::Configuration { detail });
    }
    let device: Arc<dyn Backend> = Arc::new(Device::open(token, beside, refused_pins)?);
    let mut signers: Vec<_> = (0..sessions).map(|_| device.signer()).collect();
    signers.iter_mut().try_for_each(|signer| signer.connect())?;
    Ok((device, signers))
}

impl Device {
    fn open(token: TokenConfig, beside: bool, refused_pins: &Arc<RefusedPins>) -> Result<Self, BackendError> {
        let TokenConfig { module, label, serial, pin, sessions: _, waived, exceptions } = token;
        let mut access = Access::new(&module, label, serial, pin)?.remembering(refused_pins).excepting(exceptions);
        if beside {
            access = access.beside_others(waived);
        }
        let access = Arc::new(access);
        access.module.is_used_by(&access);
        let anchor = Mutex::new(Some(access.session(Mode::Write)?));
        let probe = Mutex::new(Some(access.session(Mode::Read)?));
        Ok(Self { access, anchor, probe, making: Making::default() })
    }

    /// Runs `work` in the anchor session, which is opened anew if it does not answer as a user's session.
    fn anchored<T>(&self, work: impl FnOnce(&Session) -> Result<T, BackendError>) -> Result<T, BackendError> {
        in_session(&self.access, &self.anchor, Mode::Write, work)
    }

    /// The same, for work that may be done twice.
    fn anchored_twice<T>(&self, work: impl Fn(&Session) -> Result<T, BackendError>) -> Result<T, BackendError> {
        twice(|| self.anchored(&work))
    }
}

impl Backend for Device {
    fn generate(&self, request: &KeyRequest) -> Result<NewKey, BackendError> {
        let waived = self.access.waived_of_all();
        self.making.make(
            request,
            |begun| self.anchored(|session| generate_pair(session, request, waived, begun)),
            |reference| self.anchored(|session| objects::remove(session, reference)),
        )
    }

    fn open(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<PublicKey, BackendError> {
        self.anchored_twice(|session| {
            let waived = self.access.waived(expected);
            match objects::find(session, reference, expected, &waived)?.as_slice() {
                [found] => guarded::check(session, found, reference, &waived).map(|()| found.public.clone()),
                // Twins, each checked; the first signature tells them apart.
                [found, ..] => Ok(found.public.clone()),
                [] => Err(BackendError::KeyNotFound { key: reference.clone() }),
            }
        })
    }

    fn inspect(&self, reference: &KeyReference, purpose: KeyPurpose) -> Result<PublicKey, BackendError> {
        self.anchored_twice(|session| {
            let found = objects::find_unproven(session, reference)?;
            let excepted = self.access.excepted(found.public.digest());
            guarded::check_made(session, &found, reference, purpose, &excepted)?;
            Ok(found.public)
        })
    }

    fn destroy(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<(), BackendError> {
        let begun = Cell::new(false);
        self.anchored_twice(|session| {
            let found = match objects::find_one(session, reference, expected, &self.access.waived(expected)) {
                // By the first attempt, whose answer was lost; its public half may be left.
                Err(BackendError::KeyNotFound { .. }) if begun.get() => return objects::remove(session, reference),
                found => found?,
            };
            if !guarded::is_destroyable(session, found.private_object, self.access.waived_of_all())? {
                return Err(BackendError::NotDestroyable { key: reference.clone() });
            }
            begun.set(true);
            session.destroy_object(found.private_object).map_err(failed)?;
            session.destroy_object(found.public_object).map_err(failed)
        })
    }

    fn change_pin(&self, new: &SecretString) -> Result<(), BackendError> {
        self.anchored(|session| self.access.change_pin(session, new))
    }

    fn clear(&self, label: &KeyLabel) -> Result<usize, BackendError> {
        let cleared = Cell::new(0);
        self.anchored_twice(|session| {
            let (private, public) = objects::labelled(session, label)?;
            for object in &private {
                if !guarded::is_destroyable(session, *object, self.access.waived_of_all())? {
                    let key = objects::name(session, *object, label)?;
                    return Err(BackendError::NotDestroyable { key });
                }
            }
            // A second attempt finds what the first left.
            cleared.set(cleared.get().max(private.len()));
            private.iter().chain(&public).try_for_each(|object| session.destroy_object(*object)).map_err(failed)?;
            Ok(cleared.get())
        })
    }

    fn list(&self) -> Result<Vec<KeyReference>, BackendError> {
        self.anchored_twice(objects::list)
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), BackendError> {
        twice(|| {
            in_session(&self.access, &self.probe, Mode::Read, |session| {
                session.generate_random_slice(bytes).map_err(failed)
            })
        })
    }

    fn health(&self) -> Result<(), BackendError> {
        twice(|| in_session(&self.access, &self.probe, Mode::Read, |_| self.access.token().map(drop)))
    }

    fn pin_is_refused(&self) -> bool {
        self.access.pin_is_refused()
    }

    fn describe(&self) -> Description {
        let _inside = self.access.module.life.enter();
        let token = self.access.token().ok().map(|(_, token)| token);
        describe(&self.access, token.as_ref())
    }

    fn guards(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<Vec<Guard>, BackendError> {
        self.anchored_twice(|session| {
            let found = objects::find_one(session, reference, expected, &self.access.waived(expected))?;
            guarded::guards(session, &found)
        })
    }

    fn attest(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<Vec<Vec<u8>>, BackendError> {
        self.guards(reference, expected).map(|_| Vec::new())
    }

    fn close(&self) {
        for place in [&self.probe, &self.anchor] {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    fn signer(&self) -> Box<dyn Signer> {
        Box::new(SessionSigner::new(&self.access))
    }

    fn wrapping(&self) -> Option<&dyn Wrapping> {
        Some(self)
    }

    /// Messages are digests here, or as long as they may be. A mechanism that the module lacks is found when it signs: `hallmark doctor` tries each that is usual.
    fn never_signs(&self, _: SignatureAlgorithm, _: usize) -> Option<String> {
        None
    }
}

/// What module and token say they are; of a token that does not answer, nothing.
fn describe(access: &Access, token: Option<&TokenInfo>) -> Description {
    let module = &access.module;
    let library = module.context.get_library_info();
    let of_token = |value: fn(&TokenInfo) -> String| token.map(value).unwrap_or_default();
    Description {
        kind: "pkcs11",
        path: module.path.display().to_string(),
        library: library
            .map(|info| format!("{} {}", info.library_description(), info.library_version()))
            .unwrap_or_default(),
        token_label: of_token(|token| token.label().to_owned()),
        token_serial: of_token(|token| token.serial_number().to_owned()),
        manufacturer: of_token(|token| format!("{} {}", token.manufacturer_id(), token.model())),
        firmware: of_token(|token| token.firmware_version().to_string()),
        ends: String::new(),
        waived: access.waived_of_all().iter().map(|waiver| waiver.attribute()).collect(),
    }
}

/// Does what may be done twice once more, if the device failed.
fn twice<T>(mut work: impl FnMut() -> Result<T, BackendError>) -> Result<T, BackendError> {
    match work() {
        Err(error) if error.may_pass() => {
            tracing::warn!(%error, "the key device failed; once more in a new session");
            work()
        }
        result => result,
    }
}

/// Runs `work` in the session of `place`. A session that does not answer as a user's is replaced before; one in which a call
/// failed is dropped after.
fn in_session<T>(
    access: &Access,
    place: &Mutex<Option<TokenSession>>,
    mode: Mode,
    work: impl FnOnce(&Session) -> Result<T, BackendError>,
) -> Result<T, BackendError> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    let lost = place.take_if(|session| !session.run(access::is_user).unwrap_or(false));
    if lost.is_some() {
        tracing::warn!("a session of the token was lost; a new one is opened");
    }
    drop(lost);
    let session = match place.take() {
        Some(session) => session,
        None => access.session(mode)?,
    };
    let session = place.insert(session);
    let result = session.run(work);
    if result.as_ref().is_err_and(BackendError::spoils_the_session) {
        *place = None;
    }
    result
}

/// Makes a pair, reads it back and checks it. `begun` says what may be in the token from when the device was asked.
fn generate_pair(
    session: &Session,
    request: &KeyRequest,
    waived: &[Waiver],
    begun: &Cell<Option<KeyReference>>,
) -> Result<NewKey, BackendError> {
    if objects::has_label(session, &request.label)? {
        return Err(BackendError::LabelTaken { label: request.label.to_string() });
    }
    let mut id = vec![0; ID_BYTES];
    session.generate_random_slice(&mut id).map_err(failed)?;
    purpose::mark(&mut id, request.purpose, waived);
    let reference = KeyReference::pkcs11(id.clone(), request.label.clone())?;
    begun.set(Some(reference.clone()));
    make(session, &id, request, waived)?;
    let found = objects::find_unproven(session, &reference)?;
    guarded::check_made(session, &found, &reference, request.purpose, waived)?;
    let public = found.public;
    if public.kind() != request.kind {
        return Err(BackendError::WrongAttribute {
            key: reference,
            attribute: "CKA_KEY_TYPE",
            found: public.kind().to_string(),
            wanted: request.kind.to_string(),
        });
    }
    Ok(NewKey { reference, public })
}

/// Generates a pair, as strictly as the module takes it: what it does not know, and is waived, is left out where it refuses the whole twice, and in the
/// same words. A device that fails once is asked the same again.
fn make(session: &Session, id: &[u8], request: &KeyRequest, waived: &[Waiver]) -> Result<(), BackendError> {
    let is_waived = |waiver: &Waiver| waived.contains(waiver);
    let unknown: Vec<_> = Waiver::UNKNOWN.into_iter().filter(is_waived).map(Waiver::attribute).collect();
    let strictly = || make_without(session, id, request, &[]);
    let refused = match strictly() {
        Err(error) if !unknown.is_empty() && is_about_the_template(&error) => error,
        made => return made.map_err(failed),
    };
    match strictly() {
        Err(again) if is_the_same(&again, &refused) => {}
        // It was not the template.
        made => return made.map_err(failed),
    }
    tracing::warn!(label = %request.label, error = ?refused, without = unknown.join(" "), "the module refuses the attributes of a CA key; once more without those that it need not know");
    make_without(session, id, request, &unknown).map_err(failed)
}

/// Whether a module says the same twice.
fn is_the_same(one: &Error, other: &Error) -> bool {
    matches!((one, other), (Error::Pkcs11(one, _), Error::Pkcs11(other, _)) if one == other)
}

/// Generates a pair, saying of which kind in each of the ways that devices take.
fn make_without(session: &Session, id: &[u8], request: &KeyRequest, unknown: &[&str]) -> Result<(), Error> {
    let (kind, label, purpose) = (request.kind, request.label.as_str(), request.purpose);
    let known = |attribute: &Attribute| !template::is_one_of(attribute, kind, unknown);
    let mut private = template::private_key(kind, id, label, purpose);
    private.retain(known);
    let mut last = Error::NotSupported;
    for way in template::ways(kind) {
        let mut public = template::public_key(&way, id, label, purpose);
        public.retain(known);
        match session.generate_key_pair(&template::generation(kind), &public, &private) {
            Ok(_) => return Ok(()),
            Err(error) if is_about_the_curve(&error) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// Whether a module may say so of a template with attributes that it does not know.
fn is_about_the_template(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::AttributeTypeInvalid
                | RvError::AttributeValueInvalid
                | RvError::AttributeReadOnly
                | RvError::TemplateInconsistent
                | RvError::FunctionFailed
                | RvError::GeneralError,
            _
        )
    )
}

fn is_about_the_curve(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::CurveNotSupported
                | RvError::DomainParamsInvalid
                | RvError::AttributeValueInvalid
                | RvError::TemplateInconsistent
                | RvError::FunctionFailed
                | RvError::GeneralError,
            _
        )
    )
}
