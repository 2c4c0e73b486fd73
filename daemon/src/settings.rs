//! `signer.toml` as it was typed: the front's table and the core's, side by side.

use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest;
use hallmark_front::{FrontConfig, FrontFile};
use hallmark_signer::config::{
    BackendTable, CeremonyTable, CoreFile, LedgerTable, LogTable, PolicyTable, RotationTable, TracesTable,
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    operators::OperatorsFile,
    process::{ProcessFile, Users},
    trouble::Trouble,
    user::User,
};

/// The tables that there are.
const TABLES: [&str; 10] =
    ["listen", "operators", "process", "policy", "ledger", "log", "backend", "rotation", "ceremony", "traces"];

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct SignerFile {
    /// `[listen]`.
    pub(crate) listen: FrontFile,
    /// `[operators]`.
    pub(crate) operators: Option<OperatorsFile>,
    /// `[process]`.
    #[serde(default)]
    pub(crate) process: ProcessFile,
    /// `[policy]`.
    pub(crate) policy: PolicyTable,
    /// `[ledger]`.
    pub(crate) ledger: LedgerTable,
    /// `[log]`.
    pub(crate) log: LogTable,
    /// `[backend.*]`.
    pub(crate) backend: BackendTable,
    /// `[rotation]`.
    #[serde(default)]
    pub(crate) rotation: RotationTable,
    /// `[ceremony.*]`, by the names of authorities.
    #[serde(default)]
    pub(crate) ceremony: BTreeMap<String, CeremonyTable>,
    /// `[traces]`.
    pub(crate) traces: Option<TracesTable>,
}

/// A configuration that reads, and where it was read.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The front's part.
    pub(crate) listen: FrontFile,
    /// The operators' listener, if there is one.
    pub(crate) operators: Option<OperatorsFile>,
    /// Which users the processes are.
    pub(crate) process: ProcessFile,
    /// The core's part.
    pub(crate) core: CoreFile,
    /// The directory of the file, where relative paths begin.
    pub(crate) directory: PathBuf,
    /// The file.
    pub(crate) file: PathBuf,
    /// SHA-256 of the file.
    pub(crate) sha256: [u8; 32],
}

impl Settings {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`Trouble::Unreadable`], or [`Trouble::Settings`] with a problem for each table that has one.
    pub(crate) fn read(path: &Path) -> Result<Self, Trouble> {
        let text = fs::read_to_string(path).map_err(|source| Trouble::Unreadable { path: path.to_owned(), source })?;
        let SignerFile { listen, operators, process, policy, ledger, log, backend, rotation, ceremony, traces } =
            SignerFile::parse(&text).map_err(|problems| Trouble::Settings { path: path.to_owned(), problems })?;
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        let core = CoreFile { policy, ledger, log, backend, rotation, ceremony, traces };
        Ok(Self { listen, operators, process, core, directory, file: path.to_owned(), sha256 })
    }
}

impl Settings {
    /// The callers' front, checked.
    ///
    /// # Errors
    /// See [`hallmark_front::ConfigError`].
    pub(crate) fn front(&self) -> Result<FrontConfig, Trouble> {
        let config = FrontConfig::from_file(self.listen.clone(), &self.directory)?;
        Ok(config.with_trace_parents(self.core.traces.is_some()))
    }

    /// The operators' front, if there is one, checked.
    ///
    /// # Errors
    /// See [`hallmark_front::ConfigError`].
    pub(crate) fn operators_front(&self) -> Result<Option<FrontConfig>, Trouble> {
        let Some(table) = &self.operators else { return Ok(None) };
        let config = FrontConfig::from_file(table.listener(&self.listen), &self.directory)?;
        Ok(Some(config.for_operators().with_trace_parents(self.core.traces.is_some())))
    }

    /// The users of the processes, if they are told apart.
    ///
    /// # Errors
    /// See [`ProcessFile::users`].
    pub(crate) fn users(&self) -> Result<Option<Users>, Trouble> {
        self.process.users(self.operators.is_some())
    }

    /// Whose process comes through the callers' door.
    pub(crate) fn front_uid(&self) -> Result<u32, Trouble> {
        Ok(self.users()?.map_or_else(User::own_uid, |users| users.front.uid))
    }

    /// Whose process comes through the operators' door.
    pub(crate) fn operators_uid(&self) -> Result<u32, Trouble> {
        Ok(self.users()?.and_then(|users| users.operators).map_or_else(User::own_uid, |user| user.uid))
    }

    /// Whose process is behind the doors.
    pub(crate) fn core_uid(&self) -> Result<u32, Trouble> {
        Ok(self.users()?.map_or_else(User::own_uid, |users| users.core.uid))
    }
}

impl SignerFile {
    /// Reads the text of a configuration, or tells the problems: the first with its line, then one for each further table.
    fn parse(text: &str) -> Result<Self, Vec<String>> {
        toml::from_str(text).map_err(|first| {
            let further = toml::from_str::<toml::Table>(text).map(|tables| problems_of(&tables)).unwrap_or_default();
            let message = without_value(first.message());
            let mut problems = vec![format!("{}{message}", place_in(text, first.span()))];
            problems.extend(further.into_iter().filter(|problem| !problem.ends_with(&message)));
            problems
        })
    }
}

