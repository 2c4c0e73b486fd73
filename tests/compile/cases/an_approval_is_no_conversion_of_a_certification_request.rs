use hallmark_policy::{Approved, certification_request::RequestContent};

fn forge(request: RequestContent) -> Approved {
    request.into()
}

fn main() {}
