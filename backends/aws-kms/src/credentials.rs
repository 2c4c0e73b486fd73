//! Credentials of AWS: a file in the format of the shared credentials file, read again when it changes.

use std::{
    fmt, fs,
    io::Read as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use aws_credential_types::{
    Credentials as SdkCredentials,
    provider::{self, ProvideCredentials, error::CredentialsError as SdkError, future},
};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

/// Longest file of credentials, in bytes.
pub const CREDENTIALS_BYTES_MAX: usize = 16_384;

/// Permission bits that the file must not have: anything for group and others.
const FORBIDDEN_MODE: u32 = 0o077;

/// Settings that are read.
const ACCESS_KEY_ID: &str = "aws_access_key_id";
const SECRET_ACCESS_KEY: &str = "aws_secret_access_key";
const SESSION_TOKEN: &str = "aws_session_token";

/// What other tools write beside them, for themselves.
const OTHERS: [&str; 5] = ["aws_account_id", "aws_credential_expiration", "aws_expiration", "expiration", "region"];
/// What such settings begin with in tools that are not AWS's.
const OTHERS_PREFIX: &str = "x_";

/// What the client library calls this source in its own log.
const SOURCE_NAME: &str = "hallmark";

/// Where credentials are.
#[derive(Clone, Debug)]
pub enum CredentialsPlace {
    /// A file of mode 0600 or stricter, which is read again when it changes.
    File(PathBuf),
    /// The same content, from whoever was given it at the start.
    Given(SecretString),
}

/// Credentials, and how they are read again.
pub struct Credentials {
    place: CredentialsPlace,
    profile: String,
    known: Mutex<Option<Known>>,
}

/// What was read, of which content of the file.
struct Known {
    stamp: Option<Stamp>,
    credentials: SdkCredentials,
}

/// What another content of a file has otherwise.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Why credentials cannot be used. Nothing of them is in it.
#[derive(Debug, thiserror::Error)]
#[error("the credentials in {place} cannot be used: {why}")]
pub struct CredentialsError {
    place: String,
    why: Why,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("{0}")]
    Unreadable(#[from] std::io::Error),
    #[error("others can read them (mode {mode:04o}); hint: chmod 600 {}", path.display())]
    Readable { mode: u32, path: PathBuf },
    #[error("it is no regular file")]
    NoFile,
    #[error("they have more than {CREDENTIALS_BYTES_MAX} bytes")]
    Long,
    #[error("they are not UTF-8 text")]
    NotText,
    #[error("line {line} is neither `[PROFILE]` nor `NAME = VALUE`")]
    Line { line: usize },
    #[error(
        "line {line} has `{name}`, which this signer does not do; write {ACCESS_KEY_ID}, {SECRET_ACCESS_KEY} and, for temporary ones, {SESSION_TOKEN}"
    )]
    Unknown { line: usize, name: String },
    #[error("line {line} sets `{name}` once more")]
    Twice { line: usize, name: &'static str },
    #[error("there is no `[{profile}]`")]
    NoProfile { profile: String },
    #[error("`[{profile}]` has no `{name}`")]
    Missing { profile: String, name: &'static str },
    #[error("line {line} has a value that is none of `{name}`")]
    Value { line: usize, name: &'static str },
}

impl CredentialsPlace {
    /// Where they are, for people.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::File(path) => format!("`{}`", path.display()),
            Self::Given(_) => "what was given at the start".to_owned(),
        }
    }
}

impl Credentials {
    /// Credentials of this profile. Nothing is read yet.
    #[must_use]
    pub fn new(place: CredentialsPlace, profile: &str) -> Self {
        Self { place, profile: profile.to_owned(), known: Mutex::default() }
    }

    /// Reads them, to see that they can be used.
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub fn check(&self) -> Result<(), CredentialsError> {
        self.current().map(drop)
    }

    /// Where they are, for people.
    #[must_use]
    pub fn told(&self) -> String {
        self.place.told()
    }

