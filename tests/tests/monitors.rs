//! What monitoring reads moves with what happens: minted, refused, failed by the device, waited for.

use std::time::Duration;

use hallmark_faulty::{Effect, Function, When};
use hallmark_tests::{
    AUTHORITY, Where, World,
    asking::{Asked, caller_certificate},
    example_policy,
    metrics::Metrics,
};

/// Every stage of the order of events, and that there are no others.
const STAGES: [&str; 10] =
    ["decode", "decide", "endorse", "commit", "queue", "sign", "verify", "assemble", "receipt", "answer"];

/// Codes of PKCS #11.
const CKR_DEVICE_ERROR: u64 = 0x30;
const CKR_DEVICE_REMOVED: u64 = 0x32;
const CKR_VENDOR_DEFINED: u64 = 0x8000_0000;

const PROFILE: &str = "athenz-service";

#[tokio::test]
async fn a_certificate_is_counted_once_by_its_profile_and_timed_in_every_stage() {
    let world = World::new(Where::SoftHsm).await;
    let before = Metrics::of(&world).await;
    let request = Asked::sports_api().request();
    world.mint(request.clone()).await.unwrap();
    let after = Metrics::of(&world).await;
    let of = [("authority", AUTHORITY), ("profile", PROFILE)];
    let more = |name: &str, labels: &[(&str, &str)]| after.sum(name, labels) - before.sum(name, labels);
    assert_eq!(more("hallmark_certificates_issued_total", &of), 1.0);
    assert_eq!(after.sum("hallmark_certificates_issued_total", &[]), 1.0, "CA certificates are no leaves");
    for stage in STAGES {
        let of = [("stage", stage)];
        assert_eq!(more("hallmark_stage_duration_seconds_count", &of), 1.0, "{stage}");
        assert!(more("hallmark_stage_duration_seconds_sum", &of) > 0.0, "{stage}");
    }
    assert_eq!(after.values("hallmark_stage_duration_seconds", "stage"), STAGES.into());
    let minting = [("method", "MintCertificate")];
    assert_eq!(more("hallmark_call_duration_seconds_count", &minting), 1.0);
    assert_eq!(more("hallmark_calls_total", &[("method", "MintCertificate"), ("code", "OK")]), 1.0);
    assert_eq!(more("hallmark_calls_total", &[("method", "Metrics"), ("code", "OK")]), 1.0);
    assert_eq!((more("hallmark_token_signatures_total", &[]), more("hallmark_key_uses_total", &[])), (1.0, 1.0));
    assert_eq!(more("hallmark_token_sign_duration_seconds_count", &[]), 1.0);
    let [device, sign] = ["hallmark_token_sign_duration_seconds_sum", "hallmark_stage_duration_seconds_sum"];
    assert!((more(device, &[]) - more(sign, &[("stage", "sign")])).abs() < 1e-9, "the same, measured once");
    // Its decision, and its signature that is kept.
    assert!(more("hallmark_ledger_batch_operations_sum", &[]) >= 1.0);
    assert!(more("hallmark_ledger_commit_duration_seconds_sum", &[]) > 0.0);
    assert!(more("hallmark_log_entries", &[]) >= 1.0);

    // The same request again is the same certificate, and none more.
    world.mint(request).await.unwrap();
    let again = Metrics::of(&world).await;
    assert_eq!(again.sum("hallmark_certificates_issued_total", &of), 1.0);
    assert_eq!(again.sum("hallmark_certificates_repeated_total", &of), 1.0);
    assert_eq!(again.sum("hallmark_token_signatures_total", &[]), after.sum("hallmark_token_signatures_total", &[]));
}

