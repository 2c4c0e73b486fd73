//! Keys that leave a token in wrapped form, and come back into another.

use cryptoki::{
    error::{Error, RvError},
    mechanism::{Mechanism, MechanismType},
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};
use hallmark_policy::key::{Family, KeyKind, SpkiDigest};
use hallmark_test_token::{MODULE, PIN, SO_PIN, Token};

use crate::{
    BackendConfig, BackendError, Exception, Exceptions, KeyLabel, KeyPurpose, KeyRequest, Keyring, NewKey,
    SoftwareKeys, TokenConfig, WrapKey, WrapValue, Wrappers, make_trusted_wrap_key, survey,
};

/// A token with its keyring, and the exceptions that are made of its keys.
struct Held {
    token: Token,
    keyring: Keyring,
    exceptions: Exceptions,
}

impl Held {
    fn new(name: &str) -> Self {
        Self::open(Token::make(name))
    }

    fn open(token: Token) -> Self {
        let exceptions = Exceptions::default();
        let config = BackendConfig::Pkcs11(TokenConfig {
            module: MODULE.into(),
            label: token.label().to_owned(),
            serial: None,
            pin: PIN.into(),
            sessions: 1,
            waived: Vec::new(),
            exceptions: exceptions.clone(),
        });
        let keyring = Keyring::open_backend(config, SoftwareKeys::Refused).unwrap();
        Self { token, keyring, exceptions }
    }

    fn make(&self, kind: KeyKind, purpose: KeyPurpose) -> NewKey {
        let request = KeyRequest { label: label("root"), kind, purpose };
        self.keyring.generate(&request).unwrap()
    }

    /// A key that can be wrapped, and is named as such.
    fn wrappable(&self, kind: KeyKind) -> NewKey {
        let key = self.make(kind, KeyPurpose::Wrappable(Wrappers::Any));
        self.exceptions.add(key.public.digest(), Exception::Wrappable);
        key
    }
}

fn label(text: &str) -> KeyLabel {
    KeyLabel::parse(text).unwrap()
}

fn value(byte: u8) -> WrapValue {
    WrapValue::filled(|bytes| bytes.fill(byte))
}

fn brought(byte: u8) -> WrapKey {
    WrapKey::Brought(value(byte))
}

#[test]
fn a_key_of_each_kind_is_restored_in_another_token_and_is_no_longer_extractable_there() {
    let (first, second) = (Held::new("first"), Held::new("second"));
    // SoftHSM 2.6 wraps no key on an Edwards curve, and makes none of ML-DSA.
    let wraps = |kind: &KeyKind| matches!(kind.family(), Family::Ecdsa | Family::Rsa);
    for kind in KeyKind::ALL.into_iter().filter(wraps) {
        let request = KeyRequest { label: label(kind.name()), kind, purpose: KeyPurpose::Wrappable(Wrappers::Any) };
        let key = first.keyring.generate(&request).unwrap();
        let digest = key.public.digest();
        first.exceptions.add(digest, Exception::Wrappable);
        let wrapped = first.keyring.wrap(&key.reference, digest, &brought(1)).unwrap();
        assert_eq!(first.keyring.wrap(&key.reference, digest, &brought(1)).unwrap(), wrapped, "the same bytes again");
        second.keyring.unwrap(&key.reference, &key.public, &wrapped, &value(1)).unwrap();
        // What an attempt brought that was interrupted is taken up.
        second.keyring.unwrap(&key.reference, &key.public, &wrapped, &value(1)).unwrap();
        assert!(
            matches!(second.keyring.open(&key.reference, digest), Err(BackendError::WrongAttribute { .. })),
            "{kind}: nobody said that it may be a restored one"
        );
        second.exceptions.add(digest, Exception::Restored);
        assert_eq!(second.keyring.open(&key.reference, digest).unwrap(), key.public);
        let guards = second.keyring.guards(&key.reference, digest).unwrap();
        let of = |name: &str| guards.iter().find(|guard| guard.attribute == name).unwrap().value.clone();
        assert_eq!(
            (of("CKA_EXTRACTABLE"), of("CKA_LOCAL"), of("CKA_DESTROYABLE")),
            ("false".into(), "false".into(), "false".into())
        );
        assert!(matches!(
            second.keyring.wrap(&key.reference, digest, &brought(1)),
            Err(BackendError::NotWrappable { .. })
        ));
    }
    assert!(first.token.labels().iter().chain(&second.token.labels()).all(|label| label != "wrap"));
}

#[test]
fn a_key_of_another_kind_than_its_public_key_is_left_nowhere() {
    let (first, second) = (Held::new("first"), Held::new("second"));
    let key = first.wrappable(KeyKind::EcdsaP384);
    let wrapped = first.keyring.wrap(&key.reference, key.public.digest(), &brought(1)).unwrap();
    let other = KeyRequest { label: label("other"), kind: KeyKind::EcdsaP256, purpose: KeyPurpose::Root };
    let other = first.keyring.generate(&other).unwrap();
    let error = second.keyring.unwrap(&key.reference, &other.public, &wrapped, &value(1)).unwrap_err();
    assert!(matches!(error, BackendError::NotItsHalf { .. }), "{error}");
    assert!(second.token.labels().is_empty());
    second.keyring.unwrap(&key.reference, &key.public, &wrapped, &value(1)).unwrap();
}

