//! Audits: whatever was done to a published log is found, and named.

use std::collections::BTreeMap;

use crate::world::{Files, ORIGIN, Stored, entry, log_key};
use hallmark_tlog::{
    audit::{AuditError, Auditor, FINDINGS_MAX, Finding, Progress, Visitor},
    bundle::BundleError,
    checkpoint::Checkpoint,
    hash::Hash,
    tile::TilePath,
};
use proptest::prelude::*;

fn path(text: &str) -> TilePath {
    TilePath::parse(text).unwrap()
}

fn sentences(files: &Files) -> Vec<String> {
    files.audit().findings.iter().map(ToString::to_string).collect()
}

#[derive(Default)]
struct Seen {
    entries: BTreeMap<u64, Vec<u8>>,
    progress: Vec<Progress>,
}

impl Visitor for Seen {
    fn entry(&mut self, index: u64, bytes: &[u8]) {
        self.entries.insert(index, bytes.to_vec());
    }

    fn progress(&mut self, progress: Progress) {
        self.progress.push(progress);
    }
}

#[test]
fn untouched_logs_of_many_sizes_are_clean() {
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 700] {
        let report = Files::published(size).audit();
        assert_eq!(report.findings, [], "size {size}");
        assert!(report.is_clean());
        assert_eq!((report.origin.as_str(), report.size), (ORIGIN, size));
        assert_eq!(report.bundles, size.div_ceil(256));
        assert_eq!(report.tiles, size.div_ceil(256) + u64::from(size >= 256));
        assert_eq!(report.root, Stored::first(size).root());
        assert_eq!(report.entries_bytes, (0..size).map(|index| entry(index).len() as u64).sum::<u64>());
    }
}

#[test]
fn a_log_with_three_stored_levels_is_clean_and_its_top_tile_is_compared() {
    let mut files = Files::from_entries((0..65_800_u32).map(|index| index.to_be_bytes().to_vec()).collect());
    assert_eq!(files.audit().findings, []);
    for top in ["tile/1/000", "tile/1/001.p/1", "tile/2/000.p/1"] {
        files.file(top)[3] ^= 1;
    }
    let report = files.audit();
    let (last_covered, tile) =
        (65_535, |path, first_entry, last_entry| Finding::TileDiffers { path, position: 0, first_entry, last_entry });
    let expected = [
        tile(path("tile/1/000"), 0, 255),
        tile(path("tile/1/001.p/1"), 65_536, 65_791),
        tile(path("tile/2/000.p/1"), 0, last_covered),
    ];
    assert_eq!(report.findings, expected);
}

#[test]
fn the_visitor_sees_every_entry_in_order_and_how_far_it_is() {
    let mut seen = Seen::default();
    let report = Files::published(300).try_audit(&mut seen).unwrap();
    assert_eq!(seen.entries, (0..300).map(|index| (index, entry(index))).collect());
    let [first, last] = seen.progress.as_slice() else { panic!("there are two bundles") };
    assert_eq!((first.entries, first.size), (256, 300));
    assert_eq!(*last, Progress { entries: 300, size: 300, entries_bytes: report.entries_bytes });
}

#[test]
fn a_flipped_bit_in_any_byte_of_any_file_is_found() {
    let untouched = Files::published(260);
    for name in untouched.0.keys() {
        let mut files = untouched.clone();
        // Every byte of the small files, and every seventh of the two that have thousands.
        let step = if untouched.0[name].len() > 1_000 { 7 } else { 1 };
        for at in (0..untouched.0[name].len()).step_by(step) {
            files.file(name)[at] ^= 1 << (at % 8);
            let found = files.try_audit(&mut ()).map(|report| report.is_clean());
            assert!(!matches!(found, Ok(true)), "byte {at} of `{name}`");
            files.file(name)[at] ^= 1 << (at % 8);
        }
        assert_eq!(files.audit().findings, []);
    }
}

