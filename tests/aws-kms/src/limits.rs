//! What moto does not show of KMS.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{Kind, Kms};

/// One thing that moto cannot do, or does otherwise than AWS's documentation has it. Where it says so, `server.py` does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// It hashes what it is told is a digest. Amended.
    Digest,
    /// It makes no Ed25519 keys. Amended.
    Ed25519,
    /// The salt of its RSASSA-PSS is longer than the digest. Amended.
    PssSalt,
    /// It signs messages of any length. Amended.
    LongMessages,
    /// A disabled key signs. Amended.
    Disabled,
    /// A key whose deletion is scheduled signs. Amended.
    PendingDeletion,
    /// It schedules a deletion in a day. Amended.
    WaitingDays,
    /// It takes the ARN of another account or region for one of its own. Amended.
    ForeignArns,
    /// It tells the id of a public key's key, and not its ARN. Amended.
    PublicKeyIds,
    /// It fails where a deletion is to be scheduled by an ARN. Amended.
    DeletionByArn,
    /// It takes every key of access, and looks at no signature. The relay looks at the key of access and at the token.
    Credentials,
    /// It lets everybody do everything. The relay refuses what it is told to.
    Permissions,
    /// It is never asked too often. The relay says so when it is told to.
    Throttling,
}

/// All of them.
pub const LIMITS: [Limit; 13] = [
    Limit::Digest,
    Limit::Ed25519,
    Limit::PssSalt,
    Limit::LongMessages,
    Limit::Disabled,
    Limit::PendingDeletion,
    Limit::WaitingDays,
    Limit::ForeignArns,
    Limit::PublicKeyIds,
    Limit::DeletionByArn,
    Limit::Credentials,
    Limit::Permissions,
    Limit::Throttling,
];

/// How often is often enough to be throttled: default quotas of AWS are some hundred signatures a second, and this is at once.
const OFTEN: usize = 20;

impl Limit {
    /// Whether it is so of this kind of KMS. A moto of tomorrow may do more: then the limit is to be taken away, and its part of `server.py`.
    #[must_use]
    pub fn holds(self, kind: Kind) -> bool {
        let kms = Kms::of(kind);
        let sign = |id: &str, kind: &str, algorithm: &str, message: &[u8]| {
            let request = json!({
                "KeyId": id, "MessageType": kind, "SigningAlgorithm": algorithm, "Message": STANDARD.encode(message),
            });
            kms.try_call("Sign", &request)
        };
        let makes = |spec: &str| {
            let request = json!({ "KeySpec": spec, "KeyUsage": "SIGN_VERIFY" });
            kms.try_call("CreateKey", &request).ok()?["KeyMetadata"]["KeyId"].as_str().map(str::to_owned)
        };
        let p256 = || makes("ECC_NIST_P256").expect("a key");
        let signs = |id: &str| sign(id, "RAW", "ECDSA_SHA_256", b"message").is_ok();
        match self {
            // A digest has one length.
            Self::Digest => sign(&p256(), "DIGEST", "ECDSA_SHA_256", b"no digest").is_ok(),
            Self::Ed25519 => makes("ECC_NIST_EDWARDS25519").is_none(),
            Self::PssSalt => {
                let id = makes("RSA_2048").expect("a key");
                let signed = sign(&id, "RAW", "RSASSA_PSS_SHA_256", b"message").expect("a signature");
                let key = kms.call("GetPublicKey", &json!({ "KeyId": id }));
                !has_short_salt(&key["PublicKey"], &signed["Signature"])
            }
            Self::LongMessages => sign(&p256(), "RAW", "ECDSA_SHA_256", &[7; 4_097]).is_ok(),
            Self::Disabled => {
                let id = p256();
                kms.call("DisableKey", &json!({ "KeyId": id }));
                signs(&id)
            }
            Self::PendingDeletion => {
                let id = p256();
                kms.call("ScheduleKeyDeletion", &json!({ "KeyId": id, "PendingWindowInDays": 7 }));
                signs(&id)
            }
            Self::WaitingDays => {
                let request = json!({ "KeyId": p256(), "PendingWindowInDays": 1 });
                kms.try_call("ScheduleKeyDeletion", &request).is_ok()
            }
            Self::ForeignArns => {
                let id = p256();
                let describes = |region: &str, account: &str| {
                    let arn = format!("arn:aws:kms:{region}:{account}:key/{id}");
                    kms.try_call("DescribeKey", &json!({ "KeyId": arn })).is_ok()
                };
                describes("eu-west-1", kms.account()) || describes(crate::REGION, "123456789012")
            }
            Self::PublicKeyIds => {
                let id = p256();
                kms.call("GetPublicKey", &json!({ "KeyId": id }))["KeyId"] == json!(id)
            }
            Self::DeletionByArn => {
                let arn = kms.describe(&p256())["Arn"].clone();
                kms.try_call("ScheduleKeyDeletion", &json!({ "KeyId": arn, "PendingWindowInDays": 7 })).is_err()
            }
            // Its calls here have no signature.
            Self::Credentials => kms.try_call("ListKeys", &json!({})).is_ok(),
            Self::Permissions => {
                let denies = r#"{"Statement":[{"Effect":"Deny","Principal":"*","Action":"kms:Sign","Resource":"*"}]}"#;
                let request = json!({ "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY", "Policy": denies });
                let made = kms.call("CreateKey", &request);
                signs(made["KeyMetadata"]["KeyId"].as_str().expect("an id"))
            }
            Self::Throttling => {
                let id = p256();
                (0..OFTEN).all(|_| signs(&id))
            }
        }
    }
}

