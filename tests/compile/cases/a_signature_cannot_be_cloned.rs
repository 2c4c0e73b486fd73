use hallmark_backends::Signature;

fn copy(signature: &Signature) -> Signature {
    Clone::clone(signature)
}

fn main() {}
