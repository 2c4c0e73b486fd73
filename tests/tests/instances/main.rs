//! Instances: register, refresh, catch the thief.

mod catches;
mod counts;
mod follows;
mod operates;
mod races;
mod reaches;
mod registers;
mod restores;
mod survives;

use hallmark_policy::hex;
use hallmark_proto::signer::MintCertificateResponse;
use hallmark_tests::{asking::Refused, log::Log};
use serde_json::Value;

/// The codes of a refusal.
fn codes(refused: Result<MintCertificateResponse, Refused>) -> Vec<String> {
    refused.expect_err("it is refused").reasons
}

/// The entry of a decision.
fn entry(minted: &MintCertificateResponse) -> Value {
    serde_json::from_slice(&minted.log_entry).expect("an entry is JSON")
}

/// What its entry says about the record.
fn change(minted: &MintCertificateResponse) -> String {
    entry(minted)["instance"]["change"].as_str().unwrap_or_default().to_owned()
}

/// Serial numbers that the log says are revoked, each with its reason.
fn revoked(log: &Log) -> Vec<(String, String)> {
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    log.of_type("revocation").map(|entry| (text(entry, "serial"), text(entry, "reason"))).collect()
}

/// The alarms that the log has.
fn alarms(log: &Log) -> Vec<String> {
    log.of_type("alarm").map(|entry| entry["alarm"].as_str().unwrap_or_default().to_owned()).collect()
}

fn serial(minted: &MintCertificateResponse) -> String {
    hex(&minted.serial)
}
