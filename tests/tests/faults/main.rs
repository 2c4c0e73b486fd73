//! Every kind of fault of a key device, in everything that the daemon does with it, under load: no wrong signature leaves, no call is
//! without an answer beyond its deadline, nothing is signed that does not stand in the log, and the daemon serves again within five
//! seconds of the fault's end, by itself.
//!
//! `make test-faults` tries all of them and prints the table that is in docs/faults.md; `make test` tries each kind once.

#[cfg(test)]
mod cells;
#[cfg(test)]
mod load;
#[cfg(test)]
mod table;

use std::{
    env, fs,
    process::Command,
    time::{Duration, Instant},
};

use hallmark_faulty::{Device, Function, When};
use hallmark_policy::hex;
use hallmark_proto::{
    operator::{ActivateEpochRequest, PrepareEpochRequest, operator_client::OperatorClient},
    signer::{MintCertificateResponse, signer_client::SignerClient},
};
use hallmark_test_token::Token;
use hallmark_tests::{
    AUTHORITY,
    client::{connect, connect_operator},
    daemon::{Daemon, Laboratory, program, succeed},
    example_policy,
    log::Log,
    tools::{Pem, attempt, pem, sha256, tbs},
};
use tokio::{task::JoinHandle, time::timeout};
use tonic::{Code, transport::Channel};

use self::{
    cells::{Kind, Operation},
    load::Load,
    table::Table,
};

/// The line: how long after a fault's end the daemon may take until it serves again.
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(5);

/// How long it may take until a fault meets a call, and until a rotation comes to an end at all.
const AMPLE: Duration = Duration::from_secs(40);

/// How long an operator waits for one call, who asks again afterwards.
const OPERATORS_PATIENCE: Duration = Duration::from_secs(8);

/// Crashes of the core within a minute; with ten of them the supervisor gives up, as it should.
const CRASHES_MAX: usize = 6;

/// What says how much is tried.
const HOW_MUCH: &str = "HALLMARK_FAULTS";

/// Everything that is there.
struct Stand<'a> {
    laboratory: &'a Laboratory,
    daemon: Daemon,
    device: &'a Device,
    token: &'a Token,
    load: Load,
    probe: SignerClient<Channel>,
    operator: OperatorClient<Channel>,
    /// How many crashes there had been, and when that was looked at.
    crashes: Vec<(Instant, usize)>,
}

/// What a cell came to.
struct Outcome {
    /// From the fault's end until a certificate was minted, and until the rotation was done where there was one.
    took: Duration,
    hits: u64,
}

/// The example's authority, with CRLs; a key that is retired signs a last one, and is destroyed.
fn policy() -> String {
    let settings = "[authority.athenz]\nretired-key = \"destroy\"\ncrl = { lifetime = \"7d\", refresh = \"1d\" }\n\n";
    let head = "[authority.athenz.root]";
    example_policy().replacen(head, &[settings, head].concat(), 1)
}

