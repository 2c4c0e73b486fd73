//! What a place for keys can do, tried one after another, in words for a table.

use std::{env, fs};

use cryptoki::{
    object::{Attribute, AttributeType},
    session::{Session, UserType},
};
use hallmark_policy::key::{KeyKind, SignatureAlgorithm};
use hallmark_test_token::{PIN, Token};

use super::{Place, World, module, request};
use crate::{
    BackendError, KeyLabel, KeyPurpose, NewKey, WrapValue,
    pkcs11::{
        access::{Access, Mode},
        failure::failed,
        objects,
        template::{self, Wanted},
    },
    survey, yubihsm_kinds,
};

/// Names a file, into which the row of the other module goes.
pub(super) const ROW: &str = "HALLMARK_TEST_ROW";

/// What is tried, as the table's first row has it.
pub(super) const COLUMNS: [&str; 14] = [
    "library",
    "P-256",
    "P-384",
    "Ed25519",
    "RSA-2048",
    "RSA-3072",
    "RSA-4096",
    "ML-DSA",
    "RSA-PSS",
    "what differs from a CA key's attributes",
    "wrap keys",
    "sessions",
    "after C_Finalize",
    "after wrong PINs",
];

/// It works, and a CA key that is made so is as strictly kept as it should be.
const OK: &str = "ok";

/// It makes such keys and signs with them, and keeps them less strictly than a CA key is.
const LOOSE: &str = "loose";

/// The device has no mechanism for it, as it says itself.
const NO: &str = "no mechanism";

/// Nothing was there to be tried.
const NOT_TRIED: &str = "not tried";

/// What a device would do, and its stand-in does not.
const NOT_IN_THE_MOCK: &str = "not in the mock";

/// More wrong PINs are never tried on any device.
const WRONG_PINS_MAX: usize = 3;

const WRONG_PIN: &str = "00000000";

#[test]
fn a_row_says_what_a_place_for_keys_can_do() {
    let Some(path) = env::var_os(ROW) else {
        let row = row(World::software());
        assert_eq!(row.len(), COLUMNS.len());
        assert!(row[1..9].iter().all(|cell| cell == OK), "{row:?}");
        return;
    };
    let token = Token::other().expect("another module");
    fs::write(path, row(World::at(Place::Token(token))).join("\n")).unwrap();
}

/// Everything that is tried of a place, one cell for each column.
pub(super) fn row(world: World) -> Vec<String> {
    let mut cells = vec![world.keyring.describe().library];
    let offered = world.kinds();
    let made: Vec<_> = KeyKind::ALL.into_iter().map(|kind| (kind, key(&world, kind, &offered))).collect();
    cells.extend(COLUMNS[1..8].iter().map(|column| {
        let mut of_column = made.iter().filter(|(kind, _)| column_of(*kind) == *column).map(|(_, (cell, _))| cell);
        let first = of_column.next().unwrap();
        if of_column.all(|cell| cell == first) { first.clone() } else { "some".to_owned() }
    }));
    cells.push(pss(&world, &made));
    cells.push(attributes(&world));
    cells.push(wrap_keys(&world));
    let first = made.into_iter().find_map(|(_, (_, key))| key);
    match &world.place {
        Place::Token(token) => {
            cells.push(sessions(&world));
            token.finalize();
            cells.push(after_the_end(&world, first.as_ref()));
            drop(world.keyring);
            cells.push(wrong_pins(token));
        }
        Place::Directory(_) => cells.extend(["not counted", "has none", "no bound"].map(str::to_owned)),
        Place::YubiHsm(_) => cells.extend(["not counted", "has none", NOT_TRIED].map(str::to_owned)),
        Place::AwsKms(..) => cells.extend(["not counted", "has none", "has no PIN"].map(str::to_owned)),
        Place::Manual(_) => panic!("it is our reading of a manual, and no row says what that can do"),
    }
    cells
}

fn column_of(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::EcdsaP256 => "P-256",
        KeyKind::EcdsaP384 => "P-384",
        KeyKind::Ed25519 => "Ed25519",
        KeyKind::Rsa2048 => "RSA-2048",
        KeyKind::Rsa3072 => "RSA-3072",
        KeyKind::Rsa4096 => "RSA-4096",
        // All three sets, or the cell says `some`.
        KeyKind::MlDsa44 | KeyKind::MlDsa65 | KeyKind::MlDsa87 => "ML-DSA",
    }
}

