//! Requests, and what comes back.

use std::{task::Poll, time::Duration};

use bytes::Bytes;
use hallmark_proto::{
    link::Reply,
    signer::{MintCertificateRequest, Refusal, mint_certificate_request::Subject},
};
use prost::Message;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SanType};
use tonic_types::pb::{ErrorInfo, RetryInfo, Status};

/// A refusal as the caller sees it.
#[derive(Clone, Debug)]
pub struct Refused {
    /// gRPC status code.
    pub code: i32,
    /// Status message.
    pub message: String,
    /// The codes of all reasons, in order.
    pub reasons: Vec<String>,
    /// What each reason says is allowed, by its code.
    pub allowed: Vec<(String, String)>,
    /// Where the refusal stands in the log.
    pub logged: Option<Refusal>,
    /// When the same call would pass, in milliseconds from now.
    pub retry_after_millis: Option<u32>,
}

/// Decodes a reply.
///
/// # Errors
/// The refusal.
pub fn decoded<M: Message + Default>(reply: Reply) -> Result<M, Refused> {
    if reply.code == 0 {
        return Ok(M::decode(reply.body).expect("the answer decodes"));
    }
    let status = Status::decode(reply.details).expect("the details decode");
    assert_eq!(status.code, reply.code, "both places say the same code");
    let mut refused = Refused {
        code: reply.code,
        message: reply.message,
        reasons: Vec::new(),
        allowed: Vec::new(),
        logged: None,
        retry_after_millis: None,
    };
    for detail in status.details {
        match detail.type_url.as_str() {
            "type.googleapis.com/google.rpc.ErrorInfo" => {
                let info = ErrorInfo::decode(detail.value.as_slice()).expect("an ErrorInfo");
                if let Some(allowed) = info.metadata.get("allowed") {
                    refused.allowed.push((info.reason.clone(), allowed.clone()));
                }
                refused.reasons.push(info.reason);
            }
            "type.googleapis.com/google.rpc.RetryInfo" => {
                let delay = RetryInfo::decode(detail.value.as_slice()).expect("a RetryInfo").retry_delay;
                let delay = delay.map(|delay| Duration::try_from(delay).expect("a positive delay"));
                refused.retry_after_millis = delay.and_then(|delay| u32::try_from(delay.as_millis()).ok());
            }
            "type.googleapis.com/hallmark.signer.v1.Refusal" => {
                refused.logged = Some(Refusal::decode(detail.value.as_slice()).expect("a Refusal"));
            }
            _ => {}
        }
    }
    Err(refused)
}

/// A caller's certificate with this URI, DER. It is valid from 1975 to 4096.
#[must_use]
pub fn caller_certificate(uri: &str) -> Bytes {
    caller_certificate_of(vec![SanType::URI(uri.try_into().expect("a URI"))])
}

/// A caller's certificate with these names, DER.
#[must_use]
pub fn caller_certificate_of(names: Vec<SanType>) -> Bytes {
    let key = KeyPair::generate().expect("a key");
    let mut parameters = CertificateParams::default();
    parameters.subject_alt_names = names;
    parameters.self_signed(&key).expect("a certificate").der().to_vec().into()
}

/// What a CSR of a scenario asks for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Common name.
    pub common_name: Option<String>,
    /// Further attributes of the subject.
    pub organization: Option<String>,
    /// dNSNames.
    pub dns: Vec<String>,
    /// URIs.
    pub uris: Vec<String>,
    /// Further extension requests: arcs and DER.
    pub extensions: Vec<(Vec<u64>, Vec<u8>)>,
}

impl Asked {
    /// What an instance of `sports.api` asks for.
    #[must_use]
    pub fn sports_api() -> Self {
        Self {
            common_name: Some("sports.api".to_owned()),
            dns: vec!["api.sports.lab.athenz.cloud".to_owned(), "i-1.instanceid.athenz.lab.athenz.cloud".to_owned()],
            ..Self::default()
        }
    }

    /// The CSR, DER, signed with a new P-256 key.
    #[must_use]
    pub fn csr(&self) -> Vec<u8> {
        self.csr_with(&KeyPair::generate().expect("a key"))
    }

    /// The CSR, DER, signed with this key.
    #[must_use]
    pub fn csr_with(&self, key: &KeyPair) -> Vec<u8> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        if let Some(name) = &self.organization {
            parameters.distinguished_name.push(DnType::OrganizationName, name.as_str());
        }
        if let Some(name) = &self.common_name {
            parameters.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        let dns = self.dns.iter().map(|name| SanType::DnsName(name.as_str().try_into().expect("IA5")));
        let uris = self.uris.iter().map(|uri| SanType::URI(uri.as_str().try_into().expect("IA5")));
        parameters.subject_alt_names = dns.chain(uris).collect();
        parameters.custom_extensions =
            self.extensions.iter().map(|(arcs, der)| CustomExtension::from_oid_content(arcs, der.clone())).collect();
        parameters.serialize_request(key).expect("a CSR").der().to_vec()
    }

    /// A mint request for it under `athenz-service`, with a request id of its own.
    #[must_use]
    pub fn request(&self) -> MintCertificateRequest {
        athenz(self.csr())
    }
}

/// A mint request for this CSR under `athenz-service`, with a request id of its own.
#[must_use]
pub fn athenz(csr: Vec<u8>) -> MintCertificateRequest {
    MintCertificateRequest {
        authority: "athenz".to_owned(),
        profile: "athenz-service".to_owned(),
        request_id: request_id(),
        subject: Some(Subject::Csr(csr.into())),
        ..MintCertificateRequest::default()
    }
}

/// A request id that nobody used before.
#[must_use]
pub fn request_id() -> String {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).expect("random bytes");
    hallmark_policy::hex(&random)
}

/// Runs futures side by side; their outputs, in the order of the futures.
pub async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.map(|future| Some(Box::pin(future))).collect();
    let mut outputs: Vec<_> = pending.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (slot, output) in pending.iter_mut().zip(&mut outputs) {
            if let Some(future) = slot
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                *output = Some(value);
                *slot = None;
            }
        }
        if pending.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
