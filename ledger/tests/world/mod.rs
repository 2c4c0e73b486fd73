//! One authority, a permissive policy, a caller, and a ledger in a directory of its own.

#![expect(dead_code, reason = "each test file uses its own part of the world")]

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use hallmark_ledger::{
    Committed, Consent, EpochIntent, Event, Issued, Ledger, LedgerConfig, Logged, OpenError, Opened, Statement, Step,
    UnixMillis,
};
use hallmark_policy::{
    Bounds, Caller, Decision, EpochId, Issuer, NameInput, Policy, Request, RequestInput, SubjectInput, Warrant,
    authority::{CaRequest, Root, decide_ca, statement, statement_sha256, transition},
    content::{EpochBinding, Serial},
    decide, endorse,
    key::{PublicKey, SignatureAlgorithm},
    time::{Interval, Span, UnixTime},
};
use hallmark_tlog::{
    audit::{Auditor, LogFiles, Report, Visitor},
    note::SignerKey,
    receipt::Receipt,
};

pub(crate) const AUTHORITY: &str = "mesh";
pub(crate) const NOW_SECS: i64 = 1_800_000_000;

const POLICY: &str = r#"
version = 1

[authority.mesh]
crl = { lifetime = "7d", refresh = "1d" }

[authority.mesh.root]
common-name = "Mesh Root"
lifetime = "3650d"
key = "ed25519"

[authority.mesh.epoch]
common-name = "Mesh Intermediate"
lifetime = "365d"
key = "ed25519"

[profile.workload]
authority = "mesh"
lifetime = { default = "1d", maximum = "30d" }
keys = ["ed25519"]
usages = ["server-auth", "client-auth"]
possession = "caller"
names = [{ dns = "{service}.example.com" }]

[profile.dashed]
authority = "mesh"
lifetime = { default = "1d", maximum = "30d" }
keys = ["ed25519"]
usages = ["server-auth", "client-auth"]
possession = "caller"
dashes = "claimed"
common-name = "{domain}.{service}"
names = [{ dns = "{service}.{domain:dashes}.example.net" }]

[caller.coordinator]
dns = "coordinator.example.org"
methods = ["MintCertificate"]
profiles = ["workload", "dashed"]
"#;

pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) config: LedgerConfig,
    pub(crate) policy: Policy,
    pub(crate) caller: Caller,
    serials: AtomicU64,
    millis: AtomicU64,
}

/// An authority with keys, as the signer would know it.
#[derive(Clone)]
pub(crate) struct Mesh {
    pub(crate) root: Root,
    pub(crate) issuer: Issuer,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// In a directory of its own below that one.
    pub(crate) fn below(place: &Path) -> Self {
        let directory = tempfile::tempdir_in(place).expect("a directory");
        let config = LedgerConfig {
            database: directory.path().join("ledger.db"),
            publish: directory.path().join("log"),
            retention: Span::from_days(1),
            ended_retention: Span::from_days(30),
            accept_missing_checkpoint: false,
            accept_missing_anchor: false,
            anchor: None,
            private: hallmark_entry::privacy::Private::default(),
            pages_max: None,
        };
        let policy = Policy::parse(POLICY).expect("the policy is good");
        let (serials, millis) = (AtomicU64::new(1), AtomicU64::new(0));
        Self { directory, config, policy, caller: caller(), serials, millis }
    }

    pub(crate) fn try_open(&self) -> Result<Opened, OpenError> {
        Ledger::open(self.config.clone(), log_key())
    }

    pub(crate) fn open(&self) -> Ledger {
        self.try_open().expect("the ledger opens").ledger
    }

    /// Opens it, with the policy in force.
    pub(crate) async fn begin(&self) -> Ledger {
        let ledger = self.open();
        self.load_policy(&ledger).await;
        ledger
    }

    pub(crate) async fn load_policy(&self, ledger: &Ledger) -> Logged {
        let event = Event::PolicyLoaded {
            digest: self.policy.digest(),
            text: self.policy.text().to_owned(),
            by: "start".to_owned(),
        };
        ledger.record(event, self.at()).await.expect("the policy is logged")
    }

    /// A moment after all those before.
    pub(crate) fn at(&self) -> UnixMillis {
        let millis = i64::try_from(self.millis.fetch_add(1, Ordering::Relaxed)).expect("few moments");
        UnixMillis(NOW_SECS * 1_000 + millis)
    }

    pub(crate) fn serial(&self) -> Serial {
        serial(self.serials.fetch_add(1, Ordering::Relaxed))
    }

    /// A root and a first epoch, active.
    pub(crate) async fn found(&self, ledger: &Ledger) -> Mesh {
        let root = self.found_root(ledger).await;
        self.rotate(ledger, &root, 1, [0; 32]).await
    }