    /// They were refused: they are read again before they are used again, also where the file seems to be the same.
    pub(crate) fn forget(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn current(&self) -> Result<SdkCredentials, CredentialsError> {
        let told = |why| CredentialsError { place: self.place.told(), why };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = match &self.place {
            CredentialsPlace::File(path) => Some(Stamp::of(&fs::metadata(path).map_err(|error| told(error.into()))?)),
            CredentialsPlace::Given(_) => None,
        };
        if let Some(known) = known.as_ref().filter(|known| known.stamp == stamp) {
            return Ok(known.credentials.clone());
        }
        // What cannot be read is not what was there before.
        *known = None;
        let (stamp, read) = match &self.place {
            CredentialsPlace::File(path) => {
                let (stamp, text) = read(path).map_err(told)?;
                (Some(stamp), parse(&text, &self.profile))
            }
            CredentialsPlace::Given(text) => (None, parse(text.expose_secret(), &self.profile)),
        };
        let credentials = read.map_err(told)?;
        *known = Some(Known { stamp, credentials: credentials.clone() });
        Ok(credentials)
    }
}

/// Credentials, as the client library asks for them: before every request.
#[derive(Debug)]
pub(crate) struct Provider(pub(crate) Arc<Credentials>);

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let current: provider::Result = self.0.current().map_err(SdkError::provider_error);
        future::ProvideCredentials::ready(current)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, [{}])", self.place.told(), self.profile)
    }
}

impl Stamp {
    fn of(file: &fs::Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            bytes: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

/// Reads a small file that nobody else may read.
fn read(path: &Path) -> Result<(Stamp, Zeroizing<String>), Why> {
    // A pipe that nobody writes to would hold whoever opens it; a file is read all the same.
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Why::NoFile);
    }
    let mode = metadata.mode() & 0o7777;
    if mode & FORBIDDEN_MODE != 0 {
        return Err(Why::Readable { mode, path: path.to_owned() });
    }
    // With room for all of it, so that nothing is left behind where it grew.
    let mut bytes = Zeroizing::new(Vec::with_capacity(CREDENTIALS_BYTES_MAX + 1));
    file.take(CREDENTIALS_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > CREDENTIALS_BYTES_MAX {
        return Err(Why::Long);
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Why::NotText)?;
    Ok((Stamp::of(&metadata), Zeroizing::new(text.to_owned())))
}

/// What a profile sets.
#[derive(Default)]
struct Profile<'a> {
    access_key_id: Option<&'a str>,
    secret_access_key: Option<&'a str>,
    session_token: Option<&'a str>,
}

/// Reads one profile of the format of the shared credentials file ("Shared config and credentials files", AWS SDKs and Tools Reference Guide). What
/// stands in others is not looked at. Strict where AWS's own tools are not: a setting that would have them look elsewhere is refused by its name.
fn parse(text: &str, profile: &str) -> Result<SdkCredentials, Why> {
    let (mut found, mut is_there, mut is_ours) = (Profile::default(), false, false);
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = content.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_ours = name.trim() == profile;
            is_there |= is_ours;
            continue;
        }
        if !is_ours {
            continue;
        }
        let (name, value) = content.split_once('=').ok_or(Why::Line { line })?;
        found.set(line, name.trim(), value.trim())?;
    }
    if !is_there {
        return Err(Why::NoProfile { profile: profile.to_owned() });
    }
    let missing = |name| Why::Missing { profile: profile.to_owned(), name };
    let access_key_id = found.access_key_id.ok_or_else(|| missing(ACCESS_KEY_ID))?;
    let secret_access_key = found.secret_access_key.ok_or_else(|| missing(SECRET_ACCESS_KEY))?;
    let token = found.session_token.map(str::to_owned);
    Ok(SdkCredentials::new(access_key_id, secret_access_key, token, None, SOURCE_NAME))
}

impl<'a> Profile<'a> {
    fn set(&mut self, line: usize, name: &str, value: &'a str) -> Result<(), Why> {
        let (place, name) = match name {
            ACCESS_KEY_ID => (&mut self.access_key_id, ACCESS_KEY_ID),
            SECRET_ACCESS_KEY => (&mut self.secret_access_key, SECRET_ACCESS_KEY),
            SESSION_TOKEN => (&mut self.session_token, SESSION_TOKEN),
            other if OTHERS.contains(&other) || other.starts_with(OTHERS_PREFIX) => return Ok(()),
            other => return Err(unknown(line, other)),
        };
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Why::Value { line, name });
        }
        if place.replace(value).is_some() { Err(Why::Twice { line, name }) } else { Ok(()) }
    }
}

