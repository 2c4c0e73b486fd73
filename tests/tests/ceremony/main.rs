//! Ceremonies, by the real program, with a SoftHSM token: what is made, what is refused, and what an interruption leaves behind.

#[cfg(test)]
mod backs_up;
mod by_aws_kms;
mod by_yubihsm;
mod hall;
mod hands_over;
mod interrupted;
mod looks;
mod makes;
mod page;
mod people;
mod refuses;
mod restores;
mod shares;
mod suffers;
mod verifies;
