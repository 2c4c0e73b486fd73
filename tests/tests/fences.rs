//! The fence (invariant 6) under stress: eight mint without rest while manifests are set, and no retired key signs or is heard of
//! any more. `make test-rotation` does it for a minute.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use hallmark_tests::{
    AUTHORITY, World,
    log::Log,
    mesh::{GENESIS, Owner, manifest, policy, rotate, transition_of},
    minters::{Call, Came, Minters},
    replay::{Replayed, replay},
};

/// For how many seconds manifests are set; [`SECONDS`] without it.
const SECONDS_VARIABLE: &str = "HALLMARK_ROTATION_SECONDS";
const SECONDS: u64 = 4;

/// From so many seconds on, the pause is held to its target.
const SECONDS_LONG: u64 = 30;

const MINTERS: usize = 8;

/// How often a manifest is set, or as often as the last one is done.
const ROTATE_EVERY: Duration = Duration::from_millis(200);

/// How much later than it was given a minter's task may see its answer, where several threads run the tasks of a machine that others use,
/// too. Where one thread runs them, they see their answers in the order in which these were given.
const SEEN_LATE_MAX: Duration = Duration::from_secs(2);

/// How long the slow device takes for each signature, one at a time.
const SLOW: Duration = Duration::from_millis(50);

/// The target for the time in which nothing can be decided, and a bound for machines that do other things meanwhile.
const PAUSE_P99_TARGET: Duration = Duration::from_millis(50);
const PAUSE_P99_LENIENT: Duration = Duration::from_millis(500);

/// A rotation that was made.
struct Rotation {
    called: Instant,
    returned: Instant,
    generation: u64,
    transition: [u8; 32],
    /// Handle of its key in the device.
    key: u64,
    pause: Duration,
}

/// What came of minting beside rotations.
struct Run {
    rotations: Vec<Rotation>,
    rotated_for: Duration,
    /// Until then, nobody rotated.
    quiet_until: Instant,
    /// Of each minter, in order.
    calls: Vec<Vec<Call>>,
    log: Log,
    epochs: Vec<Replayed>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_key_signs_nothing_and_nothing_of_it_is_released_while_eight_mint_and_manifests_are_set() {
    let seconds = std::env::var(SECONDS_VARIABLE).map_or(SECONDS, |text| text.parse().expect("seconds"));
    let owner = Owner::new();
    let world = World::faulty_with_policy(&policy(&[&owner])).await;
    let run = Run::new(world, owner, Duration::from_secs(seconds)).await;
    let seen_late = run.check(SEEN_LATE_MAX);
    run.tell(seen_late);
    let bound = if seconds >= SECONDS_LONG { PAUSE_P99_TARGET } else { PAUSE_P99_LENIENT };
    let pause = percentile(run.rotations.iter().skip(1).map(|rotation| rotation.pause), 99);
    assert!(pause <= bound, "nothing could be decided for {pause:?} (p99), over {bound:?}");
    // One after another where one takes longer than the time between two.
    let set = u32::try_from(run.rotations.len()).unwrap();
    assert!(
        seconds < SECONDS_LONG || set * ROTATE_EVERY * 3 >= run.rotated_for,
        "{set} manifests in {:?}",
        run.rotated_for
    );
}

#[tokio::test]
async fn nothing_begins_and_nothing_is_released_after_a_rotation_where_all_minters_wait_for_the_old_key() {
    let owner = Owner::new();
    let world = World::faulty_with_policy(&policy(&[&owner])).await;
    world.device().pace(SLOW, 1);
    let run = Run::new(world, owner, Duration::from_secs(SECONDS)).await;
    run.check(Duration::ZERO);
}

impl Run {
    async fn new(world: World, owner: Owner, rotate_for: Duration) -> Self {
        let mut world = Arc::new(world);
        let mut keys = Keys::new(&world);
        let mut rotations = vec![set(&world, &owner, &mut keys, GENESIS).await];
        let mut minters = Minters::start(&world, MINTERS, rotations[0].transition);
        tokio::time::sleep((rotate_for / 5).max(Duration::from_secs(1))).await;
        let quiet_until = Instant::now();
        // A task among the minters' tasks, so that it sees its answers in order with theirs.
        let rotating = tokio::spawn({
            let world = Arc::clone(&world);
            async move {
                let mut ticks = tokio::time::interval(ROTATE_EVERY);
                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                while quiet_until.elapsed() < rotate_for && minters.go_on() {
                    ticks.tick().await;
                    let active = rotations.last().map_or(GENESIS, |rotation| rotation.transition);
                    rotations.push(set(&world, &owner, &mut keys, active).await);
                }
                (rotations, keys, minters)
            }
        });
        let (rotations, keys, minters) = rotating.await.expect("every manifest is set");
        let rotated_for = quiet_until.elapsed();
        let calls = minters.stop().await;
        let uses = keys.finish(&world);
        let log = Arc::get_mut(&mut world).expect("the minters have ended").log_after_stop().await;
        let epochs = replay(&log, AUTHORITY);
        assert!(epochs.iter().map(|epoch| epoch.transition).eq(rotations.iter().map(|rotation| rotation.transition)));
        for (rotation, epoch) in rotations.iter().zip(&epochs) {
            assert_eq!(rotation.generation, epoch.generation);
            // The mesh CA certificate, each leaf and each CRL once.
            let decided = 1 + epoch.leaves + epoch.crls;
            assert_eq!(uses[&rotation.key], decided, "uses of the key of epoch {}", epoch.generation);
        }
        Self { rotations, rotated_for, quiet_until, calls, log, epochs }
    }

