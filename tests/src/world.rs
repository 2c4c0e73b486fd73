//! The world of a scenario.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hallmark_faulty::{Device, Function};
use hallmark_policy::{caller::Identity, key::SpkiDigest};
use hallmark_proto::{
    link::{Call, Reply, TurnedAway, Unary, call::Kind},
    operator::{
        AbortEpochRequest, ActivateEpochRequest, ApplyPolicyRequest, ApplyPolicyResponse, BringIntermediateRequest,
        EpochResponse, PolicyStatusRequest, PolicyStatusResponse, PrepareEpochRequest,
    },
    signer::{
        EpochStatus, GetChainRequest, GetChainResponse, ListEpochsRequest, ListEpochsResponse, MintCertificateRequest,
        MintCertificateResponse, RotateIntermediateRequest, RotateIntermediateResponse, WatchEpochsRequest,
    },
};
use hallmark_signer::{
    Clock, Core, Roots, SoftwareKeys, StartError, StartOptions, StartReport, WINDOW, config::CoreFile,
};
use hallmark_test_token::{MODULE, PIN, Replica, Token};
use hallmark_tlog::note::SignerKey;
use prost::Message;
use tempfile::TempDir;

use crate::{
    asking::{self, Refused},
    log::Log,
};

/// Seconds that the clocks of a world show at first: 2026-11-21.
const FIRST_SECS: i64 = 1_795_000_000;

/// How long a call may take, unless the scenario says otherwise, in nanoseconds.
const DEADLINE_NANOS: u64 = 60_000_000_000;

/// Origin of every world's log.
pub const ORIGIN: &str = "log.hallmark.lab";

/// The authority of the example policy.
pub const AUTHORITY: &str = "athenz";

/// The operator of every world.
pub const OPERATOR: &str = "spiffe://hallmark.lab/operator";

/// Who may read metrics.
pub const MONITOR: &str = "spiffe://hallmark.lab/prometheus";

/// How long it may take until a copy of a key is taken in.
const COPIES_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(15);

/// Where the CA keys of a world live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// In a SoftHSM token of its own.
    SoftHsm,
    /// In encrypted files.
    Software,
}

/// Both places: most scenarios hold in each.
pub const EVERYWHERE: [Where; 2] = [Where::Software, Where::SoftHsm];

/// A signer, and everything it stands on.
pub struct World {
    directory: TempDir,
    place: Where,
    token: Option<Token>,
    clocks: Clocks,
    /// Before the core, so that nothing hangs in the device when the core ends.
    device: Option<Device>,
    /// Another token that gets copies of the keys, behind its own device.
    replica: Option<(Replica, Device)>,
    core: Option<Core>,
    roots: Roots,
    /// Whether the root of its authority must come from a ceremony.
    by_ceremony: bool,
    refreshes_crls: bool,
    window: Duration,
    caller: Bytes,
    operator: Bytes,
}

/// Clocks that stand still until the scenario moves them.
#[derive(Clone, Debug)]
pub struct Clocks {
    wall_millis: Arc<AtomicI64>,
    boottime_nanos: Arc<AtomicU64>,
}

impl Clock for Clocks {
    fn wall_millis(&self) -> i64 {
        self.wall_millis.load(Ordering::SeqCst)
    }

    fn boottime_nanos(&self) -> u64 {
        self.boottime_nanos.load(Ordering::SeqCst)
    }
}

impl Clocks {
    /// Time passes.
    pub fn pass(&self, secs: u32) {
        self.wall_millis.fetch_add(i64::from(secs) * 1_000, Ordering::SeqCst);
        self.boottime_nanos.fetch_add(u64::from(secs) * 1_000_000_000, Ordering::SeqCst);
    }

    /// Somebody sets the wall clock.
    pub fn leap(&self, secs: i64) {
        self.wall_millis.fetch_add(secs * 1_000, Ordering::SeqCst);
    }

    /// The wall clock, in seconds.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.wall_millis() / 1_000
    }
}

impl World {
    /// A signer with the example policy and its authority made.
    pub async fn new(place: Where) -> Self {
        Self::with_policy(place, &example_policy()).await
    }

