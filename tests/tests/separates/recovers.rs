//! A core that comes down is started again, and nobody hears more of it than a wait.

use std::{
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hallmark_faulty::{Device, Effect, Function, When};
use hallmark_proto::signer::{MintCertificateRequest, MintCertificateResponse, signer_client::SignerClient};
use hallmark_test_token::Token;
use hallmark_tests::{
    asking::Asked,
    client::connect,
    daemon::{Daemon, Laboratory, is_alive, succeed},
    example_policy,
    log::Log,
    tools::tbs,
};
use tokio::{sync::mpsc, task::JoinSet};
use tonic::{Code, Request, transport::Channel};

/// Clients that mint at the same time, each over one connection.
const CLIENTS: usize = 16;

/// Deadline of every call.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long a core may take from its end until its successor serves: less than a second, on a machine that does nothing else.
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });

/// An answer, its request, and how long it took.
type Answered = (MintCertificateRequest, MintCertificateResponse, Duration);

/// How often a client asks again that is told to come back, and how long it waits before.
const ASKED_AGAIN_MAX: u32 = 100;
const PAUSE: Duration = Duration::from_millis(200);

/// What clients may hear beside certificates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum May {
    HearNothing,
    /// That the key's device failed, so that they should ask again.
    BeToldToComeBack,
}

/// Clients that mint again and again.
struct Load {
    clients: JoinSet<()>,
    answers: mpsc::UnboundedReceiver<Answered>,
    stopping: Arc<AtomicBool>,
}

impl Load {
    async fn start(laboratory: &Laboratory, daemon: &Daemon) -> Self {
        Self::start_and(May::HearNothing, laboratory, daemon).await
    }

    async fn start_and(may: May, laboratory: &Laboratory, daemon: &Daemon) -> Self {
        let (answer, answers) = mpsc::unbounded_channel();
        let (mut clients, stopping) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        for _ in 0..CLIENTS {
            let mut client = connect(laboratory, daemon).await;
            let (answer, stopping) = (answer.clone(), Arc::clone(&stopping));
            clients.spawn(async move {
                while !stopping.load(Ordering::SeqCst) {
                    let asked = Asked::sports_api().request();
                    let began = Instant::now();
                    let minted = mint(&mut client, &asked, may).await;
                    answer.send((asked, minted, began.elapsed())).unwrap();
                }
            });
        }
        Self { clients, answers, stopping }
    }

    async fn await_answers(&mut self, count: usize) -> Vec<Answered> {
        let mut answered = Vec::new();
        for _ in 0..count {
            answered.push(self.answers.recv().await.expect("clients go on"));
        }
        answered
    }

    /// The rest of the answers.
    async fn stop(mut self) -> Vec<Answered> {
        self.stopping.store(true, Ordering::SeqCst);
        self.clients.join_all().await;
        let mut answered = Vec::new();
        while let Some(answer) = self.answers.recv().await {
            answered.push(answer);
        }
        answered
    }
}

async fn mint(client: &mut SignerClient<Channel>, asked: &MintCertificateRequest, may: May) -> MintCertificateResponse {
    for _ in 0..ASKED_AGAIN_MAX {
        let mut request = Request::new(asked.clone());
        request.set_timeout(DEADLINE);
        match client.mint_certificate(request).await {
            Ok(minted) => return minted.into_inner(),
            Err(status) if may == May::BeToldToComeBack && status.code() == Code::Unavailable => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(status) => panic!("{status}"),
        }
    }
    panic!("told to come back again and again");
}

pub(crate) fn signal(name: &str, id: u32) {
    succeed(Command::new("kill").args([&format!("-{name}"), &id.to_string()]));
}

pub(crate) fn logged(laboratory: &Laboratory) -> String {
    fs::read_to_string(laboratory.path("hallmarkd.log")).unwrap()
}

