//! A front that was taken over: it says what it likes at the core's door. It can invent callers, delay and drop; it cannot skip policy or
//! log, operate, or bring the core down.

use std::{fs, path::Path, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use hallmark_proto::{
    frame::{CONTENT_BYTES_MAX, HEADER_BYTES, Header, Kind, USUAL_CALL_BYTES_MAX},
    link::{Call, CoreState, Reply, TurnedAway, Unary, call},
    operator::{ApplyPolicyRequest, PolicyStatusRequest},
    signer::{MintCertificateRequest, MintCertificateResponse, WatchEpochsRequest, WatchEpochsResponse},
};
use hallmark_tests::{
    asking::{Asked, Refused, caller_certificate, decoded},
    client::{channel, connect},
    daemon::{Daemon, Laboratory},
    log::Log,
    tools::tbs,
};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

/// When nobody waits any more, as the core reads it: never.
const NEVER: u64 = u64::MAX / 2;

/// How long others may have to wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// The front, played by the test.
struct Subverted {
    stream: UnixStream,
    number: u64,
}

impl Subverted {
    async fn at(door: &Path) -> Self {
        Self { stream: UnixStream::connect(door).await.expect("the door is open"), number: 0 }
    }

    /// The same, once the core has missed those that went before.
    async fn heard_at(door: &Path) -> Self {
        loop {
            // A queue of connections that is full is no longer so in a moment.
            let Ok(stream) = UnixStream::connect(door).await else { continue };
            let mut front = Self { stream, number: 0 };
            front.send(Kind::AskState, b"").await;
            if front.answer().await.is_some() {
                return front;
            }
        }
    }

    async fn send(&mut self, kind: Kind, content: &[u8]) {
        self.number += 1;
        let header = Header { kind, content_bytes: content.len().try_into().unwrap(), number: self.number };
        // Whoever ends the connection meanwhile has judged already.
        let _ = self.stream.write_all(&header.bytes()).await;
        let _ = self.stream.write_all(content).await;
    }

    async fn answer(&mut self) -> Option<(Header, Vec<u8>)> {
        let mut header = [0; HEADER_BYTES];
        self.stream.read_exact(&mut header).await.ok()?;
        let header = Header::read(header).unwrap();
        let mut content = vec![0; header.content_bytes as usize];
        self.stream.read_exact(&mut content).await.ok()?;
        Some((header, content))
    }

    /// Calls a method as whoever this certificate is of.
    async fn call(&mut self, caller: Bytes, method: &str, message: &impl Message) -> Reply {
        let unary = Unary {
            method: method.to_owned(),
            caller_certificate: caller,
            deadline_boottime_nanos: NEVER,
            body: message.encode_to_vec().into(),
            trace_parent: Bytes::new(),
        };
        self.send(Kind::Call, &Call { kind: Some(call::Kind::Unary(unary)) }.encode_to_vec()).await;
        let (header, content) = self.answer().await.expect("an answer");
        assert_eq!((header.kind, header.number), (Kind::Reply, self.number));
        Reply::decode(content.as_slice()).unwrap()
    }

    async fn mint(
        &mut self,
        caller: Bytes,
        request: MintCertificateRequest,
    ) -> Result<MintCertificateResponse, Refused> {
        decoded(self.call(caller, "MintCertificate", &request).await)
    }
}

fn certificate(laboratory: &Laboratory, name: &str) -> Bytes {
    let pem = fs::read_to_string(laboratory.path(name)).unwrap();
    pem_rfc7468::decode_vec(pem.as_bytes()).unwrap().1.into()
}

/// The real front's callers notice nothing, and the core is the same as before.
async fn goes_on(laboratory: &Laboratory, daemon: &Daemon, core: u32) {
    let mut client = connect(laboratory, daemon).await;
    client.mint_certificate(Asked::sports_api().request()).await.unwrap();
    assert_eq!(daemon.core(), core);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invented_caller_gets_what_policy_gives_that_caller_and_it_stands_in_the_log() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let mut front = Subverted::at(&laboratory.door("callers")).await;
    let coordinator = certificate(&laboratory, "coordinator.pem");
    let request = Asked::sports_api().request();
    // Nobody proved to have the coordinator's key: this is what a stolen front can do.
    let minted = front.mint(coordinator.clone(), request.clone()).await.unwrap();
    // A replay gives the same certificate, and no other.
    let again = front.mint(coordinator.clone(), request.clone()).await.unwrap();
    assert_eq!((tbs(&minted.certificate), again.replayed), (tbs(&again.certificate), true));
    // What policy refuses, it refuses here: another profile, another name, another caller, the same id for something else.
    let other = MintCertificateRequest { profile: "none".into(), ..Asked::sports_api().request() };
    assert_eq!(front.mint(coordinator.clone(), other).await.unwrap_err().reasons[0], "PROFILE_UNKNOWN");
    let stranger = caller_certificate("spiffe://nowhere/nobody");
    let refused = front.mint(stranger, Asked::sports_api().request()).await.unwrap_err();
    assert_eq!(refused.reasons, ["CALLER_UNKNOWN"]);
    assert!(refused.logged.is_some());
    let changed = MintCertificateRequest { request_id: request.request_id.clone(), ..Asked::sports_api().request() };
    assert!(front.mint(coordinator.clone(), changed).await.unwrap_err().reasons[0].starts_with("REQUEST_ID"));
    // Nobody at all.
    let nobody = front.call(Bytes::new(), "MintCertificate", &request).await;
    assert_ne!(nobody.code, 0);
    drop(front);
    assert!(daemon.terminate());
    let log = Log::read(&laboratory.path("log"), &fs::read_to_string(laboratory.path("log.vkey")).unwrap());
    log.proves(&minted);
    let by_front = log.decisions("issued").into_iter().filter(|entry| entry["profile"] == "athenz-service");
    assert_eq!(by_front.count(), 1, "one certificate, whatever was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_operates_through_the_callers_door() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let mut front = Subverted::at(&laboratory.door("callers")).await;
    let operator = certificate(&laboratory, "operator.pem");
    let policy = fs::read_to_string(laboratory.path("policy.toml")).unwrap();
    let apply = ApplyPolicyRequest { policy, ..ApplyPolicyRequest::default() };
    for caller in [operator.clone(), certificate(&laboratory, "coordinator.pem")] {
        let applied =
            decoded::<hallmark_proto::operator::ApplyPolicyResponse>(front.call(caller, "ApplyPolicy", &apply).await);
        assert_eq!(applied.unwrap_err().reasons, ["METHOD_UNKNOWN"]);
    }
    // And through the operators' door, nobody mints.
    let mut operators = Subverted::at(&laboratory.door("operators")).await;
    assert_eq!(operators.call(operator.clone(), "PolicyStatus", &PolicyStatusRequest {}).await.code, 0);
    assert_eq!(operators.mint(operator, Asked::sports_api().request()).await.unwrap_err().reasons, ["METHOD_UNKNOWN"]);
    drop((front, operators));
    assert!(daemon.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn arbitrary_bytes_and_lengths_end_their_connection_and_nothing_else() {
    let laboratory = Laboratory::new();
    // Only a core that traces reads what fronts pass on as `traceparent`.
    let file = laboratory.path("signer.toml");
    let traced = std::fs::read_to_string(&file).unwrap() + "\n[traces]\nendpoint = \"unix:/nobody/is/here\"\n";
    std::fs::write(&file, traced).unwrap();
    let daemon = laboratory.start();
    let (core, door) = (daemon.core(), laboratory.door("callers"));
    let announced = |bytes: u32, kind: u8| [&bytes.to_be_bytes()[..], &[kind], &[0; 8]].concat();
    let mut random = vec![0; 4_096];
    for round in 0..64 {
        let mut front = Subverted::at(&door).await;
        aws_lc_rs::rand::fill(&mut random).unwrap();
        let _ = front.stream.write_all(&random[..1 + round * 64]).await;
    }
    for garbage in
        [announced(u32::MAX, 1), announced(CONTENT_BYTES_MAX + 1, 1), announced(1, 3), announced(0, 2), announced(0, 9)]
    {
        let mut front = Subverted::at(&door).await;
        let _ = front.stream.write_all(&garbage).await;
        assert!(front.answer().await.is_none(), "{garbage:?}");
    }
    goes_on(&laboratory, &daemon, core).await;
    // Whole frames of random bytes are answered, with a refusal.
    let mut front = Subverted::at(&door).await;
    for length in [0, 1, 7, 300, 4_096] {
        front.send(Kind::Call, &random[..length]).await;
        let (_, reply) = front.answer().await.unwrap();
        let reply = Reply::decode(reply.as_slice()).unwrap_or_default();
        assert!(reply.code != 0 || reply.body.is_empty());
    }
    // As are random messages of every method.
    let coordinator = certificate(&laboratory, "coordinator.pem");
    for method in ["MintCertificate", "GetChain", "RotateIntermediate", "ListEpochs", "", "Ä", &"M".repeat(5_000)] {
        let unary = Unary {
            method: method.to_owned(),
            caller_certificate: coordinator.clone(),
            deadline_boottime_nanos: NEVER,
            body: Bytes::copy_from_slice(&random),
            trace_parent: Bytes::copy_from_slice(&random),
        };
        front.send(Kind::Call, &Call { kind: Some(call::Kind::Unary(unary)) }.encode_to_vec()).await;
        let (_, reply) = front.answer().await.unwrap();
        assert_ne!(Reply::decode(reply.as_slice()).unwrap().code, 0, "{method}");
    }
    drop(front);
    goes_on(&laboratory, &daemon, core).await;
    assert!(daemon.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_fill_no_memory_and_leave_the_core_to_others() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let (core, door) = (daemon.core(), laboratory.door("callers"));
    let before = resident_kib(core);
    // More connections than a front has any use for.
    let mut many = Vec::new();
    for _ in 0..200 {
        many.extend(UnixStream::connect(&door).await.ok());
    }
    drop(many);
    // Calls turned away that never were, with long words in them; nobody reads the answers.
    let mut front = Subverted::heard_at(&door).await;
    let words = USUAL_CALL_BYTES_MAX as usize / 4;
    let flood = async {
        for round in 0..600 {
            let method = format!("{round}{}", "M".repeat(words));
            let told = TurnedAway { method, reason: "R".repeat(words), ..TurnedAway::default() };
            front.send(Kind::Call, &Call { kind: Some(call::Kind::TurnedAway(told)) }.encode_to_vec()).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(30), flood).await;
    // The largest message again and again, of a method that takes none such.
    for _ in 0..8 {
        let mut front = Subverted::heard_at(&door).await;
        front.send(Kind::Call, &vec![0xff; 17 * 1_024 * 1_024]).await;
        assert!(front.answer().await.is_none());
    }
    // Many questions at once.
    let mut asking = Subverted::heard_at(&door).await;
    for _ in 0..200 {
        asking.send(Kind::AskKeys, b"").await;
    }
    for _ in 0..200 {
        let (_, state) = asking.answer().await.unwrap();
        assert!(CoreState::decode(state.as_slice()).unwrap().keys_known);
    }
    goes_on(&laboratory, &daemon, core).await;
    let grown = resident_kib(core).saturating_sub(before);
    eprintln!("the core grew by {grown} KiB");
    assert!(grown < 200 * 1_024, "{grown} KiB");
    // Operators have a door of their own, and are heard.
    let mut operators = Subverted::at(&laboratory.door("operators")).await;
    let operator = certificate(&laboratory, "operator.pem");
    assert_eq!(operators.call(operator, "PolicyStatus", &PolicyStatusRequest {}).await.code, 0);
    drop((asking, operators, front));
    assert!(daemon.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_for_something_to_happen_hold_up_no_other() {
    /// As many as a caller may have, and as large as the door takes them: together more than it has room for.
    const WATCHES: usize = 256;
    const PADDING: usize = 66 * 1_024;
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let core = daemon.core();
    let mut front = Subverted::at(&laboratory.door("callers")).await;
    let coordinator = certificate(&laboratory, "coordinator.pem");
    let first = WatchEpochsRequest { authority: "athenz".to_owned(), ..WatchEpochsRequest::default() };
    let told = front.call(coordinator.clone(), "WatchEpochs", &first).await;
    assert!(told.code == 0 && !told.body.is_empty(), "{told:?}");
    // Nothing has changed since. And a field that nobody knows.
    let mut padded = BytesMut::from(&told.next[..]);
    encode_key(99, WireType::LengthDelimited, &mut padded);
    encode_varint(PADDING as u64, &mut padded);
    padded.put_bytes(0, PADDING);
    let unary = Unary {
        method: "WatchEpochs".to_owned(),
        caller_certificate: coordinator.clone(),
        deadline_boottime_nanos: NEVER,
        body: padded.freeze(),
        trace_parent: Bytes::new(),
    };
    let watch = Call { kind: Some(call::Kind::Unary(unary)) }.encode_to_vec();
    let sending = async {
        for _ in 0..WATCHES {
            front.send(Kind::Call, &watch).await;
        }
        // One more is beyond what a caller may have: so the others are all under way.
        front.send(Kind::Call, &watch).await;
        Reply::decode(front.answer().await.expect("an answer").1.as_slice()).unwrap()
    };
    let refused = timeout(PATIENCE, sending).await.expect("all are heard");
    assert_eq!(decoded::<WatchEpochsResponse>(refused).unwrap_err().reasons, ["QUEUE_FULL"]);
    timeout(PATIENCE, goes_on(&laboratory, &daemon, core)).await.expect("others are served");
    let mut health = HealthClient::new(channel(&laboratory, daemon.address(), "coordinator").await);
    let said = health.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(said.get_ref().status(), ServingStatus::Serving);
    drop((front, health));
    assert!(daemon.terminate());
}

fn resident_kib(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
