//! Deciding about CRLs: whose, until when, and which of the revoked certificates stand on it.

use crate::{
    approved::{Approved, Conditions, Decision, EpochId, Facts, Numbering, RequestIdentity, Stage},
    authority::Root,
    content::{Content, Serial},
    crl::{
        CRL_ENTRIES_MAX, CrlContent, CrlScope, IssuingDistributionPoint, OnlyContains, RevocationReason,
        RevokedCertificate,
    },
    decide::Issuer,
    key::{PublicKey, SignatureAlgorithm, sha256},
    limits::Limits,
    name::DistinguishedName,
    profile::{Authority, CrlProfile, Policy},
    reason::{Reason, ReasonCode},
    time::{Interval, Span, UnixTime},
    web::CrlUrl,
};

/// Who CRLs are made for in the log: nobody asks for them one by one.
pub const SIGNER: &str = "signer";

/// How far after its issuer's end the nextUpdate of a last CRL may lie.
pub const NEXT_UPDATE_BEYOND_ISSUER_MAX: Span = Span::from_days(1);

/// Largest cRLNumber: what all readers of the log read alike (RFC 7493, section 2.2). A CRL a second takes 285 million years.
const CRL_NUMBER_MAX: u64 = 9_007_199_254_740_991;

/// Whose CRL it is.
#[derive(Clone, Copy, Debug)]
pub enum CrlIssuer<'a> {
    /// The root's: about intermediates.
    Root(&'a Root),
    /// An epoch's: about leaves.
    Epoch(&'a Issuer),
}

impl CrlIssuer<'_> {
    fn subject(&self) -> &DistinguishedName {
        match self {
            Self::Root(root) => &root.subject,
            Self::Epoch(epoch) => &epoch.subject,
        }
    }

    /// The key that is to sign.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        match self {
            Self::Root(root) => &root.key,
            Self::Epoch(epoch) => &epoch.key,
        }
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self {
            Self::Root(root) => root.algorithm,
            Self::Epoch(epoch) => epoch.algorithm,
        }
    }

    fn validity(&self) -> Interval {
        match self {
            Self::Root(root) => root.validity,
            Self::Epoch(epoch) => epoch.validity,
        }
    }

    fn epoch(&self) -> Option<EpochId> {
        match self {
            Self::Root(_) => None,
            Self::Epoch(epoch) => Some(epoch.epoch),
        }
    }
}

/// A CRL that is wanted, with what the ledger knows.
#[derive(Clone, Debug)]
pub struct CrlRequest<'a> {
    /// Whose.
    pub issuer: CrlIssuer<'a>,
    /// Which of its certificates it is about. A root has no partitions.
    pub scope: CrlScope,
    /// Number of the issuer's CRL before, of whatever scope; 0 if there is none. This one's is greater.
    pub after: u64,
    /// Number of the CRL with this scope that is published, where the ledger does not know of it: an older database was restored. This
    /// one's is greater than that, too.
    pub published: Option<u64>,
    /// Every certificate of the issuer in this scope that is revoked, in any order.
    pub revocations: Vec<Revocation>,
    /// Index of the newest revocation in this scope, also of one that is not remembered any more.
    pub newest_revocation: Option<u64>,
    /// The newest CRL of the issuer with this scope that was signed, if there is one.
    pub previous: Option<PreviousCrl>,
    /// What nextUpdate is to reach, where that is later than the policy's lifetime: the last CRL of a key.
    pub reaching: Option<UnixTime>,
}

impl CrlRequest<'_> {
    /// The cRLNumber: after every one before (RFC 5280, section 5.2.3), also those that the ledger has lost.
    fn number(&self) -> u64 {
        self.after.max(self.published.unwrap_or(0)).saturating_add(1)
    }
}

/// A revocation, as the ledger keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The certificate.
    pub serial: Serial,
    /// When it was revoked.
    pub at: UnixTime,
    /// Why.
    pub reason: RevocationReason,
    /// End of the certificate.
    pub not_after: UnixTime,
    /// Index of the revocation's entry in the log.
    pub log_index: u64,
}

