//! Calls of KMS, as a client sends them and moto takes them.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
};

use hallmark_test_relay::Message;

/// What a call is named by: this, a dot and its name.
pub(crate) const TARGET: &str = "TrentService";

/// An answer.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// The name of the call that a request is.
pub(crate) fn name(request: &Message) -> &str {
    request.header("x-amz-target").and_then(|target| target.rsplit('.').next()).unwrap_or_default()
}

impl Answer {
    /// As a client gets it, which goes on in the same connection.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let Self { status, body } = self;
        let head = format!(
            "HTTP/1.1 {status} -\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    }
}

/// Makes a call of moto's KMS, in an account.
pub(crate) fn call(server: SocketAddr, account: &str, name: &str, body: &str) -> Option<Answer> {
    let head = format!(
        "Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: {TARGET}.{name}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/{}/kms/aws4_request, SignedHeaders=host, Signature=0\r\n",
        crate::REGION
    );
    pass(server, account, &head, body.as_bytes())
}

/// Sends moto a request with these headers, in an account.
pub(crate) fn pass(server: SocketAddr, account: &str, headers: &str, body: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(server).ok()?;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nx-moto-account-id: {account}\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
    let Message { head, body } = Message::read(&mut stream)?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body })
}
