//! gRPC status codes by name: the one table of names and numbers (gRPC, "Status codes and their use in gRPC").
//!
//! Which reason has which code is decided where the reasons are: by the core for what it decides, by the front for what
//! never reaches the core.

/// Done.
pub const OK: i32 = 0;
/// The caller took the call back.
pub const CANCELLED: i32 = 1;
/// Nobody knows what it is.
pub const UNKNOWN: i32 = 2;
/// The request is malformed.
pub const INVALID_ARGUMENT: i32 = 3;
/// The deadline passed.
pub const DEADLINE_EXCEEDED: i32 = 4;
/// What was named is not there.
pub const NOT_FOUND: i32 = 5;
/// The name stands for something else already.
pub const ALREADY_EXISTS: i32 = 6;
/// The caller may not.
pub const PERMISSION_DENIED: i32 = 7;
/// A limit is reached.
pub const RESOURCE_EXHAUSTED: i32 = 8;
/// The state does not permit it.
pub const FAILED_PRECONDITION: i32 = 9;
/// It was broken off.
pub const ABORTED: i32 = 10;
/// Past the end.
pub const OUT_OF_RANGE: i32 = 11;
/// Not of this version.
pub const UNIMPLEMENTED: i32 = 12;
/// A fault of the daemon.
pub const INTERNAL: i32 = 13;
/// Not now; try again.
pub const UNAVAILABLE: i32 = 14;
/// What was stored is lost.
pub const DATA_LOSS: i32 = 15;
/// The caller is not who may call.
pub const UNAUTHENTICATED: i32 = 16;

/// Every code with its name, in the order of the numbers.
pub const ALL: [(&str, i32); 17] = [
    ("OK", OK),
    ("CANCELLED", CANCELLED),
    ("UNKNOWN", UNKNOWN),
    ("INVALID_ARGUMENT", INVALID_ARGUMENT),
    ("DEADLINE_EXCEEDED", DEADLINE_EXCEEDED),
    ("NOT_FOUND", NOT_FOUND),
    ("ALREADY_EXISTS", ALREADY_EXISTS),
    ("PERMISSION_DENIED", PERMISSION_DENIED),
    ("RESOURCE_EXHAUSTED", RESOURCE_EXHAUSTED),
    ("FAILED_PRECONDITION", FAILED_PRECONDITION),
    ("ABORTED", ABORTED),
    ("OUT_OF_RANGE", OUT_OF_RANGE),
    ("UNIMPLEMENTED", UNIMPLEMENTED),
    ("INTERNAL", INTERNAL),
    ("UNAVAILABLE", UNAVAILABLE),
    ("DATA_LOSS", DATA_LOSS),
    ("UNAUTHENTICATED", UNAUTHENTICATED),
];

/// The name of a code, as gRPC writes it.
#[must_use]
pub fn name(code: i32) -> Option<&'static str> {
    ALL.iter().find(|(_, number)| *number == code).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn names_and_numbers_are_those_of_grpc() {
        for (place, (name, number)) in (0..).zip(ALL) {
            assert_eq!(number, place);
            let theirs = format!("{:?}", Code::from_i32(number)).to_uppercase();
            assert_eq!(theirs, name.replace('_', ""));
        }
        assert_eq!((name(UNAVAILABLE), name(17)), (Some("UNAVAILABLE"), None));
    }
}
