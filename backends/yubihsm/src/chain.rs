//! A device's command log: who had it do what, each entry bound to the one before by a digest.

use std::fmt;

use aws_lc_rs::digest;
use yubihsm::{command::Code, response};

/// The commands that use an asymmetric key to sign something, by number: SIGN PKCS1, SIGN PSS, SIGN ECDSA, SIGN SSH CERTIFICATE, SIGN ATTESTATION
/// CERTIFICATE, SIGN EDDSA.
pub const SIGNING_COMMANDS: [u8; 6] = [
    Code::SignPkcs1 as u8,
    Code::SignPss as u8,
    Code::SignEcdsa as u8,
    Code::SignSshCertificate as u8,
    Code::SignAttestationCertificate as u8,
    Code::SignEddsa as u8,
];

/// The key with which a device attests others.
const OWN_ATTESTATION_KEY: u16 = 0;

/// What the answer to a command has set that was done.
const DONE: u8 = 0x80;

/// What the library has for `YHR_DEVICE_OK`, which a device writes as 0.
const OK_OF_THE_LIBRARY: u8 = 0x75;

/// An answer as it is in the log. What is no success, the library reads as the number that its own protocol has for it: 0x75 less what the device wrote.
pub(crate) fn answered(result: response::Code) -> u8 {
    let number = result.to_u8();
    if result.is_success() { number } else { OK_OF_THE_LIBRARY.checked_sub(number).unwrap_or(number) }
}

/// One entry (GET LOG ENTRIES in the manual).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its number; after 65,535 follows 0.
    pub number: u16,
    /// The command, by number; 0 for a start of the device.
    pub command: u8,
    /// Bytes of the command.
    pub length: u16,
    /// The authentication key of the session in which it came; 0xffff where there was none.
    pub session_key: u16,
    /// The object that it was about.
    pub target_key: u16,
    /// A second one.
    pub second_key: u16,
    /// The answer: the command's number with the top bit set, where it was done.
    pub result: u8,
    /// The device's own clock, since its start.
    pub tick: u32,
    /// The first 16 bytes of SHA-256 over this entry and the digest before.
    pub digest: [u8; 16],
}

/// Where a chain of entries ends, for the next one to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainEnd {
    /// The number of the last entry.
    pub number: u16,
    /// Its digest.
    pub digest: [u8; 16],
}

impl LogEntry {
    /// The asymmetric key that signed in it, if it was done. The device's own attestation key is none.
    #[must_use]
    pub fn signer(&self) -> Option<u16> {
        let signed = SIGNING_COMMANDS.contains(&self.command) && self.result == self.command | DONE;
        let attested = self.command == Code::SignAttestationCertificate as u8;
        let by_the_device = attested && [self.target_key, self.second_key].contains(&OWN_ATTESTATION_KEY);
        (signed && !by_the_device).then_some(if attested { self.second_key } else { self.target_key })
    }

    /// What its digest is taken over, before the digest of the entry before.
    fn bytes(&self) -> Vec<u8> {
        let Self { number, command, length, session_key, target_key, second_key, result, tick, digest: _ } = self;
        let mut bytes = number.to_be_bytes().to_vec();
        bytes.push(*command);
        for word in [length, session_key, target_key, second_key] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.push(*result);
        bytes.extend(tick.to_be_bytes());
        bytes
    }

    /// Whether it is the next one: by number and by digest.
    #[must_use]
    pub fn follows(&self, end: ChainEnd) -> bool {
        let digest = digest::digest(&digest::SHA256, &[&self.bytes()[..], &end.digest].concat());
        self.number == end.number.wrapping_add(1) && digest.as_ref().starts_with(&self.digest)
    }

    /// Where it ends a chain.
    #[must_use]
    pub fn end(&self) -> ChainEnd {
        ChainEnd { number: self.number, digest: self.digest }
    }
}

impl fmt::Display for LogEntry {
    /// As `audit get` of `yubihsm-shell` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, command, length, session_key, target_key, second_key, result, tick, digest } = self;
        write!(
            f,
            "item: {number:5} -- cmd: {command:#04x} -- length: {length:4} -- session key: {session_key:#06x} -- target key: {target_key:#06x} -- \
             second key: {second_key:#06x} -- result: {result:#04x} -- tick: {tick} -- hash: {:032x}",
            u128::from_be_bytes(*digest)
        )
    }
}

