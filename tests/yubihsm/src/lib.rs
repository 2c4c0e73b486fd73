//! A YubiHSM 2 for tests: the mock of the client library, behind that library's own HTTP connector, behind a relay that stops, starts and hangs as a
//! connector does.
//!
//! It shows what the way to a device is like, and keys of two kinds. What it does not show is listed in [`LIMITS`], so that nothing is skipped in
//! silence. It must never listen anywhere but on 127.0.0.1.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends by panicking")]

mod limits;
mod relay;

use std::{
    net::{SocketAddr, TcpListener},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool, atomic::Ordering},
    thread,
};

use hallmark_test_relay::Relay;
use yubihsm::{
    Capability, Client, Connector, Credentials, Domain, HttpConfig, asymmetric, authentication,
    connector::http::Server, object,
};

pub use limits::{LIMITS, Limit};

/// The authentication key of a device that was just made.
pub const AUTHENTICATION_KEY: u16 = 2;

/// Its password.
pub const PASSWORD: &str = "a password of tests";

/// The one domain that its keys are in.
pub const DOMAIN: u8 = 1;

/// Capabilities of that authentication key, by their names in the manual.
pub const CAPABILITIES: [&str; 6] = [
    "generate-asymmetric-key",
    "delete-asymmetric-key",
    "get-pseudo-random",
    "get-log-entries",
    "sign-ecdsa",
    "sign-eddsa",
];

/// What it delegates.
pub const DELEGATED: [&str; 2] = ["sign-ecdsa", "sign-eddsa"];

/// The authentication key that a device has from its factory, which may do everything.
pub const FACTORY_KEY: u16 = 1;
/// Its password.
pub const FACTORY_PASSWORD: &str = "password";

/// How often a port that nobody has is looked for.
const PORTS_TRIED_MAX: usize = 20;

/// A device behind a connector.
pub struct Device {
    relay: Relay,
    server: SocketAddr,
    mock: Connector,
    /// Kept, because each session of the mock is one of 17 that it ever opens.
    factory: Mutex<Option<Client>>,
    over: Arc<AtomicBool>,
}

impl Device {
    /// A device with an authentication key that can do what a signer needs, and no more.
    ///
    /// # Panics
    /// If this machine gives it no port.
    #[must_use]
    pub fn new() -> Self {
        let mock = Connector::mockhsm();
        let over = Arc::new(AtomicBool::new(false));
        let server = serve(&mock, &over);
        let device = Self { relay: relay::to(server), server, mock, factory: Mutex::default(), over };
        device.put_authentication_key(AUTHENTICATION_KEY, PASSWORD, &CAPABILITIES, &DELEGATED);
        device
    }

    /// Where its connector is.
    #[must_use]
    pub fn place(&self) -> String {
        format!("http://{}", self.relay.address())
    }

    /// The connector ends: who is connected is cut off, and nobody is let in.
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

    /// How often somebody connected.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.relay.connections()
    }

    /// Puts an authentication key into it.
    ///
    /// # Panics
    /// If a capability has another name in the manual.
    pub fn put_authentication_key(&self, id: u16, password: &str, capabilities: &[&str], delegated: &[&str]) {
        let key = authentication::Key::derive_from_password(password.as_bytes());
        let algorithm = authentication::Algorithm::YubicoAes;
        let (own, delegated) = (named(capabilities), named(delegated));
        self.factory(|client| {
            client.put_authentication_key(id, label(b"signer"), Domain::DOM1, own, delegated, algorithm, key).map(drop)
        });
    }

    /// Generates a P-256 key behind the signer's back.
    ///
    /// # Panics
    /// If a capability has another name in the manual.
    pub fn generate(&self, id: u16, text: &[u8], capabilities: &[&str], domain: u8) {
        let (capabilities, domain) = (named(capabilities), Domain::at(domain.into()).expect("a domain"));
        let algorithm = asymmetric::Algorithm::EcP256;
        self.factory(|client| {
            client.generate_asymmetric_key(id, label(text), domain, capabilities, algorithm).map(drop)
        });
    }

    /// Brings a P-256 key in from outside.
    pub fn put(&self, id: u16, text: &[u8]) {
        let (capabilities, algorithm) = (Capability::SIGN_ECDSA, asymmetric::Algorithm::EcP256);
        self.factory(|client| {
            client.put_asymmetric_key(id, label(text), Domain::DOM1, capabilities, algorithm, vec![1; 32]).map(drop)
        });
    }

    /// Deletes a key.
    pub fn delete(&self, id: u16) {
        self.factory(|client| client.delete_object(id, object::Type::AsymmetricKey));
    }

    /// The numbers of its asymmetric keys.
    #[must_use]
    pub fn keys(&self) -> Vec<u16> {
        let all = [object::Filter::Type(object::Type::AsymmetricKey)];
        self.factory(|client| client.list_objects(&all)).into_iter().map(|entry| entry.object_id).collect()
    }

    /// What a key may do, by its bits.
    #[must_use]
    pub fn capabilities_of(&self, id: u16) -> u64 {
        self.factory(|client| client.get_object_info(id, object::Type::AsymmetricKey)).capabilities.bits()
    }

    /// With everything that a device allows, which is not over the connector.
    fn factory<T>(&self, work: impl FnOnce(&Client) -> Result<T, yubihsm::client::Error>) -> T {
        let mut factory = self.lock();
        let client = factory.get_or_insert_with(|| {
            Client::open(self.mock.clone(), Credentials::default(), true).expect("a session of the factory's key")
        });
        match work(client) {
            Ok(done) => done,
            Err(error) => panic!("the mock answers {error}"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Client>> {
        self.factory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Device {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // The server waits for a request, and sees it then.
        self.relay.stop();
        relay::wake(self.server);
    }
}

/// Serves the mock on a port that nobody has; says which.
fn serve(mock: &Connector, over: &Arc<AtomicBool>) -> SocketAddr {
    for _ in 0..PORTS_TRIED_MAX {
        let probe = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = probe.local_addr().expect("its address");
        drop(probe);
        let config = HttpConfig { addr: "127.0.0.1".to_owned(), port: address.port(), ..HttpConfig::default() };
        // Somebody may have taken it meanwhile.
        let Ok(server) = Server::new(&config, mock.clone()) else { continue };
        let over = Arc::clone(over);
        thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                // What the mock does not know ends it by a panic; whoever asked is answered with an error.
                let _ = catch_unwind(AssertUnwindSafe(|| server.handle_request()));
            }
        });
        return address;
    }
    panic!("no port is free")
}

fn label(text: &[u8]) -> object::Label {
    object::Label::from_bytes(text).expect("a label")
}

fn named(names: &[&str]) -> Capability {
    let one = |name: &&str| name.parse().unwrap_or_else(|()| panic!("no capability is called `{name}`"));
    names.iter().map(one).fold(Capability::empty(), Capability::union)
}