/// A setting that is not known, by its name; what is none may be a part of a secret.
fn unknown(line: usize, name: &str) -> Why {
    let is_name = name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_name { Why::Unknown { line, name: name.to_owned() } } else { Why::Line { line } }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const TEXT: &str = "# of tests\n[other]\ncredential_process = /bin/true\n\n[default]\naws_access_key_id = AKIAEXAMPLE\n\
                        aws_secret_access_key=se/cr+et=\nx_security_token_expires = 2026-12-01\nregion = eu-central-1\n";

    fn write(directory: &Path, text: &str, mode: u32) -> PathBuf {
        let path = directory.join("aws");
        let new = directory.join("aws.new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(new, &path).unwrap();
        path
    }

    #[test]
    fn one_profile_is_read_and_the_others_are_not_looked_at() {
        let read = parse(TEXT, "default").unwrap();
        assert_eq!((read.access_key_id(), read.secret_access_key()), ("AKIAEXAMPLE", "se/cr+et="));
        assert_eq!(read.session_token(), None);
        let temporary = parse(&format!("{TEXT}aws_session_token = to/ken==\n"), "default").unwrap();
        assert_eq!(temporary.session_token(), Some("to/ken=="));
    }

    #[test]
    fn what_is_not_understood_is_refused_and_no_secret_is_told() {
        for (text, sentence) in [
            (TEXT.replace("[default]", "[prod]"), "there is no `[default]`"),
            (TEXT.replace("aws_secret_access_key=se/cr+et=", ""), "has no `aws_secret_access_key`"),
            (TEXT.replace("aws_access_key_id = AKIAEXAMPLE", ""), "has no `aws_access_key_id`"),
            (format!("{TEXT}role_arn = arn:aws:iam::123456789012:role/a\n"), "line 10 has `role_arn`"),
            (format!("{TEXT}se/cr+et\n"), "line 10 is neither"),
            (format!("{TEXT}se/cr+et = 1\n"), "line 10 is neither"),
            (format!("{TEXT}aws_access_key_id = AKIAEXAMPLE\n"), "line 10 sets `aws_access_key_id` once more"),
            (format!("{TEXT}aws_session_token = se/cr+et again\n"), "line 10 has a value that is none"),
            (format!("{TEXT}aws_session_token =\n"), "line 10 has a value that is none"),
        ] {
            let told = parse(&text, "default").unwrap_err().to_string();
            assert!(told.contains(sentence), "{told}");
            assert!(!told.contains("cr+et") && !told.contains("EXAMPLE"), "{told}");
        }
    }

    #[test]
    fn a_file_is_read_again_when_it_is_another_or_was_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = write(directory.path(), TEXT, 0o600);
        let credentials = Credentials::new(CredentialsPlace::File(path), "default");
        let id = || credentials.current().unwrap().access_key_id().to_owned();
        assert_eq!((id(), id()), ("AKIAEXAMPLE".to_owned(), "AKIAEXAMPLE".to_owned()));
        write(directory.path(), &TEXT.replace("AKIAEXAMPLE", "AKIAANOTHER"), 0o600);
        assert_eq!(id(), "AKIAANOTHER");
        credentials.forget();
        assert_eq!(id(), "AKIAANOTHER");
        // Of what was there before nothing is used any more.
        write(directory.path(), "[default]\n", 0o600);
        assert!(credentials.current().is_err());
        fs::remove_file(directory.path().join("aws")).unwrap();
        assert!(credentials.current().is_err());
    }

    #[test]
    fn a_file_that_others_can_read_or_that_is_too_long_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let check = |text: &str, mode| {
            let path = write(directory.path(), text, mode);
            Credentials::new(CredentialsPlace::File(path), "default").check().map_err(|error| error.to_string())
        };
        assert_eq!(check(TEXT, 0o400), Ok(()));
        for mode in [0o640, 0o604, 0o620] {
            assert!(check(TEXT, mode).unwrap_err().contains("others can read them"), "{mode:o}");
        }
        let long = format!("{TEXT}#{}\n", "a".repeat(CREDENTIALS_BYTES_MAX));
        assert!(check(&long, 0o600).unwrap_err().contains("more than"));
    }

    #[test]
    fn a_pipe_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("aws");
        assert!(std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&path).status().unwrap().success());
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            send.send(
                Credentials::new(CredentialsPlace::File(path), "default").check().map_err(|error| error.to_string()),
            )
        });
        let told = receive.recv_timeout(std::time::Duration::from_secs(10)).unwrap().unwrap_err();
        assert!(told.contains("no regular file"), "{told}");
    }

    #[test]
    fn nothing_of_them_is_shown() {
        let given = Credentials::new(CredentialsPlace::Given(TEXT.into()), "default");
        given.check().unwrap();
        let shown = format!("{given:?} {:?} {:?}", given.place, given.current().unwrap());
        assert!(!shown.contains("cr+et"), "{shown}");
    }
}
