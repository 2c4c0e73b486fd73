//! What a draft must say to become a warrant: what was approved, in DER that a third encoder wrote; and what each difference is called.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends by panicking")]

use hallmark_policy::{
    Approved, CrlIssuer, EpochId, Numbering, Revocation, Stage, TBS_BYTES_MAX,
    authority::CaRequest,
    content::{CertificateContent, Content, EpochBinding, Extension, Serial},
    crl::{CrlContent, OnlyContains, RevocationReason},
    endorse,
    key::{KeyKind, SignatureAlgorithm},
    name::{DistinguishedName, DnsName, GeneralName, NameAttribute},
    profile::KeyPurpose,
    read_back, read_back_crl, read_back_request, stored_binding_is, stored_serial, stored_subject_is, stored_validity,
    time::Span,
};

use crate::{
    der,
    world::{EPOCH, WORLD, at, certificate, crl, now, serial},
};

/// What a draft is said to differ in.
fn difference(approved: Approved, draft: Vec<u8>) -> &'static str {
    let facts = approved.facts().clone();
    let disagreement = endorse(approved, draft).unwrap_err();
    assert_eq!(*disagreement.facts, facts, "they come back");
    disagreement.field
}

#[test]
fn a_leaf_with_everything_is_endorsed_and_the_warrant_says_what_was_approved() {
    let approved = WORLD.leaf();
    let (content, conditions, facts) =
        (approved.content().clone(), approved.conditions().clone(), approved.facts().clone());
    assert_eq!(approved.authority(), "plain");
    assert_eq!(approved.issuer(), &WORLD.issuer);
    assert_eq!(conditions.numbering.serial(), Some(serial()));
    let draft = der::certificate(&certificate(&approved));
    let warrant = endorse(approved, draft.clone()).unwrap();
    assert_eq!(warrant.to_be_signed(), draft);
    assert_eq!((warrant.content(), warrant.conditions(), warrant.facts()), (&content, &conditions, &facts));
    assert_eq!(warrant.issuer(), &WORLD.issuer);
    assert_eq!(content.algorithm(), SignatureAlgorithm::EcdsaSha256);
    assert_eq!(warrant.into_parts(), (draft, content, conditions, facts));
}

#[test]
fn a_leaf_is_endorsed_under_every_algorithm_and_under_no_other_than_was_approved() {
    for algorithm in SignatureAlgorithm::ALL {
        let approved = WORLD.leaf_at(now(), algorithm);
        let content = certificate(&approved);
        for other in SignatureAlgorithm::ALL {
            let draft = der::certificate(&CertificateContent { algorithm: other, ..content.clone() });
            let approved = WORLD.leaf_at(now(), algorithm);
            assert_eq!(endorse(approved, draft).is_ok(), other == algorithm, "{algorithm} {other}");
        }
    }
    assert!(KeyKind::ALL.into_iter().all(|kind| kind.signs_with(SignatureAlgorithm::default_for(kind))));
}

#[test]
fn root_intermediate_and_mesh_ca_are_endorsed() {
    let root = WORLD.root();
    for authority in ["plain", "tight", "open"] {
        for request in [
            CaRequest::Root,
            CaRequest::Intermediate { root: &root, epoch: EPOCH, lifetime: None },
            CaRequest::MeshCa { root: &root, epoch: EPOCH, lifetime: None },
        ] {
            let approved = WORLD.ca(authority, &request);
            let draft = der::certificate(&certificate(&approved));
            assert!(endorse(approved, draft).is_ok(), "{request:?}");
        }
    }
}

