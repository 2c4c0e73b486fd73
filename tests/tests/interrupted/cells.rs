//! Where a rotation is interrupted, and by what.

use hallmark_faulty::{
    Effect, Function, When,
    cryptoki_sys::{CK_RV, CKR_DEVICE_ERROR},
};

/// How far a rotation had come.
pub(crate) const STEPS: [&str; 10] = [
    "intent",
    "key generated and not recorded",
    "keyed",
    "intermediate signed",
    "mesh CA signed",
    "prepared",
    "active and not drained",
    "retired and not destroyed",
    "private object destroyed, public one not",
    "destroyed and not recorded",
];

/// The last step of making an epoch.
pub(crate) const PREPARED: usize = 5;

/// The step at which signatures of the old key are in flight.
pub(crate) const NOT_DRAINED: usize = 6;

/// What interrupts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Killed,
    DeviceError,
    DatabaseError,
    AnswerLost,
}

impl Fault {
    pub(crate) const ALL: [Self; 4] = [Self::Killed, Self::DeviceError, Self::DatabaseError, Self::AnswerLost];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::DeviceError => "device error",
            Self::DatabaseError => "database error",
            Self::AnswerLost => "answer lost",
        }
    }
}

/// One way to be interrupted.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) step: usize,
    pub(crate) fault: Fault,
    pub(crate) injected: Vec<Injected>,
    /// In which state it is caught, as `checks::caught` says it.
    pub(crate) caught: &'static str,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Injected {
    /// In the device.
    Call(Function, When, Effect),
    /// In the database: a change of this kind is refused.
    Change(&'static str),
}

const ERROR: CK_RV = CKR_DEVICE_ERROR;

// The how manyth call of C_FindObjectsInit since its key was made brings a rotation to these places: it looks twice for each key that it reads
// back or opens, its own, the root's and its own for their signatures, for each of these once more in the session that signs, and at last its
// own to serve it. Where it is not so, the state that is caught is another one.
const LOOKS_TO_READ_BACK: u64 = 1;
const LOOKS_TO_OPEN_ROOT: u64 = 3;
const LOOKS_TO_SERVE: u64 = 11;
const LOOKS_TO_CLEAR_OLD: u64 = 15;

