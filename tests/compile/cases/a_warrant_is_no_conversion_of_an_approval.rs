use hallmark_policy::{Approved, Warrant};

fn forge(approved: Approved) -> Warrant {
    approved.into()
}

fn main() {}
