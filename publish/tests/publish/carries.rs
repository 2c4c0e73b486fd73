//! What is carried: all of it, in order, to a directory and to S3; co-signed; and never an older log over a newer one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use hallmark_tlog::{checkpoint::Checkpoint, cosignature::Witness, frontier::Frontier, hash::Hash, note::Note};

use crate::world::{Running, World, curl, done, entries, key, said};

#[test]
fn a_log_that_grows_is_carried_and_old_partial_files_leave() {
    let world = World::new();
    let all = entries(700);
    for size in [3, 250, 300, 301, 700] {
        world.publish(&all[..size]);
        done(&world.push(&[]));
        assert_eq!(world.carried(), size as u64);
    }
    let digest = "4eab33c0b9ba9ded10e2a046539031d60df90438efad3533d7ad16b6f61da112";
    let wrong = "ab".repeat(32);
    world.write(&format!("policies/{digest}"), b"version = 1");
    world.write(&format!("policies/{wrong}"), b"version = 1");
    world.publish(&entries(702));
    let output = world.push(&[]);
    done(&output);
    assert_eq!(fs::read(world.path("target/policies").join(digest)).unwrap(), b"version = 1");
    assert!(said(&output).contains("does not have the SHA-256 that its name says"), "{}", said(&output));
    assert!(!world.path("target/policies").join(wrong).exists());
    assert!(!world.path("target/checkpoint.tmp").exists());
}

#[test]
fn partial_files_stay_at_the_target_until_their_full_one_is_there() {
    let world = World::new();
    let there = |width: u64| world.path(&format!("target/tile/entries/000.p/{width}")).exists();
    for size in [3, 100, 250, 255] {
        world.publish(&entries(size));
        done(&world.push(&[]));
    }
    assert!([3, 100, 250, 255].into_iter().all(there), "whoever has an earlier checkpoint finds its files");
    world.publish(&entries(300));
    done(&world.push(&[]));
    assert!(![3, 100, 250, 255].into_iter().any(there));
    // A run that was interrupted had not removed it.
    world.publish(&entries(310));
    fs::create_dir_all(world.path("target/tile/entries/000.p")).unwrap();
    fs::write(world.path("target/tile/entries/000.p/100"), b"left").unwrap();
    done(&world.push(&[]));
    assert!(!there(100));
    assert_eq!(world.carried(), 310);
}

#[test]
fn entries_that_the_checkpoint_does_not_sign_are_not_made_public() {
    let world = World::new();
    world.publish(&entries(700));
    let path = world.path("log/tile/entries/001");
    let whole = fs::read(&path).unwrap();
    let mut changed = whole.clone();
    for at in [700, 701] {
        changed[at] ^= 1;
    }
    fs::write(&path, &changed).unwrap();
    let output = world.push(&[]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("its entries are not those that the checkpoint signs"), "{}", said(&output));
    assert!(
        !world.path("target/tile").exists() && !world.path("target/checkpoint").exists(),
        "nothing is there to be kept for a year"
    );
    fs::write(&path, &whole).unwrap();
    // Hash tiles are made of the entries.
    fs::write(world.path("log/tile/0/000"), b"damaged").unwrap();
    done(&world.push(&[]));
    assert_eq!(world.carried(), 700);
}

#[test]
fn a_log_is_carried_although_its_partial_files_are_gone() {
    let world = World::new();
    world.between();
    done(&world.push(&[]));
    assert_eq!(world.carried(), 300);
}

