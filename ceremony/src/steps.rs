//! Which steps a ceremony has, in their order.

use crate::meaning::{KeyTask, Task, WrapKeyTask, WrapKeyValue};

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
    SPLIT_WRAP_KEY: "split", "draw a wrap key, split it, and check every share", false;
    BRING_IN: "bring-in", "bring the wrap key into the token", false;
    READ_BACK_WRAPPABLE: "read-back", "find the key in the token, and check that it was made to be wrapped", false;
    WRAP: "wrap", "write into the log that the key leaves the token in wrapped form, and wrap it", true;
    RESTORE: "restore", "write into the log that the key is about to come out of its wrapping, and bring it into the token", true;
    PROVE: "sign", "have the restored key prove itself: sign a request that asks for nothing", false;
    VERIFY_PROOF: "verify", "verify the proof under the public key of the backup", false;
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
        Task::WrapKey(WrapKeyTask { value: WrapKeyValue::Quorum { .. }, .. }) => {
            &[VALIDATE, REHEARSE, LOG, DEVICE, BRING_IN, READ_BACK, DIGESTS, TRANSCRIPT]
        }
        Task::WrapKey(WrapKeyTask { value: WrapKeyValue::Split { .. }, .. }) => {
            &[VALIDATE, REHEARSE, LOG, DEVICE, SPLIT_WRAP_KEY, WRITE, BRING_IN, READ_BACK, DIGESTS, TRANSCRIPT]
        }
        Task::Backup(_) => &[VALIDATE, REHEARSE, LOG, DEVICE, READ_BACK_WRAPPABLE, WRAP, WRITE, DIGESTS, TRANSCRIPT],
        Task::Restore(_) => &[
            VALIDATE,
            REHEARSE,
            LOG,
            DEVICE,
            RESTORE,
            READ_BACK,
            BUILD,
            ENDORSE,
            COMMIT,
            PROVE,
            VERIFY_PROOF,
            DIGESTS,
            TRANSCRIPT,
        ],
        Task::LogKey(_) => &[VALIDATE, REHEARSE, LOG, DRAW, WRITE, DIGESTS, TRANSCRIPT],
    }
}
