//! What monitoring reads, as a scenario asks about it.

use std::collections::{BTreeMap, BTreeSet};

use hallmark_proto::operator::{MetricsRequest, MetricsResponse};
use prost::Message;

use crate::{
    asking::{caller_certificate, decoded},
    world::{OPERATOR, World},
};

/// One line of the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its name, with `_total`, `_bucket` and the like.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// What is said of a metric before its samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// Type, such as `counter`.
    pub kind: String,
    /// Unit, such as `seconds`; empty without one.
    pub unit: String,
    /// What it is, for people.
    pub help: String,
}

/// The text as it was read.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Each metric by its name.
    pub described: BTreeMap<String, Described>,
    /// Every sample, in the order of the text.
    pub samples: Vec<Sample>,
}

impl Metrics {
    /// Asks a world for them, as its operator does.
    ///
    /// # Panics
    /// If it does not answer, or with something else.
    pub async fn of(world: &World) -> Self {
        let reply = world.operate("Metrics", &caller_certificate(OPERATOR), MetricsRequest {}.encode_to_vec()).await;
        Self::read(&decoded::<MetricsResponse>(reply).expect("an operator may read metrics").text)
    }

    /// Reads the text (OpenMetrics 1.0).
    ///
    /// # Panics
    /// If it is no such text.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut metrics = Self::default();
        let text = text.strip_suffix("# EOF\n").expect("the text is whole");
        for line in text.lines() {
            match line.strip_prefix("# ") {
                Some(about) => metrics.describe(about),
                None => metrics.samples.push(sample(line)),
            }
        }
        let known: BTreeSet<_> = metrics.described.keys().cloned().collect();
        for Sample { name, .. } in &metrics.samples {
            assert!(known.contains(metric_of(name, &known)), "nothing is said of {name}");
        }
        metrics
    }

    fn describe(&mut self, about: &str) {
        let mut words = about.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (what, name, text) = (word(), word(), word());
        let described = self.described.entry(name.to_owned()).or_default();
        match what {
            "HELP" => text.clone_into(&mut described.help),
            "TYPE" => text.clone_into(&mut described.kind),
            "UNIT" => text.clone_into(&mut described.unit),
            _ => panic!("# {about}"),
        }
    }

    /// The sum of a sample's values over all series with these labels; 0 without one.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|it| it == value))
        };
        self.samples.iter().filter(has).map(|sample| sample.value).sum()
    }

    /// Every value of a label of a metric.
    #[must_use]
    pub fn values(&self, metric: &str, label: &str) -> BTreeSet<&str> {
        let of = self.samples.iter().filter(|sample| sample.name.starts_with(metric));
        of.filter_map(|sample| sample.labels.get(label).map(String::as_str)).collect()
    }

    /// The labels of each metric, without those of histograms.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let known: BTreeSet<_> = self.described.keys().cloned().collect();
        let mut labels: BTreeMap<&str, BTreeSet<&str>> =
            self.described.keys().map(|name| (name.as_str(), BTreeSet::new())).collect();
        for sample in &self.samples {
            let own = sample.labels.keys().map(String::as_str).filter(|label| *label != "le");
            let metric = known.get(metric_of(&sample.name, &known)).expect("it was described");
            let (metric, _) = self.described.get_key_value(metric).expect("it was described");
            labels.entry(metric).or_default().extend(own);
        }
        labels
    }
}

/// The metric that a sample is of.
#[must_use]
pub fn metric_of<'a>(sample: &'a str, known: &BTreeSet<String>) -> &'a str {
    let suffixes = ["_total", "_bucket", "_sum", "_count", "_info"];
    let without = suffixes.iter().filter_map(|suffix| sample.strip_suffix(suffix));
    without.into_iter().find(|name| known.contains(*name)).unwrap_or(sample)
}

/// `name{label="value",...} number`.
fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').expect("the end of labels")),
        None => (series, ""),
    };
    let labels = labels.split("\",").filter(|label| !label.is_empty()).map(|label| {
        let (name, value) = label.split_once("=\"").expect("a label");
        (name.to_owned(), value.trim_end_matches('"').to_owned())
    });
    Sample { name: name.to_owned(), labels: labels.collect(), value: value.parse().expect("a number") }
}
