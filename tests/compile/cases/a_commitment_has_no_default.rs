use hallmark_ledger::Committed;

fn forge() -> Committed {
    Default::default()
}

fn main() {}
