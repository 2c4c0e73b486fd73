//! `[operators]` of `signer.toml`: the operators' listener, and who is an operator.

use std::{net::SocketAddr, path::PathBuf};

use hallmark_front::FrontFile;
use hallmark_policy::caller::Identity;
use serde::Deserialize;

use crate::trouble::Trouble;

/// The table as it was typed. What it shares with `[listen]` means the same.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct OperatorsFile {
    /// IP address and port to listen on: another than callers have.
    pub(crate) address: SocketAddr,
    /// PEM file with the server's certificate chain, leaf first.
    pub(crate) certificate: PathBuf,
    /// PEM file with the server's private key.
    pub(crate) key: PathBuf,
    /// PEM file with the certificates of the authorities that operators are trusted through. None of them signs here.
    pub(crate) callers: PathBuf,
    /// PEM or DER file with the operators' revocation lists.
    pub(crate) callers_crl: Option<PathBuf>,
    /// Who is an operator: URIs and dNSNames of client certificates. No policy has a say in it.
    pub(crate) allow: Vec<String>,
    /// Who may read metrics (`GET /metrics`) and nothing else: URIs and dNSNames of client certificates, such as Prometheus'.
    #[serde(default)]
    pub(crate) monitors: Vec<String>,
}

impl OperatorsFile {
    /// The listener, as `[listen]` would have it; spans of time are those of callers.
    pub(crate) fn listener(&self, callers: &FrontFile) -> FrontFile {
        let Self { address, certificate, key, callers: bundle, callers_crl, allow: _, monitors: _ } = self.clone();
        FrontFile { address, certificate, key, callers: bundle, callers_crl, ..callers.clone() }
    }

    /// The operators' identities.
    ///
    /// # Errors
    /// [`Trouble::Operators`].
    pub(crate) fn identities(&self) -> Result<Vec<Identity>, Trouble> {
        if self.allow.is_empty() {
            let detail = "it is empty, so that nobody could do anything".to_owned();
            return Err(Trouble::Operators { detail });
        }
        self.allow.iter().map(parse).collect()
    }

    /// The monitors' identities.
    ///
    /// # Errors
    /// [`Trouble::Operators`].
    pub(crate) fn monitor_identities(&self) -> Result<Vec<Identity>, Trouble> {
        self.monitors.iter().map(parse).collect()
    }
}

fn parse(text: &String) -> Result<Identity, Trouble> {
    Identity::parse(text).map_err(|error| Trouble::Operators { detail: format!("`{text}`: {error}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowing(allow: &[&str]) -> OperatorsFile {
        OperatorsFile {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            certificate: "server.pem".into(),
            key: "server.key".into(),
            callers: "operators-ca.pem".into(),
            callers_crl: None,
            monitors: Vec::new(),
            allow: allow.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn operators_are_uris_and_dns_names() {
        let identities = allowing(&["spiffe://hallmark.lab/operator", "ops.hallmark.lab"]).identities().unwrap();
        assert_eq!(
            identities.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["uri:spiffe://hallmark.lab/operator", "dns:ops.hallmark.lab"]
        );
    }

    #[test]
    fn a_listener_for_nobody_and_names_that_are_none_are_refused() {
        for allow in [&[][..], &["operator"], &["spiffe://"], &["OPS.hallmark.lab"]] {
            let told = allowing(allow).identities().unwrap_err().to_string();
            assert!(told.contains("`operators.allow`"), "{told}");
        }
    }
}
