//! Clients that mint all the while, and look closely at what they are given.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use hallmark_proto::signer::{MintCertificateResponse, signer_client::SignerClient};
use hallmark_tests::{
    asking::Asked,
    client::connect,
    daemon::{Daemon, Laboratory},
    tools::{spki, tbs},
};
use tokio::{task::JoinSet, time::timeout};
use tonic::{Code, transport::Channel};

/// Clients, each over one connection.
pub(crate) const CLIENTS: usize = 16;

/// The deadline that the daemon gives to calls which name none. Clients name none: so it is the daemon that must keep it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(6);

/// How much later than that an answer may arrive, on a machine that does other things, too.
const GRACE: Duration = Duration::from_secs(2);

/// Pause of a client between two calls: the daemon is not to be measured, but to be kept at work.
const PAUSE: Duration = Duration::from_millis(30);

/// Whoever asks whether the daemon serves again waits for so long.
const PROBE_TIME: Duration = Duration::from_secs(1);

/// The clients.
pub(crate) struct Load {
    clients: JoinSet<()>,
    shared: Arc<Shared>,
}

struct Shared {
    root: Vec<u8>,
    stopping: AtomicBool,
    answered: AtomicU64,
    refused: AtomicU64,
    void: AtomicU64,
    minted: Mutex<Vec<MintCertificateResponse>>,
    /// What must not be, in sentences.
    wrong: Mutex<Vec<String>>,
}

impl Load {
    pub(crate) async fn start(laboratory: &Laboratory, daemon: &Daemon, root: Vec<u8>) -> Self {
        let (mut clients, shared) = (JoinSet::new(), Arc::new(Shared::knowing(root)));
        for _ in 0..CLIENTS {
            let (client, shared) = (connect(laboratory, daemon).await, Arc::clone(&shared));
            clients.spawn(async move { shared.mint_on(client).await });
        }
        Self { clients, shared }
    }

    /// Certificates so far, and calls that were told to come back.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.shared.answered.load(Ordering::SeqCst), self.shared.refused.load(Ordering::SeqCst))
    }

    /// Calls that were told that their certificate is void.
    pub(crate) fn void(&self) -> u64 {
        self.shared.void.load(Ordering::SeqCst)
    }

    /// What went wrong since this was asked last.
    pub(crate) fn wrong(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.wrong.lock().unwrap())
    }

    /// Mints until that goes; whether it did in time.
    pub(crate) async fn serves_again(&self, client: &mut SignerClient<Channel>, within: Duration) -> bool {
        let began = Instant::now();
        while began.elapsed() < within {
            let asked = client.mint_certificate(Asked::sports_api().request());
            if let Ok(Ok(minted)) = timeout(PROBE_TIME, asked).await {
                self.shared.keep(minted.into_inner());
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    /// Stops; every certificate.
    pub(crate) async fn stop(self) -> Vec<MintCertificateResponse> {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.clients.join_all().await;
        std::mem::take(&mut self.shared.minted.lock().unwrap())
    }
}

impl Shared {
    fn knowing(root: Vec<u8>) -> Self {
        Self {
            root,
            stopping: AtomicBool::default(),
            answered: AtomicU64::default(),
            refused: AtomicU64::default(),
            void: AtomicU64::default(),
            minted: Mutex::default(),
            wrong: Mutex::default(),
        }
    }

    async fn mint_on(&self, mut client: SignerClient<Channel>) {
        while !self.stopping.load(Ordering::SeqCst) {
            let (asked, began) = (Asked::sports_api().request(), Instant::now());
            match timeout(DEADLINE + GRACE, client.mint_certificate(asked)).await {
                Err(_) => self.complain(format!("a call had no answer after {:?}", began.elapsed())),
                Ok(Ok(minted)) => self.keep(minted.into_inner()),
                Ok(Err(status)) => match status.code() {
                    Code::Unavailable | Code::DeadlineExceeded => drop(self.refused.fetch_add(1, Ordering::SeqCst)),
                    // What was committed and could not be signed before a rotation took its key away: it is asked for anew.
                    Code::FailedPrecondition if status.message().contains("REQUEST_VOID") => {
                        self.void.fetch_add(1, Ordering::SeqCst);
                    }
                    _ => self.complain(format!("a call was answered {status:?}")),
                },
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Looks at an answer, and keeps it.
    fn keep(&self, minted: MintCertificateResponse) {
        if let Err(sentence) = holds(&minted, &self.root) {
            self.complain(sentence);
        }
        self.answered.fetch_add(1, Ordering::SeqCst);
        self.minted.lock().unwrap().push(minted);
    }

    fn complain(&self, sentence: String) {
        self.wrong.lock().unwrap().push(sentence);
    }
}

/// Whether every signature of an answer holds, up to the root that is known.
fn holds(minted: &MintCertificateResponse, root: &[u8]) -> Result<(), String> {
    let [intermediate] = &minted.chain[..] else { return Err("a chain has another length".to_owned()) };
    let pairs = [
        ("leaf", minted.certificate.as_ref(), intermediate.as_ref()),
        ("intermediate", intermediate.as_ref(), root),
        ("mesh CA", minted.mesh_ca.as_ref(), minted.mesh_ca.as_ref()),
        ("root", root, root),
    ];
    if minted.root != root {
        return Err("another root".to_owned());
    }
    match pairs.into_iter().find(|(_, certificate, issuer)| !is_signed_by(certificate, issuer)) {
        Some((what, ..)) => Err(format!("a wrong signature left: that of a {what}")),
        None => Ok(()),
    }
}

/// Whether a certificate's signature holds under the P-256 key of another.
fn is_signed_by(certificate: &[u8], issuer: &[u8]) -> bool {
    const POINT_BYTES: usize = 65;
    let tbs = tbs(certificate);
    let after = tbs.as_ptr_range().end as usize - certificate.as_ptr() as usize;
    // AlgorithmIdentifier, and a BIT STRING with no unused bits; both are short.
    let [_, algorithm_bytes, rest @ ..] = &certificate[after..] else { return false };
    let Some([3, _, 0, signature @ ..]) = rest.get(usize::from(*algorithm_bytes)..) else { return false };
    let key = spki(issuer);
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &key[key.len() - POINT_BYTES..]).verify(tbs, signature).is_ok()
}