type Change = (&'static str, fn(&mut CertificateContent));

#[test]
fn a_certificate_that_says_anything_else_is_refused_and_the_field_is_named() {
    let changes: [Change; 13] = [
        ("serialNumber", |content| content.serial = Serial::from_random([0xac; 16])),
        ("signature", |content| content.algorithm = SignatureAlgorithm::EcdsaSha384),
        ("issuer", |content| content.issuer = DistinguishedName::common_name("CA")),
        ("notBefore", |content| content.validity.not_before = now()),
        ("notAfter", |content| content.validity.not_after = now().after(Span::from_secs(86_401))),
        ("subject", |content| content.subject = DistinguishedName::common_name("a.b.apj")),
        ("subject", |content| content.subject = DistinguishedName::default()),
        ("subjectPublicKeyInfo", |content| content.key = WORLD.issuer.clone()),
        ("the number of extensions", |content| drop(content.extensions.pop())),
        ("the number of extensions", |content| content.extensions.push(Extension::EndEntity)),
        ("which extensions there are", |content| content.extensions.swap(0, 1)),
        ("whether an extension is critical", |content| {
            let purposes = vec![KeyPurpose::ServerAuth, KeyPurpose::ClientAuth];
            content.extensions[2] = Extension::ExtendedKeyUsage { critical: true, purposes };
        }),
        ("the value of an extension", |content| {
            let names = vec![GeneralName::Dns(DnsName::parse("evil.test").unwrap())];
            let at = content.extensions.iter().position(|one| matches!(one, Extension::SubjectAltName { .. })).unwrap();
            content.extensions[at] = Extension::SubjectAltName { critical: false, names };
        }),
    ];
    for (field, change) in changes {
        let approved = WORLD.leaf();
        let mut content = certificate(&approved);
        change(&mut content);
        assert_eq!(difference(approved, der::certificate(&content)), field);
    }
}

#[test]
fn every_value_of_an_extension_counts() {
    let root = WORLD.root();
    let intermediate = CaRequest::Intermediate { root: &root, epoch: EPOCH, lifetime: None };
    let approvals: [&dyn Fn() -> Approved; 3] =
        [&|| WORLD.leaf(), &|| WORLD.ca("tight", &intermediate), &|| WORLD.ca("plain", &intermediate)];
    for approve in approvals {
        let content = certificate(&approve());
        let mut fields = der::certificate_fields(&content);
        fields.pop();
        for at in 0..content.extensions.len() {
            let mut written = der::extensions(&content.extensions);
            *written[at].last_mut().unwrap() ^= 1;
            let draft = der::sequence(&[fields.concat(), der::tagged_extensions(3, &written)]);
            assert_eq!(difference(approve(), draft), "the value of an extension", "{:?}", content.extensions[at]);
        }
    }
}

#[test]
fn what_no_certificate_here_has_is_refused_by_name() {
    let content = certificate(&WORLD.leaf());
    let fields = der::certificate_fields(&content);
    let (extensions, before) = fields.split_last().unwrap();
    let with = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut fields = before.to_vec();
        change(&mut fields);
        fields.push(extensions.clone());
        difference(WORLD.leaf(), der::sequence(&fields))
    };
    assert_eq!(with(&|fields| fields[0] = der::tlv(0xa0, &[2, 1, 1])), "version");
    assert_eq!(with(&|fields| fields.push(der::tlv(0x81, &[0, 1]))), "issuerUniqueID");
    assert_eq!(with(&|fields| fields.push(der::tlv(0x82, &[0, 1]))), "subjectUniqueID");
    let none = der::sequence(&[before.concat(), der::tagged_extensions(3, &[])]);
    assert_eq!(difference(WORLD.leaf(), none), "its syntax", "a list without entries is none");
    assert_eq!(difference(WORLD.leaf(), der::sequence(before)), "the number of extensions");
    let draft = der::certificate(&content);
    assert_eq!(difference(WORLD.leaf(), [draft.as_slice(), &[0]].concat()), "its syntax");
    let (oid, value) = (der::oid(&[2, 5, 29, 19]), der::tlv(4, &der::sequence(&[])));
    let long = der::sequence(&[oid, der::tlv(1, &[0]), value]);
    let long = der::sequence(&[before.concat(), der::tagged_extensions(3, &[long])]);
    assert_eq!(difference(WORLD.leaf(), long), "its encoding", "DER leaves a default out");
    assert_eq!(difference(WORLD.leaf(), draft[1..].to_vec()), "its syntax");
    assert_eq!(difference(WORLD.leaf(), vec![0; TBS_BYTES_MAX + 1]), "its length");
}

