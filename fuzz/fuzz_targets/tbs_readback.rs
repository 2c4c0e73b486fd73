//! Any bytes as a draft: only the one true draft is endorsed, whatever else they are.
#![no_main]

use std::sync::LazyLock;

use hallmark_fuzz::{fixed_approval, true_draft};
use hallmark_policy::{endorse, read_back, stored_serial, stored_validity};
use libfuzzer_sys::fuzz_target;

static TRUE_DRAFT: LazyLock<Vec<u8>> = LazyLock::new(true_draft);

fuzz_target!(|draft: &[u8]| {
    let endorsed = endorse(fixed_approval(), draft.to_vec()).is_ok();
    assert_eq!(endorsed, draft == *TRUE_DRAFT, "endorsed what was not approved, or refused what was");
    if read_back(draft) {
        assert!(stored_serial(draft).is_some(), "read back, and has no serial number");
        assert!(stored_validity(draft).is_some(), "read back, and has no validity");
    }
});
