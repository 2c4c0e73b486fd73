//! What operators do to records, each logged in the transaction that does it.

use hallmark_entry::Object;
use hallmark_policy::{Reason, ReasonCode, crl::RevocationReason, instance::InstanceName, reason::quote};
use rusqlite::{OptionalExtension as _, params};

use super::{Record, consequence::describe};
use crate::{
    Logged, UnixMillis,
    batch::{Batch, Fault},
    revocation::{RevokeAt, SERIALS_EACH_MAX},
};

/// An operator's wish about one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceRevocation {
    /// The authority.
    pub authority: String,
    /// The provider.
    pub provider: String,
    /// The instance's id.
    pub id: String,
    /// What CRLs say.
    pub reason: RevocationReason,
    /// The operator.
    pub by: String,
    /// Why, in words.
    pub why: String,
}

/// What became of a revocation.
#[derive(Debug)]
pub enum InstanceRevoked {
    /// The instance is revoked from this entry on.
    Now {
        /// The entry.
        logged: Logged,
        /// How many certificates were revoked with it.
        certificates: u64,
        /// How many are still to be revoked: it goes on in the background, and when asked again.
        left: u64,
    },
    /// It was revoked before. Certificates that were left are revoked now.
    Before {
        /// Index of that entry.
        log_index: u64,
        /// How many certificates were revoked now.
        certificates: u64,
        /// How many are still to be revoked.
        left: u64,
    },
    /// It is not registered; nothing was written.
    Unknown(Reason),
}

/// What became of lifting a revocation.
#[derive(Debug)]
pub enum Allowed {
    /// The record is gone from this entry on, and the instance may register anew.
    Now(Logged),
    /// There is no record; nothing was written.
    Unknown(Reason),
    /// Some of its certificates are not revoked yet; nothing was written.
    Unfinished(Reason),
}

impl Batch<'_> {
    /// Revokes an instance with all its certificates.
    pub(crate) fn revoke_instance(
        &mut self,
        wish: &InstanceRevocation,
        at: RevokeAt,
    ) -> Result<InstanceRevoked, Fault> {
        let InstanceRevocation { authority, provider, id, reason, by, why } = wish;
        let name = InstanceName { provider: provider.clone(), id: id.clone(), service: String::new() };
        let Some(record) = Record::find(self.connection, authority, &name)? else {
            return Ok(InstanceRevoked::Unknown(unknown(&name)));
        };
        if record.revoked {
            let sql = "SELECT revoked_index FROM instance WHERE id = ?1";
            let id = crate::schema::signed(record.id);
            let index: Option<i64> = self.connection.prepare_cached(sql)?.query_row([id], |row| row.get(0))?;
            let log_index = index.map_or(0, crate::schema::unsigned);
            let (certificates, left) = self.revoke_living(authority, record.id, *reason, by, SERIALS_EACH_MAX, at)?;
            return Ok(InstanceRevoked::Before { log_index, certificates, left });
        }
        let name = InstanceName { service: record.service.clone(), ..name };
        let (logged, certificates, left) = self.revoke_record(authority, &name, &record, *reason, by, why, at)?;
        Ok(InstanceRevoked::Now { logged, certificates, left })
    }

    /// Takes the record away, so that the instance may register anew. What was revoked stays on CRLs.
    pub(crate) fn allow_instance(&mut self, wish: &InstanceRevocation, at: UnixMillis) -> Result<Allowed, Fault> {
        let InstanceRevocation { authority, provider, id, reason: _, by, why } = wish;
        let name = InstanceName { provider: provider.clone(), id: id.clone(), service: String::new() };
        let Some(record) = Record::find(self.connection, authority, &name)? else {
            return Ok(Allowed::Unknown(unknown(&name)));
        };
        let sql = "SELECT 1 FROM revoking WHERE registration = ?1";
        if self.connection.prepare_cached(sql)?.exists([crate::schema::signed(record.id)])? {
            let sentence = format!("certificates of {name} are still being revoked");
            let reason = Reason::new(ReasonCode::StateDiffers, "instance", sentence);
            let allowed = "to wait, or `hallmark instance revoke` until it says that none is left";
            return Ok(Allowed::Unfinished(reason.allowing(allowed)));
        }
        let name = InstanceName { service: record.service.clone(), ..name };
        let object = Object::new()
            .text("action", "allowed")
            .text("authority", authority)
            .object("instance", describe(&name))
            .count("registered-index", record.id)
            .flag("was-revoked", record.revoked)
            .text("by", by)
            .text("sentence", why);
        let logged = self.append(object.into_entry("instance", at.0), at)?;
        let sql = "DELETE FROM instance WHERE id = ?1";
        self.connection.prepare_cached(sql)?.execute([crate::schema::signed(record.id)])?;
        Ok(Allowed::Now(logged))
    }

    /// Stops an authority, because its ledger made a key of that label and does not know it: the database is an older one. What was seen before
    /// was an operator's to judge.
    pub(crate) fn stop_authority(
        &mut self,
        authority: &str,
        label: &str,
        sentence: &str,
        at: UnixMillis,
    ) -> Result<Option<Logged>, Fault> {
        let sql = "INSERT OR IGNORE INTO later_key (authority, label) SELECT name, ?2 FROM authority WHERE name = ?1";
        if self.connection.prepare_cached(sql)?.execute([authority, label])? == 0 {
            return Ok(None);
        }
        let logged = self.alarm_of_restore(authority, sentence, at)?;
        let sql = "UPDATE authority SET stopped_index = coalesce(stopped_index, ?2) WHERE name = ?1";
        self.connection.prepare_cached(sql)?.execute(params![authority, crate::schema::signed(logged.index)])?;
        Ok(Some(logged))
    }

    /// Lets a stopped authority issue again. Certificates that began before are lost to this database from then on.
    pub(crate) fn resume_authority(
        &mut self,
        authority: &str,
        by: &str,
        why: &str,
        at: UnixMillis,
    ) -> Result<Option<Logged>, Fault> {
        let sql = "SELECT stopped_index FROM authority WHERE name = ?1";
        let index = self.connection.prepare_cached(sql)?.query_row([authority], |row| row.get::<_, Option<i64>>(0));
        let Some(index) = index.optional()?.flatten() else { return Ok(None) };
        let object = Object::new()
            .text("command", "resume-authority")
            .text("authority", authority)
            .count("stopped-index", crate::schema::unsigned(index))
            .text("by", by)
            .text("reason", why);
        let logged = self.append(object.into_entry("operator-command", at.0), at)?;
        let sql = "UPDATE authority SET stopped_index = NULL, restored_at = ?2 WHERE name = ?1";
        self.connection.prepare_cached(sql)?.execute(params![authority, at.0.div_euclid(1_000)])?;
        Ok(Some(logged))
    }
}

fn unknown(name: &InstanceName) -> Reason {
    let sentence = format!("provider {} has no instance {} registered", quote(&name.provider), quote(&name.id));
    Reason::new(ReasonCode::InstanceUnknown, "instance", sentence)
}
