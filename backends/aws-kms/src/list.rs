//! What is in an account, and whose it is.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    client::{Client, DESCRIBE_KEY},
    error::{Code, Error, plain},
    key::{Key, KeyId},
};

/// How many keys are described at once.
const DESCRIBED_AT_ONCE: usize = 8;

/// Keys on one page of a list; the most that there may be (API reference, ListKeys).
const PAGE_KEYS: i32 = 1_000;

/// Most keys of an account and region that are looked through.
const KEYS_MAX: usize = 10_000;

/// The part of an ARN that is the account's number: `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`.
const ARN_ACCOUNT: usize = 4;

const LIST_KEYS: &str = "ListKeys";
const LIST_ALIASES: &str = "ListAliases";

impl Client {
    /// What KMS says of every key of the account in this region. Those that end meanwhile are left out.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::OtherAccount`] if the credentials belong to another account than the one that is meant, [`Error::AccountUntold`] if
    /// nothing says whose they are; also if there are too many, or if one may not be described.
    pub fn keys(&self, within: Duration) -> Result<Vec<Key>, Error> {
        self.run(LIST_KEYS, within, async {
            let (mut ids, mut marker) = (Vec::new(), None);
            loop {
                let page = self.sdk.list_keys().limit(PAGE_KEYS).set_marker(marker).send().await;
                let page = page.map_err(|error| self.failed(LIST_KEYS, &error))?;
                for key in page.keys.unwrap_or_default() {
                    let (id, arn) = (key.key_id.unwrap_or_default(), key.key_arn.unwrap_or_default());
                    self.is_here(LIST_KEYS, &arn)?;
                    let wanted = self.arn_prefix() + &id;
                    if arn != wanted {
                        return Err(Error::OtherKey { call: LIST_KEYS, found: plain(&arn), wanted });
                    }
                    ids.push(id);
                }
                if ids.len() > KEYS_MAX {
                    let detail = format!(
                        "the account has more than {KEYS_MAX} keys in this region; give this signer an account of its own"
                    );
                    return Err(Error::NotAsked { call: LIST_KEYS, detail });
                }
                match page.next_marker.filter(|_| page.truncated) {
                    Some(next) => marker = Some(next),
                    None => break,
                }
            }
            if ids.is_empty() {
                self.is_of_account_by_alias().await?;
            }
            // Multi-Region keys have other ids, and none of them is ours.
            let ids = ids.into_iter().filter_map(|id| KeyId::parse(&id));
            let found = stream::iter(ids).map(|id| self.described(id)).buffer_unordered(DESCRIBED_AT_ONCE);
            let found: Vec<Option<Key>> = found.try_collect().await?;
            Ok(found.into_iter().flatten().collect())
        })
    }

    /// Sees that the credentials belong to the account that is meant, by the name of a key in this region, or of an alias.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::OtherAccount`] if they belong to another, [`Error::AccountUntold`] if there is neither a key nor an alias.
    pub fn is_of_account(&self, within: Duration) -> Result<(), Error> {
        self.run(LIST_KEYS, within, async {
            let page = self.sdk.list_keys().limit(1).send().await.map_err(|error| self.failed(LIST_KEYS, &error))?;
            match page.keys.unwrap_or_default().first() {
                Some(key) => self.is_here(LIST_KEYS, key.key_arn().unwrap_or_default()),
                None => self.is_of_account_by_alias().await,
            }
        })
    }

    /// The same by an alias. AWS has some of its own in most accounts, before there is any key.
    async fn is_of_account_by_alias(&self) -> Result<(), Error> {
        let mut marker = None;
        loop {
            let page = self.sdk.list_aliases().set_marker(marker).send().await;
            let page = page.map_err(|error| self.failed(LIST_ALIASES, &error))?;
            if let Some(alias) = page.aliases.unwrap_or_default().first() {
                return self.is_here(LIST_ALIASES, alias.alias_arn().unwrap_or_default());
            }
            match page.next_marker.filter(|_| page.truncated) {
                Some(next) => marker = Some(next),
                None => return Err(Error::AccountUntold { wanted: self.account().to_string() }),
            }
        }
    }

    /// Whether something of that ARN is in the account that is meant.
    fn is_here(&self, call: &'static str, arn: &str) -> Result<(), Error> {
        let found = arn.split(':').nth(ARN_ACCOUNT).unwrap_or_default();
        if found == self.account().as_str() {
            return Ok(());
        }
        Err(Error::OtherAccount { call, found: plain(found), wanted: self.account().to_string() })
    }

    async fn described(&self, id: KeyId) -> Result<Option<Key>, Error> {
        match self.sdk.describe_key().key_id(self.arn(&id)).send().await {
            Ok(answer) => self.described_as(&id, answer.key_metadata).map(Some),
            Err(error) => {
                let error = self.failed(DESCRIBE_KEY, &error);
                // A key that may not be seen may be ours, too.
                if let Error::Answered { code: Code::NotFound, .. } = error { Ok(None) } else { Err(error) }
            }
        }
    }
}
