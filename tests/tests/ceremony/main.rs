//! Ceremonies, by the real program, with a SoftHSM token: what is made, what is refused, and what an interruption leaves behind.

#[cfg(test)]
mod hall;
mod interrupted;
mod makes;
mod page;
mod people;
mod refuses;
mod suffers;
mod verifies;