/// Every cell of the table. A place of it where no call of the device, or no change of the database, could go wrong stays empty.
pub(crate) fn cells() -> Vec<Cell> {
    use Effect::{Crash, CrashAfter, Hang, LoseAnswer, Refuse};
    use Fault::{AnswerLost, DatabaseError, DeviceError, Killed};
    use Function::{DestroyObject, FindObjectsInit, GenerateKeyPair, Sign, SignInit};
    use When::{AfterKey, Always, First, Nth};

    let call = |function, when, effect| vec![Injected::Call(function, when, effect)];
    // A signature is tried twice, so that it takes two faults.
    let twice = |function, first: u64, effect: Effect| {
        [first, first + 1].map(|nth| Injected::Call(function, Nth(nth), effect.clone())).to_vec()
    };
    // So is a look.
    let served = |effect: Effect| {
        [LOOKS_TO_SERVE, LOOKS_TO_SERVE + 1]
            .map(|nth| Injected::Call(FindObjectsInit, AfterKey(nth), effect.clone()))
            .to_vec()
    };
    let change = |what| vec![Injected::Change(what)];
    // What is in flight hangs, until the rotation waits for nothing else; then this happens to it.
    let late = |then| vec![Injected::Call(Sign, Nth(1), Hang), then];
    let cell = |step, fault, caught, injected| Cell { step, fault, injected, caught };
    vec![
        cell(0, Killed, "intent 0+0 / 1+1", call(GenerateKeyPair, Nth(1), Crash)),
        cell(0, DeviceError, "intent 0+0 / 1+1", call(GenerateKeyPair, Always, Refuse(ERROR))),
        cell(0, DatabaseError, "nothing", change("BEFORE INSERT ON epoch")),
        // A key whose making failed is destroyed, and made once more at once.
        cell(0, AnswerLost, "active I M 1+1 / 0+0", call(GenerateKeyPair, Nth(1), LoseAnswer(ERROR))),
        cell(1, Killed, "intent 1+1 / 1+1", call(GenerateKeyPair, Nth(1), CrashAfter)),
        // What cannot be read back cannot be removed either.
        cell(
            1,
            DeviceError,
            "intent 1+1 / 1+1",
            [
                Injected::Call(FindObjectsInit, AfterKey(LOOKS_TO_READ_BACK), Refuse(ERROR)),
                Injected::Call(DestroyObject, Always, Refuse(ERROR)),
            ]
            .to_vec(),
        ),
        cell(1, DatabaseError, "intent 1+1 / 1+1", change("BEFORE UPDATE ON epoch WHEN NEW.state = 'keyed'")),
        cell(
            1,
            AnswerLost,
            "active I M 1+1 / 0+0",
            call(FindObjectsInit, AfterKey(LOOKS_TO_READ_BACK), LoseAnswer(ERROR)),
        ),
        cell(2, Killed, "keyed 1+1 / 1+1", call(FindObjectsInit, AfterKey(LOOKS_TO_OPEN_ROOT), Crash)),
        cell(2, DeviceError, "keyed i 1+1 / 1+1", call(SignInit, First(2), Refuse(ERROR))),
        cell(2, DatabaseError, "keyed 1+1 / 1+1", change("BEFORE INSERT ON request WHEN NEW.stage = 'intermediate'")),
        cell(2, AnswerLost, "keyed i 1+1 / 1+1", call(SignInit, First(2), LoseAnswer(ERROR))),
        cell(3, Killed, "keyed i 1+1 / 1+1", call(Sign, Nth(1), CrashAfter)),
        cell(3, Killed, "keyed I m 1+1 / 1+1", call(SignInit, Nth(2), Crash)),
        cell(3, DeviceError, "keyed I m 1+1 / 1+1", twice(SignInit, 2, Refuse(ERROR))),
        cell(
            3,
            DatabaseError,
            "keyed i 1+1 / 1+1",
            change("BEFORE UPDATE OF signature ON request WHEN NEW.stage = 'intermediate'"),
        ),
        cell(3, DatabaseError, "keyed I 1+1 / 1+1", change("BEFORE INSERT ON request WHEN NEW.stage = 'mesh-ca'")),
        cell(3, AnswerLost, "keyed i 1+1 / 1+1", call(Sign, First(2), LoseAnswer(ERROR))),
        cell(4, Killed, "keyed I m 1+1 / 1+1", call(Sign, Nth(2), CrashAfter)),
        // Between the two records lies no call of the device: the change is refused, and then it is killed.
        cell(4, Killed, "keyed I M 1+1 / 1+1", change("BEFORE UPDATE ON epoch WHEN NEW.state = 'prepared'")),
        cell(4, DeviceError, "keyed I m 1+1 / 1+1", twice(Sign, 2, Refuse(ERROR))),
        cell(
            4,
            DatabaseError,
            "keyed I m 1+1 / 1+1",
            change("BEFORE UPDATE OF signature ON request WHEN NEW.stage = 'mesh-ca'"),
        ),
        cell(4, DatabaseError, "keyed I M 1+1 / 1+1", change("BEFORE UPDATE ON epoch WHEN NEW.state = 'prepared'")),
        cell(4, AnswerLost, "keyed I m 1+1 / 1+1", twice(Sign, 2, LoseAnswer(ERROR))),
        cell(5, Killed, "prepared I M 1+1 / 1+1", call(FindObjectsInit, AfterKey(LOOKS_TO_SERVE), Crash)),
        cell(5, DeviceError, "prepared I M 1+1 / 1+1", served(Refuse(ERROR))),
        cell(5, DatabaseError, "prepared I M 1+1 / 1+1", change("BEFORE UPDATE ON epoch WHEN NEW.state = 'active'")),
        cell(5, AnswerLost, "prepared I M 1+1 / 1+1", served(LoseAnswer(ERROR))),
        cell(NOT_DRAINED, Killed, "active I M 1+1 / 1+1", call(Sign, Nth(1), Hang)),
        cell(NOT_DRAINED, DeviceError, "active I M 1+1 / 0+0", late(Injected::Call(Sign, Nth(1), Refuse(ERROR)))),
        cell(
            NOT_DRAINED,
            DatabaseError,
            "active I M 1+1 / 0+0",
            late(Injected::Change("BEFORE UPDATE OF signature ON request WHEN NEW.stage = 'leaf'")),
        ),
        cell(NOT_DRAINED, AnswerLost, "active I M 1+1 / 0+0", late(Injected::Call(Sign, Nth(1), LoseAnswer(ERROR)))),
        cell(7, Killed, "active I M 1+1 / 1+1", call(DestroyObject, Nth(1), Crash)),
        cell(7, DeviceError, "active I M 1+1 / 1+1", call(DestroyObject, Always, Refuse(ERROR))),
        cell(7, AnswerLost, "active I M 1+1 / 0+0", call(DestroyObject, Nth(1), LoseAnswer(ERROR))),
        cell(8, Killed, "active I M 1+1 / 0+1", call(DestroyObject, Nth(2), Crash)),
        cell(8, DeviceError, "active I M 1+1 / 0+1", twice(DestroyObject, 2, Refuse(ERROR))),
        cell(8, AnswerLost, "active I M 1+1 / 0+0", call(DestroyObject, Nth(2), LoseAnswer(ERROR))),
        cell(9, Killed, "active I M 1+1 / 0+0", call(DestroyObject, Nth(2), CrashAfter)),
        cell(
            9,
            DeviceError,
            "active I M 1+1 / 0+0",
            call(FindObjectsInit, AfterKey(LOOKS_TO_CLEAR_OLD), Refuse(ERROR)),
        ),
        cell(
            9,
            DatabaseError,
            "active I M 1+1 / 0+0",
            change("BEFORE INSERT ON entry WHEN instr(CAST(NEW.bytes AS TEXT), '\"action\":\"destroyed\"')"),
        ),
        cell(9, DatabaseError, "active I M 1+1 / 0+0", change("BEFORE UPDATE OF destroyed_at ON epoch")),
        cell(
            9,
            AnswerLost,
            "active I M 1+1 / 0+0",
            call(FindObjectsInit, AfterKey(LOOKS_TO_CLEAR_OLD), LoseAnswer(ERROR)),
        ),
    ]
}

