//! Names against formats: every name fits one, the parts agree everywhere, and the counts hold.

use crate::{
    approved::NameClaim,
    claim::Claim,
    name::{GeneralName, NameKind},
    profile::{NameFormat, Profile},
    reason::{Reason, ReasonCode, quote},
    request::Request,
    template::{Bindings, Vocabulary},
    well_formed::{self, WellFormed},
};

/// Most readings that are followed side by side; more means that the formats do not determine the parts.
const READINGS_MAX: usize = 64;

/// One way to read the names so far: what the parts are bound to, and how many names each format took.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reading {
    bound: Bindings,
    counts: Vec<usize>,
}

/// The names of a request, as they would be signed.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) common_name: Option<String>,
    pub(crate) names: Vec<GeneralName>,
    pub(crate) claims: Vec<NameClaim>,
    /// What the parts are bound to, where there is one way to read all names and nothing to object.
    pub(crate) bound: Option<Bindings>,
    /// What the manifest says beyond names.
    pub(crate) secret_id: Option<Claim>,
}

impl Named {
    /// All of them, for the log.
    pub(crate) fn all(&self) -> Vec<String> {
        let common_name = self.common_name.iter().map(|name| format!("{}:{name}", NameKind::CommonName.short()));
        common_name.chain(self.names.iter().map(ToString::to_string)).collect()
    }
}

/// Checks the common name and the subjectAltName of a request. There are names where all are well-formed, whatever else
/// is wrong with them.
pub(crate) fn check(profile: &Profile, request: &Request, reasons: &mut Vec<Reason>) -> Option<Named> {
    let WellFormed { common_name, names } = well_formed::read(profile, request, reasons)?;
    let bound = readings(profile, common_name.as_deref(), &names, reasons).map(|reading| reading.bound);
    let claims = bound.as_ref().map(|bound| claims(&profile.vocabulary, bound)).unwrap_or_default();
    Some(Named { common_name, names, claims, bound, secret_id: None })
}

/// The one way to read all names together, if there is nothing to object.
fn readings(
    profile: &Profile,
    common_name: Option<&str>,
    names: &[GeneralName],
    reasons: &mut Vec<Reason>,
) -> Option<Reading> {
    let before = reasons.len();
    check_duplicates(names, reasons);
    let mut readings = check_common_name(profile, common_name, reasons)?;
    for name in names {
        match follow(profile, &readings, name) {
            Ok(next) => readings = next,
            Err(reason) => reasons.push(reason),
        }
    }
    check_kinds(profile, names, reasons);
    reasons.extend(spiffe_ids(names));
    let read =
        if reasons.len() == before || !names.is_empty() { check_counts(profile, &readings, reasons) } else { None };
    read.filter(|_| reasons.len() == before)
}

/// The written forms that are this name's alone. Without a dash in it, a form can only mean one name.
fn claims(vocabulary: &Vocabulary, bound: &Bindings) -> Vec<NameClaim> {
    let names = vocabulary.dashed.iter().filter_map(|part| bound.get(part));
    let claims = names.map(|name| NameClaim { form: name.replace('.', "-"), name: name.clone() });
    claims.filter(|claim| claim.form.contains('-')).collect()
}

fn check_duplicates(names: &[GeneralName], reasons: &mut Vec<Reason>) {
    for (at, name) in names.iter().enumerate() {
        if names.iter().take(at).any(|other| other == name) {
            let sentence = format!("the subjectAltName has `{name}` twice");
            reasons.push(Reason::new(ReasonCode::Duplicate, "names", sentence));
        }
    }
}

