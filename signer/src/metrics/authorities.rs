//! How each authority stands, and when what it has ends.

use hallmark_ledger::{Answer, AuthorityRecord, EpochRecord, Epochs, LedgerError};
use hallmark_policy::stored_validity;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::shown::number;
use crate::{core::Inner, standing::Standing};

/// Of which authority.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAuthority {
    authority: String,
}

/// Which certificate of which authority.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCertificate {
    authority: String,
    certificate: &'static str,
}

/// Which CA's CRL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCrl {
    authority: String,
    ca: String,
}

impl Inner {
    pub(super) fn authority_metrics(&self, registry: &mut Registry) -> Result<(), LedgerError> {
        let [serves, stopped, frozen, generations] = [(); 4].map(|()| Family::<OfAuthority, Gauge>::default());
        let certificates = Family::<OfCertificate, Gauge>::default();
        for record in self.ledger.authorities()? {
            let AuthorityRecord { name, root, .. } = record;
            let of = OfAuthority { authority: name.clone() };
            serves.get_or_create(&of).set((self.standing(&name)? == Standing::Serves).into());
            stopped.get_or_create(&of).set(self.ledger.stopped(&name)?.is_some().into());
            frozen.get_or_create(&of).set(self.ledger.frozen(&name)?.is_some().into());
            let [active, next] = [self.ledger.epoch(&name, Epochs::Active)?, self.ledger.epoch(&name, Epochs::Making)?];
            generations.get_or_create(&of).set(active.as_ref().map_or(0, |epoch| number(epoch.generation)));
            let intermediate = |epoch: Option<&EpochRecord>| epoch.and_then(|epoch| epoch.intermediate.clone());
            let ends = [
                ("root", root),
                ("intermediate", intermediate(active.as_ref())),
                ("mesh-ca", active.as_ref().and_then(|epoch| epoch.mesh_ca.clone())),
                ("next-intermediate", intermediate(next.as_ref())),
            ];
            for (certificate, answer) in ends {
                if let Some(left) = answer.and_then(|answer| self.left(&answer)) {
                    certificates.get_or_create(&OfCertificate { authority: name.clone(), certificate }).set(left);
                }
            }
        }
        let crls = Family::<OfCrl, Gauge>::default();
        for (authority, ca, next_update) in self.crls_due() {
            let left = next_update.secs() - self.clock.wall().time.secs();
            crls.get_or_create(&OfCrl { authority, ca: ca.to_string() }).set(left);
        }
        registry.register("authority_serves", "Whether an authority signs leaves now", serves);
        registry.register("authority_frozen", "Whether an operator froze an authority", frozen);
        registry.register(
            "authority_stopped",
            "Whether an authority stopped itself: its database was restored",
            stopped,
        );
        registry.register("epoch_generation", "Generation of the active epoch; 0 without one", generations);
        registry.register_with_unit(
            "certificate_remaining",
            "Time until a CA certificate ends; negative once it has",
            Unit::Seconds,
            certificates,
        );
        registry.register_with_unit(
            "crl_remaining",
            "Time until the newest CRL of a CA is to be replaced, of partitioned ones the first; negative once it has passed",
            Unit::Seconds,
            crls,
        );
        Ok(())
    }

    /// Seconds until a certificate ends.
    fn left(&self, answer: &Answer) -> Option<i64> {
        let end = stored_validity(&answer.to_be_signed)?.not_after;
        Some(end.secs() - self.clock.wall().time.secs())
    }
}
