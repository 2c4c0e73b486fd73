//! A laboratory whose authority rotates by manifest, with an owner whose key is in a file.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use hallmark_policy::{hex, key::SpkiDigest};
use tempfile::TempDir;

use crate::{
    daemon::{Daemon, Laboratory, succeed},
    tools,
};

/// The authority of the example.
pub const MESH: &str = "mesh";

/// Where the example names the key of whoever may set the first manifest.
const OWNER_OF_THE_EXAMPLE: &str = "2202e1c361f8287021ffd4f1697a1a820414bb2d6c7f7fa7b8da1db29a86fe4e";

/// A laboratory with the cookbook's mesh, and its owner's key in `owner.pem`.
#[derive(Debug)]
pub struct Mesh {
    laboratory: Laboratory,
    owner: String,
}

impl Default for Mesh {
    fn default() -> Self {
        Self::new()
    }
}

impl Mesh {
    /// Lays one out, and makes its root. CRLs are signed.
    ///
    /// # Panics
    /// If it cannot be laid out.
    #[must_use]
    pub fn new() -> Self {
        let keys = TempDir::new().expect("a directory");
        let [key, public] = ["owner.pem", "owner.pub"].map(|name| keys.path().join(name));
        succeed(openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout"]).arg("-out").arg(&key));
        succeed(openssl(&["pkey", "-pubout", "-outform", "DER"]).arg("-in").arg(&key).arg("-out").arg(&public));
        let owner = SpkiDigest::of(&fs::read(&public).expect("a public key")).to_string();
        let laboratory = Laboratory::with_policy(|_| policy(&owner));
        for (from, name) in [(&key, "owner.pem"), (&public, "owner.der")] {
            fs::copy(from, laboratory.path(name)).expect("a key is copied");
        }
        Self { laboratory, owner }
    }

    /// The laboratory.
    #[must_use]
    pub fn laboratory(&self) -> &Laboratory {
        &self.laboratory
    }

    /// Writes a manifest in which the workload `web` has these names and the owner stays the owner; gives its path.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn manifest(&self, name: &str, names: &[&str]) -> PathBuf {
        let (hash, owner) = (policy_hash("web"), &self.owner);
        let names: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
        let names = names.join(",");
        let text = format!(r#"{{"Policies":{{"{hash}":{{"SANs":[{names}]}}}},"WorkloadOwnerKeyDigests":["{owner}"]}}"#);
        let path = self.laboratory.path(name);
        fs::write(&path, text + "\n").expect("a manifest is written");
        path
    }

    /// `hallmark rotate` as the owner, over the active transition or, with `--genesis`, the first; into a directory.
    ///
    /// # Panics
    /// If it does not rotate.
    #[must_use]
    pub fn rotate(&self, daemon: &Daemon, manifest: &Path, out: &str, more: &[&str]) -> PathBuf {
        let out = self.laboratory.path(out);
        let mut command = self.laboratory.hallmark(daemon);
        command.args(["rotate", "--authority", MESH, "--owner-key"]).arg(self.laboratory.path("owner.pem"));
        command.arg("--root").arg(self.laboratory.path("root.pem"));
        succeed(command.arg("--manifest").arg(manifest).arg("--out").arg(&out).args(more));
        out
    }

    /// Mints a leaf for the workload `web`, with a key of its own; gives the path of the leaf and its chain.
    ///
    /// # Panics
    /// If it is not minted.
    #[must_use]
    pub fn mint(&self, daemon: &Daemon, name: &str) -> PathBuf {
        let [key, public, out] = ["key", "pub", "pem"].map(|end| self.laboratory.path(&format!("{name}.{end}")));
        succeed(openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout"]).arg("-out").arg(&key));
        succeed(openssl(&["pkey", "-pubout"]).arg("-in").arg(&key).arg("-out").arg(&public));
        let mut command = self.laboratory.hallmark(daemon);
        command.args(["mint", "--profile", "workload", "--policy-hash", &policy_hash("web"), "--spki"]).arg(&public);
        succeed(command.arg("--out").arg(&out));
        out
    }
}

/// The policy hash of a workload of this name.
#[must_use]
pub fn policy_hash(workload: &str) -> String {
    hex(&tools::sha256(workload.as_bytes()))
}

/// The cookbook's policy for a mesh, with this owner, the laboratory's coordinator, and CRLs.
fn policy(owner: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/cookbook/contrast-mesh.toml");
    let mut text = fs::read_to_string(path).expect("the cookbook's policy");
    for (from, to) in [
        (OWNER_OF_THE_EXAMPLE, owner),
        ("spiffe://mesh.internal/coordinator", "spiffe://hallmark.lab/coordinator"),
        ("rotates = \"manifest\"\n", "rotates = \"manifest\"\ncrl = { lifetime = \"7d\", refresh = \"1d\" }\n"),
    ] {
        assert!(text.contains(from), "the cookbook has changed: {from}");
        text = text.replacen(from, to, 1);
    }
    text
}

fn openssl(arguments: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(arguments);
    command
}
