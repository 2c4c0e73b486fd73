//! What a policy file says about rotation: defaults, and every mistake as a sentence with its place.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends by panicking")]

use hallmark_policy::{
    Policy,
    file::{OwnerSignatureWord, RetiredKeyWord, RotatesWord},
    profile::Mistake,
};

const OWNER: &str = "2202e1c361f8287021ffd4f1697a1a820414bb2d6c7f7fa7b8da1db29a86fe4e";

fn authority(name: &str, settings: &str) -> String {
    format!(
        "[authority.{name}]\n\
         root = {{ common-name = \"root\", lifetime = \"3650d\", key = \"ecdsa-p256\" }}\n\
         epoch = {{ common-name = \"epoch\", lifetime = \"365d\", key = \"ecdsa-p256\" }}\n{settings}\n"
    )
}

fn read(authorities: &str) -> Result<Policy, Vec<Mistake>> {
    Policy::parse(&format!("version = 1\n{authorities}")).map_err(|error| error.mistakes)
}

/// The one mistake.
fn told(authorities: &str) -> String {
    let mistakes = read(authorities).unwrap_err();
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    mistakes.into_iter().map(|mistake| mistake.to_string()).collect()
}

#[test]
fn an_authority_rotates_by_age_unless_it_says_otherwise() {
    let policy = read(&authority("a", "")).unwrap();
    let authority = policy.authority("a").unwrap();
    assert_eq!(authority.rotates(), RotatesWord::Age);
    assert_eq!(authority.retired_key(), RetiredKeyWord::CrlOnly);
    assert!(authority.owner_keys().is_empty() && !authority.revoke_previous());
}

#[test]
fn what_is_typed_about_manifests_is_what_the_authority_has() {
    let settings = format!(
        "rotates = \"manifest\"\nowner-keys = [\"{OWNER}\"]\nowner-signature = \"contrast\"\nrevoke-previous = true\n\
         crl = {{ lifetime = \"7d\", refresh = \"1d\" }}\nretired-key = \"crl-only\"\nmanifest-names = {{ wildcards = true }}"
    );
    let policy = read(&authority("a", &settings)).unwrap();
    let full = policy.authority("a").unwrap();
    assert_eq!(full.rotates(), RotatesWord::Manifest);
    assert_eq!(full.owner_keys().iter().map(ToString::to_string).collect::<Vec<_>>(), [OWNER]);
    assert_eq!(full.owner_signature(), OwnerSignatureWord::Contrast);
    assert_eq!(full.retired_key(), RetiredKeyWord::CrlOnly);
    assert!(full.revoke_previous() && full.manifest_names().wildcards && !full.manifest_names().single_labels);
    let policy = read(&authority("a", "rotates = \"manifest\"\nowner-keys = []")).unwrap();
    let least = policy.authority("a").unwrap();
    assert_eq!(least.owner_signature(), OwnerSignatureWord::Hallmark);
    assert_eq!(least.retired_key(), RetiredKeyWord::Destroy);
    assert!(!least.manifest_names().wildcards && !least.manifest_names().single_labels && !least.revoke_previous());
}

#[test]
fn every_mistake_about_rotation_is_told_at_its_line() {
    let manifest = "rotates = \"manifest\"\n";
    let keys = format!("owner-keys = [\n  \"{OWNER}\"");
    for (settings, said) in [
        (
            manifest.to_owned(),
            "line 2: [authority.a] `owner-keys` is missing: nobody could set the first manifest; name the",
        ),
        (format!("{manifest}owner-keys = [\"ab\"]"), "line 6: [authority.a] `owner-keys`: `ab` is no SHA-256 of a"),
        (
            format!("{manifest}owner-keys = [\"{}\"]", OWNER.to_uppercase()),
            "line 6: [authority.a] `owner-keys`: `2202E1C3",
        ),
        (format!("{manifest}{keys},\n  \"{OWNER}\"]"), "line 8: [authority.a] `owner-keys` has `2202e1c3"),
        (
            format!("{manifest}{keys}]\nrevoke-previous = false"),
            "line 8: [authority.a] `revoke-previous` is the owner's to say with each rotation; leave it out, or",
        ),
        (
            format!("{manifest}{keys}]\nowner-signature = \"contrast\"\nrevoke-previous = true"),
            "line 9: [authority.a] `revoke-previous` puts intermediates on the root's CRL, and the authority has no `crl`",
        ),
        (
            format!("{manifest}{keys}]\nowner-signature = \"pgp\""),
            "line 8: [authority.a] unknown variant `pgp`, expected",
        ),
        (
            format!("{manifest}{keys}]\nretired-key = \"keep\""),
            "line 8: [authority.a] unknown variant `keep`, expected",
        ),
        (
            format!("{keys}]"),
            "line 5: [authority.a] `owner-keys` says something about manifests, and the authority has none",
        ),
        ("owner-signature = \"contrast\"".to_owned(), "line 5: [authority.a] `owner-signature` says something"),
        ("revoke-previous = true".to_owned(), "line 5: [authority.a] `revoke-previous` says something"),
        ("manifest-names = {}".to_owned(), "line 5: [authority.a] `manifest-names` says something about manifests"),
        ("rotates = \"manifests\"".to_owned(), "line 5: [authority.a] unknown variant `manifests`, expected"),
    ] {
        let told = told(&authority("a", &settings));
        assert!(told.starts_with(said), "{settings}\n  said: {told}\n  not:  {said}");
    }
}

#[test]
fn sixty_four_owners_are_taken_and_no_more() {
    let owners = |count: usize| {
        let keys: Vec<_> = (0..count).map(|number| format!("\"{number:064x}\"")).collect();
        authority("a", &format!("rotates = \"manifest\"\nowner-keys = [{}]", keys.join(", ")))
    };
    assert_eq!(read(&owners(64)).unwrap().authority("a").unwrap().owner_keys().len(), 64);
    assert!(told(&owners(65)).contains("`owner-keys` has 65 entries; at most 64 are taken"));
}

#[test]
fn no_two_authorities_with_contrasts_signature_have_an_owner_in_common() {
    let one = |name: &str, way: &str| {
        let settings = format!("rotates = \"manifest\"\nowner-keys = [\"{OWNER}\"]\nowner-signature = \"{way}\"");
        authority(name, &settings)
    };
    let told = told(&[one("a", "contrast"), one("b", "contrast")].concat());
    assert!(
        told.starts_with(
            "line 12: [authority.b] `owner-keys` has `2202e1c361f8287021ffd4f1697a1a820414bb2d6c7f7fa7b8da1db29a86fe4e`, \
             which authority `a` has, too, and with `owner-signature = \"contrast\"` one signature would be good for both; \
             give each"
        ),
        "{told}"
    );
    assert!(read(&[one("a", "contrast"), one("b", "hallmark")].concat()).is_ok());
    assert!(read(&[one("a", "hallmark"), one("b", "hallmark")].concat()).is_ok());
}
