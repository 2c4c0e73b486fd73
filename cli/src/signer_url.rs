//! Where a signer is: an https URL with a host, and nothing after it.

use http::Uri;
use rustls_pki_types::ServerName;

/// The port of https (RFC 9110, section 4.2.2).
const HTTPS_PORT: u16 = 443;

/// A signer's address.
#[derive(Clone, Debug)]
pub(crate) struct SignerUrl {
    /// Host and port, as people write them.
    pub(crate) address: String,
    /// Host name or IP address, without brackets.
    pub(crate) host: String,
    /// Port.
    pub(crate) port: u16,
    /// The name that its certificate must have.
    pub(crate) name: ServerName<'static>,
    /// Scheme and authority, for requests.
    pub(crate) origin: Uri,
}

/// Text that is no signer's URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no URL of a signer: {detail}")]
pub(crate) struct SignerUrlError {
    text: String,
    detail: &'static str,
}

impl SignerUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, SignerUrlError> {
        let wrong = |detail| SignerUrlError { text: text.to_owned(), detail };
        let uri: Uri = text.parse().map_err(|_| wrong("it does not read as a URL"))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") => return Err(wrong("a signer speaks TLS only, so it begins with https://")),
            Some(_) | None => return Err(wrong("it begins with https://")),
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("nothing comes after host and port"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("callers are known by their certificate, so it has no user"));
        }
        let bracketed = authority.host();
        let host = bracketed.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(bracketed);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong("its host is no DNS name or IP address"))?;
        if authority.port().is_some() && authority.port_u16().is_none() {
            return Err(wrong("its port is no number up to 65535"));
        }
        let port = authority.port_u16().unwrap_or(HTTPS_PORT);
        let origin = Uri::builder().scheme("https").authority(authority.as_str()).path_and_query("/").build();
        Ok(Self {
            address: format!("{bracketed}:{port}"),
            host: host.to_owned(),
            port,
            name,
            origin: origin.map_err(|_| wrong("it does not read as a URL"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_addresses_and_ports_are_told_apart() {
        for (text, host, port) in [
            ("https://127.0.0.1:4443", "127.0.0.1", 4443),
            ("https://signer.example.com", "signer.example.com", 443),
            ("https://[::1]:4443/", "::1", 4443),
        ] {
            let url = SignerUrl::parse(text).unwrap();
            assert_eq!((url.host.as_str(), url.port), (host, port));
        }
        assert_eq!(SignerUrl::parse("https://[::1]").unwrap().address, "[::1]:443");
    }

    #[test]
    fn whatever_is_not_plain_https_is_refused() {
        for (text, detail) in [
            ("http://signer", "a signer speaks TLS only, so it begins with https://"),
            ("signer:4443", "it begins with https://"),
            ("127.0.0.1:4443", "it begins with https://"),
            ("", "it does not read as a URL"),
            ("https://signer/path", "nothing comes after host and port"),
            ("https://signer?x", "nothing comes after host and port"),
            ("https://me@signer", "callers are known by their certificate, so it has no user"),
            ("https://a_b..c", "its host is no DNS name or IP address"),
        ] {
            let error = SignerUrl::parse(text).map(|url| url.address).unwrap_err();
            assert_eq!(error.detail, detail, "{text}");
        }
    }
}
