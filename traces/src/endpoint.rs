//! Where the receiver is, as it stands in a configuration.

use std::{fmt, net::IpAddr, path::PathBuf};

use http::Uri;

/// The port of OTLP over gRPC, where none is named.
const PORT: u16 = 4_317;

/// Longest path of a socket, in bytes: one less than `sun_path` has (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Where spans are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket of this machine.
    Unix(PathBuf),
    /// HTTP/2 in clear.
    Http {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
}

/// Why a text is no endpoint. None repeats it: whoever takes this for a place of credentials has typed some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Neither of the two forms.
    #[error("is no place of a receiver; write `unix:/PATH` of its socket, or `http://HOST:4317`")]
    Form,
    /// TLS, which is not spoken here.
    #[error(
        "wants TLS, which is not spoken to receivers; hint: send to a collector at this machine, by `unix:/PATH`, which speaks TLS to others"
    )]
    Tls,
    /// More than a host and a port.
    #[error("has more than a host and a port; write `http://HOST:4317`: the path is that of OTLP over gRPC")]
    MoreThanHost,
    /// A path that is no socket's.
    #[error(
        "has no absolute path of 2 to {SOCKET_PATH_BYTES_MAX} bytes; write `unix:/PATH`, the socket of the receiver"
    )]
    SocketPath,
}

impl Endpoint {
    /// Reads what was typed.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub fn parse(typed: &str) -> Result<Self, EndpointError> {
        if let Some(path) = typed.strip_prefix("unix:") {
            let fits = (2..=SOCKET_PATH_BYTES_MAX).contains(&path.len()) && path.starts_with('/');
            return match fits && !path.contains('\0') {
                true => Ok(Self::Unix(path.into())),
                false => Err(EndpointError::SocketPath),
            };
        }
        let form = EndpointError::Form;
        let uri: Uri = typed.parse().map_err(|_| form)?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(EndpointError::Tls),
            Some(_) | None => return Err(form),
        }
        let authority = uri.authority().ok_or(form)?;
        let is_bare = uri.path_and_query().is_none_or(|rest| rest.as_str() == "/") && !typed.contains('#');
        if !is_bare || authority.as_str().contains('@') {
            return Err(EndpointError::MoreThanHost);
        }
        let port = match authority.port() {
            Some(port) => Some(port.as_u16()).filter(|port| *port != 0).ok_or(form)?,
            // Something stands behind the host, and is no port.
            None if authority.as_str() != authority.host() => return Err(form),
            None => PORT,
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() { Err(form) } else { Ok(Self::Http { host, port }) }
    }

    /// Whether it is reached by the internet's sockets, also where it is at this machine.
    #[must_use]
    pub fn is_of_the_network(&self) -> bool {
        match self {
            Self::Unix(_) => false,
            Self::Http { .. } => true,
        }
    }

    /// Whether what is sent there stays at this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Http { host, .. } => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }

    /// What stands in requests in the place of a server's address.
    pub(crate) fn origin(&self) -> Option<Uri> {
        match self {
            Self::Unix(_) => Some(Uri::from_static("http://localhost")),
            Self::Http { .. } => self.to_string().parse().ok(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Http { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}"),
            Self::Http { host, port } => write!(f, "http://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_socket_or_a_host_with_a_port() {
        for (typed, told, network, local) in [
            ("unix:/run/otel/otlp.sock", "unix:/run/otel/otlp.sock", false, true),
            ("http://127.0.0.1:4317", "http://127.0.0.1:4317", true, true),
            ("http://127.0.0.1", "http://127.0.0.1:4317", true, true),
            ("http://localhost:5000/", "http://localhost:5000", true, true),
            ("http://[::1]:4317", "http://[::1]:4317", true, true),
            ("http://collector.example.com:4317", "http://collector.example.com:4317", true, false),
            ("http://192.0.2.7", "http://192.0.2.7:4317", true, false),
            ("http://127.0.0.1.example.com", "http://127.0.0.1.example.com:4317", true, false),
        ] {
            let endpoint = Endpoint::parse(typed).unwrap();
            assert_eq!(endpoint.to_string(), told);
            assert_eq!((endpoint.is_of_the_network(), endpoint.is_local()), (network, local), "{typed}");
            assert!(endpoint.origin().is_some(), "{typed}");
        }
    }

    #[test]
    fn everything_else_is_told_what_to_write() {
        let long = format!("unix:/{}", "a".repeat(SOCKET_PATH_BYTES_MAX));
        for (typed, hint) in [
            ("", "write `unix:/PATH`"),
            ("127.0.0.1:4317", "write `unix:/PATH`"),
            ("localhost", "write `unix:/PATH`"),
            ("ftp://127.0.0.1:4317", "write `unix:/PATH`"),
            ("grpc://127.0.0.1:4317", "write `unix:/PATH`"),
            ("http://", "write `unix:/PATH`"),
            ("http://:4317", "write `unix:/PATH`"),
            ("http://127.0.0.1:", "write `unix:/PATH`"),
            ("http://127.0.0.1:0", "write `unix:/PATH`"),
            ("http://127.0.0.1:70000", "write `unix:/PATH`"),
            ("https://collector.example.com:4317", "a collector at this machine"),
            ("http://127.0.0.1:4317/v1/traces", "write `http://HOST:4317`"),
            ("http://127.0.0.1:4317?a=b", "write `http://HOST:4317`"),
            ("http://127.0.0.1:4317/#part", "write `http://HOST:4317`"),
            ("http://user:secret@127.0.0.1:4317", "write `http://HOST:4317`"),
            ("unix:", "the socket of the receiver"),
            ("unix:/", "the socket of the receiver"),
            ("unix:otlp.sock", "the socket of the receiver"),
            (&long, "the socket of the receiver"),
        ] {
            let told = Endpoint::parse(typed).unwrap_err().to_string();
            assert!(told.contains(hint) && !told.contains("secret"), "{typed}: {told}");
        }
    }
}
