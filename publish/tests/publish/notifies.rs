//! Alarms reach a webhook: each once it is published, in order, signed, again until it is taken, and none that the log does not prove.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    process::{Command, Output},
    sync::{Arc, Mutex},
    thread,
};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::world::{World, done, entries, said};

const SECRET: [u8; 32] = [9; 32];

/// A message as it came.
#[derive(Clone, Debug)]
struct Taken {
    id: String,
    body: serde_json::Value,
}

/// A webhook that checks each message's signature, and refuses the first ones.
struct Receiver {
    url: String,
    taken: Arc<Mutex<Vec<Taken>>>,
    attempts: Arc<Mutex<u64>>,
}

impl Receiver {
    fn refusing(times: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (taken, attempts) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let (taking, counting) = (Arc::clone(&taken), Arc::clone(&attempts));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut headers = std::collections::BTreeMap::new();
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
                        break;
                    }
                    if let Some((name, value)) = line.split_once(':') {
                        headers.insert(name.to_lowercase(), value.trim().to_owned());
                    }
                }
                let mut body = vec![0; headers["content-length"].parse().unwrap()];
                reader.read_exact(&mut body).unwrap();
                let body = String::from_utf8(body).unwrap();
                let signed = format!("{}.{}.{body}", headers["webhook-id"], headers["webhook-timestamp"]);
                let signature = headers["webhook-signature"].strip_prefix("v1,").unwrap();
                let signature = STANDARD.decode(signature).unwrap();
                hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &SECRET), signed.as_bytes(), &signature).unwrap();
                let mut attempts = counting.lock().unwrap();
                *attempts += 1;
                let status = if *attempts <= times {
                    "503 Service Unavailable"
                } else {
                    let body = serde_json::from_str(&body).unwrap();
                    taking.lock().unwrap().push(Taken { id: headers["webhook-id"].clone(), body });
                    "204 No Content"
                };
                let _ = stream.write_all(format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\n").as_bytes());
            }
        });
        Self { url, taken, attempts }
    }

    fn indices(&self) -> Vec<u64> {
        self.taken.lock().unwrap().iter().map(|taken| taken.body["data"]["index"].as_u64().unwrap()).collect()
    }
}

fn command(world: &World, receiver: &Receiver, more: &[&str]) -> Command {
    fs::write(world.path("secret"), format!("whsec_{}\n", STANDARD.encode(SECRET))).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_hallmark-publish"));
    program.arg("notify").arg(world.path("log")).arg("--key").arg(world.path("log.vkey"));
    program.args(["--to", &receiver.url]).arg("--secret").arg(world.path("secret"));
    program.arg("--state").arg(world.path("state")).arg("--metrics").arg(world.path("metrics")).args(more);
    if !more.contains(&"--fold-secs") {
        program.args(["--fold-secs", "0"]);
    }
    program
}

fn notify(world: &World, receiver: &Receiver, more: &[&str]) -> Output {
    command(world, receiver, &[&["--once"], more].concat()).output().unwrap()
}

/// So many entries, with alarms at these places.
fn with_alarms(count: usize, alarms: &[usize]) -> Vec<Vec<u8>> {
    let mut all = entries(count);
    for (index, entry) in all.iter_mut().enumerate() {
        let kind = if alarms.contains(&index) { "alarm" } else { "heartbeat" };
        *entry = format!(
            r#"{{"alarm":"stray-serial","time":{},"type":"{kind}","version":1}}"#,
            1_800_000_000_000_u64 + index as u64
        )
        .into_bytes();
    }
    all
}

#[test]
fn alarms_are_sent_in_order_once_each_also_across_runs() {
    let (world, receiver) = (World::new(), Receiver::refusing(0));
    world.publish(&with_alarms(300, &[2, 280]));
    done(&notify(&world, &receiver, &["--from", "0"]));
    assert_eq!(receiver.indices(), [2, 280]);
    done(&notify(&world, &receiver, &[]));
    world.publish(&with_alarms(700, &[2, 280, 300, 511, 512, 699]));
    done(&notify(&world, &receiver, &[]));
    assert_eq!(receiver.indices(), [2, 280, 300, 511, 512, 699]);
    let taken = receiver.taken.lock().unwrap();
    let leaf = hallmark_tlog::hash::Hash::of_leaf(&with_alarms(300, &[2, 280])[280]);
    let leaf: String = leaf.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(taken[1].id, format!("hallmark-{leaf}"), "no other log's entry has it");
    let body = &taken[1].body;
    assert_eq!((&body["type"], &body["timestamp"]), (&"hallmark.alarm".into(), &1_800_000_000_280_u64.into()));
    assert_eq!(
        (&body["data"]["origin"], &body["data"]["entry"]["alarm"]),
        (&"example.com/log".into(), &"stray-serial".into())
    );
}

