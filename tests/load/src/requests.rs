//! Requests, made before the clock runs.

use bytes::Bytes;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

/// Makes DER of `number` CSRs, each with its own P-256 key and instance, for the service `sports.api`.
pub(crate) fn make_csrs(number: u16) -> Result<Vec<Bytes>, rcgen::Error> {
    (0..number).map(make_csr).collect()
}

fn make_csr(instance: u16) -> Result<Bytes, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "sports.api");
    parameters.subject_alt_names = vec![
        SanType::DnsName("api.sports.lab.athenz.cloud".try_into()?),
        SanType::DnsName(format!("i-{instance}.instanceid.athenz.lab.athenz.cloud").try_into()?),
        SanType::URI(format!("athenz://instanceid/sys.auth.lab/i-{instance}").try_into()?),
    ];
    Ok(Bytes::copy_from_slice(parameters.serialize_request(&key)?.der()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_csr_is_another() {
        let mut csrs = make_csrs(8).unwrap();
        csrs.sort();
        csrs.dedup();
        assert_eq!(csrs.len(), 8);
    }
}
