//! Keeping texts and lists within an entry: what is cut stands with its digest, what is left out is counted.

use crate::{
    json::{Json, Members, WRITTEN_BYTES_MAX, written_bytes},
    sha256,
};

/// Longest text that stands whole, in bytes as written. A longer one becomes an object: how it begins, how many bytes
/// it has, and their SHA-256.
pub const TEXT_BYTES_MAX: usize = 600;

/// Bytes of all texts of one list together, as written; reasons have twice as much.
pub const LIST_BYTES_MAX: usize = 10_000;

/// What an object around a cut text, or a comma and quotes around a whole one, takes on top; rounded up.
const AROUND_BYTES: usize = 130;

/// The text, or how it begins with its digest.
pub(crate) fn text(whole: &str) -> Json {
    // However it is written, it is short.
    if whole.len() <= TEXT_BYTES_MAX / WRITTEN_BYTES_MAX {
        return Json::Text(whole.to_owned());
    }
    let mut bytes = 0;
    for (at, letter) in whole.char_indices() {
        bytes += written_bytes(letter);
        if bytes > TEXT_BYTES_MAX {
            return cut(whole, whole.get(..at).unwrap_or_default());
        }
    }
    Json::Text(whole.to_owned())
}

fn cut(whole: &str, start: &str) -> Json {
    let length = i64::try_from(whole.len()).unwrap_or(i64::MAX);
    Json::Object(Members::from([
        ("bytes".into(), Json::integer(length)),
        ("sha256".into(), Json::Text(hallmark_policy::hex(&sha256(whole.as_bytes())))),
        ("start".into(), Json::Text(start.to_owned())),
    ]))
}

/// As many items as fit, at most `items_max`, and how many are left out.
pub(crate) fn list(items: impl Iterator<Item = Json>, items_max: usize, bytes_max: usize) -> (Json, usize) {
    let mut listed = Vec::new();
    let mut omitted = 0;
    let mut bytes = 0;
    for item in items {
        bytes += written(&item);
        if omitted == 0 && listed.len() < items_max && bytes <= bytes_max {
            listed.push(item);
        } else {
            omitted += 1;
        }
    }
    (Json::List(listed), omitted)
}

/// At least the bytes that a value takes.
fn written(value: &Json) -> usize {
    match value {
        Json::Bool(_) | Json::Integer(_) => AROUND_BYTES,
        Json::Text(text) => AROUND_BYTES.saturating_add(text.chars().map(written_bytes).sum()),
        Json::List(items) => items.iter().map(written).sum(),
        Json::Object(members) => members.iter().map(|(key, value)| key.len() + written(value)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_by_what_it_takes_when_written() {
        let fits = "\u{1}".repeat(TEXT_BYTES_MAX / 6);
        assert_eq!(text(&fits), Json::Text(fits.clone()));
        let long = format!("{fits}\u{1}");
        let Json::Object(members) = text(&long) else { panic!("not cut") };
        assert_eq!(members.get("start"), Some(&Json::Text(fits)));
        assert_eq!(members.get("bytes"), Some(&Json::Integer(101)));
        assert_eq!(members.get("sha256"), Some(&Json::Text(hallmark_policy::hex(&sha256(long.as_bytes())))));
    }

    #[test]
    fn what_is_left_out_of_a_list_is_counted() {
        let items = || (0..50).map(Json::Integer);
        assert_eq!(list(items(), 32, LIST_BYTES_MAX).1, 18);
        assert_eq!(list(items(), 50, 3 * AROUND_BYTES), (Json::List((0..3).map(Json::Integer).collect()), 47));
    }
}
