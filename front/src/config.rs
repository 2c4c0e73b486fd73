//! Configuration: what was typed ([`FrontFile`]) and what is true ([`FrontConfig`]).

use std::{
    fmt,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls_pki_types::CertificateDer;
use serde::Deserialize;

use crate::{period::Period, progress::FRAME_TIME_MAX, unread::READ_TIME_MAX};

/// Longest time that a call may have, whatever its caller asks for: a rotation on a slow device takes minutes, nothing takes more.
pub const DEADLINE_MAX: Duration = Duration::from_secs(10 * 60);
/// Longest life of a connection that can be configured: a day, after which a caller proves itself again.
pub const CONNECTION_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How often the TLS files are looked at, and every connection asks whether its caller is still admitted.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// The table `[listen]` of the configuration file, as it was typed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FrontFile {
    /// IP address and port to listen on; port 0 takes a free one.
    pub address: SocketAddr,
    /// PEM file with the server's certificate chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with the server's private key.
    pub key: PathBuf,
    /// PEM file with the certificates of the authorities that callers are trusted through: a bundle of its own.
    pub callers: PathBuf,
    /// PEM or DER file with the callers' revocation lists. Where it is named, it holds a current list of every authority that
    /// issued a certificate of a caller's chain: an unknown or outdated status is a refusal.
    pub callers_crl: Option<PathBuf>,
    /// Longest life of a connection.
    #[serde(default = "connection_age_max")]
    pub connection_age_max: Period,
    /// Deadline of a call that names none.
    #[serde(default = "default_deadline")]
    pub default_deadline: Period,
}

fn connection_age_max() -> Period {
    Period::from_secs(60 * 60)
}

fn default_deadline() -> Period {
    Period::from_secs(20)
}

/// Why a `[listen]` table is no configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A span of time outside its limits.
    #[error("`{key} = \"{typed}\"` is outside its limits; write a span of time from 1s to {longest}")]
    OutOfLimits {
        /// The key in `[listen]`.
        key: &'static str,
        /// What was typed.
        typed: Period,
        /// The upper limit.
        longest: Period,
    },
    /// A path of no characters.
    #[error("`{key}` in [listen] is empty; write the path of a file")]
    EmptyPath {
        /// The key in `[listen]`.
        key: &'static str,
    },
}

/// What the front needs to know, checked.
#[derive(Clone, Debug)]
pub struct FrontConfig {
    pub(crate) address: SocketAddr,
    pub(crate) listener: Option<Arc<TcpListener>>,
    pub(crate) paths: TlsPaths,
    pub(crate) connection_age_max: Duration,
    pub(crate) default_deadline: Duration,
    pub(crate) watch_interval: Duration,
    /// As many as the system gives files for, if nothing is set.
    pub(crate) connections_max: Option<usize>,
    pub(crate) frame_time_max: Duration,
    pub(crate) read_time_max: Duration,
    pub(crate) clock: Arc<dyn TimeProvider>,
    pub(crate) anchor_rule: AnchorRule,
    pub(crate) whose: Whose,
    pub(crate) passes_trace_parents: bool,
}

/// Whom a listener is for, and so which service it offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Coordinators,
    Operators,
}

/// Where the TLS files are, absolute or relative to the working directory.
#[derive(Clone, Debug)]
pub(crate) struct TlsPaths {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) callers: PathBuf,
    pub(crate) callers_crl: Option<PathBuf>,
}

/// Asked about every callers' bundle before it is taken, at start and at every reload.
#[derive(Clone)]
pub(crate) struct AnchorRule(Arc<Admits>);

