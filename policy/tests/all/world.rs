//! A policy with everything that can be approved, and the approvals: of leaves, CA certificates, CRLs and requests.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends by panicking")]

use std::sync::LazyLock;

use hallmark_policy::{
    Approved, Bounds, Caller, ClaimInput, CrlIssuer, CrlRequest, Decision, EpochId, Issuer, NameInput, Policy, Request,
    RequestInput, Revocation, SubjectInput,
    authority::{CaRequest, Root, decide_ca},
    content::{CertificateContent, Content, EpochBinding, Serial},
    crl::{CrlContent, CrlScope, RevocationReason},
    decide, decide_crl, decide_request,
    key::{PublicKey, SignatureAlgorithm},
    name::DistinguishedName,
    time::{Interval, Span, UnixTime},
};
use rcgen::PublicKeyData as _;

const POLICY: &str = r#"
version = 1

[authority.plain]
crl = { lifetime = "7d", refresh = "1d", distribution-point = true, root-urls = ["http://crl.test/root.crl"] }
crl-urls = ["http://crl.test/{generation}.crl", "http://crl2.test/{generation}.crl"]
ca-issuer-urls = ["http://ca.test/a.cer", "http://ca2.test/a.cer"]
policies = ["1.3.6.1.4.1.99999.1", "1.3.6.1.4.1.99999.2"]
root = { common-name = "Root", organization = "Hallmark", country = "CH", lifetime = "36500d", key = "ecdsa-p256" }
epoch = { common-name = "CA", organization = "Mesh", lifetime = "365d", key = "ecdsa-p256" }

[authority.tight]
policies = ["1.3.6.1.4.1.99999.1"]
root = { common-name = "Root", lifetime = "3650d", key = "ecdsa-p256" }
epoch = { common-name = "CA", lifetime = "365d", key = "ecdsa-p256" }
[authority.tight.name-constraints]
permitted = { dns = ["in.test"], uri = ["zone.test"], email = ["mail.test"], ip = ["10.0.0.0/8"] }
excluded = { dns = ["bad.in.test"], ip = ["10.1.0.0/16"] }

[authority.open]
root = { common-name = "Root", lifetime = "3650d", key = "ecdsa-p256" }
epoch = { common-name = "CA", lifetime = "365d", key = "ecdsa-p256" }
[authority.open.name-constraints]
permitted = { dns = ["in.test"], uri = ["zone.test"], email = ["mail.test"], ip = ["0.0.0.0/0", "::/0"] }

[profile.full]
authority = "plain"
lifetime = { default = "1d", maximum = "7d" }
keys = ["ecdsa-p256"]
usages = ["server-auth", "client-auth", "1.3.6.1.4.1.99999.5"]
possession = "caller"
policies = ["1.3.6.1.4.1.99999.1", "1.3.6.1.4.1.99999.2"]
claims = [{ arc = "1.3.9901.2", count = "0..2", bytes-max = 64, types = ["utf8-string"] }]
common-name = "{domain}.{service}"
names = [
    { dns = "{service}.{domain}.test" },
    { uri = "spiffe://zone/{service}" },
    { ip = "10.0.0.0/8", count = "0..1" },
    { ip = "2001:db8::/32", count = "0..1" },
    { email = "{service}@mail.test" },
]

[caller.coordinator]
uri = "spiffe://lab/coordinator"
methods = ["MintCertificate"]
profiles = ["full"]
"#;

pub(crate) static WORLD: LazyLock<World> = LazyLock::new(|| {
    let key = || PublicKey::parse(&rcgen::KeyPair::generate().unwrap().subject_public_key_info()).unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    parameters.subject_alt_names = vec![rcgen::SanType::URI("spiffe://lab/coordinator".try_into().unwrap())];
    let caller = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    World {
        policy: Policy::parse(POLICY).unwrap_or_else(|error| panic!("{error}")),
        caller: Caller::parse(caller.der()).unwrap(),
        subject: key(),
        issuer: key(),
        root: key(),
    }
});

pub(crate) struct World {
    pub(crate) policy: Policy,
    pub(crate) caller: Caller,
    pub(crate) subject: PublicKey,
    pub(crate) issuer: PublicKey,
    pub(crate) root: PublicKey,
}

pub(crate) const EPOCH: EpochBinding = EpochBinding { generation: 300, manifest: [1; 32], transition: [2; 32] };

pub(crate) fn at(text: &str) -> UnixTime {
    UnixTime::parse(text).unwrap()
}

