use hallmark_policy::Warrant;

fn forge() -> Warrant {
    Default::default()
}

fn main() {}
