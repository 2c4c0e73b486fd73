//! `hallmark chain`: the CA certificates of an epoch.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use hallmark_proto::signer::{Epoch, EpochSelector, GetChainRequest, GetChainResponse, epoch_selector::By};
use serde_json::{Value, json};

use crate::{
    arguments::ChainArguments,
    certificate::CertificateView,
    checks,
    config::Config,
    connection::{self, Connection},
    exit::Exit,
    files::Target,
    pem,
    problem::Problem,
    screen::{Screen, Tone},
    settings::{ConnectionSettings, SettingsError, first},
    table::Table,
    when,
};

/// Shows and writes them.
pub(crate) fn chain(arguments: &ChainArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let config = Config::load(config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, &config)?;
    let missing = SettingsError::Missing { what: "the authority", name: "authority" };
    let authority = first(&arguments.authority, &config.authority).ok_or(missing)?;
    let target = |path: &Option<PathBuf>| path.as_deref().map(|path| Target::new(path, arguments.force)).transpose();
    let named_stdout = arguments.out.as_deref().is_some_and(Target::is_stdout);
    if named_stdout && screen.is_json() {
        return Err(SettingsError::StdoutTwice.into());
    }
    let out = if named_stdout { None } else { target(&arguments.out)? };
    let (root_out, mesh_ca_out) = (target(&arguments.root_out)?, target(&arguments.mesh_ca_out)?);
    let crls_out = [target(&arguments.root_crl_out)?, target(&arguments.crl_out)?];

    let answer = ask(&settings, GetChainRequest { authority, epoch: selector(arguments) })?;
    let views = checks::chain(&answer).map_err(|source| Problem::Check { request_id: None, source })?;
    for (target, der) in [(&out, &answer.intermediate), (&root_out, &answer.root), (&mesh_ca_out, &answer.mesh_ca)] {
        if let Some(target) = target {
            target.write(pem::certificates([der.as_ref()]).as_bytes())?;
        }
    }
    for (target, (whose, crl)) in crls_out.iter().zip([("the root", &answer.root_crl), ("the epoch", &answer.crl)]) {
        let Some(target) = target else { continue };
        if crl.is_empty() {
            return Err(Problem::NoCrl { whose });
        }
        target.write(pem::crl(crl).as_bytes())?;
    }
    if out.is_none() && !screen.is_json() {
        screen.data(pem::certificates([answer.intermediate.as_ref()]).as_bytes())?;
    }
    screen.say(&describe(&answer, &views, screen));
    screen.answer(&to_json(&answer))?;
    Ok(Exit::Done)
}

/// An epoch in JSON.
pub(crate) fn epoch_to_json(epoch: &Epoch) -> Value {
    json!({
        "authority": epoch.authority,
        "generation": epoch.generation,
        "transition": hallmark_policy::hex(&epoch.transition),
        "manifest-sha256": hallmark_policy::hex(&epoch.manifest_sha256),
    })
}

fn selector(arguments: &ChainArguments) -> Option<EpochSelector> {
    let generation = arguments.generation.map(By::Generation);
    let by = generation.or_else(|| arguments.transition.map(|digest| By::Transition(Bytes::copy_from_slice(&digest))));
    by.map(|by| EpochSelector { by: Some(by) })
}

/// Asks for the certificates of an epoch.
pub(crate) fn ask(settings: &ConnectionSettings, request: GetChainRequest) -> Result<GetChainResponse, Problem> {
    connection::runtime()?.block_on(async {
        let connection = Connection::open(settings).await?;
        connection.call(request, async |mut client, request| client.get_chain(request).await).await
    })
}

fn describe(answer: &GetChainResponse, views: &[CertificateView; 3], screen: &Screen) -> String {
    let epoch = answer.epoch.clone().unwrap_or_default();
    let mut table = Table::new();
    table.row(["transition", &hallmark_policy::hex(&epoch.transition)]);
    for (name, view) in ["root", "intermediate", "mesh CA"].into_iter().zip(views) {
        table.row([name, &view.subject]);
        table.row(["", &format!("{} to {}", when::rfc3339(view.not_before), when::rfc3339(view.not_after))]);
        table.row(["", &format!("serial {}", hallmark_policy::hex(&view.serial))]);
    }
    let state = if answer.active { "active" } else { "not active" };
    let authority = crate::screen::printable(&epoch.authority).into_owned();
    let headline =
        format!("{} {authority} generation {}, {state}", screen.tone(Tone::Good, "epoch:"), epoch.generation);
    format!("{headline}\n{}", table.render(2))
}

fn to_json(answer: &GetChainResponse) -> Value {
    let crl = |der: &[u8]| if der.is_empty() { Value::Null } else { pem::crl(der).into() };
    json!({
        "result": "chain",
        "epoch": answer.epoch.as_ref().map(epoch_to_json),
        "active": answer.active,
        "root": pem::certificates([answer.root.as_ref()]),
        "intermediate": pem::certificates([answer.intermediate.as_ref()]),
        "mesh-ca": pem::certificates([answer.mesh_ca.as_ref()]),
        "root-crl": crl(&answer.root_crl),
        "crl": crl(&answer.crl),
    })
}
