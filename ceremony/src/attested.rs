//! What a device says of a key in certificates of its own, and whether they belong together.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hallmark_policy::{
    hex,
    key::{PublicKey, SignatureAlgorithm, SpkiDigest},
    to_be_signed,
};
use rasn::types::Any;
use rasn_pkix::{Certificate, SubjectPublicKeyInfo};

use crate::digest::sha256;

/// What is said of a key for which no device vouches.
pub(crate) const UNATTESTED: &str = "unattested";

/// Holds a device's certificates against the key that they are about: the first has this key, and the second has the key that signed the first. Whether
/// the second is a device's of that maker, those verify who read the transcript.
///
/// # Errors
/// Why they do not hold.
pub(crate) fn check(key: &PublicKey, certificates: &[Vec<u8>]) -> Result<(), &'static str> {
    if certificates.is_empty() {
        return Ok(());
    }
    if linked(certificates)? == key.digest() {
        return Ok(());
    }
    Err(ANOTHER_KEY)
}

/// Holds the key that a transcript says was made, and those that it says signed what was made, against the key that a device attested.
///
/// # Errors
/// Why they do not hold.
pub(crate) fn is_of(attested: SpkiDigest, said: &[&str]) -> Result<(), &'static str> {
    let attested = attested.to_string();
    if !said.is_empty() && said.iter().all(|said| *said == attested) { Ok(()) } else { Err(ANOTHER_KEY) }
}

/// What a transcript says of certificates: SHA-256 of each, or that there are none.
pub(crate) fn said(certificates: &[Vec<u8>]) -> String {
    let digests: Vec<_> = certificates.iter().map(|der| hex(&sha256(der))).collect();
    if digests.is_empty() { UNATTESTED.to_owned() } else { digests.join(" ") }
}

/// Holds what a transcript says of certificates against those in it (DER in base64), and these against each other. Gives the key that they are about,
/// where there are any.
///
/// # Errors
/// Why they do not hold.
pub(crate) fn recorded(attestation: &str, certificates: &[String]) -> Result<Option<SpkiDigest>, &'static str> {
    let decoded: Result<Vec<_>, _> = certificates.iter().map(|text| STANDARD.decode(text)).collect();
    let decoded = decoded.map_err(|_| "the device's certificates in it are not in base64")?;
    if said(&decoded) != attestation {
        return Err("the device's certificates in it are others than those of its `attestation`");
    }
    if decoded.is_empty() { Ok(None) } else { linked(&decoded).map(Some) }
}

/// The key of the first, if the key of the second signed it.
fn linked(certificates: &[Vec<u8>]) -> Result<SpkiDigest, &'static str> {
    let [own, device] = certificates else { return Err("the device gave other than two certificates") };
    let signed = to_be_signed(own).ok_or(NONE)?;
    let (own, device) = (read(own)?, read(device)?);
    let issuer = key_of(&device).ok_or("the key of the device's own certificate is of no kind that is known here")?;
    let signature = own.signature_value.clone().into_vec();
    let verifies = |algorithm| issuer.verifies(algorithm, signed, &signature);
    if SignatureAlgorithm::ALL.into_iter().any(verifies) {
        let own = key_of(&own).ok_or("the key that the device attests is of no kind that is known here")?;
        return Ok(own.digest());
    }
    Err(
        "the certificate that the device made is not signed by the key of the device's own one; have the device examined",
    )
}

/// Its key. A device may leave out the parameters of RSA, which are NULL (RFC 3279, section 2.3.1).
fn key_of(certificate: &Certificate) -> Option<PublicKey> {
    let mut info = certificate.tbs_certificate.subject_public_key_info.clone();
    let parsed = |info: &SubjectPublicKeyInfo| PublicKey::parse(&rasn::der::encode(info).ok()?).ok();
    parsed(&info).or_else(|| {
        info.algorithm.parameters = Some(Any::new(rasn::der::encode(&()).ok()?));
        parsed(&info)
    })
}

const ANOTHER_KEY: &str = "the certificate that the device made is over another key; have the device examined";

const NONE: &str = "what the device gave is no X.509 certificate; have the device examined";

