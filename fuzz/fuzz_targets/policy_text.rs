//! Any text as a policy; one that is read decides, and what it approves is endorsed.
#![no_main]

use hallmark_fuzz::{SUBJECT_SPKI, approved, endorsed, request};
use hallmark_policy::{NameInput, Policy, SubjectInput};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(policy) = Policy::parse(text) else { return };
    assert_eq!(policy.text(), text, "the text in the log is not the text that was read");
    let profiles: Vec<_> = policy.profiles().map(|(name, _)| name.to_owned()).collect();
    for profile in profiles {
        let subject = SubjectInput::Spki {
            spki: SUBJECT_SPKI.to_vec(),
            common_name: "sports.api".to_owned(),
            names: vec![NameInput::Dns("api.sports.lab.athenz.cloud".to_owned())],
        };
        if let Some(approved) = approved(&policy, request(&profile, subject)) {
            let _warrant = endorsed(approved);
        }
    }
});
