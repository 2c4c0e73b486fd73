//! What a policy means, in sentences for those who answer for it. Nothing here decides.

use crate::{
    Method, Policy,
    evidence::EvidenceRule,
    file::{
        CaseWord, ManifestNamesTable, NamesFromWord, OverWord, OwnerSignatureWord, PossessionWord, RetiredKeyWord,
        RotatesWord,
    },
    instance::InstanceRule,
    key::SignatureAlgorithm,
    limits::ProfileLimits,
    profile::{Authority, CaProfile, CallerRule, CrlProfile, Profile},
};

/// What is said, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Headings, and below each its sentences behind two spaces.
    pub lines: Vec<String>,
}

impl Findings {
    fn heading(&mut self, text: &str) {
        self.lines.push(text.to_owned());
    }

    fn say(&mut self, sentence: impl Into<String>) {
        self.lines.push(format!("  {}", sentence.into()));
    }
}

/// Says who may do what, what the CA certificates say, and what certificates may.
#[must_use]
pub fn tell(policy: &Policy) -> Findings {
    let mut findings = Findings::default();
    tell_policy(policy, &mut findings);
    findings
}

/// Says what a policy lets happen that those who answer for it may not expect of it.
#[must_use]
pub fn warnings(policy: &Policy) -> Vec<String> {
    policy.authorities().filter_map(|authority| unlisted(policy, authority)).collect()
}

/// A leaf that is issued a moment before a rotation outlives it, whatever its lifetime; and a key that is destroyed signs no CRL.
fn unlisted(policy: &Policy, authority: &Authority) -> Option<String> {
    if authority.crl.is_none() || authority.retired_key() != RetiredKeyWord::Destroy {
        return None;
    }
    let profiles = policy.profiles().filter_map(|(name, _)| policy.profile(name));
    let with_records: Vec<_> =
        profiles.filter(|profile| profile.authority() == authority.name && profile.instances().is_some()).collect();
    let longest = with_records.iter().map(|profile| profile.lifetime_maximum()).max()?;
    let names = quoted(with_records.iter().map(|profile| profile.name()));
    Some(format!(
        "authority `{}` destroys the key of a replaced epoch, and keeps records of instances for {names}: a certificate from before a rotation \
         that is revoked after it stands on no CRL, also where its key was stolen, and is believed until it ends, for up to {longest}; hint: \
         `retired-key = \"crl-only\"` lets the key sign CRLs until then",
        authority.name
    ))
}

fn tell_policy(policy: &Policy, findings: &mut Findings) {
    findings.heading(&format!("Policy {}", policy.digest()));
    findings.say("Whatever is not named below is refused.");
    for caller in policy.callers() {
        tell_caller(caller, findings);
    }
    if policy.callers().is_empty() {
        findings.say("No caller is named, so every call is refused.");
    }
    for authority in policy.authorities() {
        tell_authority(authority, findings);
    }
    for profile in policy.profiles().filter_map(|(name, _)| policy.profile(name)) {
        tell_profile(profile, findings);
    }
}

fn tell_caller(caller: &CallerRule, findings: &mut Findings) {
    findings.heading(&format!("Caller `{}`, whose certificate says {}", caller.name(), caller.identity()));
    findings.say(format!("may call {}.", listed(caller.methods().iter().map(|method| method.name()))));
    if let Some(rate) = caller.rate() {
        findings.say(format!("It makes {rate} calls; over that it waits."));
    }
    if caller.may_call(Method::MintCertificate) {
        findings.say(format!("It mints under {}.", quoted(caller.profiles())));
        if let Some(providers) = caller.providers() {
            findings.say(format!("Of the providers, it speaks for {}.", quoted(providers)));
        }
    }
}

fn tell_authority(authority: &Authority, findings: &mut Findings) {
    findings.heading(&format!("Authority `{}`", authority.name));
    findings.say(format!("Its root {}", ca(&authority.root)));
    findings.say(format!("The intermediate and the mesh CA of each epoch: {}", ca(&authority.epoch)));
    let [root, epoch] = [&authority.root, &authority.epoch].map(|ca| ca.key.family().is_post_quantum());
    if root != epoch {
        let weaker = if root { "of the epochs" } else { "of the root" };
        findings.say(format!("The chain is mixed: against quantum computers, the signatures {weaker} do not stand."));
    }
    match authority.rotates() {
        RotatesWord::Age => findings.say("An epoch follows another by age."),
        RotatesWord::Manifest => tell_manifests(authority, findings),
    }
    if let Some(CrlProfile { lifetime, refresh, distribution_point, partitions, root_urls: _ }) = &authority.crl {
        findings
            .say(format!("Its CRLs hold for {lifetime}, and are made again after {refresh} and after revocations."));
        if *distribution_point {
            findings.say("A CRL says, critical, which kind of certificates it is about.");
        }
        if let Some(partitions) = partitions {
            findings.say(format!(
                "Leaves have {partitions} partitions, each with a CRL of its own beside the complete one."
            ));
        }
    }
    findings.say(match authority.retired_key() {
        RetiredKeyWord::Destroy => "The key of a replaced epoch is destroyed.",
        RetiredKeyWord::CrlOnly => "The key of a replaced epoch signs CRLs until its last certificate has expired.",
    });
}

