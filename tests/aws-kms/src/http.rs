//! As much of HTTP/1.1 as a client of KMS and moto speak.

use std::{
    io::{Read, Write as _},
    net::{SocketAddr, TcpStream},
};

/// Longest head of a request or an answer, in bytes.
const HEAD_BYTES_MAX: usize = 16_384;

/// What a call is named by: this, a dot and its name.
pub(crate) const TARGET: &str = "TrentService";

/// A request.
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// An answer.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The next one; none where the client has gone.
    pub(crate) fn read(stream: &mut impl Read) -> Option<Self> {
        let (head, body) = whole(stream)?;
        Some(Self { head, body })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The call's name.
    pub(crate) fn call(&self) -> &str {
        self.header("x-amz-target").and_then(|target| target.rsplit('.').next()).unwrap_or_default()
    }
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
    let (head, body) = whole(&mut stream)?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body })
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let of = |line: &'a str| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name));
    head.lines().find_map(of).map(|(_, value)| value.trim())
}

/// Head and body.
fn whole(stream: &mut impl Read) -> Option<(String, Vec<u8>)> {
    let (mut read, mut part) = (Vec::new(), [0; 4_096]);
    loop {
        if let Some(end) = read.windows(4).position(|end| end == b"\r\n\r\n") {
            let head = String::from_utf8(read.get(..end)?.to_vec()).ok()?;
            let length = header(&head, "content-length").map_or(Some(0), |length| length.parse().ok())?;
            let body = read.get(end + 4..)?;
            if body.len() >= length {
                return Some((head, body.get(..length)?.to_vec()));
            }
        } else if read.len() > HEAD_BYTES_MAX {
            return None;
        }
        match stream.read(&mut part).ok()? {
            0 => return None,
            got => read.extend_from_slice(part.get(..got)?),
        }
    }
}
