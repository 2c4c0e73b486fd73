//! What stands before the connector: it passes whole requests and answers on, and cuts them off when it is told to.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize, atomic::Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long the port may be taken by what was there before.
const AGAIN_TIME_MAX: Duration = Duration::from_secs(10);

/// Longest header of a request or an answer, in bytes.
const HEAD_BYTES_MAX: usize = 8_192;

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
    connections: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// Grows with each start, so that what belongs to an earlier one ends.
    life: u64,
    runs: bool,
    hangs: bool,
    open: Vec<TcpStream>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Relay {
    /// A relay to this server, which is started.
    pub(crate) fn new(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let relay = Self { address, server, shared: Arc::default(), accepting: Mutex::default() };
        relay.accept(listener);
        relay
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
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

    /// Sends the server a request of no meaning.
    pub(crate) fn wake_the_server(&self) {
        if let Ok(mut server) = TcpStream::connect(self.server) {
            let _ = server.write_all(b"GET /connector/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        }
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
                if !shared.lock().runs {
                    return;
                }
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&shared);
                thread::spawn(move || connect(&shared, life, client, server));
            }
        };
        *self.accepting.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::spawn(accept));
    }
}

/// Connects a client with the server. Where one has gone, the other is told: the server has few threads, and one for each connection.
fn connect(shared: &Shared, life: u64, mut client: TcpStream, server: SocketAddr) -> Option<()> {
    let mut server = TcpStream::connect(server).ok()?;
    let mut state = shared.lock();
    if !state.runs || state.life != life {
        return None;
    }
    state.open.extend([client.try_clone().ok()?, server.try_clone().ok()?]);
    drop(state);
    pass(shared, life, &mut client, &mut server);
    for stream in [client, server] {
        let _ = stream.shutdown(Shutdown::Both);
    }
    Some(())
}

/// Passes one request after another on, until somebody has gone.
fn pass(shared: &Shared, life: u64, client: &mut TcpStream, server: &mut TcpStream) -> Option<()> {
    loop {
        let request = whole(client)?;
        server.write_all(&request).ok()?;
        let answer = whole(server)?;
        let state = shared.lock();
        let hangs = |state: &mut State| state.hangs && state.runs && state.life == life;
        let state = shared.changed.wait_while(state, hangs).unwrap_or_else(PoisonError::into_inner);
        if !state.runs || state.life != life {
            return None;
        }
        drop(state);
        // In one piece, since the library reads no other answer rightly.
        client.write_all(&answer).ok()?;
    }
}

/// A request or an answer, head and body.
fn whole(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    let mut part = [0; 4_096];
    loop {
        let head = read.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
        if let Some(head) = head {
            let text = std::str::from_utf8(read.get(..head)?).ok()?.to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
            let body: usize = length.map_or(Some(0), |length| length.trim().parse().ok())?;
            if read.len() >= head + body {
                return Some(read);
            }
        } else if read.len() > HEAD_BYTES_MAX {
            return None;
        }
        match stream.read(&mut part).ok()? {
            0 => return None,
            got => read.extend_from_slice(part.get(..got)?),
        }
    }
}
