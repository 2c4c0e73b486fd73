//! The byte-level interface between front and core: in one process, and as the core's door has it.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use hallmark_front::Patience;
use hallmark_proto::link::{CaKey, CoreState, FrontCounts};
use hallmark_signer::{Core, FrontDoor};
use tokio::sync::watch;

use crate::{
    door::Answers,
    health::{self, Whose},
};

/// The core in this process.
pub(crate) struct InProcess(pub(crate) Arc<Core>);

impl hallmark_front::Core for InProcess {
    fn call(&self, frame: Bytes, _patience: Patience) -> Pin<Box<dyn Future<Output = Bytes> + Send>> {
        self.0.call(frame)
    }
}

/// The core in this process, through the operators' door.
pub(crate) struct OperatorsInProcess(pub(crate) Arc<Core>);

impl hallmark_front::Core for OperatorsInProcess {
    fn call(&self, frame: Bytes, _patience: Patience) -> Pin<Box<dyn Future<Output = Bytes> + Send>> {
        self.0.operate(frame)
    }
}

/// No core at all: for looking at the front's files.
pub(crate) struct Nobody;

impl hallmark_front::Core for Nobody {
    fn call(&self, _frame: Bytes, _patience: Patience) -> Pin<Box<dyn Future<Output = Bytes> + Send>> {
        Box::pin(std::future::ready(Bytes::new()))
    }
}

/// The core behind the callers' door.
pub(crate) struct ForCallers {
    pub(crate) core: Arc<Core>,
    /// Whether it can do its work.
    pub(crate) serving: watch::Receiver<bool>,
}

/// The core behind the operators' door.
pub(crate) struct ForOperators {
    pub(crate) core: Arc<Core>,
    /// Whether it can do its work.
    pub(crate) serving: watch::Receiver<bool>,
}

impl Answers for ForCallers {
    fn call(&self, frame: Bytes) -> Pin<Box<dyn Future<Output = Bytes> + Send>> {
        self.core.call(frame)
    }

    fn unsent(&self) {
        self.core.answer_was_unsent();
    }

    fn counted(&self, counts: FrontCounts) {
        self.core.front_counted(FrontDoor::Callers, counts);
    }

    fn state(&self, with_keys: bool) -> CoreState {
        let callers_signed_here = self.core.callers_signed_here().to_vec();
        CoreState { callers_signed_here, ..state(&self.core, &self.serving, Whose::Callers, with_keys) }
    }
}

impl Answers for ForOperators {
    fn call(&self, frame: Bytes) -> Pin<Box<dyn Future<Output = Bytes> + Send>> {
        self.core.operate(frame)
    }

    fn unsent(&self) {
        self.core.answer_was_unsent();
    }

    fn counted(&self, counts: FrontCounts) {
        self.core.front_counted(FrontDoor::Operators, counts);
    }

    /// Nobody is an operator through an authority that is signed here.
    fn state(&self, with_keys: bool) -> CoreState {
        state(&self.core, &self.serving, Whose::Operators, with_keys)
    }
}

/// Without its keys, a core is none whose callers can be told from its own certificates: then it does not serve.
fn state(core: &Core, able: &watch::Receiver<bool>, whose: Whose, with_keys: bool) -> CoreState {
    let able = *able.borrow();
    let state = health::state(core, able, whose);
    if !with_keys {
        return state;
    }
    match core.ca_keys() {
        Ok(keys) => {
            let ca_keys = keys.into_iter().map(|(authority, _, spki)| CaKey { authority, spki: spki.into() }).collect();
            CoreState { ca_keys, keys_known: true, ..state }
        }
        Err(error) => {
            tracing::error!(%error, "the CA keys cannot be read from the ledger");
            CoreState::default()
        }
    }
}