/// The place of a problem in words. The line itself is not shown: a secret may have been typed into it.
fn place_in(text: &str, span: Option<Range<usize>>) -> String {
    let Some(before) = span.and_then(|span| text.get(..span.start)) else { return String::new() };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: ")
}

/// The reader's message without the value that it quotes, which may be a secret in the wrong place.
fn without_value(message: &str) -> String {
    let quotes_value = message.starts_with("invalid type: ") || message.starts_with("invalid value: ");
    match message.rsplit_once(", expected ").filter(|_| quotes_value) {
        None => message.to_owned(),
        Some((found, expected)) => {
            let found = found.split(['"', '`']).next().unwrap_or_default().trim_end();
            format!("{found}, expected {expected}")
        }
    }
}

/// What is wrong with each table by itself.
fn problems_of(tables: &toml::Table) -> Vec<String> {
    let problem = |name| match name {
        "listen" => of_table::<FrontFile>(tables, name),
        "operators" => tables.get(name).and_then(|_| of_table::<OperatorsFile>(tables, name)),
        "process" => tables.get(name).and_then(|_| of_table::<ProcessFile>(tables, name)),
        "policy" => of_table::<PolicyTable>(tables, name),
        "rotation" => tables.get(name).and_then(|_| of_table::<RotationTable>(tables, name)),
        "ceremony" => tables.get(name).and_then(|_| of_table::<BTreeMap<String, CeremonyTable>>(tables, name)),
        "traces" => tables.get(name).and_then(|_| of_table::<TracesTable>(tables, name)),
        "ledger" => of_table::<LedgerTable>(tables, name),
        "log" => of_table::<LogTable>(tables, name),
        "backend" => of_table::<BackendTable>(tables, name),
        _ => {
            let known = TABLES.map(|table| format!("`{table}`")).join(", ");
            Some(format!("[{name}] unknown field `{name}`, expected one of {known}"))
        }
    };
    let mut names: Vec<_> = tables.keys().map(String::as_str).collect();
    names.extend(TABLES.iter().filter(|name| !tables.contains_key(**name)));
    names.into_iter().filter_map(problem).collect()
}

