//! What the front does, as its callers and its core see it. Every file is a verb.

#[cfg(test)]
mod admits;
#[cfg(test)]
mod answers;
#[cfg(test)]
mod crowds;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod shares;
#[cfg(test)]
mod sheds;
#[cfg(test)]
mod stops;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod support;
#[cfg(test)]
mod trusts;
