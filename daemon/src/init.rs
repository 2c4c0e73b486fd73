//! Makes what a new daemon lacks: the log key, then roots and first epochs. What is there stays as it is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aws_lc_rs::{digest, rand};
use hallmark_signer::{
    BroughtRoot, CaCertificate, Core, Roots, StartOptions, SystemClock, WINDOW,
    config::{LogTable, read_policy},
};
use hallmark_tlog::note::SignerKey;
use pem_rfc7468::LineEnding;
use zeroize::Zeroizing;

use crate::{
    arguments::{InitArguments, LogArguments, RootFile},
    files, hardening, logging, runtime, secrets,
    settings::Settings,
    starting::software_keys,
    stdout,
    trouble::Trouble,
};

/// Makes what is missing, and says what there is.
pub(crate) fn init(arguments: InitArguments) -> Result<(), Trouble> {
    hardening::close_to_others()?;
    logging::start(&LogArguments::warnings())?;
    let settings = Settings::read(&arguments.file)?;
    let software_keys = software_keys(&settings.core.backend, arguments.allow_software_keys)?;
    // Whatever can be wrong with the policy is told before the first file is written.
    read_policy(&settings.directory.join(&settings.core.policy.file))?;
    let secret = secrets::asked(&settings)?;
    let verifier = make_log_key(&settings.core.log, &settings.directory)?;
    let config = settings.core.clone().given(secret).read(&settings.directory)?;
    let options = StartOptions {
        software_keys,
        refused_pins: None,
        accept_clock: false,
        accept_missing_checkpoint: false,
        accept_missing_anchor: false,
        create_authorities: true,
        roots: roots(&arguments, &settings)?,
        refresh_crls: false,
        window: WINDOW,
        config_sha256: settings.sha256,
        clock: Box::new(SystemClock),
    };
    let runtime = runtime::start()?;
    let certificates = runtime.block_on(async {
        let (core, report) = Core::start(config, options).await?;
        for line in &report.lines {
            stdout::line(line);
        }
        let mut certificates = core.ca_certificates();
        certificates.sort_by(|one, other| one.authority.cmp(&other.authority));
        core.stop().await;
        Ok::<_, Trouble>(certificates)
    })?;
    for certificate in &certificates {
        stdout::line(format!(
            "{}: {}, SHA-256 {}",
            certificate.authority,
            certificate.what,
            fingerprint(&certificate.der)
        ));
    }
    match &arguments.out {
        None => Ok(()),
        Some(directory) => write_out(directory, &certificates, &verifier),
    }
}

/// The certificates of roots that were made elsewhere, one PEM block each, and what their ceremonies have left.
fn roots(arguments: &InitArguments, settings: &Settings) -> Result<Roots, Trouble> {
    let certificate = |RootFile { authority, path }: &RootFile| {
        let unreadable = || Trouble::RootFile { path: path.clone() };
        let text = read(path)?;
        let (label, der) = pem_rfc7468::decode_vec(text.trim_ascii()).map_err(|_| unreadable())?;
        let table = settings.core.ceremony.get(authority);
        let ceremony = table.map(|table| table.read(&settings.directory)).transpose()?;
        match label {
            "CERTIFICATE" => Ok((authority.clone(), BroughtRoot { certificate: der, ceremony })),
            _ => Err(unreadable()),
        }
    };
    arguments.roots.iter().map(certificate).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, Trouble> {
    fs::read(path).map_err(|source| Trouble::Unreadable { path: path.to_owned(), source })
}

/// Makes the log key unless it is there, and its public half beside it. Gives the public half.
pub(crate) fn make_log_key(log: &LogTable, directory: &Path) -> Result<String, Trouble> {
    let (verifier, made) = ensure_log_key(log, directory)?;
    let path = directory.join(&log.key);
    stdout::line(format!("The log key `{}` {made}; its public half is `{verifier}`.", path.display()));
    Ok(verifier)
}

/// The same without a word. Gives the public half, and whether the key was made.
pub(crate) fn ensure_log_key(log: &LogTable, directory: &Path) -> Result<(String, &'static str), Trouble> {
    let path = directory.join(&log.key);
    let made = if files::exists(&path)? {
        "is there"
    } else {
        let mut seed = Zeroizing::new([0; 32]);
        rand::fill(seed.as_mut_slice()).map_err(|_| Trouble::NoRandomness)?;
        let key = SignerKey::generate(&log.origin, *seed)
            .map_err(|source| Trouble::Origin { origin: log.origin.clone(), source })?;
        let text = Zeroizing::new(format!("{}\n", key.to_secret_text().as_str()));
        files::create(&path, text.as_bytes(), files::SECRET)?;
        "was made"
    };
    let verifier = log.read_key(directory)?.verifier().to_string();
    write_verifier(&verifier_path(&path), &verifier)?;
    Ok((verifier, made))
}

/// Where the public half of a log key stands: `log.vkey` beside `log.key`.
fn verifier_path(key: &Path) -> PathBuf {
    key.with_extension("vkey")
}

fn write_verifier(path: &Path, verifier: &str) -> Result<(), Trouble> {
    if !files::exists(path)? {
        return files::create(path, format!("{verifier}\n").as_bytes(), files::PUBLIC);
    }
    let there =
        std::fs::read_to_string(path).map_err(|source| Trouble::Unreadable { path: path.to_owned(), source })?;
    if there.trim_end() == verifier { Ok(()) } else { Err(Trouble::OtherVerifierKey { path: path.to_owned() }) }
}

/// Writes the certificates as PEM: `root.pem`, or `<authority>-root.pem` where there are several authorities.
fn write_out(directory: &Path, certificates: &[CaCertificate], verifier: &str) -> Result<(), Trouble> {
    files::create_directory(directory)?;
    let several = certificates.iter().any(|one| certificates.iter().any(|other| one.authority != other.authority));
    for certificate in certificates {
        let name = match several {
            true => format!("{}-{}.pem", certificate.authority, certificate.what),
            false => format!("{}.pem", certificate.what),
        };
        files::replace(&directory.join(name), pem(&certificate.der).as_bytes(), files::PUBLIC)?;
    }
    write_verifier(&directory.join("log.vkey"), verifier)?;
    stdout::line(format!("The certificates and the log's public key are in `{}`.", directory.display()));
    Ok(())
}

fn pem(der: &[u8]) -> String {
    // The only error is a length that overflows, which no certificate in memory has.
    pem_rfc7468::encode_string("CERTIFICATE", LineEnding::LF, der).unwrap_or_default()
}

/// SHA-256 as people compare it: pairs of hexadecimal digits with colons between.
fn fingerprint(der: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, der);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}
