//! Where roots come from: `[ceremony.*]` and `policy.roots-without-ceremony`. Whether the transcripts hold, and whether the token holds what
//! they say.

use hallmark_policy::Policy;
use hallmark_signer::{HandOver, Held, compare_held, config::ConfigError, secret::SecretError};
use secrecy::SecretString;

use super::Findings;
use crate::{
    settings::Settings,
    trouble::{Trouble, sentence},
};

/// What was found in the papers of one ceremony whose key is in the token.
struct Papers {
    authority: String,
    left: HandOver,
}

/// The token is asked only where the papers of a ceremony hold, and its key is there.
///
/// # Errors
/// If the PIN is not right: that is no problem among others, since another attempt could lock the token.
pub(super) fn tell(
    settings: &Settings,
    policy: &Policy,
    pin: Option<SecretString>,
    findings: &mut Findings,
) -> Result<(), Trouble> {
    findings.heading("Roots");
    let without = &settings.core.policy.roots_without_ceremony;
    let mut here = Vec::new();
    for authority in policy.authorities() {
        let name = &authority.name;
        match settings.core.ceremony.get(name) {
            Some(table) => match table.read(&settings.directory).map_err(|error| sentence(&error)).and_then(|left| said(name, left, findings)) {
                Ok(left) if !authority.root.offline => here.push(Papers { authority: name.clone(), left }),
                Ok(_) => findings.say(
                    "The key of that root is elsewhere: `hallmark ceremony verify --device` compares it with the transcript there.",
                ),
                Err(problem) => findings.problem(format!("[ceremony.{name}]: {problem}")),
            },
            None if without.contains(name) => findings.say(format!(
                "The root of `{name}` needs no ceremony: that is for laboratories, and the log says so at every start."
            )),
            None => findings.say(format!(
                "No ceremony is named for the root of `{name}`: it is served only where the log says that one handed it over."
            )),
        }
    }
    for name in settings.core.ceremony.keys().filter(|name| policy.authority(name).is_none()) {
        findings.problem(format!("[ceremony.{name}]: the policy has no authority `{name}`"));
    }
    for name in without.iter().filter(|name| policy.authority(name).is_none()) {
        findings.problem(format!("`policy.roots-without-ceremony` names `{name}`, which the policy does not have"));
    }
    for name in without.iter().filter(|name| settings.core.ceremony.contains_key(*name)) {
        findings.problem(sentence(&ConfigError::WithAndWithoutCeremony(name.clone())));
    }
    if here.is_empty() || !findings.problems.is_empty() { Ok(()) } else { compare(settings, &here, pin, findings) }
}

/// The papers, if the log of ceremonies has them.
fn said(name: &str, left: HandOver, findings: &mut Findings) -> Result<HandOver, String> {
    let event = left.verify_log(name).map_err(|error| sentence(&error))?;
    findings.say(format!(
        "The root of `{name}` comes from the ceremony `{}`, whose transcript is in the log `{}`.",
        event.ceremony,
        left.log_key.name()
    ));
    Ok(left)
}

fn compare(
    settings: &Settings,
    here: &[Papers],
    pin: Option<SecretString>,
    findings: &mut Findings,
) -> Result<(), Trouble> {
    let left: Vec<_> = here.iter().map(|papers| &papers.left).collect();
    let is_typed = pin.is_some();
    let backend = match settings.core.clone().given(pin).backend.read(&settings.directory) {
        Ok(backend) => backend,
        // Only the first token's PIN can be typed.
        Err(ConfigError::Secret { field, source: SecretError::NoCredentials(name) }) if is_typed => {
            findings.problem(format!(
                "the tokens are not compared with the transcripts: `{field}` is the credential `{name}`; hint: run this with \
                 `systemd-run --pty --property=LoadCredential={name}:FILE`"
            ));
            return Ok(());
        }
        Err(ConfigError::Secret { source: SecretError::NotTyped | SecretError::NoCredentials(_), .. }) => {
            findings.say(
                "The token is not compared with the transcripts, since its PIN is given to the daemon alone: `--type-pin` asks for it.",
            );
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let compared = match compare_held(backend, &left) {
        Ok(compared) => compared,
        Err(error) if error.may_lock_the_token() => return Err(error.into()),
        Err(error) => {
            findings.problem(format!("the token cannot be compared with the transcripts: {}", sentence(&error)));
            return Ok(());
        }
    };
    for (Papers { authority, .. }, Held { holds, broken }) in here.iter().zip(compared) {
        holds.into_iter().for_each(|sentence| findings.say(sentence));
        broken.into_iter().for_each(|sentence| findings.problem(format!("[ceremony.{authority}]: {sentence}")));
    }
    Ok(())
}