/// What matters of the CRL before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviousCrl {
    /// Its thisUpdate.
    pub this_update: UnixTime,
    /// Index of the newest revocation that it took into account.
    pub newest_revocation: Option<u64>,
}

/// Decides about a CRL.
#[must_use]
pub fn decide_crl(policy: &Policy, authority: &str, request: CrlRequest<'_>, now: UnixTime) -> Decision {
    let Some(authority) = policy.authority(authority) else {
        let sentence = format!("the policy has no authority `{authority}`");
        return Decision::Refuse(vec![Reason::new(ReasonCode::AuthorityUnknown, "authority", sentence)]);
    };
    let Some(profile) = &authority.crl else {
        let sentence = format!("the policy gives authority `{}` no CRLs", authority.name);
        let reason = Reason::new(ReasonCode::CrlNotConfigured, "authority", sentence);
        return Decision::Refuse(vec![reason.allowing("`crl = { lifetime = \"7d\", refresh = \"1d\" }`")]);
    };
    let mut reasons = Vec::new();
    check_issuer(&request, now, &mut reasons);
    check_scope(authority, &request, &mut reasons);
    let next_update = next_update(profile, &request, now, &mut reasons);
    let revoked = revoked(&request, &mut reasons);
    if !reasons.is_empty() {
        return Decision::Refuse(reasons);
    }
    let content = CrlContent {
        algorithm: request.issuer.algorithm(),
        issuer: request.issuer.subject().clone(),
        this_update: now,
        next_update,
        revoked,
        authority_key_identifier: request.issuer.key().key_identifier(),
        number: request.number(),
        distribution_point: distribution_point(authority, profile, &request),
    };
    Decision::Approve(Box::new(approve(policy, authority, &request, content)))
}

fn check_issuer(request: &CrlRequest<'_>, now: UnixTime, reasons: &mut Vec<Reason>) {
    let validity = request.issuer.validity();
    if !validity.contains_moment(now) {
        let Interval { not_before, not_after } = validity;
        let sentence = format!("the issuer is valid from {not_before} to {not_after}, and it is {now}");
        reasons.push(Reason::new(ReasonCode::LifetimeBeyondIssuer, "issuer", sentence));
    }
    if request.number() > CRL_NUMBER_MAX {
        let reason = Reason::new(ReasonCode::FieldOutOfLimits, "number", "the cRLNumber is out of its limits");
        reasons.push(reason.allowing(format!("1 to {CRL_NUMBER_MAX}")));
    }
}

/// The CRL of a partition must name the place that leaves name (RFC 5280, section 6.3.3, step b).
fn check_scope(authority: &Authority, request: &CrlRequest<'_>, reasons: &mut Vec<Reason>) {
    let CrlScope::Partition(number) = request.scope else { return };
    let sentence = match request.issuer {
        CrlIssuer::Root(_) => format!("a root's CRL has no partition {number}: there are few intermediates"),
        CrlIssuer::Epoch(_) if !authority.crl_urls.iter().any(CrlUrl::names_partition) => {
            format!("leaves were given partition {number}, and the policy does not say any more where its CRL is")
        }
        CrlIssuer::Epoch(_) => return,
    };
    let reason = Reason::new(ReasonCode::CrlNotConfigured, "scope", sentence);
    reasons.push(
        reason.allowing("`crl.partitions` with `{partition}` in `crl-urls`, until the last of these leaves has ended"),
    );
}

fn next_update(profile: &CrlProfile, request: &CrlRequest<'_>, now: UnixTime, reasons: &mut Vec<Reason>) -> UnixTime {
    let usual = now.after(profile.lifetime);
    let reaching = request.reaching.map_or(usual, |reaching| reaching.max(usual));
    let latest = usual.max(request.issuer.validity().not_after.after(NEXT_UPDATE_BEYOND_ISSUER_MAX));
    if reaching > latest {
        let sentence = format!("nextUpdate would be {reaching}, after everything that the issuer signed has ended");
        reasons.push(
            Reason::new(ReasonCode::FieldOutOfLimits, "next_update", sentence).allowing(format!("at most {latest}")),
        );
    }
    reaching
}