#[test]
fn a_structure_of_the_greatest_length_is_read_back_and_none_that_is_longer() {
    let mut fields = der::certificate_fields(&certificate(&WORLD.leaf()));
    fields.pop();
    let filled = |bytes: usize| {
        let long = der::extension(&[1, 3, 9901, 1], false, &vec![0; bytes]);
        der::sequence(&[fields.concat(), der::tagged_extensions(3, &[long])])
    };
    let around = filled(60_000).len() - 60_000;
    assert_eq!(filled(TBS_BYTES_MAX - around).len(), TBS_BYTES_MAX);
    assert!(read_back(&filled(TBS_BYTES_MAX - around)));
    assert!(!read_back(&filled(TBS_BYTES_MAX - around + 1)));
    let certificate = der::certificate(&certificate(&WORLD.leaf()));
    let crl = der::sequence(&der::crl_fields(&crl(&WORLD.crl())));
    let Content::Request(content) = WORLD.request().content().clone() else { panic!("no request") };
    let request = der::sequence(&der::request_fields(&content));
    assert!(read_back(&certificate) && !read_back(&crl) && !read_back(&request));
    assert!(read_back_crl(&crl) && !read_back_crl(&certificate) && !read_back_crl(&request));
    assert!(read_back_request(&request) && !read_back_request(&certificate) && !read_back_request(&crl));
}

#[test]
fn dates_until_2049_are_utc_time_and_later_ones_generalized_time() {
    let algorithm = SignatureAlgorithm::EcdsaSha256;
    for (from, is_utc) in [("2049-12-31T23:59:59Z", true), ("2050-01-01T00:00:00Z", false)] {
        let now = at(from).after(Span::from_secs(300));
        let approved = || WORLD.leaf_at(now, algorithm);
        let content = certificate(&approved());
        assert_eq!(content.validity.not_before, at(from), "the backdate is five minutes");
        let draft = |not_before: Vec<u8>, not_after: Vec<u8>| {
            let mut fields = der::certificate_fields(&content);
            fields[4] = der::sequence(&[not_before, not_after]);
            der::sequence(&fields)
        };
        let (first, last) = (der::time(content.validity.not_before), der::time(content.validity.not_after));
        assert!(endorse(approved(), draft(first.clone(), last.clone())).is_ok());
        let otherwise = if is_utc { der::generalized_time(at(from)) } else { der::utc_time(at(from)) };
        assert_eq!(difference(approved(), draft(otherwise, last.clone())), "notBefore");
        let otherwise = der::utc_time(content.validity.not_after);
        assert_eq!(difference(approved(), draft(first.clone(), otherwise)), "notAfter");
        let later = der::time(content.validity.not_after.after(Span::from_secs(1)));
        assert_eq!(difference(approved(), draft(first.clone(), later)), "notAfter");
        let half = der::tlv(0x18, format!("{}.5Z", &String::from_utf8(last[2..16].to_vec()).unwrap()).as_bytes());
        assert_ne!(difference(approved(), draft(first.clone(), half)), "");
    }
}

