//! What fronts count, by place: `FrontCounts` has numbers alone, and both ends have the names.

/// Why a front answers a call itself, in the order of `FrontCounts.turned_away`.
pub const REASONS: [&str; 11] = [
    "MESSAGE_TOO_LARGE",
    "MALFORMED_FRAME",
    "COMPRESSED",
    "NOT_GRPC",
    "METHOD_UNKNOWN",
    "MALFORMED_DEADLINE",
    "DEADLINE_PASSED",
    "BODY_TOO_SLOW",
    "OVERLOADED",
    "STOPPING",
    "CALLER_NOT_ADMITTED",
];

/// How urgent mints are that wait, in the order of `FrontCounts.waits`.
pub const URGENCIES: [&str; 4] = ["nearly-expired", "refresh", "registration", "other"];

/// Upper bounds in milliseconds of what is counted in `WaitCounts.waited`, in its order; one more number is of what took longer.
pub const WAIT_BOUNDS_MILLIS: [u64; 9] = [1, 5, 10, 25, 50, 100, 250, 500, 1_000];
