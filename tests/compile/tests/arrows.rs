//! Who depends on whom: the table in `ARCHITECTURE.md` against the manifests, and the arrows that must never be drawn.
#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "all of this file is tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

/// Every house with the houses it depends on.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The one file of a house that may hold unsafe code, and the file that declares it as a module and says why.
const UNSAFE_FILE: &str = "backends/src/pkcs11/raw.rs";
const UNSAFE_DECLARED_IN: &str = "backends/src/pkcs11/mod.rs";

#[test]
fn the_table_of_arrows_and_the_manifests_say_the_same() {
    let drawn = drawn_arrows();
    assert!(!drawn.is_empty(), "ARCHITECTURE.md has no table of arrows");
    let real: Arrows =
        houses().into_iter().map(|house| (house.name.clone(), house.dependencies_on_houses("dependencies"))).collect();
    assert_eq!(drawn, real, "left: ARCHITECTURE.md, right: the manifests");
}

#[test]
fn houses_depend_on_houses_in_one_section_of_their_manifests_only() {
    for house in houses() {
        assert_eq!(house.dependencies_on_houses("build-dependencies"), BTreeSet::new(), "{}", house.name);
        assert!(!house.manifest.contains_key("target"), "{}: the table of arrows cannot see [target]", house.name);
    }
}

#[test]
fn no_house_depends_on_a_crate_of_the_tests() {
    let tests: BTreeSet<_> = members().iter().filter(|path| is_of_tests(path)).map(|path| package_name(path)).collect();
    assert!(tests.contains("hallmark-test-token"), "{tests:?}");
    for house in houses() {
        assert!(house.dependencies("dependencies").is_disjoint(&tests), "{}", house.name);
    }
}

#[test]
fn arrows_run_in_no_circle() {
    let drawn = drawn_arrows();
    let mut known = BTreeSet::new();
    while known.len() < drawn.len() {
        let free: Vec<_> = drawn.iter().filter(|(house, on)| !known.contains(*house) && on.is_subset(&known)).collect();
        assert!(!free.is_empty(), "a circle among all but {known:?}");
        known.extend(free.into_iter().map(|(house, _)| house.clone()));
    }
}

#[test]
fn policy_and_tlog_depend_on_no_house_of_ours() {
    for name in ["policy", "tlog", "proto"] {
        let house = house(name);
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            assert_eq!(house.dependencies_on_houses(section), BTreeSet::new(), "{name} [{section}]");
        }
    }
}

#[test]
fn the_encoder_and_the_decoder_are_different_libraries() {
    let reached = reached_from("hallmark-policy");
    for library in ["x509-cert", "der", "spki"] {
        assert!(!reached.contains(library), "policy reaches the encoder's library {library}");
    }
    assert!(reached.contains("rasn"), "policy no longer decodes with rasn");
    let issuance = house("issuance").dependencies("dependencies");
    assert!(issuance.contains("x509-cert"), "issuance no longer encodes with x509-cert");
    for library in ["rasn", "rasn-pkix"] {
        assert!(!issuance.contains(library), "issuance uses the decoder's library {library}");
    }
}

#[test]
fn policy_reaches_no_library_that_does_io() {
    let reached = reached_from("hallmark-policy");
    for library in ["tokio", "rusqlite", "cryptoki", "rustls", "hyper", "rustix", "tracing", "socket2"] {
        assert!(!reached.contains(library), "policy reaches {library}");
    }
}

#[test]
fn front_and_core_know_nothing_of_each_other() {
    let front = reached_from("hallmark-front");
    for house in ["signer", "policy", "ledger", "issuance", "backends", "tlog"] {
        assert!(!front.contains(&format!("hallmark-{house}")), "front reaches {house}");
    }
    assert!(!reached_from("hallmark-signer").contains("hallmark-front"), "signer reaches front");
}

#[test]
fn the_core_speaks_no_http_and_no_tls() {
    for house in ["signer", "ledger", "backends", "issuance"] {
        let direct = self::house(house).dependencies("dependencies");
        for library in ["tonic", "hyper", "http", "rustls", "tokio-rustls"] {
            assert!(!direct.contains(library), "{house} depends on {library}");
        }
    }
}

#[test]
fn only_backends_reach_for_a_pkcs11_module() {
    for path in members().iter().filter(|path| !is_of_tests(path)) {
        let crate_ = Crate::read(path);
        let reaches = crate_.dependencies("dependencies").iter().any(|name| name.starts_with("cryptoki"));
        assert_eq!(reaches, crate_.name == "backends", "{}", crate_.name);
    }
}