#[test]
fn an_extractable_key_is_refused_until_somebody_names_it() {
    let held = Held::new("named");
    let key = held.make(KeyKind::EcdsaP256, KeyPurpose::Wrappable(Wrappers::Any));
    let digest = key.public.digest();
    let refused = |error: BackendError| {
        assert!(matches!(error, BackendError::WrongAttribute { attribute: "CKA_EXTRACTABLE", .. }), "{error}");
    };
    refused(held.keyring.open(&key.reference, digest).unwrap_err());
    refused(held.keyring.wrap(&key.reference, digest, &brought(1)).unwrap_err());
    // Another's exception, and another exception, are none.
    held.exceptions.add(SpkiDigest::from_bytes([7; 32]), Exception::Wrappable);
    held.exceptions.add(digest, Exception::Restored);
    refused(held.keyring.open(&key.reference, digest).unwrap_err());
    held.exceptions.add(digest, Exception::Wrappable);
    held.keyring.open(&key.reference, digest).unwrap();
    assert_eq!(held.exceptions.all().len(), 3);
}

#[test]
fn what_was_not_made_to_be_wrapped_never_leaves_its_token() {
    let held = Held::new("stays");
    let key = held.make(KeyKind::EcdsaP384, KeyPurpose::Root);
    held.exceptions.add(key.public.digest(), Exception::Wrappable);
    let error = held.keyring.wrap(&key.reference, key.public.digest(), &brought(1)).unwrap_err();
    assert!(matches!(error, BackendError::NotWrappable { .. }), "{error}");
}

#[test]
fn a_wrapping_that_was_altered_or_of_another_wrap_key_brings_nothing() {
    let (first, second) = (Held::new("first"), Held::new("second"));
    let key = first.wrappable(KeyKind::EcdsaP256);
    let wrapped = first.keyring.wrap(&key.reference, key.public.digest(), &brought(1)).unwrap();
    let unwrap = |wrapped: &[u8], by: &WrapValue| second.keyring.unwrap(&key.reference, &key.public, wrapped, by);
    assert!(unwrap(&wrapped, &value(2)).is_err());
    for at in [0, wrapped.len() / 2, wrapped.len() - 1] {
        let mut altered = wrapped.clone();
        altered[at] ^= 1;
        assert!(unwrap(&altered, &value(1)).is_err(), "byte {at}");
    }
    assert!(unwrap(&[], &value(1)).is_err());
    assert!(unwrap(&wrapped[..8], &value(1)).is_err());
    assert!(second.token.labels().is_empty(), "nothing is left behind");
    unwrap(&wrapped, &value(1)).unwrap();
}

#[test]
fn a_wrap_key_is_read_back_and_wraps_as_its_value_does() {
    let first = Held::new("first");
    let wrap = label("wrap");
    assert_eq!(first.keyring.wrap_key(&wrap).unwrap(), None);
    let made = first.keyring.make_wrap_key(&wrap, &value(3)).unwrap();
    assert_eq!(first.keyring.wrap_key(&wrap).unwrap().as_ref(), Some(&made));
    assert_eq!(made.check_value, Some(value(3).check_value().unwrap()));
    assert!(matches!(first.keyring.make_wrap_key(&wrap, &value(4)), Err(BackendError::LabelTaken { .. })));
    let key = first.wrappable(KeyKind::EcdsaP256);
    let digest = key.public.digest();
    let by_token = first.keyring.wrap(&key.reference, digest, &WrapKey::InToken(wrap)).unwrap();
    assert_eq!(by_token, first.keyring.wrap(&key.reference, digest, &brought(3)).unwrap());
    let missing = first.keyring.wrap(&key.reference, digest, &WrapKey::InToken(label("none"))).unwrap_err();
    assert!(matches!(missing, BackendError::WrapKeyNotFound { .. }), "{missing}");
}

/// What a thief asks of a key that comes out of its wrapping: that it is readable.
fn readable() -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::EC),
        Attribute::Token(false),
        Attribute::Private(false),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
    ]
}

fn reads(session: &Session, object: ObjectHandle) -> bool {
    let read = session.get_attributes(object, &[AttributeType::Value]).unwrap_or_default();
    // Without the zeros it begins with, of which one key in 256 has some.
    matches!(read.as_slice(), [Attribute::Value(scalar)] if (28..=32).contains(&scalar.len()))
}