/// Every certificate stands in the log, and asking again gives the same one.
async fn nothing_is_lost(laboratory: &Laboratory, daemon: Daemon, answered: &[Answered]) {
    let mut client = connect(laboratory, &daemon).await;
    for (request, first, _) in answered.iter().rev().take(20) {
        let again = client.mint_certificate(request.clone()).await.unwrap().into_inner();
        assert_eq!(tbs(&again.certificate), tbs(&first.certificate));
    }
    drop(client);
    assert!(daemon.terminate(), "{}", logged(laboratory));
    let log = Log::read(&laboratory.path("log"), &fs::read_to_string(laboratory.path("log.vkey")).unwrap());
    answered.iter().for_each(|(_, response, _)| log.proves(response));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_that_is_killed_under_load_costs_its_callers_a_wait_and_nothing_else() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let mut load = Load::start(&laboratory, &daemon).await;
    let mut answered = Vec::new();
    for _ in 0..3 {
        answered.extend(load.await_answers(5 * CLIENTS).await);
        let core = daemon.core();
        signal("KILL", core);
        let after = load.await_answers(3 * CLIENTS).await;
        let longest = after.iter().map(|(_, _, took)| *took).max().unwrap();
        eprintln!("the longest call over the end of the core took {} ms", longest.as_millis());
        assert!(longest < RECOVERY_TIME_MAX, "{longest:?}\n{}", logged(&laboratory));
        assert!(!is_alive(core) && daemon.core() != core);
        answered.extend(after);
    }
    answered.extend(load.stop().await);
    assert_eq!(logged(&laboratory).matches("the core ended (signal 9); it is started again").count(), 3);
    nothing_is_lost(&laboratory, daemon, &answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_that_hangs_is_killed_and_its_callers_are_served_by_the_next() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let mut load = Load::start(&laboratory, &daemon).await;
    let mut answered = load.await_answers(CLIENTS).await;
    let core = daemon.core();
    signal("STOP", core);
    answered.extend(load.await_answers(5 * CLIENTS).await);
    assert_ne!(daemon.core(), core);
    answered.extend(load.stop().await);
    assert!(logged(&laboratory).contains("the core ended (it did not answer in time, and was killed)"));
    nothing_is_lost(&laboratory, daemon, &answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_that_is_killed_is_started_again_at_the_same_address() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let front = daemon.front();
    signal("KILL", front);
    // Whoever connects meanwhile waits: the socket is the supervisor's.
    let mut client = connect(&laboratory, &daemon).await;
    client.mint_certificate(Asked::sports_api().request()).await.unwrap();
    assert_ne!(daemon.front(), front);
    drop(client);
    assert!(daemon.terminate());
}

/// A laboratory behind a device, with its authority made.
pub(crate) fn behind(device: &Device, token: &Token) -> Laboratory {
    let laboratory = Laboratory::behind(device, token, &example_policy());
    succeed(&mut laboratory.init());
    laboratory
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_crashes_in_c_sign_costs_a_restart_of_the_core() {
    for effect in [Effect::Crash, Effect::CrashAfter] {
        let (token, device) = (Token::make("crashes"), Device::new());
        let laboratory = behind(&device, &token);
        let daemon = laboratory.start();
        let mut load = Load::start(&laboratory, &daemon).await;
        let mut answered = load.await_answers(CLIENTS).await;
        device.fault(Function::Sign, When::First(1), effect);
        answered.extend(load.await_answers(5 * CLIENTS).await);
        answered.extend(load.stop().await);
        assert!(
            logged(&laboratory).contains("the core ended (signal 6); it is started again"),
            "{}",
            logged(&laboratory)
        );
        nothing_is_lost(&laboratory, daemon, &answered).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_in_which_every_session_hangs_costs_a_restart_of_the_core() {
    let (token, device) = (Token::make("hangs"), Device::new());
    let laboratory = behind(&device, &token);
    let daemon = laboratory.start();
    let mut load = Load::start_and(May::BeToldToComeBack, &laboratory, &daemon).await;
    let mut answered = load.await_answers(CLIENTS).await;
    // Four sessions, and each thread's place is taken by another once.
    device.fault(Function::Sign, When::First(8), Effect::Hang);
    answered.extend(load.await_answers(5 * CLIENTS).await);
    answered.extend(load.stop().await);
    assert!(logged(&laboratory).contains("the core ends itself: every thread hangs"), "{}", logged(&laboratory));
    nothing_is_lost(&laboratory, daemon, &answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_hangs_costs_its_own_request_and_one_restart_of_the_core() {
    const GIVEN_UP: &str = "the core ends itself: a thread still hangs";
    let (token, device) = (Token::make("hangs"), Device::new());
    let laboratory = behind(&device, &token);
    let daemon = laboratory.start();
    let mut load = Load::start_and(May::BeToldToComeBack, &laboratory, &daemon).await;
    let mut answered = load.await_answers(CLIENTS).await;
    let (core, began) = (daemon.core(), Instant::now());
    device.fault(Function::Sign, When::First(1), Effect::Hang);
    let mut meanwhile = Vec::new();
    while !logged(&laboratory).contains(GIVEN_UP) {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", logged(&laboratory));
        meanwhile.extend(load.await_answers(1).await);
    }
    let ended = began.elapsed();
    let mut after = load.await_answers(3 * CLIENTS).await;
    // The last may be the first of the successor's.
    after.extend(meanwhile.pop());
    let times = |answers: &[Answered]| {
        let mut times: Vec<_> = answers.iter().map(|(_, _, took)| *took).collect();
        times.sort_unstable_by(|one, other| other.cmp(one));
        times
    };
    let (before, over) = (times(&meanwhile), times(&after));
    eprintln!(
        "until the core ended itself after {} ms, {} were minted, the longest in {} ms; over its end, {} ms for others, {} ms for the one that hung",
        ended.as_millis(),
        before.len(),
        before[0].as_millis(),
        over[1].as_millis(),
        over[0].as_millis()
    );
    assert!(before.len() > 2 * CLIENTS && before[0] < RECOVERY_TIME_MAX, "nobody else waits: {before:?}");
    // It was sent again, and signed by the successor.
    assert!(over[0] >= ended && over[0] < DEADLINE && over[1] < RECOVERY_TIME_MAX, "{over:?}");
    assert!(daemon.core() != core && !is_alive(core));
    answered.extend(meanwhile);
    answered.extend(after);
    answered.extend(load.stop().await);
    assert_eq!(logged(&laboratory).matches("the core ended (").count(), 1, "{}", logged(&laboratory));
    nothing_is_lost(&laboratory, daemon, &answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_takes_five_seconds_for_each_signature_is_waited_for_however_many_overlap() {
    const SIGNATURE_TIME: Duration = Duration::from_secs(5);
    let (token, device) = (Token::make("slow"), Device::new());
    let laboratory = behind(&device, &token);
    let daemon = laboratory.start();
    device.fault(Function::Sign, When::Always, Effect::Delay(SIGNATURE_TIME));
    // One begins each second, so that from the third one on there is always a call that has taken over three.
    let (mut clients, core) = (JoinSet::new(), daemon.core());
    for second in 0..5 {
        let mut client = connect(&laboratory, &daemon).await;
        clients.spawn(async move {
            tokio::time::sleep(Duration::from_secs(second)).await;
            for _ in 0..4 {
                mint(&mut client, &Asked::sports_api().request(), May::BeToldToComeBack).await;
            }
        });
    }
    clients.join_all().await;
    assert_eq!(daemon.core(), core, "{}", logged(&laboratory));
    assert!(!logged(&laboratory).contains("the core ends itself"), "{}", logged(&laboratory));
    device.mend();
    assert!(daemon.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_that_crashes_each_time_is_given_up_with_a_sentence_and_its_callers_are_told_to_come_back() {
    let (token, device) = (Token::make("crashing"), Device::new());
    let laboratory = behind(&device, &token);
    let daemon = laboratory.start();
    let mut client = connect(&laboratory, &daemon).await;
    device.fault(Function::Sign, When::Always, Effect::Crash);
    let mut crashed = 0;
    loop {
        let Err(status) = client.mint_certificate(Asked::sports_api().request()).await else { panic!("it is minted") };
        // A call is sent three times at most, and then told; the last ones find nobody.
        crashed += 1;
        match status.code() {
            Code::Unavailable if crashed < 10 => {}
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal => break,
            other => panic!("{other}: {status}"),
        }
    }
    assert!(crashed > 1);
    assert_eq!(daemon.await_end(), Some(1));
    let log = logged(&laboratory);
    assert!(log.contains("hallmarkd: the core came down 10 times within a minute, and is not started again"), "{log}");
}
