//! The root's CRL.

use rcgen::{CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, date_time_ymd};

use crate::world::{World, failed};

fn judged(world: &World, crl: impl AsRef<[u8]>) -> Vec<(&'static str, Vec<&'static str>)> {
    failed(&world.judged(|given| given.root_crl = Some(crl.as_ref().to_vec())))
}

#[test]
fn an_intermediate_that_the_root_revoked_is_found_and_others_are_not() {
    let world = World::new();
    assert_eq!(judged(&world, world.crl(&[], |_| {})), []);
    assert_eq!(judged(&world, world.crl(&[5, 6, 8], |_| {})), []);
    assert_eq!(judged(&world, world.crl(&[5, 7], |_| {})), [("not-revoked", vec!["revoked"])]);
}

#[test]
fn a_crl_of_another_a_stale_one_and_a_changed_one_prove_nothing() {
    let world = World::new();
    let other = World::new();
    assert_eq!(judged(&world, other.crl(&[], |_| {})), [("root-crl", vec!["crl-of-other", "crl-not-signed"])]);
    let stale = world.crl(&[], |params| {
        params.this_update = date_time_ymd(2026, 3, 1);
        params.next_update = date_time_ymd(2026, 5, 1);
    });
    assert_eq!(judged(&world, &stale), [("root-crl", vec!["crl-not-current"])]);
    let mut changed = world.crl(&[], |_| {});
    *changed.last_mut().unwrap() ^= 1;
    let [(claim, findings)] = &judged(&world, &changed)[..] else { panic!("one claim") };
    assert!(*claim == "root-crl" && ["crl-not-signed", "crl-unreadable"].contains(&findings[0]), "{findings:?}");
    for cut in [0, 1, 40, changed.len() - 1] {
        assert_eq!(judged(&world, &changed[..cut]), [("root-crl", vec!["crl-unreadable"])]);
    }
}

#[test]
fn a_crl_about_other_certificates_says_nothing_about_the_intermediate() {
    let world = World::new();
    let with = |scope: Option<CrlScope>| {
        world.crl(&[], |params| {
            let distribution_point = CrlDistributionPoint { uris: vec!["http://crl.example/root.crl".to_owned()] };
            params.issuing_distribution_point = Some(CrlIssuingDistributionPoint { distribution_point, scope });
        })
    };
    assert_eq!(judged(&world, with(Some(CrlScope::CaCertsOnly))), []);
    assert_eq!(judged(&world, with(Some(CrlScope::UserCertsOnly))), [("root-crl", vec!["crl-partial"])]);
}