    pub(crate) async fn found_root(&self, ledger: &Ledger) -> Root {
        let (authority, key) = (AUTHORITY.to_owned(), key(1_000_000));
        self.step(
            ledger,
            Step::RootIntent { authority: authority.clone(), label: "root".to_owned(), owners: Vec::new() },
        )
        .await;
        let (reference, spki) = ("key-root".to_owned(), key.spki().to_vec());
        self.step(ledger, Step::RootKey { authority: authority.clone(), reference, spki }).await;
        self.sign(ledger, self.ca(&CaRequest::Root, &key)).await;
        self.step(ledger, Step::RootReady { authority }).await;
        let profile = &self.policy.authority(AUTHORITY).expect("it is there").root;
        Root {
            key_identifier: key.key_identifier(),
            subject: profile.subject.clone(),
            key,
            algorithm: SignatureAlgorithm::Ed25519,
            validity: Interval { not_before: now(), not_after: now().after(profile.lifetime) },
        }
    }

    /// The next epoch, made and active.
    pub(crate) async fn rotate(&self, ledger: &Ledger, root: &Root, generation: u64, previous: [u8; 32]) -> Mesh {
        let mesh = self.prepare(ledger, root, generation, previous).await;
        self.step(
            ledger,
            Step::EpochActive {
                authority: AUTHORITY.to_owned(),
                generation,
                revoke_previous: false,
                by: "start".to_owned(),
            },
        )
        .await;
        mesh
    }

    pub(crate) async fn prepare(&self, ledger: &Ledger, root: &Root, generation: u64, previous: [u8; 32]) -> Mesh {
        let mesh = self.key_epoch(ledger, root, generation, previous).await;
        let epoch = binding(generation, previous);
        let request = CaRequest::Intermediate { root, epoch, lifetime: None };
        self.sign(ledger, self.ca(&request, &mesh.issuer.key)).await;
        self.sign(ledger, self.ca(&CaRequest::MeshCa { root, epoch, lifetime: None }, &mesh.issuer.key)).await;
        self.step(ledger, Step::EpochPrepared { authority: AUTHORITY.to_owned(), generation }).await;
        mesh
    }

    /// The next epoch up to its key.
    pub(crate) async fn key_epoch(&self, ledger: &Ledger, root: &Root, generation: u64, previous: [u8; 32]) -> Mesh {
        self.step(ledger, intent(generation, previous)).await;
        let key = key(2_000_000 + generation);
        let (reference, spki) = (format!("key-{generation}"), key.spki().to_vec());
        let authority = AUTHORITY.to_owned();
        self.step(ledger, Step::EpochKey { authority, generation, reference, spki }).await;
        let profile = &self.policy.authority(AUTHORITY).expect("it is there").epoch;
        let issuer = Issuer {
            authority: AUTHORITY.to_owned(),
            epoch: EpochId { generation, transition: binding(generation, previous).transition },
            subject: profile.subject.clone(),
            key,
            algorithm: SignatureAlgorithm::Ed25519,
            validity: Interval { not_before: now(), not_after: now().after(profile.lifetime) },
            bounds: Bounds::default(),
            manifest: None,
        };
        Mesh { root: root.clone(), issuer }
    }

    pub(crate) fn ca(&self, request: &CaRequest<'_>, key: &PublicKey) -> Warrant {
        warrant(decide_ca(&self.policy, AUTHORITY, request, key, now(), self.serial()))
    }

    pub(crate) async fn step(&self, ledger: &Ledger, step: Step) -> Logged {
        ledger.advance(step, self.at()).await.expect("the step is taken")
    }

    /// Commits and signs; gives the index.
    pub(crate) async fn sign(&self, ledger: &Ledger, warrant: Warrant) -> u64 {
        let (committed, _) = committed(ledger.issue(warrant, self.at()).await.expect("it is answered"));
        let index = committed.log_index();
        ledger.keep_signature(index, vec![7; 64]).await.expect("it is kept");
        index
    }

    /// A leaf for the key of that number.
    pub(crate) fn leaf(&self, mesh: &Mesh, id: &str, number: u64) -> Warrant {
        self.leaf_with(mesh, id, number, self.serial(), now())
    }

    pub(crate) fn leaf_with(&self, mesh: &Mesh, id: &str, number: u64, serial: Serial, at: UnixTime) -> Warrant {
        let request = self.request(id, number, false);
        warrant(decide(&self.policy, &request, &mesh.issuer, at, serial))
    }

    /// A leaf for service `api` of a domain whose dots are written as dashes.
    pub(crate) fn dashed_leaf(&self, mesh: &Mesh, id: &str, domain: &str, validate_only: bool) -> Warrant {
        let input = RequestInput {
            authority: AUTHORITY.to_owned(),
            profile: "dashed".to_owned(),
            request_id: id.to_owned(),
            subject: SubjectInput::Spki {
                spki: key(1).spki().to_vec(),
                common_name: format!("{domain}.api"),
                names: vec![NameInput::Dns(format!("api.{}.example.net", domain.replace('.', "-")))],
            },
            validate_only,
            ..RequestInput::default()
        };
        let request = Request::parse(self.caller.clone(), input).expect("the request is well-formed");
        warrant(decide(&self.policy, &request, &mesh.issuer, now(), self.serial()))
    }

