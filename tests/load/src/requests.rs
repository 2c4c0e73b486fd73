//! Requests, made before the clock runs; and proofs, which are about one request each.

use anyhow::Context as _;
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData as _, SanType, SigningKey as _};

/// The provider of the example policy.
const PROVIDER: &str = "sys.auth.lab";

/// A CSR with its key.
pub(crate) struct Asked {
    /// DER.
    pub(crate) csr: Bytes,
    instance: String,
    key: KeyPair,
}

impl Asked {
    /// The signature of this key that the instance may replace its certificate by one for `next`.
    pub(crate) fn proof_for(
        &self,
        next: &Self,
        authority: &str,
        request_id: &str,
        replaced: &[u8],
    ) -> anyhow::Result<Bytes> {
        let spki = digest(&SHA256, &next.key.subject_public_key_info());
        let spki: String = spki.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let instance = &self.instance;
        let serial = serial(replaced).context("a certificate without a serial number")?;
        let message = format!(
            "hallmark-instance-refresh-v2\n{authority}\n{request_id}\n{PROVIDER}\n{instance}\n{serial}\n{spki}\n"
        );
        Ok(self.key.sign(message.as_bytes()).context("a key does not sign")?.into())
    }
}

/// The serial number of a certificate, DER, in hexadecimal: it follows the version, which is 3.
fn serial(certificate: &[u8]) -> Option<String> {
    const VERSION: [u8; 5] = [0xa0, 0x03, 0x02, 0x01, 0x02];
    let at = certificate.windows(VERSION.len()).position(|window| window == VERSION)? + VERSION.len();
    let [0x02, length, content @ ..] = certificate.get(at..)? else { return None };
    Some(content.get(..usize::from(*length))?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Makes `number` CSRs for the service `sports.api`, each with its own P-256 key; `keys` of them after each other are of one instance.
pub(crate) fn make_csrs(run: &str, number: u16, keys: u16) -> Result<Vec<Asked>, rcgen::Error> {
    (0..number).map(|at| make_csr(format!("i-{run}-{}", at / keys.max(1)))).collect()
}

fn make_csr(instance: String) -> Result<Asked, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "sports.api");
    parameters.subject_alt_names = vec![
        SanType::DnsName("api.sports.lab.athenz.cloud".try_into()?),
        SanType::DnsName(format!("{instance}.instanceid.athenz.lab.athenz.cloud").try_into()?),
        SanType::URI(format!("athenz://instanceid/{PROVIDER}/{instance}").try_into()?),
    ];
    let csr = Bytes::copy_from_slice(parameters.serialize_request(&key)?.der());
    Ok(Asked { csr, instance, key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_csr_is_another_and_instances_have_as_many_keys_as_were_wanted() {
        let asked = make_csrs("a", 8, 2).unwrap();
        let mut csrs: Vec<_> = asked.iter().map(|asked| asked.csr.clone()).collect();
        csrs.sort();
        csrs.dedup();
        assert_eq!(csrs.len(), 8);
        let instances: Vec<_> = asked.iter().map(|asked| asked.instance.as_str()).collect();
        assert_eq!(instances[..4], ["i-a-0", "i-a-0", "i-a-1", "i-a-1"]);
    }
}
