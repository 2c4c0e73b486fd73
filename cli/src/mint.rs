//! `hallmark mint`: ask, check, write, say.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use hallmark_proto::signer::{
    InstanceIntent, InstanceRefresh, InstanceRegister, MintCertificateRequest, MintCertificateResponse, SubjectAltName,
    instance_intent::Intent, mint_certificate_request::Subject, subject_alt_name::Name,
};
use serde_json::{Value, json};

use crate::{
    arguments::MintArguments,
    certificate::spki_of_csr,
    checks::{self, Checked, Expectation, ReceiptCheck},
    config::Config,
    connection::{self, Connection, ConnectionError},
    exit::Exit,
    files::{self, FileError, Target},
    log::key,
    pem,
    problem::Problem,
    screen::{Screen, Tone},
    settings::{ConnectionSettings, SettingsError, first},
    table::Table,
    when,
};

/// Mints.
pub(crate) fn mint(arguments: &MintArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let config = Config::load(config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, &config)?;
    let outputs = Outputs::new(arguments, screen)?;
    let (request, expectation) = request(arguments, &config)?;
    let request_id = request.request_id.clone();
    let answer = ask(&settings, request).map_err(|problem| name_request(problem, &request_id))?;
    let does_not_hold = |source| Problem::Check { request_id: Some(request_id.clone()), source };
    let checked = checks::minted(&answer, &expectation).map_err(does_not_hold)?;
    let not_written = |source| Problem::MintedNotWritten { request_id: request_id.clone(), source };
    let on_stdout = outputs.write(&answer).map_err(not_written)?;
    screen.data(on_stdout.as_bytes())?;
    screen.say(&describe(&answer, &checked, &request_id, &outputs, screen));
    screen.answer(&to_json(&answer, &checked, &request_id))?;
    Ok(Exit::Done)
}

fn ask(settings: &ConnectionSettings, request: MintCertificateRequest) -> Result<MintCertificateResponse, Problem> {
    connection::runtime()?.block_on(async {
        let connection = Connection::open(settings).await?;
        connection.call(request, async |mut client, request| client.mint_certificate(request).await).await
    })
}

/// What is done to the record of an instance.
fn intent(arguments: &MintArguments) -> Result<Option<Intent>, Problem> {
    if arguments.register {
        return Ok(Some(Intent::Register(InstanceRegister {})));
    }
    let Some(path) = &arguments.refresh else { return Ok(None) };
    let certificate = pem::first_certificate(&files::read(path)?);
    let certificate =
        certificate.ok_or_else(|| FileError::Unexpected { path: path.clone(), expected: "certificate" })?;
    let proof = arguments.refresh_proof.as_deref().map(files::read).transpose()?.unwrap_or_default();
    Ok(Some(Intent::Refresh(InstanceRefresh {
        current_certificate: certificate.into(),
        possession_signature: proof.into(),
    })))
}

/// Whoever did not get an answer needs the request's name to ask again.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others are about what was not sent")]
fn name_request(problem: Problem, request_id: &str) -> Problem {
    match problem {
        Problem::Refused(refused) => Problem::Refused(Box::new(refused.with_request_id(request_id))),
        Problem::Connection(source @ (ConnectionError::Lost { .. } | ConnectionError::NotInTime { .. })) => {
            Problem::Unanswered { request_id: request_id.to_owned(), source: Box::new(source) }
        }
        other => other,
    }
}

fn request(arguments: &MintArguments, config: &Config) -> Result<(MintCertificateRequest, Expectation), Problem> {
    let (authority, profile) = profile(arguments, config)?;
    let (subject, spki) = subject(arguments)?;
    let log_key = first(&arguments.log_key, &config.log_key);
    let request_id = match &arguments.request_id {
        Some(id) => id.clone(),
        None => random_id()?,
    };
    let request = MintCertificateRequest {
        authority,
        profile,
        request_id,
        subject,
        lifetime_seconds: arguments.lifetime.map_or(0, |lifetime| lifetime.secs()),
        transition: digest(arguments.transition),
        policy_hash: digest(arguments.policy_hash),
        evidence_sha256: digest(arguments.evidence_sha256),
        evidence_jwt: arguments.evidence_jwt.as_deref().map(files::read_jwt).transpose()?.unwrap_or_default(),
        instance: intent(arguments)?.map(|intent| InstanceIntent { intent: Some(intent) }),
        validate_only: arguments.validate_only,
        subject_alt_names: names(arguments).map(|name| SubjectAltName { name: Some(name) }).collect(),
        common_name: arguments.common_name.clone().unwrap_or_default(),
        ..MintCertificateRequest::default()
    };
    let log_keys = log_key.map(|key| key::read(&key)).transpose()?.unwrap_or_default();
    let (transition, validate_only) = (arguments.transition, arguments.validate_only);
    Ok((request, Expectation { spki, transition, validate_only, log_keys }))
}

