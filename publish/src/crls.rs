//! CRLs beside the log: each is carried when its file changes, and never an older one over a newer one.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use hallmark_tlog::audit::LogFiles as _;
use x509_cert::{
    certificate::Rfc5280,
    crl::CertificateList,
    der::{Decode as _, oid::AssociatedOid as _},
    ext::pkix::CrlNumber,
};

use crate::{
    directory::Directory,
    problem::Problem,
    serve::is_crl,
    target::{Caching, Target},
};

/// The directory of CRLs, in the log's and at the target.
const CRLS: &str = "crl";

/// A file that was changed that recently is read again, whatever its date and size say: file systems keep dates coarsely.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// What was carried.
#[derive(Debug, Default)]
pub(crate) struct Crls(BTreeMap<String, Carried>);

#[derive(Debug)]
struct Carried {
    /// cRLNumber of the one at the target; none where what is there is no CRL.
    number: Option<u64>,
    content: Option<Vec<u8>>,
    seen: Option<(SystemTime, u64)>,
}

impl Crls {
    /// Carries those that changed. Relying parties verify them, and so do not need to trust this: they are carried as they are.
    pub(crate) async fn carry(&mut self, directory: &Directory, target: &Target) -> Result<(), Problem> {
        for path in listed(&directory.0)? {
            let place = directory.0.join(&path);
            let seen = fs::metadata(&place).ok().and_then(|file| Some((file.modified().ok()?, file.len())));
            let settled = seen.is_some_and(|(at, _)| at.elapsed().is_ok_and(|age| age > SETTLED_AFTER));
            if settled && self.0.get(&path).is_some_and(|carried| carried.seen == seen) {
                continue;
            }
            let read = directory.read(&path).map_err(|source| Problem::File { path: place.clone(), source })?;
            let Some(content) = read else { continue };
            let Some(number) = number(&content) else {
                eprintln!("warning: `{}` is no CRL with a number; it is not carried", place.display());
                // It is said once, and looked at again when it changes.
                self.0.entry(path).or_insert(Carried { number: None, content: None, seen: None }).seen = seen;
                continue;
            };
            self.carry_one(target, path, number, content, seen).await?;
        }
        Ok(())
    }

    async fn carry_one(
        &mut self,
        target: &Target,
        path: String,
        ours: u64,
        content: Vec<u8>,
        seen: Option<(SystemTime, u64)>,
    ) -> Result<(), Problem> {
        if !self.0.contains_key(&path) {
            let theirs = target.get(&path).await?;
            let number = theirs.as_deref().and_then(number);
            self.0.insert(path.clone(), Carried { number, content: theirs, seen: None });
        }
        let Some(carried) = self.0.get_mut(&path) else { return Ok(()) };
        let is_there = carried.content.as_ref() == Some(&content);
        if !is_there {
            if let Some(theirs) = carried.number.filter(|theirs| *theirs >= ours) {
                return Err(Problem::OlderCrl { path, theirs, ours });
            }
            target.put(&path, content.clone(), Caching::Minutes).await?;
        }
        *carried = Carried { number: Some(ours), content: Some(content), seen };
        Ok(())
    }
}

/// The CRLs in a directory, by their paths below it.
fn listed(directory: &Path) -> Result<Vec<String>, Problem> {
    let below = directory.join(CRLS);
    let mut found = Vec::new();
    for authority in names(&below)? {
        let files = names(&below.join(&authority))?.into_iter().map(|file| format!("{authority}/{file}"));
        found.extend(files.filter(|place| is_crl(place)).map(|place| format!("{CRLS}/{place}")));
    }
    Ok(found)
}

/// The names in a directory, sorted; none where there is no such directory.
fn names(directory: &Path) -> Result<Vec<String>, Problem> {
    let failed = |source: io::Error| Problem::File { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// The cRLNumber of a CRL (RFC 5280, section 5.2.3).
fn number(der: &[u8]) -> Option<u64> {
    let list = CertificateList::<Rfc5280>::from_der(der).ok()?;
    let number = list.tbs_cert_list.crl_extensions?.into_iter().find(|found| found.extn_id == CrlNumber::OID)?;
    let CrlNumber(number) = CrlNumber::from_der(number.extn_value.as_bytes()).ok()?;
    let octets = number.as_bytes();
    let mut padded = [0; 8];
    padded.get_mut(8_usize.checked_sub(octets.len())?..)?.copy_from_slice(octets);
    Some(u64::from_be_bytes(padded))
}
