//! A daemon that is killed while it rotates, and goes on by its start alone.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use hallmark_faulty::Device;
use hallmark_policy::{authority::transition, owner::RotationStatement};
use hallmark_proto::{
    operator::{ActivateEpochRequest, PrepareEpochRequest},
    signer::{EpochState, EpochStatus, MintCertificateRequest, RotateIntermediateRequest},
};
use hallmark_test_token::Token;
use hallmark_tests::{
    AUTHORITY,
    asking::Asked,
    client::{connect, connect_operator},
    daemon::{Daemon, Laboratory, succeed},
    log::Log,
    mesh::{GENESIS, Owner, manifest, policy, request_of, transition_of},
    replay::{Replayed, replay},
    tools::sha256,
};

use crate::{
    cells::{Cell, Injected, NOT_DRAINED},
    checks::{self, Bundle, Door, FOREIGN},
};

/// One process: nobody starts it again before the scenario does.
const ALONE: [&str; 1] = ["--one-process"];

/// Longer than anything here takes.
const AMPLE: Duration = Duration::from_secs(60);

/// A laboratory with a faulty device, and what its signer has come to.
pub(crate) struct Killed {
    device: Device,
    token: Token,
    laboratory: Laboratory,
    generation: u64,
    bundles: BTreeMap<u64, Bundle>,
    /// What was in flight when it was killed.
    in_flight: Option<MintCertificateRequest>,
}

impl Killed {
    /// With this policy; nothing is made yet.
    pub(crate) fn unmade(policy: &str) -> Self {
        let token = Token::make("killed");
        FOREIGN.iter().for_each(|label| token.make_key(label));
        let device = Device::new();
        let laboratory = Laboratory::behind(&device, &token, policy);
        Self { device, token, laboratory, generation: 0, bundles: BTreeMap::new(), in_flight: None }
    }

    /// With its authority made.
    fn new(policy: &str) -> Self {
        let killed = Self::unmade(policy);
        succeed(&mut killed.laboratory.init());
        killed
    }

    fn database(&self) -> PathBuf {
        self.laboratory.path("hallmark.db")
    }

    fn inject(&self, injected: &[Injected]) {
        for injected in injected {
            match injected {
                Injected::Call(function, when, effect) => {
                    self.device.fault(*function, *when, effect.clone());
                }
                Injected::Change(what) => checks::refuse_change(&self.database(), what),
            }
        }
    }

    /// It dies of what was injected; what is refused by the database kills nobody, and so it is killed.
    fn await_end(&self, daemon: Daemon, injected: &[Injected]) {
        match injected {
            [Injected::Change(_)] => daemon.kill(),
            _ => drop(daemon.await_end()),
        }
    }

    /// Everything works again, and the daemon starts.
    fn restart(&self) -> Daemon {
        self.device.mend();
        checks::allow_changes(&self.database());
        self.laboratory.start_with(&ALONE)
    }

    async fn door(&self, daemon: &Daemon) -> Door<'static> {
        Door::Client(connect(&self.laboratory, daemon).await)
    }

    /// What is so after a restart.
    async fn went_on(&mut self, daemon: &Daemon) -> Bundle {
        let mut door = self.door(daemon).await;
        let bundle = checks::is_whole(&mut door, &self.database(), &self.token, self.generation).await;
        for (generation, before) in &self.bundles {
            assert_eq!(&Bundle::from(door.chain(*generation).await), before, "epoch {generation}");
        }
        self.bundles.insert(self.generation, bundle.clone());
        if let Some(request) = self.in_flight.take() {
            let refused = door.mint(request).await.unwrap_err();
            assert!(refused.contains("REQUEST_VOID"), "what was in flight with the old key is never signed: {refused}");
        }
        bundle
    }

    fn log(&self) -> (Log, Vec<Replayed>) {
        let read = |name: &str| std::fs::read_to_string(self.laboratory.path(name)).unwrap();
        let log = Log::read(&self.laboratory.path("log"), &read("log.vkey"));
        let replayed = replay(&log, AUTHORITY);
        (log, replayed)
    }

    fn finish(self, daemon: Daemon) {
        assert!(daemon.terminate());
        let (log, replayed) = self.log();
        checks::were_committed(&log, &replayed, &self.bundles);
    }
}

/// By manifest: the rows of the table.
pub(crate) async fn by_manifest(cells: &[Cell]) -> Vec<String> {
    let owner = Owner::new();
    let mut killed = Killed::new(&policy(&[&owner]));
    let mut active = GENESIS;
    let mut daemon = killed.laboratory.start_with(&ALONE);
    let first = killed.next(&owner, active, "first");
    active = transition_of(&killed.door(&daemon).await.rotate(&first).await.unwrap());
    killed.generation = 1;
    killed.went_on(&daemon).await;
    let mut filled = Vec::new();
    for cell in cells {
        let next = killed.next(&owner, active, &format!("cell-{}", killed.generation));
        let caught = killed.while_rotating(daemon, cell, &next).await;
        daemon = killed.restart();
        killed.generation += 1;
        let bundle = killed.went_on(&daemon).await;
        let response = killed.door(&daemon).await.rotate(&next).await.unwrap();
        assert!(response.replayed, "{cell:?}: the start alone was enough");
        assert_eq!(Bundle::from(&response), bundle, "{cell:?}");
        active = transition_of(&response);
        filled.push(caught);
    }
    killed.finish(daemon);
    filled
}

