//! What a device logged, kept in a file before it is told to forget it.

use std::fs;

use hallmark_yubihsm::Domains;
use tempfile::TempDir;

use super::{
    super::{
        access::{Access, Place},
        finding::Finding,
        log,
        manual::{LOG_ENTRIES, Manual, OWN},
    },
    audited::{consume, duty, sign},
    guarded::key,
};
use crate::{CommandLogUse, patience::Patience};

/// What is in the file that a device's log is kept in: how many signatures of these are that key's, each entry following the one before.
fn kept(directory: &TempDir, key: u16) -> usize {
    let text = fs::read_to_string(directory.path().join("commands")).unwrap();
    let numbers: Vec<u16> =
        text.lines().map(|line| line[5..].split(" -- ").next().unwrap().trim().parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
    text.lines()
        .filter(|line| line.contains(&format!("target key: {key:#06x}")) && line.contains("result: 0xd6"))
        .count()
}

#[test]
fn every_command_that_a_device_was_told_to_forget_is_in_the_file() {
    let (directory, device) = (tempfile::tempdir().unwrap(), Manual::new());
    device.state().force_audit = true;
    let mut issuer = None;
    // Two daemons, one after the other.
    for signed in [2 * LOG_ENTRIES, 5 * LOG_ENTRIES] {
        let keyring = device.open(2, consume(&directory), Patience::default()).unwrap();
        let issuer = issuer.get_or_insert_with(|| key(&keyring, "issuer"));
        keyring.open(&issuer.reference, issuer.public.digest()).unwrap();
        let id = issuer.reference.yubihsm_id().unwrap();
        while device.signatures(id) < signed {
            sign(&keyring, issuer).unwrap();
        }
        keyring.stop();
        let left = device.state().log.iter().filter(|entry| entry.signer() == Some(id)).count();
        assert!(left + kept(&directory, id) >= signed, "what the device has forgotten is not in the file");
    }
    let all: usize = 5 * LOG_ENTRIES;
    let keyring = device.open(1, consume(&directory), Patience::default()).unwrap();
    drop(keyring);
    assert_eq!(kept(&directory, issuer.unwrap().reference.yubihsm_id().unwrap()), all);
}

#[test]
fn a_file_that_cannot_be_written_ends_the_freeing_and_the_signing_goes_on_until_the_log_is_full() {
    let (directory, device) = (tempfile::tempdir().unwrap(), Manual::new());
    device.state().force_audit = true;
    let file = directory.path().join("gone/commands");
    let keyring = device.open(1, CommandLogUse::Consume { file }, Patience::default()).unwrap();
    let issuer = key(&keyring, "issuer");
    let mut signed = 0;
    while sign(&keyring, &issuer).is_ok() {
        signed += 1;
    }
    // The first entry and the key's making are the others.
    assert_eq!((signed, device.state().log.len()), (LOG_ENTRIES - 2, LOG_ENTRIES));
    fs::create_dir(directory.path().join("gone")).unwrap();
    sign(&keyring, &issuer).unwrap();
    assert!(device.state().log.len() < LOG_ENTRIES);
}

#[test]
fn what_could_not_be_kept_is_told_once_until_it_can_be() {
    let (directory, device) = (tempfile::tempdir().unwrap(), Manual::new());
    let (domains, file) = (Domains::of(&[1]).unwrap(), directory.path().join("gone/commands"));
    let log_use = CommandLogUse::Consume { file };
    let access =
        Access::new(Box::new(device.clone()), OWN, domains, duty(), log_use, crate::DeviceLogFindings::default());
    let look = || {
        let mut told = Vec::new();
        let read =
            Place::default().run(&access, |held| log::read_once(&access, held, |finding| told.push(finding.clone())));
        read.unwrap();
        told
    };
    assert!(matches!(&look()[..], [Finding::Unkept { .. }]));
    assert_eq!(look(), []);
    let before = device.state().log.clone();
    fs::create_dir(directory.path().join("gone")).unwrap();
    assert_eq!(look(), []);
    assert_ne!(device.state().log, before, "it was told");
    fs::remove_dir_all(directory.path().join("gone")).unwrap();
    assert!(matches!(&look()[..], [Finding::Unkept { .. }]), "it happens again");
}
