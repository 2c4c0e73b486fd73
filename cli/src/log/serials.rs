//! Whether a serial number was issued twice, in memory that does not grow with the log: what does not fit goes to files
//! without names, parted so that equals meet.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read as _, Seek as _, Write as _},
};

/// Marks that are kept in memory: 24 MB.
const MARKS_MAX: usize = 1 << 20;

/// Files that they are parted into. Ten million marks make 160,000 for each.
const PARTITIONS: usize = 64;

/// Bytes of a mark and its index in a file.
const RECORD_BYTES: usize = 24;

/// A certificate: what stands for issuer and serial, and the index of its entry.
type Mark = (u128, u64);

/// All certificates so far.
#[derive(Debug, Default)]
pub(crate) struct Serials {
    marks: Vec<Mark>,
    spilled: Vec<BufWriter<File>>,
}

impl Serials {
    /// One more.
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

    /// Entries that issue what an earlier one issued, each with that earlier one, sorted.
    ///
    /// # Errors
    /// When a file does not read back.
    pub(crate) fn twice(mut self) -> io::Result<Vec<(u64, u64)>> {
        let mut found = Vec::new();
        if self.spilled.is_empty() {
            doubles(&mut self.marks, &mut found);
        } else {
            self.spill()?;
            for file in std::mem::take(&mut self.spilled) {
                let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.rewind()?;
                doubles(&mut read_back(file)?, &mut found);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn spill(&mut self) -> io::Result<()> {
        if self.spilled.is_empty() {
            self.spilled = (0..PARTITIONS).map(|_| tempfile::tempfile().map(BufWriter::new)).collect::<io::Result<_>>()?;
        }
        for (mark, index) in self.marks.drain(..) {
            let partition = usize::try_from(mark % PARTITIONS as u128).unwrap_or(0);
            let Some(file) = self.spilled.get_mut(partition) else { continue };
            file.write_all(&mark.to_be_bytes())?;
            file.write_all(&index.to_be_bytes())?;
        }
        Ok(())
    }
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

fn doubles(marks: &mut [Mark], found: &mut Vec<(u64, u64)>) {
    marks.sort_unstable();
    for pair in marks.windows(2) {
        if let [(before, earlier), (mark, index)] = pair
            && before == mark
        {
            found.push((*index, *earlier));
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
            assert_eq!(serials.twice().unwrap(), [(count - 2, 3)]);
        }
    }
}
