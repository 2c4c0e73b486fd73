//! A root: its key is made in the token, and signs its own certificate.

use std::str::FromStr as _;

use hallmark_backends::KeyReference;
use hallmark_ledger::{AuthorityRecord, AuthorityState, Step};
use hallmark_policy::{
    key::{PublicKey, SpkiDigest},
    offline,
};

use super::{Left, OutFile, key};
use crate::{
    check::{self, Checked, Crl},
    error::CeremonyError,
    facts::Fact,
    meaning::RootTask,
    order,
    run::{Open, Run, defect},
};

pub(super) async fn make(
    run: &mut Run<'_>,
    open: &mut Open,
    checked: &Checked,
    task: &RootTask,
) -> Result<Left, CeremonyError> {
    run.begin("generate", Some(open)).await?;
    let key = announced_key(run, open, checked, task).await?;
    key::generated(run, open, &key).await?;
    key::read_back(run, open, &key).await?;
    let (reference, public) = key;

    let (now, serial) = (open.journal.now(), open.journal.serial()?);
    let approved = check::decide(run.ceremony, checked, Some(&public), now, serial, Crl::default())?
        .ok_or_else(|| defect("nothing was decided"))?;
    let made = order::certify(run, open, approved, &public).await?;

    run.begin("verify", Some(open)).await?;
    // As the signer reads it that is given this root.
    let (_, root) = offline::root(&checked.authority()?.root, &made.der, now)
        .map_err(|reasons| CeremonyError::Refused { what: "what was made", reasons })?;
    if root.key.digest() != public.digest() {
        return Err(CeremonyError::Wrong { what: "certificate", sentence: "it is over another key".to_owned() });
    }
    let authority = checked.authority_name().to_owned();
    let state = open.book.ledger.authority(&authority)?.map(|record| record.state);
    if state != Some(AuthorityState::Ready) {
        open.book.ledger.advance(Step::RootReady { authority }, open.book.at()).await?;
    }
    let facts =
        vec![Fact::same("signature", "verifies under its own key"), Fact::same("policy", "takes it as this root")];
    run.done(facts, Some(open)).await?;

    let file = OutFile::signed("certificate", "CERTIFICATE", made, &public);
    Ok(Left { files: vec![file], key: Some((reference, public)), digests: Vec::new() })
}

/// Makes the key, or finds the one that an interrupted run made. Every step is in the log before the next.
async fn announced_key(
    run: &mut Run<'_>,
    open: &mut Open,
    checked: &Checked,
    task: &RootTask,
) -> Result<(KeyReference, PublicKey), CeremonyError> {
    let name = checked.authority_name().to_owned();
    let record = match open.book.ledger.authority(&name)? {
        None => {
            open.journal.touch()?;
            let owners = checked.authority()?.owner_keys().to_vec();
            let step = Step::RootIntent { authority: name.clone(), label: task.label.to_string(), owners };
            let logged = open.book.ledger.advance(step, open.book.at()).await?;
            run.entries.push(logged.index);
            open.book.ledger.authority(&name)?
        }
        // Another ceremony's root; only this one's own label was announced by this one's journal.
        Some(record) if record.label != task.label.to_string() || !open.journal.is_touching() => {
            return Err(CeremonyError::RootExists { log: run.ceremony.log.directory.clone(), authority: name });
        }
        found => found,
    };
    let record = record.ok_or_else(|| defect("the log lost its root"))?;
    if record.state != AuthorityState::Intent {
        return known(&record);
    }
    let wanted = (&task.label, checked.authority()?.root.key, run.ceremony.task.purpose());
    let (reference, public) = key::generate(run, open, checked, wanted).await?;
    let step = Step::RootKey { authority: name, reference: reference.to_string(), spki: public.spki().to_vec() };
    run.entries.push(open.book.ledger.advance(step, open.book.at()).await?.index);
    Ok((reference, public))
}

/// The key of a root that is in the log.
pub(super) fn known(record: &AuthorityRecord) -> Result<(KeyReference, PublicKey), CeremonyError> {
    let stored = record.key.as_ref().ok_or_else(|| defect("the root in the log has no key"))?;
    let reference = KeyReference::from_str(&stored.reference).map_err(|error| defect(&error.to_string()))?;
    let public = PublicKey::parse(&stored.spki).map_err(|error| defect(&error.to_string()))?;
    debug_assert_eq!(SpkiDigest::of(&stored.spki), public.digest());
    Ok((reference, public))
}
