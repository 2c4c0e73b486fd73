//! Rotation by manifest: an owner's signature, a key that nobody had before, and the fence.

use hallmark_faulty::{Effect, Function, When, cryptoki_sys::CKR_DEVICE_ERROR};
use hallmark_policy::{authority::transition, hex};
use hallmark_proto::signer::{
    EpochState, EpochStatus, GetChainRequest, MintCertificateRequest, RotateIntermediateRequest,
};
use hallmark_signer::Standing;
use hallmark_tests::{
    AUTHORITY, EVERYWHERE, Where, World,
    asking::{Asked, join_all},
    mesh::{self, GENESIS, Owner, manifest, policy, rotate, transition_of},
    tools::{attempt, pem, run, sha256, spki},
};

fn by_generation(generation: u64) -> GetChainRequest {
    use hallmark_proto::signer::{EpochSelector, epoch_selector::By};
    let epoch = Some(EpochSelector { by: Some(By::Generation(generation)) });
    GetChainRequest { authority: AUTHORITY.to_owned(), epoch }
}

async fn world(place: Where, owner: &Owner) -> World {
    World::with_policy(place, &policy(&[owner])).await
}

async fn states(world: &World) -> Vec<(u64, EpochState)> {
    let epochs = world.epochs().await;
    epochs.iter().map(|it| (it.epoch.as_ref().unwrap().generation, EpochState::try_from(it.state).unwrap())).collect()
}

#[tokio::test]
async fn an_owner_sets_a_manifest_and_the_epoch_has_a_key_and_certificates_of_its_own() {
    for place in EVERYWHERE {
        let owner = Owner::new();
        let mut world = world(place, &owner).await;
        assert!(world.epochs().await.is_empty(), "before the first manifest there is no epoch");
        assert_eq!(world.core().standings().unwrap(), [(AUTHORITY.to_owned(), Standing::Waits)]);
        assert_eq!(world.mint(Asked::sports_api().request()).await.unwrap_err().reasons, ["EPOCH_NOT_ACTIVE"]);

        let first = manifest("one", &[&owner]);
        let one = rotate(&world, &owner, GENESIS, &first).await.unwrap();
        assert_eq!(transition_of(&one), transition(&sha256(&first), &GENESIS));
        assert_eq!(one.epoch.as_ref().unwrap().manifest_sha256, sha256(&first).as_slice());
        assert_eq!(one.state(), EpochState::Active);
        assert_eq!(world.core().standings().unwrap(), [(AUTHORITY.to_owned(), Standing::Serves)]);
        assert_eq!(spki(&one.intermediate), spki(&one.mesh_ca), "siblings share a key");
        let leaf = world.mint(Asked::sports_api().request()).await.unwrap();
        assert_eq!((leaf.chain, leaf.mesh_ca), (vec![one.intermediate.clone()], one.mesh_ca.clone()));

        let second = manifest("two", &[&owner]);
        let two = rotate(&world, &owner, transition_of(&one), &second).await.unwrap();
        assert_eq!(transition_of(&two), transition(&sha256(&second), &transition_of(&one)));
        assert_ne!(spki(&two.mesh_ca), spki(&one.mesh_ca));
        assert_eq!(two.root, one.root);
        assert_eq!(states(&world).await, [(2, EpochState::Active), (1, EpochState::Destroyed)]);
        assert_eq!(world.epoch_keys(), ["2"]);

        let log = world.log_after_stop().await;
        log.proves_entry(two.log_index.unwrap(), &two.receipt, &two.log_entry);
        let intents: Vec<_> = log.of_type("rotation").filter(|entry| entry["step"] == "epoch-intent").collect();
        assert_eq!(intents[1]["owner-spki"], hex(&owner.spki()), "an auditor verifies the owner's consent");
        let active: Vec<_> = log.of_type("rotation").filter(|entry| entry["step"] == "epoch-active").collect();
        assert!([intents, active].concat().iter().all(|entry| entry["by"] == "coordinator"));
    }
}

#[tokio::test]
async fn the_same_manifest_set_again_is_a_new_transition_a_new_epoch_and_a_new_key() {
    let owner = Owner::new();
    let world = world(Where::SoftHsm, &owner).await;
    let text = manifest("same", &[&owner]);
    let one = rotate(&world, &owner, GENESIS, &text).await.unwrap();
    let two = rotate(&world, &owner, transition_of(&one), &text).await.unwrap();
    assert_ne!(transition_of(&one), transition_of(&two));
    assert_ne!(spki(&one.mesh_ca), spki(&two.mesh_ca));
    assert_eq!(two.epoch.unwrap().generation, 2);
}

