//! The program, as a shell sees it.

#[cfg(test)]
mod checks;
#[cfg(test)]
mod inits;
#[cfg(test)]
mod lays_out;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod world;
