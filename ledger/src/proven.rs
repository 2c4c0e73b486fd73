//! Whether the rows of authorities and epochs are what the log says. Each began with an entry, and each active epoch has one from which on
//! it was: they are proven to be in the tree, as decisions are, and compared with the row.

use hallmark_entry::{Summary, sha256, summary::Text};
use hallmark_policy::{hex, key::SpkiDigest};

use crate::{
    AuthorityRecord, Consent, EpochRecord, EpochState, Epochs, Ledger, LedgerError, genuine,
    record::{CEREMONY, HANDED_OVER},
    step::{ROOT_BROUGHT, joined},
};

impl Ledger {
    /// Whether an authority is the one that the log says was made: its label or its offline root, and its owners.
    ///
    /// # Errors
    /// See [`LedgerError`]; [`LedgerError::Tampered`] where it is not.
    pub fn prove_authority(&self, record: &AuthorityRecord) -> Result<(), LedgerError> {
        let whose = || format!("authority `{}`", record.name);
        let entry = self.proven(whose, record.intent_index)?;
        let owners = hex(&sha256(&joined(&record.owners)));
        let common = [
            (is_rotation(&entry, &record.name), "its entry is of something else"),
            (entry.owners_sha256 == Some(owners), "the owners are others than in its entry"),
        ];
        const LABEL: &str = "the label of the root's key is another than in its entry";
        let has_label = says(entry.label.as_ref(), &record.label);
        let root: &[(bool, &'static str)] = match entry.step.as_deref() {
            Some(ROOT_BROUGHT) => {
                let spki = record.key.as_ref().map(|key| SpkiDigest::of(&key.spki).to_string());
                let tbs = record.root.as_ref().map(|root| hex(&sha256(&root.to_be_signed)));
                &[
                    (
                        entry.label.is_none() == record.is_offline(),
                        "whether the root is offline is not as in its entry",
                    ),
                    (has_label || record.is_offline(), LABEL),
                    (text(entry.spki_sha256.as_ref()) == spki, "the root's key is another than was brought"),
                    (entry.tbs_sha256 == tbs, "the root's certificate is another than was brought"),
                ]
            }
            Some("root-intent") => &[(!record.is_offline(), "its entry does not bring a root"), (has_label, LABEL)],
            Some(_) | None => &[(false, "its entry does not begin a root")],
        };
        agree(whose, common.into_iter().chain(root.iter().copied()))
    }

    /// Whether a ceremony made the root of an authority: the entry right before the one by which it began hands it over.
    ///
    /// # Errors
    /// See [`LedgerError`]; [`LedgerError::Tampered`] where that entry is not what it was.
    pub fn is_handed_over(&self, record: &AuthorityRecord) -> Result<bool, LedgerError> {
        let whose = || format!("authority `{}`", record.name);
        let Some(before) = record.intent_index.and_then(|index| index.checked_sub(1)) else { return Ok(false) };
        let entry = self.proven(whose, Some(before))?;
        Ok(entry.kind == CEREMONY
            && entry.action.as_deref() == Some(HANDED_OVER)
            && says(entry.authority.as_ref(), &record.name))
    }

    /// Whether an epoch is the one that the log says was wanted, with all that was wanted of it. Gives who wanted it.
    ///
    /// # Errors
    /// See [`LedgerError`]; [`LedgerError::Tampered`] where it is not.
    pub fn prove_intent(&self, epoch: &EpochRecord) -> Result<Consent, LedgerError> {
        let whose = || format!("epoch {} of authority `{}`", epoch.generation, epoch.authority);
        let entry = self.proven(whose, epoch.intent_index)?;
        // Whoever activates an epoch may want more revoked than was intended.
        let revoke = !epoch.state.is_in_the_making() || entry.revoke_previous == Some(epoch.revoke_previous);
        agree(
            whose,
            [
                (is_step(&entry, "epoch-intent", epoch), "its entry does not intend this epoch"),
                (
                    entry.manifest_sha256 == Some(hex(&epoch.manifest_sha256)),
                    "the manifest is another than was intended",
                ),
                (entry.previous == Some(hex(&epoch.previous)), "it follows another transition than was intended"),
                (entry.lifetime == Some(epoch.lifetime_secs), "the lifetime is another than was intended"),
                (revoke, "whether its predecessor is revoked is not as was intended"),
                (says(entry.label.as_ref(), &epoch.label), "the label of its key is another than was intended"),
            ],
        )?;
        let bytes = |text: Option<&Text>| self::text(text).and_then(|digits| from_hex(&digits)).unwrap_or_default();
        Ok(Consent {
            by: entry.by.as_ref().map(ToString::to_string).unwrap_or_default(),
            owner_spki: bytes(entry.owner_spki.as_ref()),
            owner_signature: bytes(entry.owner_signature.as_ref()),
        })
    }

    /// Whether an epoch was put in force, as the log says.
    ///
    /// # Errors
    /// See [`LedgerError`]; [`LedgerError::Tampered`] where it was not.
    pub fn prove_active(&self, epoch: &EpochRecord) -> Result<(), LedgerError> {
        let whose = || format!("epoch {} of authority `{}`", epoch.generation, epoch.authority);
        let entry = self.proven(whose, epoch.active_index)?;
        agree(
            whose,
            [
                (is_step(&entry, "epoch-active", epoch), "its entry does not put it in force"),
                (entry.previous == Some(hex(&epoch.previous)), "it follows another transition than in its entry"),
                (
                    entry.revoke_previous == Some(epoch.revoke_previous),
                    "whether its predecessor is revoked is not as in its entry",
                ),
            ],
        )
    }

    /// Whether an epoch is over, as the log says: it was given up, or another one took its place.
    ///
    /// # Errors
    /// See [`LedgerError`]; [`LedgerError::Tampered`] where it is not.
    pub fn prove_over(&self, epoch: &EpochRecord) -> Result<(), LedgerError> {
        let whose = || format!("epoch {} of authority `{}`", epoch.generation, epoch.authority);
        if epoch.state == EpochState::Aborted {
            let entry = self.proven(whose, epoch.aborted_index)?;
            return agree(whose, [(is_step(&entry, "epoch-aborted", epoch), "its entry does not give it up")]);
        }
        let next = self.epoch(&epoch.authority, Epochs::After(epoch.transition))?;
        let next = next.ok_or_else(|| tampered(&whose, "nothing took its place"))?;
        self.prove_active(&next)
    }

    /// An entry that is under the root of the tree.
    fn proven(&self, whose: impl Fn() -> String, index: Option<u64>) -> Result<Summary, LedgerError> {
        let head = self.head();
        let index = index.ok_or_else(|| tampered(&whose, "no entry of the log is behind it"))?;
        let entry = self.read(|connection| genuine::entry(connection, (head.size, &head.root), index))?;
        entry.map_err(|what| tampered(&whose, what))
    }
}

fn agree(
    whose: impl Fn() -> String,
    agreements: impl IntoIterator<Item = (bool, &'static str)>,
) -> Result<(), LedgerError> {
    match agreements.into_iter().find(|(agrees, _)| !agrees) {
        Some((_, what)) => Err(tampered(&whose, what)),
        None => Ok(()),
    }
}

fn tampered(whose: &impl Fn() -> String, what: &str) -> LedgerError {
    LedgerError::Tampered { what: format!("{}: {what}", whose()) }
}

fn is_rotation(entry: &Summary, authority: &str) -> bool {
    entry.kind == "rotation" && says(entry.authority.as_ref(), authority)
}

fn is_step(entry: &Summary, step: &str, epoch: &EpochRecord) -> bool {
    let id = entry.epoch.as_ref().map(|epoch| (epoch.generation, epoch.transition.clone()));
    is_rotation(entry, &epoch.authority)
        && entry.step.as_deref() == Some(step)
        && id == Some((epoch.generation, Some(hex(&epoch.transition))))
}

fn says(text: Option<&Text>, whole: &str) -> bool {
    text.is_some_and(|text| text.is(whole))
}

fn text(text: Option<&Text>) -> Option<String> {
    match text {
        Some(Text::Whole(text)) => Some(text.clone()),
        Some(Text::Cut { .. } | Text::Private { .. }) | None => None,
    }
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let (pairs, rest) = digits.as_bytes().as_chunks();
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}
