//! A laboratory in a directory: TLS certificates, configuration and policy that work as they are.

mod certificates;
mod configuration;

use std::path::Path;

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::{arguments::LabArguments, files, stdout, trouble::Trouble};

/// Random bytes of a passphrase.
const PASSPHRASE_BYTES: usize = 24;

/// One file of the laboratory.
struct LabFile {
    name: &'static str,
    content: Zeroizing<Vec<u8>>,
    mode: u32,
}

impl LabFile {
    fn public(name: &'static str, content: String) -> Self {
        Self { name, content: Zeroizing::new(content.into_bytes()), mode: files::PUBLIC }
    }

    fn secret(name: &'static str, content: String) -> Self {
        Self { name, content: Zeroizing::new(content.into_bytes()), mode: files::SECRET }
    }

    fn write(&self, directory: &Path, force: bool) -> Result<(), Trouble> {
        let path = directory.join(self.name);
        let there = files::exists(&path)?;
        let (write, done): (fn(&Path, &[u8], u32) -> _, _) = match there {
            true if !force => {
                stdout::line(format!("kept     {}", path.display()));
                return Ok(());
            }
            true => (files::replace, "replaced"),
            false => (files::create, "written "),
        };
        write(&path, &self.content, self.mode)?;
        stdout::line(format!("{done} {}", path.display()));
        Ok(())
    }
}

/// Writes what is missing; with `--force` everything but secrets that protect keys.
pub(crate) fn lab(arguments: LabArguments) -> Result<(), Trouble> {
    let LabArguments { directory, listen, token_module, software, force } = arguments;
    let settings = configuration::signer_toml(listen, token_module.as_deref(), software)?;
    files::create_directory(&directory)?;
    write_certificates(&directory, force)?;
    LabFile::public("signer.toml", settings).write(&directory, force)?;
    LabFile::public("policy.toml", configuration::POLICY.to_owned()).write(&directory, force)?;
    if software {
        LabFile::secret("passphrase", passphrase()?).write(&directory, false)?;
    }
    let here = directory.display();
    if !software {
        stdout::line(format!("Next, a token: softhsm-config/token {here}/softhsm hallmark {here}/pin {here}/so-pin"));
    }
    let flag = if software { " --allow-software-keys" } else { "" };
    stdout::line(format!("Then: hallmarkd check {here}/signer.toml"));
    stdout::line(format!("      hallmarkd init {here}/signer.toml --out {here}{flag}"));
    stdout::line(format!("      hallmarkd run {here}/signer.toml{flag}"));
    Ok(())
}

/// The TLS files are one set: all of them are kept, or all are written.
fn write_certificates(directory: &Path, force: bool) -> Result<(), Trouble> {
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    for name in certificates::NAMES {
        let path = directory.join(name);
        if files::exists(&path)? { there.push(path) } else { missing.push(path) }
    }
    match missing.into_iter().next() {
        Some(path) if !there.is_empty() && !force => Err(Trouble::PartOfSet { path }),
        None if !force => {
            there.iter().for_each(|path| stdout::line(format!("kept     {}", path.display())));
            Ok(())
        }
        Some(_) | None => certificates::make()?.iter().try_for_each(|file| file.write(directory, force)),
    }
}

/// A passphrase that nobody has to remember.
fn passphrase() -> Result<String, Trouble> {
    let mut random = Zeroizing::new([0; PASSPHRASE_BYTES]);
    rand::fill(random.as_mut_slice()).map_err(|_| Trouble::NoRandomness)?;
    Ok(hallmark_policy::hex(random.as_slice()) + "\n")
}
