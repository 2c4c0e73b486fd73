use hallmark_policy::Warrant;

fn copy(warrant: &Warrant) -> Warrant {
    Clone::clone(warrant)
}

fn main() {}
