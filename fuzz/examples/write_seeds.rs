//! Writes what only this project can make: the true draft, receipts with their verifier key, mints, and frames. `seeds/csr` is openssl's
//! work, see `README.md`.
//!
//! `cd fuzz && cargo run --example write_seeds`

use std::{error::Error, fs};

use der::Decode as _;
use hallmark_fuzz::{approved, endorsed, request, true_draft};
use hallmark_policy::{NameInput, SubjectInput};
use hallmark_proto::signer::{
    InstanceIntent, InstanceNone, InstanceRefresh, InstanceRegister, MintCertificateRequest, instance_intent::Intent,
};
use hallmark_tlog::{
    checkpoint::Checkpoint, frontier::Frontier, hash::Hash, note::SignerKey, proof::BatchProver, receipt::Receipt,
};
use prost::Message as _;
use x509_cert::Certificate;

/// The seed of the log key. It guards nothing.
const LOG_KEY_SEED: [u8; 32] = [5; 32];

fn main() -> Result<(), Box<dyn Error>> {
    fs::write("seeds/tbs_readback/true-draft", true_draft())?;
    fs::write("seeds/tbs_readback/many-names", many_names()?)?;
    let key = SignerKey::generate("hallmark.lab/fuzz", LOG_KEY_SEED)?;
    fs::write("fixtures/log.vkey", format!("{}\n", key.verifier()))?;
    for size in [6, 7, 300] {
        let leaves: Vec<_> = (0..size).map(|number| Hash::of_leaf(format!("entry {number}").as_bytes())).collect();
        let prover = BatchProver::new(&Frontier::empty(), &leaves);
        let note = Checkpoint::new("hallmark.lab/fuzz", prover.size(), prover.root())?.sign(&key)?;
        fs::write(format!("seeds/receipt/checkpoint-{size}"), note.to_string())?;
        let receipt = Receipt::new(5, prover.inclusion(5).ok_or("no proof")?, note);
        fs::write(format!("seeds/receipt/receipt-{size}"), receipt.to_string())?;
        fs::write(format!("seeds/receipt/receipt-extra-{size}"), receipt.with_extra(b"extra".to_vec()).to_string())?;
    }
    mints()?;
    frames()
}

/// Messages with how urgent they are, after a moment in the fixture's last tenth, and one before it.
fn mints() -> Result<(), Box<dyn Error>> {
    let certificate = include_bytes!("../fixtures/coordinator.der");
    let validity = *Certificate::from_der(certificate)?.tbs_certificate().validity();
    let [begin, end] = [validity.not_before, validity.not_after].map(|time| time.to_unix_duration().as_secs());
    let [early, late] = [begin + 1, end - 1].map(u64::to_be_bytes);
    let refresh = || InstanceRefresh { current_certificate: certificate.to_vec().into(), ..InstanceRefresh::default() };
    for (name, now, intent) in [
        ("refresh", early, Some(Intent::Refresh(refresh()))),
        ("nearly-expired", late, Some(Intent::Refresh(refresh()))),
        ("registration", early, Some(Intent::Register(InstanceRegister {}))),
        ("none", early, Some(Intent::None(InstanceNone {}))),
        ("other", early, None),
    ] {
        let instance = intent.map(|intent| InstanceIntent { intent: Some(intent) });
        let profile = "athenz-service".to_owned();
        let mint = MintCertificateRequest { profile, instance, ..MintCertificateRequest::default() };
        fs::write(format!("seeds/urgency/{name}"), [&now[..], &mint.encode_to_vec()].concat())?;
    }
    Ok(())
}

/// What a client sends first, whole and cut off, with the size of its pieces before it.
fn frames() -> Result<(), Box<dyn Error>> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let frame = |kind: u8, flags: u8, payload: &[u8]| -> Result<Vec<u8>, Box<dyn Error>> {
        let length = u32::try_from(payload.len())?.to_be_bytes();
        Ok([&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat())
    };
    let (settings, headers, rest, data) =
        (frame(4, 0, &[])?, frame(1, 0, &[0x82; 20])?, frame(9, 4, &[0x84; 5])?, frame(0, 1, &[7; 300])?);
    let whole = [PREFACE, &settings, &headers, &rest, &data].concat();
    let block = [PREFACE, &settings, &headers].concat();
    for (name, piece, sent) in [
        ("whole", 255, &whole[..]),
        ("byte-by-byte", 0, &whole),
        ("header-block", 8, &block),
        ("half-a-frame", 16, &whole[..whole.len() - 100]),
        ("half-a-header", 2, &whole[..PREFACE.len() + 4]),
        ("preface", 30, PREFACE),
    ] {
        fs::write(format!("seeds/progress/{name}"), [&[piece], sent].concat())?;
    }
    Ok(())
}

fn many_names() -> Result<Vec<u8>, Box<dyn Error>> {
    let dns = NameInput::Dns("cart.example.com".to_owned());
    let uri = |uri: &str| NameInput::Uri(uri.to_owned());
    let names = vec![dns, uri("spiffe://zone.example"), uri("https://zone.example/a/cart.example.com")];
    let subject =
        SubjectInput::Spki { spki: hallmark_fuzz::SUBJECT_SPKI.to_vec(), common_name: "cart.shop".to_owned(), names };
    let approved = approved(&hallmark_fuzz::PERMISSIVE, request("named", subject)).ok_or("refused")?;
    Ok(endorsed(approved).to_be_signed().to_vec())
}