fn tell_manifests(authority: &Authority, findings: &mut Findings) {
    findings.say("An epoch follows another with a manifest that an owner has signed.");
    findings.say(match authority.owner_keys() {
        [] => "Nobody may set a first manifest.".to_owned(),
        owners => format!("The first manifest is for the owners with the keys {}.", quoted(owners)),
    });
    findings.say(match (authority.owner_signature(), authority.revoke_previous()) {
        (OwnerSignatureWord::Hallmark, _) => "Owners sign root, transition, lifetime and revocation.",
        (OwnerSignatureWord::Contrast, false) => {
            "Owners sign the transition, as Contrast's do; nothing is revoked by it."
        }
        (OwnerSignatureWord::Contrast, true) => {
            "Owners sign the transition, as Contrast's do; each rotation revokes the intermediate before."
        }
    });
    let ManifestNamesTable { wildcards, single_labels } = authority.manifest_names();
    let more = [(wildcards, "wildcards"), (single_labels, "names of a single label")];
    let more: Vec<_> = more.into_iter().filter(|(taken, _)| *taken).map(|(_, words)| words).collect();
    if !more.is_empty() {
        findings.say(format!("Manifests may give {}, too.", listed(more)));
    }
}

fn ca(profile: &CaProfile) -> String {
    let CaProfile { subject, lifetime, key, algorithm, offline, path_length } = profile;
    let usual = *algorithm == SignatureAlgorithm::default_for(*key);
    let signs = if usual { String::new() } else { format!(", which signs with {algorithm}") };
    let place = if *offline { " It is offline: its certificates are brought." } else { "" };
    let cross = if *path_length > 1 { " It may sign cross-certificates of other roots." } else { "" };
    format!("`{subject}`, for {lifetime}, has a key of kind {key}{signs}.{place}{cross}")
}

fn tell_profile(profile: &Profile, findings: &mut Findings) {
    findings.heading(&format!("Profile `{}` under authority `{}`", profile.name(), profile.authority()));
    let (default, maximum) = (profile.lifetime_default(), profile.lifetime_maximum());
    let over = match profile.over() {
        OverWord::Refuse => "a wish for more is refused".to_owned(),
        OverWord::Clamp => format!("a wish for more gets {maximum}"),
    };
    findings.say(format!(
        "Certificates live for {default}, or as the request wishes up to {maximum}; {over}. They begin {} in the past.",
        profile.backdate()
    ));
    findings.say(format!("Keys: {}.", listed(profile.keys().iter().map(|key| key.name()))));
    findings.say(match profile.possession() {
        PossessionWord::Csr => "A CSR signed with the key proves its possession.",
        PossessionWord::Caller => "The caller answers for the possession of the key, with or without a CSR.",
    });
    findings.say(format!("Usages: {}.", listed(profile.usages().iter().map(|usage| usage.name()))));
    if profile.names_from() == NamesFromWord::Manifest {
        findings.say(
            "Names come from the manifest, by the policy hash; a request with names is refused. The subject is empty.",
        );
        if profile.workload_secret_id() {
            findings.say("The workload secret id that the manifest gives stands at 1.3.9901.3.1.");
        }
    } else {
        tell_names(profile, findings);
    }
    if let Some(window) = profile.window() {
        findings.say(format!("No certificate lies outside {} to {}.", window.not_before, window.not_after));
    }
    if !profile.policies().is_empty() {
        findings.say(format!("Certificate policies: {}.", listed(profile.policies().iter().map(ToString::to_string))));
    }
    for rule in profile.claims() {
        let types: Vec<_> = rule.types.iter().map(|kind| kind.name()).collect();
        findings.say(format!(
            "{} to {} claims at {}, of at most {} bytes: {}.",
            rule.at_least,
            rule.at_most,
            rule.arc,
            rule.bytes_max,
            types.join(", ")
        ));
    }
    if let Some(evidence) = profile.evidence() {
        tell_evidence(evidence, findings);
    }
    if let Some(instances) = profile.instances() {
        tell_instances(instances, findings);
    }
    tell_limits(profile.limits(), findings);
    if !profile.ignored().is_empty() {
        findings.say(format!("Of a CSR, {} are ignored.", quoted(profile.ignored())));
    }
}

