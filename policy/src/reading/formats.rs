//! Reading what a profile says about names.

use std::collections::BTreeMap;

use super::Reader;
use crate::{
    file::{DashesWord, NameTable, NamesFromWord, PartTable, PerKindTable, ProfileTable, ShapeWord},
    ip::IpBlock,
    name::{NAMES_MAX, NameKind},
    overlap,
    profile::{KindCount, NameFormat, Pattern, Profile},
    template::{INSTANCE, Part, Provider, Segment, Shape, Template, Vocabulary},
};

/// Most names of one format, or of one kind.
const COUNT_MAX: usize = NAMES_MAX;

/// What a profile says about names.
pub(super) struct Formats {
    pub(super) common_name: Option<Template>,
    pub(super) names: Vec<NameFormat>,
    pub(super) per_kind: Vec<KindCount>,
    pub(super) vocabulary: Vocabulary,
}

impl Reader {
    pub(super) fn formats(
        &mut self,
        place: &str,
        table: &ProfileTable,
        providers: &BTreeMap<String, Provider>,
    ) -> Formats {
        let common_name = table.common_name.as_deref().and_then(|text| self.template(place, "common-name", text));
        if common_name.as_ref().is_some_and(Template::is_wildcard) {
            self.mistake(place, "`common-name`: a wildcard stands in a dNSName only");
        }
        let names: Vec<_> = table.names.iter().filter_map(|entry| self.name_format(place, entry)).collect();
        let from_request = table.names_from == NamesFromWord::Request;
        if from_request && common_name.is_none() && !names.iter().any(|format| format.at_least > 0) {
            self.mistake(place, "no name is required: a certificate without a name says nothing");
        }
        let per_kind = self.per_kind(place, &table.per_kind, &names);
        let vocabulary = self.vocabulary(place, table, providers, common_name.as_ref(), &names);
        self.dashes(place, &vocabulary, common_name.as_ref());
        self.paths(place, &vocabulary, common_name.as_ref(), &names);
        Formats { common_name, names, per_kind, vocabulary }
    }

    fn template(&mut self, place: &str, field: &str, text: &str) -> Option<Template> {
        Template::parse(text).map_err(|error| self.mistake(place, format!("`{field}`: `{text}`: {error}"))).ok()
    }

    fn name_format(&mut self, place: &str, table: &NameTable) -> Option<NameFormat> {
        let NameTable { dns, uri, ip, email, count: counted } = table;
        let (kind, text) = match (dns, uri, ip, email) {
            (Some(text), None, None, None) => (NameKind::Dns, text),
            (None, Some(text), None, None) => (NameKind::Uri, text),
            (None, None, Some(text), None) => (NameKind::Ip, text),
            (None, None, None, Some(text)) => (NameKind::Email, text),
            _ => {
                self.mistake(place, "every entry of `names` has one of `dns`, `uri`, `ip` and `email`");
                return None;
            }
        };
        let pattern = if kind == NameKind::Ip {
            let block = IpBlock::parse(text);
            Pattern::Block(block.map_err(|error| self.mistake(place, format!("`ip`: `{text}`: {error}"))).ok()?)
        } else {
            Pattern::Template(self.template(place, kind.short(), text)?)
        };
        if pattern.is_wildcard() && kind != NameKind::Dns {
            self.mistake(place, format!("`{}`: `{text}`: a wildcard stands in a dNSName only", kind.short()));
        }
        if kind == NameKind::Email && text.matches('@').count() != 1 {
            self.mistake(place, format!("`email`: `{text}`: a mail address has one `@`, outside braces"));
        }
        let (at_least, at_most) =
            counted.as_deref().map_or(Some((1, 1)), count).filter(|(_, most)| *most > 0).or_else(|| {
                let sentence = format!("`count` of `{text}` is written `1`, `0..1` or `1..4`, at most {COUNT_MAX}");
                self.mistake(place, sentence);
                None
            })?;
        Some(NameFormat { kind, pattern, at_least, at_most })
    }

