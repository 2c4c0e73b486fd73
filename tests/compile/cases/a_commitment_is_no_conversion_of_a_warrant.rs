use hallmark_ledger::Committed;
use hallmark_policy::Warrant;

fn forge(warrant: Warrant) -> Committed {
    warrant.into()
}

fn main() {}
