//! What people see of `hallmark`: the program is run, over real TLS and real files. Every file is a verb.

#[cfg(test)]
mod audits;
#[cfg(test)]
mod configures;
#[cfg(test)]
mod connects;
mod continues;
#[cfg(test)]
mod cookbook;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod judges;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod mints;
#[cfg(test)]
mod operates;
#[cfg(test)]
mod operates_instances;
#[cfg(test)]
mod proves;
#[cfg(test)]
mod ranges;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod refuses;
#[cfg(test)]
mod rotates;
#[cfg(test)]
mod support;
#[cfg(test)]
mod verifies;
#[cfg(test)]
mod watches;
#[cfg(test)]
mod withstands;