#[test]
fn a_log_that_is_written_all_the_time_is_followed() {
    let world = World::new();
    let all = entries(3_000);
    world.publish(&all[..1]);
    let program = world.program("push", &world.to_files());
    let arguments: Vec<_> = program.get_args().map(ToOwned::to_owned).filter(|argument| argument != "--once").collect();
    let mut child = Command::new(program.get_program())
        .args(arguments)
        .args(["--every-millis", "1"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let warnings = BufReader::new(child.stderr.take().unwrap()).lines();
    let running = Running(child);
    let mut seen = BTreeSet::new();
    let size_of_target = || {
        let note = Note::parse(&fs::read(world.path("target/checkpoint")).ok()?).ok()?;
        Checkpoint::parse_unverified(note.text()).ok().map(|head| head.size())
    };
    let sizes: Vec<usize> = (1..3_000).step_by(7).chain([3_000]).collect();
    for (before, size) in sizes.iter().zip(sizes.iter().skip(1)) {
        world.publish(&all[..*size]);
        // What is read of the one before is gone at once: a daemon leaves more time.
        world.remove_partial(*before as u64, *size as u64);
        seen.extend(size_of_target());
    }
    assert!(seen.len() > 10, "it was followed while it was written: {seen:?}");
    let until = Instant::now() + Duration::from_secs(30);
    while size_of_target() != Some(3_000) {
        assert!(Instant::now() < until, "{:?}", size_of_target());
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(world.carried(), 3_000);
    drop(running);
    assert_eq!(warnings.map_while(Result::ok).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn private_values_are_made_public_only_where_that_was_asked_for() {
    let world = World::new();
    world.publish(&entries(300));
    for name in ["openings/000", "openings/001.p/44"] {
        world.write(name, b"{\"index\":299}\n");
    }
    done(&world.push(&[]));
    assert!(!world.path("target/openings").exists());
    let world_with = World::new();
    world_with.publish(&entries(300));
    for name in ["openings/000", "openings/001.p/44"] {
        world_with.write(name, b"{\"index\":299}\n");
    }
    done(&world_with.push(&["--with-openings"]));
    for name in ["openings/000", "openings/001.p/44"] {
        assert!(world_with.path("target").join(name).exists(), "{name}");
    }
    let output = world_with.push(&[]);
    done(&output);
    assert!(said(&output).contains("warning: the target has private values in `openings/`"), "{}", said(&output));
}

#[test]
fn a_target_or_a_directory_that_was_emptied_is_refused_where_the_log_was_seen() {
    let world = World::new();
    done(&world.check(&[]));
    assert_eq!(world.check(&["--expect-seen"]).status.code(), Some(1), "neither has a checkpoint");
    world.publish(&entries(300));
    done(&world.check(&[]));
    let output = world.check(&["--expect-seen"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("the log was carried before") && said(&output).contains("hint: find out who"),
        "{}",
        said(&output)
    );
    done(&world.push(&[]));
    done(&world.check(&["--expect-seen"]));
    fs::remove_file(world.path("log/checkpoint")).unwrap();
    assert_eq!(world.check(&["--expect-seen"]).status.code(), Some(1), "the directory was emptied");
}

#[test]
fn an_older_or_another_log_never_takes_the_place_of_a_newer_one() {
    let world = World::new();
    world.publish(&entries(300));
    done(&world.push(&[]));
    world.publish(&entries(280));
    for command in ["push", "check"] {
        let output = world.program(command, &world.to_files()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(
            said(&output).contains("the target has 300 entries of this log, and the directory 280"),
            "{}",
            said(&output)
        );
        assert!(said(&output).contains("hint: the daemon's database is older"), "{}", said(&output));
    }
    let mut other = entries(310);
    other[5] = b"another".to_vec();
    world.publish(&other);
    let output = world.push(&[]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("the two are different logs"), "{}", said(&output));
    assert_eq!(world.carried(), 300);
}

#[test]
fn pruned_bundles_leave_the_target_and_it_says_how_many() {
    let world = World::new();
    world.publish(&entries(1_000));
    done(&world.push(&["--keep-entries", "300"]));
    assert_eq!(fs::read_to_string(world.path("target/pruned-before")).unwrap(), "512\n");
    assert!(!world.path("target/tile/entries/001").exists() && world.path("target/tile/entries/002").exists());
    assert!(world.path("target/tile/0/000").exists(), "hashes stay");
    // A run that said so and was interrupted left it there.
    fs::write(world.path("target/tile/entries/001"), b"left").unwrap();
    done(&world.push(&[]));
    assert!(!world.path("target/tile/entries/001").exists());
}

#[test]
fn a_log_that_goes_on_under_another_name_is_carried_from_its_first_bundle_on() {
    let world = World::new();
    world.publish(&entries(700));
    fs::remove_file(world.path("log/tile/entries/000")).unwrap();
    world.write("pruned-before", b"256\n");
    done(&world.push(&[]));
    assert_eq!(fs::read_to_string(world.path("target/pruned-before")).unwrap(), "256\n");
    assert!(!world.path("target/tile/entries/000").exists() && world.path("target/tile/entries/001").exists());
    assert!(world.path("target/tile/0/000").exists(), "hashes are there from the beginning");
    world.publish(&entries(1_000));
    done(&world.push(&["--keep-entries", "300"]));
    assert_eq!(fs::read_to_string(world.path("target/pruned-before")).unwrap(), "512\n");
}

/// A witness behind HTTP/1.1; it remembers the size that it saw.
struct WitnessServer {
    url: String,
    seen: Arc<Mutex<u64>>,
}

impl WitnessServer {
    fn start(witness: Witness, seen: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/w", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(seen));
        let remembered = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut length = 0;
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
                        break;
                    }
                    if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let (status, answer) = judge(&witness, &String::from_utf8(body).unwrap(), &remembered);
                let head =
                    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(answer.as_bytes()));
            }
        });
        Self { url, seen }
    }
}

/// What a witness does (C2SP `tlog-witness`): the old size must be its own, and the proof must hold.
fn judge(witness: &Witness, question: &str, seen: &Mutex<u64>) -> (&'static str, String) {
    let (proof, note) = question.split_once("\n\n").unwrap();
    let mut lines = proof.lines();
    let old: u64 = lines.next().unwrap().strip_prefix("old ").unwrap().parse().unwrap();
    let proof: Vec<Hash> = lines.map(|line| Hash::from_base64(line).unwrap()).collect();
    let note = Note::parse(note.as_bytes()).unwrap();
    let head = Checkpoint::open_note(&note, &[key().verifier().clone()]).unwrap();
    let mut seen = seen.lock().unwrap();
    if old != *seen {
        return ("409 Conflict", format!("{seen}\n"));
    }
    let mut before = Frontier::empty();
    before.append_all(entries(usize::try_from(old).unwrap()).iter().map(|entry| Hash::of_leaf(entry)));
    let held = hallmark_tlog::proof::verify_consistency(old, &before.root(), head.size(), &head.root(), &proof);
    if held.is_err() {
        return ("422 Unprocessable Entity", String::new());
    }
    *seen = head.size();
    ("200 OK", format!("{}\n", witness.cosign(&note, 1_800_000_000).unwrap()))
}

#[test]
fn witnesses_cosign_what_is_carried_and_one_that_saw_more_stops_it() {
    let world = World::new();
    let witness = Witness::new("witness.example/w", [7; 32]).unwrap();
    let verifier = witness.verifier().clone();
    let server = WitnessServer::start(witness, 100);
    let named = format!("{}={verifier}", server.url);
    world.publish(&entries(300));
    done(&world.push(&["--witness", &named]));
    let note = Note::parse(&fs::read(world.path("target/checkpoint")).unwrap()).unwrap();
    assert_eq!(verifier.cosigned(&note), Some(1_800_000_000));
    assert_eq!((world.carried(), *server.seen.lock().unwrap()), (300, 300));
    *server.seen.lock().unwrap() = 400;
    world.publish(&entries(350));
    let output = world.push(&["--witness", &named]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("the witness `witness.example/w` has 400 entries"), "{}", said(&output));
    assert_eq!(world.carried(), 300, "nothing was made public that a witness contradicts");
    let nobody = format!("http://127.0.0.1:9/={verifier}");
    done(&world.push(&["--witness", &nobody]));
    assert_eq!(world.carried(), 350, "a witness that is away holds nothing up");
}

#[test]
fn before_a_daemon_starts_every_witness_is_asked_whether_it_has_seen_more() {
    let world = World::new();
    let witness = Witness::new("witness.example/w", [7; 32]).unwrap();
    let verifier = witness.verifier().clone();
    let server = WitnessServer::start(witness, 0);
    let named = format!("{}={verifier}", server.url);
    world.publish(&entries(300));
    done(&world.push(&["--witness", &named]));
    done(&world.check(&["--witness", &named]));
    let before = fs::read(world.path("target/checkpoint")).unwrap();
    world.publish(&entries(310));
    done(&world.check(&["--witness", &named]));
    assert_eq!(fs::read(world.path("target/checkpoint")).unwrap(), before, "nothing is carried");
    *server.seen.lock().unwrap() = 320;
    let refused = world.check(&["--witness", &named]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("the witness `witness.example/w` has 320 entries"), "{}", said(&refused));
    assert!(said(&refused).contains("hint: the daemon's database is older"), "{}", said(&refused));
    *server.seen.lock().unwrap() = 300;
    let mut forked = entries(310);
    forked[302] = b"another".to_vec();
    world.publish(&forked);
    done(&world.check(&["--witness", &named]));
    forked[299] = b"another".to_vec();
    forked[305] = b"another".to_vec();
    world.publish(&forked);
    let refused = world.check(&["--witness", &named]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    let nobody = format!("http://127.0.0.1:9/={verifier}");
    world.publish(&entries(310));
    let unknown = world.check(&["--witness", &nobody]);
    assert_eq!(unknown.status.code(), Some(2), "{}", said(&unknown));
    assert!(
        said(&unknown).contains("0 of 1 witnesses co-signed") && said(&unknown).contains("--quorum"),
        "{}",
        said(&unknown)
    );
    done(&world.check(&["--witness", &nobody, "--quorum", "0"]));
}

#[test]
fn an_answer_of_a_witness_without_end_is_none() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/w", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            // The question ends with the signature.
            lines.map_while(Result::ok).find(|line| line.starts_with('\u{2014}'));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
            while stream.write_all(&[b'a'; 65_536]).is_ok() {}
        }
    });
    let world = World::new();
    world.publish(&entries(3));
    let verifier = Witness::new("witness.example/w", [7; 32]).unwrap().verifier().clone();
    let output = world.push(&["--witness", &format!("{url}={verifier}")]);
    done(&output);
    assert!(said(&output).contains("it answers with more than 16384 bytes"), "{}", said(&output));
    assert_eq!(world.carried(), 3);
}

