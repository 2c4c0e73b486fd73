//! Any bytes as a manifest: what is taken, serde_json reads alike; what is not has a place in the text.
#![no_main]

use hallmark_policy::{Manifest, hex};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| match Manifest::parse(bytes) {
    Ok(manifest) => agrees(&manifest, &serde_json::from_slice(bytes).expect("others read it, too")),
    Err(error) => {
        assert!(!error.problems.is_empty() && error.problems.len() <= error.count);
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
        for problem in &error.problems {
            assert!((1..=lines).contains(&problem.line) && problem.column >= 1, "{problem}");
        }
    }
});

/// As many owners, the same workloads, and the same names in them.
fn agrees(ours: &Manifest, theirs: &Value) {
    let list = |name: &str| theirs[name].as_array().map_or(0, Vec::len);
    assert_eq!(ours.owners().len(), list("WorkloadOwnerPubKeys").max(list("WorkloadOwnerKeyDigests")));
    let workloads = theirs["Policies"].as_object().expect("it is an object");
    assert_eq!(ours.workloads().count(), workloads.len());
    for (hash, workload) in ours.workloads() {
        let their = &workloads[&hex(hash)];
        let names: Vec<_> = workload.names().iter().map(|name| Value::from(name.as_str())).collect();
        assert_eq!(Value::from(names), their["SANs"]);
        assert_eq!(workload.secret_id().unwrap_or_default(), their["WorkloadSecretID"].as_str().unwrap_or_default());
        assert_eq!(workload.is_coordinator(), their["Role"] == "coordinator");
    }
}
