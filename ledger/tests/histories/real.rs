//! A ledger with one authority, and agents with real keys: what they present is signed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use hallmark_ledger::{Issued, Ledger, Step, UnixMillis};
use hallmark_policy::{
    Bounds, Decision, EpochId, Issuer, NameInput, Policy, Request, RequestInput, SubjectInput,
    authority::CaRequest,
    content::Serial,
    decide, endorse,
    instance::{InstanceName, IntentInput, proof_message},
    key::{PublicKey, SignatureAlgorithm},
    time::{Interval, UnixTime},
};

use crate::world::{self, AUTHORITY, World, copy, files, intent, now};

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
lifetime = "3650d"
key = "ed25519"

[provider.p]
dns-suffixes = ["p.example.net"]

[profile.keeps]
authority = "mesh"
lifetime = { default = "30d", maximum = "30d", backdate = "0s" }
keys = ["ed25519"]
usages = ["client-auth"]
possession = "caller"
providers = ["p"]
common-name = "{domain}.{service}"
names = [{ uri = "athenz://instanceid/{provider}/{instance}" }]
instances = { intents = ["register", "refresh"] }

[profile.replaces]
authority = "mesh"
lifetime = { default = "30d", maximum = "30d", backdate = "0s" }
keys = ["ed25519"]
usages = ["client-auth"]
possession = "caller"
providers = ["p"]
common-name = "{domain}.{service}"
names = [{ uri = "athenz://instanceid/{provider}/{instance}" }]
instances = { intents = ["register", "refresh"], replace = true }

[caller.coordinator]
dns = "coordinator.example.org"
methods = ["MintCertificate"]
profiles = ["keeps", "replaces"]
"#;

