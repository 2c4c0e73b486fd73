//! What is said of the metrics, and asked of them, is compared with what a daemon gives: the page, the dashboard and the alerts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, mem,
    path::{Path, PathBuf},
};

use hallmark_faulty::{Device, Effect, Function, When};
use hallmark_policy::ReasonCode;
use hallmark_test_token::Token;
use hallmark_tests::{
    daemon::{Laboratory, succeed},
    example_policy,
    metrics::Metrics,
};

/// Labels that Prometheus adds, and that of buckets.
const ADDED: [&str; 3] = ["instance", "job", "le"];

/// Words of PromQL before a list of labels.
const BEFORE_LABELS: [&str; 4] = ["by", "without", "on", "ignoring"];

/// Reasons of refusals that are asked for by name: those that a daemon had are known anyhow.
const REASONS_ASKED_FOR: [ReasonCode; 2] = [ReasonCode::QueueFull, ReasonCode::DeadlinePassed];

fn file(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The metrics of a daemon that has minted, answered again, refused, and whose token has failed once.
fn of_a_daemon() -> Metrics {
    let (device, token) = (Device::new(), Token::make("daemon"));
    let crl = "[authority.athenz]\ncrl = { lifetime = \"7d\", refresh = \"1d\" }\n\n[authority.athenz.root]";
    let policy = example_policy().replacen("[authority.athenz.root]", crl, 1);
    let laboratory = Laboratory::behind(&device, &token, &policy);
    succeed(&mut laboratory.init());
    let daemon = laboratory.start();
    device.fault(Function::SignInit, When::First(1), Effect::Refuse(0x30));
    let _certificate = laboratory.mint(&daemon, "api", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    for out in ["one.pem", "two.pem"] {
        let mut again = laboratory.hallmark(&daemon);
        again.args(["mint", "--profile", "athenz-service", "--request-id", "the-same", "--csr"]);
        succeed(again.arg(laboratory.path("api.csr")).arg("--out").arg(laboratory.path(out)));
    }
    let mut refused = laboratory.hallmark(&daemon);
    refused.args(["mint", "--profile", "no-such-profile", "--csr"]).arg(laboratory.path("api.csr"));
    assert!(!refused.output().unwrap().status.success());
    for _ in 0..600 {
        let metrics = Metrics::read(&succeed(laboratory.hallmark_operator(&daemon).arg("metrics")));
        // CRLs are made, the log is published, and fronts tell what they count beside all this.
        let is_there = |name: &&str| metrics.samples.iter().any(|sample| sample.name == **name);
        let beside =
            ["hallmark_crl_remaining_seconds", "hallmark_log_publication_age_seconds", "hallmark_front_requests_total"];
        if beside.iter().all(is_there) {
            return metrics;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("after half a minute a metric is still missing");
}

/// A metric as the page and PromQL name it, without the suffixes of histograms.
fn name_of(metric: &str, kind: &str) -> String {
    match kind {
        "counter" => format!("{metric}_total"),
        "info" => format!("{metric}_info"),
        _ => metric.to_owned(),
    }
}

/// What is known of the metrics, by their names.
type Known = BTreeMap<String, About>;

/// What the page says of a metric, and which values its labels may have.
struct About {
    kind: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

impl About {
    fn has(&self, label: &str) -> bool {
        self.labels.contains_key(label)
    }
}

/// Names, types and labels in the tables of the page. What it quotes is a value of the labels beside it.
fn of_the_page() -> Known {
    let page = file("docs/monitoring.md");
    let rows = page.lines().filter(|line| line.starts_with("| `hallmark_"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, name, kind, labels, meaning, ""] = cells[..] else { panic!("{row}") };
        assert!(meaning.len() > 10, "{row}");
        let labels = labels.split(", ").map(|label| label.trim_matches('`').to_owned());
        let values: BTreeSet<_> = meaning.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let labels = labels.filter(|label| !label.is_empty()).map(|label| (label, values.clone())).collect();
        (name.trim_matches('`').to_owned(), About { kind: kind.to_owned(), labels })
    })
    .collect()
}

/// The page, with the values that labels have at a daemon, and those that they can have there.
fn known(metrics: &Metrics) -> Known {
    let mut known = of_the_page();
    for (name, about) in &mut known {
        for (label, values) in &mut about.labels {
            values.extend(metrics.values(name, label).into_iter().map(str::to_owned));
        }
    }
    let refused = known.get_mut("hallmark_requests_refused_total").unwrap().labels.get_mut("reason").unwrap();
    refused.extend(REASONS_ASKED_FOR.map(|code| code.as_str().to_owned()));
    known
}

#[test]
fn the_page_the_dashboard_and_the_alerts_speak_of_what_a_daemon_gives() {
    let metrics = of_a_daemon();
    let page = known(&metrics);
    let labels = metrics.labels();
    let given: BTreeMap<_, _> =
        metrics.described.iter().map(|(name, about)| (name_of(name, &about.kind), name)).collect();
    let unseen: Vec<_> = page.keys().filter(|name| !given.contains_key(*name)).collect();
    assert!(unseen.is_empty(), "they stand on the page, and the daemon does not give them: {unseen:?}");
    for (name, metric) in &given {
        let about = page.get(name).unwrap_or_else(|| panic!("the page has no {name}"));
        assert_eq!(about.kind, metrics.described[*metric].kind, "{name}");
        assert_eq!(about.labels.keys().map(String::as_str).collect::<BTreeSet<_>>(), labels[metric.as_str()], "{name}");
    }

    let asked = [("dashboard.json", of_the_dashboard()), ("alerts.yml", of_the_alerts())];
    for (file, expressions) in &asked {
        assert!(expressions.len() > 10, "{file}");
        for (expression, shown) in expressions {
            hold(expression, shown, &page).unwrap_or_else(|wrong| panic!("{file}: {expression}\n{wrong}"));
        }
    }
    let used: BTreeSet<_> =
        asked.iter().flat_map(|(_, all)| all).flat_map(|(expression, _)| metrics_in(expression)).collect();
    let forgotten: Vec<_> = page.keys().filter(|name| !used.iter().any(|used| is_of(used, name))).collect();
    assert!(forgotten.is_empty(), "neither shown nor watched: {forgotten:?}");
}

#[test]
fn an_expression_over_what_there_is_not_is_found() {
    let mut page = of_the_page();
    for metric in ["hallmark_calls_total", "hallmark_call_duration_seconds"] {
        let methods = page.get_mut(metric).unwrap().labels.get_mut("method").unwrap();
        methods.extend(["MintCertificate", "GetChain"].map(str::to_owned));
    }
    for (expression, shown, wrong) in [
        ("rate(hallmark_calls_totals[5m])", "", "hallmark_calls_totals"),
        ("hallmark_calls_total{methods=\"x\"}", "", "methods"),
        ("sum by (token) (hallmark_calls_total)", "", "token"),
        ("hallmark_calls_total", "{{token}}", "token"),
        ("hallmark_calls_total_bucket", "", "hallmark_calls_total_bucket"),
        ("sum(hallmark_calls_total", "", "bracket"),
        ("vector(1)", "", "no metric"),
        ("hallmark_calls_total{method=\"Mint\"}", "", "Mint"),
        ("hallmark_calls_total{ method != \"Mint\" }", "", "Mint"),
        ("hallmark_calls_total{method=~\"GetChain|Mint\"}", "", "Mint"),
        ("hallmark_calls_total{method=~\"Mint{x}|token\"}", "", "Mint{x}"),
        ("hallmark_calls_total{method=~\"Get.*\"}", "", "Get.*"),
        ("rate(hallmark_call_duration_seconds_bucket{method=\"Mint\"}[5m])", "", "Mint"),
        ("hallmark_certificate_remaining_seconds{certificate!=\"next\"}", "", "next"),
        ("hallmark_calls_total and up{job=\"signer\"}", "", "signer"),
    ] {
        let found = hold(expression, shown, &page).unwrap_err();
        assert!(found.contains(wrong), "{expression}: {found}");
    }
    for good in [
        "sum by (le, method) (rate(hallmark_call_duration_seconds_bucket{method=~\"MintCertificate|GetChain\"}[5m])) > 2",
        "hallmark_calls_total{instance=~\"$instance\", method=\"GetChain\"} unless on (instance) up{job=\"hallmark\"} == 1",
    ] {
        hold(good, "{{method}}", &page).unwrap();
    }
    hold("hallmark_certificate_remaining_seconds{certificate!=\"next-intermediate\"}", "", &page).unwrap();
}

/// Every expression of the dashboard, with its legend.
fn of_the_dashboard() -> Vec<(String, String)> {
    let dashboard: serde_json::Value = serde_json::from_str(&file("examples/monitoring/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut found = Vec::new();
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()) {
        let text = |key: &str| target[key].as_str().unwrap().to_owned();
        found.push((text("expr").replace("[$__rate_interval]", "[5m]"), text("legendFormat")));
    }
    found
}

/// Every expression of the alerts, with what is said of it.
fn of_the_alerts() -> Vec<(String, String)> {
    let alerts = file("examples/monitoring/alerts.yml");
    let (_, rules) = alerts.split_once("rules:\n").unwrap();
    let rules = rules.split("- alert: ").skip(1);
    rules
        .map(|rule| {
            let expression = rule.lines().find_map(|line| line.trim().strip_prefix("expr: ")).expect("an expression");
            assert!(["summary: ", "hint: ", "severity: "].iter().all(|part| rule.contains(part)), "{rule}");
            (expression.to_owned(), rule.replace("$labels.", ""))
        })
        .collect()
}

/// Whether a name in an expression is that of this metric of the page, or one of the series of a histogram.
fn is_of(used: &str, metric: &str) -> bool {
    used == metric || ["_bucket", "_sum", "_count"].iter().any(|suffix| used.strip_suffix(suffix) == Some(metric))
}

fn metrics_in(expression: &str) -> BTreeSet<String> {
    tokens(expression).into_iter().filter(|token| token.starts_with("hallmark_")).collect()
}

/// A label by which an expression selects, with the values that it names.
struct Selected {
    metric: String,
    label: String,
    values: Vec<String>,
}

/// All of them.
fn selected(expression: &str) -> Vec<Selected> {
    let (mut found, mut within, mut is_pattern) = (Vec::new(), false, false);
    let (mut word, mut metric, mut label) = (String::new(), String::new(), String::new());
    let mut letters = expression.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '{' => (metric, within) = (mem::take(&mut word), true),
            '}' => within = false,
            '=' | '!' if within && !word.is_empty() => (label, is_pattern) = (mem::take(&mut word), false),
            '~' => is_pattern = true,
            '"' => {
                let value: String = letters.by_ref().take_while(|letter| *letter != '"').collect();
                let values = if is_pattern { value.split('|').map(str::to_owned).collect() } else { vec![value] };
                found.push(Selected { metric: metric.clone(), label: label.clone(), values });
            }
            letter if is_word(letter) => word.push(letter),
            letter if letter.is_whitespace() && within => {}
            _ => word.clear(),
        }
    }
    found
}

/// Whether a label has the values by which it is selected: a query for another one is empty for ever.
fn have_values(expression: &str, page: &Known) -> Result<(), String> {
    for Selected { metric, label, values } in selected(expression) {
        let about = page.iter().find(|(name, _)| is_of(&metric, name)).map(|(_, about)| about);
        for value in values {
            let is_known = match (label.as_str(), about) {
                ("instance", _) => value == "$instance",
                ("job", _) => file("docs/monitoring.md").contains(&format!("job_name: {value}\n")),
                (label, about) => {
                    about.is_some_and(|about| about.labels.get(label).is_some_and(|all| all.contains(&value)))
                }
            };
            if !is_known {
                return Err(format!("{label} of {metric} is never {value}"));
            }
        }
    }
    Ok(())
}

/// Whether an expression asks for metrics, labels and values that there are, and what is shown names labels that it has.
fn hold(expression: &str, shown: &str, page: &Known) -> Result<(), String> {
    let tokens = tokens(expression);
    for (open, close) in [("(", ")"), ("{", "}"), ("[", "]")] {
        let count = |bracket: &str| tokens.iter().filter(|token| *token == bracket).count();
        if count(open) != count(close) {
            return Err(format!("a bracket {open} is not closed"));
        }
    }
    let mut all: BTreeSet<&str> = ADDED.into();
    for used in metrics_in(expression) {
        let of =
            page.iter().find(|(metric, about)| used == **metric || about.kind == "histogram" && is_of(&used, metric));
        let Some((_, about)) = of else { return Err(format!("there is no {used}")) };
        all.extend(about.labels.keys().map(String::as_str));
        // Its own matchers.
        let places = tokens.iter().enumerate().filter(|(_, token)| **token == used).map(|(at, _)| at);
        for at in places.filter(|at| tokens.get(at + 1).is_some_and(|token| token == "{")) {
            let matchers = tokens[at + 2..].iter().take_while(|token| *token != "}");
            for label in matchers.filter(|token| token.starts_with(char::is_alphabetic)) {
                if !about.has(label) && !ADDED.contains(&label.as_str()) {
                    return Err(format!("{used} has no label {label}"));
                }
            }
        }
    }
    if all.len() == ADDED.len() && metrics_in(expression).is_empty() {
        return Err("it asks for no metric".to_owned());
    }
    have_values(expression, page)?;
    let mut named = Vec::new();
    for at in (0..tokens.len()).filter(|at| BEFORE_LABELS.contains(&tokens[*at].as_str())) {
        named.extend(tokens[at + 2..].iter().take_while(|token| *token != ")").filter(|token| *token != ",").cloned());
    }
    named.extend(shown.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap().trim().to_owned()));
    match named.iter().find(|label| !all.contains(label.as_str())) {
        Some(label) => Err(format!("nothing in it has a label {label}")),
        None => Ok(()),
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == ':'
}

/// Words and brackets of an expression; what is quoted is left out.
fn tokens(expression: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let (mut quoted, mut in_word) = (false, false);
    for letter in expression.chars() {
        let is_word = is_word(letter);
        match letter {
            '"' => quoted = !quoted,
            _ if quoted => {}
            letter if is_word && in_word => tokens.last_mut().expect("a word has begun").push(letter),
            letter if !letter.is_whitespace() => tokens.push(letter.into()),
            _ => {}
        }
        in_word = is_word && !quoted;
    }
    tokens
}
