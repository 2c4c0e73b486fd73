//! Tells a service manager how far the daemon is (sd_notify(3)); without one, nothing happens.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::Path,
    time::Duration,
};

/// How often it is said that a process is alive within the time after which it counts as dead.
const BEATS_FOR_EACH_WATCH: u32 = 3;

/// How far the daemon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It serves.
    Ready,
    /// It stops.
    Stopping,
    /// It is alive.
    Alive,
}

/// Tells the service manager, if there is one.
pub(crate) fn tell(state: State) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, "the service manager cannot be told: {state:?}");
    }
}

/// Says again and again that this process is alive, where the service manager wants to hear it (WATCHDOG_USEC). Has no end.
pub(crate) async fn beat() {
    let micros = env::var("WATCHDOG_USEC").ok().and_then(|micros| micros.parse().ok());
    let Some(micros) = micros.filter(|micros| *micros > 0) else { return std::future::pending().await };
    let mut ticks = tokio::time::interval(Duration::from_micros(micros) / BEATS_FOR_EACH_WATCH);
    loop {
        ticks.tick().await;
        tell(State::Alive);
    }
}

fn send(socket: &OsStr, state: State) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(Path::new(socket))?,
    };
    let message = match state {
        State::Ready => "READY=1\n",
        State::Stopping => "STOPPING=1\n",
        State::Alive => "WATCHDOG=1\n",
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_socket_hear_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("hallmark-test-{}", std::process::id());
        let named = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let filed = UnixDatagram::bind(&path).unwrap();
        for (socket, listener) in [(OsStr::new(&format!("@{name}")), named), (path.as_os_str(), filed)] {
            send(socket, State::Ready).unwrap();
            let mut heard = [0; 64];
            let bytes = listener.recv(&mut heard).unwrap();
            assert_eq!(&heard[..bytes], b"READY=1\n");
        }
    }
}
