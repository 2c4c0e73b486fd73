//! The edge: TLS 1.3 with callers' certificates, HTTP/2, gRPC framing, limits and deadlines. What passes goes to the core as
//! bytes with the caller's chain, and what the core answers goes back.
//!
//! It must never decide, or hold what the core needs to sign; of `hallmark.signer.v1` messages it reads how urgent a mint is, where it has to wait, and
//! nothing else. Nothing listens in clear.
//! What it says is trusted for this much only: which chain a connection proved, and when the caller stops waiting. No input
//! makes it panic, and each one has a limit.

mod admission;
mod caller;
mod calls;
mod config;
mod connection;
mod counters;
mod crowd;
mod deadline;
mod error;
mod front;
mod handshakes;
mod health;
mod line;
mod link;
mod message;
mod methods;
mod period;
mod progress;
mod reload;
mod room;
mod shares;
mod stream;
mod tls_files;
mod trace_parent;
mod turned_away;
mod unread;

pub use caller::CHAIN_CERTIFICATES_MAX;
pub use calls::BODY_TIME_MAX;
pub use config::{CONNECTION_AGE_MAX, ConfigError, DEADLINE_MAX, FrontConfig, FrontFile, WATCH_INTERVAL};
pub use connection::{
    CONNECTION_WINDOW_BYTES, DRAIN_TIME_MAX, FAREWELL_TIME, HANDSHAKE_TIME_MAX, HEADER_BYTES_MAX, PING_INTERVAL,
    PING_TIME_MAX, SEND_BUFFER_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX,
};
pub use counters::Counters;
pub use error::FrontError;
pub use front::{CONNECTIONS_MAX, Front, PaceHandle, STOP_TIME_MAX};
pub use handshakes::HANDSHAKES_MAX;
pub use health::HealthHandle;
pub use line::{AWAY_TIME_MAX, Line, SENT_AGAIN_TIME_MAX, SENT_MAX};
pub use link::{Core, Patience};
pub use methods::MESSAGE_BYTES_MAX;
pub use period::{PERIOD_DAYS_MAX, Period, PeriodError};
pub use progress::{FRAME_TIME_MAX, WRITE_TIME_MAX};
pub use reload::ReloadHandle;
pub use shares::{CALLS_UNDER_WAY_MAX, CALLS_WITH_CORE_MAX, STREAMS_OF_CALLER_MAX};
pub use stream::QUESTION_TIME_MAX;
pub use tls_files::TLS_FILE_BYTES_MAX;
pub use turned_away::Reason;
pub use unread::READ_TIME_MAX;
