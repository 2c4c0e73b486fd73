use hallmark_policy::{Approved, content::Content};

fn forge(content: Content) -> Approved {
    content.into()
}

fn main() {}