/// The key pair of that number. Those of agents count from 1.
fn pair(number: u64) -> Ed25519KeyPair {
    let mut seed = [0x42; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    Ed25519KeyPair::from_seed_unchecked(&seed).expect("a key")
}

fn public(pair: &Ed25519KeyPair) -> PublicKey {
    const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    PublicKey::parse(&[&PREFIX[..], pair.public_key().as_ref()].concat()).expect("a key")
}

/// The epoch's key, and that of somebody who stole it.
const EPOCH: u64 = 0;
pub(crate) const THIEF: u64 = u64::MAX;

/// Bytes of AlgorithmIdentifier and signature at a certificate's end.
const ALGORITHM_AND_SIGNATURE: usize = 7 + 3 + 64;

pub(crate) fn name(instance: u64) -> InstanceName {
    InstanceName { provider: "p".to_owned(), id: format!("i-{instance}"), service: "sports.api".to_owned() }
}

/// An authority with an active epoch: each history begins with a copy.
pub(crate) struct Founded {
    world: World,
    issuer: Issuer,
}

impl Founded {
    pub(crate) async fn new() -> Self {
        let world = lasting();
        let ledger = world.begin().await;
        let root = world.found_root(&ledger).await;
        world.step(&ledger, intent(1, [0; 32])).await;
        let (key, binding) = (public(&pair(EPOCH)), world::binding(1, [0; 32]));
        let (authority, spki) = (AUTHORITY.to_owned(), key.spki().to_vec());
        world
            .step(
                &ledger,
                Step::EpochKey { authority: authority.clone(), generation: 1, reference: "e".to_owned(), spki },
            )
            .await;
        let (root, epoch) = (&root, binding);
        world.sign(&ledger, world.ca(&CaRequest::Intermediate { root, epoch, lifetime: None }, &key)).await;
        world.sign(&ledger, world.ca(&CaRequest::MeshCa { root, epoch, lifetime: None }, &key)).await;
        world.step(&ledger, Step::EpochPrepared { authority: authority.clone(), generation: 1 }).await;
        let by = "start".to_owned();
        world
            .step(
                &ledger,
                Step::EpochActive { authority: authority.clone(), generation: 1, revoke_previous: false, by },
            )
            .await;
        ledger.stop();
        let profile = &world.policy.authority(AUTHORITY).expect("it is there").epoch;
        let issuer = Issuer {
            authority,
            epoch: EpochId { generation: 1, transition: binding.transition },
            subject: profile.subject.clone(),
            key,
            algorithm: SignatureAlgorithm::Ed25519,
            validity: Interval { not_before: now(), not_after: now().after(profile.lifetime) },
            bounds: Bounds::default(),
            manifest: None,
        };
        Self { world, issuer }
    }
}

/// In memory where the machine has a directory there: what a disk does is the matter of other tests.
fn place() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

/// Nothing is forgotten: that is a matter of time, and the model of the rule has it.
fn lasting() -> World {
    let mut world = World::below(&place());
    world.policy = Policy::parse(POLICY).expect("the policy is good");
    world.config.retention = hallmark_policy::time::Span::from_days(36_500);
    world.config.ended_retention = hallmark_policy::time::Span::from_days(36_500);
    world
}

/// What an agent asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) instance: u64,
    pub(crate) key: u64,
    pub(crate) replace: bool,
    /// 1: it says the lifetime that is the default.
    pub(crate) lifetime: u8,
    /// The certificate that is presented, with its serial number and, where possession is proven, its key.
    pub(crate) presented: Option<(&'a [u8], Serial, Option<u64>)>,
}

/// A ledger on a disk.
pub(crate) struct Real {
    /// Before the world: its threads write below the world's directory, which goes with that.
    ledger: Option<Ledger>,
    world: World,
    issuer: Issuer,
}

impl Real {
    pub(crate) async fn new(founded: &Founded) -> Self {
        let world = lasting();
        copy(founded.world.directory.path(), world.directory.path());
        let mut real = Self { world, issuer: founded.issuer.clone(), ledger: None };
        real.start().await;
        real
    }

    /// What the ledger knows of what was signed under that serial number.
    pub(crate) fn signed_before(&self, serial: Serial) -> Option<[u8; 32]> {
        self.ledger().signed_before(self.issuer.key.digest(), serial).expect("the ledger reads")
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().expect("it is open")
    }

    async fn start(&mut self) {
        let ledger = self.world.begin().await;
        self.ledger = Some(ledger);
    }

    fn stop(&mut self) {
        if let Some(ledger) = self.ledger.take() {
            ledger.stop();
        }
    }

    /// The process is killed: what is on the disk at this moment is what the next one finds.
    pub(crate) async fn crash(&mut self) {
        let next = lasting();
        copy(self.world.directory.path(), next.directory.path());
        self.stop();
        self.world = next;
        self.start().await;
    }

    /// A backup.
    pub(crate) async fn save(&mut self) -> tempfile::TempDir {
        self.stop();
        let backup = tempfile::tempdir_in(place()).expect("a directory");
        copy(self.world.directory.path(), backup.path());
        self.start().await;
        backup
    }

    /// The backup takes the place of everything.
    pub(crate) async fn restore(&mut self, backup: &Path) {
        self.stop();
        for file in files(self.world.directory.path()) {
            fs::remove_file(file).expect("a file");
        }
        copy(backup, self.world.directory.path());
        self.start().await;
    }

    /// What the ledger says.
    pub(crate) async fn ask(&self, id: &str, asked: Asked<'_>, serial: Serial, now: i64) -> Issued {
        let request = self.request(id, asked);
        let moment = UnixTime::from_secs(now);
        match decide(&self.world.policy, &request, &self.issuer, moment, serial) {
            Decision::Approve(approved) => {
                let draft = hallmark_issuance::draft(&approved).expect("it is encoded");
                let warrant = endorse(*approved, draft.into_der()).expect("the draft says what was approved");
                self.ledger().issue(warrant, UnixMillis(now * 1_000)).await.expect("it is answered")
            }
            Decision::Refuse(reasons) => panic!("{reasons:?}"),
        }
    }

    fn request(&self, id: &str, asked: Asked<'_>) -> Request {
        let Asked { instance, key, replace, lifetime, presented } = asked;
        let (key, name) = (public(&pair(key)), name(instance));
        let instance = match presented {
            None => IntentInput::Register,
            Some((certificate, serial, proves)) => {
                let message = proof_message(AUTHORITY, id, &name, serial, key.digest());
                let proof = proves.map(|old| pair(old).sign(message.as_bytes()).as_ref().to_vec());
                IntentInput::Refresh { certificate: certificate.to_vec(), proof: proof.unwrap_or_default() }
            }
        };
        let input = RequestInput {
            authority: AUTHORITY.to_owned(),
            profile: if replace { "replaces" } else { "keeps" }.to_owned(),
            request_id: id.to_owned(),
            subject: SubjectInput::Spki {
                spki: key.spki().to_vec(),
                common_name: name.service,
                names: vec![NameInput::Uri(format!("athenz://instanceid/p/{}", name.id))],
            },
            lifetime_seconds: if lifetime == 0 { 0 } else { crate::LIFETIME_SECS as u64 },
            instance,
            ..RequestInput::default()
        };
        let request = Request::parse(self.world.caller.clone(), input).expect("the request is well-formed");
        let signed = request.presented().and_then(|claim| self.signed_before(claim.serial));
        request.with_presented_issuer(&self.issuer.key, signed.as_ref())
    }
}

/// The same certificate for another key, by whoever stole the epoch's.
pub(crate) fn forged(certificate: &[u8], of: u64, other: u64) -> Vec<u8> {
    let (of, other) = (pair(of), pair(other));
    let mut to_be_signed = certificate[4..certificate.len() - ALGORITHM_AND_SIGNATURE].to_vec();
    let key = of.public_key().as_ref();
    let at = to_be_signed.windows(key.len()).position(|window| window == key).expect("it has its key");
    to_be_signed[at..at + key.len()].copy_from_slice(other.public_key().as_ref());
    signed(&to_be_signed).1
}

/// Signs as the epoch's key does; gives the signature and the certificate.
pub(crate) fn signed(to_be_signed: &[u8]) -> (Vec<u8>, Vec<u8>) {
    const ED25519: [u8; 7] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
    let signature = pair(EPOCH).sign(to_be_signed).as_ref().to_vec();
    let content = [to_be_signed, &ED25519, &[0x03, 0x41, 0x00], &signature].concat();
    let length = u16::try_from(content.len()).expect("a short certificate").to_be_bytes();
    let certificate = [&[0x30, 0x82][..], &length, &content].concat();
    (signature, certificate)
}
