//! Any bytes as the certificate that a refresh presents: read strictly, and never taken for ours without a signature of ours.
#![no_main]

use hallmark_fuzz::{POLICY, approved, request};
use hallmark_policy::{RequestInput, SubjectInput, instance::IntentInput};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|certificate: &[u8]| {
    let subject = SubjectInput::Spki {
        spki: hallmark_fuzz::SUBJECT_SPKI.to_vec(),
        common_name: String::new(),
        names: Vec::new(),
    };
    let instance = IntentInput::Refresh { certificate: certificate.to_vec(), proof: Vec::new() };
    let input = RequestInput { instance, ..request("mesh", subject) };
    assert!(approved(&POLICY, input).is_none(), "approved without a signature of ours");
});
