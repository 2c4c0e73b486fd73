//! What stands before the connector: it passes whole requests and answers on, until it is told to stop or to hang.

use std::{
    io::Write as _,
    net::{Shutdown, SocketAddr, TcpStream},
};

use hallmark_test_relay::{Connection, Message, Relay};

/// A relay to this server, which is started.
pub(crate) fn to(server: SocketAddr) -> Relay {
    Relay::new(move |connection, client| {
        let Ok(mut server) = TcpStream::connect(server) else { return };
        if connection.keep(&server) {
            pass(connection, client, &mut server);
        }
        // Where one has gone, the other is told: the server has few threads, and one for each connection.
        let _ = server.shutdown(Shutdown::Both);
    })
}

/// Sends the server a request of no meaning.
pub(crate) fn wake(server: SocketAddr) {
    if let Ok(mut server) = TcpStream::connect(server) {
        let _ = server.write_all(b"GET /connector/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    }
}

/// Passes one request after another on, until somebody has gone.
fn pass(connection: &Connection, client: &mut TcpStream, server: &mut TcpStream) -> Option<()> {
    loop {
        server.write_all(&Message::read(client)?.bytes()).ok()?;
        let answer = Message::read(server)?.bytes();
        if !connection.may_answer() {
            return None;
        }
        // In one piece, since the library reads no other answer rightly.
        client.write_all(&answer).ok()?;
    }
}
