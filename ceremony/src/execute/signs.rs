//! What a root of this log signs: an intermediate CA certificate, a cross-certificate, a CRL.

use hallmark_backends::KeyReference;
use hallmark_issuance::crl_number;
use hallmark_ledger::{AuthorityState, Revoke, Revoked};
use hallmark_policy::{crl::CrlScope, key::PublicKey, offline, time::UnixTime};

use super::{Left, OutFile, root};
use crate::{
    check::{self, Checked, Crl},
    error::CeremonyError,
    facts::Fact,
    meaning::{CrlTask, Task},
    order::{self, Made},
    run::{Open, Run, defect},
};

/// Signs a certificate for another key.
pub(super) async fn certificate(run: &mut Run<'_>, open: &mut Open, checked: &Checked) -> Result<Left, CeremonyError> {
    let public = open_root(run, open, checked).await?;
    let (now, serial) = (open.journal.now(), open.journal.serial()?);
    let approved = check::decide(run.ceremony, checked, None, now, serial, Crl::default())?
        .ok_or_else(|| defect("nothing was decided"))?;
    let made = order::certify(run, open, approved, &public).await?;

    run.begin("verify", Some(open)).await?;
    verify(run, checked, &made, now)?;
    run.done(vec![Fact::same("signature", "verifies under the root's key")], Some(open)).await?;
    let file = OutFile::signed("certificate", "CERTIFICATE", made, &public);
    Ok(Left { files: vec![file], ..Left::default() })
}

/// Looks at an intermediate as the signer does that waits for it. The backend and `reassemble` verified every signature.
fn verify(run: &Run<'_>, checked: &Checked, made: &Made, now: UnixTime) -> Result<(), CeremonyError> {
    let (Task::Intermediate(task), Some((binding, key))) = (&run.ceremony.task, &checked.request) else {
        return Ok(());
    };
    let (policy, name, root) = (checked.policy()?, checked.authority_name(), checked.root()?);
    offline::intermediate(policy, name, root, (*binding, task.lifetime), key, &made.der, now)
        .map(drop)
        .map_err(|reasons| CeremonyError::Refused { what: "what was made", reasons })
}

/// Revokes what is to be revoked, and signs the root's next CRL.
pub(super) async fn crl(
    run: &mut Run<'_>,
    open: &mut Open,
    checked: &Checked,
    task: &CrlTask,
) -> Result<Left, CeremonyError> {
    let public = open_root(run, open, checked).await?;
    revoke(run, open, checked, task, &public).await?;
    let now = open.journal.now();
    let before = before(open, &public, now)?;
    let serial = open.journal.serial()?;
    let approved = check::decide(run.ceremony, checked, None, now, serial, before)?
        .ok_or_else(|| defect("nothing was decided"))?;
    let made = order::certify(run, open, approved, &public).await?;

    run.begin("verify", Some(open)).await?;
    let Some(number) = crl_number(&made.der, &public) else {
        let sentence = "it does not read, or does not verify under the root's key".to_owned();
        return Err(CeremonyError::Wrong { what: "CRL", sentence });
    };
    let facts = vec![Fact::same("signature", "verifies under the root's key"), Fact::varies("number", number)];
    run.done(facts, Some(open)).await?;
    let file = OutFile::signed("crl", "X509 CRL", made, &public);
    Ok(Left { files: vec![file], ..Left::default() })
}

async fn revoke(
    run: &mut Run<'_>,
    open: &Open,
    checked: &Checked,
    task: &CrlTask,
    public: &PublicKey,
) -> Result<(), CeremonyError> {
    run.begin("revoke", Some(open)).await?;
    let wish = |revoking: &crate::meaning::Revoking| Revoke {
        authority: checked.authority_name().to_owned(),
        issuer: public.digest(),
        serial: revoking.serial,
        reason: revoking.reason,
        by: run.ceremony.name.clone(),
    };
    let wishes: Vec<_> = task.revoke.iter().map(wish).collect();
    let mut said = Vec::new();
    if !wishes.is_empty() {
        // All or none: what is not known is told before anything is written.
        for wish in &wishes {
            let known = open.book.ledger.is_known(wish.issuer, wish.serial)?;
            if !known {
                let sentence =
                    format!("the log knows no certificate of this root with the serial number {}", wish.serial);
                return Err(CeremonyError::Incapable { sentence });
            }
        }
        let answers = open.book.ledger.revoke(wishes.clone(), open.book.at()).await?;
        for (wish, answer) in wishes.iter().zip(answers) {
            said.push(match answer {
                Revoked::Now(logged) => {
                    run.entries.push(logged.index);
                    format!("{} {}", wish.serial, wish.reason.name())
                }
                Revoked::Before(before) => format!("{} {}, before", wish.serial, before.reason.name()),
                Revoked::Ended(at) => format!("{} ended at {at}, and is on no list", wish.serial),
                Revoked::Unknown => return Err(defect("the log lost a certificate")),
            });
        }
    }
    let said = if said.is_empty() { "nothing".to_owned() } else { said.join(", ") };
    run.done(vec![Fact::varies("revoked", said)], Some(open)).await
}

/// What matters of the CRLs before this one. One that an interrupted run of this ceremony committed is this one.
fn before(open: &Open, public: &PublicKey, now: UnixTime) -> Result<Crl, CeremonyError> {
    let ledger = &open.book.ledger;
    let status = ledger.crl_status(public.digest(), CrlScope::Complete)?;
    let own = status.pending.is_some() || status.newest.as_ref().is_some_and(|newest| newest.this_update == now);
    Ok(Crl {
        after: status.last_number.saturating_sub(u64::from(own && open.journal.runs() > 1)),
        revocations: ledger.revocations(public.digest(), CrlScope::Complete)?,
        newest_revocation: status.newest_revocation,
        previous: status.newest.as_ref().map(hallmark_ledger::CrlRecord::previous),
    })
}

/// Finds the root's key in the token. It is the one in the log, and the one in the certificate that was reviewed.
async fn open_root(run: &mut Run<'_>, open: &Open, checked: &Checked) -> Result<PublicKey, CeremonyError> {
    run.begin("open-key", Some(open)).await?;
    let authority = checked.authority_name().to_owned();
    let record = open.book.ledger.authority(&authority)?.filter(|record| record.state == AuthorityState::Ready);
    let Some(record) = record.filter(|record| !record.is_offline()) else {
        return Err(CeremonyError::NoRoot { log: run.ceremony.log.directory.clone(), authority });
    };
    let (reference, public): (KeyReference, PublicKey) = root::known(&record)?;
    if checked.root()?.key.digest() != public.digest() {
        return Err(CeremonyError::OtherRoot { path: checked.root_path.clone().unwrap_or_default() });
    }
    let (_, mut facts) = open.device()?.read_back(&reference, public.digest())?;
    facts.push(Fact::same("kind", public.kind()));
    facts.push(Fact::varies("key", &reference));
    facts.push(Fact::varies("spki-sha256", public.digest()));
    run.done(facts, Some(open)).await?;
    Ok(public)
}
