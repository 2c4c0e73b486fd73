//! Reading what an authority says about the way from one epoch to the next.

use std::collections::BTreeMap;

use super::Reader;
use crate::{
    claim::{ClaimRule, WORKLOAD_SECRET_ID_ARCS},
    file::{
        AuthorityTable, CaseWord, DashesWord, NamesFromWord, OwnerSignatureWord, PerKindTable, ProfileTable,
        RetiredKeyWord, RotatesWord,
    },
    key::SpkiDigest,
    manifest::OWNERS_MAX,
    oid::dotted,
    owner,
    profile::{Authority, Profile, Rotation},
};

impl Reader {
    pub(super) fn rotation(&mut self, place: &str, table: &AuthorityTable) -> Rotation {
        let AuthorityTable {
            rotates, owner_keys, owner_signature, revoke_previous, retired_key, manifest_names, ..
        } = table;
        if *rotates == RotatesWord::Age {
            let settings = [
                ("owner-keys", owner_keys.is_some()),
                ("owner-signature", owner_signature.is_some()),
                ("revoke-previous", revoke_previous.is_some()),
                ("manifest-names", manifest_names.is_some()),
            ];
            for (setting, _) in settings.into_iter().filter(|(_, set)| *set) {
                let sentence = format!(
                    "`{setting}` says something about manifests, and the authority has none; hint: leave it out, or write \
                     `rotates = \"manifest\"`"
                );
                self.mistake(place, sentence);
            }
        } else if owner_keys.is_none() {
            self.mistake(
                place,
                "`owner-keys` is missing: nobody could set the first manifest; hint: name the owners' keys, or write `[]` \
                 where nobody shall",
            );
        }
        let owner_signature = owner_signature.unwrap_or_default();
        if revoke_previous.is_some()
            && *rotates == RotatesWord::Manifest
            && owner_signature != OwnerSignatureWord::Contrast
        {
            self.mistake(
                place,
                "`revoke-previous` is the owner's to say with each rotation; hint: leave it out, or write \
                 `owner-signature = \"contrast\"`",
            );
        }
        if *revoke_previous == Some(true)
            && *rotates == RotatesWord::Manifest
            && (table.crl.is_none() || table.root.offline)
        {
            let missing = if table.root.offline { "the root is offline" } else { "the authority has no `crl`" };
            self.mistake(
                place,
                format!(
                    "`revoke-previous` puts intermediates on the root's CRL, and {missing}; hint: leave it out, or let this \
                     signer sign the root's CRLs"
                ),
            );
        }
        let retired_default = match rotates {
            RotatesWord::Manifest => RetiredKeyWord::Destroy,
            RotatesWord::Age => RetiredKeyWord::CrlOnly,
        };
        Rotation {
            rotates: *rotates,
            owner_keys: self.owner_keys(place, owner_keys.as_deref().unwrap_or_default()),
            owner_signature,
            revoke_previous: revoke_previous.unwrap_or_default(),
            retired_key: retired_key.unwrap_or(retired_default),
            manifest_names: manifest_names.unwrap_or_default(),
        }
    }

    fn owner_keys(&mut self, place: &str, texts: &[String]) -> Vec<SpkiDigest> {
        if texts.len() > OWNERS_MAX {
            self.mistake(place, format!("`owner-keys` has {} entries; at most {OWNERS_MAX} are taken", texts.len()));
        }
        let mut owners = Vec::new();
        for text in texts {
            match SpkiDigest::parse(text) {
                Some(owner) if owners.contains(&owner) => {
                    self.mistake(place, format!("`owner-keys` has `{text}` twice"));
                }
                Some(owner) => owners.push(owner),
                None => {
                    let sentence = format!(
                        "`owner-keys`: `{text}` is no SHA-256 of a SubjectPublicKeyInfo; write 64 digits of 0-9 and a-f"
                    );
                    self.mistake(place, sentence);
                }
            }
        }
        owners
    }

    /// What is said about the names of requests is said for nothing where they come from a manifest.
    pub(super) fn names_from(&mut self, place: &str, table: &ProfileTable) {
        let PerKindTable { dns, uri, ip, email } = &table.per_kind;
        let settings = [
            ("common-name", table.common_name.is_some()),
            ("names", !table.names.is_empty()),
            ("per-kind", [dns, uri, ip, email].iter().any(|count| count.is_some())),
            ("case", table.case != CaseWord::Exact),
            ("dashes", table.dashes != DashesWord::Strict),
            ("parts", !table.parts.is_empty()),
            ("providers", !table.providers.is_empty()),
        ];
        let from_manifest = table.names_from == NamesFromWord::Manifest;
        for (setting, _) in settings.into_iter().filter(|(_, set)| *set && from_manifest) {
            let sentence = format!(
                "`{setting}` says something about the names of requests, and they come from the manifest; hint: leave it \
                 out, or leave out `names-from`"
            );
            self.mistake(place, sentence);
        }
        if table.workload_secret_id && !from_manifest {
            self.mistake(
                place,
                "`workload-secret-id` is the manifest's to give; hint: leave it out, or write `names-from = \"manifest\"`",
            );
        }
    }

    pub(super) fn of_a_manifest(&mut self, profile: &Profile, authority: &Authority) {
        let place = format!("profile.{}", profile.name);
        if profile.names_from == NamesFromWord::Manifest && authority.rotates() == RotatesWord::Age {
            let sentence = format!(
                "`names-from = \"manifest\"`, and authority `{}` has no manifests; hint: give it \
                 `rotates = \"manifest\"`",
                authority.name
            );
            self.mistake(&place, sentence);
        }
        let overlaps = |rule: &&ClaimRule| {
            let arc = rule.arc.arcs();
            arc.starts_with(WORKLOAD_SECRET_ID_ARCS) || WORKLOAD_SECRET_ID_ARCS.starts_with(arc)
        };
        if let Some(rule) = profile.claims.iter().find(overlaps).filter(|_| profile.workload_secret_id) {
            let sentence = format!(
                "`claims`: `{}` and {} overlap, where `workload-secret-id` puts what the manifest says",
                rule.arc,
                dotted(WORKLOAD_SECRET_ID_ARCS)
            );
            self.mistake(&place, sentence);
        }
    }

    /// A signature over a bare transition is good for every authority whose manifests had the same history.
    pub(super) fn shared_owners(&mut self, authorities: &BTreeMap<String, Authority>) {
        for (at, authority) in authorities.values().enumerate() {
            let others = authorities.values().take(at);
            for (other, key) in
                others.filter_map(|other| owner::shared(authority, other, authority.owner_keys(), other.owner_keys()))
            {
                let sentence = format!(
                    "`owner-keys` has `{key}`, which authority `{other}` has, too, and with `owner-signature = \"contrast\"` \
                     one signature would be good for both; hint: give each authority owners of its own"
                );
                self.mistake(&format!("authority.{}", authority.name), sentence);
            }
        }
    }
}
