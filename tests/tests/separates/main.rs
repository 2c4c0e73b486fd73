//! Front and core are two processes: what a core that dies or hangs costs, what a front can do that was taken over, and who reads what.

#[cfg(test)]
mod recovers;
#[cfg(test)]
mod subverted;
#[cfg(test)]
mod users;
