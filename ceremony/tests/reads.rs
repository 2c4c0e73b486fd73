//! Whatever is read, nothing panics, and nothing but the one good form is taken.

use std::path::Path;

use hallmark_ceremony::{
    Ceremony, Task, Transcript,
    quorum::{QuorumRecord, Shared},
};
use proptest::prelude::*;

/// A file with a task of each kind in turn.
fn file(task: &str) -> String {
    format!(
        "version = 1\nceremony = \"c\"\n[policy]\nfile = \"p\"\nauthority = \"a\"\n[device]\nmodule = \"m\"\ntoken = \"t\"\n\
         serial = \"s\"\n[log]\norigin = \"o\"\ndirectory = \"l\"\n[task.{task}\n"
    )
}

const TASKS: [(&str, &str); 11] = [
    ("root", "root]\nlabel = \"k\"\ncertificate = \"c\""),
    ("intermediate", "intermediate]\nissuer = \"i\"\nrequest = \"r\"\ncertificate = \"c\""),
    (
        "cross-certificate",
        "cross-certificate]\nissuer = \"i\"\nsubject-authority = \"b\"\nsubject = \"s\"\nlifetime = \"1d\"\ncertificate = \"c\"",
    ),
    ("crl", "crl]\nissuer = \"i\"\ncrl = \"c\"\nrevoke = [{ serial = \"01ff\", reason = \"superseded\" }]"),
    ("key", "key]\nlabel = \"k\"\nkind = \"ed25519\"\npublic-key = \"p\""),
    (
        "destroy",
        "destroy]\nkey = \"pkcs11:id=00;object=k\"\nspki-sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"",
    ),
    ("log-key", "log-key]\norigin = \"x\"\nkey = \"k\"\npublic-key = \"p\""),
    (
        "quorum",
        "quorum]\nthreshold = 2\nrecord = \"r\"\ncustodian = [{ name = \"a\", share = \"1\" }, { name = \"b\", share = \"2\" }]",
    ),
    (
        "wrap-key",
        "wrap-key]\nlabel = \"k\"\nthreshold = 2\nrecord = \"r\"\ncustodian = [{ name = \"a\", share = \"1\" }, { name = \"b\", share = \"2\" }]",
    ),
    (
        "backup",
        "backup]\nkey = \"pkcs11:id=00;object=k\"\nspki-sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\nwrap-key = \"w\"\nbackup = \"b\"",
    ),
    (
        "restore",
        "restore]\nbackup = \"b\"\nbackup-sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\nkey = \"pkcs11:id=00;object=k\"\nspki-sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\nquorum = \"q\"",
    ),
];

#[test]
fn every_task_reads_and_no_two_at_once() {
    for (name, task) in TASKS {
        let read =
            Ceremony::parse(&file(task), Path::new("/d")).unwrap_or_else(|mistakes| panic!("{name}: {mistakes:?}"));
        assert_eq!(read.task.name(), name);
        assert!(read.outputs().iter().all(|(_, path)| path.starts_with("/d")), "{name}");
        let also_a_root = format!("{}\n[task.root]\nlabel = \"k\"\ncertificate = \"z\"\n", file(task));
        assert!(Ceremony::parse(&also_a_root, Path::new("/d")).is_err(), "{name}");
    }
    let Task::Crl(task) = Ceremony::parse(&file(TASKS[3].1), Path::new("/d")).unwrap().task else { unreachable!() };
    assert_eq!(task.revoke.len(), 1);
}

#[test]
fn every_setting_that_is_left_out_is_missed_but_for_the_one_that_may_be() {
    for (name, task) in TASKS {
        let whole = file(task);
        for (left_out, text) in whole.lines().enumerate() {
            let kept: Vec<&str> =
                whole.lines().enumerate().filter(|(at, _)| *at != left_out).map(|(_, text)| text).collect();
            let read = Ceremony::parse(&kept.join("\n"), Path::new("/d"));
            assert_eq!(read.is_ok(), text.starts_with("revoke"), "{name}, without `{text}`");
        }
    }
}

proptest! {
    #[test]
    fn no_file_makes_the_reader_panic(
        task in 0..TASKS.len(),
        at in any::<prop::sample::Index>(),
        noise in "[\\PC\n\"\\[\\]{}=.]{0,12}",
        cut in 0..6_usize,
    ) {
        let whole = file(TASKS[task].1);
        let at = at.index(whole.len());
        let end = (at + cut).min(whole.len());
        if let (Some(before), Some(after)) = (whole.get(..at), whole.get(end..))
            && let Err(mistakes) = Ceremony::parse(&format!("{before}{noise}{after}"), Path::new("/d"))
        {
            prop_assert!(!mistakes.is_empty());
        }
    }

    #[test]
    fn no_share_makes_the_reader_panic(text in "\\PC{0,300}") {
        let record = QuorumRecord {
            version: 1,
            threshold: 2,
            custodians: vec!["a".to_owned(), "b".to_owned()],
            commitments: vec!["02".repeat(33), text.clone()],
            shared: Shared::Pin,
            check_value: String::new(),
        };
        prop_assert!(record.parse(&text).is_err());
    }

    #[test]
    fn no_transcript_makes_the_reader_panic(text in "[{}\\[\\]\":,a-z0-9-]{0,200}") {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("transcript");
        std::fs::write(&path, &text).unwrap();
        prop_assert!(Transcript::read(&path).is_err());
    }
}
