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
#[cfg(test)]
fn number(row: &Map<String, Value>, key: &str) -> f64 {
    row[key].as_f64().unwrap_or(f64::NAN)
}

#[cfg(test)]
fn is_mint(row: &&Map<String, Value>) -> bool {
    row["certificates"].is_u64()
}

/// Rows, as the file has them.
type Rows = Vec<Map<String, Value>>;

/// Name and clients of each row.
#[cfg(test)]
fn names(rows: &Rows) -> Vec<(&str, Option<u64>)> {
    rows.iter().map(|row| (row["name"].as_str().unwrap(), row["clients"].as_u64())).collect()
}

/// Runs the bench for a second each. What every row says is looked at here.
#[cfg(test)]
fn measured(parts: &[&str], more: &[&str]) -> (String, Rows) {
    let program = Path::new(env!("CARGO_BIN_EXE_hallmark-bench"));
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("made/bench.json");
    let output = Command::new(program)
        .args(["--seconds", "1"])
        .args(parts.iter().flat_map(|part| ["--only", *part]))
        .args(more)
        .arg("--place")
        .arg(directory.path())
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    let (table, error) =
        (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{error}\n{table}");

    let text = fs::read_to_string(&out).unwrap();
    let rows: Rows = serde_json::from_str(&text).unwrap();
    assert_eq!(text.lines().count(), rows.len() + 2, "one line for each row");
    for (row, line) in rows.iter().zip(text.lines().skip(1)) {
        let places: Vec<_> = KEYS.iter().map(|key| line.find(&format!("\"{key}\":")).expect(key)).collect();
        assert!(places.is_sorted(), "{line}");
        for key in ["per_s", "p50_ms"] {
            assert!(number(row, key) > 0.0, "{row:?}");
        }
        assert_eq!(row["target"].is_string(), row["met"].is_boolean(), "{row:?}");
        let name = row["name"].as_str().unwrap();
        assert!(is_overload(row) || row["errors"] == Value::Object(Map::new()), "{row:?}");
        assert!(table.lines().any(|line| line.trim_start().starts_with(name)), "`{name}` is not in\n{table}");
        // Whoever measures leaves the machine to what is measured.
        if is_mint(&row) && row["clients"] == 64 && !name.starts_with("after ") {
            assert!(row["target"].as_str().unwrap().contains("client's CPU under 0.1 ms"), "{row:?}");
            assert!(number(row, "client_cpu_ms_per_certificate") > 0.0, "{row:?}");
        }
    }
    for row in rows.iter().filter(is_mint) {
        let parts = [&row["front_cpu_ms_per_certificate"], &row["core_cpu_ms_per_certificate"]];
        let parts: f64 = parts.into_iter().filter_map(Value::as_f64).sum();
        assert!((parts - number(row, "cpu_ms_per_certificate")).abs() < 1e-6, "{row:?}");
        assert!(number(row, "memory_idle_mb") <= number(row, "memory_peak_mb"), "{row:?}");
        assert!(number(row, "p50_ms") <= number(row, "p99_ms"), "{row:?}");
        if row["name"].as_str().unwrap().ends_with("overload") || is_overload(row) {
            // What was taken before, and given up, is signed all the same.
            continue;
        }
        // Two calls a certificate; what the daemon asks its device beside them is by the second.
        for function in ["C_SignInit", "C_Sign"] {
            assert_eq!(row["pkcs11_calls"][function], row["certificates"], "{row:?}");
        }
        assert!(number(row, "pkcs11_calls_per_certificate") < 3.0, "{row:?}");
        let fsyncs = number(row, "fsyncs_per_certificate");
        assert!(fsyncs > 0.0 && fsyncs < 10.0, "{row:?}");
    }
    assert!(table.contains("rows with a target reach"), "{table}");
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["made"], "its databases are gone");
    (table, rows)
}

/// More is asked for than can be signed, and so not everybody gets a certificate.
#[cfg(test)]
fn is_overload(row: &Map<String, Value>) -> bool {
    row["name"].as_str().unwrap().contains("/s offered")
}

