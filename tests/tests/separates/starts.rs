//! A core that takes its time to start, and what ends it meanwhile.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use hallmark_faulty::{Device, Effect, Function, When};
use hallmark_test_token::Token;
use hallmark_tests::{
    asking::Asked,
    client::connect,
    daemon::{Laboratory, succeed},
};

use crate::recovers::{behind, logged};

/// Longer than a process may take to say that it is alive.
const SLOW: Duration = Duration::from_secs(17);

/// A device that takes so long to be initialised.
fn slow(device: &Device, time: Duration) {
    device.fault(Function::Initialize, When::Always, Effect::Delay(time));
}

/// `hallmarkd run`, in a process group of its own.
fn spawn(laboratory: &Laboratory) -> Child {
    let log = fs::File::create(laboratory.path("hallmarkd.log")).unwrap();
    let mut command = laboratory.hallmarkd();
    command.arg("run").arg(laboratory.path("signer.toml")).stdout(Stdio::null()).stderr(log).process_group(0);
    command.spawn().unwrap()
}

fn await_call(device: &Device, function: Function, calls: u64) {
    let began = Instant::now();
    while device.calls(function) < calls {
        assert!(began.elapsed() < Duration::from_secs(60), "nobody calls {function}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_slow_to_start_is_waited_for_and_not_taken_for_one_that_hangs() {
    let (token, device) = (Token::make("slow"), Device::new());
    let laboratory = behind(&device, &token);
    let before = device.calls(Function::Initialize);
    slow(&device, SLOW);
    let began = Instant::now();
    let daemon = laboratory.start();
    assert!(began.elapsed() >= SLOW);
    assert_eq!(device.calls(Function::Initialize) - before, 1, "one core, which was waited for");
    let mut client = connect(&laboratory, &daemon).await;
    client.mint_certificate(Asked::sports_api().request()).await.unwrap();
    drop(client);
    assert!(daemon.terminate());
}

#[test]
fn a_core_that_does_not_serve_in_the_time_that_was_configured_is_given_up_with_a_sentence() {
    let (token, device) = (Token::make("slower"), Device::new());
    let laboratory = behind(&device, &token);
    let settings = fs::read_to_string(laboratory.path("signer.toml")).unwrap();
    let bounded = settings.replacen("[process]", "[process]\nstart-time-max = \"10s\"", 1);
    fs::write(laboratory.path("signer.toml"), bounded).unwrap();
    slow(&device, Duration::from_secs(300));
    let began = Instant::now();
    let mut daemon = spawn(&laboratory);
    assert_eq!(daemon.wait().unwrap().code(), Some(1));
    assert!((10..25).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let log = logged(&laboratory);
    assert!(log.contains("it did not serve within `start-time-max` of [process], and was killed"), "{log}");
}

#[test]
fn who_is_told_to_stop_while_the_device_opens_stops_at_once_and_leaves_nobody_behind() {
    let (token, device) = (Token::make("stopped"), Device::new());
    let laboratory = behind(&device, &token);
    for sign in ["TERM", "INT"] {
        let before = device.calls(Function::Initialize);
        slow(&device, Duration::from_secs(300));
        let mut daemon = spawn(&laboratory);
        await_call(&device, Function::Initialize, before + 1);
        let began = Instant::now();
        succeed(Command::new("kill").args([&format!("-{sign}"), &daemon.id().to_string()]));
        assert!(daemon.wait().unwrap().success(), "{}", logged(&laboratory));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        device.mend();
    }
    // The next finds neither lock nor process in its way.
    assert!(laboratory.start().terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_at_a_terminal_is_for_the_supervisor_which_stops_the_others_in_order() {
    let laboratory = Laboratory::new();
    let mut daemon = spawn(&laboratory);
    let began = Instant::now();
    let group = |id: u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(2)?.parse::<u32>().ok())
    };
    let children = || {
        let id = daemon.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        children.split_whitespace().map(|child| child.parse::<u32>().unwrap()).collect::<Vec<_>>()
    };
    // A child that has just been forked is in a group of its own before it is another program.
    let each_has_its_own = || children().iter().all(|child| group(*child) == Some(*child));
    while children().len() < 3 || !each_has_its_own() {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", logged(&laboratory));
        std::thread::sleep(Duration::from_millis(10));
    }
    // As Ctrl-C does: the whole group in the foreground hears it.
    succeed(Command::new("kill").args(["-INT", "--", &format!("-{}", daemon.id())]));
    assert!(daemon.wait().unwrap().success(), "{}", logged(&laboratory));
    let log = logged(&laboratory);
    assert!(log.contains("told to stop") && !log.contains("is started again"), "{log}");
}