fn digest(typed: Option<[u8; 32]>) -> Bytes {
    typed.map(|digest| Bytes::copy_from_slice(&digest)).unwrap_or_default()
}

/// The names beside a bare key.
fn names(arguments: &MintArguments) -> impl Iterator<Item = Name> {
    let MintArguments { dns, uri, ip, email, .. } = arguments;
    let octets = |address: &IpAddr| match address {
        IpAddr::V4(address) => Bytes::copy_from_slice(&address.octets()),
        IpAddr::V6(address) => Bytes::copy_from_slice(&address.octets()),
    };
    let dns = dns.iter().cloned().map(Name::Dns);
    let named = dns.chain(uri.iter().cloned().map(Name::Uri));
    named.chain(ip.iter().map(octets).map(Name::Ip)).chain(email.iter().cloned().map(Name::Email))
}

/// Authority, which may be empty, and profile.
fn profile(arguments: &MintArguments, config: &Config) -> Result<(String, String), Problem> {
    let missing = SettingsError::Missing { what: "the profile", name: "profile" };
    let typed = first(&arguments.profile, &config.profile).ok_or(missing)?;
    let Some((inside, profile)) = typed.split_once('/') else {
        return Ok((first(&arguments.authority, &config.authority).unwrap_or_default(), typed));
    };
    match arguments.authority.as_deref().filter(|beside| !beside.is_empty() && *beside != inside) {
        Some(beside) => {
            let (inside, beside) = (inside.to_owned(), beside.to_owned());
            Err(SettingsError::TwoAuthorities { profile: typed, inside, beside }.into())
        }
        None => Ok((inside.to_owned(), profile.to_owned())),
    }
}

/// What is sent, and the key in it as far as it can be read here.
fn subject(arguments: &MintArguments) -> Result<(Option<Subject>, Option<Vec<u8>>), Problem> {
    if let Some(path) = &arguments.csr {
        let csr = files::read(path)?;
        let spki = spki_of_csr(&csr);
        return Ok((Some(Subject::Csr(csr.into())), spki));
    }
    let Some(path) = &arguments.spki else { return Ok((None, None)) };
    let unexpected = || FileError::Unexpected { path: path.clone(), expected: "public key in PEM or DER" };
    let spki = pem::der_of(&files::read(path)?).ok_or_else(unexpected)?;
    Ok((Some(Subject::Spki(Bytes::copy_from_slice(&spki))), Some(spki)))
}

/// A random UUID (RFC 9562, section 5.4).
fn random_id() -> Result<String, Problem> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Problem::NoRandomness)?;
    let number = u128::from_be_bytes(bytes) & !(0xf << 76) & !(0b11 << 62) | (4 << 76) | (0b10 << 62);
    let digits = format!("{number:032x}");
    let mut id = String::with_capacity(36);
    for (position, digit) in digits.chars().enumerate() {
        if matches!(position, 8 | 12 | 16 | 20) {
            id.push('-');
        }
        id.push(digit);
    }
    Ok(id)
}

/// Where the answer goes.
#[derive(Debug)]
struct Outputs {
    certificate: Option<Target>,
    to_stdout: bool,
    chain: Option<Target>,
    receipt: Option<Target>,
    entry: Option<Target>,
}

impl Outputs {
    fn new(arguments: &MintArguments, screen: &Screen) -> Result<Self, Problem> {
        let target =
            |path: &Option<PathBuf>| path.as_deref().map(|path| Target::new(path, arguments.force)).transpose();
        let named_stdout = arguments.out.as_deref().is_some_and(Target::is_stdout);
        if named_stdout && screen.is_json() {
            return Err(SettingsError::StdoutTwice.into());
        }
        let to_stdout = named_stdout || (arguments.out.is_none() && !screen.is_json() && !arguments.validate_only);
        Ok(Self {
            certificate: if named_stdout { None } else { target(&arguments.out)? },
            to_stdout,
            chain: target(&arguments.chain_out)?,
            receipt: target(&arguments.receipt_out)?,
            entry: target(&arguments.entry_out)?,
        })
    }