    /// Looks at every answer. Gives how long after the end of its epoch one was seen at the latest.
    fn check(&self, seen_late_max: Duration) -> Duration {
        assert!(self.calls.iter().all(|calls| !calls.is_empty()));
        let mut seen_late = Duration::ZERO;
        for call in self.calls.iter().flatten() {
            match &call.came {
                Came::Certificate(_) => seen_late = seen_late.max(self.check_certificate(call)),
                Came::Stale { active } => self.check_stale(call, *active),
            }
        }
        assert!(seen_late <= seen_late_max, "a certificate was released {seen_late:?} after its epoch had ended");
        assert!(self.rotations.len() > 2, "several manifests were set");
        assert!(
            self.stale() >= self.rotations.len(),
            "those who named a transition met the fence {} times",
            self.stale()
        );
        seen_late
    }

    fn stale(&self) -> usize {
        self.calls.iter().flatten().filter(|call| matches!(call.came, Came::Stale { .. })).count()
    }

    /// A certificate is of an epoch that was active at some moment between call and answer, and of the transition that was named.
    /// Gives how long after the end of its epoch the answer was seen.
    fn check_certificate(&self, call: &Call) -> Duration {
        let Came::Certificate(minted) = &call.came else { return Duration::ZERO };
        self.log.proves_entry(minted.log_index, &minted.receipt, &minted.log_entry);
        assert!(call.named.is_none_or(|named| named == minted.transition), "a certificate under another transition");
        let at = self.rotations.iter().position(|rotation| rotation.generation == minted.generation);
        let at = at.expect("an epoch of ours");
        assert_eq!(self.rotations[at].transition, minted.transition);
        assert!(self.rotations[at].called <= call.ended, "a certificate of an epoch that nobody had asked for");
        let Some(next) = self.rotations.get(at + 1) else { return Duration::ZERO };
        let generation = minted.generation;
        assert!(
            call.begun <= next.returned,
            "epoch {generation} was retired before this mint was called, and signed it"
        );
        call.ended.saturating_duration_since(next.returned)
    }

    /// A refusal for another transition than the named one names one that was active between call and answer.
    fn check_stale(&self, call: &Call, active: [u8; 32]) {
        let find =
            |wanted| self.rotations.iter().position(|rotation| rotation.transition == wanted).expect("one of ours");
        let (named, active) = (find(call.named.expect("only who names one is refused")), find(active));
        assert!(named < active, "the refusal calls active what came before");
        assert!(self.rotations[active].called <= call.ended);
        assert!(self.rotations.get(active + 1).is_none_or(|next| call.begun <= next.returned));
    }

