use hallmark_policy::Approved;

fn forge() -> Approved {
    Default::default()
}

fn main() {}
