//! Keys in a token behind a PKCS #11 module.

pub(crate) mod access;
mod failure;
mod module;
pub(crate) mod objects;
#[expect(unsafe_code, reason = "C_Sign into our own buffer saves one of three calls; the file has nothing else")]
mod raw;
mod signer;
pub(crate) mod template;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use cryptoki::{
    error::{Error, RvError},
    object::ObjectHandle,
    session::Session,
};
use hallmark_policy::key::{PublicKey, SpkiDigest};
use secrecy::SecretString;

use self::{
    access::{Access, Mode},
    failure::failed,
    signer::SessionSigner,
};
use crate::{
    backend::{Backend, Description, KeyPurpose, KeyRequest, NewKey, Signer},
    config::SESSIONS_MAX,
    error::BackendError,
    reference::{KeyLabel, KeyReference},
};

/// Random bytes of a new key's CKA_ID.
const ID_BYTES: usize = 16;

/// A token, with a session that makes, opens and destroys keys and one that draws random numbers and answers for the
/// token's health, so that neither waits for an RSA key in the making.
pub(crate) struct Device {
    access: Arc<Access>,
    /// Stays open, because the log-in of a token ends with its last session.
    anchor: Mutex<Option<Session>>,
    probe: Mutex<Option<Session>>,
}

impl Device {
    pub(crate) fn open(
        module: PathBuf,
        label: String,
        serial: Option<String>,
        pin: SecretString,
        sessions: usize,
    ) -> Result<Self, BackendError> {
        if !(1..=SESSIONS_MAX).contains(&sessions) {
            let detail = format!("`sessions` is {sessions}; write 1 to {SESSIONS_MAX}");
            return Err(BackendError::Configuration { detail });
        }
        let access = Arc::new(Access::new(&module, label, serial, pin)?);
        let anchor = Mutex::new(Some(access.session(Mode::Write)?));
        let probe = Mutex::new(Some(access.session(Mode::Read)?));
        Ok(Self { access, anchor, probe })
    }

    /// Runs `work` in the anchor session, which is opened anew if it does not answer as a user's session.
    fn anchored<T>(&self, work: impl FnOnce(&Session) -> Result<T, BackendError>) -> Result<T, BackendError> {
        in_session(&self.access, &self.anchor, Mode::Write, work)
    }

    fn generate_pair(&self, session: &Session, request: &KeyRequest) -> Result<NewKey, BackendError> {
        if objects::has_label(session, &request.label)? {
            return Err(BackendError::LabelTaken { label: request.label.to_string() });
        }
        let mut id = vec![0; ID_BYTES];
        session.generate_random_slice(&mut id).map_err(failed)?;
        let reference = KeyReference::pkcs11(id.clone(), request.label.clone())?;
        let made = make(session, &id, request)?;
        let checked = objects::find_unproven(session, &reference)
            .and_then(|found| objects::check_made(session, &found, &reference, request.purpose).map(|()| found.public));
        match checked {
            Ok(public) if public.kind() == request.kind => Ok(NewKey { reference, public }),
            Ok(public) => {
                remove(session, &made);
                Err(BackendError::WrongAttribute {
                    key: reference,
                    attribute: "CKA_KEY_TYPE",
                    found: public.kind().to_string(),
                    wanted: request.kind.to_string(),
                })
            }
            Err(error) => {
                remove(session, &made);
                Err(error)
            }
        }
    }
}

impl Backend for Device {
    fn generate(&self, request: &KeyRequest) -> Result<NewKey, BackendError> {
        self.anchored(|session| self.generate_pair(session, request))
    }