fn read(der: &[u8]) -> Result<Certificate, &'static str> {
    let certificate: Certificate = rasn::der::decode(der).map_err(|_| NONE)?;
    // Whatever is read has one encoding, so that what was signed is what is encoded again.
    if rasn::der::encode(&certificate).ok().as_deref() == Some(der) { Ok(certificate) } else { Err(NONE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // As `openssl x509 -req -CA DEVICE` and `openssl req -x509` write them: no hardware here gave any.
    const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEzBVCa1FGc58zMZKX6ACjqNnmclp+XlVJqkD1cqZnkMlvkHX4GmMhe1/8rmuEibBfKkRqvuqGco0jYXslnNcw7Q==";
    const OWN: &str = "\
        MIIB+DCB4QIUKcybiufWxrkV5dOWQjITZgEQACowDQYJKoZIhvcNAQELBQAwITEfMB0GA1UEAwwWYSBkZXZpY2UncyBhdHRlc3RhdGlvbjAgFw0yNjExMzAxNTE5MzBaGA8yMTI2MTEw\
        NjE1MTkzMFowGjEYMBYGA1UEAwwPYW4gYXR0ZXN0ZWQga2V5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEzBVCa1FGc58zMZKX6ACjqNnmclp+XlVJqkD1cqZnkMlvkHX4GmMhe1/8\
        rmuEibBfKkRqvuqGco0jYXslnNcw7TANBgkqhkiG9w0BAQsFAAOCAQEALEwO6WH1/9jLvFDklPZUdkyte+7Z+P186XAozU1I1VchAti6wMORpsAY1WZ4+wvB6OGNmO3WI285X5AdDoto\
        yYdp2wF6vWUVsXHvw9GQvDrFgjscTNhkL/+WJSeOraRbEJjbI8sT4yA6vpXsCymZVFSmF1U2qHOQ3DTQpV2QR36jeN0QMTMfGK33UmNKk4Pn3+gtTlRei/A7w4PfAGAVxQ6zax7SHFPr\
        oluwRp3xpoa64J5HGcnSD6klS9tLjKZPiWDZWWF8+7NFqrJVANJj0Kwq5/MnU4kn9Jv031seiaLfUvl9ox4eGLcp7omEJUwqXMrgnqRlT58UJIxr8qNqvw==";
    const DEVICE: &str = "\
        MIIDJTCCAg2gAwIBAgIUVwP3Opw6/XAP5OYoDDM2lkOUeikwDQYJKoZIhvcNAQELBQAwITEfMB0GA1UEAwwWYSBkZXZpY2UncyBhdHRlc3RhdGlvbjAgFw0yNjExMzAxNTE5MzBaGA8y\
        MTI2MTEwNjE1MTkzMFowITEfMB0GA1UEAwwWYSBkZXZpY2UncyBhdHRlc3RhdGlvbjCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAKmv2Jc/QJUQzKi7fBqf8JLRAqcn4pNh\
        zMi8BRNjt8lOd24yr3mHv6W61RlkuzcoN2z/4JiO8m5ZTPSwdLm3GqbvLfIbTKPZ0lOMnKxK+oippiEUYXsH9pG5uUFsSlTxpmrGTSJoThz7moC2Nm/TjUu52DJ1pjC1lkZNic+DTa4f\
        oefC06mSILFd+N3o+i3uYY12PYqdJEZQzOzW1+EaJAsBSBlMdViraFKk1V355NePfu9kUVW6S8a5tQIh7lQ2HvtweUO9ZvFQbu46Is6EPWnUOrdeVle1X+IZ4AqEQorcHYZt7+TtbdSs\
        gABGsNx8vpy0l6odWbuzJMb5TVKfMrECAwEAAaNTMFEwHQYDVR0OBBYEFBYjQu4jXrO1jW6tj/8j57F+piPQMB8GA1UdIwQYMBaAFBYjQu4jXrO1jW6tj/8j57F+piPQMA8GA1UdEwEB\
        /wQFMAMBAf8wDQYJKoZIhvcNAQELBQADggEBACKYsl42Pjr+I1uHWgHgZBjW+ZTCIeUQokYueaWjJ0sDgrNd4BTW6tiFx9pZl/bWobaJREchrEb3KW1qMYUtsBjlmEAmpchU6TuH6MMI\
        UNY5e4fvVnwER7KaxXXkfSMJQIxYLUV9ZJOFYhN2C9g271ZJk79OSm13JVibmTOro5Ty4makF3BM/3BiEcT2buHI8gjJHT44d0DEc9KNRBvTPHPIlfN4nCqAllfXu1IbVvKA8f8KsFRg\
        ub5guLy4twQ8Eajxgyz/7FMu+WZLAqoiMnaJs8bKzA37EyzsabmMAgkfopjPUm3FhBNur2PLO2Xirk84y/zomLYD9FWlFCmySuM=";
    const ITSELF: &str = "\
        MIIBizCCATGgAwIBAgIUUOtseoBTWLB4T6h+sf8MRDlYIYIwCgYIKoZIzj0EAwIwGjEYMBYGA1UEAwwPYW4gYXR0ZXN0ZWQga2V5MCAXDTI2MTEzMDE1MTkzMFoYDzIxMjYxMTA2MTUx\
        OTMwWjAaMRgwFgYDVQQDDA9hbiBhdHRlc3RlZCBrZXkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATMFUJrUUZznzMxkpfoAKOo2eZyWn5eVUmqQPVypmeQyW+QdfgaYyF7X/yua4SJ\
        sF8qRGq+6oZyjSNheyWc1zDto1MwUTAdBgNVHQ4EFgQUumx4gnN6z9zNX/tHBh3BAW+wIhwwHwYDVR0jBBgwFoAUumx4gnN6z9zNX/tHBh3BAW+wIhwwDwYDVR0TAQH/BAUwAwEB/zAK\
        BggqhkjOPQQDAgNIADBFAiAin2UyDOULbudpr8abR86zEuDtgEnw0nr1gL7bxa72BgIhAOfEH/ie9TkZaerXS5sko8dA6UlcIdaQP4AhSazkCDa0";

    fn der(text: &str) -> Vec<u8> {
        STANDARD.decode(text).unwrap()
    }

    fn told(certificates: &[Vec<u8>]) -> String {
        let key = PublicKey::parse(&der(KEY)).unwrap();
        check(&key, certificates).map_or_else(str::to_owned, |()| "they hold".to_owned())
    }

    #[test]
    fn certificates_hold_if_the_first_has_the_key_and_the_second_signed_it() {
        assert_eq!(told(&[der(OWN), der(DEVICE)]), "they hold");
        assert_eq!(told(&[]), "they hold", "nobody vouches");
    }

    #[test]
    fn a_transcript_has_the_certificates_that_it_says() {
        let both = [OWN.to_owned(), DEVICE.to_owned()];
        let attestation = said(&[der(OWN), der(DEVICE)]);
        let key = SpkiDigest::of(&der(KEY));
        assert_eq!(recorded(&attestation, &both), Ok(Some(key)));
        assert_eq!(recorded(UNATTESTED, &[]), Ok(None));
        let sentences = [
            recorded(&attestation, &[]),
            recorded(UNATTESTED, &both),
            recorded(&attestation, &[DEVICE.to_owned(), OWN.to_owned()]),
            recorded(&said(&[der(OWN), der(ITSELF)]), &[OWN.to_owned(), ITSELF.to_owned()]),
            recorded(&attestation, &["no base64".to_owned()]),
        ]
        .map(|told| told.unwrap_err());
        insta::assert_snapshot!(sentences.join("\n"));
    }

    #[test]
    fn certificates_of_another_key_than_the_ceremony_s_vouch_for_nothing() {
        let key = SpkiDigest::of(&der(KEY));
        let (same, other) = (key.to_string(), SpkiDigest::of(b"another").to_string());
        assert_eq!(is_of(key, &[&same]), Ok(()));
        assert_eq!(is_of(key, &[&same, &same]), Ok(()));
        for said in [&[][..], &[other.as_str()], &[&same, &other], &[&other, &same]] {
            assert_eq!(is_of(key, said), Err(ANOTHER_KEY));
        }
    }

    #[test]
    fn an_rsa_key_is_the_same_without_the_parameters_that_say_nothing() {
        let whole = read(&der(DEVICE)).unwrap();
        let mut bare = whole.clone();
        bare.tbs_certificate.subject_public_key_info.algorithm.parameters = None;
        assert_eq!(key_of(&bare).unwrap().digest(), key_of(&whole).unwrap().digest());
    }

    #[test]
    fn certificates_that_do_not_belong_together_are_refused_in_words() {
        let mut changed = der(OWN);
        let last = changed.len() - 1;
        changed[last] ^= 1;
        // The key's bytes are somewhere in it, which says nothing.
        let padded = [b"a certificate over ".as_slice(), &der(KEY)].concat();
        let sentences = [
            told(&[der(OWN)]),
            told(&[der(DEVICE), der(DEVICE)]),
            told(&[der(OWN), der(ITSELF)]),
            told(&[der(ITSELF), der(DEVICE)]),
            told(&[changed, der(DEVICE)]),
            told(&[padded, der(DEVICE)]),
            told(&[der(OWN), b"the maker's certificate".to_vec()]),
            told(&[[der(OWN), vec![0]].concat(), der(DEVICE)]),
        ];
        insta::assert_snapshot!(sentences.join("\n"));
    }
}
