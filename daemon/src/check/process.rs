//! What `[process]` means.

use std::path::Path;

use super::Findings;
use crate::{files::directory_of, own_files, process::Users, settings::Settings, trouble::sentence};

pub(super) fn tell(settings: &Settings, findings: &mut Findings) {
    findings.heading("Processes");
    match settings.users() {
        Ok(None) => findings.say(
            "Core and fronts are of the user that starts `hallmarkd`, so that each can read the others' files; name users in [process].",
        ),
        Ok(Some(Users { core, front, operators })) => {
            let operators = operators.map(|user| format!(", that of operators user {}", user.uid)).unwrap_or_default();
            findings.say(format!("The core is user {}, the callers' front user {}{operators}.", core.uid, front.uid));
        }
        Err(error) => findings.problem(sentence(&error)),
    }
    match settings.process.start_time_max() {
        Ok(time) => {
            findings.say(format!("A process that does not serve within {} s is started again.", time.as_secs()))
        }
        Err(error) => findings.problem(sentence(&error)),
    }
    let network = if settings.process.core_network { "may connect to" } else { "makes no connection of" };
    findings.say(format!("The core {network} the internet, where the kernel has seccomp."));
    tell_neighbours(settings, findings);
    tell_links(settings, findings);
}

/// Landlock knows directories: what stands beside a front's files can be kept from it by owners and modes alone.
fn tell_neighbours(settings: &Settings, findings: &mut Findings) {
    let core = &settings.core;
    let is_core_s = |directory: &Path| {
        let files = [&core.ledger.database, &core.policy.file, &core.log.key].into_iter();
        let mut places = files.flat_map(|file| {
            let file = settings.directory.join(file);
            let place = directory_of(&file).to_owned();
            let of_target = file.canonicalize().ok().map(|file| directory_of(&file).to_owned());
            [place.canonicalize().ok(), of_target, Some(place)]
        });
        let real = directory.canonicalize();
        let is_in =
            |place: &Path| place.starts_with(directory) || real.as_ref().is_ok_and(|real| place.starts_with(real));
        places.any(|place| place.is_some_and(|place| is_in(&place)))
    };
    let mut directories = own_files::of_front(settings, false).reads;
    if settings.operators.is_some() {
        directories.extend(own_files::of_front(settings, true).reads);
    }
    directories.sort();
    directories.dedup();
    for directory in directories.iter().filter(|directory| is_core_s(directory)) {
        findings.say(format!(
            "TLS files are in `{}` beside files of the core: landlock keeps none of these from a front; give them a directory of their own.",
            directory.display()
        ));
    }
}

/// A front gives up files at its start, and no link gives it others later.
fn tell_links(settings: &Settings, findings: &mut Findings) {
    let mut files = own_files::tls_files(&settings.listen, &settings.directory);
    if let Some(operators) = &settings.operators {
        files.extend(own_files::tls_files(&operators.listener(&settings.listen), &settings.directory));
    }
    let mut links: Vec<_> = files.iter().filter_map(|path| own_files::link_above(path)).collect();
    links.sort();
    links.dedup();
    for link in links {
        findings.say(format!(
            "TLS files are reached by the link `{}`: a front goes on reading where it leads when the front starts. Restart `hallmarkd` once it leads elsewhere, or keep the directory and replace the files in it.",
            link.display()
        ));
    }
    files.sort();
    files.dedup();
    for path in files {
        if let Some(directory) = own_files::leads_out(&path) {
            findings.say(format!(
                "`{}` is a link into `{}`: a front reads all that is below there, too. Restart `hallmarkd` once it leads to another directory.",
                path.display(),
                directory.display()
            ));
        }
    }
}
