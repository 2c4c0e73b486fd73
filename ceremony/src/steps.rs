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

const fn step(name: &'static str, sentence: &'static str) -> Step {
    Step { name, sentence, irreversible: false }
}

const fn final_step(name: &'static str, sentence: &'static str) -> Step {
    Step { name, sentence, irreversible: true }
}

pub(crate) const VALIDATE: Step =
    step("validate", "read the file, the policy and everything that they name, and check it");
pub(crate) const REHEARSE: Step =
    step("rehearse", "do all of it on a token that is thrown away, and note down what comes out");
const LOG: Step = step("log", "open the log of ceremonies, and write into it that this one begins");
const DEVICE: Step = step("device", "log in to the token, and check that it is the one in the file");
const GENERATE: Step = final_step("generate", "make the key in the token");
const GENERATE_DESTROYABLE: Step = step("generate", "make the key in the token");
const READ_BACK: Step = step("read-back", "read from the token what guards the key, and check it");
const OPEN_KEY: Step =
    step("open-key", "find the root's key in the token, and check that it is that key and what guards it");
const REVOKE: Step = final_step("revoke", "write into the log what is revoked");
const BUILD: Step = step("build", "have the policy decide, and write what is to be signed");
const ENDORSE: Step =
    step("endorse", "read with another library what is to be signed, and compare it with the decision");
const COMMIT: Step = step("commit", "write the decision into the log of ceremonies");
const SIGN: Step = final_step("sign", "sign it with the key in the token");
const VERIFY: Step = step("verify", "verify what was signed, as those will who get it");
const WRITE: Step = step("write", "write the files");
const DIGESTS: Step = step("digests", "compare the digests, read aloud");
const TRANSCRIPT: Step = step("transcript", "write the transcript, and its digest into the log");
const DESTROY: Step = final_step("destroy", "destroy the key in the token");
const SPLIT: Step = step("split", "draw a new PIN, split it, and check every share");
const CHANGE_PIN: Step = final_step("change-pin", "give the token the new PIN, and log in with it");
const DRAW: Step = step("draw", "draw the key from the system's random numbers");

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
