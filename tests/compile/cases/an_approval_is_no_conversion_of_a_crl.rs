use hallmark_policy::{Approved, crl::CrlContent};

fn forge(crl: CrlContent) -> Approved {
    crl.into()
}

fn main() {}
