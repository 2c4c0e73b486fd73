//! What there is to look at: named by a signer's configuration (`signer.toml`), or by a ceremony's file.

use std::path::{Path, PathBuf};

use hallmark_backends::{KeyPurpose, ModuleConfig, ModuleWaiver, NamedException};
use serde::Deserialize;

use crate::{
    book,
    error::CeremonyError,
    meaning::{Ceremony, Task},
    output,
};

/// Sessions of a signer if its configuration does not say.
const SESSIONS_DEFAULT: u64 = 4;

/// `command-log` of who does not look at it.
const COMMAND_LOG_OFF: &str = "off";

/// Which credentials are meant if nobody says.
const PROFILE_DEFAULT: &str = "default";

/// What a configuration names.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    pub(super) is_ceremony: bool,
    pub(super) policy: Option<PathBuf>,
    pub(super) authority: Option<String>,
    pub(super) device: Option<Device>,
    /// A YubiHSM in its place.
    pub(super) yubihsm: Option<YubiHsm>,
    /// AWS KMS in its place.
    pub(super) aws_kms: Option<AwsKms>,
    /// Further tokens that hold the same keys.
    pub(super) replicas: Vec<Device>,
    pub(super) directories: Vec<(&'static str, PathBuf)>,
    pub(super) certificates: Vec<PathBuf>,
}

/// A device, as it is configured.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) module: ModuleConfig,
    pub(super) token: String,
    pub(super) serial: Option<String>,
    pub(super) firmware: Option<String>,
    pub(super) sessions: u64,
    /// Keys that are kept less strictly, each with why.
    pub(super) exceptions: Vec<NamedException>,
    /// Whether keys are wrapped in it, or come out of their wrapping.
    pub(super) wraps: bool,
}

/// A YubiHSM, as it is configured.
#[derive(Clone, Debug)]
pub(super) struct YubiHsm {
    pub(super) connector: String,
    pub(super) sessions: u64,
    /// Whether its command log is read.
    pub(super) reads_log: bool,
    /// What its authentication key may have beyond its needs.
    pub(super) accepted: Vec<String>,
}

/// AWS KMS, as it is configured.
#[derive(Clone, Debug)]
pub(super) struct AwsKms {
    pub(super) region: String,
    pub(super) endpoint: Option<String>,
    pub(super) profile: String,
    /// The file of credentials, where they are one.
    pub(super) credentials: Option<PathBuf>,
}

/// The settings of `signer.toml` that are looked at; `hallmarkd check` reads all of them, and finds what is misspelt.
#[derive(Debug, Deserialize)]
struct SignerFile {
    listen: Option<ListenTable>,
    policy: FileTable,
    ledger: LedgerTable,
    log: LogTable,
    backend: BackendTable,
}