proptest! {
    #[test]
    fn any_one_byte_change_of_any_file_is_found(
        size in 1_u64..300, which: prop::sample::Index, at: prop::sample::Index, byte: u8, how in 0..3,
    ) {
        let mut files = Files::published(size);
        let name = which.get(&files.0.keys().cloned().collect::<Vec<_>>()).clone();
        let before = files.0[&name].clone();
        let file = files.file(&name);
        let at = at.index(file.len());
        match how {
            0 => file[at] = byte,
            1 => file.insert(at, byte),
            _ => drop(file.remove(at)),
        }
        let unchanged = *file == before;
        let clean = matches!(files.try_audit(&mut ()), Ok(report) if report.is_clean());
        prop_assert_eq!(clean, unchanged);
    }
}

#[test]
fn an_altered_entry_is_named_and_the_root_says_that_it_was_the_entry() {
    let mut files = Files::published(300);
    let bundle = path("tile/entries/000");
    let at = 2 + entry(0).len() + 2;
    files.file("tile/entries/000")[at] = b'E';
    let tile = path("tile/0/000");
    let finding = Finding::EntryDiffers { bundle, tile, entry: 1, altered: Some(bundle) };
    assert_eq!(files.audit().findings, [finding]);
    assert_eq!(
        sentences(&files),
        ["entry 1 in `tile/entries/000` does not have the hash in `tile/0/000`; by the signed root \
          `tile/entries/000` was altered"]
    );
}

#[test]
fn an_altered_leaf_hash_is_named_and_the_root_says_that_it_was_the_tile() {
    let mut files = Files::published(300);
    files.file("tile/0/001.p/44")[32 * 43] ^= 1;
    let (bundle, tile) = (path("tile/entries/001.p/44"), path("tile/0/001.p/44"));
    assert_eq!(files.audit().findings, [Finding::EntryDiffers { bundle, tile, entry: 299, altered: Some(tile) }]);
}

#[test]
fn an_entry_altered_together_with_its_hashes_still_has_another_root() {
    let mut files = Files::published(3);
    let mut entries: Vec<_> = (0..3).map(entry).collect();
    entries[1] = b"something else".to_vec();
    let altered = Files::from_entries(entries);
    for name in ["tile/entries/000.p/3", "tile/0/000.p/3"] {
        files.0.insert(name.to_string(), altered.0[name].clone());
    }
    let report = files.audit();
    let computed = altered.audit().root;
    assert_eq!(report.findings, [Finding::RootDiffers { size: 3, signed: report.root, computed }]);
}

#[test]
fn a_missing_file_of_each_kind_is_named_with_its_entries() {
    let cases = [("tile/entries/001.p/44", 256, 299), ("tile/0/000", 0, 255), ("tile/1/000.p/1", 0, 255)];
    for (name, first_entry, last_entry) in cases {
        let mut files = Files::published(300);
        files.0.remove(name);
        assert_eq!(files.audit().findings, [Finding::Missing { path: path(name), first_entry, last_entry }]);
    }
}

#[test]
fn without_entries_and_hashes_no_root_is_claimed() {
    let mut files = Files::published(600);
    files.0.remove("tile/entries/001");
    files.0.remove("tile/0/001");
    let findings = files.audit().findings;
    assert_eq!(findings.len(), 3);
    assert_eq!(findings[2], Finding::RootUnknown { first_entry: 256 });
}

#[test]
fn a_bundle_that_was_cut_off_is_named_with_the_entry() {
    let mut files = Files::published(5);
    let bundle = files.file("tile/entries/000.p/5");
    bundle.pop();
    let (bundle, reason) = (path("tile/entries/000.p/5"), BundleError::Truncated { position: 4 });
    assert_eq!(files.audit().findings, [Finding::BundleMalformed { path: bundle, entry: 4, reason }]);
    let short = files.file("tile/entries/000.p/5");
    short.truncate(2 + entry(0).len());
    let (first_entry, wanted, found) = (0, 5, 1);
    assert_eq!(files.audit().findings, [Finding::EntryCount { path: bundle, first_entry, wanted, found }]);
}

