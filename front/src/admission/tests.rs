use std::collections::VecDeque;

use tokio::{sync::mpsc, task::yield_now, time::advance};

use super::{Urgency::Other, pace::BUSY, *};

mod learns;

const LONG: Duration = Duration::from_secs(20);
/// Of a core that answers 200 calls a second.
const ANSWER: Duration = Duration::from_millis(5);

type Said = (u32, Result<Pass, NotAdmitted>);

/// Callers before an admission, and a core behind it that answers one call after the other.
struct Stage {
    admission: Admission,
    tell: mpsc::UnboundedSender<Said>,
    told: mpsc::UnboundedReceiver<Said>,
    core: VecDeque<(u32, Pass)>,
    refused: Vec<(u32, NotAdmitted)>,
    answered: Vec<u32>,
}

impl Stage {
    fn new() -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        Self {
            admission: Admission::default(),
            tell,
            told,
            core: VecDeque::new(),
            refused: Vec::new(),
            answered: Vec::new(),
        }
    }

    /// A call of this caller, with this time left, called `name`.
    async fn offer(&mut self, caller: u8, urgency: Urgency, left: Duration, name: u32) {
        let (admission, tell) = (self.admission.clone(), self.tell.clone());
        tokio::spawn(async move {
            let caller = CallerId::of_name(&[caller]);
            let admitted = admission.admit(caller, Instant::now() + left, || urgency).await;
            drop(tell.send((name, admitted)));
        });
        self.settle().await;
    }

    async fn offer_many(&mut self, caller: u8, number: u32) {
        for _ in 0..number {
            self.offer(caller, Other, LONG, 0).await;
        }
    }

    async fn settle(&mut self) {
        for _ in 0..4 {
            yield_now().await;
        }
        while let Ok((name, said)) = self.told.try_recv() {
            match said {
                Ok(pass) => self.core.push_back((name, pass)),
                Err(why) => self.refused.push((name, why)),
            }
        }
    }

    /// The core answers one call.
    async fn answer(&mut self) {
        self.answer_after(ANSWER).await;
    }

    async fn answer_after(&mut self, time: Duration) {
        advance(time).await;
        if let Some((name, mut pass)) = self.core.pop_front() {
            pass.key_signed();
            drop(pass);
            self.answered.push(name);
        }
        self.settle().await;
    }

    /// The core answers one call, and no key signed for that.
    async fn answer_without_a_signature(&mut self, time: Duration) {
        advance(time).await;
        if let Some((name, pass)) = self.core.pop_front() {
            drop(pass);
            self.answered.push(name);
        }
        self.settle().await;
    }

    /// The time of one call is over while it waits for a key.
    async fn be_late_for_the_key(&mut self) {
        if let Some((_, mut pass)) = self.core.pop_front() {
            pass.late_for_key();
        }
        self.settle().await;
    }

    async fn answer_all(&mut self) {
        while !self.core.is_empty() {
            self.answer().await;
        }
    }

    /// The core answers so long that its rate is known, with so many under way all the time.
    async fn teach(&mut self, under_way: u32) {
        self.offer_many(0, under_way).await;
        for _ in 0..400 {
            self.answer().await;
            self.offer_many(0, 1).await;
        }
        self.answered.clear();
    }

    fn under_way(&self) -> u32 {
        self.admission.lock().under_way()
    }

    fn with_core(&self) -> usize {
        self.core.len()
    }

    /// Where in the answers this one came; those of `others` that came before it.
    fn before(&self, name: u32, others: u32) -> usize {
        let at = self.answered.iter().position(|answered| *answered == name).expect("it was answered");
        self.answered[..at].iter().filter(|answered| **answered == others).count()
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_what_is_served_within_the_longest_wait() {
    let mut stage = Stage::new();
    stage.teach(80).await;
    assert_eq!(stage.refused, []);
    stage.offer_many(0, 1_000).await;
    assert_eq!(stage.under_way(), 100, "half a second at 200 a second");
    assert_eq!(stage.refused.len(), 980);
    assert!(stage.refused.iter().all(|(_, why)| *why == NotAdmitted::TooMuch));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_wait_so_long_is_refused_earlier() {
    let mut stage = Stage::new();
    stage.teach(80).await;
    stage.offer(0, Other, Duration::from_millis(500), 1).await;
    // 80 of 200 a second are 0.405 s with it, and a fifth is for what comes after.
    assert_eq!(stage.refused, [(1, NotAdmitted::TooMuch)]);
    stage.offer(0, Other, Duration::from_millis(510), 2).await;
    assert_eq!(stage.refused.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn few_calls_are_always_taken_and_nothing_is_refused_before_a_rate_is_known() {
    let mut stage = Stage::new();
    stage.offer_many(0, 1_000).await;
    assert_eq!((stage.under_way(), stage.with_core(), stage.refused.len()), (1_000, 64, 0));
    let mut stage = Stage::new();
    stage.teach(80).await;
    stage.answer_all().await;
    stage.admission.lock().pace.rate = Some(0.01);
    stage.offer_many(0, 1_000).await;
    assert_eq!(stage.under_way(), ALWAYS_TAKEN);
}

#[tokio::test(start_paused = true)]
async fn a_rate_that_was_learnt_too_low_refuses_no_burst_and_is_learnt_anew() {
    let mut stage = Stage::new();
    stage.admission.signs_at_once(4);
    stage.teach(80).await;
    stage.answer_all().await;
    stage.admission.lock().pace.rate = Some(0.1);
    for _ in 0..20 {
        stage.offer_many(0, 30).await;
        stage.answer_all().await;
    }
    assert_eq!(stage.refused, []);
    let rate = stage.admission.lock().pace.rate;
    assert!(rate.is_some_and(|rate| rate > 50.0), "{rate:?}");
}

#[tokio::test(start_paused = true)]
async fn no_more_waits_than_there_is_room_for_whatever_the_rate() {
    let mut stage = Stage::new();
    stage.offer_many(0, 3_000).await;
    assert_eq!(stage.admission.lock().queue.len(), WAITING_MAX);
    assert_eq!(stage.refused.len(), 3_000 - WAITING_MAX - stage.with_core());
}

#[tokio::test(start_paused = true)]
async fn an_idle_core_teaches_nothing() {
    let mut stage = Stage::new();
    for _ in 0..100 {
        advance(Duration::from_secs(1)).await;
        stage.offer_many(0, BUSY - 1).await;
        stage.answer_all().await;
    }
    assert_eq!(stage.admission.lock().pace.rate, None);
}

#[tokio::test(start_paused = true)]
async fn a_core_that_becomes_faster_again_is_believed() {
    let mut stage = Stage::new();
    stage.teach(80).await;
    stage.offer_many(0, 1_000).await;
    let before = stage.under_way();
    for _ in 0..1_000 {
        stage.answer_after(Duration::from_millis(1)).await;
        stage.offer_many(0, 2).await;
    }
    assert!(stage.under_way() > before * 4, "{}", stage.under_way());
}

#[tokio::test(start_paused = true)]
async fn the_core_has_what_keeps_it_busy_and_the_rest_waits_here() {
    let mut stage = Stage::new();
    stage.admission.signs_at_once(4);
    stage.teach(80).await;
    assert_eq!(stage.with_core(), 10, "two for each session and two more; what 50 ms are good for is as much");
    assert_eq!(stage.under_way(), 80);
    stage.admission.signs_at_once(16);
    stage.settle().await;
    assert_eq!(stage.with_core(), 34, "more sessions are more room at once");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_floods_does_not_hold_up_another_one() {
    let mut stage = Stage::new();
    stage.admission.signs_at_once(4);
    stage.teach(90).await;
    for _ in 0..20 {
        stage.offer(1, Other, LONG, 1).await;
        stage.offer_many(0, 20).await;
        while !stage.answered.contains(&1) {
            stage.answer().await;
            stage.offer_many(0, 2).await;
        }
        // Those that the core had already, and at most one turn of the other.
        assert!(stage.before(1, 0) <= 12, "{:?}", stage.answered);
        stage.answered.clear();
    }
    assert!(stage.refused.iter().all(|(name, _)| *name == 0), "only the flood is refused");
    assert!(stage.refused.len() > 400);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_has_room_for_a_caller_who_has_little_in_it() {
    let mut stage = Stage::new();
    stage.teach(80).await;
    stage.offer_many(0, 1_000).await;
    let refused = stage.refused.len();
    for name in 1..=5 {
        stage.offer(1, Other, LONG, name).await;
    }
    assert_eq!(stage.refused[refused..], [(0, NotAdmitted::TooMuch); 5], "the heaviest caller's calls gave way");
    assert_eq!(stage.under_way(), 100);
    stage.answer_all().await;
    for name in 1..=5 {
        assert!(stage.answered.contains(&name));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_nearly_expired_overtakes_the_rest_of_its_caller() {
    let mut stage = Stage::new();
    stage.admission.signs_at_once(4);
    stage.teach(90).await;
    stage.offer(0, Urgency::NearlyExpired, LONG, 1).await;
    stage.answer_all().await;
    assert_eq!(stage.before(1, 0), 10, "only what the core had already");
}

#[tokio::test(start_paused = true)]
async fn everything_comes_to_its_turn_behind_an_endless_flood_of_what_is_more_urgent() {
    let mut stage = Stage::new();
    stage.teach(80).await;
    stage.answer_all().await;
    stage.answered.clear();
    for turn in 0..600 {
        for _ in 0..2 {
            stage.offer(0, Urgency::NearlyExpired, LONG, 2).await;
        }
        if turn == 300 {
            stage.offer(0, Other, LONG, 1).await;
        }
        stage.answer().await;
    }
    assert!(stage.refused.len() > 400, "much more is offered than can be answered");
    let passed_over = Other.passed_over_max().unwrap() as usize;
    let served = stage.before(1, 2);
    assert!((300..300 + 16 + passed_over + 2).contains(&served), "{served}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_core_that_hangs_hears_it_at_the_deadline() {
    let mut stage = Stage::new();
    stage.offer_many(0, 64).await;
    stage.offer(1, Other, Duration::from_secs(1), 1).await;
    advance(Duration::from_millis(999)).await;
    stage.settle().await;
    assert_eq!(stage.refused, []);
    advance(Duration::from_millis(2)).await;
    stage.settle().await;
    assert_eq!(stage.refused, [(1, NotAdmitted::Late)]);
    assert_eq!(stage.under_way(), 64, "it left no trace");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_would_come_too_late_after_all_does_not_go_to_the_core() {
    let mut stage = Stage::new();
    stage.teach(80).await;
    stage.offer(0, Urgency::NearlyExpired, Duration::from_millis(510), 1).await;
    stage.offer(1, Other, Duration::from_millis(510), 2).await;
    assert_eq!(stage.refused, []);
    // The core becomes slow while they wait.
    stage.admission.lock().pace.rate = Some(1.0);
    stage.answer_all().await;
    assert_eq!(stage.refused, [(1, NotAdmitted::TooMuch)]);
    assert!(stage.answered.contains(&2), "another caller who has few is taken at any rate");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_takes_its_call_back() {
    let mut stage = Stage::new();
    stage.offer_many(0, 64).await;
    let admission = stage.admission.clone();
    let waiting = tokio::spawn(async move {
        drop(admission.admit(CallerId::of_name(&[1]), Instant::now() + LONG, || Other).await);
    });
    stage.settle().await;
    assert_eq!(stage.under_way(), 65);
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!(stage.under_way(), 64);
    stage.answer_all().await;
    assert_eq!(stage.under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_right_when_its_turn_comes_gives_it_to_the_next() {
    let mut stage = Stage::new();
    stage.offer_many(0, 64).await;
    let waiting = [1, 2].map(|name| {
        let (admission, tell) = (stage.admission.clone(), stage.tell.clone());
        tokio::spawn(async move {
            let admitted = admission.admit(CallerId::of_name(&[name]), Instant::now() + LONG, || Other).await;
            drop(tell.send((u32::from(name), admitted)));
        })
    });
    stage.settle().await;
    // The pass is on its way to the first one, which never hears of it.
    drop(stage.core.pop_front());
    waiting[0].abort();
    stage.settle().await;
    assert_eq!((stage.with_core(), stage.core.back().map(|(name, _)| *name)), (64, Some(2)));
    stage.answer_all().await;
    assert_eq!(stage.under_way(), 0);
}
