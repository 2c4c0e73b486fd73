//! Front and core are two processes: what a core that dies or hangs costs, what health says, what a front can do that was taken over, who reads what, and what
//! becomes of a wrong PIN.

#[cfg(test)]
mod health;
#[cfg(test)]
mod links;
#[cfg(test)]
mod locks;
#[cfg(test)]
mod locks_memory;
#[cfg(test)]
mod recovers;
#[cfg(test)]
mod starts;
#[cfg(test)]
mod subverted;
#[cfg(test)]
mod types;
#[cfg(test)]
mod users;
