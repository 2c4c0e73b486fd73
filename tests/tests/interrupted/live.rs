//! A signer whose device or database fails, and which goes on with the same call.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use hallmark_proto::signer::{RotateIntermediateRequest, WatchEpochsRequest, WatchEpochsResponse};
use hallmark_tests::{
    AUTHORITY, World,
    asking::Asked,
    log::Log,
    mesh::{GENESIS, Owner, manifest, policy, request, rotate, transition_of},
    replay::replay,
};
use prost::Message;

use crate::{
    cells::{Cell, Fault, Injected, NOT_DRAINED},
    checks::{self, Bundle, Door, FOREIGN},
};

/// Longer than anything here takes.
const AMPLE: Duration = Duration::from_secs(60);

/// Fills these cells of the table.
pub(crate) async fn all(cells: &[Cell]) -> Vec<String> {
    let (mut live, mut filled) = (Live::new().await, Vec::new());
    for cell in cells {
        filled.push(live.fill(cell).await);
    }
    live.finish().await;
    filled
}

/// A signer with a faulty device, and what it has come to.
pub(crate) struct Live {
    pub(crate) world: World,
    pub(crate) owner: Owner,
    pub(crate) active: [u8; 32],
    pub(crate) generation: u64,
    /// The CA certificates of every epoch that was active.
    pub(crate) bundles: BTreeMap<u64, Bundle>,
}

impl Live {
    pub(crate) async fn new() -> Self {
        let owner = Owner::new();
        let mut world = World::faulty_unmade(&policy(&[&owner]));
        FOREIGN.iter().for_each(|label| world.token().make_key(label));
        world.start(true).await.unwrap();
        let first = rotate(&world, &owner, GENESIS, &manifest("first", &[&owner])).await.unwrap();
        let bundles = BTreeMap::from([(1, Bundle::from(&first))]);
        Self { world, owner, active: transition_of(&first), generation: 1, bundles }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.world.path("ledger.sqlite")
    }

    pub(crate) fn caught(&self) -> String {
        checks::caught(&self.database(), self.world.token(), self.generation)
    }

    /// What sets the next manifest.
    pub(crate) fn next(&self, what: &str) -> RotateIntermediateRequest {
        request(&self.world, &self.owner, self.active, &manifest(what, &[&self.owner]), 0, false)
    }

    pub(crate) fn inject(&self, injected: &[Injected]) {
        for injected in injected {
            match injected {
                Injected::Call(function, when, effect) => {
                    self.world.device().fault(*function, *when, effect.clone());
                }
                Injected::Change(what) => checks::refuse_change(&self.database(), what),
            }
        }
    }

    pub(crate) fn mend(&self) {
        self.world.device().mend();
        checks::allow_changes(&self.database());
    }

    /// Fills a cell of the table: interrupts a rotation, and has the same call go on with it.
    pub(crate) async fn fill(&mut self, cell: &Cell) -> String {
        let next = self.next(&format!("cell-{}", self.generation));
        self.inject(&cell.injected);
        let answer =
            if cell.step == NOT_DRAINED { self.drain(&next, cell.fault).await } else { self.world.rotate(&next).await };
        let caught = self.caught();
        assert_eq!(caught, cell.caught, "{cell:?}: {answer:?}");
        let is_active = caught.starts_with("active");
        assert_eq!(answer.is_ok(), is_active, "{cell:?}: {answer:?}");
        if let Err(refused) = answer {
            let code = if matches!(cell.injected[0], Injected::Change(_)) { "LEDGER_FAILED" } else { "DEVICE_FAILED" };
            assert_eq!((refused.code, refused.reasons.as_slice()), (14, &[code.to_owned()][..]), "{cell:?}");
        }
        if cell.step != NOT_DRAINED {
            let minted =
                self.world.mint(Asked::sports_api().request()).await.expect("before the fault ends, mints go on");
            assert_eq!(minted.epoch.unwrap().generation, self.generation + u64::from(is_active), "{cell:?}");
        }
        self.mend();
        let response = self.world.rotate(&next).await.unwrap_or_else(|refused| panic!("{cell:?}: {refused:?}"));
        assert_eq!(response.replayed, is_active, "{cell:?}");
        self.went_on(transition_of(&response), Bundle::from(&response)).await;
        caught
    }

    /// The next epoch is active; so it is after a restart, which finds nothing more to do at the latest.
    pub(crate) async fn went_on(&mut self, transition: [u8; 32], bundle: Bundle) {
        (self.active, self.generation) = (transition, self.generation + 1);
        self.world.restart().await;
        let path = self.database();
        let mut door = Door::World(&self.world);
        assert_eq!(checks::is_whole(&mut door, &path, self.world.token(), self.generation).await, bundle);
        for (generation, before) in &self.bundles {
            assert_eq!(&Bundle::from(door.chain(*generation).await), before, "epoch {generation}");
        }
        self.bundles.insert(self.generation, bundle);
    }

    /// Rotates while a signature of the old key is in flight, which comes back when the rotation waits for nothing else.
    async fn drain(
        &self,
        next: &RotateIntermediateRequest,
        fault: Fault,
    ) -> Result<hallmark_proto::signer::RotateIntermediateResponse, hallmark_tests::asking::Refused> {
        let device = self.world.device();
        let minting = self.world.mint(Asked::sports_api().request());
        let rotating = async {
            device.await_hanging(1, AMPLE);
            let (answer, ()) = tokio::join!(self.world.rotate(next), async {
                self.until_active(self.generation + 1).await;
                device.release();
            });
            answer
        };
        let (minted, answer) = tokio::join!(minting, rotating);
        match minted {
            Ok(minted) => assert_eq!(minted.epoch.unwrap().generation, self.generation),
            // It would have to be signed again, and its epoch is over.
            Err(refused) if matches!(fault, Fault::DeviceError | Fault::AnswerLost) => {
                assert!(refused.reasons.iter().all(|reason| reason == "REQUEST_VOID"), "{refused:?}");
            }
            Err(refused) => panic!("what is in flight comes out before the rotation returns: {refused:?}"),
        }
        answer
    }

    async fn until_active(&self, generation: u64) {
        let mut question = WatchEpochsRequest { authority: AUTHORITY.to_owned(), ..WatchEpochsRequest::default() };
        loop {
            let reply = self.world.watch_epochs(&question, 60_000_000_000).await;
            let told = WatchEpochsResponse::decode(reply.body).unwrap();
            if told.active.and_then(|active| active.epoch).is_some_and(|epoch| epoch.generation == generation) {
                return;
            }
            question = WatchEpochsRequest::decode(reply.next).unwrap();
        }
    }

    /// The log verifies, its transitions replay, and it has committed the certificates that were seen, once.
    pub(crate) async fn finish(self) {
        self.log().await;
    }

    /// The same, with the log.
    pub(crate) async fn log(mut self) -> Log {
        let log = self.world.log_after_stop().await;
        checks::were_committed(&log, &replay(&log, AUTHORITY), &self.bundles);
        log
    }
}
