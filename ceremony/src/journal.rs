//! The journal of one ceremony: what was chosen before anything was made, so that an interrupted run makes the same again.
//!
//! One line of JSON each, durable before what it speaks of. What was made stands in the log; the journal says what to look for there.

use std::path::{Path, PathBuf};

use hallmark_policy::{content::Serial, hex, key::KeyKind, time::UnixTime};
use serde::{Deserialize, Serialize};

use crate::{digest, error::CeremonyError, meaning::Ceremony, output};

/// What is remembered of a ceremony.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    begun: Begun,
    touching: bool,
    ending: Option<KeyKind>,
    ended: Option<u64>,
    sharing: bool,
    written: Option<String>,
    finished: Option<String>,
    runs: u64,
}

/// What was chosen when it began.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Begun {
    ceremony: String,
    file_sha256: String,
    /// The moment for which it decides, in seconds since 1970.
    now: i64,
    serial: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Begun(Begun),
    Again {
        at: i64,
    },
    /// The key under the file's label is about to be made or destroyed: nothing else had the label, or it was that key.
    Touching,
    /// The key that is about to be destroyed was there, and is of this kind.
    Ending {
        kind: String,
    },
    /// Its end stands in the log.
    Ended {
        log_index: u64,
    },
    /// Shares of a new PIN are about to be written where nothing was.
    Sharing,
    /// The transcript is written aside, and about to be logged.
    Written {
        transcript_sha256: String,
    },
    Finished {
        transcript_sha256: String,
    },
}

