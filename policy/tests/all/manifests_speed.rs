//! However a manifest is made up, reading it takes time in proportion to its length.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends by panicking")]

use std::{fs, time::Duration};

use hallmark_policy::manifest::{MANIFEST_BYTES_MAX, Manifest};

/// The longest of the texts. Where nothing is optimised a sixteenth will do.
const BYTES: usize = if cfg!(debug_assertions) { MANIFEST_BYTES_MAX / 16 } else { MANIFEST_BYTES_MAX };

/// The longest that reading it takes, optimised.
const LONGEST: Duration = Duration::from_millis(900);

/// Eight times the length may take 24 times as long: what grows with the square takes 64 times.
const GROWTH: usize = 8;
const SLOWER_MAX: u32 = 24;

/// `piece` with growing numbers, between a head and a tail, up to so many bytes.
fn filled(bytes: usize, head: &str, piece: impl Fn(usize) -> String, tail: &str) -> Vec<u8> {
    let mut text = head.to_owned();
    let mut number = 0;
    while text.len() + tail.len() < bytes {
        let piece = piece(number);
        if text.len() + piece.len() + tail.len() > bytes {
            break;
        }
        text.push_str(&piece);
        number += 1;
    }
    text.push_str(tail);
    text.into_bytes()
}

type Kind = (&'static str, bool, fn(usize) -> Vec<u8>);

const REFERENCE: &str = "{\"Policies\":{},\"WorkloadOwnerPubKeys\":[],\"ReferenceValues\":{\"a\":";

fn kinds() -> Vec<Kind> {
    vec![
        ("space", true, |bytes| {
            filled(bytes, "{\"Policies\":{},", |_| " \n".to_owned(), "\"WorkloadOwnerPubKeys\":[]}")
        }),
        ("numbers", true, |bytes| filled(bytes, &format!("{REFERENCE}[0"), |_| ",1.5".to_owned(), "]}}")),
        ("empty arrays", true, |bytes| filled(bytes, &format!("{REFERENCE}[0"), |_| ",[]".to_owned(), "]}}")),
        ("deep arrays", true, |bytes| {
            filled(bytes, &format!("{REFERENCE}[0"), |_| format!(",{}{}", "[".repeat(29), "]".repeat(29)), "]}}")
        }),
        ("keys of one object", true, |bytes| {
            filled(bytes, &format!("{REFERENCE}{{\"x\":0"), |number| format!(",\"{number}\":0"), "}}}")
        }),
        ("keys that begin alike and come in no order", true, |bytes| {
            let key =
                |number: usize| format!(",\"{}{}\":0", "k".repeat(200), number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            filled(bytes, &format!("{REFERENCE}{{\"x\":0"), key, "}}}")
        }),
        ("small objects", true, |bytes| filled(bytes, &format!("{REFERENCE}[0"), |_| ",{\"a\":{}}".to_owned(), "]}}")),
        ("one string with escapes", true, |bytes| {
            filled(bytes, &format!("{REFERENCE}\""), |_| "\\u00e9".to_owned(), "\"}}")
        }),
        ("workloads", true, |bytes| {
            let workload =
                |number: usize| format!(",\"{number:064x}\":{{\"SANs\":[\"n{number}.example\",\"10.0.0.1\"]}}");
            let head = format!("{{\"Policies\":{{\"{}\":{{\"SANs\":[]}}", "f".repeat(64));
            filled(bytes, &head, workload, "},\"WorkloadOwnerPubKeys\":[]}")
        }),
        ("names of one workload", false, |bytes| {
            let head = format!("{{\"Policies\":{{\"{}\":{{\"SANs\":[\"a.example\"", "f".repeat(64));
            filled(bytes, &head, |number| format!(",\"n{number}.example\""), "]}},\"WorkloadOwnerPubKeys\":[]}")
        }),
        ("bad names", false, |bytes| {
            let head = format!("{{\"Policies\":{{\"{}\":{{\"SANs\":[\"*\"", "f".repeat(64));
            filled(bytes, &head, |_| ",\"*\"".to_owned(), "]}},\"WorkloadOwnerPubKeys\":[]}")
        }),
        ("null names", false, |bytes| {
            let head = format!("{{\"Policies\":{{\"{}\":{{\"SANs\":[null", "f".repeat(64));
            filled(bytes, &head, |_| ",null".to_owned(), "]}},\"WorkloadOwnerPubKeys\":[]}")
        }),
        ("one key again and again", false, |bytes| {
            filled(bytes, &format!("{REFERENCE}{{\"x\":0"), |_| ",\"x\":0".to_owned(), "}}}")
        }),
        ("lone surrogates", false, |bytes| filled(bytes, &format!("{REFERENCE}\""), |_| "\\ud800".to_owned(), "\"}}")),
        ("owners", false, |bytes| {
            let owner = |number: usize| format!(",\"{number:064x}\"");
            filled(
                bytes,
                &format!("{{\"Policies\":{{}},\"WorkloadOwnerKeyDigests\":[\"{}\"", "f".repeat(64)),
                owner,
                "]}",
            )
        }),
        ("digits", false, |bytes| filled(bytes, REFERENCE, |_| "1".to_owned(), "}}")),
        ("brackets", false, |bytes| filled(bytes, REFERENCE, |_| "[".to_owned(), "")),
    ]
}

/// The time of this thread on a processor: others may be busy, too.
#[expect(
    clippy::disallowed_methods,
    reason = "policy reads no file; its test asks the kernel for the time that policy took"
)]
fn busy() -> Duration {
    let told = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(told.split(' ').next().unwrap().parse().unwrap())
}

/// The shortest of three times.
fn time(text: &[u8], taken: bool) -> Duration {
    let once = || {
        let begin = busy();
        assert_eq!(Manifest::parse(text).is_ok(), taken);
        busy() - begin
    };
    (0..3).map(|_| once()).min().unwrap()
}

#[test]
fn eight_times_the_length_takes_about_eight_times_as_long() {
    for (name, taken, text) in kinds() {
        let (short, long) = (text(BYTES / GROWTH), text(BYTES));
        assert!(long.len() > BYTES - 1_024, "{name}");
        let (quick, slow) = (time(&short, taken), time(&long, taken));
        println!("{name}: {} ms for {BYTES} bytes", slow.as_millis());
        assert!(cfg!(debug_assertions) || slow < LONGEST, "{name} takes {slow:?}");
        let least = Duration::from_millis(2);
        assert!(slow < quick.max(least) * SLOWER_MAX, "{name}: {quick:?}, and {slow:?} for eight times the length");
    }
}