    fn open(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<PublicKey, BackendError> {
        self.anchored(|session| {
            let found = objects::find(session, reference, expected)?;
            objects::check(session, &found, reference)?;
            Ok(found.public)
        })
    }

    fn inspect(&self, reference: &KeyReference, purpose: KeyPurpose) -> Result<PublicKey, BackendError> {
        self.anchored(|session| {
            let found = objects::find_unproven(session, reference)?;
            objects::check_made(session, &found, reference, purpose)?;
            Ok(found.public)
        })
    }

    fn destroy(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<(), BackendError> {
        self.anchored(|session| {
            let found = objects::find(session, reference, expected)?;
            if !objects::is_destroyable(session, found.private_object)? {
                return Err(BackendError::NotDestroyable { key: reference.clone() });
            }
            session.destroy_object(found.private_object).map_err(failed)?;
            session.destroy_object(found.public_object).map_err(failed)
        })
    }

    fn clear(&self, label: &KeyLabel) -> Result<usize, BackendError> {
        self.anchored(|session| {
            let (private, public) = objects::labelled(session, label)?;
            for object in &private {
                if !objects::is_destroyable(session, *object)? {
                    let key = objects::name(session, *object, label)?;
                    return Err(BackendError::NotDestroyable { key });
                }
            }
            private.iter().chain(&public).try_for_each(|object| session.destroy_object(*object)).map_err(failed)?;
            Ok(private.len())
        })
    }

    fn list(&self) -> Result<Vec<KeyReference>, BackendError> {
        self.anchored(objects::list)
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), BackendError> {
        in_session(&self.access, &self.probe, Mode::Read, |session| {
            session.generate_random_slice(bytes).map_err(failed)
        })
    }

    fn health(&self) -> Result<(), BackendError> {
        self.access.token()?;
        in_session(&self.access, &self.probe, Mode::Read, |_| Ok(()))
    }

    fn describe(&self) -> Description {
        let module = &self.access.module;
        let library = module.context.get_library_info();
        let token = self.access.token().map(|(_, token)| token);
        let of_token = |value: fn(&cryptoki::slot::TokenInfo) -> String| token.as_ref().map(value).unwrap_or_default();
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
        }
    }

    fn signer(&self) -> Result<Box<dyn Signer>, BackendError> {
        Ok(Box::new(SessionSigner::open(&self.access)?))
    }
}

/// Runs `work` in the session of `place`. A session that does not answer as a user's is replaced before; one in which
/// `work` failed by the device's fault is dropped after, and the work is not done twice.
fn in_session<T>(
    access: &Access,
    place: &Mutex<Option<Session>>,
    mode: Mode,
    work: impl FnOnce(&Session) -> Result<T, BackendError>,
) -> Result<T, BackendError> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    let usable = place.take_if(|session| !access::is_user(session).unwrap_or(false)).is_none();
    if !usable {
        tracing::warn!("a session of the token was lost; a new one is opened");
    }
    let session = match place.take() {
        Some(session) => session,
        None => access.session(mode)?,
    };
    let session = place.insert(session);
    let result = work(session);
    if result.as_ref().is_err_and(BackendError::may_pass) {
        *place = None;
    }
    result
}

/// Generates a pair, naming the curve in each of the ways that devices take.
fn make(session: &Session, id: &[u8], request: &KeyRequest) -> Result<[ObjectHandle; 2], BackendError> {
    let (kind, label, purpose) = (request.kind, request.label.as_str(), request.purpose);
    let private = template::private_key(kind, id, label, purpose);
    let mut last = Error::NotSupported;
    for curve in template::curves(kind) {
        let public = template::public_key(kind, curve, id, label, purpose);
        match session.generate_key_pair(&template::generation(kind), &public, &private) {
            Ok((public, private)) => return Ok([private, public]),
            Err(error) if is_about_the_curve(&error) => last = error,
            Err(error) => return Err(failed(error)),
        }
    }
    Err(failed(last))
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

/// Removes a pair that is not what it should be. A device that does not let it says so in the log; the key is used by
/// nobody, because nobody was told of it.
fn remove(session: &Session, pair: &[ObjectHandle; 2]) {
    for object in pair {
        if let Err(error) = session.destroy_object(*object) {
            tracing::error!(error = %failed(error), "a key that failed its checks could not be removed from the token");
        }
    }
}