    pub(crate) fn request(&self, id: &str, number: u64, validate_only: bool) -> Request {
        let input = RequestInput {
            authority: AUTHORITY.to_owned(),
            profile: "workload".to_owned(),
            request_id: id.to_owned(),
            subject: SubjectInput::Spki {
                spki: key(number).spki().to_vec(),
                common_name: String::new(),
                names: vec![NameInput::Dns(format!("service-{number}.example.com"))],
            },
            validate_only,
            ..RequestInput::default()
        };
        Request::parse(self.caller.clone(), input).expect("the request is well-formed")
    }

    pub(crate) fn audit(&self) -> Report {
        audit(&self.config.publish, &mut ())
    }

    /// What a crash would leave: the files as they are now, elsewhere.
    pub(crate) fn crashed(&self) -> Self {
        let other = Self::new();
        copy(self.directory.path(), other.directory.path());
        other.serials.store(1_000_000_000, Ordering::Relaxed);
        other.millis.store(self.millis.load(Ordering::Relaxed), Ordering::Relaxed);
        other
    }
}

pub(crate) fn now() -> UnixTime {
    UnixTime::from_secs(NOW_SECS)
}

pub(crate) fn serial(number: u64) -> Serial {
    Serial::from_random(u128::from(number).to_be_bytes())
}

/// Not a key that anybody can sign with: the ledger asks for none.
pub(crate) fn key(number: u64) -> PublicKey {
    const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    // Half of all numbers are no coordinate of a point; a power of two by itself would be one of small order.
    let of = |coordinate: u8| [&PREFIX[..], &[coordinate; 24], &number.to_be_bytes()].concat();
    let keys = (1..u8::MAX).map(|coordinate| PublicKey::parse(&of(coordinate)));
    keys.flatten().next().expect("one of them is a point")
}

pub(crate) fn binding(generation: u64, previous: [u8; 32]) -> EpochBinding {
    let manifest = statement_sha256(AUTHORITY, generation);
    EpochBinding { generation, manifest, transition: transition(&manifest, &previous) }
}

pub(crate) fn intent(generation: u64, previous: [u8; 32]) -> Step {
    Step::EpochIntent(Box::new(EpochIntent {
        authority: AUTHORITY.to_owned(),
        generation,
        statement: Statement::new(statement(AUTHORITY, generation).into_bytes()),
        transition: binding(generation, previous).transition,
        previous,
        lifetime_secs: 0,
        revoke_previous: false,
        label: format!("epoch-{generation}"),
        consent: Consent::default(),
    }))
}

pub(crate) fn warrant(decision: Decision) -> Warrant {
    match decision {
        Decision::Approve(approved) => {
            let draft = hallmark_issuance::draft(&approved).expect("it is encoded");
            endorse(*approved, draft.into_der()).expect("the draft says what was approved")
        }
        Decision::Refuse(reasons) => panic!("{reasons:?}"),
    }
}

pub(crate) fn committed(issued: Issued) -> (Committed, Logged) {
    let Issued::Committed { committed, logged, .. } = issued else { panic!("not committed: {issued:?}") };
    (committed, logged)
}

/// The codes of a refusal.
pub(crate) fn refused(issued: Issued) -> Vec<&'static str> {
    let Issued::Refused { reasons, .. } = issued else { panic!("not refused: {issued:?}") };
    reasons.iter().map(|reason| reason.code.as_str()).collect()
}

pub(crate) fn log_key() -> SignerKey {
    SignerKey::generate("example.com/log", [42; 32]).expect("the name is good")
}

pub(crate) async fn check_receipt(logged: Logged) {
    let text = logged.receipt.text().await.expect("a receipt");
    let receipt = Receipt::parse(text.as_bytes()).expect("it is well-formed");
    let verified = receipt.verify(&logged.entry, &[log_key().verifier().clone()]).expect("it verifies");
    assert_eq!(verified.index, logged.index);
    assert!(verified.size > logged.index);
}

pub(crate) struct Directory(pub(crate) PathBuf);

impl LogFiles for Directory {
    type Error = io::Error;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, io::Error> {
        match fs::read(self.0.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

pub(crate) fn audit(publish: &Path, visitor: &mut impl Visitor) -> Report {
    let keys = [log_key().verifier().clone()];
    Auditor::new(&keys).audit(&Directory(publish.to_owned()), visitor).expect("the checkpoint holds")
}

/// All files below a directory, by path.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// The content of all files below a directory, by path from there.
pub(crate) fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let name = |file: &Path| file.strip_prefix(directory).expect("below").to_str().expect("ASCII").to_owned();
    files(directory).iter().map(|file| (name(file), fs::read(file).expect("it is there"))).collect()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let place = to.join(file.strip_prefix(from).expect("it is below"));
        fs::create_dir_all(place.parent().expect("a parent")).expect("a directory");
        match fs::copy(&file, &place) {
            Ok(_) => {}
            // A published file may be taken away meanwhile.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound, "{}", file.display()),
        }
    }
}

fn caller() -> Caller {
    let mut parameters = rcgen::CertificateParams::new(vec!["coordinator.example.org".to_owned()]).expect("a name");
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2100, 1, 1);
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    Caller::parse(certificate.der()).expect("it reads")
}
