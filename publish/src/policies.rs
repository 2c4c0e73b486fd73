//! Texts of policies beside the log: each is carried once, if it is what its name says.

use std::{collections::BTreeSet, fs};

use aws_lc_rs::digest::{SHA256, digest};
use hallmark_tlog::audit::LogFiles as _;

use crate::{
    directory::Directory,
    problem::Problem,
    target::{Caching, Target},
};

/// Where they are, each under its SHA-256.
const POLICIES: &str = "policies";

/// What was carried.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    carried: BTreeSet<String>,
    /// Files that are not what their names say, and were said not to be.
    refused: BTreeSet<String>,
}

impl Policies {
    /// Carries those that are new.
    pub(crate) async fn carry(&mut self, directory: &Directory, target: &Target) -> Result<(), Problem> {
        let Ok(listed) = fs::read_dir(directory.0.join(POLICIES)) else { return Ok(()) };
        let names = listed.filter_map(|file| file.ok()?.file_name().into_string().ok());
        let is_digest = |name: &String| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let new: Vec<String> = names.filter(is_digest).filter(|name| !self.carried.contains(name)).collect();
        for name in new {
            let path = format!("{POLICIES}/{name}");
            let failed = |source| Problem::File { path: directory.0.join(&path), source };
            let Some(content) = directory.read(&path).map_err(failed)? else { continue };
            if hexadecimal(digest(&SHA256, &content).as_ref()) == name {
                target.put(&path, content, Caching::Immutable).await?;
                self.carried.insert(name);
            } else if self.refused.insert(name) {
                eprintln!("warning: `{path}` does not have the SHA-256 that its name says; it is not carried");
            }
        }
        Ok(())
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
