//! CRLs beside the log are carried when they change, and never an older one over a newer one.

use std::fs;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, SerialNumber, date_time_ymd,
};

use crate::world::{World, done, entries, said};

const PATH: &str = "crl/a.b/epoch-7-3.crl";

/// A CRL with that number, DER. Each is another, since its signature is.
fn crl(number: u64) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::CrlSign];
    let issuer = Issuer::new(ca, key);
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(2026, 2, 1),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&issuer).unwrap().der().to_vec()
}

fn world() -> World {
    let world = World::new();
    world.publish(&entries(3));
    world
}

#[test]
fn a_new_crl_is_carried_also_where_the_log_did_not_grow() {
    let world = world();
    for number in [1, 2, 3] {
        let crl = crl(number);
        world.write(PATH, &crl);
        done(&world.push(&[]));
        assert!(fs::read(world.path("target").join(PATH)).unwrap() == crl, "{number}");
    }
    done(&world.push(&[]));
}

#[test]
fn an_older_crl_and_another_of_the_same_number_never_take_the_place_of_what_is_public() {
    let world = world();
    let public = crl(5);
    world.write(PATH, &public);
    done(&world.push(&[]));
    for number in [4, 5] {
        world.write(PATH, &crl(number));
        let output = world.push(&[]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        let sentence = format!("`{PATH}` at the target has the number 5, and the one in the directory {number}");
        assert!(said(&output).contains(&sentence) && said(&output).contains("hint: "), "{}", said(&output));
        assert!(fs::read(world.path("target").join(PATH)).unwrap() == public);
    }
}

#[test]
fn a_log_that_was_cut_back_has_its_crls_carried_no_more() {
    let world = world();
    done(&world.push(&[]));
    world.publish(&entries(2));
    world.write(PATH, &crl(1));
    assert_eq!(world.push(&[]).status.code(), Some(1));
    assert!(!world.path("target").join(PATH).exists());
}

#[test]
fn what_is_no_crl_or_has_another_name_stays_where_it_is() {
    let world = world();
    world.write("crl/a.b/epoch-1.crl", b"no CRL");
    world.write("crl/a.b/epoch-1.crl.tmp", &crl(1));
    world.write("crl/a.b/secret", b"x");
    let output = world.push(&[]);
    done(&output);
    assert!(said(&output).contains("epoch-1.crl` is no CRL with a number; it is not carried"), "{}", said(&output));
    assert!(!world.path("target/crl").exists());
}
