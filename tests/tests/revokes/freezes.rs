//! An operator freezes an authority: nobody gets a certificate until it is thawed, whatever else goes on.

use std::{sync::Arc, time::Duration};

use hallmark_faulty::{Effect, Function, When};
use hallmark_proto::{
    operator::{FreezeAuthorityRequest, FreezeAuthorityResponse, ThawAuthorityRequest, ThawAuthorityResponse},
    signer::{MintCertificateRequest, MintCertificateResponse},
};
use hallmark_signer::Standing;
use hallmark_tests::{
    EVERYWHERE, OPERATOR, World,
    asking::{Asked, Refused, caller_certificate, decoded},
};
use prost::Message;
use tokio::task::JoinHandle;

use crate::{AUTHORITY, EPOCH, weekly};

/// Longer than anything here takes that is to end at all.
const AMPLE: Duration = Duration::from_secs(90);

async fn freeze(world: &World) -> Result<FreezeAuthorityResponse, Refused> {
    let request = FreezeAuthorityRequest { authority: AUTHORITY.to_owned(), why: "a laptop was lost".to_owned() };
    decoded(world.operate("FreezeAuthority", &caller_certificate(OPERATOR), request.encode_to_vec()).await)
}

async fn thaw(world: &World) -> Result<ThawAuthorityResponse, Refused> {
    let request = ThawAuthorityRequest { authority: AUTHORITY.to_owned(), why: "it was found".to_owned() };
    decoded(world.operate("ThawAuthority", &caller_certificate(OPERATOR), request.encode_to_vec()).await)
}

/// A world whose drains wait a second for what is in the device.
async fn impatient() -> World {
    let mut world = World::faulty_unmade(&weekly());
    world.write("drain-time-max", "1s");
    world.start(true).await.unwrap();
    world
}

/// A request whose certificate the device does not let go.
fn hanging(world: &Arc<World>) -> (MintCertificateRequest, JoinHandle<Result<MintCertificateResponse, Refused>>) {
    world.device().fault(Function::Sign, When::First(1), Effect::Hang);
    let request = Asked::sports_api().request();
    let minting = tokio::spawn({
        let (world, request) = (Arc::clone(world), request.clone());
        async move { world.mint(request).await }
    });
    world.device().await_hanging(1, AMPLE);
    (request, minting)
}

fn standing(world: &World) -> Standing {
    world.core().standings().unwrap()[0].1
}

