//! What stands before moto: it passes calls and answers on, counts them, and does otherwise where it is told to.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hallmark_test_relay::{Connection, Message};
use serde_json::{Value, json};

use crate::{
    ACCESS_KEY_ID,
    http::{self, Answer, pass},
};

/// What happens to a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// KMS answers an error of this HTTP status and name, and does nothing.
    Refuse(u16, &'static str),
    /// It is done, and the connection is cut before the answer.
    LoseAnswer,
    /// It is done, and from then on nothing is answered.
    Hang,
    /// It is done in this account, as if the credentials had become those of another.
    Elsewhere(String),
    /// The answer has this in the place of what is there: a member's name, and its value.
    Say(&'static str, Value),
    /// The answer's signature is changed in its last byte.
    SpoilSignature,
}

pub(crate) struct Relay {
    lines: hallmark_test_relay::Relay,
    state: Arc<Mutex<State>>,
}

struct State {
    calls: BTreeMap<String, usize>,
    faults: Vec<(String, Fault, Option<usize>)>,
    admitted: (String, Option<String>),
    /// The account that the credentials belong to.
    account: String,
}

impl State {
    /// Counts a call; what happens to it otherwise than it should.
    fn takes(&mut self, request: &Message) -> Option<Fault> {
        let call = http::name(request);
        *self.calls.entry(call.to_owned()).or_default() += 1;
        if let Some(refusal) = self.turns_away(request) {
            return Some(refusal);
        }
        let at = self.faults.iter().position(|(name, ..)| name == call)?;
        let (_, fault, left) = self.faults.get_mut(at)?;
        let fault = fault.clone();
        match left {
            Some(1) => drop(self.faults.remove(at)),
            Some(left) => *left -= 1,
            None => {}
        }
        Some(fault)
    }

    /// What KMS says to credentials that are none (AWS API reference, "Common Errors").
    fn turns_away(&self, request: &Message) -> Option<Fault> {
        let (key, token) = &self.admitted;
        let authorization = request.header("authorization").unwrap_or_default();
        if !authorization.contains(&format!("Credential={key}/")) {
            return Some(Fault::Refuse(400, "UnrecognizedClientException"));
        }
        let is_the_token = request.header("x-amz-security-token") == token.as_deref();
        (!is_the_token).then_some(Fault::Refuse(400, "ExpiredTokenException"))
    }
}

impl Relay {
    /// A relay to this server, which is started.
    pub(crate) fn new(server: SocketAddr, account: String) -> Self {
        let admitted = (ACCESS_KEY_ID.to_owned(), None);
        let state = State { calls: BTreeMap::new(), faults: Vec::new(), admitted, account };
        let state = Arc::new(Mutex::new(state));
        let own = Arc::clone(&state);
        let lines = hallmark_test_relay::Relay::new(
            move |connection, client| {
                while serve(&own, connection, client, server).is_some() {}
            },
        );
        Self { lines, state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.lines.address()
    }

    pub(crate) fn calls(&self) -> BTreeMap<String, usize> {
        lock(&self.state).calls.clone()
    }

    pub(crate) fn admit(&self, access_key_id: &str, token: Option<&str>) {
        lock(&self.state).admitted = (access_key_id.to_owned(), token.map(str::to_owned));
    }

    pub(crate) fn belong(&self, account: &str) {
        account.clone_into(&mut lock(&self.state).account);
    }

    pub(crate) fn fault(&self, call: &str, fault: Fault, times: Option<usize>) {
        lock(&self.state).faults.push((call.to_owned(), fault, times));
    }

    pub(crate) fn end_faults(&self) {
        lock(&self.state).faults.clear();
    }

    pub(crate) fn hang(&self, hangs: bool) {
        self.lines.hang(hangs);
    }

    pub(crate) fn stop(&self) {
        self.lines.stop();
    }

    pub(crate) fn start(&self) {
        self.lines.start();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes one call on, and its answer back.
fn serve(state: &Mutex<State>, connection: &Connection, client: &mut TcpStream, server: SocketAddr) -> Option<()> {
    let request = Message::read(client)?;
    let mut state = lock(state);
    let fault = state.takes(&request);
    let account = if let Some(Fault::Elsewhere(other)) = &fault { other.clone() } else { state.account.clone() };
    drop(state);
    let answer = match &fault {
        Some(Fault::Refuse(status, name)) => refusal(*status, name),
        Some(Fault::LoseAnswer | Fault::Hang | Fault::Elsewhere(_) | Fault::Say(..) | Fault::SpoilSignature) | None => {
            let answer = pass(server, &account, &headers(&request.head), &request.body)?;
            changed(answer, fault.as_ref())
        }
    };
    if matches!(fault, Some(Fault::Hang)) {
        connection.hang();
    }
    if !connection.may_answer() || matches!(fault, Some(Fault::LoseAnswer)) {
        return None;
    }
    client.write_all(&answer.bytes()).ok()
}

fn refusal(status: u16, name: &str) -> Answer {
    let body = json!({ "__type": name, "message": "said by a test" });
    Answer { status, body: body.to_string().into_bytes() }
}

fn changed(mut answer: Answer, fault: Option<&Fault>) -> Answer {
    let Ok(mut content) = serde_json::from_slice::<Value>(&answer.body) else { return answer };
    match fault {
        Some(Fault::Say(member, value)) => {
            // Of a description, what is told of the key.
            let place = if content.get("KeyMetadata").is_some() { &mut content["KeyMetadata"] } else { &mut content };
            place[*member] = value.clone();
        }
        Some(Fault::SpoilSignature) => {
            let mut bytes =
                content["Signature"].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            content["Signature"] = STANDARD.encode(bytes).into();
        }
        Some(Fault::Refuse(..) | Fault::LoseAnswer | Fault::Hang | Fault::Elsewhere(_)) | None => return answer,
    }
    answer.body = content.to_string().into_bytes();
    answer
}

/// The headers that go on: not those of this connection.
fn headers(head: &str) -> String {
    let own = ["host", "connection", "content-length", "x-moto-account-id"];
    let goes_on =
        |line: &&str| !line.split(':').next().is_some_and(|name| own.contains(&name.to_ascii_lowercase().as_str()));
    head.lines().skip(1).filter(goes_on).fold(String::new(), |text, line| text + line + "\r\n")
}