/// The entries, by serial number. What has expired stands on one CRL more after its end (RFC 5280, section 3.3).
fn revoked(request: &CrlRequest<'_>, reasons: &mut Vec<Reason>) -> Vec<RevokedCertificate> {
    let is_over = |revocation: &Revocation| {
        request.previous.is_some_and(|previous| {
            let listed = previous.newest_revocation.is_some_and(|newest| revocation.log_index <= newest);
            listed && revocation.not_after < previous.this_update
        })
    };
    let mut revoked: Vec<_> = request
        .revocations
        .iter()
        .filter(|revocation| !is_over(revocation))
        .map(|Revocation { serial, at, reason, .. }| RevokedCertificate { serial: *serial, at: *at, reason: *reason })
        .collect();
    revoked.sort_unstable_by_key(|entry| entry.serial);
    if let Some(twice) = revoked.windows(2).find_map(|pair| match pair {
        [one, other] if one.serial == other.serial => Some(one.serial),
        _ => None,
    }) {
        let sentence = format!("the serial number {twice} is revoked twice");
        reasons.push(Reason::new(ReasonCode::Duplicate, "revoked", sentence));
    }
    if revoked.len() > CRL_ENTRIES_MAX {
        let sentence = format!("{} revoked certificates have not ended", revoked.len());
        let reason = Reason::new(ReasonCode::CrlTooLarge, "revoked", sentence);
        reasons.push(reason.allowing(format!(
            "at most {CRL_ENTRIES_MAX}: set `crl.partitions`, or rotate, so that a new key begins an empty list"
        )));
    }
    revoked
}

/// The root's names no place: clients that look for the trust anchor itself on it find no place in the anchor (OpenSSL does). Nor does a
/// complete one beside partitions: leaves name those.
fn distribution_point(
    authority: &Authority,
    profile: &CrlProfile,
    request: &CrlRequest<'_>,
) -> Option<IssuingDistributionPoint> {
    let is_partition = matches!(request.scope, CrlScope::Partition(_));
    (profile.distribution_point || is_partition).then(|| match request.issuer.epoch() {
        None => IssuingDistributionPoint { urls: Vec::new(), only: OnlyContains::CaCerts },
        Some(epoch) => {
            let named = authority.crl_urls.iter().filter(|url| url.names_partition() == is_partition);
            let urls = named.map(|url| url.of(epoch.generation, request.scope)).collect();
            IssuingDistributionPoint { urls, only: OnlyContains::UserCerts }
        }
    })
}

fn approve(policy: &Policy, authority: &Authority, request: &CrlRequest<'_>, content: CrlContent) -> Approved {
    let (key, epoch) = (request.issuer.key(), request.issuer.epoch());
    let request_id = match epoch {
        None => format!("crl-root-{}", request.number()),
        Some(epoch) => format!("crl-epoch-{}-{}", epoch.generation, request.number()),
    };
    let conditions = Conditions {
        authority: authority.name.clone(),
        policy: policy.digest(),
        stage: Stage::Crl { epoch },
        request: RequestIdentity {
            authority: authority.name.clone(),
            caller: SIGNER.to_owned(),
            id: request_id.clone(),
            content_sha256: sha256(&[request_id.as_bytes(), key.spki()].concat()),
        },
        issuer: key.digest(),
        numbering: Numbering::Crl {
            number: request.number(),
            after: request.after,
            scope: request.scope,
            newest_revocation: request.newest_revocation,
        },
        not_after: content.next_update,
        limits: Limits::default(),
        validate_only: false,
        claims: Vec::new(),
        instance: None,
    };
    let facts = Facts {
        method: "SignCrl".to_owned(),
        authority: authority.name.clone(),
        caller: SIGNER.to_owned(),
        request_id,
        names: vec![content.issuer.to_string()],
        ..Facts::default()
    };
    let content = Content::Crl(content);
    Approved { content, issuer: key.clone(), conditions, facts, instance_rate: None }
}
