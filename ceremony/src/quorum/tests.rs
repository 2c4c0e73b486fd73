use secrecy::ExposeSecret as _;

use super::*;

fn custodians(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("custodian {number}")).collect()
}

fn entered(record: &QuorumRecord, shares: &[&Share]) -> Vec<Share> {
    shares.iter().map(|share| record.parse(&share.text(record)).unwrap()).collect()
}

#[test]
fn any_two_of_three_custodians_have_the_pin_and_one_alone_has_not() {
    let (secret, record, shares) = split(&custodians(3), 2, Shared::Pin).unwrap();
    let pin = secret.pin().expose_secret().to_owned();
    assert_eq!(pin.len(), PIN_DIGITS);
    for pair in [[0, 1], [0, 2], [1, 2], [2, 0]] {
        let pair = entered(&record, &pair.map(|at| &shares[at]));
        assert_eq!(record.combine(&pair).unwrap().pin().expose_secret(), pin);
    }
    assert!(record.combine(&entered(&record, &[&shares[0]])).is_err());
    assert!(record.combine(&entered(&record, &[&shares[0], &shares[0]])).is_err());
}

#[test]
fn a_wrap_key_comes_back_from_its_shares_and_a_record_says_which_of_the_two_it_is_of() {
    let (secret, record, shares) = split(&custodians(3), 2, Shared::WrapKey).unwrap();
    let again = record.combine(&entered(&record, &[&shares[2], &shares[0]])).unwrap();
    let value = |secret: &Secret| secret.wrap_value().check_value().unwrap().to_string();
    assert_eq!((value(&again), value(&secret)), (record.check_value.clone(), record.check_value.clone()));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record.json");
    std::fs::write(&path, record.to_json()).unwrap();
    assert_eq!(QuorumRecord::read_of(&path, Shared::WrapKey).unwrap(), record);
    assert!(QuorumRecord::read(&path).is_err(), "it has no PIN");
    let (_, pin, _) = split(&custodians(3), 2, Shared::Pin).unwrap();
    std::fs::write(&path, pin.to_json()).unwrap();
    assert!(QuorumRecord::read_of(&path, Shared::WrapKey).is_err(), "it has no wrap key");
}

#[test]
fn as_many_as_there_can_be_have_it_together() {
    let (secret, record, shares) = split(&custodians(CUSTODIANS_MAX), *THRESHOLD_RANGE.end(), Shared::Pin).unwrap();
    let all = entered(&record, &shares.iter().collect::<Vec<_>>());
    assert_eq!(record.combine(&all).unwrap().pin().expose_secret(), secret.pin().expose_secret());
}

#[test]
fn a_share_that_is_mistyped_or_from_another_set_is_told() {
    let (_, record, shares) = split(&custodians(3), 2, Shared::Pin).unwrap();
    let (_, other, others) = split(&custodians(3), 2, Shared::Pin).unwrap();
    assert_ne!(record.set(), other.set());
    let text = shares[0].text(&record).to_string();
    assert!(matches!(record.parse(&others[0].text(&other)), Err(ShareError::Foreign { number: 1 })));
    let renumbered = text.replacen(" 1 ", " 2 ", 1);
    assert!(matches!(record.parse(&renumbered), Err(ShareError::Foreign { number: 2 })));
    for number in ["0", "4", "99999999999999999999"] {
        assert!(record.parse(&text.replacen(" 1 ", &format!(" {number} "), 1)).is_err(), "{number}");
    }
    let mut typed: Vec<&str> = text.split(' ').collect();
    typed.swap(4, 5);
    assert!(record.parse(&typed.join(" ")).is_err() || typed[4] == typed[5]);
    for bad in ["", "1", "1 abandon", text.trim_end_matches(char::is_alphabetic)] {
        assert_eq!(record.parse(bad).err(), Some(ShareError::Misread), "{bad}");
    }
    assert_eq!(record.parse(&text.to_uppercase()).unwrap().number(), 1, "as people type");
    let short: Vec<&str> = text.split(' ').skip(2).collect();
    assert_eq!(record.parse(&short.join("  ")).unwrap().number(), 1, "number and words are enough");
}

#[test]
fn a_record_is_read_as_it_was_written_and_nothing_else_is() {
    let (_, record, _) = split(&custodians(3), 2, Shared::Pin).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record.json");
    std::fs::write(&path, record.to_json()).unwrap();
    assert_eq!(QuorumRecord::read(&path).unwrap(), record);
    let off_curve = record.commitments[0].replacen("02", "05", 1).replacen("03", "05", 1);
    for bad in [
        QuorumRecord { threshold: 3, ..record.clone() },
        QuorumRecord { custodians: custodians(1), ..record.clone() },
        QuorumRecord { commitments: vec![off_curve.clone(), off_curve], ..record.clone() },
        QuorumRecord { commitments: vec![String::new(); 2], ..record.clone() },
    ] {
        std::fs::write(&path, bad.to_json()).unwrap();
        assert!(QuorumRecord::read(&path).is_err(), "{bad:?}");
    }
}
