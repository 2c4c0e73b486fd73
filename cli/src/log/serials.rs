//! Whether a serial number was issued twice, or revoked without being issued, in memory that does not grow with the log: what does not fit goes to files
//! without names, parted so that equals meet.

use std::{
    collections::BTreeSet,
    fs::File,
    hash::{BuildHasher as _, RandomState},
    io::{self, BufReader, BufWriter, Read as _, Seek as _, Write as _},
};

use super::findings::FINDINGS_MAX;

/// Marks that are kept in memory: 24 MB.
const MARKS_MAX: usize = 1 << 20;

/// Files that they are parted into. Ten million marks make 160,000 for each.
const PARTITIONS: usize = 64;

/// Bytes of a mark and its index in a file.
const RECORD_BYTES: usize = 24;

/// What stands for issuer and serial, and the index of an entry about it, whose highest bit says that it revokes.
type Mark = (u128, u64);

/// The highest bit of an index. No log has so many entries.
const REVOKES: u64 = 1 << 63;

/// What is wrong with an entry about a serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// An earlier entry issued it.
    IssuedTwice { earlier: u64 },
    /// It revokes what no earlier entry issued.
    NeverIssued,
    /// It revokes what an earlier entry revoked.
    RevokedTwice { earlier: u64 },
}

/// What is wrong, with the entries: the first ones, sorted, and how many more there are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) first: BTreeSet<(u64, Fault)>,
    pub(crate) dropped: u64,
}

impl Faults {
    fn add(&mut self, index: u64, fault: Fault) {
        self.first.insert((index, fault));
        if self.first.len() > FINDINGS_MAX {
            self.first.pop_last();
            self.dropped += 1;
        }
    }
}

/// All certificates so far.
#[derive(Debug, Default)]
pub(crate) struct Serials {
    marks: Vec<Mark>,
    spilled: Vec<BufWriter<File>>,
    /// Says which file a mark goes to, so that nobody can make a log whose marks all go to one.
    parting: RandomState,
    /// Marks that were left out, because too many before them are the same: each is a fault.
    repeated: u64,
}

impl Serials {
    /// A certificate is revoked.
    ///
    /// # Errors
    /// When there is no room for files.
    pub(crate) fn revoke(&mut self, mark: u128, index: u64) -> io::Result<()> {
        self.add(mark, index | REVOKES)
    }

    /// A certificate is issued.
    ///
    /// # Errors
    /// When there is no room for files.
    pub(crate) fn add(&mut self, mark: u128, index: u64) -> io::Result<()> {
        if self.marks.len() == MARKS_MAX {
            self.spill()?;
        }
        self.marks.push((mark, index));
        Ok(())
    }

    /// What is wrong.
    ///
    /// # Errors
    /// When a file does not read back.
    pub(crate) fn faults(mut self) -> io::Result<Faults> {
        let mut found = Faults::default();
        if self.spilled.is_empty() {
            judge(&mut self.marks, &mut found);
        } else {
            self.spill()?;
            for file in std::mem::take(&mut self.spilled) {
                let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.rewind()?;
                judge(&mut read_back(file)?, &mut found);
            }
        }
        found.dropped += self.repeated;
        Ok(found)
    }

    fn spill(&mut self) -> io::Result<()> {
        if self.spilled.is_empty() {
            self.spilled =
                (0..PARTITIONS).map(|_| tempfile::tempfile().map(BufWriter::new)).collect::<io::Result<_>>()?;
        }
        let count = self.marks.len();
        thin(&mut self.marks);
        self.repeated += count.saturating_sub(self.marks.len()) as u64;
        for (mark, index) in self.marks.drain(..) {
            let partition = self.parting.hash_one(mark) % PARTITIONS as u64;
            let Some(file) = usize::try_from(partition).ok().and_then(|at| self.spilled.get_mut(at)) else { continue };
            file.write_all(&mark.to_be_bytes())?;
            file.write_all(&index.to_be_bytes())?;
        }
        Ok(())
    }
}