fn check_common_name(profile: &Profile, common_name: Option<&str>, reasons: &mut Vec<Reason>) -> Option<Vec<Reading>> {
    const FIELD: &str = "common_name";
    let counts = vec![0; profile.names.len()];
    let start = Reading { bound: Bindings::new(), counts };
    match (&profile.common_name, common_name) {
        (None, None) => Some(vec![start]),
        (None, Some(name)) => {
            let sentence = format!("there is a common name {}, and profile `{}` has none", quote(name), profile.name);
            reasons.push(Reason::new(ReasonCode::SubjectNotAllowed, FIELD, sentence).allowing("an empty subject"));
            Some(vec![start])
        }
        (Some(format), None) => {
            let reason = Reason::new(ReasonCode::NameMissing, FIELD, "there is no common name");
            reasons.push(reason.allowing(format.as_str()));
            Some(vec![start])
        }
        (Some(format), Some(name)) => match format.read(name, &start.bound, &profile.vocabulary) {
            None => {
                reasons.push(ambiguous(name));
                None
            }
            Some(found) if found.is_empty() => {
                let sentence = format!("the common name {} does not fit its format", quote(name));
                let allowed = format!("{}{}", format.as_str(), dashes_remark(profile, name));
                reasons.push(Reason::new(ReasonCode::NameOutsideFormat, FIELD, sentence).allowing(allowed));
                Some(vec![start])
            }
            Some(found) => Some(found.into_iter().map(|bound| Reading { bound, ..start.clone() }).collect()),
        },
    }
}

fn dashes_remark(profile: &Profile, name: &str) -> &'static str {
    let vocabulary = &profile.vocabulary;
    let dashed = !vocabulary.dashed.is_empty() && !vocabulary.dashes_claimed && name.contains('-');
    if dashed { "; no `-` in a part whose dots are written as dashes elsewhere" } else { "" }
}

fn ambiguous(name: &str) -> Reason {
    let sentence = format!("there are too many ways to read {}", quote(name));
    Reason::new(ReasonCode::NamesAmbiguous, "names", sentence)
}

/// The readings that remain when `name` is read, too.
fn follow(profile: &Profile, readings: &[Reading], name: &GeneralName) -> Result<Vec<Reading>, Reason> {
    let formats: Vec<_> = formats_of(profile, name.kind()).collect();
    if formats.is_empty() {
        let sentence =
            format!("profile `{}` takes no {}: {}", profile.name, name.kind().standard(), quote(name.as_str()));
        return Err(Reason::new(ReasonCode::NameKindNotAllowed, "names", sentence));
    }
    let mut next: Vec<Reading> = Vec::new();
    for reading in readings {
        for (at, format) in &formats {
            let found = format.pattern.read(name, &reading.bound, &profile.vocabulary);
            for bound in found.ok_or_else(|| ambiguous(name.as_str()))? {
                let mut counts = reading.counts.clone();
                if let Some(count) = counts.get_mut(*at) {
                    *count += 1;
                }
                let reading = Reading { bound, counts };
                if !next.contains(&reading) {
                    next.push(reading);
                }
                if next.len() > READINGS_MAX {
                    return Err(ambiguous(name.as_str()));
                }
            }
        }
    }
    if next.is_empty() { Err(outside(profile, name, readings)) } else { Ok(next) }
}

fn formats_of(profile: &Profile, kind: NameKind) -> impl Iterator<Item = (usize, &NameFormat)> {
    profile.names.iter().enumerate().filter(move |(_, format)| format.kind == kind)
}

/// Why a name fits nothing: no format at all, or only with parts that another name contradicts.
fn outside(profile: &Profile, name: &GeneralName, readings: &[Reading]) -> Reason {
    let allowed: Vec<_> = formats_of(profile, name.kind()).map(|(_, format)| format.pattern.as_str()).collect();
    let allowed = allowed.join(" or ");
    let alone = formats_of(profile, name.kind()).find_map(|(_, format)| {
        let found = format.pattern.read(name, &Bindings::new(), &profile.vocabulary)?;
        Some((format, found.into_iter().next()?))
    });
    let others = readings.first().map(|reading| &reading.bound);
    if let (Some((format, alone)), Some(others)) = (alone, others) {
        let disagreeing = alone.iter().find_map(|(part, value)| {
            let other = others.get(part).filter(|other| *other != value)?;
            (!written_alike(profile, format, part, value, other)).then_some((part, value, other))
        });
        if let Some((part, value, other)) = disagreeing {
            let sentence = format!(
                "{} says that {part} is {}, other names say {}",
                quote(name.as_str()),
                quote(value),
                quote(other)
            );
            return Reason::new(ReasonCode::NamePartsDisagree, "names", sentence).allowing(allowed);
        }
    }
    let sentence =
        format!("the {} {} fits no format of profile `{}`", name.kind().standard(), quote(name.as_str()), profile.name);
    Reason::new(ReasonCode::NameOutsideFormat, "names", sentence).allowing(allowed)
}