fn laboratory(device: &Device, token: &Token) -> Laboratory {
    let laboratory = Laboratory::behind(device, token, &policy());
    let settings = fs::read_to_string(laboratory.path("signer.toml")).unwrap();
    let deadline = format!("default-deadline = \"{}s\"", load::DEADLINE.as_secs());
    let bounded = settings.replacen("default-deadline = \"20s\"", &deadline, 1);
    assert_ne!(bounded, settings);
    fs::write(laboratory.path("signer.toml"), bounded).unwrap();
    succeed(&mut laboratory.init());
    laboratory
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_device_does_nothing_wrong_leaves_and_the_daemon_serves_again() {
    let how_much = env::var(HOW_MUCH).unwrap_or_default();
    let cells = if how_much.is_empty() { cells::some() } else { cells::all() };
    let (token, device) = (Token::make("faults"), Device::new());
    let laboratory = laboratory(&device, &token);
    let mut stand = Stand::new(&laboratory, &device, &token).await;
    eprintln!("{}", stand.calls_of_a_signature().await);
    let (mut table, mut failed, count) = (Table::default(), Vec::new(), cells.len());
    for (number, (kind, operation)) in cells.into_iter().enumerate() {
        let (what, before) = (format!("{} / {}", kind.name(), operation.name()), stand.load.counts());
        let void = stand.load.void();
        let came = stand.try_one(kind, operation).await;
        let after = stand.load.counts();
        let calls = format!("{} minted, {} told to come back", after.0 - before.0, after.1 - before.1);
        let told = match came {
            Ok(Outcome { hits, .. }) if stand.load.void() > void && !operation.is_of_rotation() => {
                failed.push(format!("{what}: a certificate is void, and nobody rotated"));
                format!("{hits} calls met")
            }
            Ok(Outcome { took, hits }) => {
                table.set(kind, operation, took);
                if took > RECOVERY_TIME_MAX {
                    failed.push(format!("{what}: served again after {took:?}"));
                }
                format!("{:.1} s  ({hits} calls met; {calls})", took.as_secs_f64())
            }
            Err(sentence) => {
                failed.push(format!("{what}: {sentence}"));
                sentence
            }
        };
        let wrong = stand.load.wrong();
        eprintln!("{:>3}/{count}  {what:<52} {told}", number + 1);
        wrong.iter().for_each(|sentence| eprintln!("         {sentence}"));
        failed.extend(wrong.into_iter().map(|sentence| format!("{what}: {sentence}")));
    }
    let (minted, _) = stand.load.counts();
    println!("\nSeconds from a fault's end until it was served again:\n\n{}", table.text());
    println!(
        "The longest: {:.1} s. {minted} certificates, each verified; {} void.",
        table.longest().as_secs_f64(),
        stand.load.void()
    );
    let log = fs::read_to_string(laboratory.path("hallmarkd.log")).unwrap();
    assert!(failed.is_empty(), "{}\n{}", failed.join("\n"), last_lines(&log));
    stand.ends_with_all_in_the_log().await;
    if how_much == "write" {
        table::document(&table.text());
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(80)..].join("\n")
}

impl<'a> Stand<'a> {
    async fn new(laboratory: &'a Laboratory, device: &'a Device, token: &'a Token) -> Self {
        let daemon = laboratory.start();
        let root = der(&fs::read(laboratory.path("root.pem")).unwrap());
        let load = Load::start(laboratory, &daemon, root).await;
        let probe = connect(laboratory, &daemon).await;
        let operator = connect_operator(laboratory, &daemon).await;
        Self { laboratory, daemon, device, token, load, probe, operator, crashes: Vec::new() }
    }

    /// How many PKCS#11 calls a signature costs, by the device's own counts.
    async fn calls_of_a_signature(&mut self) -> String {
        assert!(self.load.serves_again(&mut self.probe, AMPLE).await, "it serves");
        // A session looks for its key when it signs first, and some may have been idle until now.
        for _ in 0..5 {
            let before = self.device.counts();
            tokio::time::sleep(Duration::from_secs(2)).await;
            let calls = self.device.counts().since(&before);
            let (begun, signed) = (calls.of(Function::SignInit), calls.of(Function::Sign));
            // What health asks, and nothing else.
            let expected = [Function::SignInit, Function::Sign, Function::GetSessionInfo];
            if calls.0.keys().all(|function| expected.contains(function)) {
                // One may have begun in each of the daemon's sessions when it was counted.
                assert!(signed > 20 && begun.abs_diff(signed) <= 4, "{calls:?}");
                return format!(
                    "{signed} signatures: {begun} C_SignInit and {signed} C_Sign, and no other call but those of health"
                );
            }
        }
        panic!("signatures cost other calls, too: {:?}", self.device.counts());
    }

    async fn try_one(&mut self, kind: Kind, operation: Operation) -> Result<Outcome, String> {
        self.device.mend();
        if !self.load.serves_again(&mut self.probe, AMPLE).await {
            return Err("it did not serve before".to_owned());
        }
        self.spare_crashes(kind).await;
        let (own, other) = self.labels();
        let effect = kind.effect(&own, &other);
        if operation == Operation::SignCrl {
            self.prepare().await?;
        }
        let made = self.device.calls(Function::GenerateKeyPair);
        let mut rotating = operation.is_of_rotation().then(|| self.rotate());
        if operation == Operation::SignCa {
            self.await_calls(Function::GenerateKeyPair, made).await?;
        }
        let whens = match operation {
            // Nobody else reads attributes while all is well.
            Operation::ReadBack if kind.is_once() => vec![When::AfterKey(1)],
            Operation::ReadBack => vec![When::AfterKey(1), When::AfterKey(2), When::AfterKey(3)],
            _ if kind.is_once() => vec![When::First(1)],
            _ => vec![When::Always],
        };
        let faults: Vec<_> =
            whens.into_iter().map(|when| self.device.fault(operation.function(), when, effect.clone())).collect();
        match operation {
            Operation::Start => self.restart_core().await,
            Operation::OpenSession | Operation::LogIn | Operation::Find | Operation::Read => self.device.end_sessions(),
            _ => {}
        }
        let began = Instant::now();
        let hits = || faults.iter().map(|fault| fault.hits()).sum::<u64>();
        while hits() == 0 {
            if began.elapsed() > AMPLE {
                return Err("the fault met no call".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if !kind.is_once() {
            tokio::time::sleep(kind.time()).await;
        }
        let met = hits();
        self.device.mend();
        let over = Instant::now();
        if !self.load.serves_again(&mut self.probe, AMPLE).await {
            return Err("it did not serve again".to_owned());
        }
        if let Some(rotating) = rotating.take() {
            let done = timeout(AMPLE, rotating).await.map_err(|_| "the rotation did not come to an end")?;
            let generation = done.map_err(|error| error.to_string())??;
            self.crl_of(generation).await?;
        }
        Ok(Outcome { took: over.elapsed(), hits: met })
    }

    /// Waits, where the supervisor would soon give up a core that comes down so often.
    async fn spare_crashes(&mut self, kind: Kind) {
        loop {
            let log = fs::read_to_string(self.laboratory.path("hallmarkd.log")).unwrap();
            let crashed = log.lines().filter(|line| line.contains("the core ended (") && !line.contains("exit code"));
            let (now, crashes) = (Instant::now(), crashed.count());
            let long_ago = self.crashes.iter().rev().find(|(at, _)| now.duration_since(*at) > Duration::from_secs(60));
            let lately = crashes - long_ago.map_or(0, |(_, crashes)| *crashes);
            self.crashes.push((now, crashes));
            if lately < CRASHES_MAX || !(kind.is_once() || kind == Kind::Hangs) {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Labels of the key that signs, and of the root's.
    fn labels(&self) -> (String, String) {
        let generation = |label: &String| {
            let rest = label.split("-epoch-").nth(1)?;
            rest.split('-').next()?.parse::<u64>().ok()
        };
        let labels = self.token.labels();
        let own = labels.iter().filter(|label| generation(label).is_some()).max_by_key(|label| generation(label));
        let other = labels.iter().find(|label| generation(label).is_none());
        (own.expect("the key of an epoch").clone(), other.expect("the root's key").clone())
    }

    /// SIGTERM to the core alone; the supervisor starts another.
    async fn restart_core(&self) {
        let core = self.daemon.children_that("core").next().expect("a core");
        succeed(Command::new("kill").args(["-TERM", &core.to_string()]));
    }

    async fn await_calls(&self, function: Function, before: u64) -> Result<(), String> {
        let began = Instant::now();
        while self.device.calls(function) == before {
            if began.elapsed() > AMPLE {
                return Err(format!("nobody calls {function}"));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    async fn prepare(&mut self) -> Result<u64, String> {
        prepare(&mut self.operator).await.map_err(|status| status.to_string())
    }

    /// An operator who rotates, and asks again where it is told to come back.
    fn rotate(&self) -> JoinHandle<Result<u64, String>> {
        let mut operator = self.operator.clone();
        tokio::spawn(async move {
            loop {
                let rotated = async {
                    let generation = prepare(&mut operator).await?;
                    activate(&mut operator, generation).await.map(|()| generation)
                };
                match timeout(OPERATORS_PATIENCE, rotated).await {
                    Ok(Ok(generation)) => return Ok(generation),
                    Ok(Err(status)) if !matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded) => {
                        return Err(format!("a rotation was answered {status:?}"));
                    }
                    Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        })
    }

    /// The first CRL of an epoch is published, and holds under its key.
    async fn crl_of(&mut self, generation: u64) -> Result<(), String> {
        let path = self.laboratory.path(&format!("log/crl/{AUTHORITY}/epoch-{generation}.crl"));
        let began = Instant::now();
        while !path.exists() {
            if began.elapsed() > AMPLE {
                return Err("an epoch has no CRL".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let issuer = self.probe.get_chain(hallmark_proto::signer::GetChainRequest {
            authority: AUTHORITY.to_owned(),
            ..Default::default()
        });
        let chain = issuer.await.map_err(|status| status.to_string())?.into_inner();
        let ca = self.laboratory.path("crl-issuer.pem");
        fs::write(&ca, pem("CERTIFICATE", &chain.mesh_ca)).unwrap();
        let (path, ca) = (path.to_str().unwrap(), ca.to_str().unwrap());
        let (_, said) = attempt("openssl", &["crl", "-inform", "DER", "-in", path, "-CAfile", ca, "-noout"]);
        if said.contains("verify OK") { Ok(()) } else { Err(format!("a CRL with a wrong signature: {said}")) }
    }

    /// The daemon stops in order, its log verifies, and every certificate that anybody was given stands in it, to the byte.
    async fn ends_with_all_in_the_log(self) {
        let Self { laboratory, daemon, load, probe, operator, .. } = self;
        let minted = load.stop().await;
        drop((probe, operator));
        let said = || fs::read_to_string(laboratory.path("hallmarkd.log")).unwrap();
        assert!(daemon.terminate(), "{}", last_lines(&said()));
        let log = Log::read(&laboratory.path("log"), &fs::read_to_string(laboratory.path("log.vkey")).unwrap());
        for response in &minted {
            log.proves(response);
            let entry = &log.entries[usize::try_from(response.log_index).unwrap()];
            assert_eq!((&entry["type"], &entry["decision"]), (&"decision".into(), &"issued".into()));
            assert_eq!(entry["tbs-sha256"], hex(&sha256(tbs(&response.certificate))));
        }
        let verdict = judge(laboratory, &["verify", "--no-state"]);
        assert!(verdict.contains("\"good\""), "{verdict}");
        reconciles(laboratory, &minted);
        println!("{} certificates stand in a log that verifies.", minted.len());
    }
}

async fn prepare(operator: &mut OperatorClient<Channel>) -> Result<u64, tonic::Status> {
    let request = PrepareEpochRequest { authority: AUTHORITY.to_owned(), lifetime_seconds: 0 };
    let prepared = operator.prepare_epoch(request).await?.into_inner();
    Ok(prepared.epoch.and_then(|epoch| epoch.epoch).map_or(0, |epoch| epoch.generation))
}

async fn activate(operator: &mut OperatorClient<Channel>, generation: u64) -> Result<(), tonic::Status> {
    let request = ActivateEpochRequest { authority: AUTHORITY.to_owned(), generation, revoke_previous: false };
    operator.activate_epoch(request).await.map(drop)
}

/// What `hallmark log` says of the published log.
fn judge(laboratory: &Laboratory, arguments: &[&str]) -> String {
    let mut command = Command::new(program("hallmark"));
    let (subcommand, more) = arguments.split_first().unwrap();
    command
        .args(["--json", "log", subcommand])
        .arg(laboratory.path("log"))
        .arg("--key")
        .arg(laboratory.path("log.vkey"));
    succeed(command.args(more))
}

/// The certificates of the last issuer against what the log says of it.
fn reconciles(laboratory: &Laboratory, minted: &[MintCertificateResponse]) {
    let last = minted.last().expect("something was minted");
    let of_last: Vec<_> = minted.iter().filter(|response| response.chain == last.chain).collect();
    let directory = laboratory.path("minted");
    fs::create_dir(&directory).unwrap();
    for (number, response) in of_last.iter().enumerate() {
        fs::write(directory.join(format!("{number}.der")), &response.certificate).unwrap();
    }
    let issuer = Pem::write(&laboratory.path("."), last).intermediate;
    let (issuer, directory) = (issuer.to_str().unwrap(), directory.to_str().unwrap());
    let said = judge(laboratory, &["reconcile", "--issuer", issuer, "--certificates", directory]);
    eprintln!("{said}");
}

fn der(pem: &[u8]) -> Vec<u8> {
    pem_rfc7468::decode_vec(pem).expect("PEM").1
}
