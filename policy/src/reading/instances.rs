//! Reading what a profile says about records of instances.

use super::{Reader, formats::Formats};
use crate::{
    file::{InstancesTable, IntentWord, NamesFromWord, ProfileTable},
    instance::{ALIVE_MAX, InstanceRule},
    template::{INSTANCE, PROVIDER, Segment, Template},
};

/// What names the provider, the id and the service if the profile does not say.
const DEFAULTS: [&str; 3] = ["{provider}", "{instance}", "{domain}.{service}"];

impl Reader {
    pub(super) fn instances(
        &mut self,
        place: &str,
        profile: &ProfileTable,
        table: &InstancesTable,
        formats: &Formats,
    ) -> Option<InstanceRule> {
        if profile.names_from == NamesFromWord::Manifest {
            self.mistake(
                place,
                "`instances` and `names-from = \"manifest\"`: a manifest names workloads, and no instances",
            );
            return None;
        }
        self.intents(place, table);
        if table.alive_per_service.is_some_and(|most| !(1..=ALIVE_MAX).contains(&most)) {
            let sentence =
                format!("`instances.alive-per-service` lies between 1 and {ALIVE_MAX}; leave it away for no quota");
            self.mistake(place, sentence);
        }
        let [default_provider, default_id, default_service] = DEFAULTS;
        let provider = table.provider.as_deref().unwrap_or(default_provider);
        let id = table.id.as_deref().unwrap_or(default_id);
        let service = table.service.as_deref().unwrap_or(default_service);
        let [provider, id, service] = [("provider", provider), ("id", id), ("service", service)]
            .map(|(field, text)| self.instance_format(place, field, text, formats));
        if id.as_ref().is_some_and(|id| !id.parts().any(|part| part == INSTANCE)) {
            let sentence =
                "`instances.id` has no `{instance}`: by it profiles that follow instances are told from others";
            self.mistake(place, sentence);
        }
        Some(InstanceRule {
            intents: table.intents.clone(),
            provider: provider?,
            id: id?,
            service: service?,
            replace: table.replace,
            rekey: table.rekey,
            proof: table.proof,
            alive_per_service: table.alive_per_service,
        })
    }

    fn intents(&mut self, place: &str, table: &InstancesTable) {
        let InstancesTable { intents, .. } = table;
        for (at, intent) in intents.iter().enumerate() {
            if intents.iter().take(at).any(|other| other == intent) {
                self.mistake(place, format!("`instances.intents` has `{}` twice", intent.name()));
            }
        }
        let (register, refresh) = (intents.contains(&IntentWord::Register), intents.contains(&IntentWord::Refresh));
        if !register && !refresh {
            let sentence =
                "`instances.intents` has neither `register` nor `refresh`; hint: leave `instances` out for no records";
            self.mistake(place, sentence);
            return;
        }
        for (field, set, needed, has) in [
            ("replace", table.replace, "register", register),
            ("alive-per-service", table.alive_per_service.is_some(), "register", register),
            ("rekey", table.rekey, "refresh", refresh),
            ("proof", table.proof, "refresh", refresh),
        ] {
            if set && !has {
                self.mistake(place, format!("`instances.{field}` means nothing without the intent `{needed}`"));
            }
        }
    }

    /// A format that the profile's names bind all parts of.
    fn instance_format(&mut self, place: &str, field: &str, text: &str, formats: &Formats) -> Option<Template> {
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(error) => {
                self.mistake(place, format!("`instances.{field}`: `{text}`: {error}"));
                return None;
            }
        };
        if template.is_wildcard() {
            self.mistake(place, format!("`instances.{field}`: `{text}`: a wildcard stands in a dNSName only"));
        }
        let names = formats.names.iter().filter_map(|name| name.pattern.template());
        let templates: Vec<&Template> = formats.common_name.iter().chain(names).collect();
        let binds = |part: &str| templates.iter().any(|template| template.parts().any(|bound| bound == part));
        for segment in template.segments() {
            let missing = match segment {
                Segment::Literal(_) => None,
                Segment::Part(part) | Segment::Dashed(part) => (!binds(part)).then_some(part.as_str()),
                Segment::ProviderName => {
                    (!templates.iter().any(|template| template.names_provider())).then_some(PROVIDER)
                }
                Segment::ProviderSuffix => Some("provider.suffix"),
            };
            if let Some(part) = missing {
                self.mistake(place, format!("`instances.{field}`: `{text}`: no format binds `{{{part}}}`"));
            }
        }
        Some(template)
    }
}
