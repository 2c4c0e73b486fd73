//! `hallmark certificate`: how operators find leaf certificates, and revoke many at once, on their own listener.

use std::path::Path;

use hallmark_proto::operator::{
    Certificate, CertificateSelection, FindCertificatesRequest, FindCertificatesResponse, RevokeCertificatesRequest,
    RevokeCertificatesResponse,
};
use serde_json::{Value, json};

use crate::{
    arguments::{CertificateCommand, CertificateFindArguments, CertificateRevokeArguments, SelectionArguments},
    config::Config,
    confirm::confirm,
    connection::{self, Connection},
    epochs::authority,
    exit::Exit,
    instance,
    problem::Problem,
    screen::{Screen, Tone, printable},
    settings::ConnectionSettings,
    table::Table,
    when,
};

/// Does what an operator asks for.
pub(crate) fn certificate(
    command: &CertificateCommand,
    config: Option<&Path>,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let config = Config::load(config)?;
    match command {
        CertificateCommand::Find(find) => self::find(find, &config, screen),
        CertificateCommand::Revoke(revoke) => self::revoke(revoke, &config, screen),
    }
}

/// Reads on until there are as many as are wanted, or no more.
fn find(arguments: &CertificateFindArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let authority = authority(&arguments.authority, config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, config)?;
    let selection = CertificateSelection { living: arguments.living, ..selection(&arguments.selection) };
    let wanted = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let (found, next) = connection::runtime()?.block_on(async {
        let connection = Connection::open(&settings).await?;
        let (mut found, mut before): (Vec<Certificate>, _) = (Vec::new(), arguments.before.unwrap_or(0));
        loop {
            let missing = u32::try_from(wanted.saturating_sub(found.len())).unwrap_or(u32::MAX);
            let request = FindCertificatesRequest {
                authority: authority.clone(),
                selection: Some(selection.clone()),
                before_index: before,
                limit: missing,
            };
            let page: FindCertificatesResponse = connection
                .call_operator(request, async |mut client, request| client.find_certificates(request).await)
                .await?;
            found.extend(page.certificates);
            match page.next {
                Some(next) if found.len() < wanted => before = next,
                next => return Ok::<_, Problem>((found, next)),
            }
        }
    })?;
    if !screen.is_json() && !found.is_empty() {
        screen.data(table(&found).render(0).as_bytes())?;
    }
    if found.is_empty() {
        screen.say(&format!("{} has no such certificate", printable(&authority)));
        let SelectionArguments { serial, name, instance, spki, .. } = &arguments.selection;
        let along_an_index = serial.is_some() || name.is_some() || instance.is_some() || spki.is_some();
        // Nothing that lives was forgotten.
        if along_an_index && !arguments.living {
            screen.say(
                "hint: the signer forgets what ended longer ago than its `ended-retention`; the log has it, see `hallmark log query`",
            );
        }
    }
    if let Some(next) = next {
        screen.say(&format!("hint: there may be more; give --before {next}"));
    }
    screen.answer(&json!({
        "result": "certificates",
        "authority": authority,
        "certificates": found.iter().map(to_json).collect::<Vec<_>>(),
        "next": next,
    }))?;
    Ok(Exit::Done)
}

fn revoke(arguments: &CertificateRevokeArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let authority = authority(&arguments.authority, config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, config)?;
    let runtime = connection::runtime()?;
    let ask = |dry_run: bool, before_index: u64| RevokeCertificatesRequest {
        authority: authority.clone(),
        selection: Some(selection(&arguments.selection)),
        reason: arguments.reason.name().to_owned(),
        why: arguments.why.clone(),
        dry_run,
        before_index,
    };
    let counted = runtime.block_on(all(&settings, |before| ask(true, before), 0))?;
    let how_many = when::count(counted.certificates, "certificate");
    screen.say(&format!("to revoke: {how_many} of {}, as {}", printable(&authority), arguments.reason.name()));
    if counted.unlisted > 0 {
        screen.say(&format!("note: on no CRL: {}", instance::unlisted(counted.unlisted)));
    }
    let answer = |result: &str, certificates: u64, log_index: Option<u64>| {
        json!({
            "result": result,
            "authority": authority,
            "certificates": certificates,
            "unlisted": counted.unlisted,
            "reason": arguments.reason.name(),
            "log-index": log_index,
        })
    };
    if arguments.dry_run || counted.certificates == 0 {
        screen.answer(&answer("certificates-counted", counted.certificates, None))?;
        return Ok(Exit::Done);
    }
    confirm(screen, arguments.yes, "a revocation is for good", "Is this what you want?")?;
    let done = runtime.block_on(all(&settings, |before| ask(false, before), counted.log_size))?;
    let mut table = Table::new();
    if let Some(index) = done.log_index {
        table.row(["log index", &index.to_string()]);
    }
    let how_many = when::count(done.certificates, "certificate");
    screen.say(&format!("{} {how_many}\n{}", screen.tone(Tone::Good, "revoked:"), table.render(2)));
    screen.answer(&answer("certificates-revoked", done.certificates, done.log_index))?;
    Ok(Exit::Done)
}

