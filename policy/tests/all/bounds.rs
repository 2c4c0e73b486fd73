//! What the CA certificates of an epoch bound its leaves to, read from what is stored.

use hallmark_policy::{
    Bounds,
    authority::CaRequest,
    constraint::{NameConstraints, Subtree},
    oid::Oid,
};

use crate::{
    der,
    world::{EPOCH, WORLD, certificate},
};

/// The fields of the intermediate of an authority, but for its extensions, and these.
fn intermediate(authority: &str) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let root = WORLD.root();
    let content =
        certificate(&WORLD.ca(authority, &CaRequest::Intermediate { root: &root, epoch: EPOCH, lifetime: None }));
    let mut fields = der::certificate_fields(&content);
    fields.pop();
    (fields, der::extensions(&content.extensions))
}

fn stored(authority: &str, change: impl Fn(&mut Vec<Vec<u8>>)) -> Option<Bounds> {
    let (fields, mut extensions) = intermediate(authority);
    change(&mut extensions);
    Bounds::stored(&der::sequence(&[fields.concat(), der::tagged_extensions(3, &extensions)]))
}

#[test]
fn what_was_written_is_read_back() {
    for name in ["plain", "tight", "open"] {
        let authority = WORLD.policy.authority(name).unwrap();
        assert_eq!(stored(name, |_| {}), Some(Bounds::of(authority)), "{name}");
    }
    let tight = stored("tight", |_| {}).unwrap();
    assert!(tight.name_constraints.is_some() && tight.policies == [Oid::parse("1.3.6.1.4.1.99999.1").unwrap()]);
    assert_eq!(Bounds::stored(&[5, 0]), None);
}

#[test]
fn constraints_that_are_not_written_here_are_not_read_either() {
    let with = |arcs: &[u32], value: Vec<u8>| {
        stored("plain", |extensions| extensions.push(der::extension(arcs, true, &value)))
    };
    let permitted = |names: &[Vec<u8>]| {
        let subtrees: Vec<u8> = names.iter().flat_map(|name| der::sequence(std::slice::from_ref(name))).collect();
        der::sequence(&[der::tlv(0xa0, &subtrees)])
    };
    let constraints = &[2, 5, 29, 30];
    let dns = der::tlv(0x82, b"in.test");
    let expected = NameConstraints { permitted: vec![Subtree::Dns("in.test".to_owned())], excluded: Vec::new() };
    assert_eq!(with(constraints, permitted(std::slice::from_ref(&dns))).unwrap().name_constraints, Some(expected));
    let directory = der::tlv(0xa4, &der::sequence(&[]));
    for strange in [
        permitted(&[directory]),
        permitted(&[der::tlv(0x88, &[0x2a, 3])]),
        permitted(&[der::tlv(0x87, &[10, 0, 0, 0])]),
        permitted(&[der::tlv(0x87, &[10, 0, 0, 0, 255, 0, 255, 0])]),
        permitted(&[der::tlv(0x87, &[10, 0, 0, 1, 255, 0, 0, 0])]),
        der::sequence(&[der::tlv(0xa0, &der::sequence(&[dns.clone(), der::tlv(0x81, &[1])]))]),
        [permitted(&[dns]), vec![0]].concat(),
        vec![5, 0],
    ] {
        assert_eq!(with(constraints, strange.clone()), None, "{strange:?}");
    }
    let qualifiers = der::sequence(&[der::sequence(&[der::oid(&[1, 3, 6, 1, 5, 5, 7, 2, 1]), der::tlv(0x16, b"x")])]);
    let policy = der::sequence(&[der::oid(&[1, 3, 6, 1]), qualifiers]);
    assert_eq!(with(&[2, 5, 29, 32], der::sequence(&[policy])), None, "a qualifier");
    assert_eq!(with(&[2, 5, 29, 32], vec![5, 0]), None);
}

#[test]
fn what_differs_from_the_policy_is_told_and_what_holds_until_the_next_epoch() {
    let authority = WORLD.policy.authority("tight").unwrap();
    let same = Bounds::of(authority);
    assert_eq!(same.differences(authority, 7), Vec::<String>::new());
    let names = "authority `tight`: the policy has other name constraints than the certificates of epoch 7; until the \
                 next epoch leaves are held to both";
    let policies = "authority `tight`: the policy has other certificate policies than the certificates of epoch 7; until \
                    the next epoch leaves assert only those that both have";
    assert_eq!(Bounds { name_constraints: None, ..same.clone() }.differences(authority, 7), [names]);
    assert_eq!(Bounds { policies: Vec::new(), ..same }.differences(authority, 7), [policies]);
    assert_eq!(Bounds::default().differences(authority, 7), [names, policies]);
}
