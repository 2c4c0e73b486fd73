//! One message to one webhook, signed as Standard Webhooks 1.0 has it: whoever receives it can tell that it comes from here, and when.

use std::{fs, path::Path, time::Duration};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Certificate, Client, StatusCode, Url, redirect::Policy};
use zeroize::Zeroizing;

use crate::problem::Problem;

/// How long the receiver may take, in seconds.
const ANSWER_SECS_MAX: u64 = 10;

/// What a secret begins with, before its base64.
const SECRET_PREFIX: &str = "whsec_";

/// Least and most bytes of a secret (Standard Webhooks 1.0, "Signature scheme").
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Where messages go, and what they are signed with.
pub(crate) struct Webhook {
    url: Url,
    key: hmac::Key,
    client: Client,
}

impl Webhook {
    /// Reads the secret, and has connections verified against the platform's CAs, or against those in a file.
    pub(crate) fn open(url: &str, secret: &Path, ca: Option<&Path>) -> Result<Self, Problem> {
        let wrong = |sentence: &str| Problem::Webhook { sentence: sentence.to_owned() };
        // It may hold a token: it is not repeated.
        let parsed = Url::parse(url).map_err(|error| wrong(&format!("its address is no URL: {error}")))?;
        let is_local = matches!(parsed.host_str(), Some("127.0.0.1" | "[::1]"));
        if parsed.scheme() != "https" && !(parsed.scheme() == "http" && is_local) {
            return Err(wrong("alarms name instances and callers: they go over https, or to 127.0.0.1 and ::1"));
        }
        let mut client = Client::builder()
            .timeout(Duration::from_secs(ANSWER_SECS_MAX))
            // What is signed for one place is not sent on to another.
            .redirect(Policy::none());
        if is_local {
            // Nor does it leave this machine by a proxy.
            client = client.no_proxy();
        }
        if let Some(path) = ca {
            let file = |source| Problem::File { path: path.to_owned(), source };
            let bundle = Certificate::from_pem_bundle(&fs::read(path).map_err(file)?);
            let bundle = bundle.map_err(|error| wrong(&format!("`{}`: {error}", path.display())))?;
            client = client.tls_certs_only(bundle);
        }
        let client = client.build().map_err(|error| wrong(&error.to_string()))?;
        Ok(Self { url: parsed, key: key(secret)?, client })
    }

    /// Sends a message once. The same `id` stands in every attempt, so that the receiver can tell them from new messages.
    ///
    /// Gives a sentence where it was not taken.
    pub(crate) async fn send(&self, id: &str, timestamp_secs: i64, body: &str) -> Result<(), String> {
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp_secs)
            .header("webhook-signature", self.signature(id, timestamp_secs, body))
            .body(body.to_owned());
        match request.send().await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) if response.status() == StatusCode::GONE => {
                Err("the receiver says that it is gone (410): name another".to_owned())
            }
            Ok(response) => Err(format!("the receiver answered {}", response.status())),
            // The URL may hold a token.
            Err(error) => Err(format!("the receiver was not reached: {}", error.without_url())),
        }
    }

    fn signature(&self, id: &str, timestamp_secs: i64, body: &str) -> String {
        let signed = hmac::sign(&self.key, format!("{id}.{timestamp_secs}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(signed))
    }
}

/// The secret in a file: `whsec_` and base64 of 24 to 64 bytes.
fn key(path: &Path) -> Result<hmac::Key, Problem> {
    let file = |source| Problem::File { path: path.to_owned(), source };
    let wrong = |sentence: &str| Problem::Webhook { sentence: format!("`{}` {sentence}", path.display()) };
    let text = Zeroizing::new(fs::read_to_string(path).map_err(file)?);
    let encoded = text.trim().strip_prefix(SECRET_PREFIX);
    let encoded = encoded.ok_or_else(|| wrong("holds no secret: it begins with `whsec_`"))?;
    let decoded = STANDARD.decode(encoded).map(Zeroizing::new);
    let secret = decoded.map_err(|_| wrong("holds no secret: base64 follows `whsec_`"))?;
    if !SECRET_BYTES.contains(&secret.len()) {
        return Err(wrong("holds a secret that is not of 24 to 64 bytes"));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_signed_as_the_standard_s_own_example_is() {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let webhook = Webhook::open("https://a.example/", &secret, None).unwrap();
        let signature = webhook.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_is_none_and_a_place_in_the_clear_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        for (text, says) in [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "begins with `whsec_`"),
            ("whsec_!", "base64 follows"),
            ("whsec_MfKQ9r8G", "24 to 64 bytes"),
        ] {
            fs::write(&secret, text).unwrap();
            let Err(problem) = Webhook::open("https://a.example/", &secret, None) else { panic!("{text}") };
            assert!(problem.to_string().contains(says), "{problem}");
            assert!(!problem.to_string().contains(text), "a secret is never printed");
        }
        fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        for url in ["http://a.example/", "http://localhost/", "ftp://127.0.0.1/", "a"] {
            assert!(Webhook::open(url, &secret, None).is_err(), "{url}");
        }
        assert!(Webhook::open("http://127.0.0.1:8080/", &secret, None).is_ok());
    }
}
