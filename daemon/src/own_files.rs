//! Which files are whose, for what a process keeps when it gives up the rest.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use hallmark_front::FrontFile;
use hallmark_signer::config::BackendTable;

use crate::{
    confine::{Half, Kept},
    files::directory_of,
    settings::Settings,
};

/// Names SoftHSM's configuration (softhsm2.conf(5)).
const SOFTHSM_VARIABLE: &str = "SOFTHSM2_CONF";
/// Where it is otherwise.
const SOFTHSM_FILE: &str = "/etc/softhsm/softhsm2.conf";
/// What names the directory of its tokens.
const SOFTHSM_TOKENS: &str = "directories.tokendir";

/// Where USB devices are, for libusb.
const USB_DEVICES: &str = "/dev/bus/usb";

/// What the core keeps: it reads what its user may read, since nobody knows what a vendor's module reads, and writes where database,
/// published log, anchor, backups, keys in files, a SoftHSM token and the log of a YubiHSM are, and where the configuration says.
pub(crate) fn of_core(settings: &Settings) -> Kept {
    let own = |path: &Path| settings.directory.join(path);
    let beside = |path: &Path| directory_of(&own(path)).to_owned();
    let core = &settings.core;
    let mut writes = vec![beside(&core.ledger.database), nearest(&own(&core.log.publish))];
    writes.extend(core.log.anchor.as_deref().map(beside));
    writes.extend(core.ledger.backups.as_deref().map(|path| nearest(&own(path))));
    match &core.backend {
        BackendTable::Software { directory, .. } => writes.push(nearest(&own(directory))),
        BackendTable::Pkcs11(_) => writes.extend(softhsm_tokens()),
        BackendTable::YubiHsm(table) => {
            // Its own devices, where it is reached by USB, and what the device's log is kept in.
            writes.extend(table.is_usb().then(|| USB_DEVICES.into()));
            writes.extend(table.command_log_file.as_deref().map(beside));
        }
        // What is far away has no files here.
        BackendTable::AwsKms(_) => {}
    }
    writes.extend(settings.process.core_paths.iter().map(|path| own(path)));
    Kept { reads: vec![PathBuf::from("/")], writes, half: Half::Core { network: settings.process.core_network } }
}

/// What a front keeps, whose listening socket is there: it reads where its TLS files are. It is the directories that count, since files are replaced;
/// of a file that is a link, also the one in which it is now, since the kernel judges what was opened, and not by which path.
pub(crate) fn of_front(settings: &Settings, operators: bool) -> Kept {
    let listen = match settings.operators.as_ref().filter(|_| operators) {
        Some(table) => table.listener(&settings.listen),
        None => settings.listen.clone(),
    };
    let reads = tls_files(&listen, &settings.directory).into_iter().flat_map(|path| {
        let led = leads_out(&path);
        [Some(directory_of(&path).to_owned()), led].into_iter().flatten()
    });
    Kept { reads: reads.collect(), writes: Vec::new(), half: Half::Front }
}

/// The TLS files of a listener.
pub(crate) fn tls_files(listen: &FrontFile, directory: &Path) -> Vec<PathBuf> {
    let files = [&listen.certificate, &listen.key, &listen.callers].into_iter().chain(&listen.callers_crl);
    files.map(|path| directory.join(path)).collect()
}

/// The directory in which a file is that is a link now, unless it is below the one that its path names. A link that is changed there leads to
/// another file that a confined front reads; one that leads elsewhere does not.
pub(crate) fn leads_out(path: &Path) -> Option<PathBuf> {
    let named = directory_of(path).canonicalize().ok()?;
    let file = path.canonicalize().ok()?;
    let directory = file.parent()?;
    (!directory.starts_with(named)).then(|| directory.to_owned())
}

/// The link by which the directory of a path is reached, if there is one; the first of several. A confined front goes on reading where it led
/// when the front started.
pub(crate) fn link_above(path: &Path) -> Option<PathBuf> {
    let directories: Vec<_> = directory_of(path).ancestors().collect();
    directories.into_iter().rev().find(|directory| directory.is_symlink()).map(Path::to_owned)
}

/// The directory that is there, of one that may be made.
fn nearest(path: &Path) -> PathBuf {
    let there = path.ancestors().find(|path| path.as_os_str().is_empty() || path.is_dir());
    there.filter(|path| !path.as_os_str().is_empty()).unwrap_or_else(|| Path::new(".")).to_owned()
}

/// Where SoftHSM writes, if it is configured.
fn softhsm_tokens() -> Option<PathBuf> {
    let file = env::var_os(SOFTHSM_VARIABLE).map_or_else(|| SOFTHSM_FILE.into(), PathBuf::from);
    let text = fs::read_to_string(file).ok()?;
    let setting = |line: &str| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == SOFTHSM_TOKENS).then(|| PathBuf::from(value.trim()))
    };
    text.lines().find_map(setting)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_that_is_not_made_yet_is_made_in_one_that_is() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(nearest(&directory.path().join("log/of/this")), directory.path());
        assert_eq!(nearest(Path::new("no-such-directory/log")), Path::new("."));
    }

    #[test]
    fn of_a_file_that_is_a_link_out_of_its_directory_the_place_where_it_is_counts_too() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        for name in ["live", "archive", "mounted/..1", "release-1"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        for name in ["archive/one.pem", "mounted/..1/one.pem", "release-1/one.pem"] {
            fs::write(root.join(name), "").unwrap();
        }
        let link = |to: &str, at: &str| symlink(to, root.join(at)).unwrap();
        link("../archive/one.pem", "live/one.pem");
        link("..1", "mounted/..data");
        link("..data/one.pem", "mounted/one.pem");
        link("release-1", "current");
        link("nowhere", "live/dangling.pem");
        let of = |name: &str| (leads_out(&root.join(name)), link_above(&root.join(name)));
        assert_eq!(of("live/one.pem"), (Some(root.join("archive")), None), "as certbot has it");
        assert_eq!(of("mounted/one.pem"), (None, None), "as Kubernetes has it: it stays below its directory");
        assert_eq!(of("current/one.pem"), (None, Some(root.join("current"))));
        assert_eq!(of("archive/one.pem"), (None, None));
        assert_eq!(of("live/dangling.pem"), (None, None));
        assert_eq!(of("not-there/one.pem"), (None, None));
    }
}
