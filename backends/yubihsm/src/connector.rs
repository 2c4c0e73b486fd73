//! The way to a device: where it is, and who opens sessions with it.

use std::{
    fmt, io,
    net::{TcpStream, ToSocketAddrs as _},
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use secrecy::{ExposeSecret as _, SecretString};
use yubihsm::{Client, Credentials, HttpConfig, UsbConfig, client, device::SerialNumber};

use crate::{
    error::Error,
    session::{Opened, Session, Way, guarded},
};

/// How long is waited for a connector to take a connection. The library would wait for 20 s, whatever it is told.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);

/// The port of a connector, where none is named.
const PORT: u16 = 12_345;

const OPEN: &str = "CREATE SESSION";

/// Where a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Behind a `yubihsm-connector` that speaks HTTP: `http://127.0.0.1:12345`.
    Http {
        /// Its address or name.
        host: String,
        /// Its port.
        port: u16,
    },
    /// At this machine's USB, this process's own: `usb`, or `usb:0123456789` for the one of that serial number.
    Usb {
        /// Ten digits.
        serial: Option<String>,
    },
}

/// Why a text is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Neither of the forms.
    #[error(
        "a device is at `http://HOST:PORT`, where its connector is, or at `usb` or `usb:SERIAL`, with the ten digits of its serial number"
    )]
    Form,
    /// TLS, which the library does not speak.
    #[error(
        "the connector is spoken to in HTTP only: what goes through it is encrypted and authenticated from here to the device"
    )]
    Tls,
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        if text.starts_with("https:") {
            return Err(PlaceError::Tls);
        }
        if text == "usb" {
            return Ok(Self::Usb { serial: None });
        }
        if let Some(serial) = text.strip_prefix("usb:") {
            let fits = serial.bytes().all(|byte| byte.is_ascii_digit()) && serial.parse::<SerialNumber>().is_ok();
            return if fits { Ok(Self::Usb { serial: Some(serial.to_owned()) }) } else { Err(PlaceError::Form) };
        }
        let rest = text.strip_prefix("http://").ok_or(PlaceError::Form)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0).ok_or(PlaceError::Form)?),
            None => (rest, PORT),
        };
        // The library takes no IPv6 address in brackets.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        if host.is_empty() || !host.bytes().all(plain) {
            return Err(PlaceError::Form);
        }
        Ok(Self::Http { host: host.to_owned(), port })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { host, port } => write!(f, "http://{host}:{port}"),
            Self::Usb { serial: None } => f.write_str("usb"),
            Self::Usb { serial: Some(serial) } => write!(f, "usb:{serial}"),
        }
    }
}

/// The way to a device, and the authentication key that opens sessions.
pub struct Connector {
    place: Place,
    /// Derived from the password once; it wipes itself.
    credentials: Credentials,
    /// Over USB, one connection has all sessions, since a second would take the device away from the first.
    shared: Mutex<Option<yubihsm::Connector>>,
}

impl Connector {
    /// The way to the device at this place, with the authentication key of that number. Nothing is asked yet.
    #[must_use]
    pub fn new(place: Place, authentication_key: u16, password: &SecretString) -> Self {
        let credentials = Credentials::from_password(authentication_key, password.expose_secret().as_bytes());
        Self { place, credentials, shared: Mutex::default() }
    }

    fn connection(&self) -> Result<yubihsm::Connector, Error> {
        match &self.place {
            Place::Http { host, port } => {
                probe(&self.place)?;
                let config = HttpConfig { addr: host.clone(), port: *port, ..HttpConfig::default() };
                Ok(yubihsm::Connector::http(&config))
            }
            Place::Usb { serial } => {
                let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
                let connect = || {
                    let serial = serial.as_ref().and_then(|serial| serial.parse().ok());
                    yubihsm::Connector::usb(&UsbConfig { serial, ..UsbConfig::default() })
                };
                Ok(shared.get_or_insert_with(connect).clone())
            }
        }
    }
}

/// Whether somebody takes connections there, found out in a time of our own. Nothing is said; of USB nothing is asked.
///
/// # Errors
/// [`Error::Gone`].
pub fn probe(place: &Place) -> Result<(), Error> {
    let Place::Http { host, port } = place else { return Ok(()) };
    let gone = |error: io::Error| Error::Gone { command: OPEN, place: place.to_string(), detail: error.to_string() };
    // The library takes the first address, too.
    let address = (host.as_str(), *port).to_socket_addrs().map_err(gone)?.next();
    let address = address.ok_or_else(|| gone(io::ErrorKind::NotFound.into()))?;
    TcpStream::connect_timeout(&address, CONNECT_TIME_MAX).map(drop).map_err(gone)
}