#[test]
fn what_was_stored_is_found_again() {
    let root = WORLD.root();
    let approved = WORLD.ca("plain", &CaRequest::Intermediate { root: &root, epoch: EPOCH, lifetime: None });
    let content = certificate(&approved);
    let stored = der::certificate(&content);
    assert_eq!(stored_serial(&stored).as_deref(), Some(serial().as_bytes()));
    assert_eq!(stored_validity(&stored), Some(content.validity));
    assert!(stored_subject_is(&stored, &content.subject) && !stored_subject_is(&stored, &content.issuer));
    assert!(stored_binding_is(&stored, EPOCH));
    for other in [
        EpochBinding { generation: 301, ..EPOCH },
        EpochBinding { manifest: [3; 32], ..EPOCH },
        EpochBinding { transition: [3; 32], ..EPOCH },
    ] {
        assert!(!stored_binding_is(&stored, other));
    }
    let leaf = der::certificate(&certificate(&WORLD.leaf()));
    assert!(!stored_binding_is(&leaf, EPOCH));
    // The value alone, in another extension, binds nothing.
    let mut fields = der::certificate_fields(&content);
    fields.pop();
    let (_, _, value) = der::parts(&Extension::EpochBinding(EPOCH));
    let elsewhere = der::extension(&[1, 3, 6, 1, 4, 1, 32473, 9901, 2], false, &value);
    let elsewhere = der::sequence(&[fields.concat(), der::tagged_extensions(3, &[elsewhere])]);
    assert!(read_back(&elsewhere) && !stored_binding_is(&elsewhere, EPOCH));
    assert_eq!((stored_serial(&[5, 0]), stored_validity(&[5, 0])), (None, None));
    assert!(!stored_binding_is(&[5, 0], EPOCH) && !stored_subject_is(&[5, 0], &DistinguishedName::default()));
}

#[test]
fn a_crl_is_endorsed_with_and_without_entries_of_epoch_and_root() {
    let root = WORLD.root();
    let revocation = Revocation {
        serial: serial(),
        at: now(),
        reason: RevocationReason::KeyCompromise,
        not_after: now().after(Span::from_days(9)),
        log_index: 1,
    };
    for approve in [
        || WORLD.crl(),
        || WORLD.crl_of(CrlIssuer::Epoch(&WORLD.issuer(SignatureAlgorithm::EcdsaSha256, now())), Vec::new()),
    ] {
        let draft = der::sequence(&der::crl_fields(&crl(&approve())));
        let warrant = endorse(approve(), draft.clone()).unwrap();
        assert_eq!(warrant.to_be_signed(), draft);
        assert_eq!(warrant.content().algorithm(), SignatureAlgorithm::EcdsaSha256);
        assert!(warrant.content().certificate().is_none() && warrant.conditions().numbering.serial().is_none());
    }
    let of_root = WORLD.crl_of(CrlIssuer::Root(&root), vec![revocation]);
    let draft = der::sequence(&der::crl_fields(&crl(&of_root)));
    assert!(endorse(of_root, draft).is_ok());
}

type CrlChange = (&'static str, fn(&mut CrlContent));

#[test]
fn a_crl_that_says_anything_else_is_refused_and_the_field_is_named() {
    let changes: [CrlChange; 13] = [
        ("signature", |content| content.algorithm = SignatureAlgorithm::Ed25519),
        ("issuer", |content| content.issuer = DistinguishedName::common_name("CA")),
        ("thisUpdate", |content| content.this_update = now().after(Span::from_secs(1))),
        ("nextUpdate", |content| content.next_update = now()),
        ("the number of revokedCertificates", |content| content.revoked.truncate(1)),
        ("the number of revokedCertificates", |content| content.revoked.clear()),
        ("userCertificate", |content| content.revoked.swap(0, 1)),
        ("revocationDate", |content| content.revoked[1].at = now().after(Span::from_secs(1))),
        ("the value of an extension", |content| content.revoked[0].reason = RevocationReason::KeyCompromise),
        ("the number of extensions", |content| content.revoked[1].reason = RevocationReason::KeyCompromise),
        ("the value of an extension", |content| content.authority_key_identifier = [0; 20]),
        ("the value of an extension", |content| content.number = 129),
        ("the value of an extension", |content| {
            content.distribution_point.as_mut().unwrap().only = OnlyContains::CaCerts;
        }),
    ];
    for (field, change) in changes {
        let approved = WORLD.crl();
        let mut content = crl(&approved);
        change(&mut content);
        assert_eq!(difference(approved, der::sequence(&der::crl_fields(&content))), field);
    }
    let fields = der::crl_fields(&crl(&WORLD.crl()));
    let with = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut fields = fields.clone();
        change(&mut fields);
        difference(WORLD.crl(), der::sequence(&fields))
    };
    assert_eq!(with(&|fields| fields[0] = der::tlv(der::INTEGER, &[0])), "version");
    assert_eq!(with(&|fields| fields[4].clear()), "its syntax", "a CRL here has a nextUpdate");
    assert_eq!(with(&|fields| fields[6].clear()), "the number of extensions");
}