#[test]
fn a_short_run_gives_a_table_and_a_file_of_the_same_rows() {
    let parts = ["ledger", "p-256", "long-log", "slow-device", "soak"];
    let (_, rows) = measured(&parts, &["--entries", ENTRIES, "--soak", "640"]);

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
        ("two processes, SCHED_OTHER", Some(64)),
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
    assert_eq!(names(&rows), expected);

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
        assert!(number(row, "front_cpu_ms_per_certificate") > 0.0, "{row:?}");
    }
    let ratio = |at: usize| number(&rows[at], "per_s") / number(&rows[at], "ratio_to_ceiling");
    assert!((ratio(4) - number(&rows[2], "per_s").max(number(&rows[3], "per_s"))).abs() < 1.0, "of the same run");
    let slow = rows.iter().position(|row| row["name"] == "a device that takes 5 ms").unwrap();
    assert!((ratio(slow) - 3_200.0).abs() < 1.0, "16 sessions in 5 ms");
    assert!(number(&rows[slow], "p50_ms") >= 5.0, "the device is slow: {:?}", rows[slow]);
    assert!(
        rows[6]["target"].as_str().unwrap().starts_with("at least 0.18 of the ceiling, CPU at most 0.43 ms, p99 under")
    );
    let long = rows.iter().position(|row| row["name"] == "2,000 before").unwrap();
    let wanted = (number(&rows[long - 1], "start_ms") + 100.0).min(1_000.0);
    let target = rows[long]["target"].as_str().unwrap();
    assert!(target.starts_with(&format!("serves within {wanted:.0} ms, ")), "{wanted}: {target}");
}

#[test]
fn one_process_instances_rsa_overload_and_a_crowd_give_their_rows() {
    let parts = ["one-process", "instances", "overload", "crowd", "rsa-2048", "rsa-4096"];
    let (table, rows) = measured(&parts, &["--crowd", "20"]);
    let expected = [
        ("ceiling: 1 thread", None),
        ("ceiling: 2 threads", None),
        ("one process", Some(1)),
        ("one process", Some(64)),
        ("register instances", Some(64)),
        ("mint, in turns with refreshes", Some(64)),
        ("refresh", Some(64)),
        ("refresh, with proof", Some(64)),
        ("before overload", Some(1)),
        ("2,000/s offered for 1 s", None),
        ("2,000/s offered for 1 s", None),
        ("1 s after overload", Some(1)),
        ("without a crowd", Some(8)),
        ("beside 20 idle and 2 slow", Some(8)),
        ("ceiling: 1 thread", None),
        ("ceiling: 2 threads", None),
        ("two processes", Some(1)),
        ("two processes", Some(8)),
        ("two processes", Some(64)),
        ("ceiling: 1 thread", None),
        ("ceiling: 2 threads", None),
        ("two processes", Some(1)),
        ("two processes", Some(8)),
        ("two processes", Some(64)),
    ];
    assert_eq!(names(&rows), expected);
    let keys = ["P-256"; 14].into_iter().chain(["RSA-2048"; 5]).chain(["RSA-4096"; 5]);
    assert!(rows.iter().map(|row| row["key"].as_str().unwrap()).eq(keys), "{table}");
    assert!(rows[2..4].iter().all(|row| row["front_cpu_ms_per_certificate"].is_null()), "there is no front");

    let refresh = rows.iter().position(|row| row["name"] == "refresh").unwrap();
    assert_eq!(rows[refresh - 1]["name"], "mint, in turns with refreshes");
    let wanted = 0.85 * number(&rows[refresh - 1], "per_s");
    let target = rows[refresh]["target"].as_str().unwrap();
    assert!(target.ends_with(&format!("at least {wanted:.0}/s")), "{wanted}: {target}");

    let [before, first, overloaded, after] = [8, 9, 10, 11].map(|at| &rows[at]);
    assert!(first["target"].is_null() && number(first, "memory_now_mb") > 0.0, "{first:?}");
    assert!(!overloaded["errors"].as_object().unwrap().is_empty(), "ten times too much: {overloaded:?}");
    assert!(number(overloaded, "refusal_p99_ms") > 0.0, "{overloaded:?}");
    let target = overloaded["target"].as_str().unwrap();
    let flat = format!("memory at most {:.1} MB", number(first, "memory_now_mb") * 1.05);
    assert!(target.starts_with("at least 0.9 of the ceiling, p99 under 1000 ms, refused within 5 ms, "), "{target}");
    assert!(target.ends_with(&flat), "{flat}: {target}");
    let normal = |key: &str| (number(before, key) * 1.25 * 10.0).round() / 10.0;
    let wanted = format!("p50 under {:.2} ms, p99 under {} ms", normal("p50_ms"), normal("p99_ms"));
    assert_eq!(after["target"], wanted.as_str());
    assert!(number(before, "p50_ms") >= 20.0, "the device is slow: {before:?}");

    for (at, ratio) in [(18, 0.73), (23, 0.92)] {
        let target = rows[at]["target"].as_str().unwrap();
        assert!(target.starts_with(&format!("at least {ratio} of the ceiling, 2 PKCS#11 calls")), "{target}");
    }
    let wanted = (number(&rows[12], "p99_ms") * 1.2 * 10.0).round() / 10.0;
    assert!(rows[13]["target"].as_str().unwrap().starts_with(&format!("p99 under {wanted} ms")), "{:?}", rows[13]);
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
