//! What a key is for, where the module does not know CKA_DESTROYABLE: its CKA_ID says so, which stands in every record of the key.

use crate::{
    backend::KeyPurpose,
    waiver::{Asked, Waiver},
};

/// How the CKA_ID of a key begins that is never destroyed from here, and of an epoch's.
const ROOT: &[u8; 4] = b"root";
const EPOCH: &[u8; 4] = b"epoc";

/// Whether the CKA_ID of keys says what they are for.
fn is_told_by_id(waived: &[Waiver]) -> bool {
    Waiver::asked(Waiver::Destroyable.attribute(), waived) == Asked::IfKnown
}

/// Has a drawn CKA_ID say what its key is for, where nothing else does. The rest of it is as it was drawn.
pub(super) fn mark(id: &mut [u8], purpose: KeyPurpose, waived: &[Waiver]) {
    if is_told_by_id(waived) {
        id.iter_mut().zip(begins(purpose)).for_each(|(to, byte)| *to = *byte);
    }
}

/// Whether a CKA_ID says this of its key, where the module does not.
pub(super) fn is(id: &[u8], purpose: KeyPurpose, waived: &[Waiver]) -> bool {
    is_told_by_id(waived) && id.starts_with(begins(purpose))
}

fn begins(purpose: KeyPurpose) -> &'static [u8; 4] {
    match purpose {
        KeyPurpose::Root | KeyPurpose::Wrappable(_) => ROOT,
        KeyPurpose::Epoch => EPOCH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_what_its_key_is_for_where_that_is_waived_and_nothing_otherwise() {
        let drawn = [7; 16];
        for (purpose, other) in [(KeyPurpose::Root, KeyPurpose::Epoch), (KeyPurpose::Epoch, KeyPurpose::Root)] {
            let mut id = drawn;
            mark(&mut id, purpose, &Waiver::HISTORY);
            assert_eq!(id, drawn);
            mark(&mut id, purpose, &Waiver::UNKNOWN);
            assert_eq!(id[4..], drawn[4..]);
            assert!(is(&id, purpose, &Waiver::UNKNOWN) && !is(&id, other, &Waiver::UNKNOWN));
            assert!(!is(&id, purpose, &Waiver::HISTORY) && !is(&drawn, purpose, &Waiver::UNKNOWN));
        }
    }
}
