//! A TLS stream that remembers why it broke.
//!
//! In TLS 1.3 a server says only after the handshake that it does not take the client's certificate (RFC 8446, section
//! 4.4.2.4). The alert arrives with the first read, and the HTTP/2 layer above keeps no more of it than a text.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use rustls::AlertDescription;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// The alert that ended a connection, once there is one.
pub(crate) type Alert = Arc<OnceLock<AlertDescription>>;

/// The stream.
#[derive(Debug)]
pub(crate) struct Watched {
    stream: TlsStream<TcpStream>,
    alert: Alert,
}

impl Watched {
    pub(crate) fn new(stream: TlsStream<TcpStream>) -> (Self, Alert) {
        let alert = Alert::default();
        (Self { stream, alert: alert.clone() }, alert)
    }

    /// What a failed write means. A server that turns a client away sends its alert and closes; then writing fails, often
    /// before the alert was read, which is still there to be read.
    fn explain<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let failed = match polled {
            Poll::Ready(Err(error)) => error,
            Poll::Ready(Ok(_)) | Poll::Pending => return polled,
        };
        let mut scratch = [0; 1_024];
        loop {
            let mut into = ReadBuf::new(&mut scratch);
            let read = Pin::new(&mut self.stream).poll_read(context, &mut into);
            if ready!(self.remember(read)).is_err() || into.filled().is_empty() {
                return Poll::Ready(Err(failed));
            }
        }
    }

    fn remember<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled
            && let Some(rustls::Error::AlertReceived(alert)) = error.get_ref().and_then(|error| error.downcast_ref())
        {
            // Only the first one counts.
            let _ = self.alert.set(*alert);
        }
        polled
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_read(context, into);
        this.remember(polled)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.explain(polled, context)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(context);
        this.explain(polled, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
