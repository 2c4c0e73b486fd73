use hallmark_ledger::{Ledger, UnixMillis};
use hallmark_policy::Warrant;

async fn twice(ledger: &Ledger, warrant: Warrant, at: UnixMillis) {
    let _first = ledger.issue(warrant, at).await;
    let _second = ledger.issue(warrant, at).await;
}

fn main() {}
