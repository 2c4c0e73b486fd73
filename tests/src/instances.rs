//! Instances that register and refresh, as their agents do (Copper Argos).

use hallmark_policy::{
    content::Serial,
    instance::{InstanceName, proof_message},
    key::SpkiDigest,
};
use hallmark_proto::signer::{
    InstanceIntent, InstanceRefresh, InstanceRegister, MintCertificateRequest, MintCertificateResponse,
    instance_intent::Intent,
};
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};

use crate::{
    World,
    asking::{self, Asked, Refused},
    example_policy,
};

/// The provider of the example policy.
pub const PROVIDER: &str = "sys.auth.lab";

/// The example policy whose services keep records of instances, with further settings in the table.
#[must_use]
pub fn policy(settings: &str) -> String {
    keeping(&example_policy(), settings)
}

/// A policy like the example's whose services keep records of instances.
#[must_use]
pub fn keeping(policy: &str, settings: &str) -> String {
    let instances =
        format!("[profile.athenz-service]\ninstances = {{ intents = [\"register\", \"refresh\"]{settings} }}\n");
    let crl = "[authority.athenz]\ncrl = { lifetime = \"7d\", refresh = \"1d\" }\n\n[authority.athenz.root]";
    let policy = policy.replacen("[profile.athenz-service]\n", &instances, 1);
    policy.replacen("[authority.athenz.root]", crl, 1)
}

/// What an instance of that id asks for.
#[must_use]
pub fn asked(id: &str) -> Asked {
    let mut asked = Asked::sports_api();
    asked.dns[1] = format!("{id}.instanceid.athenz.lab.athenz.cloud");
    asked
}

/// A new key.
#[must_use]
pub fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// A request to register the instance with this key.
#[must_use]
pub fn register(id: &str, key: &KeyPair) -> MintCertificateRequest {
    let intent = Some(InstanceIntent { intent: Some(Intent::Register(InstanceRegister {})) });
    MintCertificateRequest { instance: intent, ..asking::athenz(asked(id).csr_with(key)) }
}

/// A request to refresh the instance with this key, presenting that certificate.
#[must_use]
pub fn refresh(id: &str, key: &KeyPair, certificate: &[u8]) -> MintCertificateRequest {
    let intent = InstanceRefresh { current_certificate: certificate.to_vec().into(), ..InstanceRefresh::default() };
    let intent = Some(InstanceIntent { intent: Some(Intent::Refresh(intent)) });
    MintCertificateRequest { instance: intent, ..asking::athenz(asked(id).csr_with(key)) }
}

/// The serial number of a certificate, DER: it follows the version, which is 3.
fn serial_of(certificate: &[u8]) -> Serial {
    const VERSION: [u8; 5] = [0xa0, 0x03, 0x02, 0x01, 0x02];
    let at = certificate.windows(VERSION.len()).position(|window| window == VERSION).expect("a version");
    let [0x02, length, content @ ..] = &certificate[at + VERSION.len()..] else { panic!("no INTEGER") };
    Serial::from_stored(&content[..usize::from(*length)]).expect("a serial number")
}

/// The same, with the proof that whoever asks has the key of the presented certificate.
#[must_use]
pub fn proven(id: &str, key: &KeyPair, certificate: &[u8], old_key: &KeyPair) -> MintCertificateRequest {
    prove(refresh(id, key, certificate), id, key, certificate, old_key)
}

/// The same of a request that has no id.
#[must_use]
pub fn proven_without_id(id: &str, key: &KeyPair, certificate: &[u8], old_key: &KeyPair) -> MintCertificateRequest {
    let request = MintCertificateRequest { request_id: String::new(), ..refresh(id, key, certificate) };
    prove(request, id, key, certificate, old_key)
}

fn prove(
    mut request: MintCertificateRequest,
    id: &str,
    key: &KeyPair,
    certificate: &[u8],
    old_key: &KeyPair,
) -> MintCertificateRequest {
    let name = InstanceName { provider: PROVIDER.to_owned(), id: id.to_owned(), service: String::new() };
    let digest = SpkiDigest::of(&key.subject_public_key_info());
    let message = proof_message(&request.authority, &request.request_id, &name, serial_of(certificate), digest);
    let signature = old_key.sign(message.as_bytes()).expect("a signature");
    if let Some(InstanceIntent { intent: Some(Intent::Refresh(refresh)) }) = &mut request.instance {
        refresh.possession_signature = signature.into();
    }
    request
}

/// An agent on an instance, with the key and certificate that it has on its disk.
#[derive(Debug)]
pub struct Agent {
    /// The instance's id.
    pub id: String,
    /// Its key.
    pub key: KeyPair,
    /// What it was given last.
    pub minted: MintCertificateResponse,
}

impl Agent {
    /// An agent that has registered.
    ///
    /// # Errors
    /// The refusal.
    pub async fn registered(world: &World, id: &str) -> Result<Self, Refused> {
        let key = key();
        let minted = world.mint(register(id, &key)).await?;
        Ok(Self { id: id.to_owned(), key, minted })
    }

    /// Refreshes with a new key, and proves that it has the old one.
    ///
    /// # Errors
    /// The refusal.
    pub async fn refresh(&mut self, world: &World) -> Result<(), Refused> {
        let new = key();
        let request = proven(&self.id, &new, &self.minted.certificate, &self.key);
        self.minted = world.mint(request).await?;
        self.key = new;
        Ok(())
    }

    /// Who copied its disk.
    #[must_use]
    pub fn copied(&self) -> Self {
        let key = KeyPair::try_from(self.key.serialize_der()).expect("the same key");
        Self { id: self.id.clone(), key, minted: self.minted.clone() }
    }
}