#[test]
fn a_hash_tile_of_the_wrong_length_is_named() {
    let mut files = Files::published(260);
    let path_text = "tile/0/001.p/4";
    files.file(path_text).push(0);
    let (first_entry, wanted, found) = (256, 128, 129);
    assert_eq!(files.audit().findings, [Finding::TileLength { path: path(path_text), first_entry, wanted, found }]);
    files.file(path_text).truncate(96);
    let found = 96;
    assert_eq!(files.audit().findings, [Finding::TileLength { path: path(path_text), first_entry, wanted, found }]);
}

#[test]
fn a_full_file_stands_in_for_a_partial_one_that_is_gone() {
    let mut files = Files::published(300);
    let later = Files::published(520);
    for (partial, full) in [("tile/0/001.p/44", "tile/0/001"), ("tile/entries/001.p/44", "tile/entries/001")] {
        files.0.remove(partial);
        files.0.insert(full.to_string(), later.0[full].clone());
    }
    let mut seen = Seen::default();
    let report = files.try_audit(&mut seen).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(seen.entries.len(), 300, "entries beyond the signed size are not shown");
    files.file("tile/0/001")[0] ^= 1;
    assert_eq!(files.audit().findings.len(), 1);
}

#[test]
fn a_log_without_a_valid_head_is_not_audited() {
    let mut files = Files::published(3);
    let head = files.0.remove("checkpoint").unwrap();
    assert!(matches!(files.try_audit(&mut ()), Err(AuditError::NoCheckpoint)));
    let larger = String::from_utf8(head).unwrap().replace("\n3\n", "\n2\n");
    files.0.insert("checkpoint".to_string(), larger.into_bytes());
    assert!(matches!(files.try_audit(&mut ()), Err(AuditError::Checkpoint(_))));
}

#[test]
fn a_log_must_continue_its_anchors() {
    let audit = |files: &Files, anchor: Checkpoint| {
        let keys = [log_key().verifier().clone()];
        Auditor::new(&keys).with_anchor(anchor).audit(files, &mut ()).unwrap().findings
    };
    let files = Files::published(300);
    for size in [0, 1, 255, 256, 257, 299, 300] {
        let anchor = Checkpoint::new(ORIGIN, size, Stored::first(size).root()).unwrap();
        assert_eq!(audit(&files, anchor), [], "anchor of {size}");
    }
    let later = Checkpoint::new(ORIGIN, 301, Stored::first(301).root()).unwrap();
    assert_eq!(audit(&files, later), [Finding::ShorterThanAnchor { size: 300, anchor_size: 301 }]);
    let rewritten = Checkpoint::new(ORIGIN, 20, Hash::of_leaf(b"other")).unwrap();
    assert_eq!(audit(&files, rewritten), [Finding::AnchorDiffers { anchor_size: 20 }]);
    let other = Checkpoint::new("example.com/other", 20, Stored::first(20).root()).unwrap();
    let (anchor, origin) = ("example.com/other".to_string(), ORIGIN.to_string());
    assert_eq!(audit(&files, other), [Finding::AnchorOfAnotherLog { anchor, origin }]);
}

#[test]
fn a_thoroughly_broken_log_does_not_fill_the_memory() {
    const SIZE: u64 = 1_200;
    let mut files = Files::published(SIZE);
    let of_others = Files::from_entries((0..SIZE).map(|index| index.to_be_bytes().to_vec()).collect());
    for (name, bytes) in of_others.0.iter().filter(|(name, _)| name.starts_with("tile/entries/")) {
        files.0.insert(name.clone(), bytes.clone());
    }
    let report = files.audit();
    assert_eq!((report.findings.len(), report.findings_dropped), (FINDINGS_MAX, SIZE - FINDINGS_MAX as u64));
}

#[test]
fn a_log_that_claims_entries_without_end_and_has_none_is_given_up() {
    let mut files = Files::default();
    let head = Checkpoint::new(ORIGIN, 1 << 62, Hash::of_leaf(b"anything")).unwrap().sign(&log_key()).unwrap();
    files.0.insert("checkpoint".to_owned(), head.to_string().into_bytes());
    let report = files.audit();
    assert_eq!(report.findings.len(), FINDINGS_MAX);
    assert_eq!(report.ended_before, Some(500 * 256), "two files are missing for each bundle");
}