    /// A signer with this policy and its authorities made.
    pub async fn with_policy(place: Where, policy: &str) -> Self {
        let mut world = Self::unmade(place, policy);
        world.start(true).await.expect("the core starts");
        world
    }

    /// A signer with the example policy and its authority made, whose token lies behind a device that fails when it is told
    /// to.
    pub async fn faulty() -> Self {
        Self::faulty_with_policy(&example_policy()).await
    }

    /// The same with another policy.
    pub async fn faulty_with_policy(policy: &str) -> Self {
        let mut world = Self::faulty_unmade(policy);
        world.start(true).await.expect("the core starts");
        world
    }

    /// The certificate of an offline root, for the next start that makes its authority.
    pub fn bring_root(&mut self, der: Vec<u8>) {
        self.roots.insert(AUTHORITY.to_owned(), der.into());
    }

    /// The root and what its ceremony has left, for the authority that is made at the next start. From here on, that authority does not do without one.
    pub fn bring_root_of_ceremony(&mut self, root: hallmark_signer::BroughtRoot) {
        self.by_ceremony = true;
        self.roots.insert(AUTHORITY.to_owned(), root);
    }

    /// Whether the root of its authority must come from a ceremony, from the next start on.
    pub fn wants_ceremony(&mut self, wanted: bool) {
        self.by_ceremony = wanted;
    }

    /// Files, and a token behind such a device: nothing is started and no authority made.
    #[must_use]
    pub fn faulty_unmade(policy: &str) -> Self {
        Self { device: Some(Device::new()), ..Self::unmade(Where::SoftHsm, policy) }
    }

    /// Two such tokens, each behind its own device, and the example policy's authority in both.
    ///
    /// # Panics
    /// If the copies are not taken in.
    pub async fn replicated(policy: &str) -> Self {
        let mut world = Self::replicated_unmade(policy);
        world.start(true).await.expect("the core starts");
        world.replicate().await;
        world
    }

    /// Files, and two such tokens: nothing is started and no authority made.
    #[must_use]
    pub fn replicated_unmade(policy: &str) -> Self {
        let world = Self::unmade(Where::SoftHsm, policy);
        let replica = Token::make("replica").takes_keys_of(world.token());
        Self { device: Some(Device::new()), replica: Some((replica, Device::new())), ..world }
    }

    /// The devices' own replication runs, and the signer takes the copies in.
    ///
    /// # Panics
    /// If it does not.
    pub async fn replicate(&self) {
        self.replica().replicate();
        let began = std::time::Instant::now();
        let keys = || self.core().tokens().iter().map(|token| token.keys).collect::<Vec<_>>();
        while keys().windows(2).any(|pair| pair[0] != pair[1]) {
            assert!(began.elapsed() < COPIES_TIME_MAX, "{:?}", self.core().tokens());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// The token with the copies.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn replica(&self) -> &Replica {
        &self.replica.as_ref().expect("this world has two tokens").0
    }

    /// The devices in front of both tokens.
    ///
    /// # Panics
    /// Where there is one.
    #[must_use]
    pub fn devices(&self) -> [&Device; 2] {
        [self.device(), &self.replica.as_ref().expect("this world has two tokens").1]
    }

    /// Files only: nothing is started and no authority made.
    #[must_use]
    pub fn unmade(place: Where, policy: &str) -> Self {
        let directory = TempDir::new().expect("a directory");
        let clocks = Clocks {
            wall_millis: Arc::new(AtomicI64::new(FIRST_SECS * 1_000)),
            boottime_nanos: Arc::new(AtomicU64::new(1_000_000_000)),
        };
        let token = (place == Where::SoftHsm).then(|| Token::make("world"));
        let caller = asking::caller_certificate("spiffe://hallmark.lab/coordinator");
        let operator = asking::caller_certificate(OPERATOR);
        let world = Self {
            directory,
            place,
            token,
            clocks,
            device: None,
            replica: None,
            core: None,
            roots: Roots::new(),
            by_ceremony: false,
            refreshes_crls: false,
            window: WINDOW,
            caller,
            operator,
        };
        world.write_private("secret", PIN);
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).expect("random bytes");
        let log_key = SignerKey::generate(ORIGIN, seed).expect("a log key");
        world.write_private("log.key", &log_key.to_secret_text());
        world.write("log.vkey", &log_key.verifier().to_string());
        world.write("policy.toml", policy);
        world
    }