fn of_table<T: DeserializeOwned>(tables: &toml::Table, name: &str) -> Option<String> {
    match tables.get(name) {
        None => Some(format!("[{name}] missing field `{name}`")),
        Some(table) => {
            table.clone().try_into::<T>().err().map(|error| format!("[{name}] {}", without_value(error.message())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example, as it is.
    const EXAMPLE: &str = include_str!("../../examples/signer.toml");

    /// The example with every setting that a daemon with a token can have.
    fn with_every_setting() -> String {
        let (with_token, _) = EXAMPLE.split_once("# [backend.yubihsm]").unwrap();
        uncommented(with_token)
    }

    /// The example with another backend.
    fn with_backend(table: &str) -> String {
        let (before, token) = EXAMPLE.split_once("[backend.pkcs11]").unwrap();
        let (_, own) = token.split_once(&format!("# [backend.{table}]")).unwrap();
        let own = own.split("# [backend.").next().unwrap();
        format!("{before}[backend.{table}]{}", uncommented(own))
    }

    fn with_each_backend() -> [String; 4] {
        [with_every_setting(), with_backend("yubihsm"), with_backend("aws-kms"), with_backend("software")]
    }

    fn uncommented(text: &str) -> String {
        let is_table = |line: &str| ["# [ceremony.", "# [traces]"].iter().any(|table| line.starts_with(table));
        let setting = |line: &&str| is_table(line) || key_of(line.trim_start_matches("# ")).is_some();
        text.lines()
            .map(|line| Some(line).filter(setting).map_or(line, |line| line.trim_start_matches("# ")))
            .fold(String::new(), |text, line| text + line + "\n")
    }

    /// The key that a line sets.
    fn key_of(line: &str) -> Option<&str> {
        let (key, _) = line.split_once(" = ")?;
        let fine = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') && !key.is_empty();
        fine.then_some(key)
    }

    #[test]
    fn the_example_is_a_configuration() {
        for text in [EXAMPLE.to_owned()].into_iter().chain(with_each_backend()) {
            let read = SignerFile::parse(&text);
            assert!(read.is_ok(), "{}", read.unwrap_err().join("\n"));
        }
    }

    #[test]
    fn every_misspelt_key_of_the_example_is_refused() {
        let mut tried = 0;
        for text in with_each_backend() {
            for (at, line) in text.lines().enumerate() {
                let Some(name) = key_of(line).or_else(|| line.strip_prefix('[')) else { continue };
                // Authorities are called as they are.
                let known = name.trim_end_matches(']').trim_end_matches(".athenz");
                for position in 0..known.len() {
                    let misspelt: String = text
                        .lines()
                        .enumerate()
                        .map(
                            |(number, line)| {
                                if number == at { misspelt(line, name, position) } else { line.to_owned() }
                            },
                        )
                        .fold(String::new(), |text, line| text + &line + "\n");
                    assert!(SignerFile::parse(&misspelt).is_err(), "`{line}` misspelt at {position} was taken");
                    tried += 1;
                }
            }
        }
        assert!(tried > 200, "{tried} misspellings were tried");
    }

    /// The line with one letter of `name` changed.
    fn misspelt(line: &str, name: &str, position: usize) -> String {
        let start = line.find(name).unwrap() + position;
        let letter = if &line[start..=start] == "x" { "y" } else { "x" };
        format!("{}{letter}{}", &line[..start], &line[start + 1..])
    }

    #[test]
    fn the_inner_keys_of_secrets_are_checked_too() {
        for (right, wrong) in [("pin = { file =", "pin = { fiel ="), ("{ file = \"pin\" }", "\"12345678\"")] {
            assert!(SignerFile::parse(&EXAMPLE.replacen(right, wrong, 1)).is_err(), "{wrong} was taken");
        }
    }

    #[test]
    fn the_example_has_every_key_of_a_replica_and_each_is_checked() {
        let line = EXAMPLE.lines().find_map(|line| line.strip_prefix("# replica = ")).unwrap();
        let read = |replica: &str| {
            let text = EXAMPLE.replacen("sessions = 4  ", &format!("replica = {replica}\nsessions = 4  "), 1);
            assert_ne!(text, EXAMPLE);
            SignerFile::parse(&text)
        };
        read(line).unwrap();
        let told = read(&line.replacen("token =", "tokne =", 1)).unwrap_err().join("\n");
        let (_, known) = told.split_once("expected ").expect("the known keys");
        let known: Vec<_> = known.split('`').skip(1).step_by(2).collect();
        assert!(known.len() > 5, "{told}");
        for key in known {
            let misspelt = line.replacen(&format!("{key} = "), &format!("x{key} = "), 1);
            assert_ne!(misspelt, line, "the example does not name `{key}` of a replica");
            assert!(read(&misspelt).is_err(), "`{misspelt}` was taken");
        }
        assert!(read(&line.replacen("CKA_LOCAL", "CKA_SENSITIVE", 1)).is_err());
    }

    #[test]
    fn a_secret_that_was_typed_in_its_place_is_not_in_the_error() {
        for typed in [
            "\"12345678\"",
            "12345678",
            "1234.5678",
            "[12345678]",
            "[\"12345678\"]",
            "{ file = 12345678 }",
            "{ value = \"12345678\" }",
            "{ 12345678 = 1 }",
            "{ file = \"pin\", 12345678 = 1 }",
            "{ env = \"12345678\" }",
            "{ env = \"\" }",
            "{ credential = \"12345678\" }",
            "{ credential = 12345678 }",
            "{ typed = \"12345678\" }",
            "{ typed = 12345678 }",
            "{ typed = false }",
        ] {
            let problems = SignerFile::parse(&EXAMPLE.replacen("{ file = \"pin\" }", typed, 1)).unwrap_err();
            assert!(problems[0].contains("a secret never stands in the configuration"), "{typed}: {problems:?}");
            assert!(problems.iter().all(|problem| !problem.contains("5678")), "{typed}: {problems:?}");
        }
        for place in ["{ env = \"HALLMARK_PIN\" }", "{ credential = \"pin\" }", "{ typed = true }"] {
            assert!(SignerFile::parse(&EXAMPLE.replacen("{ file = \"pin\" }", place, 1)).is_ok(), "{place}");
        }
    }

    #[test]
    fn the_example_names_every_setting_that_there_is() {
        for table in [
            "listen",
            "operators",
            "process",
            "policy",
            "rotation",
            "ledger",
            "log",
            "traces",
            "backend.pkcs11",
            "backend.yubihsm",
            "backend.aws-kms",
            "backend.software",
        ] {
            let top = table.split('.').next().unwrap();
            let tables: toml::Table = toml::from_str(&format!("[{table}]\nno-such-key = 1\n")).unwrap();
            let problem = problems_of(&tables).into_iter().find(|problem| problem.starts_with(&format!("[{top}]")));
            let problem = problem.expect("a problem");
            let (_, known) = problem.split_once("expected ").expect("the known keys");
            let known: Vec<_> = known.split('`').skip(1).step_by(2).collect();
            assert!(!known.is_empty(), "{problem}");
            for key in known {
                let there = uncommented(EXAMPLE).lines().any(|line| key_of(line) == Some(key));
                assert!(there, "the example does not name `{key}` of [{table}]");
            }
        }
    }

    #[test]
    fn each_table_tells_its_problem() {
        let text =
            EXAMPLE.replace("database =", "databse =").replace("origin =", "orgin =").replace("[policy]", "[cache]");
        let problems = SignerFile::parse(&text).unwrap_err();
        let told = problems.join("\n");
        for problem in ["`databse`", "`orgin`", "unknown field `cache`", "missing field `policy`"] {
            assert_eq!(told.matches(problem).count(), 1, "{problem} in {told}");
        }
        assert_eq!(problems.len(), 4, "{told}");
    }
}
