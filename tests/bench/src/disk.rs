//! What the disk takes: one page written and made durable, again and again.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{row::Row, times::Times};

const PAGE: [u8; 4_096] = [0x5a; 4_096];

/// Pages in the file; they are written in turns, as a write-ahead log is that begins again.
const PAGES: u64 = 256;

/// Most writes.
const WRITES_MAX: usize = 2_000;

/// Measures for at most this long.
pub(crate) fn measure(directory: &Path, time: Duration) -> Result<Row> {
    let file = File::create(directory.join("fdatasync"))?;
    (0..PAGES).try_for_each(|page| file.write_all_at(&PAGE, page * PAGE.len() as u64))?;
    file.sync_all()?;
    let (mut times, began) = (Times::default(), Instant::now());
    for page in (0..PAGES).cycle().take(WRITES_MAX) {
        if began.elapsed() >= time {
            break;
        }
        file.write_all_at(&PAGE, page * PAGE.len() as u64)?;
        let since = Instant::now();
        file.sync_data()?;
        times.0.push(since.elapsed());
    }
    Ok(times.put_into(Row::new("fdatasync of a page", None, Some(1)), began.elapsed()))
}
