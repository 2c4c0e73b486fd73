use hallmark_policy::Approved;

fn copy(approved: &Approved) -> Approved {
    Clone::clone(approved)
}

fn main() {}