/// What a device has in its command log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLog {
    /// Starts of the device that it had no room for.
    pub unlogged_boots: u16,
    /// Openings of sessions that it had no room for.
    pub unlogged_authentications: u16,
    /// The entries, oldest first, as far as the library reads them: it ends at one with a command or an answer that it does not know.
    pub entries: Vec<LogEntry>,
    /// Entries behind those that it did not read.
    pub unread: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of an entry, in their order.
    type Row = (u16, u8, u16, u16, u16, u16, u8, u32, u128);

    /// What a device wrote, as its maker's manual prints it (GET LOG ENTRIES, shell example).
    const RECORDED: [Row; 6] = [
        (46, 0x4b, 234, 0x0001, 0xcf94, 0x997e, 0xcb, 335_725, 0x415f_51f1_f035_a1b7_13e7_30e4_464e_4033),
        (47, 0x4c, 77, 0x0001, 0xaff7, 0xffff, 0xcc, 351_714, 0x5496_a60d_478c_2b9c_801d_8d32_ca66_b554),
        (48, 0x00, 0, 0xffff, 0x0000, 0x0000, 0x00, 0, 0x14ac_7747_ba9b_bb24_3cfc_70be_feb5_349b),
        (49, 0x03, 10, 0xffff, 0x0001, 0xffff, 0x83, 139, 0xb20a_8f25_c025_e693_a8e8_69b4_3329_4a20),
        (50, 0x04, 17, 0xffff, 0x0001, 0xffff, 0x84, 139, 0xebfa_e425_c319_ac7a_0afb_b8b9_2597_de7c),
        (51, 0x67, 2, 0x0001, 0xffff, 0xffff, 0xe7, 697, 0x2e39_5d1b_7066_6873_7e1d_2215_813d_b47e),
    ];

    fn recorded() -> Vec<LogEntry> {
        let entry = |(number, command, length, session_key, target_key, second_key, result, tick, digest)| {
            let digest = u128::to_be_bytes(digest);
            LogEntry { number, command, length, session_key, target_key, second_key, result, tick, digest }
        };
        RECORDED.into_iter().map(entry).collect()
    }

    #[test]
    fn the_entries_that_the_maker_published_follow_each_other() {
        for pair in recorded().windows(2) {
            assert!(pair[1].follows(pair[0].end()), "{}", pair[1].number);
        }
    }

    #[test]
    fn an_entry_is_printed_as_the_maker_s_tool_prints_it() {
        let printed = "item:    46 -- cmd: 0x4b -- length:  234 -- session key: 0x0001 -- target key: 0xcf94 -- second key: 0x997e -- result: 0xcb -- \
                       tick: 335725 -- hash: 415f51f1f035a1b713e730e4464e4033";
        assert_eq!(recorded()[0].to_string(), printed);
    }

    /// A command or an answer as the library reads it from a device's bytes.
    fn read<T: serde::de::DeserializeOwned>(byte: u8) -> T {
        serde_json::from_value(byte.into()).unwrap()
    }

    #[test]
    fn what_the_library_makes_of_a_device_s_bytes_is_made_into_these_bytes_again() {
        let mut entries = recorded();
        for entry in &mut entries {
            entry.command = read::<Code>(entry.command).to_u8();
            entry.result = answered(read(entry.result));
        }
        // One of them is a start of the device, whose answer is 0.
        assert_eq!(entries, recorded());
        for refused in 0..=0x13 {
            assert_eq!(answered(read(refused)), refused, "{refused:#04x}");
        }
        assert_eq!(answered(read(0xff)), 0xff);
    }

    #[test]
    fn an_entry_that_was_changed_left_out_or_put_in_again_does_not_follow() {
        let entries = recorded();
        assert!(!entries[2].follows(entries[0].end()), "one was left out");
        assert!(!entries[1].follows(entries[1].end()), "one is there twice");
        let mut changed = entries[1].clone();
        changed.target_key = 7;
        assert!(!changed.follows(entries[0].end()), "one was changed");
    }

    #[test]
    fn only_what_was_done_is_a_signature() {
        let mut entry = recorded().remove(1);
        assert_eq!(entry.signer(), None);
        (entry.target_key, entry.second_key) = (7, 7);
        for command in SIGNING_COMMANDS {
            (entry.command, entry.result) = (command, command | DONE);
            assert_eq!(entry.signer(), Some(7), "{command:#04x}");
            entry.result = 0xff;
            assert_eq!(entry.signer(), None, "{command:#04x} was refused");
        }
    }

    #[test]
    fn a_certificate_by_the_device_over_a_key_is_no_signature_of_that_key() {
        let mut entry = recorded().remove(1);
        entry.command = Code::SignAttestationCertificate as u8;
        entry.result = entry.command | DONE;
        (entry.target_key, entry.second_key) = (7, OWN_ATTESTATION_KEY);
        assert_eq!(entry.signer(), None);
        entry.second_key = 8;
        assert_eq!(entry.signer(), Some(8), "somebody's own key attests");
    }
}
