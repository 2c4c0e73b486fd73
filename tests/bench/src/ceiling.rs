//! What the token can do: C_SignInit and C_Sign, and nothing else, by threads with a session each. It runs as a process of its
//! own, because SoftHSM reads where its tokens are from the environment; the key is one of its own, kept as a CA's key is.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Args;
use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    mechanism::Mechanism,
    object::{Attribute, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::{AuthPin, Ulong},
};
use serde::{Deserialize, Serialize};

use crate::{key::Key, raw::RawCalls};

/// OBJECT IDENTIFIER secp256r1, DER.
const SECP256R1: [u8; 10] = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// F4, big-endian.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

/// CKA_LABEL of the keys; they are destroyed in the end.
const LABEL: &str = "hallmark-bench";

/// Bytes that RSA's mechanism hashes and signs, as many as a TBSCertificate of a leaf has.
const TBS_BYTES: usize = 600;
/// ECDSA's mechanism signs a digest (SHA-256).
const DIGEST_BYTES: usize = 32;

/// What to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct CeilingArguments {
    /// The module.
    #[arg(long)]
    module: PathBuf,
    /// Label of the token.
    #[arg(long)]
    token: String,
    /// File with its user PIN.
    #[arg(long)]
    pin: PathBuf,
    /// Kind of the key.
    #[arg(long)]
    kind: Key,
    /// How long, in seconds, with each number of threads.
    #[arg(long)]
    seconds: u32,
    /// Threads that sign; repeated for one measurement after the other.
    #[arg(long)]
    threads: Vec<u32>,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Ceiling {
    /// Threads that signed.
    pub(crate) threads: u32,
    /// Signatures a second.
    pub(crate) per_s: f64,
    /// Median of what one took, in milliseconds.
    pub(crate) p50_ms: f64,
}

/// The command that measures it.
pub(crate) fn command(module: &Path, token: &str, pin: &Path, kind: Key, seconds: u32) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("ceiling").arg("--module").arg(module).args(["--token", token]).arg("--pin").arg(pin);
    command.args(["--kind", kind.setting(), "--seconds", &seconds.to_string(), "--threads", "1", "--threads", "2"]);
    Ok(command)
}

/// Measures, and prints it as JSON.
pub(crate) fn measure(arguments: &CeilingArguments) -> Result<()> {
    let context = Pkcs11::new(&arguments.module)?;
    context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let slot = slot_of(&context, &arguments.token)?;
    let session = context.open_rw_session(slot)?;
    let pin = fs::read_to_string(&arguments.pin).context("the PIN cannot be read")?;
    session.login(UserType::User, Some(&AuthPin::from(pin.trim())))?;
    let calls = RawCalls::load(&arguments.module)?;
    let (public, private) = make_pair(&session, arguments.kind)?;
    let signer = Signer { context: &context, slot, calls: &calls, key: private, kind: arguments.kind };
    let seconds = Duration::from_secs(arguments.seconds.into());
    let measured: Result<Vec<_>> = arguments.threads.iter().map(|threads| signer.measure(*threads, seconds)).collect();
    for object in [public, private] {
        session.destroy_object(object)?;
    }
    println!("{}", serde_json::to_string(&measured?)?);
    Ok(())
}

fn slot_of(context: &Pkcs11, label: &str) -> Result<Slot> {
    for slot in context.get_slots_with_token()? {
        if context.get_token_info(slot)?.label().trim_end() == label {
            return Ok(slot);
        }
    }
    Err(anyhow!("there is no token `{label}`"))
}

fn make_pair(session: &Session, kind: Key) -> Result<(ObjectHandle, ObjectHandle)> {
    let named = [Attribute::Token(true), Attribute::Label(LABEL.into())];
    let guarded =
        [Attribute::Private(true), Attribute::Sensitive(true), Attribute::Extractable(false), Attribute::Sign(true)];
    let (mechanism, of_kind) = match kind.rsa_bits() {
        None => (Mechanism::EccKeyPairGen, vec![Attribute::EcParams(SECP256R1.to_vec())]),
        Some(bits) => {
            let bits = Attribute::ModulusBits(Ulong::new(bits.into()));
            (Mechanism::RsaPkcsKeyPairGen, vec![bits, Attribute::PublicExponent(RSA_EXPONENT.to_vec())])
        }
    };
    Ok(session.generate_key_pair(&mechanism, &[&named[..], &of_kind].concat(), &[&named[..], &guarded].concat())?)
}

/// A key, and the way to it.
struct Signer<'a> {
    context: &'a Pkcs11,
    slot: Slot,
    calls: &'a RawCalls,
    key: ObjectHandle,
    kind: Key,
}

impl Signer<'_> {
    fn measure(&self, threads: u32, time: Duration) -> Result<Ceiling> {
        let start = Barrier::new(usize::try_from(threads)?);
        let began = Instant::now();
        let mut took = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| self.work(&start, time))).collect();
            let mut all = Vec::new();
            for worker in workers {
                all.extend(worker.join().map_err(|_| anyhow!("a thread panicked"))??);
            }
            Ok::<_, anyhow::Error>(all)
        })?;
        let seconds = began.elapsed().as_secs_f64();
        ensure!(!took.is_empty(), "nothing was signed");
        took.sort_unstable();
        let p50 = took.get(took.len() / 2).copied().unwrap_or_default();
        Ok(Ceiling { threads, per_s: took.len() as f64 / seconds, p50_ms: p50.as_secs_f64() * 1e3 })
    }

    /// Signs until the time is over; what each signature took.
    fn work(&self, start: &Barrier, time: Duration) -> Result<Vec<Duration>> {
        let session = self.context.open_ro_session(self.slot);
        start.wait();
        let session = session?;
        let (mechanism, data) = match self.kind.rsa_bits() {
            None => (Mechanism::Ecdsa, vec![0x5a; DIGEST_BYTES]),
            Some(_) => (Mechanism::Sha256RsaPkcs, vec![0x5a; TBS_BYTES]),
        };
        let (mut took, began) = (Vec::new(), Instant::now());
        let mut before = Duration::ZERO;
        while before < time {
            self.calls.sign(&session, &mechanism, self.key, &data)?;
            let now = began.elapsed();
            took.push(now - before);
            before = now;
        }
        Ok(took)
    }
}
