//! One `World` for all tests of the front: authorities, files, a core that is not there, a clock, and callers.

mod client;
mod core;
mod world;

pub(crate) use self::{
    client::{Answer, Caller, Dial, SIGNER, body, framed, origin, request},
    core::Act,
    world::{Authority, World, eventually},
};
