use hallmark_backends::Signature;

fn forge(known: Signature, bytes: Vec<u8>) -> Signature {
    Signature { bytes, ..known }
}

fn main() {}