/// moto, which plays S3, and its address.
fn s3() -> (Running, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/moto");
    let output = Command::new(script).output().unwrap();
    done(&output);
    let program = String::from_utf8(output.stdout).unwrap();
    let mut server = Command::new(program.trim());
    let mut child =
        server.args(["-H", "127.0.0.1", "-p", "0"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    let address = lines.find_map(|line| line.split_once("Running on ").map(|(_, address)| address.trim().to_owned()));
    // Whoever writes on must find a reader.
    thread::spawn(move || lines.for_each(drop));
    (Running(child), address.expect("moto says where it runs"))
}

#[test]
fn s3_gets_the_log_with_headers_that_say_how_long_it_may_be_kept() {
    let world = World::new();
    let (_running, endpoint) = s3();
    curl(&["-X", "PUT", &format!("{endpoint}/bucket")]);
    let push = || {
        let mut program = world.program("push", "s3://bucket/some/log");
        program.env("AWS_ENDPOINT", &endpoint).env("AWS_ALLOW_HTTP", "true").env("AWS_REGION", "us-east-1");
        program.env("AWS_ACCESS_KEY_ID", "a").env("AWS_SECRET_ACCESS_KEY", "b").output().unwrap()
    };
    for size in [200, 300] {
        world.publish(&entries(size));
        done(&push());
    }
    let url = |path: &str| format!("{endpoint}/bucket/some/log/{path}");
    let signed = ["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "a:b"];
    let head = |path: &str| curl(&[&signed[..], &["--head", &url(path)]].concat()).to_lowercase();
    let (full, checkpoint) = (head("tile/0/000"), head("checkpoint"));
    assert!(full.contains("cache-control: public, max-age=31536000, immutable"), "{full}");
    assert!(
        checkpoint.contains("cache-control: no-cache") && checkpoint.contains("content-type: text/plain"),
        "{checkpoint}"
    );
    let mut fetched = BTreeMap::new();
    for path in
        ["checkpoint", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"]
    {
        let out = world.path("fetched").join(path);
        fs::create_dir_all(out.parent().unwrap()).unwrap();
        curl(&[&signed[..], &["--output", out.to_str().unwrap(), &url(path)]].concat());
        fetched.insert(path, fs::read(out).unwrap());
    }
    for (path, content) in fetched {
        assert_eq!(content, fs::read(world.path("log").join(path)).unwrap(), "{path}");
    }
    world.publish(&entries(250));
    assert_eq!(push().status.code(), Some(1), "an older log is refused there, too");
}