type Admits = dyn Fn(&[CertificateDer<'static>]) -> bool + Send + Sync;

impl FrontConfig {
    /// Reads what was typed; relative paths are relative to `directory`, that of the configuration file.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn from_file(file: FrontFile, directory: &Path) -> Result<Self, ConfigError> {
        let path = |key, path: PathBuf| match path.as_os_str().is_empty() {
            true => Err(ConfigError::EmptyPath { key }),
            false => Ok(directory.join(path)),
        };
        Ok(Self {
            address: file.address,
            listener: None,
            paths: TlsPaths {
                certificate: path("certificate", file.certificate)?,
                key: path("key", file.key)?,
                callers: path("callers", file.callers)?,
                callers_crl: file.callers_crl.map(|crl| path("callers-crl", crl)).transpose()?,
            },
            connection_age_max: within("connection-age-max", file.connection_age_max, CONNECTION_AGE_MAX)?,
            default_deadline: within("default-deadline", file.default_deadline, DEADLINE_MAX)?,
            watch_interval: WATCH_INTERVAL,
            connections_max: None,
            frame_time_max: FRAME_TIME_MAX,
            read_time_max: READ_TIME_MAX,
            clock: Arc::new(DefaultTimeProvider),
            anchor_rule: AnchorRule(Arc::new(|_| true)),
            whose: Whose::Coordinators,
            passes_trace_parents: false,
        })
    }

    /// Offers the operators' service, `hallmark.operator.v1.Operator`, in place of the coordinators'.
    #[must_use]
    pub fn for_operators(mut self) -> Self {
        self.whose = Whose::Operators;
        self
    }

    /// Passes callers' headers `traceparent` on to the core, or not: for a core that traces calls.
    #[must_use]
    pub fn with_trace_parents(mut self, passed: bool) -> Self {
        self.passes_trace_parents = passed;
        self
    }

    /// Refuses a callers' bundle whose certificates (DER) `admits` does not let pass: at start with an error, at a reload by
    /// keeping the old one. Meant for "callers are not trusted through an authority that is signed here".
    #[must_use]
    pub fn with_anchor_rule(
        mut self,
        admits: impl Fn(&[CertificateDer<'static>]) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.anchor_rule = AnchorRule(Arc::new(admits));
        self
    }

    /// Takes connections from this socket, which listens already, in place of one at its own address.
    #[must_use]
    pub fn with_listener(mut self, listener: TcpListener) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// Where it listens, unless it is given a socket.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Looks at the TLS files every `interval` instead of every [`WATCH_INTERVAL`].
    #[must_use]
    pub fn with_watch_interval(mut self, interval: Duration) -> Self {
        self.watch_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Takes so many connections at one time, half of them of one caller.
    #[must_use]
    pub fn with_connections_max(mut self, connections: usize) -> Self {
        self.connections_max = Some(connections);
        self
    }

    /// Gives peers these times for a frame and to read an answer, instead of [`FRAME_TIME_MAX`] and [`READ_TIME_MAX`].
    #[must_use]
    pub fn with_peer_times(mut self, frame: Duration, read: Duration) -> Self {
        (self.frame_time_max, self.read_time_max) = (frame, read);
        self
    }

    /// Takes the wall clock from `clock` instead of the system.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn TimeProvider>) -> Self {
        self.clock = clock;
        self
    }
}

fn within(key: &'static str, typed: Period, longest: Duration) -> Result<Duration, ConfigError> {
    if typed.duration() < Duration::from_secs(1) || typed.duration() > longest {
        return Err(ConfigError::OutOfLimits { key, typed, longest: Period::from_secs(longest.as_secs()) });
    }
    Ok(typed.duration())
}

impl AnchorRule {
    pub(crate) fn admits(&self, anchors: &[CertificateDer<'static>]) -> bool {
        (self.0)(anchors)
    }
}

impl fmt::Debug for AnchorRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnchorRule")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPED: &str = r#"
        address = "127.0.0.1:4443"
        certificate = "server.pem"
        key = "/etc/keys/server.key"
        callers = "callers-ca.pem"
        callers-crl = "callers.crl"
        connection-age-max = "1h"
        default-deadline = "20s"
    "#;

    fn config(typed: &str) -> Result<FrontConfig, ConfigError> {
        FrontConfig::from_file(toml::from_str(typed).unwrap(), Path::new("/etc/hallmark"))
    }

    #[test]
    fn relative_paths_start_at_the_configuration_file() {
        let config = config(TYPED).unwrap();
        assert_eq!(config.paths.certificate, Path::new("/etc/hallmark/server.pem"));
        assert_eq!(config.paths.key, Path::new("/etc/keys/server.key"));
        assert_eq!(config.paths.callers_crl.as_deref(), Some(Path::new("/etc/hallmark/callers.crl")));
    }

    #[test]
    fn spans_of_time_have_defaults() {
        let typed: String = TYPED
            .lines()
            .filter(|line| !line.contains("age") && !line.contains("deadline"))
            .fold(String::new(), |text, line| text + line + "\n");
        let config = config(&typed).unwrap();
        assert_eq!(config.default_deadline, Duration::from_secs(20));
        assert_eq!(config.connection_age_max, Duration::from_secs(3_600));
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        for line in TYPED.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let key = line.split(' ').next().unwrap();
            let misspelt = TYPED.replace(&format!("{key} ="), &format!("{key}x ="));
            assert!(toml::from_str::<FrontFile>(&misspelt).is_err(), "{key}x was taken");
        }
    }

    #[test]
    fn spans_outside_their_limits_and_empty_paths_are_refused() {
        let error = config(&TYPED.replace("20s", "11m")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`default-deadline = \"11m\"` is outside its limits; write a span of time from 1s to 10m"
        );
        assert!(matches!(config(&TYPED.replace("\"1h\"", "\"0s\"")), Err(ConfigError::OutOfLimits { .. })));
        assert_eq!(
            config(&TYPED.replace("server.pem", "")).unwrap_err(),
            ConfigError::EmptyPath { key: "certificate" }
        );
    }
}
