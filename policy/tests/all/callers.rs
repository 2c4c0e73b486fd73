//! How a caller's certificate is read: URIs and dNSNames of its subjectAltName, in their order.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends by panicking")]

use aws_lc_rs::digest;
use hallmark_policy::{
    Caller,
    caller::{CALLER_CERTIFICATE_BYTES_MAX, CallerError, Identity},
    key::SignatureAlgorithm,
    time::UnixTime,
};

use crate::{
    der::{self, sequence, tlv},
    world::{WORLD, certificate},
};

/// A certificate with these extensions; its signature is the front's to verify.
fn with(extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut fields = der::certificate_fields(&certificate(&WORLD.leaf()));
    fields.pop();
    if !extensions.is_empty() {
        fields.push(der::tagged_extensions(3, extensions));
    }
    sequence(&[sequence(&fields), der::algorithm(SignatureAlgorithm::EcdsaSha256), tlv(3, &[0, 1])])
}

fn san(names: &[Vec<u8>]) -> Vec<u8> {
    der::extension(&[2, 5, 29, 17], false, &sequence(names))
}

fn identities(extensions: &[Vec<u8>]) -> Vec<String> {
    Caller::parse(&with(extensions)).unwrap().identities().iter().map(ToString::to_string).collect()
}

#[test]
fn uris_and_dns_names_are_identities_and_nothing_else_is() {
    let uri = tlv(0x86, b"spiffe://lab/a");
    let dns = tlv(0x82, b"a.test");
    let others = [tlv(0x81, b"a@b.test"), tlv(0x87, &[10, 0, 0, 1]), tlv(0x88, &[0x2a, 3]), tlv(0xa4, &sequence(&[]))];
    assert_eq!(identities(&[san(&[uri.clone(), dns.clone()])]), ["uri:spiffe://lab/a", "dns:a.test"]);
    assert_eq!(identities(&[san(&[dns, uri])]), ["dns:a.test", "uri:spiffe://lab/a"]);
    assert_eq!(identities(&[san(&others)]), [""; 0]);
    assert_eq!(identities(&[]), [""; 0]);
    let elsewhere = der::extension(&[2, 5, 29, 18], false, &sequence(&[tlv(0x82, b"a.test")]));
    assert_eq!(identities(&[elsewhere]), [""; 0], "issuerAltName is not subjectAltName");
}

#[test]
fn a_caller_has_its_certificates_digest_and_validity() {
    let der = with(&[]);
    let caller = Caller::parse(&der).unwrap();
    assert_eq!(caller.certificate_sha256().as_slice(), digest::digest(&digest::SHA256, &der).as_ref());
    assert_eq!(caller.validity(), certificate(&WORLD.leaf()).validity);
    assert_eq!(caller.validity().not_before, UnixTime::parse("2026-06-30T23:55:00Z").unwrap());
}

#[test]
fn a_certificate_that_is_too_long_or_none_is_no_callers() {
    let told = |der: &[u8]| Caller::parse(der).err();
    assert_eq!(told(&vec![0; CALLER_CERTIFICATE_BYTES_MAX]), Some(CallerError::NotDer));
    assert_eq!(told(&vec![0; CALLER_CERTIFICATE_BYTES_MAX + 1]), Some(CallerError::TooLong));
    assert_eq!(told(&with(&[der::extension(&[2, 5, 29, 17], false, &[5, 0])])), Some(CallerError::NotDer));
}

#[test]
fn an_identity_is_typed_as_a_uri_or_a_dns_name() {
    let parse = |text: &str| Identity::parse(text).map(|identity| identity.to_string()).ok();
    assert_eq!(parse("spiffe://lab/a").as_deref(), Some("uri:spiffe://lab/a"));
    assert_eq!(parse("a.test").as_deref(), Some("dns:a.test"));
    for wrong in ["", "a", "A.test", "spiffe://", "*.test"] {
        assert_eq!(parse(wrong), None, "{wrong}");
    }
}
