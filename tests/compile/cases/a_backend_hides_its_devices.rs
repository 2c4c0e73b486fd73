use hallmark_backends::backend::Signer;

fn main() {}
