//! What must be so after every interruption, looked at from outside: callers' answers, the token, the database file.

use std::{collections::BTreeMap, path::Path, time::Duration};

use hallmark_policy::{hex, key::SpkiDigest};
use hallmark_proto::signer::{
    EpochSelector, EpochState, EpochStatus, GetChainRequest, GetChainResponse, ListEpochsRequest,
    MintCertificateRequest, MintCertificateResponse, RotateIntermediateRequest, RotateIntermediateResponse,
    epoch_selector::By, signer_client::SignerClient,
};
use hallmark_test_token::Token;
use hallmark_tests::{AUTHORITY, World, asking::Asked, log::Log, replay::Replayed, tools};
use rusqlite::{Connection, OptionalExtension as _};
use tonic::transport::Channel;

/// Keys on the same token that are none of this ledger's: somebody else's, and what another ledger called its second epoch's.
pub(crate) const FOREIGN: [&str; 2] = ["somebody-else", "hallmark-athenz-epoch-2-00000000"];

/// How long this connection waits for the signer's.
const BUSY_WAIT: Duration = Duration::from_secs(20);

/// The way to a signer, in this process or in another.
pub(crate) enum Door<'a> {
    World(&'a World),
    Client(SignerClient<Channel>),
}

impl Door<'_> {
    pub(crate) async fn mint(&mut self, request: MintCertificateRequest) -> Result<MintCertificateResponse, String> {
        match self {
            Self::World(world) => world.mint(request).await.map_err(|refused| format!("{refused:?}")),
            Self::Client(client) => answer(client.mint_certificate(request).await),
        }
    }

    pub(crate) async fn rotate(
        &mut self,
        request: &RotateIntermediateRequest,
    ) -> Result<RotateIntermediateResponse, String> {
        match self {
            Self::World(world) => world.rotate(request).await.map_err(|refused| format!("{refused:?}")),
            Self::Client(client) => answer(client.rotate_intermediate(request.clone()).await),
        }
    }

    pub(crate) async fn epochs(&mut self) -> Vec<EpochStatus> {
        let request = ListEpochsRequest { authority: AUTHORITY.to_owned(), ..ListEpochsRequest::default() };
        match self {
            Self::World(world) => world.epochs().await,
            Self::Client(client) => client.list_epochs(request).await.unwrap().into_inner().epochs,
        }
    }

    pub(crate) async fn chain(&mut self, generation: u64) -> GetChainResponse {
        let epoch = Some(EpochSelector { by: Some(By::Generation(generation)) });
        let request = GetChainRequest { authority: AUTHORITY.to_owned(), epoch };
        match self {
            Self::World(world) => world.chain(request).await.unwrap(),
            Self::Client(client) => client.get_chain(request).await.unwrap().into_inner(),
        }
    }
}

fn answer<T>(answer: Result<tonic::Response<T>, tonic::Status>) -> Result<T, String> {
    answer.map(tonic::Response::into_inner).map_err(|status| format!("{status:?}"))
}

/// CA certificates of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bundle {
    pub(crate) root: Vec<u8>,
    pub(crate) intermediate: Vec<u8>,
    pub(crate) mesh_ca: Vec<u8>,
}

impl From<GetChainResponse> for Bundle {
    fn from(chain: GetChainResponse) -> Self {
        Self { root: chain.root.into(), intermediate: chain.intermediate.into(), mesh_ca: chain.mesh_ca.into() }
    }
}

impl From<&RotateIntermediateResponse> for Bundle {
    fn from(response: &RotateIntermediateResponse) -> Self {
        let [root, intermediate, mesh_ca] =
            [&response.root, &response.intermediate, &response.mesh_ca].map(|certificate| certificate.to_vec());
        Self { root, intermediate, mesh_ca }
    }
}

/// The database of a signer, behind its back.
pub(crate) fn database(path: &Path) -> Connection {
    let database = Connection::open(path).unwrap();
    database.busy_timeout(BUSY_WAIT).unwrap();
    database
}

/// Lets changes of this kind fail.
pub(crate) fn refuse_change(path: &Path, what: &str) {
    let trigger = format!("CREATE TRIGGER fault {what} BEGIN SELECT RAISE(ABORT, 'injected'); END");
    database(path).execute_batch(&trigger).unwrap();
}

pub(crate) fn allow_changes(path: &Path) {
    database(path).execute_batch("DROP TRIGGER IF EXISTS fault").unwrap();
}

/// Label of an epoch's key.
pub(crate) fn label(path: &Path, generation: u64) -> String {
    let generation = i64::try_from(generation).unwrap();
    database(path).query_row("SELECT label FROM epoch WHERE generation = ?1", [generation], |row| row.get(0)).unwrap()
}

/// The root's key.
pub(crate) fn root_key(path: &Path) -> SpkiDigest {
    SpkiDigest::of(&database(path).query_row("SELECT spki FROM authority", [], |row| row.get::<_, Vec<u8>>(0)).unwrap())
}

