//! The file of a ceremony as it was typed. What it means is in [`crate::meaning`]; every misspelling is an error here.

mod other;

use std::path::{Path, PathBuf};

use hallmark_backends::{
    CommandLogUse, DeviceLogFindings, ModuleConfig, ModuleWaiver, NamedException, YubiHsmConfig, YubiHsmPlaceError,
};
use secrecy::SecretString;
use serde::Deserialize;

pub use self::other::{AwsKmsPlace, StandsFor};

/// Largest file that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 262_144;

/// Where keys of a YubiHSM are if the file does not say.
const DOMAIN_DEFAULT: u8 = 1;

/// The whole file: the only input of a ceremony but for PINs. Paths are relative to its directory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CeremonyFile {
    /// Version of this format: 1.
    pub version: u32,
    /// Name of the ceremony: 1 to 64 letters, digits, `.`, `_` and `-`. No other in the same log has it.
    pub ceremony: String,
    /// What it is for, in words; stands in the transcript.
    pub about: Option<String>,
    /// Where the transcript is written; `NAME.transcript.json` if not set. What belongs to it stands beside it.
    pub transcript: Option<PathBuf>,
    /// The policy. Every task but `log-key` needs it.
    pub policy: Option<PolicyTable>,
    /// The device. Every task but `log-key` needs it.
    pub device: Option<DevicePlace>,
    /// The log of ceremonies.
    pub log: LogTable,
    /// How it is rehearsed.
    pub rehearsal: Option<RehearsalTable>,
    /// Who watches, and lets each step be done. Nobody: it can only be run with `--unattended`.
    #[serde(default)]
    pub witness: Vec<WitnessTable>,
    /// What is done: exactly one.
    pub task: TaskTable,
}

/// `[policy]`: which section of which policy decides.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PolicyTable {
    /// The policy file: the one of the signer that the authority is for.
    pub file: PathBuf,
    /// The authority whose root it is about.
    pub authority: String,
}

/// `[device]`: the token, so described that it can be no other. As it is meant, its paths begin at the file's directory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DevicePlace {
    /// Path of the PKCS#11 module; empty for a YubiHSM and for AWS KMS.
    #[serde(default)]
    pub module: PathBuf,
    /// What the module is given when it is initialised, where it reads its configuration there.
    pub module_arguments: Option<String>,
    /// What this module says otherwise of the history of keys that were made in it.
    #[serde(default)]
    pub waive: Vec<ModuleWaiver>,
    /// Label of the token; empty for a YubiHSM and for AWS KMS.
    #[serde(default)]
    pub token: String,
    /// `[device.yubihsm]`: a YubiHSM, and no token behind a module.
    pub yubihsm: Option<YubiHsmPlace>,
    /// `[device.aws-kms]`: AWS KMS, and no token behind a module.
    pub aws_kms: Option<AwsKmsPlace>,
    /// A rehearsal's token stands for what tells of its keys otherwise than a token. No file says this.
    #[serde(skip)]
    pub stands_for: Option<StandsFor>,
    /// Its serial number; of AWS KMS, the number of the account.
    pub serial: String,
    /// Its firmware version, as it tells it; any if not set.
    pub firmware: Option<String>,
    /// A file with the user PIN, for ceremonies without people; it is asked for if not set. For AWS KMS the file of credentials.
    pub pin_file: Option<PathBuf>,
    /// The record of the quorum that has the PIN: its custodians are asked for their shares. Not beside `pin-file`.
    pub pin_quorum: Option<PathBuf>,
    /// A file with the security officer's PIN, for a trusted wrap key made without people; it is asked for if not set.
    pub so_pin_file: Option<PathBuf>,
    /// `[[device.exception]]`: keys that may be kept less strictly than CA keys are, each named.
    #[serde(default)]
    pub exception: Vec<NamedException>,
}

/// `[device.yubihsm]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct YubiHsmPlace {
    /// Where it is: `http://127.0.0.1:12345`, `usb`, or `usb:` and its serial number.
    pub connector: String,
    /// The number of the authentication key, whose password is the PIN of this file.
    pub authentication_key: u16,
    /// The domains that keys are in; the first alone if not set.
    pub domains: Option<Vec<u8>>,
    /// Capabilities that the authentication key may have although they are not needed, each named.
    #[serde(default)]
    pub accept_capabilities: Vec<String>,
}

impl YubiHsmPlace {
    /// How it is opened, with this password.
    pub(crate) fn config(&self, password: SecretString) -> Result<YubiHsmConfig, String> {
        let config = YubiHsmConfig {
            connector: self.connector.parse().map_err(|error: YubiHsmPlaceError| format!("`connector`: {error}"))?,
            authentication_key: self.authentication_key,
            password,
            sessions: 1,
            domains: self.domains.clone().unwrap_or_else(|| vec![DOMAIN_DEFAULT]),
            accepted: self.accept_capabilities.clone(),
            command_log: CommandLogUse::Off,
            kinds: None,
            findings: DeviceLogFindings::default(),
        };
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }
}

