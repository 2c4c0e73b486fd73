//! X.509 writing: the DER of approved content (a certificate's, a CRL's, a certification request's), and the whole once it is
//! signed.
//!
//! This crate encodes exactly what policy approved and decides nothing. Its encoder is `x509-cert`; policy reads the
//! result back with another library before anything is committed. It must never see a private key or touch a backend:
//! it is given signatures that were verified, and verifies stored ones itself.

mod assemble;
mod draft;

pub use assemble::{AssembleError, Signed, assemble, crl_number, reassemble};
pub use draft::{Draft, DraftError, draft};
