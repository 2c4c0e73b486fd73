//! A short run on the programs as they were built last: the shape of the table and of the JSON. How fast they are is not asserted.

use std::{fs, path::Path, process::Command};

use serde_json::{Map, Value};

/// What every row says, in this order, before anything else.
const KEYS: [&str; 10] = [
    "name",
    "key",
    "clients",
    "per_s",
    "p50_ms",
    "p99_ms",
    "cpu_ms_per_certificate",
    "ratio_to_ceiling",
    "target",
    "met",
];

const ENTRIES: &str = "2000";

/// What is no number compares with none.
fn number(row: &Map<String, Value>, key: &str) -> f64 {
    row[key].as_f64().unwrap_or(f64::NAN)
}

fn is_mint(row: &&Map<String, Value>) -> bool {
    row["certificates"].is_u64()
}

#[test]
fn a_short_run_gives_a_table_and_a_file_of_the_same_rows() {
    let program = Path::new(env!("CARGO_BIN_EXE_hallmark-bench"));
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("made/bench.json");
    let output = Command::new(program)
        .args(["--seconds", "1", "--entries", ENTRIES])
        .args([
            "--only",
            "ledger",
            "--only",
            "p-256",
            "--only",
            "instances",
            "--only",
            "long-log",
            "--only",
            "slow-device",
            "--only",
            "soak",
            "--soak",
            "640",
        ])
        .arg("--place")
        .arg(directory.path())
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    let (table, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{error}\n{table}");

    let text = fs::read_to_string(&out).unwrap();
    let rows: Vec<Map<String, Value>> = serde_json::from_str(&text).unwrap();
    assert_eq!(text.lines().count(), rows.len() + 2, "one line for each row");
    for (row, line) in rows.iter().zip(text.lines().skip(1)) {
        let places: Vec<_> = KEYS.iter().map(|key| line.find(&format!("\"{key}\":")).expect(key)).collect();
        assert!(places.is_sorted(), "{line}");
        for key in ["per_s", "p50_ms"] {
            assert!(number(row, key) > 0.0, "{row:?}");
        }
        assert_eq!(row["target"].is_string(), row["met"].is_boolean(), "{row:?}");
        assert_eq!(row["errors"], Value::Object(Map::new()), "{row:?}");
        let name = row["name"].as_str().unwrap();
        assert!(table.lines().any(|line| line.trim_start().starts_with(name)), "`{name}` is not in\n{table}");
    }

    let names: Vec<_> = rows.iter().map(|row| (row["name"].as_str().unwrap(), row["clients"].as_u64())).collect();
    let expected = [
        ("fdatasync of a page", Some(1)),
        ("group commit alone", Some(64)),
        ("ceiling: 1 thread", None),
        ("ceiling: 2 threads", None),
        ("two processes", Some(1)),
        ("two processes", Some(8)),
        ("two processes", Some(64)),
        ("streams on one connection", Some(64)),
        ("each on a new connection", Some(8)),
        ("register instances", Some(64)),
        ("mint, in turns with refreshes", Some(64)),
        ("refresh", Some(64)),
        ("refresh, with proof", Some(64)),
        ("0 log entries before", Some(64)),
        ("2,000 before", Some(64)),
        ("a device that takes 5 ms", Some(1)),
        ("a device that takes 5 ms", Some(64)),
        ("after 64", Some(64)),
        ("after 128", Some(64)),
        ("after 192", Some(64)),
        ("after 256", Some(64)),
        ("after 320", Some(64)),
        ("after 384", Some(64)),
        ("after 448", Some(64)),
        ("after 512", Some(64)),
        ("after 576", Some(64)),
        ("after 640", Some(64)),
    ];
    assert_eq!(names, expected);

    let soaked: Vec<_> = rows.iter().filter(|row| row["handles"].is_u64()).collect();
    assert_eq!(soaked.len(), 10);
    for row in &soaked {
        assert_eq!(row["certificates"], 64, "{row:?}");
        assert!(number(row, "memory_now_mb") <= number(row, "memory_peak_mb"), "{row:?}");
        assert!(number(row, "threads") > 2.0 && number(row, "files") > 2.0, "{row:?}");
    }
    let last = soaked[9]["target"].as_str().unwrap();
    assert!(last.contains(&format!("open files at most {}", soaked[1]["handles"])), "{last}");

    for row in rows.iter().filter(is_mint) {
        assert_eq!(row["key"], "P-256");
        let parts = number(row, "front_cpu_ms_per_certificate") + number(row, "core_cpu_ms_per_certificate");
        assert!((parts - number(row, "cpu_ms_per_certificate")).abs() < 1e-6, "{row:?}");
        // Two calls a certificate; what the daemon asks its device beside them is by the second.
        for function in ["C_SignInit", "C_Sign"] {
            assert_eq!(row["pkcs11_calls"][function], row["certificates"], "{row:?}");
        }
        assert!(number(row, "pkcs11_calls_per_certificate") < 3.0, "{row:?}");
        let fsyncs = number(row, "fsyncs_per_certificate");
        assert!(fsyncs > 0.0 && fsyncs < 10.0, "{row:?}");
        assert!(number(row, "memory_idle_mb") <= number(row, "memory_peak_mb"), "{row:?}");
        assert!(number(row, "p50_ms") <= number(row, "p99_ms"), "{row:?}");
    }
    let refresh = rows.iter().position(|row| row["name"] == "refresh").unwrap();
    assert_eq!(rows[refresh - 1]["name"], "mint, in turns with refreshes");
    let wanted = 0.85 * number(&rows[refresh - 1], "per_s");
    let target = rows[refresh]["target"].as_str().unwrap();
    assert!(target.ends_with(&format!("at least {wanted:.0}/s")), "{wanted}: {target}");
    let ratio = |at: usize| number(&rows[at], "per_s") / number(&rows[at], "ratio_to_ceiling");
    assert!((ratio(4) - number(&rows[2], "per_s").max(number(&rows[3], "per_s"))).abs() < 1.0, "of the same run");
    let slow = rows.iter().position(|row| row["name"] == "a device that takes 5 ms").unwrap();
    assert!((ratio(slow) - 3_200.0).abs() < 1.0, "16 sessions in 5 ms");
    assert!(number(&rows[slow], "p50_ms") >= 5.0, "the device is slow: {:?}", rows[slow]);
    assert!(
        rows[6]["target"].as_str().unwrap().starts_with("at least 0.18 of the ceiling, CPU at most 0.43 ms, p99 under")
    );

    assert!(table.contains("rows with a target reach"), "{table}");
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["made"], "its databases are gone");
}

#[test]
fn a_program_that_is_not_built_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_hallmark-bench"))
        .args(["--seconds", "1", "--only", "slow-device", "--programs", "/nowhere", "--place"])
        .arg(directory.path())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("`/nowhere/hallmarkd` does not start: is it built?"), "{error}");
}
