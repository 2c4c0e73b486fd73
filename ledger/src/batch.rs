//! One transaction: what the operations of a batch read and write. Nothing of it counts before the COMMIT.

use std::collections::{HashMap, hash_map::Entry};

use hallmark_entry::privacy::Private;
use hallmark_policy::{Facts, key::SpkiDigest, profile::PolicyDigest};
use hallmark_tlog::{frontier::Frontier, hash::Hash};
use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::sync::oneshot;

use crate::{
    LedgerError, Logged, ReceiptHandle, UnixMillis,
    found::Added,
    instance::Alarm,
    schema::{signed, unsigned},
    signing::Waiting,
};

/// A transaction in the making.
pub(crate) struct Batch<'c> {
    pub(crate) connection: &'c Connection,
    /// What stands as a commitment.
    pub(crate) private: &'c Private,
    /// The policy in force.
    pub(crate) policy: Option<PolicyDigest>,
    pub(crate) frontier: Frontier,
    pub(crate) leaves: Vec<Hash>,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) last_at: Option<UnixMillis>,
    /// The last moment that the signer trusted: that of an issue.
    pub(crate) trusted_at: Option<UnixMillis>,
    /// How long after their end certificates are known, in milliseconds; forever where nothing is forgotten.
    pub(crate) ended_millis: i64,
    /// What is raised once the batch is durable.
    pub(crate) alarms: Vec<Alarm>,
    /// How many certificates were revoked.
    pub(crate) revoked: u64,
    /// Whether more certificates of an instance are to be revoked than one batch does.
    pub(crate) revoking: bool,
    /// What was added that certificates are found by.
    pub(crate) found: Added,
    issuers: HashMap<SpkiDigest, Issuer>,
}

/// A key that signs, and how much it was asked to sign.
#[derive(Clone, Copy)]
pub(crate) struct Issuer {
    pub(crate) id: i64,
    /// Certificates.
    pub(crate) issued: u64,
    /// End of the certificate that lives longest, in seconds; self-signed ones do not count.
    pub(crate) latest_end: Option<i64>,
    /// Number of its last CRL; 0 if there is none.
    pub(crate) last_crl: u64,
    /// Index of the entry of its newest revocation.
    pub(crate) newest_revocation: Option<u64>,
    /// Largest number of a partition that one of its certificates is in; 0 if none is.
    pub(crate) crl_partitions: u16,
}

