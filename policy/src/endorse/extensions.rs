//! Extensions, read back: of certificates, CRLs and certification requests.

use rasn_pkix::Extensions;

use crate::{
    content::Extension as Approved,
    key::arcs,
    readback::{self, Expected, Unencodable},
};

/// The extensions must be exactly the approved ones, in their order: nothing missing, nothing else, nothing twice.
pub(super) fn difference(approved: &[Approved], found: Option<&Extensions>) -> Option<&'static str> {
    let expected: Result<Vec<_>, _> = approved.iter().map(readback::extension).collect();
    match expected {
        Ok(expected) => disagreement(&expected, found),
        Err(Unencodable) => Some("an extension that cannot be encoded"),
    }
}

/// As [`difference`], of extensions whose encodings are known.
pub(super) fn disagreement(expected: &[Expected], found: Option<&Extensions>) -> Option<&'static str> {
    let list = found.map_or(&[][..], |list| list.as_slice());
    // A list without extensions is none (RFC 5280, section 4.1: SIZE (1..MAX)).
    if list.len() != expected.len() || found.is_some() == expected.is_empty() {
        return Some("the number of extensions");
    }
    for (found, Expected { arcs: oid, critical, value }) in list.iter().zip(expected) {
        if arcs(&found.extn_id) != &**oid {
            return Some("which extensions there are");
        }
        if found.critical != *critical {
            return Some("whether an extension is critical");
        }
        if *found.extn_value != **value {
            return Some("the value of an extension");
        }
    }
    let twice = list.iter().enumerate().any(|(at, one)| list.iter().take(at).any(|other| other.extn_id == one.extn_id));
    twice.then_some("an extension that stands twice")
}

#[cfg(test)]
mod tests {
    use rasn_pkix::Extension;

    use super::*;

    #[test]
    fn an_extension_that_was_approved_twice_is_not_endorsed() {
        let expected = readback::extension(&Approved::EndEntity).unwrap();
        let again = readback::extension(&Approved::EndEntity).unwrap();
        let written = || Extension {
            extn_id: rasn::types::ObjectIdentifier::new(vec![2, 5, 29, 19]).unwrap(),
            critical: true,
            extn_value: rasn::types::OctetString::from(expected.value.clone()),
        };
        let twice = Extensions::from(vec![written(), written()]);
        let once = Extensions::from(vec![written()]);
        assert_eq!(disagreement(&[again], Some(&once)), None);
        let two = [Approved::EndEntity, Approved::EndEntity];
        assert_eq!(difference(&two, Some(&twice)), Some("an extension that stands twice"));
        assert_eq!(difference(&[], None), None);
        assert_eq!(difference(&[], Some(&once)), Some("the number of extensions"));
    }
}