    fn per_kind(&mut self, place: &str, table: &PerKindTable, names: &[NameFormat]) -> Vec<KindCount> {
        let PerKindTable { dns, uri, ip, email } = table;
        let typed = [(NameKind::Dns, dns), (NameKind::Uri, uri), (NameKind::Ip, ip), (NameKind::Email, email)];
        let mut limits = Vec::new();
        for (kind, text) in typed {
            let Some(text) = text else { continue };
            let field = format!("per-kind.{}", kind.short());
            let Some((at_least, at_most)) = count(text) else {
                self.mistake(place, format!("`{field}` is written `0`, `1`, `0..2` or `1..4`, at most {COUNT_MAX}"));
                continue;
            };
            let of_kind = || names.iter().filter(move |format| format.kind == kind);
            let least: usize = of_kind().map(|format| format.at_least).sum();
            let most: usize = of_kind().map(|format| format.at_most).sum();
            if at_most == 0 && most > 0 {
                self.mistake(
                    place,
                    format!("`{field}` is 0, and `names` has formats of it; hint: leave one of them out"),
                );
            } else if least > at_most || most < at_least {
                let sentence =
                    format!("`{field}` is `{text}`, and the formats take {least} to {most}: nothing fits both");
                self.mistake(place, sentence);
            }
            limits.push(KindCount { kind, at_least, at_most });
        }
        limits
    }

    fn vocabulary(
        &mut self,
        place: &str,
        table: &ProfileTable,
        providers: &BTreeMap<String, Provider>,
        common_name: Option<&Template>,
        names: &[NameFormat],
    ) -> Vocabulary {
        let any = |shape| Part { shape, one_of: Vec::new(), none_of: Vec::new() };
        let mut parts = BTreeMap::from([
            ("domain".to_owned(), any(Shape::Dotted)),
            ("service".to_owned(), any(Shape::Label)),
            (INSTANCE.to_owned(), any(Shape::Dotted)),
        ]);
        for (name, part) in &table.parts {
            parts.insert(name.clone(), self.part(place, name, part));
        }
        let templates = || common_name.into_iter().chain(names.iter().filter_map(|format| format.pattern.template()));
        for part in templates().flat_map(Template::parts) {
            if !parts.contains_key(part) {
                self.mistake(place, format!("nothing says what `{{{part}}}` is; name it in `parts`"));
            }
        }
        for part in table.parts.keys().filter(|part| !templates().any(|template| template.parts().any(|p| p == *part)))
        {
            self.mistake(place, format!("`parts.{part}` stands in no format"));
        }
        let known: Vec<_> = table.providers.iter().filter_map(|name| providers.get(name).cloned()).collect();
        for name in table.providers.iter().filter(|name| !providers.contains_key(*name)) {
            self.mistake(place, format!("there is no provider `{name}`"));
        }
        if known.is_empty() && templates().any(Template::names_provider) {
            self.mistake(place, "a format has `{provider}`, but `providers` names none");
        }
        let mut dashed: Vec<_> = templates().flat_map(Template::dashed_parts).map(ToOwned::to_owned).collect();
        dashed.sort();
        dashed.dedup();
        if table.dashes == DashesWord::Strict {
            self.dashes_that_mean_nothing(place, &parts, &dashed);
        }
        let vocabulary =
            Vocabulary { parts, providers: known, dashed, dashes_claimed: table.dashes == DashesWord::Claimed };
        for (template, (one, other)) in
            templates().filter_map(|template| Some((template, template.run_together(&vocabulary)?)))
        {
            let sentence = format!(
                "`{}`: nothing tells where `{{{one}}}` ends and `{{{other}}}` begins, so that others would have the same name; hint: put \
                 text between them that one of them cannot hold",
                template.as_str()
            );
            self.mistake(place, sentence);
        }
        vocabulary
    }

    /// Strict dashes refuse every value with one, so that such a value allows nothing, and excludes nothing.
    fn dashes_that_mean_nothing(&mut self, place: &str, parts: &BTreeMap<String, Part>, dashed: &[String]) {
        for (name, part) in dashed.iter().filter_map(|name| parts.get_key_value(name)) {
            for value in part.one_of.iter().chain(&part.none_of).filter(|value| value.contains('-')) {
                let sentence = format!(
                    "`parts.{name}`: `{value}` has a dash, and no value of `{{{name}:dashes}}` has any; hint: write the name itself, with its \
                     dots, or `dashes = \"claimed\"`"
                );
                self.mistake(place, sentence);
            }
        }
    }