/// How far the epoch after `active` is: its state; `i` and `m`, if intermediate and mesh CA certificate are committed, in capitals if their
/// signatures are kept; and how many private and public keys have its label, and that of `active`.
pub(crate) fn caught(path: &Path, token: &Token, active: u64) -> String {
    let active = i64::try_from(active).unwrap();
    let sql = "SELECT state, label, (SELECT signature IS NOT NULL FROM request WHERE log_index = intermediate), \
               (SELECT signature IS NOT NULL FROM request WHERE log_index = mesh_ca) FROM epoch WHERE generation = ?1";
    let read = |row: &rusqlite::Row<'_>| {
        let certificates = [("i", row.get(2)?), ("m", row.get(3)?)];
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, certificates))
    };
    let database = database(path);
    let found = database.query_row(sql, [active + 1], read).optional().unwrap();
    let Some((state, label, certificates)) = found else { return "nothing".to_owned() };
    let certificates = certificates.map(|(letter, kept): (&str, Option<bool>)| match kept {
        None => String::new(),
        Some(false) => format!(" {letter}"),
        Some(true) => format!(" {}", letter.to_uppercase()),
    });
    let before = database.query_row("SELECT label FROM epoch WHERE generation = ?1", [active], |row| row.get(0));
    let before: Option<String> = before.optional().unwrap();
    let keys = token.keys();
    let count = |label: &str| {
        let (private, public) = keys.get(label).copied().unwrap_or_default();
        format!("{private}+{public}")
    };
    let before = before.map(|label| format!(" / {}", count(&label))).unwrap_or_default();
    format!("{state}{} {}{before}", certificates.concat(), count(&label))
}

/// How far the root is: the authority's state; `r` if its certificate is committed, `R` if its signature is kept; how many private and
/// public keys have its label; and how far the first epoch is.
pub(crate) fn caught_root(path: &Path, token: &Token) -> String {
    let sql = "SELECT state, label, (SELECT signature IS NOT NULL FROM request WHERE log_index = root) FROM authority";
    let read = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<bool>>(2)?))
    };
    let (state, label, root) = database(path).query_row(sql, [], read).unwrap();
    let root = root.map_or("", |kept| if kept { " R" } else { " r" });
    let (private, public) = token.keys().get(&label).copied().unwrap_or_default();
    format!("{state}{root} {private}+{public}, epoch: {}", caught(path, token, 0))
}

/// One epoch is active, the one of this generation, and mints; every other is over; the token holds the root's key, that of the epoch, and
/// what is not ours.
pub(crate) async fn is_whole(door: &mut Door<'_>, path: &Path, token: &Token, generation: u64) -> Bundle {
    let epochs = door.epochs().await;
    let states: Vec<_> = epochs.iter().map(EpochStatus::state).collect();
    assert_eq!(epochs[0].epoch.as_ref().unwrap().generation, generation);
    assert_eq!(states[0], EpochState::Active, "{states:?}");
    for (epoch, state) in epochs.iter().zip(&states).skip(1) {
        assert!([EpochState::Destroyed, EpochState::Aborted].contains(state), "{states:?}");
        assert!(epoch.destroyed_at.is_some(), "{epoch:?}");
    }
    assert_eq!(token.keys(), expected_keys(path), "the keys in the token");
    let bundle = Bundle::from(door.chain(generation).await);
    let transition = epochs[0].epoch.as_ref().unwrap().transition.clone();
    let request = MintCertificateRequest { transition: transition.clone(), ..Asked::sports_api().request() };
    let minted = door.mint(request).await.unwrap();
    assert_eq!(minted.epoch.unwrap().transition, transition);
    assert_eq!((minted.mesh_ca.as_ref(), minted.chain[0].as_ref()), (&*bundle.mesh_ca, &*bundle.intermediate));
    assert_eq!(tools::spki(&bundle.intermediate), tools::spki(&bundle.mesh_ca));
    bundle
}

fn expected_keys(path: &Path) -> BTreeMap<String, (usize, usize)> {
    let database = database(path);
    let sql = "SELECT label FROM authority UNION ALL SELECT label FROM epoch WHERE state = 'active'";
    let mut statement = database.prepare(sql).unwrap();
    let ours = statement.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap);
    ours.chain(FOREIGN.map(str::to_owned)).map(|label| (label, (1, 1))).collect()
}

/// The log's last word on the CA certificates that were seen: what was committed is what they say.
pub(crate) fn were_committed(log: &Log, epochs: &[Replayed], bundles: &BTreeMap<u64, Bundle>) {
    assert_eq!(
        epochs.iter().map(|epoch| epoch.generation).collect::<Vec<_>>(),
        bundles.keys().copied().collect::<Vec<_>>()
    );
    for (generation, bundle) in bundles {
        for (stage, certificate) in [("intermediate", &bundle.intermediate), ("mesh-ca", &bundle.mesh_ca)] {
            let mut issued = log
                .decisions("issued")
                .into_iter()
                .filter(|entry| entry["stage"] == stage && entry["epoch"]["generation"].as_u64() == Some(*generation));
            let digest = hex(&tools::sha256(tools::tbs(certificate)));
            assert_eq!(issued.next().unwrap()["tbs-sha256"], digest.as_str(), "{stage} of epoch {generation}");
            assert!(issued.next().is_none());
        }
    }
}
