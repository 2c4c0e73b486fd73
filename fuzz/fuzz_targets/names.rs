//! Any names beside a key: what a profile approves, however permissive, can be written and is endorsed.
//!
//! One line of the input is one name: `cn:..`, `uri:..`, `email:..`, `ip:` with the octets as they are, anything else a
//! dNSName.
#![no_main]

use hallmark_fuzz::{PERMISSIVE, POLICY, SUBJECT_SPKI, approved, endorsed, request};
use hallmark_policy::{NameInput, SubjectInput};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut common_name = String::new();
    let mut names = Vec::new();
    for line in text.split('\n') {
        if let Some(name) = line.strip_prefix("cn:") {
            name.clone_into(&mut common_name);
        } else if let Some(uri) = line.strip_prefix("uri:") {
            names.push(NameInput::Uri(uri.to_owned()));
        } else if let Some(email) = line.strip_prefix("email:") {
            names.push(NameInput::Email(email.to_owned()));
        } else if let Some(octets) = line.strip_prefix("ip:") {
            names.push(NameInput::Ip(octets.as_bytes().to_vec()));
        } else {
            names.push(NameInput::Dns(line.to_owned()));
        }
    }
    let subject = SubjectInput::Spki { spki: SUBJECT_SPKI.to_vec(), common_name, names };
    for (policy, profile) in [(&*POLICY, "mesh"), (&*PERMISSIVE, "named"), (&*PERMISSIVE, "unnamed"), (&*PERMISSIVE, "folded")] {
        if let Some(approved) = approved(policy, request(profile, subject.clone())) {
            let _warrant = endorsed(approved);
        }
    }
});