#[tokio::test]
async fn asking_again_with_the_predecessor_gives_the_active_bundle_and_moves_nothing() {
    let owner = Owner::new();
    let mut world = world(Where::Software, &owner).await;
    let request = mesh::request(&world, &owner, GENESIS, &manifest("one", &[&owner]), 0, false);
    let one = world.rotate(&request).await.unwrap();
    let again = world.rotate(&request).await.unwrap();
    assert!(!one.replayed && again.replayed);
    let same = |response: &hallmark_proto::signer::RotateIntermediateResponse| {
        (response.intermediate.clone(), response.mesh_ca.clone(), response.log_index, response.log_entry.clone())
    };
    assert_eq!(same(&one), same(&again));
    world.restart().await;
    assert_eq!(same(&world.rotate(&request).await.unwrap()), same(&one));
    assert_eq!(states(&world).await, [(1, EpochState::Active)]);
}

#[tokio::test]
async fn of_eight_who_rotate_at_once_one_moves_and_the_others_hear_the_new_transition_or_get_the_same() {
    let owner = Owner::new();
    let world = world(Where::SoftHsm, &owner).await;
    let one = transition_of(&rotate(&world, &owner, GENESIS, &manifest("one", &[&owner])).await.unwrap());
    let texts: Vec<_> = (0..8).map(|number| manifest(&format!("w{}", number / 2), &[&owner])).collect();
    let answers = join_all(texts.iter().map(|text| rotate(&world, &owner, one, text))).await;
    let active = world.epochs().await[0].epoch.clone().unwrap();
    assert_eq!(active.generation, 2);
    for (answer, text) in answers.into_iter().zip(&texts) {
        match answer {
            Ok(response) => {
                assert_eq!(response.epoch.unwrap(), active);
                assert_eq!(active.manifest_sha256, sha256(text).as_slice());
            }
            Err(refused) => {
                assert_eq!((refused.code, refused.reasons.as_slice()), (9, &["TRANSITION_STALE".to_owned()][..]));
                assert_eq!(refused.allowed[0].1, hex(&active.transition));
            }
        }
    }
}

