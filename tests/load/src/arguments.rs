//! What can be typed.

use std::path::PathBuf;

use clap::Parser;

/// Measures a certificate signer: rate, latency and CPU time of minting.
///
/// The names in the requests are those of the profile `athenz-service` in `examples/policy.toml`. Ends with 1 if any
/// request failed.
#[derive(Clone, Debug, Parser)]
#[command(name = "hallmark-load", version)]
pub(crate) struct Arguments {
    /// URL of the signer, such as https://127.0.0.1:4443.
    #[arg(long, value_name = "URL")]
    pub(crate) signer: http::Uri,
    /// CA certificates (PEM) that the signer's own certificate must chain to.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: PathBuf,
    /// Client certificate (PEM), followed by its intermediates.
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: PathBuf,
    /// Private key (PEM) of the client certificate.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Authority that is asked.
    #[arg(long, value_name = "NAME", default_value = "athenz")]
    pub(crate) authority: String,
    /// Profile that is asked for.
    #[arg(long, value_name = "NAME", default_value = "athenz-service")]
    pub(crate) profile: String,
    /// Connections, each with one request under way.
    #[arg(long, value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) connections: u16,
    /// Requests under way on each connection.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) streams: u16,
    /// Connect anew for each request, with a whole TLS handshake, which is part of its latency.
    #[arg(long, conflicts_with_all = ["refresh", "streams"])]
    pub(crate) new_connections: bool,
    /// Ask so many times a second whatever becomes of it, in turns over the connections: an open loop, which overload needs.
    #[arg(long, value_name = "REQUESTS", conflicts_with_all = ["refresh", "streams", "new_connections"],
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    /// The deadline that every request names, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) deadline: u32,
    /// How long to ask, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) seconds: u32,
    /// Stop after so many requests, if that comes first.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Distinct CSRs, each with a key of its own (P-256), made before the first request.
    #[arg(long, value_name = "NUMBER", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) csrs: u16,
    /// Register: every request registers another instance; it ends early when the CSRs are used up.
    #[arg(long, conflicts_with = "refresh")]
    pub(crate) register: bool,
    /// Refresh: every connection is an instance that registers once, and then replaces its certificate again and again, with proof. The
    /// profile keeps records of instances then; two CSRs are made for each connection.
    #[arg(long, conflicts_with_all = ["csrs", "streams"])]
    pub(crate) refresh: bool,
    /// Refresh without proof of the presented certificate's key, which a profile may ask for and the rule wants only where a replaced
    /// certificate is to revoke its instance.
    #[arg(long, requires = "refresh")]
    pub(crate) without_proof: bool,
    /// Measure nothing: hold so many connections that do nothing until standard input ends. `held` on standard output says that they are there.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) idle: u32,
    /// The same with so many connections that send what they began byte by byte: handshakes, prefaces, headers and bodies.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) slow: u32,
    /// A process of the signer, whose CPU time is read before and after; can be repeated.
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Vec<u32>,
    /// Answer with JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
