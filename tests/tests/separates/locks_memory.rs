//! The core's memory stays out of swap where its limit allows that, and is said to go there where not.

use std::{fs, process::Command};

use hallmark_tests::{
    asking::Asked,
    client::connect,
    daemon::{Daemon, Laboratory, program},
};

use crate::recovers::logged;

/// What is said where memory may be written to swap.
const MAY_GO_TO_SWAP: &str =
    "may be written to swap, because its limit on locked memory is not `unlimited`; hint: `LimitMEMLOCK=infinity`";

/// A number of KiB of what the system says of a process (proc_pid_status(5)).
fn kib(process: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A daemon that is started by this command, which runs what stands behind it.
async fn started_by(laboratory: &Laboratory, wrapper: &[&str]) -> Daemon {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(program("hallmarkd")).arg("run").arg(laboratory.path("signer.toml"));
    command.arg("--ready-file").arg(laboratory.path("address"));
    let inherited = laboratory.hallmarkd();
    command.envs(inherited.get_envs().filter_map(|(name, value)| Some((name, value?))));
    drop(fs::remove_file(laboratory.path("address")));
    let log = fs::File::create(laboratory.path("hallmarkd.log")).unwrap();
    let daemon = laboratory.ready(command.stderr(log).spawn().unwrap());
    let mut client = connect(laboratory, &daemon).await;
    client.mint_certificate(Asked::sports_api().request()).await.unwrap();
    daemon
}

fn is_possible(command: &[&str]) -> bool {
    Command::new(command[0]).args(&command[1..]).arg("true").output().is_ok_and(|output| output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_locks_its_memory_where_it_may_and_takes_no_more_of_it() {
    const LIMITED: [&str; 5] =
        ["setpriv", "--bounding-set", "-ipc_lock,-sys_resource", "prlimit", "--memlock=65536:65536"];
    // Who is not root has neither capability.
    let limited = if is_possible(&LIMITED) { &LIMITED[..] } else { &LIMITED[3..] };
    let laboratory = Laboratory::new();
    let daemon = started_by(&laboratory, limited).await;
    assert_eq!(kib(daemon.core(), "VmLck"), 0);
    assert_eq!(logged(&laboratory).matches(MAY_GO_TO_SWAP).count(), 1, "{}", logged(&laboratory));
    let usual = kib(daemon.core(), "VmRSS");
    assert!(daemon.terminate());

    let unlimited = ["prlimit", "--memlock=unlimited:unlimited"];
    let free = if is_possible(&unlimited) { &unlimited[..] } else { &["env"][..] };
    let daemon = started_by(&laboratory, free).await;
    let (core, front) = (daemon.core(), daemon.front());
    let (locked, resident) = (kib(core, "VmLck"), kib(core, "VmRSS"));
    eprintln!(
        "core: {usual} KiB resident without, {resident} KiB with locks, {locked} KiB may be locked; front: {} KiB",
        kib(front, "VmRSS")
    );
    // Who may not lock, as on a machine where nobody is root, is told so.
    assert_eq!(logged(&laboratory).contains(MAY_GO_TO_SWAP), locked == 0, "{}", logged(&laboratory));
    assert_eq!(kib(front, "VmLck"), 0, "it has no secret of a CA");
    assert!(resident < usual + usual / 4, "{resident} KiB, and {usual} KiB without");
    assert!(daemon.terminate());
}
