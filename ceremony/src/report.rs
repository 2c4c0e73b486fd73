//! Pages for the binder: what a transcript says, on paper. The transcript counts, not the page: its digest is on it.

use hallmark_policy::time::UnixTime;

use crate::{
    digest::{aloud, sha256},
    facts::Fact,
    transcript::Transcript,
};

/// Style of the page; it loads nothing from anywhere.
const STYLE: &str = "body{font:11pt serif;margin:2cm;max-width:18cm}h1{font-size:18pt}h2{font-size:13pt;margin-top:1.5em}\
                     table{border-collapse:collapse;width:100%}td{vertical-align:top;padding:.15em .8em .15em 0;\
                     border-bottom:1px solid #ddd;overflow-wrap:anywhere}td:first-child{white-space:nowrap;color:#555}\
                     pre{font:9pt monospace;white-space:pre-wrap;border:1px solid #ddd;padding:.5em}.sign{height:2.2em}";

/// The page of a transcript.
#[must_use]
pub fn page(transcript: &Transcript) -> String {
    let digest = sha256(&transcript.to_json());
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Ceremony {0}</title><style>{STYLE}</style></head>\n\
         <body>\n<h1>Ceremony {0}</h1>\n",
        escaped(&transcript.ceremony)
    );
    let runs = transcript.runs.to_string();
    let rehearsal = &transcript.rehearsal_sha256;
    out.push_str(&table([
        ("task", transcript.task.as_str()),
        ("policy SHA-256", &transcript.policy_sha256),
        ("rehearsal SHA-256", rehearsal),
        ("attestation", &transcript.attestation),
        ("runs", &runs),
        ("log", &transcript.log.origin),
        ("key of the log", &transcript.log.key),
        ("program", &transcript.program_version),
    ]));
    out.push_str("<h2>Digest of the transcript</h2>\n<pre>");
    out.push_str(&aloud(&digest).join("\n"));
    out.push_str("</pre>\n<h2>Files</h2>\n");
    let files = transcript.artefacts.iter().map(|file| {
        let digest = if file.sha256.is_empty() { "a secret" } else { file.sha256.as_str() };
        (file.what.clone(), format!("{}: {digest}", file.path))
    });
    out.push_str(&table(files.collect::<Vec<_>>().iter().map(|(what, said)| (what.as_str(), said.as_str()))));
    if !transcript.device.is_empty() {
        out.push_str("<h2>Device</h2>\n");
        out.push_str(&facts(&transcript.device));
    }
    out.push_str("<h2>Steps</h2>\n");
    for done in &transcript.steps {
        let at = UnixTime::from_secs(done.at.div_euclid(1_000));
        let by: Vec<&str> = transcript
            .confirmations
            .iter()
            .filter(|confirmation| confirmation.step == done.step)
            .map(|confirmation| confirmation.by.as_str())
            .collect();
        let by = if by.is_empty() { "nobody was asked".to_owned() } else { format!("let by {}", by.join(", ")) };
        out.push_str(&format!("<h3>{}, {at}, {}</h3>\n{}", escaped(&done.step), escaped(&by), facts(&done.facts)));
    }
    out.push_str("<h2>The file</h2>\n<pre>");
    out.push_str(&escaped(&transcript.file));
    out.push_str("</pre>\n<h2>Signed</h2>\n<table>\n");
    for witness in &transcript.witnesses {
        let name = escaped(&format!("{} ({})", witness.name, witness.initials));
        out.push_str(&format!("<tr class=\"sign\"><td>{name}</td><td></td></tr>\n"));
    }
    out.push_str("</table>\n</body></html>\n");
    out
}

fn facts(facts: &[Fact]) -> String {
    table(facts.iter().map(|fact| (fact.name.as_str(), fact.value.as_str())))
}

fn table<'a>(rows: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let row = |(name, value): (&str, &str)| format!("<tr><td>{}</td><td>{}</td></tr>\n", escaped(name), escaped(value));
    format!("<table>\n{}</table>\n", rows.into_iter().map(row).collect::<String>())
}

/// Text that stands in HTML.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}
