//! Modules of other makers, and what each can do: the table of docs/devices/README.md.
//!
//! `make test` tries what every machine has; `make test-devices` all of them, and `DEVICES=write` writes the page.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use hallmark_devices::{Device, Stand};

use super::{World, abilities};

/// What says how much is tried: `all`, or `write`, which tries all and writes the page.
const HOW_MUCH: &str = "HALLMARK_DEVICES";

/// Sentences that hold over every backend, by how they begin.
const SENTENCES: [&str; 3] = ["conformance::keys", "conformance::signing", "conformance::device::random"];

/// The one that writes a row.
const ROW: &str = "conformance::abilities::a_row_says_what_a_place_for_keys_can_do";

/// What the table's last column is called: the conformance file.
const CONFORMANCE: &str = "conformance";

/// What stands around the table in the page.
const BEGIN: &str = "<!-- table: made by `make test-devices` -->\n";
const END: &str = "<!-- end of table -->\n";

#[test]
fn the_page_of_devices_says_what_each_can_do() {
    let how_much = env::var(HOW_MUCH).unwrap_or_default();
    let devices: &[Device] = if how_much.is_empty() { &Device::ALWAYS } else { &Device::ALL };
    // Every sentence runs over these in this process.
    let here = [
        ("files, for laboratories", World::software()),
        ("YubiHSM 2, the mock of its library", World::yubihsm()),
        ("AWS KMS, played by moto", World::aws_kms()),
    ];
    let mut rows: Vec<_> = here
        .map(|(name, world)| (name.to_owned(), [abilities::row(world), vec!["in `make test`".to_owned()]].concat()))
        .into();
    let without_a_module = rows.len();
    rows.extend(devices.iter().map(|device| (device.name().to_owned(), tried(*device))));
    let table = table(&rows);
    println!("{table}");
    if how_much == "write" {
        document(&table);
    }
    let documented = documented();
    let expected: Vec<_> = table.lines().collect();
    let missing: Vec<_> = expected.iter().filter(|line| !documented.lines().any(|found| found == **line)).collect();
    assert!(
        missing.is_empty(),
        "docs/devices/README.md says something else than:\n{missing:#?}\nhint: DEVICES=write make test-devices"
    );
    assert_eq!(documented.lines().count(), 2 + without_a_module + Device::ALL.len(), "a row for each");
}

#[test]
fn the_page_names_the_sentences_that_the_last_column_is_about() {
    let (before, _, _) = cut();
    for sentence in SENTENCES {
        let name = sentence.strip_prefix("conformance::").unwrap();
        assert!(before.contains(&format!("`{name}`")), "{name}");
    }
}

/// A device's row: each in a process of its own, since a module reads its environment once.
fn tried(device: Device) -> Vec<String> {
    let stand = device.start();
    let file = stand.row();
    let (passes, said) =
        run(stand.command(env::current_exe().unwrap()).args(["--exact", ROW]).env(abilities::ROW, &file));
    assert!(passes, "{}: {said}", device.name());
    let mut cells: Vec<_> = fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(cells.len(), abilities::COLUMNS.len(), "{cells:?}");
    drop(stand);
    cells.push(if makes_ca_keys(&cells) { sentences(&device.start()) } else { "makes no CA key".to_owned() });
    cells
}

fn makes_ca_keys(cells: &[String]) -> bool {
    cells[1..8].iter().any(|cell| cell == "ok")
}

/// Whether the device does all that holds over every backend; otherwise what it does not.
fn sentences(stand: &Stand) -> String {
    let mut command = stand.command(env::current_exe().unwrap());
    let (passes, said) = run(command.args(SENTENCES).arg("--test-threads=1"));
    if passes {
        for sentence in SENTENCES {
            assert!(said.contains(&format!("test {sentence}")), "nothing was tried of {sentence}: {said}");
        }
        return "all".to_owned();
    }
    let failed = said.lines().filter_map(|line| line.strip_prefix("test conformance::")?.strip_suffix(" ... FAILED"));
    format!("not: {}", failed.collect::<Vec<_>>().join(" "))
}

fn run(command: &mut Command) -> (bool, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// In Markdown.
fn table(rows: &[(String, Vec<String>)]) -> String {
    let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let head = [vec!["module"], abilities::COLUMNS.to_vec(), vec![CONFORMANCE]].concat();
    let mut text = line(head.clone());
    text.push_str(&line(vec!["---"; head.len()]));
    for (name, cells) in rows {
        text.push_str(&line([name.as_str()].into_iter().chain(cells.iter().map(String::as_str)).collect()));
    }
    text
}

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/devices/README.md")
}

/// The page, cut at the table.
fn cut() -> (String, String, String) {
    let text = fs::read_to_string(page()).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the page has a table");
    let (table, after) = rest.split_once(END).expect("the table has an end");
    (before.to_owned(), table.to_owned(), after.to_owned())
}

fn documented() -> String {
    cut().1
}

fn document(table: &str) {
    let (before, _, after) = cut();
    fs::write(page(), [&before, BEGIN, table, END, &after].concat()).unwrap();
}