impl Killed {
    fn next(&self, owner: &Owner, active: [u8; 32], what: &str) -> RotateIntermediateRequest {
        let manifest = manifest(what, &[owner]);
        let statement = RotationStatement {
            root: checks::root_key(&self.database()),
            transition: transition(&sha256(&manifest), &active),
            lifetime_seconds: 0,
            revoke_previous: false,
        };
        request_of(&statement, owner, active, &manifest)
    }

    /// Has the daemon killed while it does this.
    async fn while_rotating(&mut self, daemon: Daemon, cell: &Cell, next: &RotateIntermediateRequest) -> String {
        let mut door = self.door(&daemon).await;
        self.inject(&cell.injected);
        if cell.step == NOT_DRAINED {
            self.while_draining(daemon, async { door.rotate(next).await.map(drop) }).await;
        } else {
            let answer = door.rotate(next).await;
            assert!(answer.is_err(), "{cell:?}: {answer:?}");
            self.await_end(daemon, &cell.injected);
        }
        let caught = checks::caught(&self.database(), &self.token, self.generation);
        assert_eq!(caught, cell.caught, "{cell:?}");
        caught
    }

    /// Has the daemon killed while a rotation waits for a signature of the old key.
    async fn while_draining(&mut self, daemon: Daemon, rotation: impl Future<Output = Result<(), String>>) {
        let (mut minter, mut watcher) = (self.door(&daemon).await, self.door(&daemon).await);
        let request = Asked::sports_api().request();
        self.in_flight = Some(request.clone());
        let minting = tokio::spawn(async move { minter.mint(request).await });
        self.device.await_hanging(1 + self.device.hanging(), AMPLE);
        let killing = async {
            loop {
                let newest = watcher.epochs().await.remove(0);
                if newest.epoch.as_ref().is_some_and(|epoch| epoch.generation == self.generation + 1)
                    && newest.state() == EpochState::Active
                {
                    break daemon.kill();
                }
            }
        };
        let (rotated, ()) = tokio::join!(rotation, killing);
        assert!(rotated.is_err() && minting.await.unwrap().is_err(), "nobody had an answer");
    }
}

/// By age: prepared in one call and activated in another.
pub(crate) async fn by_age(policy: &str, cells: &[Cell]) {
    let mut killed = Killed::new(policy);
    killed.generation = 1;
    let mut daemon = killed.laboratory.start_with(&ALONE);
    killed.went_on(&daemon).await;
    for cell in cells {
        let caught = killed.while_stepping(daemon, cell).await;
        assert_eq!(caught, cell.caught, "{cell:?}");
        daemon = killed.restart();
        let next = killed.generation + 1;
        let state = killed.door(&daemon).await.epochs().await.iter().map(EpochStatus::state).next().unwrap();
        if caught.starts_with("active") {
            assert_eq!(state, EpochState::Active, "{cell:?}");
        } else {
            assert_eq!(state, EpochState::Prepared, "{cell:?}: the start alone prepares it, and no more");
            let mut operator = connect_operator(&killed.laboratory, &daemon).await;
            let prepare = PrepareEpochRequest { authority: AUTHORITY.to_owned(), lifetime_seconds: 0 };
            let prepared = operator.prepare_epoch(prepare).await.unwrap().into_inner();
            assert_eq!(prepared.epoch.unwrap().epoch.unwrap().generation, next);
            let before = killed.door(&daemon).await.chain(next).await;
            let activated = operator.activate_epoch(activation(next)).await.unwrap().into_inner();
            assert_eq!((activated.intermediate, activated.mesh_ca), (before.intermediate, before.mesh_ca));
        }
        killed.generation = next;
        killed.went_on(&daemon).await;
    }
    killed.finish(daemon);
}

fn activation(generation: u64) -> ActivateEpochRequest {
    ActivateEpochRequest { authority: AUTHORITY.to_owned(), generation, revoke_previous: false }
}

impl Killed {
    /// Has the daemon killed while it prepares the next epoch, or activates it.
    async fn while_stepping(&mut self, daemon: Daemon, cell: &Cell) -> String {
        let mut operator = connect_operator(&self.laboratory, &daemon).await;
        let prepare = PrepareEpochRequest { authority: AUTHORITY.to_owned(), lifetime_seconds: 0 };
        let activation = activation(self.generation + 1);
        if cell.step < crate::cells::PREPARED {
            self.inject(&cell.injected);
            assert!(operator.prepare_epoch(prepare).await.is_err(), "{cell:?}");
            self.await_end(daemon, &cell.injected);
        } else {
            operator.prepare_epoch(prepare).await.unwrap();
            self.inject(&cell.injected);
            let activating = async { operator.activate_epoch(activation).await.map(drop).map_err(|it| it.to_string()) };
            if cell.step == NOT_DRAINED {
                self.while_draining(daemon, activating).await;
            } else {
                assert!(activating.await.is_err(), "{cell:?}");
                self.await_end(daemon, &cell.injected);
            }
        }
        checks::caught(&self.database(), &self.token, self.generation)
    }
}

/// While the root is made: `hallmarkd init` is killed, and the next one goes on.
pub(crate) async fn while_made(policy: &str, cells: &[Cell]) {
    for cell in cells {
        let mut killed = Killed::unmade(policy);
        killed.inject(&cell.injected);
        let died = killed.laboratory.init().output().unwrap();
        assert!(!died.status.success(), "{cell:?}");
        assert_eq!(checks::caught_root(&killed.database(), &killed.token), cell.caught, "{cell:?}");
        killed.device.mend();
        succeed(&mut killed.laboratory.init());
        let daemon = killed.laboratory.start_with(&ALONE);
        killed.generation = 1;
        killed.went_on(&daemon).await;
        killed.finish(daemon);
    }
}