    /// Where its files are.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes one of its files.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file is written");
    }

    fn write_private(&self, name: &str, text: &str) {
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).expect("its mode is set");
    }

    /// Its clocks.
    #[must_use]
    pub fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// Its token.
    ///
    /// # Panics
    /// Where its keys are in files.
    #[must_use]
    pub fn token(&self) -> &Token {
        self.token.as_ref().expect("this world has a token")
    }

    /// The device in front of its token.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.device.as_ref().expect("this world is a faulty one")
    }

    /// How often a signature was begun with each key, as the device counts C_SignInit by handle. SoftHSM gives no handle twice to a process.
    #[must_use]
    pub fn signatures_begun(&self) -> BTreeMap<u64, u64> {
        let mut begun = BTreeMap::new();
        for tally in self.device().tallies().into_iter().filter(|tally| tally.function == Function::SignInit) {
            *begun.entry(tally.key).or_default() += tally.calls;
        }
        begun
    }

    /// Whether its core runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.core.is_some()
    }

    /// Somebody deletes the key of the first epoch.
    ///
    /// # Panics
    /// If there is none.
    pub fn lose_the_epoch_key(&self) {
        match &self.token {
            None => {
                let files = fs::read_dir(self.path("keys")).expect("the keys' directory").flatten();
                let key = files.map(|file| file.path()).find(|path| path.to_string_lossy().contains("athenz-epoch-1"));
                fs::remove_file(key.expect("the key's file")).expect("it is removed");
            }
            Some(token) => token.destroy_labelled("hallmark-athenz-epoch-1"),
        }
    }

    /// Its core.
    ///
    /// # Panics
    /// While it is stopped.
    #[must_use]
    pub fn core(&self) -> &Core {
        self.core.as_ref().expect("the core is running")
    }

    /// The core's tables of its `signer.toml`.
    #[must_use]
    pub fn core_file(&self) -> CoreFile {
        let backend = match &self.token {
            Some(token) => format!(
                "[backend.pkcs11]\nmodule = '{}'\ntoken = '{}'\nserial = '{}'\npin = {{ file = 'secret' }}\nsessions = 3\n{}",
                self.device.as_ref().map_or_else(|| MODULE.into(), Device::module).display(),
                token.label(),
                token.serial(),
                self.replica_table()
            ),
            None => "[backend.software]\ndirectory = 'keys'\npassphrase = { file = 'secret' }".to_owned(),
        };
        let pages = fs::read_to_string(self.path("pages-max"))
            .map_or_else(|_| String::new(), |pages| format!("pages-max = {pages}"));
        let drain = fs::read_to_string(self.path("drain-time-max"))
            .map_or_else(|_| String::new(), |time| format!("[rotation]\ndrain-time-max = '{time}'"));
        let policy = fs::read_to_string(self.path("policy.toml")).unwrap_or_default();
        let mut without = authorities(&policy);
        without.retain(|name| name != AUTHORITY || !self.by_ceremony);
        let text = format!(
            "[policy]\nfile = 'policy.toml'\nroots-without-ceremony = {without:?}\n[ledger]\ndatabase = 'ledger.sqlite'\n{pages}\n[log]\norigin = '{ORIGIN}'\nkey = 'log.key'\npublish = 'log'\n{backend}\n{drain}\n"
        );
        toml::from_str(&text).expect("the configuration parses")
    }

    fn replica_table(&self) -> String {
        let Some((replica, device)) = &self.replica else { return String::new() };
        format!(
            "[[backend.pkcs11.replica]]\nmodule = '{}'\ntoken = '{}'\nserial = '{}'\npin = {{ file = 'secret' }}",
            device.module().display(),
            replica.label(),
            replica.serial()
        )
    }

    /// Starts the core.
    ///
    /// # Errors
    /// As the core gives them.
    pub async fn start(&mut self, create_authorities: bool) -> Result<StartReport, StartError> {
        self.start_with(create_authorities, false).await
    }

    /// Starts the core, with an operator's word on the clock or without.
    ///
    /// # Errors
    /// As the core gives them.
    pub async fn start_with(
        &mut self,
        create_authorities: bool,
        accept_clock: bool,
    ) -> Result<StartReport, StartError> {
        let config = self.core_file().read(self.directory.path()).expect("the configuration is good");
        let config = config.with_operators(vec![Identity::parse(OPERATOR).expect("an identity")]);
        let config = config.with_monitors(vec![Identity::parse(MONITOR).expect("an identity")]);
        let options = StartOptions {
            software_keys: if self.place == Where::Software { SoftwareKeys::Admitted } else { SoftwareKeys::Refused },
            refused_pins: None,
            accept_clock,
            accept_missing_checkpoint: false,
            accept_missing_anchor: false,
            create_authorities,
            roots: self.roots.clone(),
            refresh_crls: self.refreshes_crls,
            window: self.window,
            config_sha256: [0; 32],
            clock: Box::new(self.clocks.clone()),
        };
        let (core, report) = Core::start(config, options).await?;
        self.core = Some(core);
        Ok(report)
    }

    /// From the next start on, CRLs are kept fresh in the background, as the daemon does.
    pub fn refresh_crls(&mut self) {
        self.refreshes_crls = true;
    }

    /// From the next start on, what happens in the background once a minute happens so often.
    pub fn hurry(&mut self, window: Duration) {
        self.window = window;
    }

    /// Stops the core, as SIGTERM does.
    pub async fn stop(&mut self) {
        if let Some(core) = self.core.take() {
            core.stop().await;
        }
    }

    /// Stops and starts again.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.start(false).await.expect("the core starts again");
    }

    /// Sends a frame as the front would.
    pub async fn unary(&self, method: &str, caller: &Bytes, body: Vec<u8>, deadline_nanos: u64) -> Reply {
        let deadline = self.clocks.boottime_nanos().saturating_add(deadline_nanos);
        let unary = Unary {
            method: method.to_owned(),
            caller_certificate: caller.clone(),
            deadline_boottime_nanos: deadline,
            body: body.into(),
            trace_parent: Bytes::new(),
        };
        self.frame(Kind::Unary(unary)).await.expect("a call is answered")
    }

    /// Calls an operators' method, as the one whose certificate this is.
    pub async fn operate(&self, method: &str, caller: &Bytes, body: Vec<u8>) -> Reply {
        self.operate_before(method, caller, body, DEADLINE_NANOS).await
    }

    /// Calls an operators' method as the operator, who waits so many nanoseconds.
    pub async fn operate_within(&self, method: &str, body: Vec<u8>, deadline_nanos: u64) -> Reply {
        self.operate_before(method, &self.operator, body, deadline_nanos).await
    }

    async fn operate_before(&self, method: &str, caller: &Bytes, body: Vec<u8>, deadline_nanos: u64) -> Reply {
        let deadline_boottime_nanos = self.clocks.boottime_nanos().saturating_add(deadline_nanos);
        let caller_certificate = caller.clone();
        let (method, trace_parent) = (method.to_owned(), Bytes::new());
        let unary = Unary { method, caller_certificate, deadline_boottime_nanos, body: body.into(), trace_parent };
        let frame = Call { kind: Some(Kind::Unary(unary)) }.encode_to_vec();
        Reply::decode(self.core().operate(frame.into()).await).expect("a reply decodes")
    }

    /// Applies a policy as the operator.
    ///
    /// # Errors
    /// The refusal.
    pub async fn apply(&self, policy: &str, dry_run: bool) -> Result<ApplyPolicyResponse, Refused> {
        self.apply_in_place_of(&[], policy, dry_run).await
    }

    /// Applies a policy as the operator, in the place of the one with this digest.
    ///
    /// # Errors
    /// The refusal.
    pub async fn apply_in_place_of(
        &self,
        expected_sha256: &[u8],
        policy: &str,
        dry_run: bool,
    ) -> Result<ApplyPolicyResponse, Refused> {
        let expected_sha256 = expected_sha256.to_vec().into();
        let request = ApplyPolicyRequest { policy: policy.to_owned(), dry_run, expected_sha256 };
        asking::decoded(self.operate("ApplyPolicy", &self.operator, request.encode_to_vec()).await)
    }

    /// Asks as the operator which policy is in force.
    ///
    /// # Panics
    /// If that is refused.
    pub async fn policy_status(&self) -> PolicyStatusResponse {
        let body = PolicyStatusRequest {}.encode_to_vec();
        asking::decoded(self.operate("PolicyStatus", &self.operator, body).await).expect("the operator may ask")
    }

    /// Asks for a rotation as the coordinator.
    ///
    /// # Errors
    /// The refusal.
    pub async fn rotate(&self, request: &RotateIntermediateRequest) -> Result<RotateIntermediateResponse, Refused> {
        asking::decoded(self.unary("RotateIntermediate", &self.caller, request.encode_to_vec(), DEADLINE_NANOS).await)
    }

    /// The root's key.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn root_key(&self) -> SpkiDigest {
        let keys = self.core().ca_keys().expect("the ledger reads");
        let root = keys.into_iter().find(|(authority, what, _)| authority == AUTHORITY && *what == "root");
        SpkiDigest::of(&root.expect("a root").2)
    }

    /// Prepares the next epoch as the operator.
    ///
    /// # Errors
    /// The refusal.
    pub async fn prepare_epoch(&self, lifetime_seconds: u64) -> Result<EpochResponse, Refused> {
        let request = PrepareEpochRequest { authority: AUTHORITY.to_owned(), lifetime_seconds };
        asking::decoded(self.operate("PrepareEpoch", &self.operator, request.encode_to_vec()).await)
    }

    /// Activates an epoch as the operator.
    ///
    /// # Errors
    /// The refusal.
    pub async fn activate_epoch(&self, generation: u64, revoke_previous: bool) -> Result<EpochResponse, Refused> {
        let request = ActivateEpochRequest { authority: AUTHORITY.to_owned(), generation, revoke_previous };
        asking::decoded(self.operate("ActivateEpoch", &self.operator, request.encode_to_vec()).await)
    }

    /// Brings the intermediate CA certificate of an epoch as the operator.
    ///
    /// # Errors
    /// The refusal.
    pub async fn bring_intermediate(&self, generation: u64, certificate: &[u8]) -> Result<EpochResponse, Refused> {
        let certificate = certificate.to_vec().into();
        let request = BringIntermediateRequest { authority: AUTHORITY.to_owned(), generation, certificate };
        asking::decoded(self.operate("BringIntermediate", &self.operator, request.encode_to_vec()).await)
    }

    /// Gives up an epoch as the operator.
    ///
    /// # Errors
    /// The refusal.
    pub async fn abort_epoch(&self, generation: u64, reason: &str) -> Result<EpochResponse, Refused> {
        let request = AbortEpochRequest { authority: AUTHORITY.to_owned(), generation, reason: reason.to_owned() };
        asking::decoded(self.operate("AbortEpoch", &self.operator, request.encode_to_vec()).await)
    }

    /// The epochs of the world's authority, newest first.
    ///
    /// # Panics
    /// If that is refused.
    pub async fn epochs(&self) -> Vec<EpochStatus> {
        let request = ListEpochsRequest { authority: AUTHORITY.to_owned(), ..ListEpochsRequest::default() };
        let reply = self.unary("ListEpochs", &self.caller, request.encode_to_vec(), DEADLINE_NANOS).await;
        asking::decoded::<ListEpochsResponse>(reply).expect("the coordinator may ask").epochs
    }

    /// Asks once what WatchEpochs streams.
    pub async fn watch_epochs(&self, request: &WatchEpochsRequest, deadline_nanos: u64) -> Reply {
        self.unary("WatchEpochs", &self.caller, request.encode_to_vec(), deadline_nanos).await
    }

    /// Labels of the epochs' keys that its token or directory holds.
    ///
    /// # Panics
    /// If its directory cannot be read.
    #[must_use]
    pub fn epoch_keys(&self) -> Vec<String> {
        let labels = match &self.token {
            Some(token) => token.labels(),
            None => {
                let files = fs::read_dir(self.path("keys")).expect("the keys' directory").flatten();
                files.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
            }
        };
        let epochs = labels.into_iter().filter(|label| label.contains("-epoch-"));
        let mut epochs: Vec<_> = epochs
            .map(|label| {
                label.split("-epoch-").nth(1).unwrap_or_default().split('-').next().unwrap_or_default().to_owned()
            })
            .collect();
        epochs.sort();
        epochs
    }

    /// Tells the core of a call that was turned away.
    pub async fn turned_away(&self, method: &str, reason: &str) {
        let turned_away = TurnedAway {
            method: method.to_owned(),
            caller_certificate: self.caller.clone(),
            reason: reason.to_owned(),
        };
        assert!(self.frame(Kind::TurnedAway(turned_away)).await.is_none());
    }

    async fn frame(&self, kind: Kind) -> Option<Reply> {
        let frame = Call { kind: Some(kind) }.encode_to_vec();
        let reply = self.core().call(frame.into()).await;
        (!reply.is_empty()).then(|| Reply::decode(reply).expect("a reply decodes"))
    }

    /// Mints as the coordinator.
    ///
    /// # Errors
    /// The refusal.
    pub async fn mint(&self, request: MintCertificateRequest) -> Result<MintCertificateResponse, Refused> {
        self.mint_as(&self.caller, request).await
    }

    /// Mints as the coordinator, who waits so many nanoseconds.
    ///
    /// # Errors
    /// The refusal.
    pub async fn mint_within(
        &self,
        request: MintCertificateRequest,
        deadline_nanos: u64,
    ) -> Result<MintCertificateResponse, Refused> {
        let reply = self.unary("MintCertificate", &self.caller, request.encode_to_vec(), deadline_nanos).await;
        asking::decoded(reply)
    }

    /// Mints as the one whose certificate this is.
    ///
    /// # Errors
    /// The refusal.
    pub async fn mint_as(
        &self,
        caller: &Bytes,
        request: MintCertificateRequest,
    ) -> Result<MintCertificateResponse, Refused> {
        let reply = self.unary("MintCertificate", caller, request.encode_to_vec(), DEADLINE_NANOS).await;
        asking::decoded(reply)
    }

    /// Asks for the active chain as the coordinator.
    ///
    /// # Errors
    /// The refusal.
    pub async fn chain(&self, request: GetChainRequest) -> Result<GetChainResponse, Refused> {
        asking::decoded(self.unary("GetChain", &self.caller, request.encode_to_vec(), DEADLINE_NANOS).await)
    }

    /// The coordinator's certificate, DER.
    #[must_use]
    pub fn caller(&self) -> &Bytes {
        &self.caller
    }

    /// How often a private key was used.
    ///
    /// # Panics
    /// If the device does not answer.
    #[must_use]
    pub fn key_uses(&self) -> u64 {
        self.core().health().expect("the device answers").key_uses
    }

    /// Stops the core, and reads the published log as an auditor would.
    pub async fn log_after_stop(&mut self) -> Log {
        self.stop().await;
        Log::read(&self.path("log"), &fs::read_to_string(self.path("log.vkey")).expect("the verifier key"))
    }
}

/// The policy that the repository shows.
#[must_use]
pub fn example_policy() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/policy.toml");
    fs::read_to_string(path).expect("the example policy")
}

/// The names of a policy's authorities; none where it does not read.
pub(crate) fn authorities(policy: &str) -> Vec<String> {
    let table = toml::from_str::<toml::Table>(policy).unwrap_or_default();
    let authorities = table.get("authority").and_then(toml::Value::as_table);
    authorities.map(|authorities| authorities.keys().cloned().collect()).unwrap_or_default()
}