#[test]
fn the_first_run_begins_with_what_comes_next() {
    let (world, receiver) = (World::new(), Receiver::refusing(0));
    world.publish(&with_alarms(10, &[3]));
    done(&notify(&world, &receiver, &[]));
    world.publish(&with_alarms(20, &[3, 15]));
    done(&notify(&world, &receiver, &[]));
    assert_eq!(receiver.indices(), [15]);
}

#[test]
fn a_message_that_is_not_taken_is_sent_again_with_the_same_id_and_nothing_overtakes_it() {
    let (world, receiver) = (World::new(), Receiver::refusing(2));
    world.publish(&with_alarms(10, &[3, 4]));
    let output = notify(&world, &receiver, &["--from", "0"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("entry 3 was not taken: the receiver answered 503"), "{}", said(&output));
    let mut running = crate::world::Running(command(&world, &receiver, &[]).spawn().unwrap());
    while receiver.indices().len() < 2 {
        assert!(running.0.try_wait().unwrap().is_none(), "it goes on");
        thread::yield_now();
    }
    assert_eq!(receiver.indices(), [3, 4]);
    assert_eq!(
        *receiver.attempts.lock().unwrap(),
        4,
        "one by the first run, two for entry 3 by the second, one for entry 4"
    );
}

/// The same, written so long ago as no clock is wrong.
fn of_long_ago(entries: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let old = |entry| String::from_utf8(entry).unwrap().replace(":1800", ":1000").into_bytes();
    entries.into_iter().map(old).collect()
}

#[test]
fn an_alarm_is_sent_again_until_it_is_taken_whatever_the_wall_clock_made_of_its_age() {
    let (world, receiver) = (World::new(), Receiver::refusing(2));
    world.publish(&of_long_ago(with_alarms(10, &[3, 4])));
    let mut running = crate::world::Running(command(&world, &receiver, &["--from", "0"]).spawn().unwrap());
    while receiver.indices().len() < 2 {
        assert!(running.0.try_wait().unwrap().is_none(), "it goes on");
        thread::yield_now();
    }
    assert_eq!((receiver.indices(), *receiver.attempts.lock().unwrap()), (vec![3, 4], 4));
}

#[test]
fn a_message_that_is_not_taken_for_too_long_is_dropped_and_counted_and_then_the_next_has_its_turn() {
    let (world, receiver) = (World::new(), Receiver::refusing(1));
    world.publish(&with_alarms(10, &[3, 4]));
    let output = notify(&world, &receiver, &["--from", "0", "--give-up-after-secs", "0"]);
    done(&output);
    assert_eq!((receiver.indices(), *receiver.attempts.lock().unwrap()), (vec![4], 2));
    assert!(said(&output).contains("entry 3 was not taken for 0 s, and is dropped"), "{}", said(&output));
    let metrics = fs::read_to_string(world.path("metrics")).unwrap();
    assert!(metrics.contains("hallmark_notify_dropped_total{reason=\"age\"} 1\n"), "{metrics}");
    assert!(metrics.contains("hallmark_notify_sent_total 1\n"), "{metrics}");
}

#[test]
fn repeated_alarms_of_one_kind_are_one_message_with_their_count() {
    let (world, receiver) = (World::new(), Receiver::refusing(0));
    let mut all = with_alarms(10, &[3, 5, 6, 8]);
    all[6] = String::from_utf8(all[6].clone()).unwrap().replace("stray-serial", "instance-stolen").into_bytes();
    world.publish(&all);
    done(&notify(&world, &receiver, &["--from", "0", "--fold-secs", "60"]));
    let taken = receiver.taken.lock().unwrap().clone();
    let told: Vec<_> =
        taken.iter().map(|taken| (&taken.body["data"]["indices"], &taken.body["data"]["count"])).collect();
    assert_eq!(
        format!("{told:?}"),
        "[(Array [Number(3), Number(5), Number(8)], Number(3)), (Array [Number(6)], Number(1))]"
    );
    assert_eq!(taken[0].body["data"]["last-index"], 8);
    let metrics = fs::read_to_string(world.path("metrics")).unwrap();
    assert!(metrics.contains("hallmark_notify_folded_total 2\n"), "{metrics}");
}

#[test]
fn alarms_of_a_flood_wait_for_the_end_of_the_window_and_a_restart_loses_none() {
    let (world, receiver) = (World::new(), Receiver::refusing(0));
    let mut all = with_alarms(600, &(3..600).collect::<Vec<_>>());
    world.publish(&all[..4]);
    let more = ["--from", "0", "--fold-secs", "3600"];
    let mut running = crate::world::Running(command(&world, &receiver, &more).spawn().unwrap());
    let await_taken = |count, running: &mut crate::world::Running| {
        while receiver.indices().len() < count {
            assert!(running.0.try_wait().unwrap().is_none(), "it goes on");
            thread::yield_now();
        }
    };
    await_taken(1, &mut running);
    all[599] = String::from_utf8(all[599].clone()).unwrap().replace("stray-serial", "instance-stolen").into_bytes();
    world.publish(&all);
    await_taken(2, &mut running);
    assert_eq!(receiver.indices(), [3, 599], "another kind does not wait behind the flood");
    drop(running);
    assert_eq!(fs::read_to_string(world.path("state")).unwrap().lines().next(), Some("4"));
    done(&notify(&world, &receiver, &more));
    let last = receiver.taken.lock().unwrap()[2].clone();
    assert_eq!((&last.body["data"]["index"], &last.body["data"]["count"]), (&4.into(), &595.into()));
    assert_eq!(last.body["data"]["indices"].as_array().unwrap().len(), 100);
}

#[test]
fn what_waits_for_a_receiver_that_takes_nothing_is_bounded_and_what_was_dropped_is_counted() {
    let (world, receiver) = (World::new(), Receiver::refusing(1));
    world.publish(&with_alarms(1_010, &(0..1_010).collect::<Vec<_>>()));
    let mut running = crate::world::Running(command(&world, &receiver, &["--from", "0"]).spawn().unwrap());
    while receiver.indices().len() < 1_000 {
        assert!(running.0.try_wait().unwrap().is_none(), "it goes on");
        thread::yield_now();
    }
    let metrics = fs::read_to_string(world.path("metrics")).unwrap();
    assert!(metrics.contains("hallmark_notify_dropped_total{reason=\"backlog\"} 10\n"), "{metrics}");
    assert_eq!(receiver.indices()[0], 10, "the oldest ones are dropped");
}

#[test]
fn nothing_is_dropped_for_room_while_the_receiver_takes_messages() {
    let (world, receiver) = (World::new(), Receiver::refusing(0));
    world.publish(&with_alarms(1_010, &(0..1_010).collect::<Vec<_>>()));
    done(&notify(&world, &receiver, &["--from", "0"]));
    assert_eq!(receiver.indices(), (0..1_010).collect::<Vec<_>>());
}

#[test]
fn other_types_are_sent_where_they_are_asked_for() {
    let (world, receiver) = (World::new(), Receiver::refusing(0));
    world.publish(&with_alarms(4, &[1]));
    done(&notify(&world, &receiver, &["--from", "0", "--type", "heartbeat"]));
    assert_eq!(receiver.indices(), [0, 2, 3]);
}

#[test]
fn nothing_is_sent_that_the_log_does_not_prove_and_nothing_is_hidden() {
    let (world, receiver) = (World::new(), Receiver::refusing(0));
    world.publish(&with_alarms(10, &[3]));
    for alarms in [&[][..], &[3, 4]] {
        // The bundle is another one than was signed.
        let forged = hallmark_tlog::bundle::encode(with_alarms(10, alarms)).unwrap();
        world.write("tile/entries/000.p/10", &forged);
        let output = notify(&world, &receiver, &["--from", "0"]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains("not those that the checkpoint signs"), "{}", said(&output));
    }
    assert!(receiver.indices().is_empty());
}

#[test]
fn a_log_that_was_cut_back_stops_it() {
    let (world, receiver) = (World::new(), Receiver::refusing(0));
    world.publish(&with_alarms(10, &[]));
    done(&notify(&world, &receiver, &[]));
    world.publish(&with_alarms(9, &[]));
    let output = notify(&world, &receiver, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
}

#[test]
fn a_longer_log_that_is_another_stops_it() {
    let (world, receiver) = (World::new(), Receiver::refusing(0));
    world.publish(&with_alarms(10, &[]));
    done(&notify(&world, &receiver, &[]));
    world.publish(&with_alarms(12, &[3, 11]));
    let output = notify(&world, &receiver, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("another log was put in its place"), "{}", said(&output));
    assert!(receiver.indices().is_empty());
}

#[test]
fn alarms_are_proven_although_the_daemon_has_moved_on() {
    let (world, receiver) = (World::new(), Receiver::refusing(0));
    world.between();
    fs::write(world.path("state"), "0\n").unwrap();
    done(&notify(&world, &receiver, &[]));
    assert_eq!(fs::read_to_string(world.path("state")).unwrap().lines().next(), Some("300"));
}
