//! What stands before a server of a test, at an address that stays: it stops, starts again and hangs as a network does. What it does with a connection is
//! whoever makes it to say.
//!
//! For tests only: it listens on 127.0.0.1 and nowhere else.
#![expect(clippy::expect_used, reason = "a test that cannot go on ends by panicking")]

mod message;

use std::{
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

pub use message::Message;

/// How long the port may be taken by what was there before.
const AGAIN_TIME_MAX: Duration = Duration::from_secs(10);

/// What is done with a connection, until somebody has gone.
type Serve = dyn Fn(&Connection, &mut TcpStream) + Send + Sync;

/// A relay.
pub struct Relay {
    address: SocketAddr,
    serve: Arc<Serve>,
    shared: Arc<Shared>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// A connection, in one life of the relay: from a start to the next stop.
pub struct Connection {
    shared: Arc<Shared>,
    life: u64,
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

impl State {
    fn lives(&self, life: u64) -> bool {
        self.runs && self.life == life
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Relay {
    /// A relay that does this with each connection, which is cut off afterwards. It is started.
    ///
    /// # Panics
    /// If there is no port.
    #[must_use]
    pub fn new(serve: impl Fn(&Connection, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let relay = Self { address, serve: Arc::new(serve), shared: Arc::default(), accepting: Mutex::default() };
        relay.accept(listener);
        relay
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often somebody connected.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// From now on, no answer is let out; `false` lets those out that it kept.
    pub fn hang(&self, hangs: bool) {
        self.shared.lock().hangs = hangs;
        self.shared.changed.notify_all();
    }

    /// It ends: who is connected is cut off, and nobody is let in.
    pub fn stop(&self) {
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

    /// It is there again, at the same address.
    ///
    /// # Panics
    /// If somebody else has its port by now.
    pub fn start(&self) {
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
        let (shared, serve) = (Arc::clone(&self.shared), Arc::clone(&self.serve));
        let accept = move || {
            for client in listener.incoming().flatten() {
                let connection = Connection { shared: Arc::clone(&shared), life };
                if !connection.keep(&client) {
                    return;
                }
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                thread::spawn(move || {
                    let mut client = client;
                    serve(&connection, &mut client);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        };
        *self.accepting.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::spawn(accept));
    }
}

impl Connection {
    /// Has this stream cut off with the relay. `false`: it has stopped already.
    #[must_use]
    pub fn keep(&self, stream: &TcpStream) -> bool {
        let mut state = self.shared.lock();
        let lives = state.lives(self.life);
        if lives {
            state.open.extend(stream.try_clone());
        }
        lives
    }

    /// From now on, the relay hangs, this connection among others.
    pub fn hang(&self) {
        self.shared.lock().hangs = true;
    }

    /// Waits while the relay hangs. `false`: it has stopped since the connection came in, and nothing is answered.
    #[must_use]
    pub fn may_answer(&self) -> bool {
        let hangs = |state: &mut State| state.hangs && state.lives(self.life);
        let state = self.shared.changed.wait_while(self.shared.lock(), hangs);
        state.unwrap_or_else(PoisonError::into_inner).lives(self.life)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    /// It says each byte again.
    fn echo() -> Relay {
        Relay::new(|connection, client| {
            let mut byte = [0];
            while client.read_exact(&mut byte).is_ok() && connection.may_answer() && client.write_all(&byte).is_ok() {}
        })
    }

    fn connected(relay: &Relay) -> TcpStream {
        TcpStream::connect(relay.address()).unwrap()
    }

    /// What comes back; none if the connection ends.
    fn told(stream: &mut TcpStream, byte: u8) -> Option<u8> {
        let mut back = [0];
        stream.write_all(&[byte]).ok()?;
        stream.read_exact(&mut back).ok()?;
        Some(back[0])
    }

    #[test]
    fn who_is_connected_is_cut_off_by_a_stop_and_let_in_again_at_the_same_address() {
        let relay = echo();
        let (mut one, mut other) = (connected(&relay), connected(&relay));
        assert_eq!((told(&mut one, 1), told(&mut other, 2)), (Some(1), Some(2)));
        relay.stop();
        assert_eq!((told(&mut one, 3), told(&mut other, 4)), (None, None));
        assert!(TcpStream::connect(relay.address()).is_err(), "nobody is let in");
        relay.start();
        assert_eq!(told(&mut connected(&relay), 5), Some(5));
        assert_eq!(relay.connections(), 3);
    }

    #[test]
    fn what_is_kept_while_it_hangs_comes_afterwards_and_never_after_a_stop() {
        let relay = echo();
        relay.hang(true);
        let (mut kept, mut lost) = (connected(&relay), connected(&relay));
        kept.write_all(&[1]).unwrap();
        kept.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(kept.read_exact(&mut [0]).is_err(), "nothing comes");
        kept.set_read_timeout(None).unwrap();
        relay.hang(false);
        let mut back = [0];
        kept.read_exact(&mut back).unwrap();
        assert_eq!(back, [1]);
        relay.hang(true);
        lost.write_all(&[2]).unwrap();
        relay.stop();
        relay.hang(false);
        relay.start();
        assert!(lost.read_exact(&mut back).is_err(), "what belongs to an earlier life ends");
    }
}