/// Makes a key as this signer does, opens it and signs; where it is not made, as the device itself would have it.
fn key(world: &World, kind: KeyKind, offered: &[KeyKind]) -> (String, Option<NewKey>) {
    if !offered.contains(&kind) {
        let why = match world.place {
            Place::YubiHsm(_) if yubihsm_kinds().any(|known| known == kind) => NOT_IN_THE_MOCK,
            // The service has ML-DSA, and moto has not.
            Place::AwsKms(..) => NOT_TRIED,
            Place::Token(_) | Place::Directory(_) | Place::YubiHsm(_) | Place::Manual(_) => NO,
        };
        return (why.to_owned(), None);
    }
    match world.keyring.generate(&request(kind.name(), kind)) {
        Ok(key) => {
            let opened = world.keyring.open(&key.reference, key.public.digest());
            let signed = opened.map(|_| world.sign(&key, SignatureAlgorithm::default_for(kind)));
            match signed {
                Ok(Ok(_)) => (OK.to_owned(), Some(key)),
                Ok(Err(error)) => (error.to_string(), None),
                Err(error) => (short(&error), None),
            }
        }
        Err(_) if bare(world.token(), kind) => (LOOSE.to_owned(), None),
        Err(error) => (short(&error), None),
    }
}

fn pss(world: &World, made: &[(KeyKind, (String, Option<NewKey>))]) -> String {
    let algorithm = SignatureAlgorithm::RsaPssSha256;
    let key = made.iter().filter(|(kind, _)| kind.signs_with(algorithm)).find_map(|(_, (_, key))| key.as_ref());
    let Some(key) = key else {
        let Place::Token(token) = &world.place else { return NOT_TRIED.to_owned() };
        let signed = pair(&token.session(), KeyKind::Rsa2048, &[], algorithm);
        return signed
            .map_or_else(|| NOT_TRIED.to_owned(), |answer| answer.map_or_else(|error| error, |()| LOOSE.to_owned()));
    };
    world.sign(key, algorithm).map_or_else(|error| error.to_string(), |_| OK.to_owned())
}

/// Which attributes a key lacks that is made as strictly as this module lets it be made.
fn attributes(world: &World) -> String {
    let Place::Token(token) = &world.place else { return NOT_TRIED.to_owned() };
    let session = token.session();
    let destroy = |(public, private)| [private, public].map(|object| session.destroy_object(object).unwrap());
    let makes = |kind: &&KeyKind| generate(&session, **kind, &[]).map(destroy).is_some();
    let Some(kind) = KeyKind::ALL.iter().find(makes) else { return NOT_TRIED.to_owned() };
    let mut taken: Vec<Attribute> = Vec::new();
    for attribute in template::private_key(*kind, ID, NAME, KeyPurpose::Epoch) {
        let more = [taken.clone(), vec![attribute]].concat();
        if let Some(made) = generate(&session, *kind, &more) {
            destroy(made);
            taken = more;
        }
    }
    let Some((public, private)) = generate(&session, *kind, &taken) else { return NOT_TRIED.to_owned() };
    let wanted = template::asked_for(*kind).into_iter().chain(template::told_by_the_device(*kind));
    let differs = |(name, wanted): Wanted| {
        let found = objects::read(&session, private, wanted.attribute_type());
        match found {
            Ok(found) if found.as_ref().is_some_and(|found| objects::same(found, &wanted)) => None,
            Ok(Some(Attribute::AllowedMechanisms(_))) => Some(format!("{name} has others")),
            Ok(found) => Some(format!("{name} {}", objects::shown(found.as_ref()))),
            Err(error) => Some(format!("{name}: {}", short(&error))),
        }
    };
    let purpose = [KeyPurpose::Epoch].map(template::needed_for);
    let found: Vec<_> = wanted.chain(purpose).filter_map(differs).collect();
    [private, public].into_iter().for_each(|object| session.destroy_object(object).unwrap());
    if found.is_empty() { "none".to_owned() } else { found.join("; ") }
}

fn wrap_keys(world: &World) -> String {
    let Some(found) = world.place.survey() else { return "has none".to_owned() };
    if !found.wrapping.wraps && !found.wrapping.unwraps {
        return NO.to_owned();
    }
    let label = KeyLabel::parse("wrap").unwrap();
    let made = world.keyring.make_wrap_key(&label, &WrapValue::filled(|bytes| bytes.fill(7)));
    made.map_or_else(|error| short(&error), |_| OK.to_owned())
}

fn sessions(world: &World) -> String {
    let most = world.place.survey().and_then(|found| found.sessions_max);
    most.map_or_else(|| "no bound told".to_owned(), |most| most.to_string())
}