/// Whether a connection is done with. One over which the device gave an answer, such as that it has no session left, goes on: to look for the device
/// anew resets it, and ends all sessions that others have over it.
fn ends_the_connection(error: &Error) -> bool {
    match error {
        Error::Device { .. } | Error::PasswordRefused { .. } | Error::Unsupported { .. } => false,
        Error::Gone { .. } | Error::SessionLost { .. } | Error::Panicked { .. } => true,
    }
}

impl Way for Connector {
    fn open(&self) -> Result<Box<dyn Session>, Error> {
        let connection = self.connection()?;
        let place = self.place.to_string();
        let credentials = self.credentials.clone();
        let key = credentials.authentication_key_id;
        // It shall not open another session by itself: whether a password is tried again is decided above.
        let opened = guarded(OPEN, &place, || match Client::open(connection, credentials, false) {
            Err(error) if *error.kind() == client::ErrorKind::AuthenticationError => Ok(None),
            opened => opened.map(Some),
        });
        if opened.as_ref().is_err_and(ends_the_connection) {
            *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        match opened? {
            Some(client) => Ok(Box::new(Opened::new(client, place))),
            None => Err(Error::PasswordRefused { key }),
        }
    }

    fn place(&self) -> String {
        self.place.to_string()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connector({}, authentication key {:#06x})", self.place, self.credentials.authentication_key_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::DeviceCode;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        for text in ["http://127.0.0.1:12345", "http://hsm-1.example:8", "usb", "usb:0123456789"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        let default = "http://localhost/".parse::<Place>().unwrap();
        assert_eq!(default, Place::Http { host: "localhost".to_owned(), port: PORT });
    }

    #[test]
    fn what_is_no_place_is_refused_in_words() {
        let wrong = [
            "",
            "http://",
            "http://:1",
            "http://a:0",
            "http://a:65536",
            "http://a:b",
            "http://a/b",
            "http://[::1]:1",
            "http://u@a:1",
            "usb:",
            "usb:1",
            "usb:+123456789",
            "USB",
            "127.0.0.1:12345",
        ];
        for text in wrong {
            assert_eq!(text.parse::<Place>(), Err(PlaceError::Form), "{text}");
        }
        assert_eq!("https://127.0.0.1:12345".parse::<Place>(), Err(PlaceError::Tls));
    }

    #[test]
    fn a_connection_goes_on_while_the_device_answers() {
        let full = Error::Device { command: OPEN, code: DeviceCode::SessionsFull };
        let gone = Error::Gone { command: OPEN, place: "usb".to_owned(), detail: "no device".to_owned() };
        assert!(!ends_the_connection(&full) && !ends_the_connection(&Error::PasswordRefused { key: 2 }));
        assert!(ends_the_connection(&gone) && ends_the_connection(&Error::Panicked { command: OPEN }));
    }

    /// Whether a YubiHSM is plugged into this machine: to look for one by its number resets each.
    fn is_plugged_in() -> bool {
        let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        let devices =
            std::fs::read_dir("/sys/bus/usb/devices").into_iter().flatten().flatten().map(|entry| entry.path());
        let mut ids = devices.map(|path| (read(path.join("idVendor")), read(path.join("idProduct"))));
        ids.any(|(vendor, product)| (vendor.trim(), product.trim()) == ("1050", "0030"))
    }

    /// Libusb looks for it, in this process; more than that no machine without a device can show.
    #[test]
    fn at_usb_a_device_that_is_not_there_is_gone_and_is_looked_for_anew_each_time() {
        if is_plugged_in() {
            return;
        }
        let way = Connector::new("usb:0000000000".parse().unwrap(), 2, &"correct horse".into());
        for _ in 0..2 {
            match way.open().map(drop) {
                Err(Error::Gone { place, .. }) => assert_eq!(place, "usb:0000000000"),
                other => panic!("{other:?}"),
            }
            assert!(way.shared.lock().unwrap().is_none());
        }
    }

    #[test]
    fn the_password_is_not_in_what_is_printed_of_the_way() {
        let way = Connector::new("usb".parse().unwrap(), 2, &"correct horse".into());
        assert_eq!(format!("{way:?}"), "Connector(usb, authentication key 0x0002)");
    }
}