/// Keeps the first two that issue and the first two that revoke of each mark: whatever lies before them, each further one is a fault.
fn thin(marks: &mut Vec<Mark>) {
    marks.sort_unstable_by_key(|(mark, index)| (*mark, index & !REVOKES));
    let (mut last, mut counts) = (None, [0_u8; 2]);
    marks.retain(|(mark, index)| {
        if last != Some(*mark) {
            (last, counts) = (Some(*mark), [0, 0]);
        }
        let [issued, revoked] = &mut counts;
        let count = if index & REVOKES == 0 { issued } else { revoked };
        *count = count.saturating_add(1);
        *count <= 2
    });
}

fn read_back(file: File) -> io::Result<Vec<Mark>> {
    let mut file = BufReader::new(file);
    let mut marks = Vec::new();
    let mut record = [0; RECORD_BYTES];
    loop {
        match file.read_exact(&mut record) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(marks),
            Err(error) => return Err(error),
        }
        if let (Some((mark, _)), Some((_, index))) = (record.split_first_chunk(), record.split_last_chunk()) {
            marks.push((u128::from_be_bytes(*mark), u64::from_be_bytes(*index)));
        }
    }
}

fn judge(marks: &mut [Mark], found: &mut Faults) {
    marks.sort_unstable_by_key(|(mark, index)| (*mark, index & !REVOKES));
    for about in marks.chunk_by(|(before, _), (mark, _)| before == mark) {
        let (mut issued, mut revoked) = (None, None);
        for (_, index) in about {
            let (index, revokes) = (index & !REVOKES, index & REVOKES != 0);
            let fault = match (revokes, issued, revoked) {
                (false, Some(earlier), _) => Some(Fault::IssuedTwice { earlier }),
                (true, _, Some(earlier)) => Some(Fault::RevokedTwice { earlier }),
                (true, None, None) => Some(Fault::NeverIssued),
                (false, None, _) | (true, Some(_), None) => None,
            };
            if let Some(fault) = fault {
                found.add(index, fault);
            }
            let last = if revokes { &mut revoked } else { &mut issued };
            *last = Some(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_comes_twice_is_found_however_many_lie_between() {
        for count in [10_u64, 2 * MARKS_MAX as u64 + 5] {
            let mut serials = Serials::default();
            for index in 0..count {
                let mark = if index == count - 2 { 3 } else { index };
                serials.add(u128::from(mark) << 60 | u128::from(mark), index).unwrap();
            }
            assert_eq!(serials.spilled.is_empty(), count == 10);
            let faults = serials.faults().unwrap();
            assert_eq!(
                (Vec::from_iter(faults.first), faults.dropped),
                (vec![(count - 2, Fault::IssuedTwice { earlier: 3 })], 0)
            );
        }
    }

    #[test]
    fn what_was_never_issued_or_is_revoked_already_is_not_revoked() {
        let mut serials = Serials::default();
        serials.add(1, 0).unwrap();
        serials.revoke(1, 5).unwrap();
        serials.revoke(1, 9).unwrap();
        serials.revoke(2, 6).unwrap();
        serials.add(2, 7).unwrap();
        let faults = [(6, Fault::NeverIssued), (9, Fault::RevokedTwice { earlier: 5 })];
        assert_eq!(Vec::from_iter(serials.faults().unwrap().first), faults);
    }

    #[test]
    fn the_same_mark_without_end_takes_no_more_memory_and_each_one_is_counted() {
        let count = 3 * MARKS_MAX as u64;
        let mut serials = Serials::default();
        for index in 0..count {
            serials.add(7, index).unwrap();
        }
        let files: u64 = serials.spilled.iter_mut().map(|file| file.get_ref().metadata().unwrap().len()).sum();
        assert!(files <= 4 * RECORD_BYTES as u64, "{files} bytes");
        let faults = serials.faults().unwrap();
        assert_eq!(faults.first.len() as u64 + faults.dropped, count - 1);
        assert_eq!(faults.first.first(), Some(&(1, Fault::IssuedTwice { earlier: 0 })));
    }
}