pub(crate) fn now() -> UnixTime {
    at("2026-07-01T00:00:00Z")
}

pub(crate) fn serial() -> Serial {
    Serial::from_random([0xab; 16])
}

pub(crate) fn approved(decision: Decision) -> Approved {
    match decision {
        Decision::Approve(approved) => *approved,
        Decision::Refuse(reasons) => panic!("refused: {reasons:?}"),
    }
}

impl World {
    pub(crate) fn issuer(&self, algorithm: SignatureAlgorithm, now: UnixTime) -> Issuer {
        Issuer {
            authority: "plain".to_owned(),
            epoch: EpochId { generation: 300, transition: [2; 32] },
            subject: self.policy.authority("plain").unwrap().epoch.subject.clone(),
            key: self.issuer.clone(),
            algorithm,
            validity: Interval {
                not_before: now.before(Span::from_days(1)),
                not_after: now.after(Span::from_days(365)),
            },
            bounds: Bounds::of(self.policy.authority("plain").unwrap()),
            manifest: None,
        }
    }

    /// A leaf with everything that a leaf can have.
    pub(crate) fn leaf_at(&self, now: UnixTime, algorithm: SignatureAlgorithm) -> Approved {
        let mut v6 = vec![0x20, 0x01, 0x0d, 0xb8];
        v6.resize(16, 1);
        let names = vec![
            NameInput::Dns("api.a.b.test".to_owned()),
            NameInput::Uri("spiffe://zone/api".to_owned()),
            NameInput::Ip(vec![10, 1, 2, 3]),
            NameInput::Ip(v6),
            NameInput::Email("api@mail.test".to_owned()),
        ];
        let claim = |oid: &str| ClaimInput { oid: oid.to_owned(), value: vec![0x0c, 1, b'a'] };
        let input = RequestInput {
            authority: "plain".to_owned(),
            profile: "full".to_owned(),
            request_id: "r-1".to_owned(),
            subject: SubjectInput::Spki {
                spki: self.subject.spki().to_vec(),
                common_name: "a.b.api".to_owned(),
                names,
            },
            claims: vec![claim("1.3.9901.2.1"), claim("1.3.9901.2.16384")],
            ..RequestInput::default()
        };
        let request = Request::parse(self.caller.clone(), input).unwrap();
        approved(decide(&self.policy, &request, &self.issuer(algorithm, now), now, serial()))
    }

    pub(crate) fn leaf(&self) -> Approved {
        self.leaf_at(now(), SignatureAlgorithm::EcdsaSha256)
    }

    pub(crate) fn root(&self) -> Root {
        Root {
            subject: DistinguishedName::common_name("Root"),
            key: self.root.clone(),
            algorithm: SignatureAlgorithm::EcdsaSha256,
            validity: Interval { not_before: now(), not_after: now().after(Span::from_days(3650)) },
            key_identifier: [9; 20],
        }
    }

    pub(crate) fn ca(&self, authority: &str, request: &CaRequest<'_>) -> Approved {
        approved(decide_ca(&self.policy, authority, request, &self.issuer, now(), serial()))
    }

    pub(crate) fn crl(&self) -> Approved {
        let revoked = |number: u8, reason| Revocation {
            serial: Serial::from_random([number; 16]),
            at: now(),
            reason,
            not_after: now().after(Span::from_days(9)),
            log_index: 1,
        };
        let issuer = self.issuer(SignatureAlgorithm::EcdsaSha256, now());
        let revocations = vec![revoked(2, RevocationReason::Unspecified), revoked(1, RevocationReason::AaCompromise)];
        self.crl_of(CrlIssuer::Epoch(&issuer), revocations)
    }

    pub(crate) fn crl_of(&self, issuer: CrlIssuer<'_>, revocations: Vec<Revocation>) -> Approved {
        let request = CrlRequest {
            issuer,
            scope: CrlScope::Complete,
            after: 127,
            published: None,
            revocations,
            newest_revocation: Some(1),
            previous: None,
            reaching: None,
        };
        approved(decide_crl(&self.policy, "plain", request, now()))
    }

    pub(crate) fn request(&self) -> Approved {
        approved(decide_request(&self.policy, "tight", EPOCH, &self.issuer))
    }
}

pub(crate) fn certificate(approved: &Approved) -> CertificateContent {
    approved.certificate().unwrap().clone()
}

pub(crate) fn crl(approved: &Approved) -> CrlContent {
    let Content::Crl(content) = approved.content() else { panic!("no CRL") };
    content.clone()
}
