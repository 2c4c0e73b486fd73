//! Arbitrary bytes where the network speaks: no panic, no key touched, and nothing issued that was not asked for.

use hallmark_proto::signer::MintCertificateRequest;
use hallmark_tests::{
    Where, World,
    asking::{Asked, athenz},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use prost::Message;

const CASES: u32 = 400;

/// Runs a property with one signer for all cases.
fn with_a_signer<S: Strategy>(strategy: S, property: impl AsyncFn(&World, S::Value)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut world = runtime.block_on(World::new(Where::Software));
    let before = world.key_uses();
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let result = runner.run(&strategy, |value| {
        runtime.block_on(property(&world, value));
        Ok(())
    });
    result.unwrap();
    assert_eq!(world.key_uses(), before, "no key was touched");
    let log = runtime.block_on(world.log_after_stop());
    assert!(log.decisions("issued").iter().all(|entry| entry["stage"] != "leaf"));
}

#[test]
fn frames_of_arbitrary_bytes_are_answered() {
    with_a_signer(prop::collection::vec(any::<u8>(), 0..600), async |world, frame| {
        let _ = world.core().call(frame.into()).await;
    });
}

#[test]
fn messages_of_arbitrary_bytes_are_refused() {
    let bytes = (
        prop::collection::vec(any::<u8>(), 0..600),
        prop::sample::select(vec!["MintCertificate", "GetChain", "Nothing"]),
    );
    with_a_signer(bytes, async |world, (body, method)| {
        let reply = world.unary(method, world.caller(), body, 60_000_000_000).await;
        assert_ne!(reply.code, 0);
    });
}

#[test]
fn a_csr_that_was_changed_anywhere_is_refused() {
    let csr = Asked::sports_api().csr();
    let change = (any::<prop::sample::Index>(), 1_u8.., 0_u8..3);
    with_a_signer(change, async |world, (at, flip, how)| {
        let mut changed = csr.clone();
        let at = at.index(changed.len());
        match how {
            0 => changed[at] ^= flip,
            1 => changed.insert(at, flip),
            _ => changed.truncate(at),
        }
        if changed != csr {
            world.mint(athenz(changed)).await.expect_err("a changed CSR is refused");
        }
    });
}

#[test]
fn fields_of_arbitrary_text_are_refused_or_harmless() {
    let fields = (".{0,80}", ".{0,80}", ".{0,80}", any::<u64>(), prop::collection::vec(any::<u8>(), 0..40));
    with_a_signer(fields, async |world, (authority, profile, request_id, lifetime_seconds, transition)| {
        let request = MintCertificateRequest {
            authority,
            profile,
            request_id,
            lifetime_seconds,
            transition: transition.into(),
            ..Asked::sports_api().request()
        };
        let encoded = request.encode_to_vec();
        let reply = world.unary("MintCertificate", world.caller(), encoded, 60_000_000_000).await;
        assert_ne!(reply.code, 0);
    });
}