impl Journal {
    /// What is remembered of a ceremony of that name; nothing if it was never begun.
    pub(crate) fn read(ceremony: &Ceremony) -> Result<Option<Self>, CeremonyError> {
        let path = path(ceremony);
        if !path.exists() {
            return Ok(None);
        }
        let damaged = |sentence: &str| CeremonyError::Journal { path: path.clone(), sentence: sentence.to_owned() };
        let text = output::read(&path)?;
        let mut journal = None;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            // A line that has no end was never promised.
            let Some(line) = line.strip_suffix(b"\n") else { continue };
            match (serde_json::from_slice(line), &mut journal) {
                (Ok(Line::Begun(begun)), None) => {
                    journal = Some(Self::new(path.clone(), begun));
                }
                (Ok(Line::Again { .. }), Some(journal)) => journal.runs += 1,
                (Ok(Line::Touching), Some(journal)) => journal.touching = true,
                (Ok(Line::Ending { kind }), Some(journal)) => {
                    let kind = KeyKind::from_name(&kind).ok_or_else(|| damaged("a line is not one of ours"))?;
                    (journal.ending, journal.ended) = (Some(kind), None);
                }
                (Ok(Line::Ended { log_index }), Some(journal)) => journal.ended = Some(log_index),
                (Ok(Line::Sharing), Some(journal)) => journal.sharing = true,
                (Ok(Line::Written { transcript_sha256 }), Some(journal)) => journal.written = Some(transcript_sha256),
                (Ok(Line::Finished { transcript_sha256 }), Some(journal)) => journal.finished = Some(transcript_sha256),
                (Ok(_), _) => return Err(damaged("its lines are out of order")),
                (Err(_), _) => return Err(damaged("a line is not one of ours")),
            }
        }
        let Some(journal) = journal else { return Ok(None) };
        if journal.begun.file_sha256 != hex(&ceremony.sha256) {
            let (ceremony, sha256) = (ceremony.name.clone(), journal.begun.file_sha256);
            return Err(CeremonyError::OtherFile { ceremony, sha256 });
        }
        if let Some(transcript_sha256) = journal.finished {
            return Err(CeremonyError::Finished { ceremony: ceremony.name.clone(), transcript_sha256 });
        }
        Ok(Some(journal))
    }

    /// Begins, or goes on with what was begun.
    pub(crate) fn begin(
        ceremony: &Ceremony,
        now: UnixTime,
        draw: impl FnOnce() -> Result<Serial, CeremonyError>,
    ) -> Result<Self, CeremonyError> {
        if let Some(mut journal) = Self::read(ceremony)? {
            journal.write(&Line::Again { at: now.secs() })?;
            journal.runs += 1;
            return Ok(journal);
        }
        let begun = Begun {
            ceremony: ceremony.name.clone(),
            file_sha256: hex(&ceremony.sha256),
            now: now.secs(),
            serial: hex(draw()?.as_bytes()),
        };
        output::directory(&journals(&ceremony.log.directory))?;
        let journal = Self::new(path(ceremony), begun.clone());
        journal.write(&Line::Begun(begun))?;
        Ok(journal)
    }

    fn new(path: PathBuf, begun: Begun) -> Self {
        let (touching, sharing) = (false, false);
        Self { path, begun, touching, ending: None, ended: None, sharing, written: None, finished: None, runs: 1 }
    }

    /// Remembers that the key of the file is about to be made or destroyed.
    pub(crate) fn touch(&mut self) -> Result<(), CeremonyError> {
        if !self.touching {
            self.write(&Line::Touching)?;
            self.touching = true;
        }
        Ok(())
    }

    /// Remembers that the key of the file was there and is about to be destroyed, so that a run that finds it gone knows what has ended.
    pub(crate) fn end(&mut self, kind: KeyKind) -> Result<(), CeremonyError> {
        self.write(&Line::Ending { kind: kind.name().to_owned() })?;
        (self.ending, self.ended) = (Some(kind), None);
        Ok(())
    }

    /// The kind of the key that this run or an earlier one was about to destroy, and had seen.
    pub(crate) fn ending(&self) -> Option<KeyKind> {
        self.ending
    }

    /// Remembers that the end of the key stands in the log.
    pub(crate) fn end_is_logged(&mut self, log_index: u64) -> Result<(), CeremonyError> {
        self.write(&Line::Ended { log_index })?;
        self.ended = Some(log_index);
        Ok(())
    }

    /// Where the end of the key stands in the log, if it does.
    pub(crate) fn end_in_log(&self) -> Option<u64> {
        self.ended
    }

    /// Remembers that shares of a new PIN are about to be written.
    pub(crate) fn share(&mut self) -> Result<(), CeremonyError> {
        if !self.sharing {
            self.write(&Line::Sharing)?;
            self.sharing = true;
        }
        Ok(())
    }

    /// Whether an earlier run was about to write shares.
    pub(crate) fn is_sharing(&self) -> bool {
        self.sharing
    }

    /// Whether an earlier run was about to make or destroy the key.
    pub(crate) fn is_touching(&self) -> bool {
        self.touching
    }

    /// Puts the transcript aside, before the log speaks of it. One that an earlier run put there stays, and comes back.
    pub(crate) fn put_aside(&mut self, transcript: Vec<u8>) -> Result<Vec<u8>, CeremonyError> {
        let aside = self.path.with_extension("transcript");
        if let Some(written) = &self.written
            && let Ok(there) = output::read(&aside)
            && hex(&digest::sha256(&there)) == *written
        {
            return Ok(there);
        }
        output::replace(&aside, &transcript)?;
        let transcript_sha256 = hex(&digest::sha256(&transcript));
        self.write(&Line::Written { transcript_sha256: transcript_sha256.clone() })?;
        self.written = Some(transcript_sha256);
        Ok(transcript)
    }

    /// Remembers that it is done.
    pub(crate) fn finish(&mut self, transcript_sha256: &[u8; 32]) -> Result<(), CeremonyError> {
        let transcript_sha256 = hex(transcript_sha256);
        self.write(&Line::Finished { transcript_sha256: transcript_sha256.clone() })?;
        self.finished = Some(transcript_sha256);
        Ok(())
    }

    /// The moment for which it decides.
    pub(crate) fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.begun.now)
    }

    /// The serial number that was drawn.
    pub(crate) fn serial(&self) -> Result<Serial, CeremonyError> {
        let serial = digest::from_hex(&self.begun.serial).and_then(|bytes| Serial::from_stored(&bytes));
        let sentence = "its serial number is none".to_owned();
        serial.ok_or_else(|| CeremonyError::Journal { path: self.path.clone(), sentence })
    }

    /// How often it was run, this time included.
    pub(crate) fn runs(&self) -> u64 {
        self.runs
    }

    fn write(&self, line: &Line) -> Result<(), CeremonyError> {
        let text =
            serde_json::to_string(line).map_err(|error| CeremonyError::Defect { sentence: error.to_string() })?;
        output::append(&self.path, &format!("{text}\n"))
    }
}

fn path(ceremony: &Ceremony) -> PathBuf {
    journals(&ceremony.log.directory).join(format!("{}.journal", ceremony.name))
}

/// Where the journals of a log are.
pub(crate) fn journals(log: &Path) -> PathBuf {
    log.join("journals")
}
