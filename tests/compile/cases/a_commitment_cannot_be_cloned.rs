use hallmark_ledger::Committed;

fn copy(committed: &Committed) -> Committed {
    Clone::clone(committed)
}

fn main() {}