/// What all calls of a run have done together.
#[derive(Debug, Default)]
struct Sum {
    certificates: u64,
    /// Those that no CRL will ever name.
    unlisted: u64,
    /// Size of the log when the first call began.
    log_size: u64,
    /// Where the first command stands.
    log_index: Option<u64>,
}

async fn all(
    settings: &ConnectionSettings,
    ask: impl Fn(u64) -> RevokeCertificatesRequest,
    before: u64,
) -> Result<Sum, Problem> {
    let connection = Connection::open(settings).await?;
    let (mut sum, mut before) = (Sum::default(), before);
    loop {
        let page: RevokeCertificatesResponse = connection
            .call_operator(ask(before), async |mut client, request| client.revoke_certificates(request).await)
            .await?;
        if sum.log_size == 0 {
            sum.log_size = page.log_size;
        }
        sum.certificates += page.certificates;
        sum.unlisted += page.unlisted;
        sum.log_index = sum.log_index.or(page.log_index);
        match page.next {
            Some(next) => before = next,
            None => return Ok(sum),
        }
    }
}

fn selection(arguments: &SelectionArguments) -> CertificateSelection {
    let SelectionArguments { serial, name, provider, instance, spki, caller, profile, since, until } = arguments;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    CertificateSelection {
        serial: serial.clone().unwrap_or_default().into(),
        name: text(name),
        provider: text(provider),
        instance_id: text(instance),
        spki_sha256: spki.map(|spki| spki.to_vec()).unwrap_or_default().into(),
        caller: text(caller),
        profile: text(profile),
        since_millis: since.map_or(0, |since| since.secs() * 1_000),
        // All of that second.
        until_millis: until.map_or(0, |until| until.secs() * 1_000 + 999),
        living: false,
    }
}

/// Certificates in a table; the first name stands for all.
pub(crate) fn table(certificates: &[Certificate]) -> Table {
    let mut table = Table::new();
    table.row(["SERIAL", "FIRST NAME", "CALLER", "ENDS", "REVOKED", "LOG INDEX"]);
    for certificate in certificates {
        let revoked = match certificate.revoked_at {
            Some(at) => format!("{}, {}", when::rfc3339(at), certificate.revocation_reason),
            None => "no".to_owned(),
        };
        table.row([
            &hallmark_policy::hex(&certificate.serial),
            certificate.names.first().map_or("", String::as_str),
            &certificate.caller,
            &when::rfc3339(certificate.not_after),
            &revoked,
            &certificate.log_index.to_string(),
        ]);
    }
    table
}

pub(crate) fn to_json(certificate: &Certificate) -> Value {
    json!({
        "serial": hallmark_policy::hex(&certificate.serial),
        "issuer-spki-sha256": hallmark_policy::hex(&certificate.issuer_spki_sha256),
        "spki-sha256": hallmark_policy::hex(&certificate.spki_sha256),
        "names": certificate.names,
        "caller": certificate.caller,
        "profile": certificate.profile,
        "not-before": when::rfc3339(certificate.not_before),
        "not-after": when::rfc3339(certificate.not_after),
        "log-index": certificate.log_index,
        "revoked-at": certificate.revoked_at.map(when::rfc3339),
        "revocation-reason": certificate.revoked_at.map(|_| certificate.revocation_reason.clone()),
    })
}
