//! Leaf certificates: how operators find them, and revoke many at once. Touches no key.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use bytes::Bytes;
use hallmark_ledger::{
    CertificateFilter, CertificatePage, CertificateRecord, EpochState, Event, REVOCATIONS_MAX, Revoke, Revoked,
    UnixMillis,
};
use hallmark_policy::{Reason, ReasonCode, hex, key::SpkiDigest};
use hallmark_proto::{
    link::Reply,
    operator::{
        Certificate, CertificateSelection, FindCertificatesRequest, FindCertificatesResponse,
        RevokeCertificatesRequest, RevokeCertificatesResponse,
    },
};

use crate::{
    answer::{self, Failure},
    core::Inner,
    epochs,
    operate::decode,
    records::{check_text, check_why, not_registered, page, revocation_reason},
};

/// Most octets of a serial number (RFC 5280, section 4.1.2.2).
const SERIAL_OCTETS_MAX: usize = 20;

impl Inner {
    /// Finds certificates.
    pub(crate) async fn find_certificates(self: &Arc<Self>, body: Bytes) -> Result<Reply, Failure> {
        let FindCertificatesRequest { authority, selection, before_index, limit } = decode(body)?;
        epochs::known(self, &authority)?;
        let selection = selection.unwrap_or_default();
        let filter = CertificateFilter {
            before: (before_index > 0).then_some(before_index),
            most: usize::try_from(page(limit)?).unwrap_or(usize::MAX),
            ..self.filter(&authority, selection).await?
        };
        let CertificatePage { certificates, next } = self.search(authority, filter).await?;
        let certificates = certificates.into_iter().map(described).collect();
        Ok(answer::success(&FindCertificatesResponse { certificates, next }))
    }

    /// Revokes the certificates that a selection finds, or counts them.
    pub(crate) async fn revoke_certificates(self: &Arc<Self>, operator: &str, body: Bytes) -> Result<Reply, Failure> {
        let RevokeCertificatesRequest { authority, selection, reason, why, dry_run, before_index } = decode(body)?;
        epochs::known(self, &authority)?;
        let selection = selection.unwrap_or_default();
        let reason = revocation_reason(&reason)?;
        if !dry_run {
            check_why(&why)?;
        }
        check_narrow(&selection)?;
        let words = words(&selection);
        let serial = selection.serial.clone();
        let filter = CertificateFilter {
            before: (before_index > 0).then_some(before_index),
            living: true,
            most: REVOCATIONS_MAX,
            ..self.filter(&authority, selection).await?
        };
        let log_size = self.ledger.head().size;
        let CertificatePage { certificates, next } = self.search(authority.clone(), filter.clone()).await?;
        if certificates.is_empty() && next.is_none() && !serial.is_empty() {
            self.check_serial(&authority, filter).await?;
        }
        let count = u64::try_from(certificates.len()).unwrap_or(u64::MAX);
        let unlisted = self.unlisted(&authority, &certificates)?;
        if dry_run || certificates.is_empty() {
            let response =
                RevokeCertificatesResponse { certificates: count, next, log_size, log_index: None, unlisted };
            return Ok(answer::success(&response));
        }
        let at = self.revoke_at().await;
        let by = operator.to_owned();
        let command = Event::RevokeCertificates {
            authority: authority.clone(),
            by: by.clone(),
            why,
            reason,
            selection: words,
            count,
        };
        let logged = self.ledger.record(command, at.at).await.map_err(|error| self.ledger_failed(&error))?;
        let revoke = |record: &CertificateRecord| Revoke {
            authority: authority.clone(),
            issuer: record.issuer,
            serial: record.serial,
            reason,
            by: by.clone(),
        };
        let revoked = self.ledger.revoke(certificates.iter().map(revoke).collect(), at).await;
        let revoked = revoked.map_err(|error| self.ledger_failed(&error))?;
        self.crls.refreshing.was_revoked();
        let now = revoked.iter().filter(|revoked| matches!(revoked, Revoked::Now(_))).count();
        Ok(answer::success(&RevokeCertificatesResponse {
            certificates: u64::try_from(now).unwrap_or(u64::MAX),
            next,
            log_size,
            log_index: Some(logged.index),
            unlisted,
        }))
    }