impl DevicePlace {
    /// The module, and what it needs.
    pub(crate) fn module(&self) -> ModuleConfig {
        let waived = self.waive.clone();
        ModuleConfig { path: self.module.clone(), arguments: self.module_arguments.clone(), waived }
    }

    /// What it is called, for people.
    pub(crate) fn name(&self) -> String {
        match (&self.yubihsm, &self.aws_kms) {
            (None, None) => self.token.clone(),
            (Some(YubiHsmPlace { connector, authentication_key, .. }), _) => {
                format!("authentication key {authentication_key:#06x} at {connector}")
            }
            (None, Some(place)) => format!("AWS KMS in {}", place.region),
        }
    }

    /// The same, with paths that begin at this directory.
    pub(crate) fn from(&self, directory: &Path) -> Self {
        let place = |path: &PathBuf| directory.join(path);
        Self {
            module: place(&self.module),
            pin_file: self.pin_file.as_ref().map(place),
            pin_quorum: self.pin_quorum.as_ref().map(place),
            so_pin_file: self.so_pin_file.as_ref().map(place),
            ..self.clone()
        }
    }
}

/// `[log]`: the log of ceremonies, with an origin of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LogTable {
    /// Its origin: the first line of every checkpoint and the name of its key.
    pub origin: String,
    /// Its directory: database, key and journals, and the published log in `public/`. The first ceremony makes it.
    pub directory: PathBuf,
}

/// `[rehearsal]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RehearsalTable {
    /// Path of SoftHSM's module, or of kryoptic's, which makes more kinds of keys; where Debian has SoftHSM's if not set.
    pub module: PathBuf,
}

/// `[[witness]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WitnessTable {
    /// Name.
    pub name: String,
    /// What is typed to let a step be done: 2 to 4 capital letters, different for each witness.
    pub initials: String,
    /// The public SSH key (`ssh-ed25519 AAAA..`) by which the transcript is to be signed. Without it and `certificate`, the initials alone count.
    pub ssh_key: Option<String>,
    /// The X.509 certificate, PEM, by whose key the transcript is to be signed. Not beside `ssh-key`.
    pub certificate: Option<String>,
}

/// `[task.*]`: exactly one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum TaskTable {
    /// A root: its key and its self-signed certificate.
    Root(RootTable),
    /// The intermediate CA certificate of an epoch that a signer prepares elsewhere.
    Intermediate(IntermediateTable),
    /// A certificate by which the root vouches for another root.
    CrossCertificate(CrossCertificateTable),
    /// The root's next CRL.
    Crl(CrlTable),
    /// A key and nothing else.
    Key(KeyTable),
    /// The end of a key.
    Destroy(DestroyTable),
    /// A key for a decision log, in a file.
    LogKey(LogKeyTable),
    /// A new PIN for the token, split among custodians.
    Quorum(QuorumTable),
    /// A key that wraps others.
    WrapKey(WrapKeyTable),
    /// A key that leaves its token in wrapped form.
    Backup(BackupTable),
    /// A key that comes back out of its wrapping.
    Restore(RestoreTable),
}

/// `[task.root]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RootTable {
    /// Label of the key, which no other object of the token has.
    pub label: String,
    /// Whether the key may be wrapped and leave the token, `by-any` wrap key or `by-trusted` ones alone; it never can if not set.
    pub wrappable: Option<String>,
    /// When the certificate begins, such as `2026-01-31T00:00:00Z`; when it is made if not set. It lives as long as the policy says.
    pub not_before: Option<String>,
    /// Where the certificate is written, PEM.
    pub certificate: PathBuf,
}

/// `[task.intermediate]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct IntermediateTable {
    /// The root's certificate, PEM.
    pub issuer: PathBuf,
    /// The certification request of the epoch, as `hallmark epoch prepare` or `hallmark rotate` writes it.
    pub request: PathBuf,
    /// Lifetime; the policy's if not set.
    pub lifetime: Option<String>,
    /// Where the certificate is written, PEM.
    pub certificate: PathBuf,
}

/// `[task.cross-certificate]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CrossCertificateTable {
    /// The certificate of the root that signs, PEM.
    pub issuer: PathBuf,
    /// The authority in the same policy whose root is vouched for.
    pub subject_authority: String,
    /// The certificate of that root, PEM.
    pub subject: PathBuf,
    /// Lifetime.
    pub lifetime: String,
    /// Where the certificate is written, PEM.
    pub certificate: PathBuf,
}