#[test]
fn whoever_is_logged_in_and_has_a_backup_brings_nothing_out_of_it_with_the_wrap_key_of_the_token() {
    for (wrappers, trusted) in [(Wrappers::Any, false), (Wrappers::Trusted, true)] {
        let mut held = Held::new("direction");
        let wrap = label("wrap");
        if trusted {
            let Held { token, keyring, .. } = held;
            drop(keyring);
            let place = (token.label(), Some(token.serial()));
            make_trusted_wrap_key(&MODULE.into(), place, &SO_PIN.into(), &wrap, &value(5)).unwrap();
            held = Held::open(token);
        } else {
            held.keyring.make_wrap_key(&wrap, &value(5)).unwrap();
        }
        let key = held.make(KeyKind::EcdsaP256, KeyPurpose::Wrappable(wrappers));
        held.exceptions.add(key.public.digest(), Exception::Wrappable);
        let wrapped = held.keyring.wrap(&key.reference, key.public.digest(), &WrapKey::InToken(wrap)).unwrap();

        let session = held.token.session();
        let named = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Label(b"wrap".to_vec())];
        let wrapper = session.find_objects(&named).unwrap()[0];
        let unwrap = |wrapper| session.unwrap_key(&Mechanism::AesKeyWrapPad, wrapper, &wrapped, &readable());
        let refused = unwrap(wrapper).unwrap_err();
        assert!(matches!(refused, Error::Pkcs11(RvError::KeyFunctionNotPermitted, _)), "{refused}");
        // Nor with what could be made of it.
        assert!(session.update_attributes(wrapper, &[Attribute::Unwrap(true)]).is_err());
        assert!(session.copy_object(wrapper, &[Attribute::Token(false), Attribute::Unwrap(true)]).is_err());
        assert!(unwrap(wrapper).is_err());
        // Those who have its value do, and so the file is what it is taken for.
        let known = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Token(false),
            Attribute::Unwrap(true),
            Attribute::Value(vec![5; 32]),
        ];
        let known = session.create_object(&known).unwrap();
        assert!(reads(&session, unwrap(known).unwrap()));
        session.destroy_object(known).unwrap();
        // A trusted one is a public object: nobody has to be logged in to see it.
        drop(held.keyring);
        session.logout().unwrap();
        let seen = session.find_objects(&named).unwrap();
        assert_eq!(seen.len(), usize::from(trusted));
        assert!(seen.into_iter().all(|wrapper| unwrap(wrapper).is_err()));
    }
}

#[test]
fn a_lasting_wrap_key_that_unwraps_is_none() {
    let held = Held::new("both-ways");
    let key = held.wrappable(KeyKind::EcdsaP256);
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Id(vec![1; 8]),
        Attribute::Label(b"wrap".to_vec()),
        Attribute::Value(vec![5; 32]),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Wrap(true),
        Attribute::Unwrap(true),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Derive(false),
        Attribute::Modifiable(false),
        Attribute::Copyable(false),
        Attribute::AllowedMechanisms(vec![MechanismType::AES_KEY_WRAP_PAD]),
    ];
    held.token.session().create_object(&template).unwrap();
    let by = WrapKey::InToken(label("wrap"));
    for error in [
        held.keyring.wrap(&key.reference, key.public.digest(), &by).unwrap_err(),
        held.keyring.wrap_key(&label("wrap")).unwrap_err(),
    ] {
        assert!(matches!(error, BackendError::WrapKeyUnfit { attribute: "CKA_UNWRAP", .. }), "{error}");
    }
}

#[test]
fn a_key_for_trusted_wrap_keys_is_wrapped_by_no_other() {
    let held = Held::new("trusted");
    let key = held.make(KeyKind::EcdsaP256, KeyPurpose::Wrappable(Wrappers::Trusted));
    held.exceptions.add(key.public.digest(), Exception::Wrappable);
    let error = held.keyring.wrap(&key.reference, key.public.digest(), &brought(1)).unwrap_err();
    assert!(error.to_string().contains("CKR_KEY_NOT_WRAPPABLE"), "{error}");
    let guards = held.keyring.guards(&key.reference, key.public.digest()).unwrap();
    assert!(guards.iter().any(|guard| guard.attribute == "CKA_WRAP_WITH_TRUSTED" && guard.value == "true"));
}

#[test]
fn keys_in_files_are_not_wrapped() {
    let directory = tempfile::tempdir().unwrap();
    let config =
        BackendConfig::Software { directory: directory.path().join("keys"), passphrase: "a passphrase".into() };
    let keyring = Keyring::open_backend(config, SoftwareKeys::Admitted).unwrap();
    let purpose = KeyPurpose::Wrappable(Wrappers::Any);
    let request = KeyRequest { label: label("root"), kind: KeyKind::EcdsaP256, purpose };
    for error in
        [keyring.generate(&request).unwrap_err(), keyring.make_wrap_key(&label("wrap"), &value(1)).unwrap_err()]
    {
        assert!(error.to_string().contains("keys in files are not wrapped"), "{error}");
    }
}

#[test]
fn a_token_says_whether_it_wraps() {
    let token = Token::make("able");
    let found = survey(&token.module().into(), token.label(), None).unwrap();
    assert!(found.wrapping.wraps && found.wrapping.unwraps);
}
