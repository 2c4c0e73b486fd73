//! Any bytes as the certificate of a caller, who then wants in.
#![no_main]

use hallmark_fuzz::{POLICY, now};
use hallmark_policy::{Caller, Method, admit};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|certificate: &[u8]| {
    let Ok(caller) = Caller::parse(certificate) else { return };
    match admit(&POLICY, &caller, Method::MintCertificate, now()) {
        Ok(rule) => assert!(caller.identities().contains(rule.identity()), "admitted as somebody else"),
        Err(reasons) => assert!(!reasons.is_empty(), "not admitted, and no reason why"),
    }
});
