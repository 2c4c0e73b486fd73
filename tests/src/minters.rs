//! Minters that never rest, so that whatever else is done is done beside them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use hallmark_proto::signer::{MintCertificateRequest, MintCertificateResponse};
use tokio::task::JoinSet;

use crate::{
    World,
    asking::{Asked, Refused, athenz},
    tools::from_hex,
};

/// FAILED_PRECONDITION.
const FAILED_PRECONDITION: i32 = 9;

/// Tasks that mint one certificate after another. Every second one names the transition that it takes for the active one.
#[derive(Debug)]
pub struct Minters {
    tasks: JoinSet<Vec<Call>>,
    enough: Arc<AtomicBool>,
}

/// A mint, and what came of it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Right before it was made.
    pub begun: Instant,
    /// Right after it was answered.
    pub ended: Instant,
    /// The transition that it named.
    pub named: Option<[u8; 32]>,
    /// The answer.
    pub came: Came,
}

/// What came of a mint.
#[derive(Clone, Debug)]
pub enum Came {
    /// A certificate.
    Certificate(Minted),
    /// The transition that it named was not the active one.
    Stale {
        /// The one that the refusal calls active.
        active: [u8; 32],
    },
}

/// What is kept of a certificate's answer.
#[derive(Clone, Debug)]
pub struct Minted {
    /// Generation of its epoch.
    pub generation: u64,
    /// Transition of its epoch.
    pub transition: [u8; 32],
    /// Index of its entry.
    pub log_index: u64,
    /// The receipt.
    pub receipt: String,
    /// The entry.
    pub log_entry: Vec<u8>,
}

impl Minters {
    /// So many begin, with `active` as the transition in force.
    #[must_use]
    pub fn start(world: &Arc<World>, minters: usize, active: [u8; 32]) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let csr = Asked::sports_api().csr();
        let mut tasks = JoinSet::new();
        for number in 0..minters {
            let named = number.is_multiple_of(2).then_some(active);
            tasks.spawn(mint_on(Arc::clone(world), csr.clone(), named, Arc::clone(&enough)));
        }
        Self { tasks, enough }
    }

    /// Whether nobody has given up yet.
    #[must_use]
    pub fn go_on(&mut self) -> bool {
        self.tasks.try_join_next().is_none()
    }

    /// They finish what they are at; all their calls, each minter's in order.
    ///
    /// # Panics
    /// If one met anything else than a certificate or a stale transition.
    pub async fn stop(mut self) -> Vec<Vec<Call>> {
        self.enough.store(true, Ordering::SeqCst);
        let mut calls = Vec::new();
        while let Some(minter) = self.tasks.join_next().await {
            calls.push(minter.expect("a minter met nothing but certificates and stale transitions"));
        }
        calls
    }
}

async fn mint_on(world: Arc<World>, csr: Vec<u8>, mut named: Option<[u8; 32]>, enough: Arc<AtomicBool>) -> Vec<Call> {
    let mut calls = Vec::new();
    while !enough.load(Ordering::SeqCst) {
        let transition = named.map(|named| named.to_vec().into()).unwrap_or_default();
        let request = MintCertificateRequest { transition, ..athenz(csr.clone()) };
        let begun = Instant::now();
        let answer = world.mint(request).await;
        let ended = Instant::now();
        let came = match answer {
            Ok(response) => Came::Certificate(Minted::of(response)),
            Err(refused) => Came::Stale { active: active_of(&refused, named) },
        };
        calls.push(Call { begun, ended, named, came: came.clone() });
        if let Came::Stale { active } = came {
            named = Some(active);
        }
    }
    calls
}

/// The transition that is active by a refusal's word.
fn active_of(refused: &Refused, named: Option<[u8; 32]>) -> [u8; 32] {
    assert!(named.is_some(), "who names no transition hears nothing of a rotation: {refused:?}");
    assert_eq!((refused.code, refused.reasons.as_slice()), (FAILED_PRECONDITION, &["TRANSITION_STALE".to_owned()][..]));
    from_hex(&refused.allowed[0].1).try_into().expect("a transition")
}

impl Minted {
    fn of(response: MintCertificateResponse) -> Self {
        let epoch = response.epoch.expect("an epoch");
        Self {
            generation: epoch.generation,
            transition: epoch.transition.as_ref().try_into().expect("a transition"),
            log_index: response.log_index,
            receipt: response.receipt,
            log_entry: response.log_entry.to_vec(),
        }
    }
}