    fn tell(&self, seen_late: Duration) {
        let line = |what: &str, times: Vec<Duration>| {
            let [p50, p99, max] = [50, 99, 100].map(|percent| percentile(times.iter().copied(), percent));
            println!("{what}: {} times, p50 {p50:.1?}, p99 {p99:.1?}, max {max:.1?}", times.len());
        };
        let Self { rotations, rotated_for, quiet_until, calls, .. } = self;
        println!("{} manifests in {rotated_for:.1?}, {} stale refusals", rotations.len() - 1, self.stale());
        line("nothing could be decided for", rotations.iter().skip(1).map(|rotation| rotation.pause).collect());
        let took = |rotation: &Rotation| rotation.returned - rotation.called;
        line("a rotation took", rotations.iter().skip(1).map(took).collect());
        let mints = |quiet: bool| -> Vec<Duration> {
            let of = calls.iter().flatten().filter(|call| matches!(call.came, Came::Certificate(_)));
            of.filter(|call| (call.ended < *quiet_until) == quiet).map(|call| call.ended - call.begun).collect()
        };
        line("a mint without rotations took", mints(true));
        line("a mint beside rotations took", mints(false));
        let leaves: u64 = self.epochs.iter().map(|epoch| epoch.leaves).sum();
        println!("{leaves} certificates; one of a retired epoch was seen {seen_late:.1?} after its end at the latest");
    }
}

/// Sets a manifest, and looks at what was signed with which key.
async fn set(world: &World, owner: &Owner, keys: &mut Keys, active: [u8; 32]) -> Rotation {
    let called = Instant::now();
    let response = rotate(world, owner, active, &manifest("stress", &[owner])).await.expect("the manifest is set");
    let returned = Instant::now();
    Rotation {
        called,
        returned,
        generation: response.epoch.as_ref().expect("an epoch").generation,
        transition: transition_of(&response),
        key: keys.rotated(world),
        pause: Duration::from_micros(response.pause_micros),
    }
}

/// How often each key was used, as the device counts C_SignInit by handle. A handle that first appears while a manifest is set is that
/// of its epoch's key; SoftHSM gives none twice.
struct Keys {
    root: u64,
    /// Keys of retired epochs, with their uses when the rotation that retired them returned.
    retired: BTreeMap<u64, u64>,
    active: Option<u64>,
}

impl Keys {
    fn new(world: &World) -> Self {
        let uses = world.signatures_begun();
        assert_eq!(uses.len(), 1, "before the first manifest, the root's key alone was used");
        let root = uses.into_keys().next().expect("the root's key");
        Self { root, retired: BTreeMap::new(), active: None }
    }

    /// A rotation returned. Gives its key.
    fn rotated(&mut self, world: &World) -> u64 {
        let uses = world.signatures_begun();
        self.check_retired(&uses);
        if let Some(before) = self.active {
            self.retired.insert(before, uses[&before]);
        }
        let known = |key: &u64| *key == self.root || self.retired.contains_key(key);
        let new: Vec<u64> = uses.into_keys().filter(|key| !known(key)).collect();
        let [key] = new[..] else { panic!("a rotation makes one key, and {new:?} were used") };
        self.active = Some(key);
        key
    }

    /// The uses of every key, at last.
    fn finish(self, world: &World) -> BTreeMap<u64, u64> {
        let uses = world.signatures_begun();
        self.check_retired(&uses);
        uses
    }

    fn check_retired(&self, uses: &BTreeMap<u64, u64>) {
        for (key, finally) in &self.retired {
            let more = uses[key] - finally;
            assert_eq!(more, 0, "key {key} began {more} signatures after the rotation that retired it had returned");
        }
    }
}

/// The time that so many per cent of them do not exceed.
fn percentile(times: impl Iterator<Item = Duration>, percent: usize) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    times.get((times.len() * percent / 100).min(last)).copied().unwrap_or_default()
}
