//! A crowd: connections that are held and do nothing, and connections whose peer sends what it began byte by byte. Others are measured
//! beside it.

use std::{
    io::{self, Read as _, Write as _},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    arguments::Arguments,
    connection::{Client, Connector},
};

/// Connections that are made at a time.
const CONNECTING_MAX: u32 = 32;

/// Between two bytes of a slow peer.
const PAUSE: Duration = Duration::from_millis(200);
/// Until a slow peer that was closed comes again.
const RETURN: Duration = Duration::from_secs(1);

/// What a client sends first (RFC 9113, section 3.4), with empty SETTINGS.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The first bytes of a ClientHello of 512 bytes (RFC 8446, sections 4 and 5.1).
const HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

/// HEADERS without an end: a frame of 16,384 bytes on stream 1 (RFC 9113, section 6.2).
const HEADERS: &[u8] = &[0, 0x40, 0, 1, 0, 0, 0, 0, 1];

/// DATA of 16,384 bytes on stream 1, which begins a message of 65,536.
const DATA: &[u8] = &[0, 0x40, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0];

/// What a slow peer never comes to the end of.
#[derive(Clone, Copy, Debug)]
enum Slow {
    Handshake,
    Preface,
    Headers,
    Body,
}

impl Slow {
    const ALL: [Self; 4] = [Self::Handshake, Self::Preface, Self::Headers, Self::Body];
}

/// Connects the crowd, says `held`, and holds it until standard input ends. Then says how many of the idle ones were still there.
pub(crate) fn hold(arguments: &Arguments) -> Result<()> {
    let given = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: given.maximum, ..given }).context("the limit on open files")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let connector = Connector::new(arguments)?;
        let mut slow = JoinSet::new();
        for number in 0..arguments.slow {
            let kind = Slow::ALL.get(number as usize % Slow::ALL.len()).copied().unwrap_or(Slow::Handshake);
            slow.spawn(trickle_on(connector.clone(), kind));
        }
        let idle = connect(&connector, arguments.idle).await?;
        println!("held");
        io::stdout().flush()?;
        tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await??;
        println!("{}", idle.iter().filter(|client| !client.is_closed()).count());
        Ok(())
    })
}

async fn connect(connector: &Connector, connections: u32) -> Result<Vec<Client>> {
    let (mut connecting, mut clients) = (JoinSet::new(), Vec::new());
    for number in 0..connections {
        if number >= CONNECTING_MAX
            && let Some(client) = connecting.join_next().await
        {
            clients.push(client??);
        }
        let connector = connector.clone();
        connecting.spawn(async move { connector.connect().await });
    }
    while let Some(client) = connecting.join_next().await {
        clients.push(client??);
    }
    Ok(clients)
}

/// Comes again whenever it is closed.
async fn trickle_on(connector: Connector, kind: Slow) {
    loop {
        // How it ends is the signer's affair.
        let _ended = trickle(&connector, kind).await;
        sleep(RETURN).await;
    }
}

async fn trickle(connector: &Connector, kind: Slow) -> Result<()> {
    match kind {
        Slow::Handshake => byte_by_byte(TcpStream::connect(connector.address()).await?, HELLO).await,
        Slow::Preface => byte_by_byte(connector.secured().await?, PREFACE).await,
        Slow::Headers => {
            let mut stream = connector.secured().await?;
            stream.write_all(&[PREFACE, HEADERS].concat()).await?;
            byte_by_byte(stream, &[]).await
        }
        Slow::Body => {
            let mut stream = connector.secured().await?;
            stream.write_all(&[PREFACE, &request(), DATA].concat()).await?;
            byte_by_byte(stream, &[]).await
        }
    }
}

/// Sends these bytes one by one and then zeros, until the other side closes. What it says is read.
async fn byte_by_byte(stream: impl AsyncRead + AsyncWrite, bytes: &[u8]) -> Result<()> {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut heard = [0; 1_024];
    for byte in bytes.iter().copied().chain(std::iter::repeat(0)) {
        write.write_all(&[byte]).await?;
        write.flush().await?;
        if let Ok(heard) = timeout(PAUSE, read.read(&mut heard)).await
            && heard? == 0
        {
            break;
        }
    }
    Ok(())
}

/// The HEADERS of a mint on stream 1, literals without an index (RFC 7541, section 6.2.2; names by appendix A where they stand there).
fn request() -> Vec<u8> {
    const END_HEADERS: u8 = 4;
    let mut block = vec![0x83, 0x87];
    let mut field = |name: &[u8], value: &str| {
        block.extend_from_slice(name);
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    };
    field(&[0x04], "/hallmark.signer.v1.Signer/MintCertificate");
    field(&[0x01], "localhost");
    field(&[0x0f, 0x10], "application/grpc");
    field(b"\x00\x02te", "trailers");
    [&[0, 0, block.len() as u8, 1, END_HEADERS, 0, 0, 0, 1], &block[..]].concat()
}
