//! What spans say, and what they never say.

use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};

use hallmark_proto::{
    operator::{MetricsRequest, PolicyStatusRequest, PrepareEpochRequest},
    signer::{GetChainRequest, MintCertificateRequest, WatchEpochsRequest},
};
use hallmark_tests::{
    AUTHORITY, ORIGIN,
    asking::{Asked, athenz},
    client::{connect, connect_operator},
    daemon::Laboratory,
};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use rcgen::{KeyPair, PublicKeyData as _};
use tonic::{Request, Status};
use tonic_types::{ErrorDetail, StatusExt as _};

use crate::{
    SOCKET,
    receiver::{Receiver, attributes},
    spans, trace,
};

/// The stages of a certificate, in the order of events: those that metrics time.
const STAGES: [&str; 10] =
    ["decode", "decide", "endorse", "commit", "queue", "sign", "verify", "assemble", "receipt", "answer"];

const MINT: &str = "hallmark.signer.v1.Signer/MintCertificate";
const PROFILE: &str = "athenz-service";

/// A caller's header, and the identifiers in it.
const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
const TRACE: [u8; 16] =
    [0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36];
const SPAN: [u8; 8] = [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7];

/// A call with these headers.
fn with_headers<M>(message: M, headers: &[&str]) -> Request<M> {
    let mut request = Request::new(message);
    for header in headers {
        request.metadata_mut().append("traceparent", header.parse().unwrap());
    }
    request
}

