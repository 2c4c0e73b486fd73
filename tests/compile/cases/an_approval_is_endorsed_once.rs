use hallmark_policy::{Approved, endorse};

fn twice(approved: Approved, draft: Vec<u8>, other: Vec<u8>) {
    let _first = endorse(approved, draft);
    let _second = endorse(approved, other);
}

fn main() {}
