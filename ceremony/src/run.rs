//! A run: the steps one after another, each announced, confirmed, written down, and compared with what was rehearsed.

use hallmark_ledger::CeremonyAction;
use hallmark_policy::hex;

use crate::{
    book::{self, Book},
    device::Device,
    error::CeremonyError,
    facts::{Done, Fact},
    journal::Journal,
    meaning::Ceremony,
    people::{Confirmation, People},
    rehearse::Foretold,
    steps::{Step, steps},
    transcript::Artefact,
};

/// What is under way.
pub(crate) struct Run<'a> {
    pub(crate) ceremony: &'a Ceremony,
    pub(crate) people: &'a mut dyn People,
    /// What was rehearsed; none while it is being rehearsed.
    pub(crate) foretold: Option<&'a Foretold>,
    pub(crate) done: Vec<Done>,
    pub(crate) confirmations: Vec<Confirmation>,
    pub(crate) artefacts: Vec<Artefact>,
    /// Indices of the entries of this run in the log.
    pub(crate) entries: Vec<u64>,
    at: usize,
}

/// What a run has open once it touches the world.
pub(crate) struct Open {
    pub(crate) book: Book,
    pub(crate) journal: Journal,
    pub(crate) device: Option<Device>,
    /// The token has the PIN of the quorum already, from a run that was interrupted.
    pub(crate) pin_is_changed: bool,
}

impl Open {
    pub(crate) fn device(&self) -> Result<&Device, CeremonyError> {
        self.device.as_ref().ok_or_else(|| CeremonyError::Defect { sentence: "no device is open".to_owned() })
    }
}

impl<'a> Run<'a> {
    /// Begins at a step: those before it are done by somebody else.
    pub(crate) fn new(
        ceremony: &'a Ceremony,
        people: &'a mut dyn People,
        foretold: Option<&'a Foretold>,
        first: &str,
    ) -> Self {
        let at = steps(&ceremony.task).iter().position(|step| step.name == first).unwrap_or(0);
        Self {
            ceremony,
            people,
            foretold,
            done: Vec::new(),
            confirmations: Vec::new(),
            artefacts: Vec::new(),
            entries: Vec::new(),
            at,
        }
    }

    /// Announces the next step, and waits until everybody lets it be done. `open`: where it is written down.
    pub(crate) async fn begin(&mut self, name: &str, open: Option<&Open>) -> Result<(), CeremonyError> {
        let all = steps(&self.ceremony.task);
        let step = self.step(name)?;
        let book = open.map(|open| &open.book);
        let confirmed = match self.people.before(&step, self.at + 1, all.len()) {
            Ok(confirmed) => confirmed,
            Err(error) => return Err(self.stopped(book, &step, error).await),
        };
        if let (Some(book), false) = (book, confirmed.is_empty()) {
            let by = confirmed.iter().map(|confirmation| confirmation.by.clone()).collect();
            let logged = book.say(CeremonyAction::Confirmed { step: step.name.to_owned(), by }).await?;
            self.entries.push(logged.index);
        }
        self.confirmations.extend(confirmed);
        Ok(())
    }

    /// Notes down what the step that was begun came to, and compares it with the rehearsal.
    pub(crate) async fn done(&mut self, facts: Vec<Fact>, open: Option<&Open>) -> Result<(), CeremonyError> {
        let all = steps(&self.ceremony.task);
        let Some(step) = all.get(self.at).copied() else { return Err(defect("there are no more steps")) };
        self.at += 1;
        self.people.after(&step, &facts);
        if let Some(sentence) = self.foretold.and_then(|foretold| foretold.difference(step.name, &facts)) {
            let error = CeremonyError::Differs { step: step.name.to_owned(), sentence };
            return Err(self.stopped(open.map(|open| &open.book), &step, error).await);
        }
        self.done.push(Done { step: step.name.to_owned(), at: book::now().0, facts });
        Ok(())
    }

    /// Writes down why it stops, where that can be; the reason itself counts.
    pub(crate) async fn stopped(&mut self, book: Option<&Book>, step: &Step, error: CeremonyError) -> CeremonyError {
        if let Some(book) = book {
            let action = CeremonyAction::Stopped { step: step.name.to_owned(), sentence: error.to_string() };
            match book.say(action).await {
                Ok(logged) => self.entries.push(logged.index),
                Err(failed) => tracing::error!(error = %failed, "that the ceremony stopped could not be logged"),
            }
        }
        error
    }

    /// The step that is under way.
    pub(crate) fn current(&self) -> Option<Step> {
        steps(&self.ceremony.task).get(self.at).copied()
    }

    fn step(&self, name: &str) -> Result<Step, CeremonyError> {
        match self.current() {
            Some(step) if step.name == name => Ok(step),
            Some(_) | None => Err(defect(&format!("step `{name}` is not the next one"))),
        }
    }
}

pub(crate) fn defect(sentence: &str) -> CeremonyError {
    CeremonyError::Defect { sentence: sentence.to_owned() }
}

/// A digest as a fact.
pub(crate) fn digest_fact(name: &str, digest: &[u8; 32]) -> Fact {
    Fact::varies(name, hex(digest))
}