#[tokio::test]
async fn nobody_but_an_owner_of_the_manifest_in_force_sets_another_and_no_key_is_made_for_it() {
    let (ceremony, first, stranger) = (Owner::new(), Owner::new(), Owner::new());
    let mut world = world(Where::SoftHsm, &ceremony).await;
    let one = transition_of(&rotate(&world, &ceremony, GENESIS, &manifest("one", &[&first])).await.unwrap());
    let next = manifest("two", &[&first]);
    let good = mesh::request(&world, &first, one, &next, 0, false);
    let (keys, size) = (world.epoch_keys(), world.epochs().await.len());
    let wrong: Vec<(RotateIntermediateRequest, &str)> = vec![
        (mesh::request(&world, &ceremony, one, &next, 0, false), "OWNER_UNKNOWN"),
        (mesh::request(&world, &stranger, one, &next, 0, false), "OWNER_UNKNOWN"),
        (
            RotateIntermediateRequest { owner_signature: stranger.sign(b"x").into(), ..good.clone() },
            "OWNER_SIGNATURE_WRONG",
        ),
        (RotateIntermediateRequest { lifetime_seconds: 7_200, ..good.clone() }, "OWNER_SIGNATURE_WRONG"),
        (RotateIntermediateRequest { revoke_previous: true, ..good.clone() }, "OWNER_SIGNATURE_WRONG"),
        (
            RotateIntermediateRequest { manifest: manifest("three", &[&stranger]).into(), ..good.clone() },
            "OWNER_SIGNATURE_WRONG",
        ),
        (RotateIntermediateRequest { owner_key: bytes::Bytes::new(), ..good.clone() }, "FIELD_MISSING"),
        (mesh::request(&world, &first, GENESIS, &next, 0, false), "TRANSITION_STALE"),
        (mesh::request(&world, &first, one, br#"{"Policies":{},"Policies":{}}"#, 0, false), "MANIFEST_INVALID"),
        (mesh::request(&world, &first, one, &next, 366 * 86_400, false), "LIFETIME_TOO_LONG"),
        (RotateIntermediateRequest { expected_transition: vec![1; 31].into(), ..good.clone() }, "FIELD_OUT_OF_LIMITS"),
        (RotateIntermediateRequest { authority: "nobody".to_owned(), ..good.clone() }, "AUTHORITY_UNKNOWN"),
    ];
    for (request, reason) in wrong {
        let refused = world.rotate(&request).await.unwrap_err();
        assert!(refused.reasons.iter().any(|it| it == reason), "{reason}: {:?}", refused.message);
        assert!(refused.logged.is_some(), "{reason} stands in the log");
    }
    assert_eq!((world.epoch_keys(), world.epochs().await.len()), (keys, size));
    world.rotate(&good).await.unwrap();
    let log = world.log_after_stop().await;
    let refusals: Vec<_> =
        log.decisions("refused").into_iter().filter(|entry| entry["method"] == "RotateIntermediate").collect();
    assert_eq!(refusals.len(), 12);
    assert!(refusals.iter().all(|entry| entry["manifest-sha256"].is_string()));
}

#[tokio::test]
async fn a_manifest_without_owners_is_immutable_for_ever() {
    let owner = Owner::new();
    let world = world(Where::Software, &owner).await;
    let one = rotate(&world, &owner, GENESIS, &manifest("one", &[])).await.unwrap();
    let refused = rotate(&world, &owner, transition_of(&one), &manifest("two", &[&owner])).await.unwrap_err();
    assert_eq!((refused.code, refused.reasons.as_slice()), (7, &["MANIFEST_IMMUTABLE".to_owned()][..]));
    assert!(world.mint(Asked::sports_api().request()).await.is_ok());
}

#[tokio::test]
async fn a_manifest_of_16_mib_is_set_and_one_byte_more_is_not() {
    let owner = Owner::new();
    let world = world(Where::Software, &owner).await;
    let mut large = manifest("large", &[&owner]);
    large.resize(16 * 1_024 * 1_024, b' ');
    assert!(rotate(&world, &owner, GENESIS, &large).await.is_ok());
    large.push(b' ');
    let refused = rotate(&world, &owner, GENESIS, &large).await.unwrap_err();
    assert!(refused.reasons.contains(&"FIELD_OUT_OF_LIMITS".to_owned()), "{:?}", refused.reasons);
}

#[tokio::test]
async fn a_revoked_predecessor_stands_on_the_root_s_crl_and_openssl_refuses_it() {
    let owner = Owner::new();
    let mut world = world(Where::SoftHsm, &owner).await;
    let one = rotate(&world, &owner, GENESIS, &manifest("one", &[&owner])).await.unwrap();
    let old = world.mint(Asked::sports_api().request()).await.unwrap();
    let request = mesh::request(&world, &owner, transition_of(&one), &manifest("two", &[&owner]), 0, true);
    let two = world.rotate(&request).await.unwrap();
    let new = world.mint(Asked::sports_api().request()).await.unwrap();
    assert!(!two.root_crl.is_empty());
    assert_eq!(world.rotate(&request).await.unwrap().root_crl, two.root_crl, "asking again gives the same list");
    assert_eq!(world.epochs().await.iter().map(|epoch| epoch.revoked).collect::<Vec<_>>(), [false, true]);

    let write = |name: &str, blocks: &[(&str, &[u8])]| {
        let text: String = blocks.iter().map(|(label, der)| pem(label, der)).collect();
        world.write(name, &text);
        world.path(name).to_str().unwrap().to_owned()
    };
    let at = world.clocks().now().to_string();
    let root = write("r.pem", &[("CERTIFICATE", &two.root)]);
    let root_crl = write("r.crl", &[("X509 CRL", &two.root_crl)]);
    let said = run("openssl", &["crl", "-in", &root_crl, "-noout", "-text", "-CAfile", &root]);
    assert!(said.contains("X509v3 CRL Number") && said.contains("Superseded"), "{said}");
    // Old leaves under the root stand and fall with their intermediate; the epochs' own lists have no entry for it.
    for (leaf, intermediate, good) in [(&old, &one.intermediate, false), (&new, &two.intermediate, true)] {
        let leaf = write("leaf.pem", &[("CERTIFICATE", &leaf.certificate)]);
        let generation = if good { 2 } else { 1 };
        let own = world.chain(by_generation(generation)).await.unwrap();
        let own_crl = own.crl.to_vec();
        let untrusted = write("i.pem", &[("CERTIFICATE", intermediate)]);
        let mut arguments = vec!["verify", "-x509_strict", "-attime", &at, "-CAfile", &root, "-CRLfile", &root_crl];
        let own_crl = (!own_crl.is_empty()).then(|| write("own.crl", &[("X509 CRL", &own_crl)]));
        // The active epoch has signed no list yet: its leaf is checked against the root's alone.
        let check = if own_crl.is_some() { "-crl_check_all" } else { "-crl_check" };
        arguments.extend(own_crl.iter().flat_map(|path| ["-CRLfile", path.as_str()]));
        let whole =
            [&arguments[..], &[check, "-untrusted", &untrusted, if good { &untrusted } else { &leaf }]].concat();
        let (verified, said) = attempt("openssl", &whole);
        assert_eq!(verified, good, "{said}");
        assert!(good || said.contains("certificate revoked"), "{said}");
    }
    let log = world.log_after_stop().await;
    let stages: Vec<_> =
        log.decisions("issued").iter().map(|entry| entry["stage"].as_str().unwrap().to_owned()).collect();
    let crls = stages.iter().filter(|stage| *stage == "crl").count();
    assert_eq!(crls, 2, "a last list of the replaced epoch before the fence, and the root's after it: {stages:?}");
}

#[tokio::test]
async fn the_last_crl_of_a_destroyed_epoch_holds_until_everything_it_signed_has_ended() {
    let owner = Owner::new();
    let world = world(Where::Software, &owner).await;
    let one = rotate(&world, &owner, GENESIS, &manifest("one", &[&owner])).await.unwrap();
    world.mint(Asked::sports_api().request()).await.unwrap();
    rotate(&world, &owner, transition_of(&one), &manifest("two", &[&owner])).await.unwrap();
    let old = world.chain(by_generation(1)).await.unwrap();
    let epochs = world.epochs().await;
    world.write("old.crl", &pem("X509 CRL", &old.crl));
    let said = run(
        "openssl",
        &["crl", "-in", world.path("old.crl").to_str().unwrap(), "-noout", "-nextupdate", "-dateopt", "iso_8601"],
    );
    let end = hallmark_policy::time::UnixTime::from_secs(epochs[1].not_after.unwrap()).to_string();
    assert_eq!(said.trim(), format!("nextUpdate={}", end.replace('T', " ")));
}

#[tokio::test]
async fn who_wants_a_predecessor_revoked_where_no_crl_is_configured_is_refused_before_a_key_is_made() {
    let owner = Owner::new();
    let without = policy(&[&owner]).replace(mesh::CRL, "");
    let world = World::with_policy(Where::Software, &without).await;
    let request = mesh::request(&world, &owner, GENESIS, &manifest("one", &[&owner]), 0, true);
    let refused = world.rotate(&request).await.unwrap_err();
    assert_eq!((refused.code, refused.reasons.as_slice()), (9, &["CRL_NOT_CONFIGURED".to_owned()][..]));
    assert!(world.epochs().await.is_empty());
}

#[tokio::test]
async fn a_caller_without_the_right_does_not_rotate_although_an_owner_signed() {
    let owner = Owner::new();
    let without = policy(&[&owner]).replace("\"RotateIntermediate\", ", "");
    let world = World::with_policy(Where::Software, &without).await;
    let refused = rotate(&world, &owner, GENESIS, &manifest("one", &[&owner])).await.unwrap_err();
    assert_eq!(refused.reasons, ["METHOD_NOT_ALLOWED"]);
}

#[tokio::test]
async fn an_authority_that_rotates_by_age_takes_no_manifest_and_the_other_way_round() {
    let owner = Owner::new();
    let world_by_manifest = world(Where::Software, &owner).await;
    let refused = world_by_manifest.prepare_epoch(0).await.unwrap_err();
    assert_eq!((refused.code, refused.reasons.as_slice()), (9, &["EPOCH_NOT_ACTIVE".to_owned()][..]));
    let age = policy(&[&owner]).replace("rotates = \"manifest\"\n", "");
    let age: String =
        age.lines().filter(|line| !line.starts_with("owner-keys")).map(|line| format!("{line}\n")).collect();
    let by_age = World::with_policy(Where::Software, &age).await;
    let refused = rotate(&by_age, &owner, GENESIS, &manifest("one", &[&owner])).await.unwrap_err();
    assert_eq!(refused.reasons, ["ROTATES_BY_AGE"]);
}

#[tokio::test]
async fn a_stale_mint_touches_no_key_before_and_after_a_restart() {
    let owner = Owner::new();
    let mut world = world(Where::SoftHsm, &owner).await;
    let one = transition_of(&rotate(&world, &owner, GENESIS, &manifest("one", &[&owner])).await.unwrap());
    let two = transition_of(&rotate(&world, &owner, one, &manifest("two", &[&owner])).await.unwrap());
    for _ in 0..2 {
        let uses = world.key_uses();
        let stale = MintCertificateRequest { transition: one.to_vec().into(), ..Asked::sports_api().request() };
        let refused = world.mint(stale).await.unwrap_err();
        assert_eq!(refused.allowed, [("TRANSITION_STALE".to_owned(), hex(&two))]);
        assert_eq!(world.key_uses(), uses);
        world.restart().await;
    }
    let named = MintCertificateRequest { transition: two.to_vec().into(), ..Asked::sports_api().request() };
    assert!(world.mint(named).await.is_ok());
    let chain = world.chain(GetChainRequest { authority: AUTHORITY.to_owned(), epoch: None }).await.unwrap();
    assert_eq!(chain.epoch.unwrap().transition, two.as_slice());
}

#[tokio::test]
async fn who_sets_a_manifest_is_not_told_of_a_request_id_when_the_device_fails() {
    let owner = Owner::new();
    let world = World::faulty_with_policy(&policy(&[&owner])).await;
    world.device().fault(Function::Sign, When::Always, Effect::Refuse(CKR_DEVICE_ERROR));
    let refused = rotate(&world, &owner, GENESIS, &manifest("one", &[&owner])).await.unwrap_err();
    assert_eq!(refused.reasons, ["DEVICE_FAILED"]);
    assert!(refused.message.contains("the same call goes on where it stopped"), "{}", refused.message);
    assert!(!refused.message.contains("request id"), "{}", refused.message);
}

/// The device fails those signatures of the next rotation twice each, since a signature is tried twice: the key's own certificates are the
/// first and the second, the last CRL of the epoch before is the third, and the root's CRL comes after the fence.
fn fail_signature(world: &World, nth: u64) {
    for nth in [nth, nth + 1] {
        world.device().fault(Function::Sign, When::AfterKey(nth), Effect::Refuse(CKR_DEVICE_ERROR));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_predecessor_whose_revocation_could_not_be_signed_is_listed_after_the_next_start() {
    let owner = Owner::new();
    let mut world = World::faulty_with_policy(&policy(&[&owner])).await;
    let one = rotate(&world, &owner, GENESIS, &manifest("one", &[&owner])).await.unwrap();
    let request = mesh::request(&world, &owner, transition_of(&one), &manifest("two", &[&owner]), 0, true);
    fail_signature(&world, 4);
    let two = world.rotate(&request).await.unwrap();
    assert_eq!((two.state(), two.root_crl.is_empty()), (EpochState::Active, true));
    let revoked = |epochs: Vec<EpochStatus>| epochs.iter().map(|epoch| epoch.revoked).collect::<Vec<_>>();
    assert_eq!(revoked(world.epochs().await), [false, false], "it stands on no list yet");
    world.device().mend();
    world.restart().await;
    assert_eq!(revoked(world.epochs().await), [false, true]);
    let again = world.rotate(&request).await.unwrap();
    assert_eq!((again.replayed, again.root_crl.is_empty()), (true, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_which_the_device_signs_no_last_list_is_retired_without_one() {
    let owner = Owner::new();
    let world = World::faulty_with_policy(&policy(&[&owner])).await;
    let one = rotate(&world, &owner, GENESIS, &manifest("one", &[&owner])).await.unwrap();
    fail_signature(&world, 3);
    let two = rotate(&world, &owner, transition_of(&one), &manifest("two", &[&owner])).await.unwrap();
    assert_eq!(two.state(), EpochState::Active);
    assert_eq!(world.epoch_keys(), ["2"]);
    assert!(world.chain(by_generation(1)).await.unwrap().crl.is_empty());
}
