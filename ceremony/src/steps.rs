//! Which steps a ceremony has, in their order.

use crate::meaning::{KeyTask, Task};

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name, as `--json` and the transcript have it.
    pub name: &'static str,
    /// What happens in it, as a sentence without a full stop.
    pub sentence: &'static str,
    /// Whether it cannot be taken back.
    pub irreversible: bool,
}

/// The steps that there are: name, sentence, and whether it cannot be taken back.
macro_rules! known {
    ($($step:ident: $name:literal, $sentence:literal, $irreversible:literal;)+) => {
        $(const $step: Step = Step { name: $name, sentence: $sentence, irreversible: $irreversible };)+
    };
}

known! {
    VALIDATE: "validate", "read the file, the policy and everything that they name, and check it", false;
    REHEARSE: "rehearse", "do all of it on a token that is thrown away, and note down what comes out", false;
    LOG: "log", "open the log of ceremonies, and write into it that this one begins", false;
    DEVICE: "device", "log in to the token, and check that it is the one in the file", false;
    GENERATE: "generate", "make the key in the token", true;
    GENERATE_DESTROYABLE: "generate", "make the key in the token", false;
    READ_BACK: "read-back", "read from the token what guards the key, and check it", false;
    OPEN_KEY: "open-key", "find the root's key in the token, and check that it is that key and what guards it", false;
    REVOKE: "revoke", "write into the log what is revoked", true;
    BUILD: "build", "have the policy decide, and write what is to be signed", false;
    ENDORSE: "endorse", "read with another library what is to be signed, and compare it with the decision", false;
    COMMIT: "commit", "write the decision into the log of ceremonies", false;
    SIGN: "sign", "sign it with the key in the token", true;
    VERIFY: "verify", "verify what was signed, as those will who get it", false;
    WRITE: "write", "write the files", false;
    DIGESTS: "digests", "compare the digests, read aloud", false;
    TRANSCRIPT: "transcript", "write the transcript, and its digest into the log", false;
    DESTROY: "destroy", "destroy the key in the token", true;
    SPLIT: "split", "draw a new PIN, split it, and check every share", false;
    CHANGE_PIN: "change-pin", "give the token the new PIN, and log in with it", true;
    DRAW: "draw", "draw the key from the system's random numbers", false;
}

/// The steps of a task, in their order.
#[must_use]
pub fn steps(task: &Task) -> &'static [Step] {
    match task {
        Task::Root(_) => &[
            VALIDATE, REHEARSE, LOG, DEVICE, GENERATE, READ_BACK, BUILD, ENDORSE, COMMIT, SIGN, VERIFY, WRITE, DIGESTS,
            TRANSCRIPT,
        ],
        Task::Intermediate(_) | Task::CrossCertificate(_) => &[
            VALIDATE, REHEARSE, LOG, DEVICE, OPEN_KEY, BUILD, ENDORSE, COMMIT, SIGN, VERIFY, WRITE, DIGESTS, TRANSCRIPT,
        ],
        Task::Crl(_) => &[
            VALIDATE, REHEARSE, LOG, DEVICE, OPEN_KEY, REVOKE, BUILD, ENDORSE, COMMIT, SIGN, VERIFY, WRITE, DIGESTS,
            TRANSCRIPT,
        ],
        Task::Key(KeyTask { destroyable: false, .. }) => {
            &[VALIDATE, REHEARSE, LOG, DEVICE, GENERATE, READ_BACK, WRITE, DIGESTS, TRANSCRIPT]
        }
        Task::Key(KeyTask { destroyable: true, .. }) => {
            &[VALIDATE, REHEARSE, LOG, DEVICE, GENERATE_DESTROYABLE, READ_BACK, WRITE, DIGESTS, TRANSCRIPT]
        }
        Task::Destroy(_) => &[VALIDATE, REHEARSE, LOG, DEVICE, READ_BACK, DESTROY, DIGESTS, TRANSCRIPT],
        Task::Quorum(_) => &[VALIDATE, REHEARSE, LOG, DEVICE, SPLIT, WRITE, CHANGE_PIN, DIGESTS, TRANSCRIPT],
        Task::LogKey(_) => &[VALIDATE, REHEARSE, LOG, DRAW, WRITE, DIGESTS, TRANSCRIPT],
    }
}