    fn part(&mut self, place: &str, name: &str, table: &PartTable) -> Part {
        let shape = match table.shape {
            ShapeWord::Label => Shape::Label,
            ShapeWord::Dotted => Shape::Dotted,
            ShapeWord::Path => Shape::Path,
        };
        let part = Part { shape, one_of: table.one_of.clone(), none_of: table.none_of.clone() };
        let shapeless = Part { one_of: Vec::new(), none_of: Vec::new(), ..part.clone() };
        for value in part.one_of.iter().chain(&part.none_of).filter(|value| !shapeless.takes(value)) {
            self.mistake(place, format!("`parts.{name}`: `{value}` does not have the shape `{}`", shape.name()));
        }
        for value in part.one_of.iter().filter(|value| part.none_of.contains(value)) {
            self.mistake(place, format!("`parts.{name}`: `{value}` is in `one-of` and in `none-of`"));
        }
        part
    }

    fn dashes(&mut self, place: &str, vocabulary: &Vocabulary, common_name: Option<&Template>) {
        if !vocabulary.dashes_claimed {
            return;
        }
        if vocabulary.dashed.is_empty() {
            self.mistake(place, "`dashes = \"claimed\"`, and no format has `:dashes`; hint: leave it out");
        }
        let plain = |part: &str| {
            let stands = |segment: &Segment| matches!(segment, Segment::Part(name) if name == part);
            common_name.is_some_and(|template| template.segments().iter().any(stands))
        };
        for part in vocabulary.dashed.iter().filter(|part| !plain(part)) {
            let sentence = format!(
                "`dashes = \"claimed\"` needs `{{{part}}}` in `common-name`: nothing else says which of its dashes are dots"
            );
            self.mistake(place, sentence);
        }
    }

    fn paths(&mut self, place: &str, vocabulary: &Vocabulary, common_name: Option<&Template>, names: &[NameFormat]) {
        let others = names.iter().filter(|format| format.kind != NameKind::Uri);
        let templates = common_name.into_iter().chain(others.filter_map(|format| format.pattern.template()));
        for part in templates.flat_map(Template::parts) {
            if vocabulary.parts.get(part).is_some_and(|part| part.shape == Shape::Path) {
                self.mistake(
                    place,
                    format!("`{{{part}}}` has the shape `path`, and stands in a format that is no URI"),
                );
            }
        }
        for part in &vocabulary.dashed {
            if vocabulary.parts.get(part).is_some_and(|part| part.shape == Shape::Path) {
                self.mistake(
                    place,
                    format!("`{{{part}:dashes}}`: a path has slashes, and dashes are written for dots"),
                );
            }
        }
    }

    /// What follows instances would be worth little if another profile gave the same names without following them.
    pub(super) fn overlaps(&mut self, profiles: &BTreeMap<String, Profile>) {
        for (one, other) in profiles.values().flat_map(|one| profiles.values().map(move |other| (one, other))) {
            self.covered_instances(one, other);
            self.other_records(one, other);
            self.unclaimed_forms(one, other);
        }
        for (free, followed) in profiles.values().flat_map(|one| profiles.values().map(move |other| (one, other))) {
            self.names_of_manifests(free, followed);
        }
        for (loose, followed) in profiles.values().flat_map(|one| profiles.values().map(move |other| (one, other))) {
            let (less, more) = (followed_how(loose), followed_how(followed));
            if less >= more || !together(loose, followed) {
                continue;
            }
            if let Some((one, other)) = overlap::first(loose, followed) {
                let what = match more {
                    Followed::InRecords => "keeps records of instances",
                    Followed::InNames | Followed::Not => "follows instances",
                };
                let sentence = format!(
                    "its `{one}` takes names that `{other}` of profile `{}` takes, too, and that profile {what}; \
                     hint: tell them apart by fixed text or by `none-of` in `parts`",
                    followed.name
                );
                self.mistake(&format!("profile.{}", loose.name), sentence);
            }
        }
    }
}

/// How closely a profile follows instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Followed {
    /// Not at all.
    Not,
    /// Its names say them.
    InNames,
    /// It keeps records.
    InRecords,
}

