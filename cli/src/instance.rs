//! `hallmark instance`: what operators see of records of instances, revoke and allow, on their own listener.

use std::path::Path;

use hallmark_proto::operator::{
    AllowInstanceRequest, AllowInstanceResponse, Certificate, Instance, InstanceCertificate, InstanceState,
    ListInstancesRequest, ListInstancesResponse, RevokeInstanceRequest, RevokeInstanceResponse, ShowInstanceRequest,
    ShowInstanceResponse,
};
use serde_json::{Value, json};

use crate::{
    arguments::{
        InstanceAllowArguments, InstanceCommand, InstanceListArguments, InstanceRevokeArguments, InstanceShowArguments,
        InstanceStateWord, OneInstanceArguments,
    },
    certificates,
    config::Config,
    confirm::confirm,
    connection::{self, Connection, operate},
    epochs::authority,
    exit::Exit,
    problem::Problem,
    screen::{Screen, Tone, printable},
    settings::ConnectionSettings,
    table::Table,
    when,
};

/// Does what an operator asks for.
pub(crate) fn instance(command: &InstanceCommand, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let config = Config::load(config)?;
    match command {
        InstanceCommand::List(list) => self::list(list, &config, screen),
        InstanceCommand::Show(show) => self::show(show, &config, screen),
        InstanceCommand::Revoke(revoke) => self::revoke(revoke, &config, screen),
        InstanceCommand::Allow(allow) => self::allow(allow, &config, screen),
    }
}

fn list(arguments: &InstanceListArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let authority = authority(&arguments.authority, config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, config)?;
    let state = match arguments.state {
        None => InstanceState::Unspecified,
        Some(InstanceStateWord::Alive) => InstanceState::Alive,
        Some(InstanceStateWord::Revoked) => InstanceState::Revoked,
        Some(InstanceStateWord::Ended) => InstanceState::Ended,
    };
    let wanted = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let (mut found, mut next): (Vec<Instance>, _) = (
        Vec::new(),
        Some((arguments.after_provider.clone().unwrap_or_default(), arguments.after.clone().unwrap_or_default())),
    );
    connection::runtime()?.block_on(async {
        let connection = Connection::open(&settings).await?;
        while let Some((after_provider, after_id)) = next.take() {
            let missing = wanted.saturating_sub(found.len());
            if missing == 0 {
                next = Some((after_provider, after_id));
                break;
            }
            let request = ListInstancesRequest {
                authority: authority.clone(),
                provider: arguments.provider.clone().unwrap_or_default(),
                service: arguments.service.clone().unwrap_or_default(),
                state: state.into(),
                after_provider,
                after_id,
                limit: u32::try_from(missing).unwrap_or(u32::MAX),
            };
            let page: ListInstancesResponse = connection
                .call_operator(request, async |mut client, request| client.list_instances(request).await)
                .await?;
            found.extend(page.instances);
            next = page.more.then_some((page.next_provider, page.next_id));
        }
        Ok::<_, Problem>(())
    })?;
    if !screen.is_json() && !found.is_empty() {
        screen.data(table(&found).render(0).as_bytes())?;
    }
    if found.is_empty() {
        screen.say(&format!("{} has no such instance", printable(&authority)));
    }
    if let Some((provider, id)) = &next {
        let (provider, id) = (printable(provider), printable(id));
        screen.say(&format!("hint: there are more; give --after-provider {provider} --after {id}"));
    }
    screen.answer(&json!({
        "result": "instances",
        "authority": authority,
        "instances": found.iter().map(to_json).collect::<Vec<_>>(),
        "more": next.is_some(),
    }))?;
    Ok(Exit::Done)
}

