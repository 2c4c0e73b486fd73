//! Evidence from the provider: the signer checks it itself, and the log says which it was and whose key verified it.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hallmark_policy::{
    evidence::thumbprint,
    key::{PublicKey, SpkiDigest},
};
use hallmark_proto::signer::MintCertificateRequest;
use hallmark_tests::{
    Where, World,
    asking::{Asked, athenz, request_id},
    example_policy,
};
use rcgen::{KeyPair, PublicKeyData as _};
use sha2::{Digest as _, Sha256};

/// Seconds that evidence is good for.
const GOOD_SECS: i64 = 60;

struct Provider(KeyPair);

impl Provider {
    fn new() -> Self {
        Self(KeyPair::generate().unwrap())
    }

    /// The example, whose services need this provider's word.
    fn policy(&self) -> String {
        format!(
            "{}\n[profile.athenz-service.evidence]\n\
             issuer = \"https://provider.test\"\n\
             audience = \"hallmark\"\n\
             algorithms = [\"ES256\"]\n\
             max-age = \"1m\"\n\
             clock-skew = \"0s\"\n\
             claims = {{ sub = \"{{domain}}.{{service}}\", instance = \"{{instance}}\" }}\n\
             keys = [{{ kid = \"k-1\", spki = '''\n{}''' }}]\n",
            example_policy(),
            self.0.public_key_pem()
        )
    }

    /// Its word that `instance` of `sports.api` has this key.
    fn vouch(&self, instance: &str, key: &KeyPair, now: i64) -> String {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jkt = thumbprint(&PublicKey::parse(&key.subject_public_key_info()).unwrap());
        let claims = format!(
            r#"{{"iss":"https://provider.test","aud":"hallmark","iat":{now},"exp":{},"sub":"sports.api","instance":"{instance}","cnf":{{"jkt":"{jkt}"}}}}"#,
            now + GOOD_SECS
        );
        let signed = format!("{}.{}", encode(br#"{"alg":"ES256","kid":"k-1"}"#), encode(claims.as_bytes()));
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.0.serialize_der()).unwrap();
        let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature.as_ref()))
    }
}

fn request(key: &KeyPair, jwt: &str) -> MintCertificateRequest {
    MintCertificateRequest { evidence_jwt: jwt.to_owned(), ..athenz(Asked::sports_api().csr_with(key)) }
}

fn hex_of(bytes: &[u8]) -> String {
    hallmark_policy::hex(&Sha256::digest(bytes))
}

#[tokio::test]
async fn the_log_says_which_evidence_was_brought_and_which_key_verified_it() {
    let (provider, key) = (Provider::new(), KeyPair::generate().unwrap());
    let mut world = World::with_policy(Where::Software, &provider.policy()).await;
    let now = world.clocks().now();
    let good = provider.vouch("i-1", &key, now);
    let minted = world.mint(request(&key, &good)).await.unwrap();
    let uses = world.key_uses();
    let of_another_instance = provider.vouch("i-2", &key, now);
    let forged = Provider::new().vouch("i-1", &key, now);
    let malformed = format!("{good}.e30");
    let bad = [
        ("", 7, "EVIDENCE_MISSING"),
        (of_another_instance.as_str(), 7, "EVIDENCE_CLAIM_WRONG"),
        (forged.as_str(), 7, "EVIDENCE_SIGNATURE_WRONG"),
        (malformed.as_str(), 3, "EVIDENCE_MALFORMED"),
    ];
    for (jwt, code, reason) in bad {
        let refused = world.mint(request(&key, jwt)).await.unwrap_err();
        assert_eq!((refused.code, refused.reasons.as_slice()), (code, [reason.to_owned()].as_slice()));
        assert!(refused.logged.is_some());
    }
    assert_eq!(world.key_uses(), uses, "a refusal touches no key");

    let log = world.log_after_stop().await;
    let evidence = &log.entries[usize::try_from(minted.log_index).unwrap()]["evidence"];
    let spki = SpkiDigest::of(&provider.0.subject_public_key_info()).to_string();
    let expected = serde_json::json!({ "jwt-sha256": hex_of(good.as_bytes()), "kid": "k-1", "spki-sha256": spki });
    assert_eq!(*evidence, expected);
    let database = rusqlite::Connection::open(world.path("ledger.sqlite")).unwrap();
    let kept = |jwt: &str| -> bool {
        let sql = "SELECT count(*) FROM blob WHERE sha256 = ?1 AND bytes = ?2";
        let digest = Sha256::digest(jwt.as_bytes()).to_vec();
        database.query_row(sql, rusqlite::params![digest, jwt.as_bytes()], |row| row.get::<_, i64>(0)).unwrap() == 1
    };
    assert!(kept(&good));
    for (entry, (jwt, ..)) in log.decisions("refused").into_iter().zip(bad) {
        if jwt.is_empty() {
            assert_eq!(entry["evidence"], serde_json::Value::Null);
            continue;
        }
        assert_eq!(entry["evidence"], serde_json::json!({ "jwt-sha256": hex_of(jwt.as_bytes()) }));
        assert!(kept(jwt));
    }
}

#[tokio::test]
async fn an_answer_that_got_lost_is_given_again_although_its_evidence_has_ended() {
    let (provider, key) = (Provider::new(), KeyPair::generate().unwrap());
    let world = World::with_policy(Where::Software, &provider.policy()).await;
    let asked = request(&key, &provider.vouch("i-1", &key, world.clocks().now()));
    let minted = world.mint(asked.clone()).await.unwrap();
    world.clocks().pass(u32::try_from(GOOD_SECS).unwrap());
    let again = world.mint(asked.clone()).await.unwrap();
    assert!(again.replayed && again.certificate == minted.certificate);
    let anew = MintCertificateRequest { request_id: request_id(), ..asked.clone() };
    let refused = world.mint(anew).await.unwrap_err();
    assert_eq!(refused.reasons, ["EVIDENCE_EXPIRED"], "another request needs evidence of its own");
    let fresh = provider.vouch("i-1", &key, world.clocks().now());
    let other = MintCertificateRequest { evidence_jwt: fresh.clone(), ..asked.clone() };
    assert_eq!(world.mint(other).await.unwrap_err().reasons, ["REQUEST_ID_REUSED"]);
    world.mint(MintCertificateRequest { request_id: request_id(), evidence_jwt: fresh, ..asked }).await.unwrap();
}