#[derive(Debug, Deserialize)]
struct ListenTable {
    certificate: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct FileTable {
    file: PathBuf,
}

#[derive(Debug, Deserialize)]
struct LedgerTable {
    database: PathBuf,
}

#[derive(Debug, Deserialize)]
struct LogTable {
    publish: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct BackendTable {
    pkcs11: Option<Pkcs11Table>,
    yubihsm: Option<YubiHsmTable>,
    aws_kms: Option<AwsKmsTable>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct AwsKmsTable {
    region: String,
    endpoint: Option<String>,
    profile: Option<String>,
    credentials: CredentialsTable,
}

/// Where credentials are; what is no file is not looked at.
#[derive(Debug, Deserialize)]
struct CredentialsTable {
    file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct YubiHsmTable {
    connector: String,
    sessions: Option<u64>,
    command_log: Option<String>,
    #[serde(default)]
    accept_capabilities: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Pkcs11Table {
    module: PathBuf,
    module_arguments: Option<String>,
    #[serde(default)]
    waive: Vec<ModuleWaiver>,
    token: String,
    serial: Option<String>,
    sessions: Option<u64>,
    #[serde(default)]
    replica: Vec<ReplicaTable>,
    #[serde(default)]
    exception: Vec<NamedException>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ReplicaTable {
    module: Option<PathBuf>,
    module_arguments: Option<String>,
    token: String,
    serial: Option<String>,
    sessions: Option<u64>,
}

impl Pkcs11Table {
    /// The first token, and the others.
    fn devices(self, directory: &Path) -> (Device, Vec<Device>) {
        let first = Device {
            module: ModuleConfig {
                path: directory.join(self.module),
                arguments: self.module_arguments,
                waived: self.waive,
            },
            token: self.token,
            serial: self.serial,
            firmware: None,
            sessions: self.sessions.unwrap_or(SESSIONS_DEFAULT),
            exceptions: self.exception.clone(),
            wraps: false,
        };
        let other = |table: ReplicaTable| Device {
            module: match table.module {
                None => first.module.clone(),
                Some(path) => {
                    ModuleConfig { path: directory.join(path), arguments: table.module_arguments, waived: Vec::new() }
                }
            },
            token: table.token,
            serial: table.serial,
            firmware: None,
            sessions: table.sessions.unwrap_or(first.sessions),
            exceptions: Vec::new(),
            wraps: false,
        };
        let others = self.replica.into_iter().map(other).collect();
        (first, others)
    }
}

fn wraps(task: &Task) -> bool {
    matches!(task.purpose(), KeyPurpose::Wrappable(_))
        || matches!(task, Task::WrapKey(_) | Task::Backup(_) | Task::Restore(_))
}

impl Subject {
    /// Reads either of the two.
    pub(super) fn read(file: &Path) -> Result<Self, CeremonyError> {
        let text = output::read(file)?;
        let not_one = || CeremonyError::NotOne {
            path: file.to_owned(),
            wanted: "configuration of a signer, and no ceremony's file",
        };
        let text = String::from_utf8(text).map_err(|_| not_one())?;
        // A ceremony's file has a task, and a signer's configuration has a backend.
        if text.lines().any(|line| line.trim_start().starts_with("[task.")) {
            return crate::read(file).map(|ceremony| Self::of_ceremony(&ceremony));
        }
        let signer: SignerFile = hallmark_policy::strict::read(&text).map_err(|_| not_one())?;
        // A bare name has an empty one.
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        Ok(Self::of_signer(signer, directory))
    }

    fn of_ceremony(ceremony: &Ceremony) -> Self {
        let certificates = match &ceremony.task {
            Task::Intermediate(task) => vec![task.issuer.clone()],
            Task::CrossCertificate(task) => vec![task.issuer.clone(), task.subject.clone()],
            Task::Crl(task) => vec![task.issuer.clone()],
            Task::Root(_)
            | Task::Key(_)
            | Task::Destroy(_)
            | Task::LogKey(_)
            | Task::Quorum(_)
            | Task::WrapKey(_)
            | Task::Backup(_)
            | Task::Restore(_) => Vec::new(),
        };
        let yubihsm = ceremony.device.as_ref().and_then(|place| place.yubihsm.as_ref()).map(|place| YubiHsm {
            connector: place.connector.clone(),
            sessions: 1,
            reads_log: false,
            accepted: place.accept_capabilities.clone(),
        });
        let aws_kms = ceremony.device.as_ref().and_then(|place| place.aws_kms.as_ref().map(|region| (place, region)));
        let aws_kms = aws_kms.map(|(place, region)| AwsKms {
            region: region.region.clone(),
            endpoint: region.endpoint.clone(),
            profile: region.profile.clone().unwrap_or_else(|| PROFILE_DEFAULT.to_owned()),
            credentials: place.pin_file.clone(),
        });
        let device = ceremony.device.as_ref().filter(|place| place.stands_for().is_none()).map(|place| Device {
            module: place.module(),
            token: place.token.clone(),
            serial: Some(place.serial.clone()),
            firmware: place.firmware.clone(),
            sessions: 1,
            exceptions: place.exception.clone(),
            wraps: wraps(&ceremony.task),
        });
        let log = &ceremony.log.directory;
        Self {
            is_ceremony: true,
            policy: ceremony.policy.as_ref().map(|place| place.file.clone()),
            authority: ceremony.policy.as_ref().map(|place| place.authority.clone()),
            device,
            yubihsm,
            aws_kms,
            replicas: Vec::new(),
            directories: vec![
                ("the ceremony's directory", ceremony.directory.clone()),
                ("the published log", book::published(log)),
            ],
            certificates,
        }
    }

    fn of_signer(signer: SignerFile, directory: &Path) -> Self {
        let database = directory.join(signer.ledger.database);
        let yubihsm = signer.backend.yubihsm.map(|table| YubiHsm {
            connector: table.connector,
            sessions: table.sessions.unwrap_or(SESSIONS_DEFAULT),
            reads_log: table.command_log.as_deref() != Some(COMMAND_LOG_OFF),
            accepted: table.accept_capabilities,
        });
        let aws_kms = signer.backend.aws_kms.map(|table| AwsKms {
            region: table.region,
            endpoint: table.endpoint,
            profile: table.profile.unwrap_or_else(|| PROFILE_DEFAULT.to_owned()),
            credentials: table.credentials.file.map(|file| directory.join(file)),
        });
        let devices = signer.backend.pkcs11.map(|table| table.devices(directory));
        let (device, replicas) = devices.map_or_else(Default::default, |(first, others)| (Some(first), others));
        let holder = database.parent().map_or_else(|| directory.to_owned(), Path::to_owned);
        Self {
            is_ceremony: false,
            policy: Some(directory.join(signer.policy.file)),
            authority: None,
            device,
            yubihsm,
            aws_kms,
            replicas,
            directories: vec![("the ledger", holder), ("the published log", directory.join(signer.log.publish))],
            certificates: signer
                .listen
                .and_then(|table| table.certificate)
                .map(|path| directory.join(path))
                .into_iter()
                .collect(),
        }
    }
}