/// Where a rotation by age is killed: as one by manifest, but that it is activated in a call of its own.
pub(crate) fn cells_by_age() -> Vec<Cell> {
    let killed = cells().into_iter().filter(|cell| cell.fault == Fault::Killed);
    killed
        .map(|cell| match cell.step {
            PREPARED => {
                let first = Injected::Call(Function::FindObjectsInit, When::Nth(1), Effect::Crash);
                Cell { injected: vec![first], ..cell }
            }
            _ => cell,
        })
        .collect()
}

/// Where the making of an authority is killed.
pub(crate) fn cells_of_root() -> Vec<Cell> {
    use Effect::{Crash, CrashAfter};
    use Function::{GenerateKeyPair, Sign, SignInit};
    let cell = |caught, function, nth, effect| Cell {
        step: 0,
        fault: Fault::Killed,
        injected: vec![Injected::Call(function, When::Nth(nth), effect)],
        caught,
    };
    vec![
        cell("intent 0+0, epoch: nothing", GenerateKeyPair, 1, Crash),
        cell("intent 1+1, epoch: nothing", GenerateKeyPair, 1, CrashAfter),
        cell("keyed r 1+1, epoch: nothing", SignInit, 1, Crash),
        cell("keyed r 1+1, epoch: nothing", Sign, 1, CrashAfter),
        cell("ready R 1+1, epoch: intent 0+0", GenerateKeyPair, 2, Crash),
        cell("ready R 1+1, epoch: intent 1+1", GenerateKeyPair, 2, CrashAfter),
        cell("ready R 1+1, epoch: keyed i 1+1", Sign, 2, CrashAfter),
        cell("ready R 1+1, epoch: keyed I m 1+1", Sign, 3, CrashAfter),
    ]
}