fn show(arguments: &InstanceShowArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let (authority, settings) = reach(&arguments.instance, config)?;
    let OneInstanceArguments { provider, id, .. } = &arguments.instance;
    let wanted = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let (instance, found, next) = connection::runtime()?.block_on(async {
        let connection = Connection::open(&settings).await?;
        let (mut found, mut before_index): (Vec<Certificate>, _) = (Vec::new(), arguments.before.unwrap_or(0));
        loop {
            let request = ShowInstanceRequest {
                authority: authority.clone(),
                provider: provider.clone(),
                id: id.clone(),
                before_index,
                limit: u32::try_from(wanted.saturating_sub(found.len())).unwrap_or(u32::MAX),
            };
            let page: ShowInstanceResponse = connection
                .call_operator(request, async |mut client, request| client.show_instance(request).await)
                .await?;
            found.extend(page.certificates);
            match page.next {
                Some(next) if found.len() < wanted => before_index = next,
                next => return Ok::<_, Problem>((page.instance.unwrap_or_default(), found, next)),
            }
        }
    })?;
    if !screen.is_json() {
        let title = format!("instance {} of {}\n", printable(id), printable(provider));
        screen.data([title, details(&instance).render(2)].concat().as_bytes())?;
        if !found.is_empty() {
            screen.data(certificates::table(&found).render(2).as_bytes())?;
        }
    }
    if let Some(next) = next {
        screen.say(&format!("hint: there may be more certificates; give --before {next}"));
    }
    screen.answer(&json!({
        "result": "instance",
        "authority": authority,
        "instance": to_json(&instance),
        "certificates": found.iter().map(certificates::to_json).collect::<Vec<_>>(),
        "next": next,
    }))?;
    Ok(Exit::Done)
}

fn revoke(arguments: &InstanceRevokeArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let InstanceRevokeArguments { instance, reason, why, yes } = arguments;
    let (authority, settings) = reach(instance, config)?;
    let shown = format!("instance {} of {}", printable(&instance.id), printable(&instance.provider));
    screen.say(&format!("to revoke: {shown} under {}, with all its certificates", printable(&authority)));
    confirm(
        screen,
        *yes,
        "what it serves with its certificates is refused from the next CRL on",
        "Is this what you want?",
    )?;
    let request = RevokeInstanceRequest {
        authority: authority.clone(),
        provider: instance.provider.clone(),
        id: instance.id.clone(),
        reason: reason.name().to_owned(),
        why: why.clone(),
    };
    let answer: RevokeInstanceResponse =
        operate(&settings, request, async |mut client, request| client.revoke_instance(request).await)?;
    let mut table = Table::new();
    if answer.before {
        table.row(["note", "it was revoked before"]);
    }
    if !answer.before || answer.certificates > 0 {
        table.row(["certificates", &when::number(answer.certificates)]);
    }
    if answer.left > 0 {
        table.row(["left", &format!("{}: the daemon goes on, and so does this command", when::number(answer.left))]);
    }
    if answer.unlisted > 0 {
        table.row(["on no CRL", &unlisted(answer.unlisted)]);
    }
    table.row(["log index", &answer.log_index.to_string()]);
    screen.say(&format!("{} {shown}\n{}", screen.tone(Tone::Good, "revoked:"), table.render(2)));
    screen.answer(&json!({
        "result": "instance-revoked",
        "authority": authority,
        "provider": instance.provider,
        "id": instance.id,
        "certificates": answer.certificates,
        "left": answer.left,
        "unlisted": answer.unlisted,
        "before": answer.before,
        "log-index": answer.log_index,
        "receipt": answer.receipt,
    }))?;
    Ok(Exit::Done)
}

/// What it means that the key of their issuer is destroyed.
pub(crate) fn unlisted(count: u64) -> String {
    format!(
        "{}: their issuer's key is destroyed; the root's CRL over its intermediate is what is left",
        when::number(count)
    )
}

