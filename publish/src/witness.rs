//! Witnesses (C2SP `tlog-witness`): each is shown that the log grew, and co-signs what it has seen to be consistent.

use std::time::Duration;

use hallmark_tlog::{
    checkpoint::Checkpoint,
    cosignature::WitnessKey,
    note::{Note, NoteSignature},
    proof::prove_consistency,
};
use reqwest::{Client, Response, StatusCode};

use crate::problem::{Nodes, Problem};

/// How long a witness may take.
const ANSWER_SECS_MAX: u64 = 5;

/// Longest answer, in bytes: some lines of a signature each.
const ANSWER_BYTES_MAX: usize = 16_384;

/// A witness, and the size that it saw last.
#[derive(Debug)]
pub(crate) struct Witness {
    url: String,
    key: WitnessKey,
    seen: u64,
}

/// What a witness says.
enum Answer {
    Cosigned(Vec<NoteSignature>),
    /// It has seen other entries up to that size.
    Forked,
    /// It has another size than was said.
    Has(u64),
    /// It is not there, or does not want to.
    No(String),
}

impl Witness {
    /// The one that `URL=VKEY` names. Keys hold `=` at their end only, URLs may hold it anywhere.
    pub(crate) fn named(text: &str) -> Result<Self, Problem> {
        let at = text.find("=").ok_or(Problem::WitnessNamed)?;
        let candidates = text.match_indices('=').map(|(at, _)| at).chain([at]);
        for at in candidates {
            let (url, key) = (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
            if let Ok(key) = WitnessKey::parse(key) {
                return Ok(Self { url: url.trim_end_matches('/').to_owned(), key, seen: 0 });
            }
        }
        Err(Problem::WitnessNamed)
    }

    /// Asks for a co-signature; nothing if it gives none. A witness that saw more than there is now is an error.
    pub(crate) async fn cosign(
        &mut self,
        client: &Client,
        nodes: &Nodes<'_>,
        note: &Note,
        head: &Checkpoint,
    ) -> Result<Option<NoteSignature>, Problem> {
        let mut old = self.seen;
        for _ in 0..2 {
            let proof = prove_consistency(nodes, old, head.size())?;
            let proof: String = proof.iter().map(|hash| format!("{hash}\n")).collect();
            match self.ask(client, format!("old {old}\n{proof}\n{note}")).await {
                Answer::Cosigned(lines) => {
                    self.seen = head.size();
                    return Ok(lines.into_iter().find(|line| self.is_its(note, line)));
                }
                Answer::Has(theirs) if theirs > head.size() => {
                    let (who, what) = (format!("the witness `{}`", self.key.name()), "the log was cut back");
                    return Err(Problem::Rolled { who, theirs, ours: head.size(), what });
                }
                Answer::Forked if old > 0 => {
                    let (who, what) = (format!("the witness `{}`", self.key.name()), "the two are different logs");
                    return Err(Problem::Rolled { who, theirs: old, ours: head.size(), what });
                }
                Answer::Forked => return Ok(self.refused(head, "it does not accept the proof")),
                Answer::Has(theirs) => old = theirs,
                Answer::No(why) => return Ok(self.refused(head, &why)),
            }
        }
        Ok(self.refused(head, "its size changes while it is asked"))
    }

    /// Says that there is no co-signature, and why.
    fn refused(&self, head: &Checkpoint, why: &str) -> Option<NoteSignature> {
        eprintln!("warning: the witness `{}` did not co-sign {} entries: {why}", self.key.name(), head.size());
        None
    }

    fn is_its(&self, note: &Note, line: &NoteSignature) -> bool {
        let with = note.clone().with_signature(line.clone());
        with.is_ok_and(|note| self.key.cosigned(&note).is_some())
    }

    async fn ask(&self, client: &Client, question: String) -> Answer {
        let request = client.post(format!("{}/add-checkpoint", self.url)).body(question);
        let answered = request.timeout(Duration::from_secs(ANSWER_SECS_MAX)).send().await;
        let response = match answered {
            Ok(response) => response,
            Err(error) => return Answer::No(error.to_string()),
        };
        let status = response.status();
        let text = match read(response).await {
            Ok(text) => text,
            Err(why) => return Answer::No(why),
        };
        match status {
            StatusCode::OK => Answer::Cosigned(text.lines().filter_map(NoteSignature::parse).collect()),
            StatusCode::CONFLICT => {
                text.trim().parse().map_or_else(|_| Answer::No("it says no size".to_owned()), Answer::Has)
            }
            StatusCode::UNPROCESSABLE_ENTITY => Answer::Forked,
            other => Answer::No(format!("it answered {other}")),
        }
    }
}

/// An answer, no more of which is read than belongs there.
async fn read(mut response: Response) -> Result<String, String> {
    let mut bytes = Vec::new();
    while let Some(more) = response.chunk().await.map_err(|error| error.to_string())? {
        if bytes.len() + more.len() > ANSWER_BYTES_MAX {
            return Err(format!("it answers with more than {ANSWER_BYTES_MAX} bytes"));
        }
        bytes.extend_from_slice(&more);
    }
    String::from_utf8(bytes).map_err(|_| "its answer is no text".to_owned())
}
