//! Two tokens with the same keys: one that is lost costs no certificate, and the log says what was signed again.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hallmark_faulty::{
    Absence, Device, Effect, Function, Sessions, When,
    cryptoki_sys::{CKR_DEVICE_ERROR, CKR_PIN_INCORRECT},
};
use hallmark_proto::{
    operator::{MetricsRequest, MetricsResponse},
    signer::EpochState,
};
use hallmark_test_token::{Replica, Token};
use hallmark_tests::{
    OPERATOR, World,
    asking::{Asked, caller_certificate, decoded},
    client::connect,
    daemon::{Laboratory, program, succeed},
    example_policy,
    log::Log,
};
use prost::Message;
use tokio::task::JoinSet;

/// Clients of the line.
const CLIENTS: usize = 16;

/// How long a test waits for what should happen.
const AMPLE: Duration = Duration::from_secs(40);

/// How soon a token must be back, once it is mended.
const AGAIN: Duration = Duration::from_secs(5);

const AWAY: Absence = Absence { code: CKR_DEVICE_ERROR, sessions: Sessions::Die };

/// Callers that mint all the while. None of them may be refused anything.
struct Minters {
    over: Arc<AtomicBool>,
    minted: Arc<AtomicU64>,
    each: JoinSet<()>,
}

impl Minters {
    fn start(world: &Arc<World>) -> Self {
        let (over, minted, mut each) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), JoinSet::new());
        for _ in 0..CLIENTS {
            let (world, over, minted) = (Arc::clone(world), Arc::clone(&over), Arc::clone(&minted));
            each.spawn(async move {
                while !over.load(Ordering::SeqCst) {
                    world.mint(Asked::sports_api().request()).await.expect("no request fails that can wait");
                    minted.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        Self { over, minted, each }
    }

    async fn more(&self) {
        let before = self.minted.load(Ordering::SeqCst);
        until(AMPLE, || self.minted.load(Ordering::SeqCst) > before + 100).await;
    }

    async fn stop(self) -> u64 {
        self.over.store(true, Ordering::SeqCst);
        self.each.join_all().await;
        self.minted.load(Ordering::SeqCst)
    }
}

async fn until(within: Duration, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < within, "it does not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn serve(world: &World) -> [bool; 2] {
    let tokens = world.core().tokens();
    [tokens[0].away.is_none(), tokens[1].away.is_none()]
}

fn signed(device: &Device) -> u64 {
    device.calls(Function::Sign)
}

/// What the log says of signatures: issued, failed, begun again.
fn outcomes(log: &Log) -> [usize; 3] {
    let of = |result: &'static str| log.of_type("outcome").filter(|entry| entry["result"] == result).count();
    [log.decisions("issued").len(), of("signing-failed"), of("signing-again")]
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_one_of_two_tokens_costs_no_certificate_and_each_signature_stands_in_the_log_before_it() {
    let world = Arc::new(World::replicated(&example_policy()).await);
    let minters = Minters::start(&world);
    minters.more().await;
    assert!(world.devices().iter().all(|device| signed(device) > 0));
    for lost in [0, 1] {
        let device = world.devices()[lost];
        for (function, effect) in [
            (None, Effect::Refuse(CKR_DEVICE_ERROR)),
            (Some(Function::Sign), Effect::LoseAnswer(CKR_DEVICE_ERROR)),
            (Some(Function::Sign), Effect::FlipSignature),
        ] {
            device.fault(function, When::Always, effect);
            minters.more().await;
            minters.more().await;
            device.mend();
            let before = world.core().tokens()[lost].signatures;
            until(AGAIN, || world.core().tokens()[lost].signatures > before + 20).await;
        }
        device.away(AWAY);
        until(AGAIN, || !serve(&world)[lost]).await;
        minters.more().await;
        device.restore();
        // The other one is lost next: this one must have shown that it is back.
        let before = world.core().tokens()[lost].signatures;
        until(AGAIN, || serve(&world)[lost] && world.core().tokens()[lost].signatures > before + 20).await;
    }
    let minted = minters.stop().await;
    assert!(minted > 1_000, "{minted}");
    let calls: u64 = world.devices().iter().map(|device| signed(device)).sum();
    let mut world = Arc::into_inner(world).expect("nobody else has it");
    let log = world.log_after_stop().await;
    let [issued, failed, again] = outcomes(&log);
    assert!(again > 0 && failed == again, "{failed} failed, {again} were signed again");
    // What `hallmark log reconcile` asks of all counters together.
    let (issued, again) = (u64::try_from(issued).unwrap(), u64::try_from(again).unwrap());
    assert!((issued..=issued + again).contains(&calls), "{calls} signatures, {issued} issued, {again} signed again");
    println!(
        "{minted} certificates and none refused; {again} signed again, {calls} signatures by both devices for {issued} entries"
    );
    let mut failed_of = std::collections::BTreeMap::<u64, i64>::new();
    for entry in log.of_type("outcome") {
        let balance = failed_of.entry(entry["decision-index"].as_u64().unwrap()).or_default();
        *balance += if entry["result"] == "signing-failed" { 1 } else { -1 };
        assert!(*balance >= 0, "what is signed again has failed before: {entry}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_hangs_in_one_token_is_answered_by_the_other_and_what_it_brings_is_thrown_away() {
    let mut world = World::replicated(&example_policy()).await;
    let fault = world.devices()[0].fault(Function::Sign, When::Always, Effect::Hang);
    let mut answered = Vec::new();
    let began = Instant::now();
    while world.core().tokens()[0].hanging == 0 {
        assert!(began.elapsed() < AMPLE);
        answered.push(world.mint(Asked::sports_api().request()).await.unwrap());
    }
    fault.clear();
    until(AGAIN, || world.core().threads().hanging == 0).await;
    for _ in 0..20 {
        answered.push(world.mint(Asked::sports_api().request()).await.unwrap());
    }
    let log = world.log_after_stop().await;
    answered.iter().for_each(|response| log.proves(response));
    let again = outcomes(&log)[2];
    assert!(again > 0);
    let hung = log.of_type("outcome").filter(|entry| entry["code"] == "DEVICE_HANGS").count();
    assert_eq!(hung, again);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_the_tokens_and_a_copy_that_is_away_is_destroyed_when_it_is_back() {
    let mut world = World::replicated(&destroying_policy()).await;
    assert_eq!(world.replica().objects(), 4, "the keys of root and epoch");
    let generation = world.prepare_epoch(0).await.unwrap().epoch.unwrap().epoch.unwrap().generation;
    world.replicate().await;
    world.devices()[1].away(AWAY);
    until(AGAIN, || !serve(&world)[1]).await;
    world.activate_epoch(generation, false).await.unwrap();
    world.mint(Asked::sports_api().request()).await.unwrap();
    let state = |epochs: Vec<hallmark_proto::signer::EpochStatus>| epochs.last().unwrap().state();
    assert_ne!(state(world.epochs().await), EpochState::Destroyed, "a copy is left");
    assert_eq!(world.epoch_keys(), ["2"]);
    assert_eq!(world.replica().objects(), 6);
    world.stop().await;
    world.devices()[1].restore();
    let report = world.start(false).await.unwrap();
    assert_eq!(state(world.epochs().await), EpochState::Destroyed, "{:?}", report.lines);
    assert_eq!(world.replica().objects(), 4);
    let (first, second) = (world.token().serial().to_owned(), world.replica().serial().to_owned());
    let log = world.log_after_stop().await;
    let destroyed: Vec<_> = log.of_type("key-event").filter(|entry| entry["action"] == "destroyed").collect();
    assert_eq!(destroyed.len(), 2, "{destroyed:?}");
    for (entry, serial) in destroyed.iter().zip([&first, &second]) {
        assert!(entry["backend"].as_str().unwrap().contains(serial.as_str()), "{entry}");
    }
    let opened = log.of_type("key-event").filter(|entry| entry["action"] == "opened");
    let of_both = |text: &str| text.contains(&first) && text.contains(&second);
    assert!(opened.last().is_some_and(|entry| of_both(entry["backend"].as_str().unwrap())));
}

/// The example's policy, with keys that are destroyed when their epochs are over.
fn destroying_policy() -> String {
    let wanted = "[authority.athenz]\nretired-key = \"destroy\"\n\n[authority.athenz.root]";
    example_policy().replacen("[authority.athenz.root]", wanted, 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_each_token_had_of_a_key_is_destroyed_with_an_entry_of_its_own_also_where_it_cannot_be_told_to_be_the_key()
{
    for spoiled in [[false, true], [true, false], [true, true]] {
        let mut world = World::replicated(&destroying_policy()).await;
        let label = world.token().labels().into_iter().find(|label| label.contains("-epoch-1-")).unwrap();
        let generation = world.prepare_epoch(0).await.unwrap().epoch.unwrap().epoch.unwrap().generation;
        world.replicate().await;
        if spoiled[0] {
            world.token().destroy_public_half(&label);
        } else {
            world.token().make_twin(&label);
        }
        if spoiled[1] {
            world.replica().lose_public_halves();
        }
        world.activate_epoch(generation, false).await.unwrap();
        assert_eq!(world.epochs().await.last().unwrap().state(), EpochState::Destroyed, "{spoiled:?}");
        assert_eq!(world.epoch_keys(), ["2"]);
        let serials = [world.token().serial().to_owned(), world.replica().serial().to_owned()];
        let log = world.log_after_stop().await;
        let of = |action: &str| -> Vec<_> {
            let entries = log.of_type("key-event").filter(|entry| entry["action"] == action);
            let on = |entry: &serde_json::Value| {
                let backend = entry["backend"].as_str().unwrap();
                let named: Vec<_> = serials.iter().map(|serial| backend.contains(serial.as_str())).collect();
                named
            };
            let mut on: Vec<_> = entries.map(on).collect();
            on.sort();
            on
        };
        assert_eq!(of("destroyed"), [[false, true], [true, false]], "{spoiled:?}");
        // The twin, of which nobody was told.
        let twin = if spoiled[0] { vec![] } else { vec![vec![true, false]] };
        assert_eq!(of("cleared"), twin, "{spoiled:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_one_of_the_tokens_says_so_and_monitoring_sees_it() {
    let mut world = World::replicated(&example_policy()).await;
    world.stop().await;
    for lost in [0, 1] {
        let name = [world.token().label(), world.replica().label()][lost].to_owned();
        world.devices()[lost].away(AWAY);
        let report = world.start(false).await.unwrap();
        let told = report.lines.iter().find(|line| line.contains(&name) && line.contains("is away"));
        assert!(told.is_some(), "{:?}", report.lines);
        world.mint(Asked::sports_api().request()).await.unwrap();
        let text = metrics(&world).await;
        let gauge = |value: u8| {
            move |line: &str| line.starts_with("hallmark_token_serves{") && line.ends_with(&format!(" {value}"))
        };
        assert_eq!(
            (text.lines().filter(|line| gauge(0)(line)).count(), text.lines().filter(|line| gauge(1)(line)).count()),
            (1, 1)
        );
        assert!(text.lines().any(|line| gauge(0)(line) && line.contains(&name)), "{text}");
        world.core().health().unwrap();
        world.devices()[lost].restore();
        until(AGAIN, || serve(&world) == [true, true]).await;
        world.stop().await;
    }
}

async fn metrics(world: &World) -> String {
    let reply = world.operate("Metrics", &caller_certificate(OPERATOR), MetricsRequest {}.encode_to_vec()).await;
    decoded::<MetricsResponse>(reply).unwrap().text
}

/// A laboratory whose daemon has two tokens, which nobody has keys in yet.
fn laboratory_with_both(devices: &[Device; 2], first: &Token, second: &Replica) -> Laboratory {
    let laboratory = Laboratory::behind(&devices[0], first, &example_policy());
    let settings = fs::read_to_string(laboratory.path("signer.toml")).unwrap();
    let module = devices[1].module();
    let (before, after) = settings.split_once("[backend.pkcs11]").unwrap();
    let paths = format!("core-paths = [{:?}, ", module.parent().unwrap());
    let before = before.replacen("core-paths = [", &paths, 1);
    let replica = format!(
        "\n[[backend.pkcs11.replica]]\nmodule = {module:?}\ntoken = \"{}\"\nserial = \"{}\"\npin = {{ file = \"pin\" }}\n",
        second.label(),
        second.serial()
    );
    fs::write(laboratory.path("signer.toml"), format!("{before}[backend.pkcs11]{after}{replica}")).unwrap();
    laboratory
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_one_token_refused_is_tried_once_however_often_the_core_starts_and_again_when_a_person_starts_the_daemon()
 {
    let (first, second) = (Token::make("pins"), Token::make("pins"));
    let second = second.takes_keys_of(&first);
    let devices = [Device::new(), Device::new()];
    let laboratory = laboratory_with_both(&devices, &first, &second);
    succeed(&mut laboratory.init());
    second.replicate();
    // No flag of the token tells of it, and a second attempt would succeed.
    devices[1].fault(Function::Login, When::Nth(1), Effect::Refuse(CKR_PIN_INCORRECT));
    let before = devices[1].calls(Function::Login);
    let log_ins = || devices[1].calls(Function::Login) - before;
    let daemon = laboratory.start();
    until(AMPLE, || log_ins() == 1).await;
    let mut client = connect(&laboratory, &daemon).await;
    for _ in 0..3 {
        let core = daemon.core();
        succeed(std::process::Command::new("kill").args(["-KILL", &core.to_string()]));
        until(AMPLE, || daemon.children_that("core").next().is_some_and(|now| now != core)).await;
        client.mint_certificate(Asked::sports_api().request()).await.unwrap();
        assert_eq!((log_ins(), signed(&devices[1])), (1, 0));
    }
    let log = fs::read_to_string(laboratory.path("hallmarkd.log")).unwrap();
    assert!(log.contains("the token refused this PIN before; it is not tried again"), "{log}");
    drop(client);
    assert!(daemon.terminate());
    let daemon = laboratory.start();
    until(AMPLE, || log_ins() == 2).await;
    let mut client = connect(&laboratory, &daemon).await;
    let began = Instant::now();
    while signed(&devices[1]) == 0 {
        assert!(began.elapsed() < AMPLE);
        client.mint_certificate(Asked::sports_api().request()).await.unwrap();
    }
    drop(client);
    assert!(daemon.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_hangs_behind_the_real_daemon_costs_no_request() {
    let (first, second) = (Token::make("daemon"), Token::make("daemon"));
    let second = second.takes_keys_of(&first);
    let devices = [Device::new(), Device::new()];
    let laboratory = laboratory_with_both(&devices, &first, &second);
    let checked = succeed(laboratory.hallmarkd().arg("check").arg(laboratory.path("signer.toml")));
    assert!(
        checked.contains(second.label()) && checked.contains("Whichever token has a session free signs."),
        "{checked}"
    );
    let mut doctor = std::process::Command::new(program("hallmark"));
    let looked = doctor.arg("doctor").arg(laboratory.path("signer.toml")).output().unwrap();
    let looked = String::from_utf8(looked.stderr).unwrap();
    let (of_first, of_replica) = looked.split_once("what follows is of the replica").expect("a replica is looked at");
    assert!(of_first.contains(first.serial()) && of_replica.contains(second.serial()), "{looked}");
    assert_eq!(looked.matches("good: pin: ").count(), 2, "{looked}");
    succeed(&mut laboratory.init());
    second.replicate();

    let daemon = laboratory.start();
    let (over, minted) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (mut client, over, minted) = (connect(&laboratory, &daemon).await, Arc::clone(&over), Arc::clone(&minted));
        clients.spawn(async move {
            while !over.load(Ordering::SeqCst) {
                client.mint_certificate(Asked::sports_api().request()).await.expect("no request fails that can wait");
                minted.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    until(AMPLE, || devices.iter().all(|device| signed(device) > 20)).await;
    // Longer than the process waits before it ends itself for another.
    let (core, began) = (daemon.core(), Instant::now());
    let fault = devices[1].fault(Function::Sign, When::Always, Effect::Hang);
    until(AMPLE, || daemon.children_that("core").next().is_some_and(|now| now != core)).await;
    let restarted = began.elapsed();
    let before = minted.load(Ordering::SeqCst);
    until(AMPLE, || minted.load(Ordering::SeqCst) > before + 200).await;
    fault.clear();
    let (mended, before) = (Instant::now(), signed(&devices[1]));
    until(AMPLE, || signed(&devices[1]) > before + 20).await;
    println!(
        "another core after {restarted:?}; {} certificates and none refused; the token signs again {:?} after its hang ends",
        minted.load(Ordering::SeqCst),
        mended.elapsed()
    );
    over.store(true, Ordering::SeqCst);
    clients.join_all().await;
    assert!(daemon.terminate());
    let verdict = succeed(
        std::process::Command::new(program("hallmark"))
            .args(["--json", "log", "verify"])
            .arg(laboratory.path("log"))
            .arg("--key")
            .arg(laboratory.path("log.vkey")),
    );
    assert!(verdict.contains("\"good\""), "{verdict}");
}
