//! What the core's answers teach, and what they do not: who is refused by that.

use super::*;

/// What the core answers without a key: it takes it no time to speak of.
const SOON: Duration = Duration::from_millis(1);

/// Deadlines of a caller who has time.
const VERY_LONG: Duration = Duration::from_secs(600);

/// Calls that a caller keeps under way who wants more than there is.
const MANY: u32 = 100;

impl Stage {
    /// The core answers the next call, by a signature if that is its name, and soon without one if not. Who had another name asks again.
    async fn answer_where_only_this_is_signed(&mut self, signed: u32) {
        let is_signed = self.core.front().is_some_and(|(name, _)| *name == signed);
        if is_signed {
            self.answer().await;
        } else {
            self.answer_without_a_signature(SOON).await;
            self.offer(0, Other, VERY_LONG, 0).await;
        }
    }

    fn rate(&self) -> Option<f64> {
        self.admission.lock().pace.rate
    }
}

#[tokio::test(start_paused = true)]
async fn mints_that_are_refused_say_nothing_of_the_device_and_have_nobody_else_refused() {
    let mut stage = Stage::new();
    stage.admission.signs_at_once(4);
    for _ in 0..MANY {
        stage.offer(0, Other, VERY_LONG, 0).await;
    }
    for second in 1..=40 {
        let began = Instant::now();
        stage.offer(1, Other, Duration::from_secs(5), second).await;
        while !stage.answered.contains(&second) {
            stage.answer_where_only_this_is_signed(second).await;
            assert!(stage.refused.iter().all(|(name, _)| *name == 0), "{second}: {:?}", stage.rate());
        }
        assert!(began.elapsed() < Duration::from_millis(200), "{second}: {:?}", began.elapsed());
        advance(began + Duration::from_secs(1) - Instant::now()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_no_key_signed_do_not_say_that_the_device_is_fast() {
    let mut stage = Stage::new();
    stage.admission.signs_at_once(4);
    stage.teach(80).await;
    stage.answer_all().await;
    let before = stage.rate();
    stage.offer_many(0, 40).await;
    for _ in 0..2_000 {
        stage.answer_without_a_signature(Duration::from_micros(250)).await;
        stage.offer_many(0, 1).await;
    }
    assert_eq!(stage.rate(), before);
    while !stage.core.is_empty() {
        stage.answer_without_a_signature(SOON).await;
    }
    stage.answered.clear();
    // The same caller now asks for new certificates.
    stage.offer_many(0, 200).await;
    stage.offer(1, Other, LONG, 1).await;
    stage.answer_all().await;
    assert!(stage.before(1, 0) <= 12, "{:?}", stage.answered);
}

#[tokio::test(start_paused = true)]
async fn a_rate_that_was_learnt_too_low_is_learnt_anew_from_few_also_while_another_one_floods() {
    let mut stage = Stage::new();
    stage.admission.signs_at_once(4);
    stage.teach(80).await;
    stage.answer_all().await;
    stage.admission.lock().pace.rate = Some(0.1);
    for _ in 0..MANY {
        stage.offer(0, Other, VERY_LONG, 0).await;
    }
    stage.refused.clear();
    for name in 1..=80 {
        stage.offer(1, Other, Duration::from_secs(5), name).await;
        while !stage.answered.contains(&name) {
            stage.answer_where_only_this_is_signed(name).await;
            assert!(stage.refused.iter().all(|(name, _)| *name == 0), "{name}: {:?}", stage.rate());
        }
    }
    assert!(stage.rate().is_some_and(|rate| rate > 50.0), "{:?}", stage.rate());
}

#[tokio::test(start_paused = true)]
async fn a_device_that_becomes_slower_is_noticed_behind_mints_that_are_refused() {
    let mut stage = Stage::new();
    stage.admission.signs_at_once(4);
    stage.teach(80).await;
    stage.answer_all().await;
    for _ in 0..MANY {
        stage.offer(0, Other, VERY_LONG, 0).await;
        stage.offer(1, Other, VERY_LONG, 1).await;
    }
    // 10 a second; and nobody has to wait for the device who does not need it.
    for _ in 0..100 {
        while let Some(at) = stage.core.iter().position(|(name, _)| *name == 0) {
            drop(stage.core.remove(at));
            stage.settle().await;
        }
        stage.offer(0, Other, VERY_LONG, 0).await;
        stage.answer_after(Duration::from_millis(100)).await;
        stage.offer(1, Other, VERY_LONG, 1).await;
    }
    let rate = stage.rate();
    assert!(rate.is_some_and(|rate| (9.0..20.0).contains(&rate)), "{rate:?}");
}

#[tokio::test(start_paused = true)]
async fn callers_share_out_the_few_that_are_always_taken() {
    let mut stage = Stage::new();
    stage.teach(80).await;
    stage.answer_all().await;
    stage.admission.lock().pace.rate = Some(0.1);
    stage.offer_many(0, 200).await;
    let under_way = |stage: &Stage, caller| stage.admission.lock().of(CallerId::of_name(&[caller]));
    assert_eq!(under_way(&stage, 0), ALWAYS_TAKEN);
    for _ in 0..200 {
        stage.offer(1, Other, LONG, 1).await;
    }
    assert_eq!([under_way(&stage, 0), under_way(&stage, 1)], [32, 32]);
    for _ in 0..200 {
        stage.offer(2, Other, LONG, 2).await;
        stage.offer_many(0, 1).await;
    }
    assert_eq!(stage.under_way(), ALWAYS_TAKEN);
    assert!((0..3).all(|caller| (21..=22).contains(&under_way(&stage, caller))));
    for caller in 3..=200 {
        stage.offer(caller, Other, LONG, caller.into()).await;
    }
    assert!(stage.under_way() <= 80, "{}", stage.under_way());
    assert!(stage.refused.iter().any(|(name, _)| *name == 200), "as many callers as that are too much themselves");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_of_one_kind_hears_it_at_once() {
    let mut stage = Stage::new();
    stage.teach(80).await;
    for name in 1..1_000 {
        let refused = stage.refused.len();
        stage.offer(0, Urgency::Refresh, LONG, name).await;
        assert!(stage.refused[refused..].iter().all(|(refused, _)| *refused == name || *refused == 0));
        if name % 3 == 0 {
            stage.answer().await;
        }
    }
    assert!(stage.refused.len() > 500);
}

#[tokio::test(start_paused = true)]
async fn what_has_waited_is_refused_for_another_caller_s_call_or_for_a_more_urgent_one_of_its_own() {
    for (caller, urgency) in [(1, Other), (0, Urgency::Registration)] {
        let mut stage = Stage::new();
        stage.teach(80).await;
        stage.offer_many(0, 19).await;
        stage.offer(0, Other, LONG, 7).await;
        assert_eq!((stage.under_way(), stage.refused.len()), (100, 0));
        advance(ANSWER * 20).await;
        stage.offer(0, Other, LONG, 8).await;
        assert_eq!(stage.refused, [(8, NotAdmitted::TooMuch)], "one of its own kind does not push it out");
        stage.offer(caller, urgency, LONG, 9).await;
        assert_eq!(stage.refused[1..], [(7, NotAdmitted::TooMuch)]);
    }
}

/// A device that makes ten a second where it made a hundred, and callers with a second each: only one in a hundred milliseconds is signed, and hardly any whose time is not
/// over by then.
#[tokio::test(start_paused = true)]
async fn a_device_that_becomes_slower_is_noticed_where_deadlines_are_short() {
    const SECOND: Duration = Duration::from_secs(1);
    let mut stage = Stage::new();
    stage.admission.signs_at_once(1);
    stage.teach(80).await;
    stage.answer_all().await;
    let before = stage.rate().unwrap();
    stage.answered.clear();
    for _ in 0..100 {
        for _ in 0..10 {
            stage.offer(1, Other, SECOND, 1).await;
        }
        stage.answer_after(Duration::from_millis(100)).await;
        // What has been with the core for longer than it had time is late.
        while stage.core.front().is_some_and(|(_, pass)| pass.has_stayed() >= SECOND) {
            stage.be_late_for_the_key().await;
        }
    }
    let rate = stage.rate().unwrap();
    assert!(before > 50.0 && rate < 20.0, "{before} and then {rate}");
    assert!(stage.refused.len() > 500, "most are refused at once: {}", stage.refused.len());
}

/// One caller's calls are all late, by deadlines that it chooses: shorter than a span; or too short for a device that takes 120 ms for a call alone.
#[tokio::test(start_paused = true)]
async fn calls_with_too_little_time_do_not_say_that_the_device_is_slow() {
    for (alone, deadline) in [(20, 60), (120, 130), (120, 230)] {
        let mut stage = Stage::new();
        stage.admission.signs_at_once(16);
        stage.teach(80).await;
        stage.answer_all().await;
        for _ in 0..40 {
            stage.offer(0, Other, LONG, 0).await;
            stage.answer_after(Duration::from_millis(alone)).await;
        }
        let before = stage.rate();
        assert!(before.is_some());
        for _ in 0..50 {
            for _ in 0..16 {
                stage.offer(1, Other, Duration::from_millis(deadline), 1).await;
            }
            advance(Duration::from_millis(deadline)).await;
            for _ in 0..16 {
                stage.be_late_for_the_key().await;
            }
        }
        assert_eq!(stage.rate(), before, "{alone} ms alone, {deadline} ms of time");
    }
}