/// Why an operation gives no answer of its own.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Nothing was written for it; its neighbours go on.
    Alone(LedgerError),
    /// SQLite failed: the whole batch is lost.
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl<'c> Batch<'c> {
    /// Begins; the transaction is begun already.
    pub(crate) fn new(
        connection: &'c Connection,
        private: &'c Private,
        frontier: &Frontier,
        policy: Option<PolicyDigest>,
    ) -> Self {
        Self {
            connection,
            private,
            policy,
            frontier: frontier.clone(),
            leaves: Vec::new(),
            waiting: Vec::new(),
            last_at: None,
            trusted_at: None,
            ended_millis: i64::MAX,
            alarms: Vec::new(),
            revoked: 0,
            revoking: false,
            found: Added::default(),
            issuers: HashMap::new(),
        }
    }

    /// Index of the next entry.
    pub(crate) fn next_index(&self) -> u64 {
        self.frontier.size()
    }

    /// Appends an entry with its leaf hash and the nodes that it completes.
    pub(crate) fn append(&mut self, entry: Vec<u8>, at: UnixMillis) -> rusqlite::Result<Logged> {
        let index = self.next_index();
        let entry = self.hide(entry)?;
        let leaf = Hash::of_leaf(&entry);
        let sql = "INSERT INTO entry (log_index, leaf, bytes) VALUES (?1, ?2, ?3)";
        self.connection.prepare_cached(sql)?.execute(params![signed(index), leaf.as_bytes(), entry])?;
        for node in self.frontier.append(leaf) {
            let sql = "INSERT INTO node (level, node_index, hash) VALUES (?1, ?2, ?3)";
            let values = params![node.level, signed(node.index), node.hash.as_bytes()];
            self.connection.prepare_cached(sql)?.execute(values)?;
        }
        self.leaves.push(leaf);
        self.last_at = Some(at);
        let (sender, receiver) = oneshot::channel();
        self.waiting.push(Waiting { index, leaf, sender });
        Ok(Logged { index, entry, receipt: ReceiptHandle { receiver } })
    }

    /// Whether the clock was found wrong and nobody has confirmed it since.
    pub(crate) fn clock_distrusted(&self) -> rusqlite::Result<bool> {
        let sql = "SELECT clock_distrusted FROM head";
        self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
    }

    /// Keeps bytes under their SHA-256.
    pub(crate) fn keep_blob(&self, bytes: &[u8]) -> rusqlite::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.keep_hashed_blob(&hallmark_entry::sha256(bytes), bytes)
    }

    /// Keeps what a request brought: its CSR or SPKI, and its evidence.
    pub(crate) fn keep_brought(&self, facts: &Facts) -> rusqlite::Result<()> {
        self.keep_blob(&facts.request)?;
        facts.evidence.as_ref().map_or(Ok(()), |evidence| self.keep_blob(&evidence.jwt))
    }

    /// Keeps bytes whose SHA-256 is known.
    pub(crate) fn keep_hashed_blob(&self, sha256: &[u8; 32], bytes: &[u8]) -> rusqlite::Result<()> {
        let sql = "INSERT INTO blob (sha256, bytes) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        self.connection.prepare_cached(sql)?.execute(params![sha256, bytes])?;
        Ok(())
    }

    /// An issuer; a new one if it has no row. What is changed of it is written when the batch is finished.
    pub(crate) fn issuer(&mut self, key: SpkiDigest) -> rusqlite::Result<&mut Issuer> {
        match self.issuers.entry(key) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(vacant) => {
                let found = Issuer::find(self.connection, key)?;
                let issuer = found.map_or_else(|| Issuer::make(self.connection, key), Ok)?;
                Ok(vacant.insert(issuer))
            }
        }
    }

    /// Writes what holds for the batch as a whole, and how much is published by now.
    pub(crate) fn finish(&self, published: u64) -> rusqlite::Result<()> {
        for issuer in self.issuers.values() {
            issuer.write(self.connection)?;
        }
        if !self.leaves.is_empty() {
            let sql = "UPDATE head SET size = ?1, root = ?2, at = ?3, published = max(published, ?4)";
            let root = self.frontier.root();
            let (size, at) = (signed(self.frontier.size()), self.last_at.map(|at| at.0));
            let values = params![size, root.as_bytes(), at, signed(published)];
            self.connection.prepare_cached(sql)?.execute(values)?;
        }
        self.found.write(self.connection)
    }
}

impl Issuer {
    /// The row of an issuer, if it has one.
    pub(crate) fn find(connection: &Connection, key: SpkiDigest) -> rusqlite::Result<Option<Self>> {
        let sql = "SELECT id, issued, latest_end, last_crl, newest_revocation, crl_partitions FROM issuer \
                   WHERE spki_sha256 = ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Self {
                id: row.get(0)?,
                issued: unsigned(row.get(1)?),
                latest_end: row.get(2)?,
                last_crl: unsigned(row.get(3)?),
                newest_revocation: row.get::<_, Option<i64>>(4)?.map(unsigned),
                crl_partitions: row.get(5)?,
            })
        };
        statement.query_row([key.as_bytes()], read).optional()
    }

    fn make(connection: &Connection, key: SpkiDigest) -> rusqlite::Result<Self> {
        let sql = "INSERT INTO issuer (spki_sha256, issued) VALUES (?1, 0)";
        connection.prepare_cached(sql)?.execute([key.as_bytes()])?;
        let id = connection.last_insert_rowid();
        Ok(Self { id, issued: 0, latest_end: None, last_crl: 0, newest_revocation: None, crl_partitions: 0 })
    }

    fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "UPDATE issuer SET issued = ?2, latest_end = ?3, last_crl = ?4, newest_revocation = ?5, \
                   crl_partitions = ?6 WHERE id = ?1";
        connection.prepare_cached(sql)?.execute(params![
            self.id,
            signed(self.issued),
            self.latest_end,
            signed(self.last_crl),
            self.newest_revocation.map(signed),
            self.crl_partitions,
        ])?;
        Ok(())
    }
}