/// The module's state was ended behind the signer's back.
fn after_the_end(world: &World, key: Option<&NewKey>) -> String {
    let health = world.keyring.health();
    match (health, key) {
        (Err(error), _) => short(&error),
        (Ok(_), None) => "opens again".to_owned(),
        (Ok(_), Some(key)) => {
            let algorithm = SignatureAlgorithm::default_for(key.public.kind());
            world.sign(key, algorithm).map_or_else(|error| error.to_string(), |_| "signs again".to_owned())
        }
    }
}

/// What the token's flags say after each wrong PIN, until this signer tries no more.
fn wrong_pins(token: &Token) -> String {
    let mut told = Vec::new();
    for _ in 0..WRONG_PINS_MAX {
        let access = Access::new(&module(token), token.label().to_owned(), None, WRONG_PIN.into()).unwrap();
        let refused = access.session(Mode::Read).map(drop).unwrap_err();
        if matches!(refused, BackendError::WrongPin { .. }) {
            let again = access.session(Mode::Read).map(drop).unwrap_err();
            assert!(matches!(again, BackendError::WrongPin { .. }), "{again}");
            told.push(flags(token));
            continue;
        }
        if matches!(refused, BackendError::PinFinalTry { .. }) {
            assert_eq!(flags(token), told.last().cloned().unwrap(), "it was not tried");
            told.push("left alone".to_owned());
            token.bare_session().login(UserType::User, Some(&WRONG_PIN.into())).unwrap_err();
            told.push(format!("a third one by others: {}", flags(token)));
            let access = Access::new(&module(token), token.label().to_owned(), None, PIN.into()).unwrap();
            let locked = access.session(Mode::Read).map(drop).unwrap_err();
            assert!(matches!(locked, BackendError::PinLocked { .. }), "{locked}");
        } else {
            told.push(short(&refused));
        }
        break;
    }
    told.dedup();
    told.join(", ")
}

fn flags(token: &Token) -> String {
    let pin = survey(&module(token), token.label(), None).unwrap().pin;
    let set = [(pin.count_low, "COUNT_LOW"), (pin.final_try, "FINAL_TRY"), (pin.locked, "LOCKED")];
    let set: Vec<_> = set.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect();
    if set.is_empty() { "no flag".to_owned() } else { set.join(" ") }
}

const ID: &[u8] = b"\x01";
const NAME: &str = "bare";

/// Whether the device makes and signs with a key that nobody asked to be kept strictly.
fn bare(token: &Token, kind: KeyKind) -> bool {
    matches!(pair(&token.session(), kind, &[], SignatureAlgorithm::default_for(kind)), Some(Ok(())))
}

/// Signs with a key that lasts no longer; none if it is not made.
fn pair(
    session: &Session,
    kind: KeyKind,
    more: &[Attribute],
    algorithm: SignatureAlgorithm,
) -> Option<Result<(), String>> {
    let (public, private) = generate(session, kind, more)?;
    let signed = session.sign(&template::signing(algorithm), private, &[7; 32]);
    [private, public].into_iter().for_each(|object| session.destroy_object(object).unwrap());
    Some(signed.map(drop).map_err(|error| short(&failed(error))))
}

/// Makes a pair with little more than what it takes, and these attributes of the private key.
fn generate(
    session: &Session,
    kind: KeyKind,
    more: &[Attribute],
) -> Option<(cryptoki::object::ObjectHandle, cryptoki::object::ObjectHandle)> {
    let is_needed = |attribute: &Attribute| {
        matches!(
            attribute.attribute_type(),
            AttributeType::Token
                | AttributeType::Verify
                | AttributeType::EcParams
                | AttributeType::ModulusBits
                | AttributeType::PublicExponent
                | AttributeType::ParameterSet
        )
    };
    template::ways(kind).iter().find_map(|way| {
        let mut public = template::public_key(way, ID, NAME, KeyPurpose::Epoch);
        public.retain(is_needed);
        let mut private =
            vec![Attribute::Token(true), Attribute::Private(true), Attribute::Sensitive(true), Attribute::Sign(true)];
        private.retain(|own| more.iter().all(|given| given.attribute_type() != own.attribute_type()));
        private.extend(more.iter().cloned());
        session.generate_key_pair(&template::generation(kind), &public, &private).ok()
    })
}

/// An error in as many words as a cell has room for.
fn short(error: &BackendError) -> String {
    match (error, error.failure()) {
        (BackendError::WrongAttribute { attribute, found, .. }, _) => format!("{attribute} {found}"),
        (_, Some(failure)) => format!("{}: {}", failure.call(), failure.answer()),
        (error, None) => error.to_string(),
    }
}
