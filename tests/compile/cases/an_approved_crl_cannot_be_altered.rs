use hallmark_policy::{Approved, content::Content};

fn unrevoke(approved: &mut Approved) {
    if let Content::Crl(crl) = approved.content() {
        crl.revoked.clear();
    }
}

fn main() {}
