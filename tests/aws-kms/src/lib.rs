//! A KMS for tests: moto, behind a relay that stops, starts and hangs as a network does, and refuses and lies as a service may.
//!
//! moto shows what the calls are like, and keys of most kinds. What it does not show is listed in [`LIMITS`], so that nothing is skipped in silence;
//! `server.py` does those things as AWS's documentation has them ([`Kms::new`]). It must never listen anywhere but on 127.0.0.1.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on ends by panicking"
)]

mod http;
mod limits;
mod relay;
mod server;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use self::relay::Relay;
pub use limits::{LIMITS, Limit};
pub use relay::Fault;
pub use server::Kind;

/// The region that is spoken to.
pub const REGION: &str = "eu-central-1";

/// The profile, key and token that a relay lets in.
pub const PROFILE: &str = "hallmark";
/// Its access key.
pub const ACCESS_KEY_ID: &str = "AKIAHALLMARKTESTS000";
/// Its secret.
pub const SECRET_ACCESS_KEY: &str = "a/secret+of/tests+and/of+nobody/else0000";

/// How long a state is waited for.
const AMPLE: Duration = Duration::from_secs(30);

/// Accounts are numbered, each process from another number on.
static ACCOUNTS: AtomicU32 = AtomicU32::new(0);

/// An account of its own in a KMS, behind a relay.
pub struct Kms {
    server: SocketAddr,
    relay: Relay,
    account: String,
}

impl Kms {
    /// A KMS that does what AWS's documentation says, as far as it is asked for it here.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Kind::Amended)
    }

    /// One of this kind.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        let server = server::address(kind);
        let number = ACCOUNTS.fetch_add(1, Ordering::SeqCst);
        let account = format!("{:06}{number:06}", std::process::id() % 1_000_000);
        Self { server, relay: Relay::new(server, account.clone()), account }
    }

    /// Where it is.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.relay.address())
    }

    /// The account's number.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// A file of credentials with this access key, in the profile [`PROFILE`].
    #[must_use]
    pub fn credentials_with(access_key_id: &str) -> String {
        format!("[{PROFILE}]\naws_access_key_id = {access_key_id}\naws_secret_access_key = {SECRET_ACCESS_KEY}\n")
    }

    /// A file of credentials that are let in.
    #[must_use]
    pub fn credentials() -> String {
        Self::credentials_with(ACCESS_KEY_ID)
    }

    /// From now on, these credentials are let in, with this token where there is one.
    pub fn admit(&self, access_key_id: &str, token: Option<&str>) {
        self.relay.admit(access_key_id, token);
    }

    /// From now on, the credentials belong to this account, as those of another do that take their place.
    pub fn belong(&self, account: &str) {
        self.relay.belong(account);
    }

    /// It ends: who is connected is cut off, and nobody is let in.
    pub fn stop(&self) {
        self.relay.stop();
    }

    /// It is there again, at the same address.
    pub fn start(&self) {
        self.relay.start();
    }

    /// From now on, it takes what it is sent and answers nothing; `false` lets the answers out that it kept.
    pub fn hang(&self, hangs: bool) {
        self.relay.hang(hangs);
    }

    /// From now on, this happens to so many calls of this name; to all, where no number is given.
    pub fn fault(&self, call: &str, fault: Fault, times: Option<usize>) {
        self.relay.fault(call, fault, times);
    }

    /// All is well again.
    pub fn end_faults(&self) {
        self.relay.end_faults();
    }

    /// How often each call came in.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<String, usize> {
        self.relay.calls()
    }

    /// A call behind the signer's back.
    ///
    /// # Panics
    /// If it is refused.
    pub fn call(&self, name: &str, content: &Value) -> Value {
        match self.try_call(name, content) {
            Ok(answer) => answer,
            Err(answer) => panic!("{name} of {content} answers {answer}"),
        }
    }

    /// The same, where it may be refused.
    ///
    /// # Errors
    /// What it answered.
    pub fn try_call(&self, name: &str, content: &Value) -> Result<Value, Value> {
        let answer = http::call(self.server, &self.account, name, &content.to_string()).expect("moto answers");
        let content = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        if answer.status == 200 { Ok(content) } else { Err(content) }
    }

    /// Makes a key behind the signer's back, as the signer would but for what is given here; its id.
    ///
    /// # Panics
    /// If moto makes none.
    pub fn make(&self, label: &str, different: &Value) -> String {
        let tag = |key: &str, value: &str| json!({ "TagKey": key, "TagValue": value });
        let mut request = json!({
            "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY", "Origin": "AWS_KMS",
            "Description": format!("hallmark epoch {label}"),
            "Tags": [tag("hallmark-purpose", "epoch"), tag("hallmark-label", label)],
        });
        for (name, value) in different.as_object().into_iter().flatten() {
            request[name.as_str()] = value.clone();
        }
        let made = self.call("CreateKey", &request);
        made["KeyMetadata"]["KeyId"].as_str().expect("an id").to_owned()
    }

    /// What KMS says of a key.
    #[must_use]
    pub fn describe(&self, id: &str) -> Value {
        self.call("DescribeKey", &json!({ "KeyId": id }))["KeyMetadata"].take()
    }

    /// Waits until a call of this name has come in more often than so many times.
    ///
    /// # Panics
    /// If none does.
    pub fn await_more(&self, call: &str, than: usize) {
        let began = Instant::now();
        while self.calls().get(call).copied().unwrap_or(0) <= than {
            assert!(began.elapsed() < AMPLE, "no {call} comes in");
            thread::yield_now();
        }
    }
}

impl Default for Kms {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Kms {
    fn drop(&mut self) {
        self.relay.stop();
    }
}
