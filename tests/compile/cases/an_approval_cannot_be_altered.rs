use hallmark_policy::{Approved, content::Serial};

fn alter(approved: &mut Approved) {
    approved.content.serial = Serial::from_random([0; 16]);
}

fn main() {}
