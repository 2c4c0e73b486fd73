//! What policy files are refused for: `mistakes.toml` changes a good one in one place after another.

use hallmark_policy::{Policy, profile::Mistake};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    policy: String,
    section: Vec<Section>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    title: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    is: String,
    from: String,
    to: String,
    said: Vec<String>,
}

#[test]
fn every_mistake_of_the_corpus_is_told_and_nothing_else() {
    let corpus: Corpus = toml::from_str(include_str!("../mistakes.toml")).unwrap();
    assert!(Policy::parse(&corpus.policy).is_ok(), "it is good as it stands");
    let mut wrong = Vec::new();
    for Section { title, cases } in &corpus.section {
        for Case { is, from, to, said } in cases {
            let [from, to] = [from, to].map(|text| text.replace("\\n", "\n"));
            assert!(corpus.policy.contains(&from), "{title} / {is}: `{from}` is not there");
            let long = |text: &str| {
                [32, 33, 64, 65]
                    .iter()
                    .fold(text.to_owned(), |text, count| text.replace(&format!("<{count}>"), &"a".repeat(*count)))
            };
            let found = Policy::parse(&corpus.policy.replacen(&from, &long(&to), 1));
            let told = found.err().map(|error| error.mistakes).unwrap_or_default();
            let mut told: Vec<_> =
                told.into_iter().map(|mistake| Mistake { line: None, ..mistake }.to_string()).collect();
            let fits = told.len() == said.len()
                && said.iter().all(|said| {
                    told.iter()
                        .position(|told| told.contains(said.as_str()))
                        .is_some_and(|at| !told.remove(at).is_empty())
                });
            if !fits {
                wrong.push(format!("{title} / {is}: {told:#?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
