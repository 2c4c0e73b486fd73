//! What is particular to a YubiHSM; what holds over every backend is in `conformance/`.

mod audited;
mod connected;
mod guarded;
mod kept;
