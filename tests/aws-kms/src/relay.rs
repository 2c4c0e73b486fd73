//! What stands before moto: it passes calls and answers on, counts them, and does otherwise where it is told to.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    ACCESS_KEY_ID,
    http::{Answer, Request, pass},
};

/// How long the port may be taken by what was there before.
const AGAIN_TIME_MAX: Duration = Duration::from_secs(10);

/// What happens to a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// KMS answers an error of this HTTP status and name, and does nothing.
    Refuse(u16, &'static str),
    /// It is done, and the connection is cut before the answer.
    LoseAnswer,
    /// The answer has this in the place of what is there: a member's name, and its value.
    Say(&'static str, Value),
    /// The answer's signature is changed in its last byte.
    SpoilSignature,
}

pub(crate) struct Relay {
    address: SocketAddr,
    server: SocketAddr,
    shared: Arc<Shared>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Grows with each start, so that what belongs to an earlier one ends.
    life: u64,
    runs: bool,
    hangs: bool,
    open: Vec<TcpStream>,
    calls: BTreeMap<String, usize>,
    faults: Vec<(String, Fault, Option<usize>)>,
    admitted: (String, Option<String>),
    /// The account that the credentials belong to.
    account: String,
}

impl Default for State {
    fn default() -> Self {
        Self {
            life: 0,
            runs: false,
            hangs: false,
            open: Vec::new(),
            calls: BTreeMap::new(),
            faults: Vec::new(),
            admitted: (ACCESS_KEY_ID.to_owned(), None),
            account: String::new(),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a call; what happens to it otherwise than it should.
    fn takes(&mut self, request: &Request) -> Option<Fault> {
        let call = request.call();
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
    fn turns_away(&self, request: &Request) -> Option<Fault> {
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
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let relay = Self { address, server, shared: Arc::default(), accepting: Mutex::default() };
        relay.belong(&account);
        relay.accept(listener);
        relay
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn calls(&self) -> BTreeMap<String, usize> {
        self.shared.lock().calls.clone()
    }

    pub(crate) fn admit(&self, access_key_id: &str, token: Option<&str>) {
        self.shared.lock().admitted = (access_key_id.to_owned(), token.map(str::to_owned));
    }

    pub(crate) fn belong(&self, account: &str) {
        account.clone_into(&mut self.shared.lock().account);
    }

    pub(crate) fn fault(&self, call: &str, fault: Fault, times: Option<usize>) {
        self.shared.lock().faults.push((call.to_owned(), fault, times));
    }

    pub(crate) fn end_faults(&self) {
        self.shared.lock().faults.clear();
    }

    pub(crate) fn hang(&self, hangs: bool) {
        self.shared.lock().hangs = hangs;
        self.shared.changed.notify_all();
    }

    pub(crate) fn stop(&self) {
        let mut state = self.shared.lock();
        state.runs = false;
        for stream in state.open.drain(..) {
            // Who has gone is cut off already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        // Whoever accepts sees it then, and closes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }

    pub(crate) fn start(&self) {
        let began = Instant::now();
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(error) => assert!(began.elapsed() < AGAIN_TIME_MAX, "the port is not free again: {error}"),
            }
            thread::yield_now();
        };
        self.accept(listener);
    }

    fn accept(&self, listener: TcpListener) {
        let mut state = self.shared.lock();
        state.runs = true;
        state.life += 1;
        let life = state.life;
        drop(state);
        let (shared, server) = (Arc::clone(&self.shared), self.server);
        let accept = move || {
            for client in listener.incoming().flatten() {
                let mut state = shared.lock();
                if !state.runs {
                    return;
                }
                state.open.extend(client.try_clone());
                drop(state);
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let mut client = client;
                    while serve(&shared, life, &mut client, server).is_some() {}
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        };
        *self.accepting.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::spawn(accept));
    }
}

/// Passes one call on, and its answer back.
fn serve(shared: &Shared, life: u64, client: &mut TcpStream, server: SocketAddr) -> Option<()> {
    let request = Request::read(client)?;
    let mut state = shared.lock();
    let (fault, account) = (state.takes(&request), state.account.clone());
    drop(state);
    let answer = match &fault {
        Some(Fault::Refuse(status, name)) => refusal(*status, name),
        Some(Fault::LoseAnswer | Fault::Say(..) | Fault::SpoilSignature) | None => {
            let answer = pass(server, &account, &headers(&request.head), &request.body)?;
            changed(answer, fault.as_ref())
        }
    };
    let state = shared.lock();
    let hangs = |state: &mut State| state.hangs && state.runs && state.life == life;
    let state = shared.changed.wait_while(state, hangs).unwrap_or_else(PoisonError::into_inner);
    if !state.runs || state.life != life || matches!(fault, Some(Fault::LoseAnswer)) {
        return None;
    }
    drop(state);
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
        Some(Fault::Refuse(..) | Fault::LoseAnswer) | None => return answer,
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