#[test]
fn only_one_crate_knows_aws_s_libraries() {
    for path in members() {
        let crate_ = Crate::read(&path);
        let knows =
            crate_.dependencies("dependencies").iter().any(|name| name.starts_with("aws-") && name != "aws-lc-rs");
        assert_eq!(knows, crate_.name == "aws-kms", "{}", crate_.name);
    }
    let reached = reached_from("hallmark-daemon");
    for library in ["aws-config", "aws-sdk-sts", "aws-smithy-http-client"] {
        assert!(!reached.contains(library), "{library} came with something");
    }
}

#[test]
fn only_one_crate_knows_the_yubihsm_s_library_and_no_program_has_its_mock() {
    for path in members() {
        let crate_ = Crate::read(&path);
        let knows = crate_.dependencies("dependencies").iter().any(|name| name == "yubihsm" || name == "rusb");
        assert_eq!(knows, matches!(crate_.name.as_str(), "yubihsm" | "test-yubihsm"), "{}", crate_.name);
        let text = fs::read_to_string(root().join(&path).join("Cargo.toml")).unwrap();
        let names_mock = ["mockhsm", "http-server"].iter().any(|feature| text.contains(feature));
        assert_eq!(names_mock, is_of_tests(&path) && crate_.name == "test-yubihsm", "{}", crate_.name);
    }
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(!workspace.contains("mockhsm"), "the workspace would give the mock to every crate");
    // Features are those of all packages that are built together.
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    for line in makefile.lines().filter(|line| line.contains("--release")) {
        assert!(line.contains(" -p hallmark-") && !line.contains("test-yubihsm"), "{line}");
    }
}

#[test]
fn only_the_ledger_opens_a_database() {
    for path in members().iter().filter(|path| !is_of_tests(path)) {
        let crate_ = Crate::read(path);
        let reaches = crate_.dependencies("dependencies").contains("rusqlite");
        assert_eq!(reaches, crate_.name == "ledger", "{}", crate_.name);
    }
}

#[test]
fn every_crate_denies_unsafe_code() {
    for path in members() {
        let manifest = read_toml(&root().join(&path).join("Cargo.toml"));
        let inherited = at(&manifest, &["lints", "workspace"]).and_then(Value::as_bool) == Some(true);
        let own = at(&manifest, &["lints", "rust", "unsafe_code"]).and_then(Value::as_str) == Some("deny");
        assert!(inherited || own, "{} does not deny unsafe code", path.display());
    }
    let workspace = read_toml(&root().join("Cargo.toml"));
    assert_eq!(at(&workspace, &["workspace", "lints", "rust", "unsafe_code"]).and_then(Value::as_str), Some("deny"));
}

#[test]
fn one_file_of_one_house_may_be_unsafe() {
    let mut admitting = Vec::new();
    for house in members().iter().filter(|path| !is_of_tests(path)) {
        for file in sources(&root().join(house)) {
            let text = fs::read_to_string(&file).unwrap();
            let name = file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            let code: Vec<_> = text.lines().map(str::trim).filter(|line| !line.starts_with("//")).collect();
            if code
                .iter()
                .any(|line| line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe impl"))
            {
                assert_eq!(name, UNSAFE_FILE, "unsafe code");
            }
            admitting.extend(
                code.iter().filter(|line| line.contains("unsafe_code")).map(|line| (name.clone(), (*line).to_owned())),
            );
        }
    }
    let [(file, line)] = admitting.as_slice() else { panic!("unsafe code is admitted elsewhere: {admitting:?}") };
    assert_eq!(file, UNSAFE_DECLARED_IN);
    assert!(line.starts_with("#[expect(unsafe_code, reason = "), "{line}");
    let declared = fs::read_to_string(root().join(file)).unwrap();
    let after = declared.lines().skip_while(|text| text.trim() != line).nth(1).unwrap_or_default();
    assert_eq!(after.trim(), "mod raw;", "the permission is for that file and nothing else");
}

/// So that an algorithm stays what is added in one place: who else has to know a family of them is written down.
#[test]
fn the_files_that_know_ml_dsa_are_those_of_the_table() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rows = text.lines().skip_while(|line| !line.starts_with("| file that knows ML-DSA |")).skip(2);
    let files = rows.take_while(|line| line.starts_with('|')).filter_map(|row| row.split('|').nth(1));
    let told: BTreeSet<_> = files.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect();
    assert!(!told.is_empty(), "ARCHITECTURE.md has no such table");

    let mut known = BTreeSet::new();
    for house in members().iter().filter(|path| !is_of_tests(path)) {
        for file in sources(&root().join(house)) {
            let name = file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            let is_test = ["/tests/", "/tests.rs", "/conformance/"].iter().any(|part| name.contains(part));
            let text = fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().lines().map(str::trim);
            let mut code = code.filter(|line| !line.starts_with("//"));
            if !is_test
                && code.any(|line| {
                    ["MlDsa", "ML_DSA", "ml_dsa", "ML-DSA", "ml-dsa"].iter().any(|word| line.contains(word))
                })
            {
                known.insert(name);
            }
        }
    }
    assert_eq!(told, known, "left: ARCHITECTURE.md, right: the code");
}

