//! The stages of an authority, and what numbers the structures that it signs.

use std::num::NonZeroU16;

use hallmark_policy::{EpochId, Numbering, Stage, content::Serial, crl::CrlScope};

#[test]
fn a_stage_has_a_name_and_most_have_an_epoch() {
    let epoch = EpochId { generation: 3, transition: [7; 32] };
    for (stage, name, of) in [
        (Stage::Root, "root", None),
        (Stage::Intermediate { epoch }, "intermediate", Some(epoch)),
        (Stage::MeshCa { epoch }, "mesh-ca", Some(epoch)),
        (Stage::Leaf { epoch }, "leaf", Some(epoch)),
        (Stage::Crl { epoch: Some(epoch) }, "crl", Some(epoch)),
        (Stage::Crl { epoch: None }, "crl", None),
        (Stage::Request { epoch }, "request", Some(epoch)),
        (Stage::OfflineIntermediate { epoch }, "offline-intermediate", Some(epoch)),
        (Stage::Cross, "cross-certificate", None),
        (Stage::Possession, "possession", None),
    ] {
        assert_eq!((stage.name(), stage.epoch()), (name, of));
    }
}

#[test]
fn a_numbering_says_its_serial_number_and_its_scope() {
    let serial = Serial::from_random([1; 16]);
    let scope = CrlScope::Partition(NonZeroU16::MIN);
    let crl = |scope| Numbering::Crl { number: 2, after: 1, scope, newest_revocation: None };
    for (numbering, serial_of, scope_of) in [
        (Numbering::Serial { serial, scope }, Some(serial), scope),
        (crl(scope), None, scope),
        (crl(CrlScope::Complete), None, CrlScope::Complete),
        (Numbering::Unnumbered, None, CrlScope::Complete),
    ] {
        assert_eq!((numbering.serial(), numbering.scope()), (serial_of, scope_of));
    }
    assert_eq!(
        (scope.to_string(), CrlScope::Complete.to_string()),
        ("partition 1".to_owned(), "the complete list".to_owned())
    );
}

#[test]
fn what_is_an_answer_stands_in_the_log_and_a_failure_of_the_signer_is_none() {
    use hallmark_policy::ReasonCode;
    for answer in [
        ReasonCode::NameMalformed,
        ReasonCode::FieldMissing,
        ReasonCode::MethodNotAllowed,
        ReasonCode::NameClaimed,
        ReasonCode::AuthorityUnknown,
    ] {
        assert!(answer.is_refusal(), "{}", answer.as_str());
    }
    for failure in [ReasonCode::RateExceeded, ReasonCode::DeadlinePassed, ReasonCode::LedgerFailed, ReasonCode::Defect]
    {
        assert!(!failure.is_refusal(), "{}", failure.as_str());
    }
}
