//! What `[listen]` and `[operators]` mean.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use der::Decode as _;
use hallmark_front::{Front, FrontConfig, FrontFile};
use hallmark_policy::{meaning, time::UnixTime};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use x509_cert::{Certificate, time::Validity};

use super::Findings;
use crate::{link::Nobody, operators::OperatorsFile, trouble::sentence};

pub(super) fn tell(file: &FrontFile, directory: &Path, findings: &mut Findings) {
    findings.heading("Callers");
    tell_listener("[listen]", file, directory, findings);
}

/// What `[operators]` means.
pub(super) fn tell_operators(table: &OperatorsFile, callers: &FrontFile, directory: &Path, findings: &mut Findings) {
    findings.heading("Operators");
    tell_listener("[operators]", &table.listener(callers), directory, findings);
    match table.identities() {
        Ok(identities) => findings.say(format!(
            "{} may apply a policy and ask which one is in force.",
            meaning::listed(identities.iter().map(ToString::to_string))
        )),
        Err(error) => findings.problem(sentence(&error)),
    }
    if table.address == callers.address && table.address.port() != 0 {
        findings.problem("`operators.address` is that of callers; hint: give operators a port of their own");
    }
}

fn tell_listener(table: &str, file: &FrontFile, directory: &Path, findings: &mut Findings) {
    let path = |path: &Path| directory.join(path).display().to_string();
    findings
        .say(format!("connect to {} with TLS 1.3 and a client certificate; nothing listens in clear.", file.address));
    findings.say(format!("The server shows `{}` with the key `{}`.", path(&file.certificate), path(&file.key)));
    let revocation = match &file.callers_crl {
        Some(crl) => format!("their revocation is looked up in `{}`", path(crl)),
        None => "their revocation is not looked up".to_owned(),
    };
    findings.say(format!("They are trusted through `{}`; {revocation}.", path(&file.callers)));
    findings.say(format!(
        "A connection lives for {} at most; a call that names no deadline has {}.",
        file.connection_age_max, file.default_deadline
    ));
    tell_files(table, file, directory, findings);
}

/// The front reads its files as at a start: on a port of this machine that nobody knows and that is closed at once.
fn tell_files(table: &str, file: &FrontFile, directory: &Path, findings: &mut Findings) {
    if let Err(error) = FrontConfig::from_file(file.clone(), directory) {
        findings.problem(format!("{table} {}", sentence(&error)));
    }
    let aside = FrontFile { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), ..file.clone() };
    let front = FrontConfig::from_file(aside, directory).ok().map(|config| Front::bind(config, Arc::new(Nobody)));
    match front {
        None => {}
        Some(Err(error)) => findings.problem(format!("{table} {}", sentence(&error))),
        Some(Ok(front)) => {
            for anchor in front.callers_bundle_anchors() {
                tell_validity(table, "the callers' authority", &anchor, findings);
            }
            let server = directory.join(&file.certificate);
            if let Ok(leaf) = CertificateDer::from_pem_file(server) {
                tell_validity(table, "the server", &leaf, findings);
            }
        }
    }
}

fn tell_validity(table: &str, whose: &str, certificate: &[u8], findings: &mut Findings) {
    let Ok(certificate) = Certificate::from_der(certificate) else {
        return findings.problem(format!("{table} the certificate of {whose} cannot be read"));
    };
    let subject = certificate.tbs_certificate().subject().to_string();
    let validity = certificate.tbs_certificate().validity();
    let until = moment(&validity.not_after);
    if is_valid(validity) {
        findings.say(format!("The certificate of {whose}, `{subject}`, is valid until {until}."));
    } else {
        let from = moment(&validity.not_before);
        findings.problem(format!(
            "{table} the certificate of {whose}, `{subject}`, is valid from {from} to {until} and not now; hint: renew it"
        ));
    }
}

fn is_valid(validity: &Validity) -> bool {
    let now = SystemTime::now();
    validity.not_before.to_system_time() <= now && now <= validity.not_after.to_system_time()
}

fn moment(time: &x509_cert::time::Time) -> UnixTime {
    UnixTime::from_secs(i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX))
}