fn allow(arguments: &InstanceAllowArguments, config: &Config, screen: &Screen) -> Result<Exit, Problem> {
    let InstanceAllowArguments { instance, why, yes } = arguments;
    let (authority, settings) = reach(instance, config)?;
    let shown = format!("instance {} of {}", printable(&instance.id), printable(&instance.provider));
    screen.say(&format!("to allow: {shown} under {} may register anew", printable(&authority)));
    confirm(
        screen,
        *yes,
        "whoever registers it next has it, and its certificates before are refreshed no more",
        "Is this what you want?",
    )?;
    let request = AllowInstanceRequest {
        authority: authority.clone(),
        provider: instance.provider.clone(),
        id: instance.id.clone(),
        why: why.clone(),
    };
    let answer: AllowInstanceResponse =
        operate(&settings, request, async |mut client, request| client.allow_instance(request).await)?;
    let mut table = Table::new();
    table.row(["log index", &answer.log_index.to_string()]);
    screen.say(&format!("{} {shown}\n{}", screen.tone(Tone::Good, "allowed:"), table.render(2)));
    screen.answer(&json!({
        "result": "instance-allowed",
        "authority": authority,
        "provider": instance.provider,
        "id": instance.id,
        "log-index": answer.log_index,
        "receipt": answer.receipt,
    }))?;
    Ok(Exit::Done)
}

fn reach(arguments: &OneInstanceArguments, config: &Config) -> Result<(String, ConnectionSettings), Problem> {
    let authority = authority(&arguments.authority, config)?;
    let settings = ConnectionSettings::resolve(&arguments.connection, config)?;
    Ok((authority, settings))
}

fn table(instances: &[Instance]) -> Table {
    let mut table = Table::new();
    table.row(["PROVIDER", "ID", "SERVICE", "STATE", "MOVED", "LAST CERTIFICATE ENDS"]);
    for instance in instances {
        table.row([
            &instance.provider,
            &instance.id,
            &instance.service,
            state(instance),
            &when::rfc3339_of_millis(instance.moved_at_millis),
            &when::rfc3339(instance.not_after),
        ]);
    }
    table
}

fn details(instance: &Instance) -> Table {
    let mut table = Table::new();
    table.row(["service", &instance.service]);
    table.row(["state", state(instance)]);
    let registered = when::rfc3339_of_millis(instance.registered_at_millis);
    table.row(["registered", &format!("{registered}, log index {}", instance.registered_index)]);
    let moved = when::rfc3339_of_millis(instance.moved_at_millis);
    table.row(["moved", &format!("{}, last {moved}", when::count(instance.moves, "time"))]);
    table.row(["last end", &when::rfc3339(instance.not_after)]);
    for (name, certificate) in [("current", &instance.current), ("previous", &instance.previous)] {
        if let Some(InstanceCertificate { serial, spki_sha256, log_index }) = certificate {
            table.row([name, &format!("{}, log index {log_index}", hallmark_policy::hex(serial))]);
            table.row(["", &format!("spki-sha256 {}", hallmark_policy::hex(spki_sha256))]);
        }
    }
    if instance.retried {
        table.row(["retry", "the one retry with another key was used"]);
    }
    if let (Some(at), Some(index)) = (instance.revoked_at_millis, instance.revoked_index) {
        table.row(["revoked", &format!("{}, log index {index}", when::rfc3339_of_millis(at))]);
    }
    table
}

fn state(instance: &Instance) -> &'static str {
    match instance.state() {
        InstanceState::Unspecified => "unknown",
        InstanceState::Alive => "alive",
        InstanceState::Revoked => "revoked",
        InstanceState::Ended => "ended",
    }
}

fn to_json(instance: &Instance) -> Value {
    let certificate = |certificate: &InstanceCertificate| {
        json!({
            "serial": hallmark_policy::hex(&certificate.serial),
            "spki-sha256": hallmark_policy::hex(&certificate.spki_sha256),
            "log-index": certificate.log_index,
        })
    };
    json!({
        "provider": instance.provider,
        "id": instance.id,
        "service": instance.service,
        "state": state(instance),
        "registered-index": instance.registered_index,
        "registered-at": when::rfc3339_of_millis(instance.registered_at_millis),
        "moved-at": when::rfc3339_of_millis(instance.moved_at_millis),
        "moves": instance.moves,
        "not-after": when::rfc3339(instance.not_after),
        "current": instance.current.as_ref().map(certificate),
        "previous": instance.previous.as_ref().map(certificate),
        "retried": instance.retried,
        "revoked-at": instance.revoked_at_millis.map(when::rfc3339_of_millis),
        "revoked-index": instance.revoked_index,
    })
}
