use hallmark_policy::{Caller, Request};

fn alter(request: &mut Request, caller: Caller) {
    request.caller = caller;
}

fn main() {}