#[test]
fn a_request_is_endorsed_and_with_anything_else_refused_by_name() {
    let approved = WORLD.request();
    assert_eq!(approved.conditions().stage, Stage::Request { epoch: EpochId { generation: 300, transition: [2; 32] } });
    assert_eq!(approved.conditions().numbering, Numbering::Unnumbered);
    let Content::Request(content) = approved.content().clone() else { panic!("no request") };
    let fields = der::request_fields(&content);
    let warrant = endorse(approved, der::sequence(&fields)).unwrap();
    assert_eq!(warrant.content().algorithm(), SignatureAlgorithm::EcdsaSha256);
    let with = |at: usize, field: Vec<u8>| {
        let mut fields = fields.clone();
        fields[at] = field;
        difference(WORLD.request(), der::sequence(&fields))
    };
    let asked = der::sequence(&der::extensions(&content.extensions));
    let attributes = |attributes: &[Vec<u8>]| der::tlv(0xa0, &attributes.concat());
    let asking = |values: &[Vec<u8>]| der::attribute(&[1, 2, 840, 113_549, 1, 9, 14], values);
    assert_eq!(with(0, der::tlv(der::INTEGER, &[1])), "version");
    assert_eq!(with(1, der::sequence(&[])), "subject");
    assert_eq!(with(2, WORLD.root.spki().to_vec()), "subjectPKInfo");
    assert_eq!(with(3, attributes(&[])), "the number of attributes");
    let challenge = der::attribute(&[1, 2, 840, 113_549, 1, 9, 7], &[der::tlv(0x0c, b"a")]);
    assert_eq!(
        with(3, attributes(&[challenge.clone(), asking(std::slice::from_ref(&asked))])),
        "the number of attributes"
    );
    assert_eq!(with(3, attributes(&[challenge])), "which attributes there are");
    let two = [der::sequence(&[]), asked.clone()];
    assert_eq!(with(3, attributes(&[asking(&two)])), "the number of values of extensionRequest");
    assert_eq!(with(3, attributes(&[asking(&[vec![5, 0]])])), "its syntax");
    let fewer = der::sequence(&der::extensions(&content.extensions[1..]));
    assert_eq!(with(3, attributes(&[asking(&[fewer])])), "the number of extensions");
    assert_eq!(difference(WORLD.request(), vec![0; TBS_BYTES_MAX + 1]), "its length");
}

#[test]
fn a_draft_of_another_structure_is_none_of_what_was_approved() {
    let certificate = der::certificate(&certificate(&WORLD.leaf()));
    assert_eq!(difference(WORLD.crl(), certificate.clone()), "its syntax");
    assert_eq!(difference(WORLD.request(), certificate), "its syntax");
    assert_eq!(difference(WORLD.leaf(), der::sequence(&der::crl_fields(&crl(&WORLD.crl())))), "its syntax");
}

#[test]
fn names_of_cas_are_written_in_their_order() {
    let root = certificate(&WORLD.ca("plain", &CaRequest::Root));
    assert_eq!(root.subject.to_string(), "C = CH, O = Hallmark, CN = Root");
    let kinds: Vec<_> = root.subject.attributes().iter().map(|(attribute, _)| *attribute).collect();
    assert_eq!(kinds, [NameAttribute::Country, NameAttribute::Organization, NameAttribute::CommonName]);
    let epoch = &WORLD.policy.authority("plain").unwrap().epoch.subject;
    assert_eq!(epoch.to_string(), "O = Mesh, CN = CA");
}
