//! What `verify` says of good evidence, and of evidence with one thing wrong in it.

#[cfg(test)]
mod finds;
#[cfg(test)]
mod holds;
#[cfg(test)]
mod revokes;
#[cfg(test)]
mod world;