/// `[task.crl]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CrlTable {
    /// The root's certificate, PEM.
    pub issuer: PathBuf,
    /// What is revoked before it is signed.
    #[serde(default)]
    pub revoke: Vec<RevokeTable>,
    /// What nextUpdate is to reach, where that is later than the policy's lifetime.
    pub next_update: Option<String>,
    /// Where it is written, PEM.
    pub crl: PathBuf,
}

/// One entry of `revoke` in `[task.crl]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RevokeTable {
    /// Serial number of a certificate that the root signed in a ceremony of this log, lower-case hexadecimal.
    pub serial: String,
    /// Why, as RFC 5280, section 5.3.1, calls it: `key-compromise`, `superseded` and so on.
    pub reason: String,
}

/// `[task.key]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeyTable {
    /// Its label, which no other object of the token has.
    pub label: String,
    /// Its kind, such as `ecdsa-p384`.
    pub kind: String,
    /// Whether it may be destroyed later. `false` if not set: then no ceremony destroys it.
    #[serde(default)]
    pub destroyable: bool,
    /// Whether it may be wrapped and leave the token, `by-any` wrap key or `by-trusted` ones alone; it never can if not set.
    pub wrappable: Option<String>,
    /// Where the public key is written, PEM.
    pub public_key: PathBuf,
}

/// `[task.destroy]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DestroyTable {
    /// The key as the token knows it: `pkcs11:id=<hex>;object=<label>`.
    pub key: String,
    /// SHA-256 of its SubjectPublicKeyInfo, lower-case hexadecimal.
    pub spki_sha256: String,
}

/// `[task.quorum]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct QuorumTable {
    /// How many custodians have the PIN together: 2 to 15.
    pub threshold: usize,
    /// Where the record is written, which everybody may read: `pin-quorum` of later ceremonies.
    pub record: PathBuf,
    /// The custodians, at least as many as `threshold` and 15 at most.
    pub custodian: Vec<CustodianTable>,
}

/// One entry of `custodian` in `[task.quorum]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CustodianTable {
    /// Name.
    pub name: String,
    /// Where the share is written, mode 0600: a page to be printed (PDF where it ends in `.pdf`, else HTML), or sealed if there is a
    /// `recipient`.
    pub share: PathBuf,
    /// To whom it is sealed (age-encryption.org/v1): `age1..` or `ssh-ed25519 ..`. A page for paper if not set.
    pub recipient: Option<String>,
}

/// `[task.log-key]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LogKeyTable {
    /// Origin of the log that it is for.
    pub origin: String,
    /// Where the secret key is written, mode 0600.
    pub key: PathBuf,
    /// Where the public key is written.
    pub public_key: PathBuf,
}

/// `[task.wrap-key]`: its value is drawn here and split (`threshold`, `record`, `custodian`), or custodians bring it (`quorum`).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WrapKeyTable {
    /// Its label, which no other secret key of the token has.
    pub label: String,
    /// How many custodians have it together: 2 to 15.
    pub threshold: Option<usize>,
    /// Where the record is written, which everybody may read: `quorum` of later ceremonies.
    pub record: Option<PathBuf>,
    /// The custodians, at least as many as `threshold` and 15 at most.
    #[serde(default)]
    pub custodian: Vec<CustodianTable>,
    /// The record of the quorum that has it from an earlier ceremony.
    pub quorum: Option<PathBuf>,
    /// Whether the security officer marks it as trusted, so that it wraps keys that are `wrappable` `by-trusted` ones alone. `false` if not set.
    #[serde(default)]
    pub trusted: bool,
}

/// `[task.backup]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BackupTable {
    /// The key as the token knows it: `pkcs11:id=<hex>;object=<label>`.
    pub key: String,
    /// SHA-256 of its SubjectPublicKeyInfo, lower-case hexadecimal.
    pub spki_sha256: String,
    /// Label of the wrap key in the token. Not beside `quorum`.
    pub wrap_key: Option<String>,
    /// The record of the quorum that brings the wrap key, which the token then has for one call.
    pub quorum: Option<PathBuf>,
    /// Where the wrapped key is written.
    pub backup: PathBuf,
}

/// `[task.restore]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RestoreTable {
    /// The file that a backup wrote.
    pub backup: PathBuf,
    /// Its SHA-256, as the transcript of the backup has it.
    pub backup_sha256: String,
    /// The key as the token knew it: `pkcs11:id=<hex>;object=<label>`. Nothing in this token has that label.
    pub key: String,
    /// SHA-256 of its SubjectPublicKeyInfo, lower-case hexadecimal.
    pub spki_sha256: String,
    /// The record of the quorum that brings the wrap key, which the token has for one call: no wrap key that lasts in a token unwraps.
    pub quorum: PathBuf,
}
