//! Shares in files that only their custodians open: age (age-encryption.org/v1), to an age or an SSH key.

use std::str::FromStr as _;

use age::{
    Recipient,
    armor::{ArmoredReader, ArmoredWriter, Format},
};
use zeroize::Zeroizing;

use crate::{error::CeremonyError, run::defect};

/// To whom a share is sealed.
#[derive(Clone)]
pub(crate) enum Sealer {
    Age(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Age(_) => "Sealer(age)",
            Self::Ssh(_) => "Sealer(ssh)",
        })
    }
}

impl Sealer {
    /// Reads `age1..` or `ssh-ed25519 ..`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.starts_with("age1") {
            return age::x25519::Recipient::from_str(text).ok().map(Self::Age);
        }
        if !text.starts_with("ssh-ed25519 ") {
            return None;
        }
        age::ssh::Recipient::from_str(text).ok().map(Self::Ssh)
    }

    /// Encrypts, armoured.
    pub(crate) fn seal(&self, text: &str) -> Result<Vec<u8>, CeremonyError> {
        use std::io::Write as _;
        let recipient: &dyn Recipient = match self {
            Self::Age(recipient) => recipient,
            Self::Ssh(recipient) => recipient,
        };
        let failed = |error: &dyn std::fmt::Display| defect(&format!("a share could not be sealed: {error}"));
        let encryptor = age::Encryptor::with_recipients(std::iter::once(recipient)).map_err(|error| failed(&error))?;
        let armour = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).map_err(|error| failed(&error))?;
        let mut writer = encryptor.wrap_output(armour).map_err(|error| failed(&error))?;
        writer.write_all(text.as_bytes()).map_err(|error| failed(&error))?;
        writer.finish().and_then(ArmoredWriter::finish).map_err(|error| failed(&error))
    }
}

/// What an age secret key begins with.
const SECRET_KEY: &str = "AGE-SECRET-KEY-1";

/// Opens a sealed share with a file of identities: age secret keys, a line each, or an SSH key without a passphrase.
pub(crate) fn open(sealed: &[u8], identity: &[u8]) -> Option<Zeroizing<String>> {
    use std::io::Read as _;
    let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(sealed)).ok()?;
    let mut text = Zeroizing::new(String::new());
    let ssh = age::ssh::Identity::from_buffer(identity, None).ok();
    match ssh {
        Some(identity) => {
            decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).ok()?.read_to_string(&mut text).ok()?
        }
        None => {
            let file = std::str::from_utf8(identity).ok()?;
            let lines = file.lines().map(str::trim).filter(|line| line.starts_with(SECRET_KEY));
            let identities = lines.map(age::x25519::Identity::from_str).collect::<Result<Vec<_>, _>>().ok()?;
            let each = identities.iter().map(|identity| identity as &dyn age::Identity);
            decryptor.decrypt(each).ok()?.read_to_string(&mut text).ok()?
        }
    };
    Some(text)
}
