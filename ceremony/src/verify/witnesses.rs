//! What witnesses stand for: initials at each step, and signatures over the transcript.
//!
//! A witness with an SSH key signs with OpenSSH: `ssh-keygen -Y sign -f KEY -n hallmark-ceremony TRANSCRIPT`, and puts the result beside the
//! transcript as `TRANSCRIPT.INITIALS.sig`.

use std::path::Path;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use hallmark_entry::Value;
use ssh_key::{SshSig, public::KeyData};

use super::{Verdict, is};
use crate::{
    digest::sha256,
    meaning::beside,
    output,
    transcript::{Present, Transcript},
};

/// The namespace of signatures over transcripts (OpenSSH, PROTOCOL.sshsig).
pub const NAMESPACE: &str = "hallmark-ceremony";

/// Every step that was to be confirmed was, by everybody; and the log says so, too.
pub(super) fn confirmed(read: &Transcript, log: &[Vec<u8>], verdict: &mut Verdict) {
    if read.confirmations.is_empty() {
        let sentence = "nobody confirmed anything: it was run without people";
        if read.witnesses.is_empty() {
            verdict.holds.push(sentence.to_owned())
        } else {
            verdict.broken.push(sentence.to_owned())
        }
        return;
    }
    let missing: Vec<String> = read
        .steps
        .iter()
        .flat_map(|done| read.witnesses.iter().map(move |witness| (done, witness)))
        .filter(|(done, witness)| {
            !read.confirmations.iter().any(|found| found.step == done.step && found.by == witness.name)
        })
        .map(|(done, witness)| format!("`{}` by {}", done.step, witness.name))
        .collect();
    let entries = read.log.entries.iter().filter_map(|index| log.get(usize::try_from(*index).ok()?));
    let logged: Vec<_> = entries
        .filter_map(|entry| Value::read(entry))
        .filter(|entry| is(entry, "action", "confirmed") && is(entry, "ceremony", &read.ceremony))
        .filter_map(|entry| entry.member("step").and_then(Value::text))
        .collect();
    // What was confirmed before the log was open cannot stand in it.
    let open = read.confirmations.iter().skip_while(|found| !logged.contains(&found.step.as_str()));
    let unlogged: Vec<_> =
        open.filter(|found| !logged.contains(&found.step.as_str())).map(|found| found.step.clone()).collect();
    verdict.look(
        missing.is_empty(),
        format!("every step was confirmed by {}", names(&read.witnesses)),
        format!("these were not confirmed: {}", missing.join(", ")),
    );
    verdict.look(
        unlogged.is_empty(),
        "the log says who confirmed what before it was done",
        format!("the log does not say who confirmed {}", unlogged.join(", ")),
    );
}

fn names(witnesses: &[Present]) -> String {
    witnesses.iter().map(|witness| witness.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Every witness who has a key signed the transcript.
pub(super) fn signed(read: &Transcript, bytes: &[u8], transcript: &Path, verdict: &mut Verdict) {
    for witness in read.witnesses.iter().filter(|witness| !witness.ssh_key.is_empty()) {
        let path = beside(transcript, &format!("{}.sig", witness.initials));
        let found = output::read(&path).map_err(|error| error.to_string());
        let result = found.and_then(|armoured| {
            let text = String::from_utf8(armoured).map_err(|_| "its signature is no text".to_owned())?;
            holds(&text, bytes, &witness.ssh_key).map_err(str::to_owned)
        });
        match result {
            Ok(()) => verdict.holds.push(format!("{} signed the transcript", witness.name)),
            Err(sentence) => verdict.broken.push(format!("{} did not sign the transcript: {sentence}", witness.name)),
        }
    }
}

/// Whether an armoured SSH signature is one over the transcript by that key.
fn holds(armoured: &str, bytes: &[u8], key: &str) -> Result<(), &'static str> {
    let signature = SshSig::from_pem(armoured).map_err(|_| "its signature does not read")?;
    let key = ssh_key::PublicKey::from_openssh(key).map_err(|_| "its key does not read")?;
    if signature.public_key() != key.key_data() {
        return Err("its signature is by another key");
    }
    if signature.namespace() != NAMESPACE {
        return Err("its signature is for another purpose");
    }
    let message =
        SshSig::signed_data(NAMESPACE, signature.hash_alg(), bytes).map_err(|_| "its signature does not read")?;
    let raw = signature.signature_bytes();
    #[expect(clippy::wildcard_enum_match_arm, reason = "the library may come to know more kinds")]
    let good = match key.key_data() {
        KeyData::Ed25519(public) => verifies(&public.0, &message, raw),
        KeyData::SkEd25519(public) => {
            let application = sha256(public.application().as_bytes());
            of_a_token(raw, &application, &message)
                .is_some_and(|(message, raw)| verifies(&public.public_key().0, &message, raw))
        }
        _ => return Err("its key is no Ed25519 key; only those are verified here"),
    };
    if good { Ok(()) } else { Err("its signature is wrong") }
}

fn verifies(key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key.as_slice()).verify(message, signature).is_ok()
}

/// What a FIDO token signed, and its signature, where somebody touched it (OpenSSH, PROTOCOL.u2f).
fn of_a_token<'a>(raw: &'a [u8], application: &[u8; 32], message: &[u8]) -> Option<(Vec<u8>, &'a [u8])> {
    const SIGNATURE_BYTES: usize = 64;
    const PRESENT: u8 = 1;
    let (signature, rest) = raw.split_at_checked(SIGNATURE_BYTES)?;
    let (flags, counter) = rest.split_first()?;
    if counter.len() != 4 || flags & PRESENT == 0 {
        return None;
    }
    let digest = sha256(message);
    Some(([&application[..], &[*flags], counter, &digest[..]].concat(), signature))
}