/// Read alone, a form with dashes does not say which of them are dots; that is no disagreement.
fn written_alike(profile: &Profile, format: &NameFormat, part: &str, value: &str, other: &str) -> bool {
    let dashed = format.pattern.template().is_some_and(|template| template.dashed_parts().any(|dashed| dashed == part));
    dashed && profile.vocabulary.dashes_claimed && other.replace('.', "-") == value.replace('.', "-")
}

fn check_kinds(profile: &Profile, names: &[GeneralName], reasons: &mut Vec<Reason>) {
    for limit in &profile.per_kind {
        let (kind, standard) = (limit.kind, limit.kind.standard());
        let count = names.iter().filter(|name| name.kind() == kind).count();
        let sentence = format!("there are {count} names of the kind {standard}");
        if count < limit.at_least {
            let reason = Reason::new(ReasonCode::NameMissing, "names", sentence);
            reasons.push(reason.allowing(format!("at least {}", limit.at_least)));
        } else if count > limit.at_most && limit.at_most > 0 {
            let reason = Reason::new(ReasonCode::NameTooMany, "names", sentence);
            reasons.push(reason.allowing(format!("at most {}", limit.at_most)));
        }
    }
}

/// Whoever reads SPIFFE IDs refuses a certificate with two of them (X.509-SVID, section 2), whatever a profile says.
pub(crate) fn spiffe_ids(names: &[GeneralName]) -> Option<Reason> {
    let count = names.iter().filter(|name| name.as_str().starts_with("spiffe://")).count();
    let reason = || Reason::new(ReasonCode::NameTooMany, "names", format!("there are {count} SPIFFE IDs"));
    (count > 1).then(|| reason().allowing("at most 1"))
}

/// The reading whose counts hold, or the reasons why there is none, or more than one.
fn check_counts(profile: &Profile, readings: &[Reading], reasons: &mut Vec<Reason>) -> Option<Reading> {
    let holds = |reading: &&Reading| {
        profile
            .names
            .iter()
            .zip(&reading.counts)
            .all(|(format, count)| (format.at_least..=format.at_most).contains(count))
    };
    let held: Vec<_> = readings.iter().filter(holds).collect();
    let Some((first, others)) = held.split_first() else {
        let counts = readings.first().map(|reading| reading.counts.as_slice()).unwrap_or_default();
        for (format, count) in profile.names.iter().zip(counts) {
            reasons.extend(miscounted(format, *count));
        }
        return None;
    };
    if others.iter().any(|other| other.bound != first.bound) {
        let sentence = "the names can be read in more than one way";
        reasons.push(Reason::new(ReasonCode::NamesAmbiguous, "names", sentence));
        return None;
    }
    Some((*first).clone())
}

fn miscounted(format: &NameFormat, count: usize) -> Option<Reason> {
    let text = format.pattern.as_str();
    let kind = format.kind.standard();
    if count < format.at_least {
        let sentence = format!("{} of {} required name(s) of the format `{text}` are there", count, format.at_least);
        return Some(Reason::new(ReasonCode::NameMissing, "names", sentence).allowing(format!("a {kind} `{text}`")));
    }
    if count > format.at_most {
        let sentence = format!("there are {count} names of the format `{text}`");
        let reason = Reason::new(ReasonCode::NameTooMany, "names", sentence);
        return Some(reason.allowing(format!("at most {}", format.at_most)));
    }
    None
}