/// Whether a signature has a salt of 32 bytes, as `openssl` sees it.
fn has_short_salt(key: &Value, signature: &Value) -> bool {
    use std::{fs, process::Command};

    let directory = std::env::temp_dir().join(format!("hallmark-salt-{}-{:p}", std::process::id(), &raw const *key));
    fs::create_dir_all(&directory).expect("a directory");
    let write = |name: &str, content: &[u8]| {
        let path = directory.join(name);
        fs::write(&path, content).expect("a file");
        path
    };
    let decode = |value: &Value| STANDARD.decode(value.as_str().expect("base64")).expect("base64");
    let key = write("key", &decode(key));
    let signature = write("signature", &decode(signature));
    let message = write("message", b"message");
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-keyform", "DER", "-sigopt", "rsa_padding_mode:pss"]);
    openssl.args(["-sigopt", "rsa_pss_saltlen:32", "-verify"]).arg(key).arg("-signature").arg(signature).arg(message);
    let verifies = openssl.output().expect("openssl runs").status.success();
    fs::remove_dir_all(directory).expect("it is there");
    verifies
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fault, http::pass};

    #[test]
    fn accounts_do_not_see_each_other() {
        let (one, other) = (Kms::new(), Kms::new());
        let id = one.make("a", &json!({}));
        assert_eq!(one.describe(&id)["Description"], "hallmark epoch a");
        assert!(other.try_call("DescribeKey", &json!({ "KeyId": id })).is_err());
    }

    /// What KMS answers a client of these credentials, which comes through the relay.
    fn ask(kms: &Kms, key: &str, token: Option<&str>, call: &str, content: &Value) -> (u16, Value) {
        let token = token.map(|token| format!("X-Amz-Security-Token: {token}\r\n")).unwrap_or_default();
        let headers = format!(
            "Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: TrentService.{call}\r\n{token}Authorization: \
             AWS4-HMAC-SHA256 Credential={key}/20260101/{}/kms/aws4_request, SignedHeaders=host, Signature=0\r\n",
            crate::REGION
        );
        let answer = pass(kms.relay.address(), "0", &headers, content.to_string().as_bytes()).unwrap();
        (answer.status, serde_json::from_slice::<Value>(&answer.body).unwrap()["__type"].clone())
    }

    /// Whether a client sees what AWS's documentation says, although moto does otherwise.
    fn is_played(limit: Limit) -> bool {
        let kms = Kms::new();
        let id = kms.make("a", &json!({}));
        let message = json!({ "KeyId": id, "Message": "YQ==", "SigningAlgorithm": "ECDSA_SHA_256" });
        let as_whom = |key: &str, token: Option<&str>| ask(&kms, key, token, "Sign", &message);
        let sign = || as_whom(crate::ACCESS_KEY_ID, None);
        let (good, refused) = ((200, Value::Null), |name: &str| (400, json!(name)));
        let faulty = |name: &'static str, times: Option<usize>| kms.fault("Sign", Fault::Refuse(400, name), times);
        match limit {
            Limit::Credentials => {
                let before = sign() == good
                    && as_whom("AKIANOBODY", None) == refused("UnrecognizedClientException")
                    && as_whom(crate::ACCESS_KEY_ID, Some("a token")) == refused("ExpiredTokenException");
                kms.admit("ASIANEXT", Some("a token"));
                before
                    && as_whom("ASIANEXT", Some("a token")) == good
                    && as_whom("ASIANEXT", None) == refused("ExpiredTokenException")
                    && sign() == refused("UnrecognizedClientException")
            }
            Limit::Permissions => {
                faulty("AccessDeniedException", None);
                let denied = (0..OFTEN).all(|_| sign() == refused("AccessDeniedException"));
                let others = ask(&kms, crate::ACCESS_KEY_ID, None, "DescribeKey", &json!({ "KeyId": id })) == good;
                kms.end_faults();
                denied && others && sign() == good
            }
            Limit::Throttling => {
                faulty("ThrottlingException", Some(2));
                let throttled = (0..2).all(|_| sign() == refused("ThrottlingException"));
                throttled && sign() == good
            }
            Limit::Digest
            | Limit::Ed25519
            | Limit::PssSalt
            | Limit::LongMessages
            | Limit::Disabled
            | Limit::PendingDeletion
            | Limit::WaitingDays
            | Limit::ForeignArns
            | Limit::PublicKeyIds
            | Limit::DeletionByArn => false,
        }
    }

    #[test]
    fn every_limit_of_moto_is_amended_or_played_by_the_relay() {
        for limit in LIMITS {
            assert!(limit.holds(Kind::Plain), "{limit:?} is none any more");
            let amended = !limit.holds(Kind::Amended);
            assert_ne!(amended, is_played(limit), "{limit:?} is amended ({amended}), or else is played");
        }
    }
}