fn followed_how(profile: &Profile) -> Followed {
    match (profile.has_instances(), &profile.instances) {
        (_, Some(_)) => Followed::InRecords,
        (true, None) => Followed::InNames,
        (false, None) => Followed::Not,
    }
}

/// Whether certificates of one profile can stand for those of the other. A record is of a workload, whatever its certificates are used for.
fn together(one: &Profile, other: &Profile) -> bool {
    let keeps_records = one.instances.is_some() || other.instances.is_some();
    let usages_meet = one.usages.iter().any(|usage| other.usages.contains(usage));
    one.authority == other.authority && (keeps_records || usages_meet)
}

impl Reader {
    /// One workload would have two records, and whoever is shut out by the one would go on with the other.
    fn other_records(&mut self, one: &Profile, other: &Profile) {
        let (Some(mine), Some(theirs)) = (&one.instances, &other.instances) else { return };
        if one.name >= other.name || one.authority != other.authority {
            return;
        }
        let place = format!("profile.{}", other.name);
        let hint = "hint: give both the same, or tell their names apart by fixed text or by `none-of` in `parts`";
        if mine.formats() != theirs.formats() {
            if let Some((format, same)) = overlap::first(one, other) {
                let sentence = format!(
                    "its `{same}` takes names that `{format}` of profile `{}` takes, too, and `instances` has other formats of \
                     `provider`, `id` or `service` there: one workload would have two records; {hint}",
                    one.name
                );
                self.mistake(&place, sentence);
            }
            return;
        }
        if let Some((format, same)) = overlap::read_differently(one, other, |part| mine.names_part(part)) {
            let sentence = format!(
                "its `{same}` takes names that `{format}` of profile `{}` takes, too, and their formats or `parts` are not the same: one \
                 name could be of two records; {hint}",
                one.name
            );
            self.mistake(&place, sentence);
        }
    }

    /// A form that the ledger gives away once would be given away a second time, to whoever asks for it as plain text.
    fn unclaimed_forms(&mut self, claiming: &Profile, free: &Profile) {
        if claiming.authority != free.authority {
            return;
        }
        if let Some((claimed, plain)) = overlap::unclaimed(claiming, free) {
            let sentence = format!(
                "its `{plain}` takes names that profile `{}` gives away once, by `{claimed}`, and claims none; hint: tell them apart by fixed \
                 text or by `none-of` in `parts`, or write the part with `:dashes`",
                claiming.name
            );
            self.mistake(&format!("profile.{}", free.name), sentence);
        }
    }

    /// A manifest gives whatever names its owners want, those of an instance, too, and no format says which they are.
    fn names_of_manifests(&mut self, free: &Profile, followed: &Profile) {
        let is_apart = followed_how(followed) == Followed::Not || !together(free, followed);
        if free.names_from != NamesFromWord::Manifest || is_apart {
            return;
        }
        let sentence = format!(
            "its names come from manifests, which could name instances that profile `{}` follows; hint: give the two profiles authorities \
             of their own",
            followed.name
        );
        self.mistake(&format!("profile.{}", free.name), sentence);
    }

    /// A wildcard would answer for every instance below it.
    fn covered_instances(&mut self, one: &Profile, other: &Profile) {
        if let Some((wildcard, instance)) = overlap::covered_instance(one, other).filter(|_| together(one, other)) {
            let whose =
                if one.name == other.name { "its own".to_owned() } else { format!("profile `{}`'s", other.name) };
            let sentence = format!(
                "its `{wildcard}` covers names of {whose} `{instance}`: who has it answers for instances; \
                 hint: keep the wildcard apart by fixed text or by `none-of` in `parts`"
            );
            self.mistake(&format!("profile.{}", one.name), sentence);
        }
    }
}

/// `0`, `1`, `0..1`, `1..4`.
pub(super) fn count(text: &str) -> Option<(usize, usize)> {
    let digits = |digits: &&str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = |text: &str| {
        Some(text).filter(digits).and_then(|text| text.parse::<usize>().ok()).filter(|number| *number <= COUNT_MAX)
    };
    match text.split_once("..") {
        None => number(text).map(|number| (number, number)),
        Some((low, high)) => number(low).zip(number(high)),
    }
    .filter(|(low, high)| low <= high)
}
