use hallmark_backends::Signature;

fn forge() -> Signature {
    Default::default()
}

fn main() {}