/// A crate of the workspace.
struct Crate {
    name: String,
    manifest: Table,
}

impl Crate {
    fn read(path: &Path) -> Self {
        let manifest = read_toml(&root().join(path).join("Cargo.toml"));
        let name = package_name(path).trim_start_matches("hallmark-").to_owned();
        Self { name, manifest }
    }

    /// Names of the packages in a section, under the names they are published with.
    fn dependencies(&self, section: &str) -> BTreeSet<String> {
        let Some(section) = self.manifest.get(section).and_then(Value::as_table) else { return BTreeSet::new() };
        let renamed = |value: &Value| value.get("package").and_then(Value::as_str).map(str::to_owned);
        section.iter().map(|(name, value)| renamed(value).unwrap_or_else(|| name.clone())).collect()
    }

    fn dependencies_on_houses(&self, section: &str) -> BTreeSet<String> {
        let all = self.dependencies(section);
        all.iter().filter_map(|name| name.strip_prefix("hallmark-")).map(str::to_owned).collect()
    }
}

fn houses() -> Vec<Crate> {
    members().iter().filter(|path| !is_of_tests(path)).map(|path| Crate::read(path)).collect()
}

fn house(name: &str) -> Crate {
    houses().into_iter().find(|house| house.name == name).unwrap_or_else(|| panic!("there is no house {name}"))
}

fn is_of_tests(path: &Path) -> bool {
    path.starts_with("tests")
}

/// The fenced block `arrows` of ARCHITECTURE.md: one line a house, `house -> house house`.
fn drawn_arrows() -> Arrows {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let lines = text.lines().skip_while(|line| *line != "```arrows").skip(1).take_while(|line| *line != "```");
    let mut arrows = Arrows::new();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let (house, on) = line.split_once("->").unwrap_or_else(|| panic!("no arrow in `{line}`"));
        let on = on.split_whitespace().map(str::to_owned).collect();
        assert!(arrows.insert(house.trim().to_owned(), on).is_none(), "`{}` stands twice", house.trim());
    }
    arrows
}

/// Everything that a package is built with, by Cargo.lock: on any platform, with its tests and build scripts.
fn reached_from(package: &str) -> BTreeSet<String> {
    let lock = read_toml(&root().join("Cargo.lock"));
    let packages = lock.get("package").and_then(Value::as_array).expect("Cargo.lock has packages");
    let text = |value: &Value| value.as_str().unwrap_or_default().split(' ').next().unwrap_or_default().to_owned();
    let mut on: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in packages {
        let name = entry.get("name").map(text).unwrap_or_default();
        let dependencies = entry.get("dependencies").and_then(Value::as_array).into_iter().flatten().map(text);
        on.entry(name).or_default().extend(dependencies);
    }
    assert!(on.contains_key(package), "{package} is not in Cargo.lock");
    let (mut reached, mut next) = (BTreeSet::new(), vec![package.to_owned()]);
    while let Some(name) = next.pop() {
        for dependency in on.get(&name).into_iter().flatten() {
            if reached.insert(dependency.clone()) {
                next.push(dependency.clone());
            }
        }
    }
    reached
}

/// Paths of the members, as the workspace names them.
fn members() -> Vec<PathBuf> {
    let workspace = read_toml(&root().join("Cargo.toml"));
    let members = at(&workspace, &["workspace", "members"]).and_then(Value::as_array).expect("members");
    members.iter().map(|member| PathBuf::from(member.as_str().expect("a path"))).collect()
}

fn package_name(path: &Path) -> String {
    let manifest = read_toml(&root().join(path).join("Cargo.toml"));
    at(&manifest, &["package", "name"]).and_then(Value::as_str).expect("a package has a name").to_owned()
}

/// Every Rust file below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/compile is two below the root").to_owned()
}

fn read_toml(path: &Path) -> Table {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, key| value.get(key))
}

/// Paths in backticks that ARCHITECTURE.md names: each is there.
#[test]
fn every_path_that_the_architecture_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let looks_like_a_path = |word: &&str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
        word.contains('/') && word.bytes().all(plain)
    };
    let words: Vec<_> = text.split('`').skip(1).step_by(2).filter(looks_like_a_path).collect();
    assert!(words.len() > 15, "{words:?}");
    for word in words {
        assert!(root.join(word).exists(), "`{word}` does not exist");
    }
}