#[tokio::test]
async fn buckets_ascend_and_end_with_the_count() {
    let world = World::new(Where::Software).await;
    world.mint(Asked::sports_api().request()).await.unwrap();
    let metrics = Metrics::of(&world).await;
    let histograms = metrics.described.iter().filter(|(_, about)| about.kind == "histogram").map(|(name, _)| name);
    // No front tells anything here.
    let histograms: Vec<_> = histograms.filter(|name| !name.starts_with("hallmark_front_")).collect();
    assert!(histograms.len() >= 5, "{histograms:?}");
    for name in histograms {
        let (bucket, count) = (format!("{name}_bucket"), format!("{name}_count"));
        for series in metrics.samples.iter().filter(|sample| sample.name == count) {
            let own = metrics.samples.iter().filter(|sample| sample.name == bucket).filter(|sample| {
                sample.labels.iter().all(|(label, value)| label == "le" || series.labels.get(label) == Some(value))
            });
            let counts: Vec<_> = own.map(|sample| sample.value).collect();
            assert!(counts.len() > 5 && counts.is_sorted(), "{name} {counts:?}");
            assert_eq!(counts.last(), Some(&series.value), "{name}");
        }
        let le = metrics.values(&bucket, "le");
        assert!(le.contains("+Inf"), "{name} {le:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_counted_by_its_first_reason_and_no_caller_makes_up_a_label() {
    let world = World::new(Where::Software).await;
    let mut asked = Asked::sports_api();
    asked.common_name = Some("finance.ledger".to_owned());
    let refused = world.mint(asked.request()).await.unwrap_err();
    let mut unknown = Asked::sports_api().request();
    unknown.authority = "made-up-authority".to_owned();
    unknown.profile = "made-up-profile".to_owned();
    world.mint(unknown).await.unwrap_err();
    let stranger = caller_certificate("spiffe://hallmark.lab/stranger");
    let strange = world.mint_as(&stranger, Asked::sports_api().request()).await.unwrap_err();
    world.unary("MadeUpMethod", world.caller(), Vec::new(), 1_000_000_000).await;
    world.operate("MadeUpMethod", world.caller(), Vec::new()).await;
    let metrics = Metrics::of(&world).await;
    let name = "hallmark_requests_refused_total";
    let of = [
        ("method", "MintCertificate"),
        ("authority", AUTHORITY),
        ("profile", PROFILE),
        ("reason", refused.reasons[0].as_str()),
    ];
    assert_eq!(metrics.sum(name, &of), 1.0, "{refused:?}");
    assert_eq!(metrics.sum(name, &[("authority", ""), ("profile", ""), ("reason", "AUTHORITY_UNKNOWN")]), 1.0);
    assert_eq!(metrics.sum(name, &[("authority", ""), ("reason", strange.reasons[0].as_str())]), 2.0, "{strange:?}");
    assert_eq!(metrics.sum(name, &[("method", ""), ("reason", "METHOD_UNKNOWN")]), 1.0);
    assert_eq!(
        metrics.sum("hallmark_calls_total", &[("method", "MintCertificate"), ("code", "PERMISSION_DENIED")]),
        2.0
    );
    assert_eq!(metrics.sum("hallmark_certificates_issued_total", &[]), 0.0);
    let made_up = metrics.samples.iter().flat_map(|sample| sample.labels.values());
    for value in made_up {
        let caller = ["made-up", "MadeUp", "stranger", "coordinator", "finance", "sports", "i-1"];
        assert!(!caller.iter().any(|part| value.contains(part)), "{value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_answers_is_counted_by_its_code_also_where_the_next_try_went_well() {
    let world = World::faulty().await;
    let metrics = Metrics::of(&world).await;
    assert_eq!(metrics.sum("hallmark_token_errors_total", &[]), 0.0);
    for code in [CKR_DEVICE_ERROR, CKR_DEVICE_REMOVED, CKR_VENDOR_DEFINED + 7] {
        world.device().fault(Function::SignInit, When::First(1), Effect::Refuse(code));
        world.mint(Asked::sports_api().request()).await.unwrap();
        world.device().mend();
    }
    let metrics = Metrics::of(&world).await;
    for code in ["CKR_DEVICE_ERROR", "CKR_DEVICE_REMOVED", "CKR_VENDOR_DEFINED"] {
        let of = [("code", code), ("token", world.token().label())];
        assert_eq!(metrics.sum("hallmark_token_errors_total", &of), 1.0, "{code}");
    }
    assert_eq!(metrics.sum("hallmark_token_failures_total", &[]), 0.0, "no job failed");

    world.device().fault(Function::SignInit, When::Always, Effect::Refuse(CKR_DEVICE_ERROR));
    let failed = world.mint(Asked::sports_api().request()).await.unwrap_err();
    world.device().mend();
    let metrics = Metrics::of(&world).await;
    assert_eq!(failed.reasons, ["DEVICE_FAILED"]);
    assert_eq!(
        metrics.sum("hallmark_requests_refused_total", &[("reason", "DEVICE_FAILED"), ("profile", PROFILE)]),
        1.0
    );
    assert!(metrics.sum("hallmark_token_failures_total", &[]) >= 1.0);
    assert!(metrics.sum("hallmark_token_errors_total", &[("code", "CKR_DEVICE_ERROR")]) >= 3.0, "both tries");

    world.device().fault(Function::Sign, When::First(2), Effect::FlipSignature);
    world.mint(Asked::sports_api().request()).await.unwrap_err();
    let metrics = Metrics::of(&world).await;
    assert!(metrics.sum("hallmark_token_errors_total", &[("code", "SIGNATURE_WRONG")]) >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_seen_while_it_waits_and_its_wait_is_timed_afterwards() {
    let world = std::sync::Arc::new(World::faulty().await);
    world.device().fault(Function::Sign, When::First(3), Effect::Hang);
    let mut mints = tokio::task::JoinSet::new();
    let one = |mints: &mut tokio::task::JoinSet<_>| {
        let world = std::sync::Arc::clone(&world);
        mints.spawn(async move { world.mint(Asked::sports_api().request()).await.is_ok() });
    };
    (0..3).for_each(|_| one(&mut mints));
    world.device().await_hanging(3, Duration::from_secs(60));
    (0..4).for_each(|_| one(&mut mints));
    let waiting = until(&world, |metrics| metrics.sum("hallmark_key_queue_jobs", &[]) >= 4.0).await;
    assert_eq!(waiting.sum("hallmark_calls_under_way", &[]), 7.0);
    assert_eq!(waiting.sum("hallmark_token_sessions", &[]), 3.0);
    world.device().release();
    assert_eq!(mints.join_all().await, [true; 7]);
    let after = Metrics::of(&world).await;
    let queue = [("stage", "queue")];
    let more = |name: &str| after.sum(name, &queue) - waiting.sum(name, &queue);
    assert_eq!(more("hallmark_stage_duration_seconds_count"), 7.0);
    assert!(more("hallmark_stage_duration_seconds_sum") > 0.0);
    assert_eq!((after.sum("hallmark_key_queue_jobs", &[]), after.sum("hallmark_calls_under_way", &[])), (0.0, 0.0));
    // Signatures are kept after their answers.
    while Metrics::of(&world).await.sum("hallmark_ledger_queue_operations", &[]) > 0.0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_is_left_of_certificates_and_crls_goes_down_with_the_clock() {
    let crl = "[authority.athenz]\ncrl = { lifetime = \"7d\", refresh = \"1d\" }\n\n[authority.athenz.root]";
    let policy = example_policy().replacen("[authority.athenz.root]", crl, 1);
    let world = World::with_policy(Where::Software, &policy).await;
    world.core().refresh_crls().await;
    let before = Metrics::of(&world).await;
    world.clocks().pass(3_600);
    let after = Metrics::of(&world).await;
    for certificate in ["root", "intermediate", "mesh-ca"] {
        let of = [("authority", AUTHORITY), ("certificate", certificate)];
        let left = |metrics: &Metrics| metrics.sum("hallmark_certificate_remaining_seconds", &of);
        assert!(left(&before) > 0.0, "{certificate}");
        assert_eq!(left(&before) - left(&after), 3_600.0, "{certificate}");
    }
    let [before, after] =
        [&before, &after].map(|metrics| metrics.sum("hallmark_crl_remaining_seconds", &[("ca", "epoch-1")]));
    assert!(before > 0.0);
    assert_eq!(before - after, 3_600.0);
    world.prepare_epoch(0).await.unwrap();
    let prepared = Metrics::of(&world).await;
    let next = [("certificate", "next-intermediate")];
    assert!(prepared.sum("hallmark_certificate_remaining_seconds", &next) > 0.0);
    assert_eq!(prepared.sum("hallmark_epoch_generation", &[]), 1.0);
    world.activate_epoch(2, false).await.unwrap();
    assert_eq!(Metrics::of(&world).await.sum("hallmark_epoch_generation", &[]), 2.0);
}

/// The metrics, once they are so; within a minute.
async fn until(world: &World, are_so: impl Fn(&Metrics) -> bool) -> Metrics {
    for _ in 0..6_000 {
        let metrics = Metrics::of(world).await;
        if are_so(&metrics) {
            return metrics;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("within a minute it did not become so");
}

#[tokio::test]
async fn the_program_the_log_and_the_disk_are_told() {
    let world = World::new(Where::Software).await;
    let metrics = Metrics::of(&world).await;
    assert_eq!(metrics.sum("hallmark_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert_eq!(metrics.sum("hallmark_start_time_seconds", &[]), world.clocks().now() as f64);
    assert!(metrics.sum("hallmark_ledger_free_bytes", &[]) > 1_000_000.0);
    let published = until(&world, |metrics| {
        metrics.sum("hallmark_log_published_entries", &[]) == metrics.sum("hallmark_log_entries", &[])
    })
    .await;
    assert!(published.sum("hallmark_log_entries", &[]) > 0.0);
    assert!(published.sum("hallmark_log_publication_age_seconds", &[]) < 60.0);
    for (name, about) in &published.described {
        let is_named_by_its_unit = about.unit.is_empty() || name.ends_with(&format!("_{}", about.unit));
        assert!(is_named_by_its_unit && !about.help.is_empty() && !name.ends_with("_total"), "{name}");
    }
}
