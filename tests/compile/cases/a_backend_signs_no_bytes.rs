use std::time::Instant;

use hallmark_backends::{Done, Keyring};

fn sign_anything(keyring: &Keyring, deadline: Instant, done: Done) {
    keyring.sign(b"to be signed", deadline, done);
}

fn main() {}
