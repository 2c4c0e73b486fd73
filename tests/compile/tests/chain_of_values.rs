//! The chain of values is held by the compiler: every file in `cases/` fails to compile, for the reason in its `.stderr`.
//!
//! The `.stderr` files belong to Rust 1.95; `TRYBUILD=overwrite cargo test -p hallmark-compile-tests` writes them again,
//! and then somebody reads the difference.

/// What does compile: the only way forward. A module, because trybuild would build every dependency once more to run it.
#[path = "../cases/pass/forward.rs"]
mod forward;

#[test]
fn values_only_move_forward_and_each_is_made_in_one_place() {
    let _compiled = (
        forward::decide_and_endorse,
        forward::decide_and_endorse_a_crl,
        forward::decide_and_endorse_a_certification_request,
        forward::commit_and_sign,
        forward::finish,
    );
    trybuild::TestCases::new().compile_fail("cases/*.rs");
}