fn tell_names(profile: &Profile, findings: &mut Findings) {
    findings.say(match profile.common_name() {
        Some(format) => format!("The common name reads `{format}`."),
        None => "The subject is empty.".to_owned(),
    });
    for (kind, format, at_least, at_most) in profile.names() {
        let count = if at_least == at_most { at_least.to_string() } else { format!("{at_least} to {at_most}") };
        findings.say(format!("{count} {}: `{format}`.", kind.standard()));
    }
    for (kind, at_least, at_most) in profile.per_kind() {
        let count = if at_least == at_most { at_least.to_string() } else { format!("{at_least} to {at_most}") };
        findings.say(format!("Of the kind {}, {count} altogether.", kind.standard()));
    }
    findings.say(match profile.case() {
        CaseWord::Exact => "Names in upper case are refused.",
        CaseWord::Fold => "Upper case in common names, dNSNames and hosts of URIs is made lower case, and signed so.",
    });
    tell_parts(profile, findings);
}

fn tell_evidence(evidence: &EvidenceRule, findings: &mut Findings) {
    findings.say(format!(
        "Evidence is required: a JWT of `{}` for `{}`, at most {} old by clocks that differ by {} at most.",
        evidence.issuer(),
        evidence.audience(),
        evidence.age_max(),
        evidence.clock_skew()
    ));
    let keys = evidence.keys().iter().map(|key| format!("{} ({})", key.name(), key.key.kind()));
    let algorithms = evidence.algorithms().iter().map(|algorithm| algorithm.name());
    findings.say(format!("It is signed with {} by the key {}.", listed(algorithms), listed(keys)));
    let claims = evidence.claims().map(|(name, template)| format!("`{name}` as `{template}`"));
    findings.say(format!("It says {}, and confirms the key as `{}`.", listed(claims), evidence.confirmation().name()));
}

fn tell_instances(instances: &InstanceRule, findings: &mut Findings) {
    let [provider, id, service] = instances.formats();
    let intents = instances.intents().iter().map(|intent| format!("`{}`", intent.name()));
    findings.say(format!(
        "Records of instances are kept: the id reads `{id}`, the provider `{provider}`, the service `{service}`. Requests may want {}.",
        listed(intents)
    ));
    findings.say(if instances.replace() {
        "A registration takes the place of an instance that is alive; who is revoked is never replaced."
    } else {
        "An instance that is alive is registered no second time, and who is revoked never."
    });
    if instances.rekey() {
        findings.say("Every refresh brings a new key.");
    }
    if instances.proof() {
        findings.say("Every refresh proves possession of the replaced certificate's key.");
    }
    if let Some(quota) = instances.alive_per_service() {
        findings.say(format!("At most {quota} instances of one service under one provider are alive."));
    }
}

fn tell_limits(limits: &ProfileLimits, findings: &mut Findings) {
    let ProfileLimits { per_epoch, per_caller_per_day, rate_per_instance, one_key_one_name } = limits;
    if let Some(quota) = per_epoch {
        findings.say(format!("At most {quota} certificates in an epoch."));
    }
    if let Some(quota) = per_caller_per_day {
        findings.say(format!("At most {quota} certificates for each caller in a day of UTC."));
    }
    if let Some(rate) = rate_per_instance {
        findings.say(format!("At most {rate} certificates for one instance."));
    }
    if *one_key_one_name {
        findings.say("A key stands under one set of names only.");
    }
}

fn tell_parts(profile: &Profile, findings: &mut Findings) {
    let vocabulary = profile.vocabulary();
    for (name, part) in vocabulary.parts.iter().filter(|(_, part)| !part.one_of.is_empty()) {
        findings.say(format!("`{{{name}}}` is one of {}.", quoted(&part.one_of)));
    }
    for (name, part) in vocabulary.parts.iter().filter(|(_, part)| !part.none_of.is_empty()) {
        findings.say(format!("`{{{name}}}` is none of {}.", quoted(&part.none_of)));
    }
    for provider in &vocabulary.providers {
        findings.say(format!("The provider `{}` has the suffixes {}.", provider.name, quoted(&provider.suffixes)));
    }
    if !vocabulary.dashed.is_empty() {
        let dashed = vocabulary.dashed.iter().map(|part| format!("{{{part}}}"));
        findings.say(if vocabulary.dashes_claimed {
            format!("Of {}, the form with dashes belongs to the first name that has it.", quoted(dashed))
        } else {
            format!("In {} no dash is taken: somewhere dots are written as dashes.", quoted(dashed))
        });
    }
}

/// Words in a row: `a`, `a and b`, `a, b and c`.
#[must_use]
pub fn listed<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> String {
    let words: Vec<_> = words.into_iter().collect();
    let words: Vec<_> = words.iter().map(AsRef::as_ref).collect();
    match words.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
    }
}

/// Words in a row, each in backticks.
#[must_use]
pub fn quoted<T: std::fmt::Display>(words: impl IntoIterator<Item = T>) -> String {
    listed(words.into_iter().map(|word| format!("`{word}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_a_row_read_as_a_sentence() {
        assert_eq!(quoted(["a"]), "`a`");
        assert_eq!(quoted(["a", "b", "c"]), "`a`, `b` and `c`");
        assert_eq!(listed([""; 0]), "nothing");
    }
}
