use hallmark_policy::{Approved, Warrant};

fn forge(approved: Approved, to_be_signed: Vec<u8>) -> Warrant {
    Warrant { approved, to_be_signed }
}

fn main() {}
