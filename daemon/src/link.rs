//! The byte-level interface between front and core, in one process.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;

/// The core in this process.
pub(crate) struct InProcess(pub(crate) Arc<hallmark_signer::Core>);

impl hallmark_front::Core for InProcess {
    fn call(&self, frame: Bytes) -> Pin<Box<dyn Future<Output = Bytes> + Send>> {
        self.0.call(frame)
    }
}

/// The core in this process, through the operators' door.
pub(crate) struct OperatorsInProcess(pub(crate) Arc<hallmark_signer::Core>);

impl hallmark_front::Core for OperatorsInProcess {
    fn call(&self, frame: Bytes) -> Pin<Box<dyn Future<Output = Bytes> + Send>> {
        self.0.operate(frame)
    }
}

/// No core at all: for looking at the front's files.
pub(crate) struct Nobody;

impl hallmark_front::Core for Nobody {
    fn call(&self, _frame: Bytes) -> Pin<Box<dyn Future<Output = Bytes> + Send>> {
        Box::pin(std::future::ready(Bytes::new()))
    }
}