    /// How many of these no CRL will ever name: the key that signed them is destroyed.
    pub(crate) fn unlisted(&self, authority: &str, certificates: &[CertificateRecord]) -> Result<u64, Failure> {
        let mut destroyed = BTreeMap::new();
        let mut unlisted = 0;
        for CertificateRecord { issuer, .. } in certificates {
            let is_destroyed = match destroyed.entry(*issuer) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(unknown) => {
                    let epoch = self.epoch_by_key(authority, *issuer)?;
                    *unknown.insert(epoch.is_some_and(|epoch| epoch.state == EpochState::Destroyed))
                }
            };
            unlisted += u64::from(is_destroyed);
        }
        Ok(unlisted)
    }

    /// That nothing is left to revoke is an answer; a serial number that nobody has is a mistake.
    async fn check_serial(self: &Arc<Self>, authority: &str, filter: CertificateFilter) -> Result<(), Failure> {
        let number = filter.serial.as_deref().map(hex).unwrap_or_default();
        let mut any = CertificateFilter { living: false, before: None, ..filter };
        loop {
            let page = self.search(authority.to_owned(), any.clone()).await?;
            if !page.certificates.is_empty() {
                return Ok(());
            }
            any.before = page.next;
            if any.before.is_none() {
                break;
            }
        }
        let sentence =
            format!("authority `{authority}` issued no leaf certificate {number} to which all of that applies");
        let reason = Reason::new(ReasonCode::CertificateUnknown, "selection.serial", sentence);
        Err(reason.allowing("one that has not ended for longer than `ended-retention`: the log has all others").into())
    }

    async fn search(
        self: &Arc<Self>,
        authority: String,
        filter: CertificateFilter,
    ) -> Result<CertificatePage, Failure> {
        let ended_by = self.revoke_at().await.ended_by;
        self.reading(move |ledger| ledger.certificates(&authority, &filter, ended_by)).await
    }

    async fn filter(&self, authority: &str, selection: CertificateSelection) -> Result<CertificateFilter, Failure> {
        const FIELD: &str = "selection";
        let out_of_limits = |sentence: &str| Failure::from(Reason::new(ReasonCode::FieldOutOfLimits, FIELD, sentence));
        let CertificateSelection { serial, name, provider, instance_id, spki_sha256, caller, profile, .. } = selection;
        for text in [&name, &provider, &instance_id, &caller, &profile] {
            check_text(FIELD, text)?;
        }
        if serial.len() > SERIAL_OCTETS_MAX {
            return Err(out_of_limits("a serial number has at most 20 bytes"));
        }
        let spki = match spki_sha256.as_ref() {
            [] => None,
            bytes => Some(SpkiDigest::from_bytes(
                bytes.try_into().map_err(|_| out_of_limits("`spki_sha256` has 32 bytes, or none"))?,
            )),
        };
        if provider.is_empty() != instance_id.is_empty() {
            return Err(out_of_limits("`provider` and `instance_id` go together"));
        }
        let registration = if instance_id.is_empty() {
            None
        } else {
            let (authority, of_provider, id) = (authority.to_owned(), provider.clone(), instance_id.clone());
            let record = self.reading(move |ledger| ledger.instance(&authority, &of_provider, &id)).await?;
            Some(record.ok_or_else(|| not_registered(&provider, &instance_id))?.registered_index)
        };
        let moment = |millis: i64| (millis != 0).then_some(UnixMillis(millis));
        Ok(CertificateFilter {
            serial: (!serial.is_empty()).then(|| serial.to_vec()),
            registration,
            name,
            spki,
            caller,
            profile,
            since: moment(selection.since_millis),
            until: moment(selection.until_millis),
            living: selection.living,
            ..CertificateFilter::default()
        })
    }
}

/// Nobody revokes everything by leaving something out.
fn check_narrow(selection: &CertificateSelection) -> Result<(), Failure> {
    let CertificateSelection { serial, name, instance_id, spki_sha256, caller, profile, .. } = selection;
    let texts = [name, instance_id, caller, profile];
    let is_of_a_time = selection.since_millis != 0 && selection.until_millis != 0;
    if is_of_a_time && selection.since_millis > selection.until_millis {
        let reason = Reason::new(ReasonCode::FieldOutOfLimits, "selection", "the selection ends before it begins");
        return Err(reason.allowing("`since_millis` up to `until_millis`").into());
    }
    if is_of_a_time || !serial.is_empty() || !spki_sha256.is_empty() || texts.iter().any(|text| !text.is_empty()) {
        return Ok(());
    }
    let sentence = "the selection has no end or no beginning, and would revoke everything up to it";
    let reason = Reason::new(ReasonCode::FieldMissing, "selection", sentence);
    let allowed =
        "since_millis and until_millis, or at least one of serial, name, instance_id, spki_sha256, caller and profile";
    Err(reason.allowing(allowed).into())
}

/// A selection, for the log.
fn words(selection: &CertificateSelection) -> Vec<String> {
    let CertificateSelection { serial, name, provider, instance_id, spki_sha256, caller, profile, .. } = selection;
    let moment = |millis: i64| if millis == 0 { String::new() } else { millis.to_string() };
    let words = [
        ("serial", hex(serial)),
        ("name", name.clone()),
        ("provider", provider.clone()),
        ("instance", instance_id.clone()),
        ("spki-sha256", hex(spki_sha256)),
        ("caller", caller.clone()),
        ("profile", profile.clone()),
        ("since", moment(selection.since_millis)),
        ("until", moment(selection.until_millis)),
    ];
    words.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| format!("{key}:{value}")).collect()
}

/// A certificate, for an answer.
pub(crate) fn described(record: CertificateRecord) -> Certificate {
    Certificate {
        serial: record.serial.as_bytes().to_vec().into(),
        issuer_spki_sha256: record.issuer.as_bytes().to_vec().into(),
        spki_sha256: record.spki.map(|spki| spki.as_bytes().to_vec()).unwrap_or_default().into(),
        names: record.names,
        caller: record.caller,
        profile: record.profile,
        not_before: record.not_before.secs(),
        not_after: record.not_after.secs(),
        log_index: record.log_index,
        revoked_at: record.revoked.as_ref().map(|revoked| revoked.at.secs()),
        revocation_reason: record.revoked.map(|revoked| revoked.reason.name().to_owned()).unwrap_or_default(),
    }
}
