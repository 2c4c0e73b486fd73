//! Any bytes as a CSR, from a caller who may ask: read, decided, and what is approved is endorsed.
#![no_main]

use hallmark_fuzz::{POLICY, approved, endorsed, request};
use hallmark_policy::SubjectInput;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|csr: &[u8]| {
    if let Some(approved) = approved(&POLICY, request("athenz-service", SubjectInput::Csr(csr.to_vec()))) {
        let _warrant = endorsed(approved);
    }
});