    /// Writes the files, and gives what belongs on stdout.
    fn write(&self, answer: &MintCertificateResponse) -> Result<String, FileError> {
        let chain = pem::certificates(answer.chain.iter().map(AsRef::as_ref));
        let certificate = format!("{}{chain}", pem::certificates([answer.certificate.as_ref()]));
        let minted = !answer.certificate.is_empty();
        let files = [
            (&self.certificate, certificate.as_bytes(), minted),
            (&self.chain, chain.as_bytes(), minted),
            (&self.receipt, answer.receipt.as_bytes(), true),
            (&self.entry, answer.log_entry.as_ref(), true),
        ];
        for (target, content, is_there) in files {
            if let Some(target) = target.as_ref().filter(|_| is_there) {
                target.write(content)?;
            }
        }
        Ok(if self.to_stdout && minted { certificate } else { String::new() })
    }
}

fn describe(
    answer: &MintCertificateResponse,
    checked: &Checked,
    request_id: &str,
    outputs: &Outputs,
    screen: &Screen,
) -> String {
    let mut table = Table::new();
    table.list("names", names_of(checked).iter().map(String::as_str));
    let word = match &checked.leaf {
        Some(leaf) => {
            table.row(["serial", &hallmark_policy::hex(&leaf.serial)]);
            if answer.replayed { "minted before:" } else { "minted:" }
        }
        None => {
            table.row(["serial", "none yet: nothing was signed"]);
            "would be minted:"
        }
    };
    let lasts_secs = u64::try_from(answer.not_after.saturating_sub(answer.not_before)).unwrap_or(0);
    let (from, to) = (when::rfc3339(answer.not_before), when::rfc3339(answer.not_after));
    table.row(["valid", &format!("{from} to {to}, {}", when::span(lasts_secs))]);
    if let Some(epoch) = &answer.epoch {
        let transition: String = hallmark_policy::hex(&epoch.transition).chars().take(16).collect();
        let name = format!("{} generation {}, transition {transition}…", epoch.authority, epoch.generation);
        table.row(["epoch", &name]);
    }
    table.row(["log index", &answer.log_index.to_string()]);
    table.row(["receipt", receipt_in_words(checked.receipt)]);
    table.row(["request id", request_id]);
    if let Some(target) = outputs.certificate.as_ref().filter(|_| checked.leaf.is_some()) {
        table.row(["written", &target.path().display().to_string()]);
    }
    let subject = subject_of(checked);
    let subject =
        crate::screen::printable(if subject.is_empty() { "a certificate without a subject" } else { &subject });
    format!("{} {subject}\n{}", screen.tone(Tone::Good, word), table.render(2))
}

/// The subject of what was minted, or of what would be.
fn subject_of(checked: &Checked) -> String {
    match &checked.leaf {
        Some(leaf) => leaf.subject.clone(),
        None => checked.entry.subject.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

/// Its subjectAltName entries. A decision's entry has the common name among the names.
fn names_of(checked: &Checked) -> Vec<String> {
    match &checked.leaf {
        Some(leaf) => leaf.names.clone(),
        None => checked
            .entry
            .names
            .known()
            .iter()
            .map(ToString::to_string)
            .filter(|name| !name.starts_with("cn:"))
            .collect(),
    }
}

fn receipt_in_words(check: ReceiptCheck) -> &'static str {
    match check {
        ReceiptCheck::Proven => "proves that the decision is in the log",
        ReceiptCheck::NoKey => "not verified: give the log's verifier key with --log-key",
    }
}

fn to_json(answer: &MintCertificateResponse, checked: &Checked, request_id: &str) -> Value {
    let one = |der: &Bytes| if der.is_empty() { Value::Null } else { pem::certificates([der.as_ref()]).into() };
    json!({
        "result": if checked.leaf.is_some() { "minted" } else { "validated" },
        "request-id": request_id,
        "replayed": answer.replayed,
        "subject": subject_of(checked),
        "names": names_of(checked),
        "serial": checked.leaf.as_ref().map(|leaf| hallmark_policy::hex(&leaf.serial)),
        "not-before": when::rfc3339(answer.not_before),
        "not-after": when::rfc3339(answer.not_after),
        "epoch": answer.epoch.as_ref().map(crate::chain::epoch_to_json),
        "certificate": one(&answer.certificate),
        "chain": answer.chain.iter().map(one).collect::<Vec<_>>(),
        "mesh-ca": one(&answer.mesh_ca),
        "root": one(&answer.root),
        "log-index": answer.log_index,
        "log-entry": String::from_utf8_lossy(&answer.log_entry),
        "receipt": answer.receipt,
        "receipt-verified": checked.receipt == ReceiptCheck::Proven,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_random_uuids() {
        let (one, other) = (random_id().unwrap(), random_id().unwrap());
        assert_ne!(one, other);
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(one.as_bytes()[14], b'4', "{one}");
        assert!(matches!(one.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{one}");
    }
}
