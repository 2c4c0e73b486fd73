use hallmark_policy::content::Content;

fn anything(bytes: Vec<u8>) -> Content {
    Content::Bytes(bytes)
}

fn main() {}