#[tokio::test]
async fn a_frozen_authority_signs_nothing_for_callers_until_it_is_thawed_also_after_a_restart() {
    for place in EVERYWHERE {
        let mut world = World::with_policy(place, &weekly()).await;
        let request = Asked::sports_api().request();
        let before = world.mint(request.clone()).await.unwrap();
        assert_eq!(thaw(&world).await.unwrap_err().reasons, ["AUTHORITY_SERVES"]);
        let frozen = freeze(&world).await.unwrap();
        assert_eq!((frozen.before, frozen.thrown_away), (false, 0));
        let again = freeze(&world).await.unwrap();
        assert_eq!((again.before, again.log_index), (true, frozen.log_index), "one entry is enough");
        let uses = world.key_uses();
        let waiting = Asked::sports_api().request();
        let refused = world.mint(waiting.clone()).await.unwrap_err();
        assert_eq!((refused.code, refused.reasons.as_slice()), (9, &["AUTHORITY_FROZEN".to_owned()][..]));
        assert!(refused.message.contains(&format!("log entry {}", frozen.log_index)), "{}", refused.message);
        assert_eq!(world.key_uses(), uses, "no key was touched");
        assert_eq!(standing(&world), Standing::Frozen);
        world.stop().await;
        let report = world.start(false).await.unwrap();
        assert!(report.lines.iter().any(|line| line.contains("hallmark authority thaw")), "{report:?}");
        assert_eq!(world.mint(waiting.clone()).await.unwrap_err().reasons, ["AUTHORITY_FROZEN"]);
        assert_eq!(
            world.mint(request).await.unwrap().certificate,
            before.certificate,
            "what was answered before is answered again"
        );
        world.core().sign_crl(AUTHORITY, EPOCH, None).await.expect("CRLs go on");
        let thawed = thaw(&world).await.unwrap();
        assert_eq!(standing(&world), Standing::Serves);
        world.mint(Asked::sports_api().request()).await.unwrap();
        world.mint(waiting).await.expect("nothing was held against the request id");
        let log = world.log_after_stop().await;
        let commands: Vec<_> = log.of_type("operator-command").collect();
        let words = |name| commands.iter().map(|entry| entry[name].as_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(words("command"), ["freeze-authority", "thaw-authority"]);
        assert_eq!(words("reason"), ["a laptop was lost", "it was found"]);
        assert_eq!(commands[1]["frozen-index"], frozen.log_index);
        let issued = log.of_type("decision").filter(|entry| entry["decision"] == "issued" && entry["stage"] == "leaf");
        let between = frozen.log_index..thawed.log_index;
        assert_eq!(issued.filter(|entry| between.contains(&entry["index"].as_u64().unwrap_or(0))).count(), 0);
    }
}

#[tokio::test]
async fn an_epoch_is_replaced_while_its_authority_is_frozen() {
    let world = World::with_policy(hallmark_tests::Where::Software, &weekly()).await;
    freeze(&world).await.unwrap();
    let prepared = world.prepare_epoch(0).await.unwrap();
    let generation = prepared.epoch.unwrap().epoch.unwrap().generation;
    world.activate_epoch(generation, true).await.unwrap();
    assert_eq!(world.mint(Asked::sports_api().request()).await.unwrap_err().reasons, ["AUTHORITY_FROZEN"]);
    thaw(&world).await.unwrap();
    let minted = world.mint(Asked::sports_api().request()).await.unwrap();
    assert_eq!(minted.epoch.unwrap().generation, generation, "not under the key that may be stolen");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_in_the_device_while_its_authority_is_frozen_reaches_nobody_and_is_certified_after_the_thaw() {
    let world = impatient().await;
    let world = Arc::new(world);
    let (request, minting) = hanging(&world);
    let frozen = tokio::time::timeout(AMPLE, freeze(&world)).await.unwrap().unwrap();
    assert_eq!(frozen.thrown_away, 1);
    world.device().release();
    let refused = minting.await.unwrap().unwrap_err();
    assert_eq!(refused.reasons, ["AUTHORITY_FROZEN"]);
    thaw(&world).await.unwrap();
    let minted = world.mint(request).await.expect("it is not void");
    let mut world = Arc::into_inner(world).unwrap();
    let log = world.log_after_stop().await;
    log.proves(&minted);
    let outcomes: Vec<_> = log.of_type("outcome").map(|entry| (&entry["result"], &entry["code"])).collect();
    assert_eq!(outcomes.len(), 2, "{outcomes:?}");
    assert_eq!((outcomes[0].0, outcomes[0].1), (&"signing-failed".into(), &"BARRED".into()));
    assert_eq!(outcomes[1].0, "signing-again");
}

/// A mint that hangs in the device, while its authority is frozen and its epoch then replaced.
#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_while_its_epoch_is_replaced_under_a_freeze_is_void_and_no_crl_is_lost() {
    let world = impatient().await;
    let prepared = world.prepare_epoch(0).await.unwrap();
    let world = Arc::new(world);
    let (request, minting) = hanging(&world);
    assert_eq!(freeze(&world).await.unwrap().thrown_away, 1);
    world.core().sign_crl(AUTHORITY, EPOCH, None).await.expect("a freeze throws no CRL away");
    let generation = prepared.epoch.unwrap().epoch.unwrap().generation;
    world.activate_epoch(generation, true).await.unwrap();
    assert!(!minting.is_finished(), "it is still in the device");
    world.device().release();
    minting.await.unwrap().expect_err("nothing of a key that is retired is released");
    assert_eq!(world.mint(request.clone()).await.unwrap_err().reasons, ["REQUEST_VOID"]);
    thaw(&world).await.unwrap();
    assert_eq!(world.mint(request).await.unwrap_err().reasons, ["REQUEST_VOID"]);
    let mut world = Arc::into_inner(world).unwrap();
    let log = world.log_after_stop().await;
    assert_eq!(log.of_type("void").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_out_of_the_device_after_the_thaw_is_thrown_away_too_and_asked_for_again() {
    let world = impatient().await;
    let world = Arc::new(world);
    let (request, minting) = hanging(&world);
    assert_eq!(freeze(&world).await.unwrap().thrown_away, 1);
    thaw(&world).await.unwrap();
    world.device().release();
    let refused = minting.await.unwrap().unwrap_err();
    assert_eq!(refused.reasons, ["AUTHORITY_FROZEN"]);
    assert!(refused.message.contains("ask again with the same request id"), "{}", refused.message);
    world.mint(request).await.expect("it is not void");
    let mut world = Arc::into_inner(world).unwrap();
    let log = world.log_after_stop().await;
    let again = log.of_type("outcome").filter(|entry| entry["result"] == "signing-again");
    assert_eq!(again.count(), 1, "nothing is said to be signed again that is not");
}

#[tokio::test]
async fn only_operators_freeze_and_only_what_there_is() {
    let world = World::with_policy(hallmark_tests::Where::Software, &weekly()).await;
    let ask = async |caller: &str, authority: &str, why: &str| {
        let request = FreezeAuthorityRequest { authority: authority.to_owned(), why: why.to_owned() };
        let reply = world.operate("FreezeAuthority", &caller_certificate(caller), request.encode_to_vec()).await;
        decoded::<FreezeAuthorityResponse>(reply).unwrap_err()
    };
    assert_eq!(ask("spiffe://hallmark.lab/coordinator", AUTHORITY, "no").await.code, 7);
    assert_eq!(ask(OPERATOR, "nobody", "no").await.reasons, ["AUTHORITY_UNKNOWN"]);
    assert_eq!(ask(OPERATOR, AUTHORITY, "").await.reasons, ["FIELD_OUT_OF_LIMITS"]);
    world.mint(Asked::sports_api().request()).await.expect("nothing came of it");
}
