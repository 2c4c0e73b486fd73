//! Refusals: every reason reaches whoever asked.

use crate::support::{World, signer::FakeSigner};
use hallmark_proto::signer::Refusal;
use insta::assert_snapshot;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::pb::{ErrorInfo, RetryInfo};

const MINT: &str = "mint --profile athenz-service --csr service.csr --request-id r-1";

fn any(name: &str, message: &impl Message) -> prost_types::Any {
    prost_types::Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

fn reason(code: &str, field: &str, sentence: &str, allowed: &str) -> prost_types::Any {
    let metadata = [("field", field), ("sentence", sentence), ("allowed", allowed)];
    let metadata = metadata.into_iter().filter(|(_, text)| !text.is_empty());
    any(
        "google.rpc.ErrorInfo",
        &ErrorInfo {
            reason: code.to_owned(),
            domain: "hallmark".to_owned(),
            metadata: metadata.map(|(key, text)| (key.to_owned(), text.to_owned())).collect(),
        },
    )
}

fn status(code: Code, message: &str, details: Vec<prost_types::Any>) -> Status {
    let rich = tonic_types::pb::Status { code: code.into(), message: message.to_owned(), details };
    Status::with_details(code, message, rich.encode_to_vec().into())
}

fn refusal() -> Status {
    let details = vec![
        any("hallmark.signer.v1.Refusal", &Refusal { log_index: 17, receipt: "receipt".to_owned() }),
        reason(
            "NAME_OUTSIDE_FORMAT",
            "csr",
            "the dNSName `evil.example\u{1b}[2J` fits no format of the profile",
            "{service}.{domain:dashes}.lab.athenz.cloud",
        ),
        reason("LIFETIME_TOO_LONG", "lifetime_seconds", "60 days were wished for", "at most 30d"),
        reason("SUBJECT_NOT_ALLOWED", "csr", "the subject has an organization", ""),
    ];
    status(Code::PermissionDenied, "three things are wrong [log index 17]", details)
}

#[test]
fn a_refusal_is_said_with_all_its_reasons_and_its_place_in_the_log() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    signer.answer(Some(Err(refusal())));
    let run = world.run(signer.command(&format!("{MINT} --out leaf.pem")));
    assert_snapshot!(run.told());
    assert!(!world.path("leaf.pem").exists());
}

#[test]
fn a_refusal_in_json_has_the_same_reasons() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    signer.answer(Some(Err(refusal())));
    let run = world.run(signer.command(&format!("{MINT} --json")));
    assert_eq!(run.code, 1);
    assert_snapshot!(serde_json::to_string_pretty(&run.json()).unwrap());
}

#[test]
fn a_signer_that_is_busy_says_when_to_come_back() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    let delay = prost_types::Duration { seconds: 1, nanos: 0 };
    let details = vec![
        any("google.rpc.RetryInfo", &RetryInfo { retry_delay: Some(delay) }),
        reason("QUEUE_FULL", "", "64 requests are waiting for the device", ""),
    ];
    signer.answer(Some(Err(status(Code::Unavailable, "the queue is full", details))));
    assert_snapshot!(world.run(signer.command(MINT)).told());
}

#[test]
fn a_status_without_details_is_said_by_its_message() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    for (code, exit) in [
        (Code::InvalidArgument, 1),
        (Code::PermissionDenied, 1),
        (Code::AlreadyExists, 1),
        (Code::FailedPrecondition, 1),
        (Code::Unimplemented, 1),
        (Code::ResourceExhausted, 1),
        (Code::DeadlineExceeded, 3),
        (Code::Unavailable, 3),
        (Code::Internal, 3),
    ] {
        signer.answer(Some(Err(Status::new(code, "so it is"))));
        let run = world.run(signer.command(MINT));
        assert_eq!(run.code, exit, "{code:?}: {}", run.stderr);
        assert!(run.stderr.contains(", so it is\n") && run.stderr.contains("\nhint: "), "{}", run.stderr);
    }
}
