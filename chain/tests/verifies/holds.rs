//! Good evidence, more and less of it.

use hallmark_chain::{History, Limit, Start};

use crate::world::{MANIFESTS, World, binding, failed, sha256};

#[test]
fn everything_holds_and_what_cannot_be_shown_is_said() {
    let report = World::new().judged(|_| {});
    assert_eq!(failed(&report), []);
    assert_eq!(report.generation, Some(2));
    let claims: Vec<_> = report.checks.iter().map(|check| check.claim.code()).collect();
    let expected = [
        "root-pinned",
        "signatures",
        "authorities",
        "key-identifiers",
        "siblings",
        "name-constraints",
        "validity-nested",
        "current",
        "bound",
        "leaf-issued",
        "leaf-content",
        "leaf-constrained",
        "leaf-names",
    ];
    assert_eq!(claims, expected);
    let limits: Vec<_> = report.limits.iter().map(Limit::code).collect();
    assert_eq!(limits, ["key-holder", "evidence", "other-epochs", "owners", "revocation", "leaf-revocation"]);
}

#[test]
fn what_was_not_given_is_among_what_is_left_unproven() {
    let world = World::new();
    let report = world.judged(|given| {
        given.leaf = None;
        given.at = None;
    });
    let limits: Vec<_> = report.limits.iter().map(Limit::code).collect();
    assert!(report.holds() && report.checks.len() == 8, "{report:?}");
    assert_eq!(limits, ["key-holder", "evidence", "other-epochs", "owners", "leaves", "revocation", "time"]);
    let unnamed = world.judged(|given| given.entry = None);
    assert!(unnamed.holds() && unnamed.limits.contains(&Limit::LeafNames));
}

#[test]
fn a_history_that_begins_later_leaves_what_came_before_unproven() {
    let world = World::new();
    let first = History::new(Start::Genesis).then(sha256(MANIFESTS[0])).transition();
    let later = History::new(Start::Transition(first)).then(sha256(MANIFESTS[1]));
    let report = world.judged(|given| given.history = later);
    assert_eq!(failed(&report), []);
    assert!(report.limits.contains(&Limit::BeforeStart { transition: first }));
    let named = History::new(Start::Transition(world.history.transition()));
    let report = world.judged(|given| given.history = named);
    assert_eq!(failed(&report), []);
    assert!(report.limits.contains(&Limit::Manifest));
}

#[test]
fn generations_may_have_gaps_and_statements_must_agree_with_them() {
    let by_age = |generations: &[u64]| {
        generations.iter().fold(History::new(Start::Genesis), |history, one| history.then_generation("lab", *one))
    };
    // Generation 2 was given up.
    let history = by_age(&[1, 3]);
    let world = World::with(&|_, params| {
        if !params.custom_extensions.is_empty() {
            params.custom_extensions = vec![binding(1, 3, &history)];
        }
    });
    let judged = |history: History| failed(&world.judged(|given| given.history = history));
    assert_eq!(judged(history.clone()), []);
    let codes = ["other-transition", "other-manifest", "other-generation"];
    assert_eq!(judged(by_age(&[1, 2])), [("bound", [codes, codes].concat())]);
    let manifests = [sha256(b"w"), sha256(b"x"), sha256(b"y"), sha256(b"z")];
    let four = manifests.into_iter().fold(History::new(Start::Genesis), History::then);
    let codes = ["other-transition", "other-manifest", "generation-too-small"];
    assert_eq!(judged(four), [("bound", [codes, codes].concat())]);
}