fn is_child_of(stage: &Span, call: &Span) -> bool {
    (&stage.parent_span_id, &stage.trace_id) == (&call.span_id, &call.trace_id)
        && call.start_time_unix_nano <= stage.start_time_unix_nano
        && stage.start_time_unix_nano <= stage.end_time_unix_nano
        && stage.end_time_unix_nano <= call.end_time_unix_nano
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_one_trace_with_a_span_for_each_stage() {
    let laboratory = Laboratory::new();
    let receiver = Receiver::at(&laboratory.path(SOCKET));
    trace(&laboratory, &format!("unix:{}", laboratory.text(SOCKET)), "");
    let daemon = laboratory.start();
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let mut client = connect(&laboratory, &daemon).await;
    client.mint_certificate(Asked::sports_api().request()).await.unwrap();
    let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let [call] = &receiver.await_calls(1).await[..] else { panic!() };
    assert_eq!((call.name.as_str(), call.kind()), (MINT, SpanKind::Server));
    assert!(call.parent_span_id.is_empty() && call.status.is_none());
    assert_eq!((call.trace_id.len(), call.span_id.len(), call.flags), (16, 8, 0x101));
    assert!(before <= call.start_time_unix_nano.into() && u128::from(call.end_time_unix_nano) <= after);
    let said = attributes(&call.attributes);
    for (key, value) in [
        ("rpc.system", "grpc"),
        ("rpc.service", "hallmark.signer.v1.Signer"),
        ("rpc.method", "MintCertificate"),
        ("rpc.grpc.status_code", "0"),
        ("hallmark.authority", AUTHORITY),
        ("hallmark.profile", PROFILE),
        ("hallmark.token", "hallmark"),
    ] {
        assert_eq!(said.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(said.len(), 7, "and nothing else: {said:?}");

    let stages = receiver.stages_of(call);
    assert_eq!(stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>(), STAGES, "as in the metrics");
    for stage in &stages {
        assert!(is_child_of(stage, call), "{stage:?}");
        assert!(stage.kind() == SpanKind::Internal && stage.attributes.is_empty() && stage.flags == 0x101);
    }
    assert!(stages.is_sorted_by_key(|stage| stage.start_time_unix_nano));
    for pair in stages.windows(2) {
        assert!(pair[0].end_time_unix_nano <= pair[1].start_time_unix_nano, "one after the other: {pair:?}");
    }
    let ids: BTreeSet<_> = stages.iter().chain([call]).map(|span| span.span_id.clone()).collect();
    assert_eq!(ids.len(), STAGES.len() + 1);
    assert_eq!(receiver.spans().len(), STAGES.len() + 1);
    let resource = receiver.resources().remove(0).resource.unwrap();
    let who = attributes(&resource.attributes);
    assert_eq!(who["service.name"], "hallmark");
    assert_eq!(who["service.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(who["service.instance.id"], "hallmark.lab/signer", "{ORIGIN} is that of other tests");

    // The stages are those that were timed, and no more of them were.
    let timed = crate::metrics(&laboratory, &daemon);
    for stage in &stages {
        let of = [("stage", stage.name.as_str())];
        let took = (stage.end_time_unix_nano - stage.start_time_unix_nano) as f64 / 1e9;
        // CA certificates and CRLs are timed in some of them, too.
        assert!(timed.sum("hallmark_stage_duration_seconds_sum", &of) >= took - 1e-9, "{}", stage.name);
    }
    crate::receiver::until(|| spans(&laboratory, &daemon, "exported") == 11.0).await;
    assert_eq!((spans(&laboratory, &daemon, "dropped"), spans(&laboratory, &daemon, "failed")), (0.0, 0.0));
    assert!(daemon.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_an_error_with_its_reason_s_code() {
    let laboratory = crate::laboratory("");
    let receiver = Receiver::at(&laboratory.path(SOCKET));
    let daemon = laboratory.start_with(crate::SOFTWARE);
    let mut client = connect(&laboratory, &daemon).await;
    let mut asked = Asked::sports_api();
    asked.common_name = Some("finance.ledger".to_owned());
    let refused = client.mint_certificate(asked.request()).await.unwrap_err();
    let unknown = MintCertificateRequest {
        authority: "made-up-authority".to_owned(),
        profile: "made-up-profile".to_owned(),
        ..Asked::sports_api().request()
    };
    client.mint_certificate(unknown).await.unwrap_err();
    client.get_chain(GetChainRequest { authority: "made-up-authority".to_owned(), epoch: None }).await.unwrap_err();
    let calls = receiver.await_calls(3).await;
    let reasons: Vec<_> = calls
        .iter()
        .map(|call| {
            let said = attributes(&call.attributes);
            let status = call.status.clone().unwrap();
            assert_eq!((status.code(), &status.message), (StatusCode::Error, &said["hallmark.reason"]));
            assert_ne!(said["rpc.grpc.status_code"], "0");
            assert!(!said.contains_key("hallmark.token"), "no key was touched");
            (said.get("hallmark.profile").cloned(), status.message)
        })
        .collect();
    let names = |name: &str| Some(name.to_owned());
    assert_eq!(reasons[0], (names(PROFILE), first_reason(&refused)));
    assert_eq!(reasons[1], (None, "AUTHORITY_UNKNOWN".to_owned()));
    assert_eq!(reasons[2], (None, "AUTHORITY_UNKNOWN".to_owned()));
    let refused = receiver.stages_of(&calls[0]);
    assert_eq!(refused.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>(), ["decode", "decide"]);
    let heard = receiver.heard();
    assert!(!contains(&heard, b"made-up"), "what a caller makes up is no attribute");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_s_trace_is_taken_over_and_one_that_is_none_is_ignored() {
    let laboratory = crate::laboratory("");
    let receiver = Receiver::at(&laboratory.path(SOCKET));
    let daemon = laboratory.start_with(crate::SOFTWARE);
    let mut client = connect(&laboratory, &daemon).await;
    let later = HEADER.replacen("00", "cc", 1) + "-what-will-be";
    let taken = [HEADER.to_owned(), HEADER.replace("b7-00", "b7-01"), later];
    for (number, header) in taken.iter().enumerate() {
        client.mint_certificate(with_headers(Asked::sports_api().request(), &[header])).await.unwrap();
        let call = receiver.await_calls(number + 1).await.remove(number);
        assert_eq!((&call.trace_id[..], &call.parent_span_id[..]), (&TRACE[..], &SPAN[..]), "{header}");
        assert_eq!(call.flags, 0x301, "the parent is remote");
        let stages = receiver.stages_of(&call);
        assert_eq!(stages.len(), STAGES.len());
        assert!(stages.iter().all(|stage| is_child_of(stage, &call)));
    }
    let long = format!("{}-{}", HEADER.replacen("00", "01", 1), "a".repeat(300));
    let malformed: [&[&str]; 12] = [
        &[""],
        &["x"],
        &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"],
        &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more"],
        &["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"],
        &["00-00000000000000000000000000000000-00f067aa0ba902b7-00"],
        &["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-00"],
        &["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-00"],
        &["00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-00"],
        &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0"],
        &[&long],
        &[HEADER, HEADER],
    ];
    for headers in malformed {
        client.mint_certificate(with_headers(Asked::sports_api().request(), headers)).await.unwrap();
    }
    let calls = receiver.await_calls(taken.len() + malformed.len()).await.split_off(taken.len());
    let traces: BTreeSet<_> = calls.iter().map(|call| call.trace_id.clone()).collect();
    assert_eq!(traces.len(), malformed.len(), "each has a trace of its own");
    assert!(calls.iter().all(|call| call.parent_span_id.is_empty()) && !traces.contains(&TRACE[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_that_works_has_a_span_and_what_waits_or_is_asked_by_monitoring_has_none() {
    let laboratory = crate::laboratory("");
    let receiver = Receiver::at(&laboratory.path(SOCKET));
    let daemon = laboratory.start_with(crate::SOFTWARE);
    let mut client = connect(&laboratory, &daemon).await;
    let mut operator = connect_operator(&laboratory, &daemon).await;
    let watching = WatchEpochsRequest { authority: AUTHORITY.to_owned(), ..WatchEpochsRequest::default() };
    let mut watched = client.watch_epochs(with_headers(watching, &[HEADER])).await.unwrap().into_inner();
    assert!(watched.message().await.unwrap().is_some());
    operator.metrics(MetricsRequest {}).await.unwrap();
    client.get_chain(GetChainRequest { authority: AUTHORITY.to_owned(), epoch: None }).await.unwrap();
    operator.policy_status(with_headers(PolicyStatusRequest {}, &[HEADER])).await.unwrap();
    let prepare = PrepareEpochRequest { authority: AUTHORITY.to_owned(), lifetime_seconds: 0 };
    operator.prepare_epoch(prepare).await.unwrap();
    let calls = receiver.await_calls(3).await;
    let names: Vec<_> = calls.iter().map(|call| call.name.as_str()).collect();
    let operators = ["PolicyStatus", "PrepareEpoch"].map(|method| format!("hallmark.operator.v1.Operator/{method}"));
    assert_eq!(names, ["hallmark.signer.v1.Signer/GetChain", &operators[0], &operators[1]]);
    assert_eq!(calls[1].trace_id, TRACE);
    for call in [&calls[0], &calls[2]] {
        assert_eq!(attributes(&call.attributes)["hallmark.authority"], AUTHORITY);
    }
    // An epoch's certificates go the same way, each by itself.
    let stages = receiver.stages_of(&calls[2]);
    let of = |name: &str| stages.iter().filter(|stage| stage.name == name).count();
    assert!(of("endorse") >= 2 && ["commit", "sign", "receipt"].iter().all(|name| of(name) == of("endorse")));
    assert!(stages.iter().all(|stage| is_child_of(stage, &calls[2])));
    drop(watched);
    assert!(daemon.terminate());
    assert_eq!(receiver.calls().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_what_is_asked_or_certified_is_in_what_is_sent() {
    let laboratory = crate::laboratory("");
    let receiver = Receiver::at(&laboratory.path(SOCKET));
    let daemon = laboratory.start_with(crate::SOFTWARE);
    let mut client = connect(&laboratory, &daemon).await;
    let key = KeyPair::generate().unwrap();
    let asked = Asked {
        common_name: Some("sports.secretservice".to_owned()),
        dns: vec![
            "secretservice.sports.lab.athenz.cloud".to_owned(),
            "i-4711.instanceid.athenz.lab.athenz.cloud".to_owned(),
        ],
        uris: vec!["spiffe://lab.athenz.cloud/ns/default/sa/sports.secretservice".to_owned()],
        ..Asked::default()
    };
    let mut secrets: Vec<Vec<u8>> = Vec::new();
    for asked in [asked.clone(), Asked { uris: Vec::new(), ..asked }] {
        let csr = asked.csr_with(&key);
        secrets.push(csr.clone());
        let request = athenz(csr);
        secrets.push(request.request_id.clone().into_bytes());
        if let Ok(answer) = client.mint_certificate(request).await {
            let answer = answer.into_inner();
            secrets.extend([answer.serial.to_vec(), hex(&answer.serial).into_bytes(), answer.certificate.to_vec()]);
            secrets.push(answer.receipt.into_bytes());
        }
    }
    assert!(secrets.len() > 7, "one of them was issued");
    receiver.await_calls(2).await;
    secrets.push(key.der_bytes().to_vec());
    let texts =
        ["sports", "secretservice", "i-4711", "instanceid", "spiffe:", "lab.athenz.cloud", "coordinator", "127.0.0.1"];
    secrets.extend(texts.map(|text| text.as_bytes().to_vec()));
    let heard = receiver.heard();
    for there in [MINT, PROFILE, AUTHORITY] {
        assert!(contains(&heard, there.as_bytes()), "the search finds what is there: {there}");
    }
    for secret in secrets {
        assert!(!contains(&heard, &secret), "{}", String::from_utf8_lossy(&secret));
    }
}

/// The first of the reasons that a caller hears.
fn first_reason(status: &Status) -> String {
    let details = status.get_error_details_vec();
    let reason = details.iter().find_map(|detail| match detail {
        ErrorDetail::ErrorInfo(info) => Some(info.reason.clone()),
        _ => None,
    });
    reason.expect("a reason")
}

fn hex(bytes: &[u8]) -> String {
    hallmark_policy::hex(bytes)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
