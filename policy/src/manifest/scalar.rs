//! Strings and numbers of JSON, as every reader understands them.

use std::borrow::Cow;

use super::json::{Reader, Stop};

/// The largest integer up to which every integer is a double of its own (RFC 7493, section 2.2).
const INTEGER_MAX: f64 = 9_007_199_254_740_991.0;

/// Every decimal of so many digits survives a double (DBL_DIG of IEEE 754).
const DIGITS_SURE: usize = 15;

/// Longest number, in bytes.
const NUMBER_BYTES_MAX: usize = 64;

impl<'a> Reader<'a> {
    /// Reads a string. It borrows from the text where nothing is escaped.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Stop> {
        let opening = self.at;
        self.at += 1;
        let mut begin = self.at;
        let mut read = String::new();
        loop {
            match self.byte() {
                Some(b'"') => {
                    let rest = self.text.get(begin..self.at).unwrap_or_default();
                    self.at += 1;
                    return Ok(if read.is_empty() { Cow::Borrowed(rest) } else { Cow::Owned(read + rest) });
                }
                Some(b'\\') => {
                    read.push_str(self.text.get(begin..self.at).unwrap_or_default());
                    let escaped = self.escape()?;
                    read.push(escaped);
                    begin = self.at;
                }
                Some(control @ 0..0x20) => {
                    return Err(self.stop(self.at, format!("the control character {control:#04x} stands in a string")));
                }
                Some(_) => self.at += 1,
                None => return Err(self.stop(opening, "a string has no end")),
            }
        }
    }

    /// `\n`, `\u00e9`, `\ud83d\ude00`.
    fn escape(&mut self) -> Result<char, Stop> {
        let begin = self.at;
        self.at += 1;
        let letter = self.byte();
        self.at += 1;
        match letter {
            Some(b'"') => Ok('"'),
            Some(b'\\') => Ok('\\'),
            Some(b'/') => Ok('/'),
            Some(b'b') => Ok('\u{8}'),
            Some(b'f') => Ok('\u{c}'),
            Some(b'n') => Ok('\n'),
            Some(b'r') => Ok('\r'),
            Some(b't') => Ok('\t'),
            Some(b'u') => self.code_point(begin),
            Some(_) | None => Err(self.stop(begin, "a backslash in a string begins no escape of JSON")),
        }
    }

    fn code_point(&mut self, begin: usize) -> Result<char, Stop> {
        let first = self.four_digits(begin)?;
        let second = if (0xd800..0xdc00).contains(&first) { self.low_surrogate() } else { None };
        let number = match second {
            Some(second) => 0x1_0000 + ((u32::from(first) - 0xd800) << 10) + (u32::from(second) - 0xdc00),
            None => u32::from(first),
        };
        match char::from_u32(number) {
            Some('\0') => {
                self.note(begin, "a string has the character NUL", Some("some readers end the string there"));
                Ok('\0')
            }
            Some(read) => Ok(read),
            None => {
                let sentence = format!("the surrogate `\\u{first:04x}` stands alone");
                self.note(begin, sentence, Some("readers replace it, keep it or refuse it"));
                Ok(char::REPLACEMENT_CHARACTER)
            }
        }
    }

    /// The second half of a pair, if it follows.
    fn low_surrogate(&mut self) -> Option<u16> {
        let digits = self.text.get(self.at..)?.strip_prefix("\\u")?.get(..4)?;
        let number = hex4(digits).filter(|number| (0xdc00..0xe000).contains(number))?;
        self.at += 6;
        Some(number)
    }

    fn four_digits(&mut self, begin: usize) -> Result<u16, Stop> {
        let number = self.text.get(self.at..self.at + 4).and_then(hex4);
        self.at += 4;
        number.ok_or_else(|| self.stop(begin, "`\\u` in a string is followed by four hexadecimal digits"))
    }

    /// Reads a number that is the same for readers with integers, with decimals and with doubles.
    pub(super) fn number(&mut self) -> Result<(), Stop> {
        let begin = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        let whole = self.digits();
        let mut well_formed = !whole.is_empty() && (whole == "0" || !whole.starts_with('0'));
        if self.byte() == Some(b'.') {
            self.at += 1;
            well_formed &= !self.digits().is_empty();
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            well_formed &= !self.digits().is_empty();
        }
        let text = self.text.get(begin..self.at).unwrap_or_default();
        if !well_formed {
            let quoted = crate::reason::quote(text);
            return Err(self.stop(begin, format!("{quoted} is no number of JSON")));
        }
        if !survives_a_double(text) {
            let sentence = format!("the number {} is another one as a double", crate::reason::quote(text));
            self.note(begin, sentence, Some("readers with doubles and with integers would not agree; write a string"));
        }
        Ok(())
    }

    fn digits(&mut self) -> &'a str {
        let begin = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.text.get(begin..self.at).unwrap_or_default()
    }
}

fn hex4(digits: &str) -> Option<u16> {
    let hex = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
}

/// Whether the number is the shortest decimal of the nearest double: then writing the double gives it back, and no reader
/// with more digits sees more in it.
fn survives_a_double(text: &str) -> bool {
    if text.len() > NUMBER_BYTES_MAX {
        return false;
    }
    if text.len() <= DIGITS_SURE && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return true;
    }
    let Ok(double) = text.parse::<f64>() else { return false };
    if double == 0.0 {
        return significant(text) == 0 && !text.starts_with('-');
    }
    let shortest = format!("{double:e}");
    double.is_normal() && double.abs() <= INTEGER_MAX && significant(text) <= significant(&shortest)
}

/// How many digits a number has without the zeros around them.
fn significant(text: &str) -> usize {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_that_a_double_holds_in_their_own_digits() {
        for text in [
            "0",
            "0.0",
            "-1",
            "255",
            "1.5",
            "0.1",
            "1.10",
            "1e3",
            "1E+3",
            "12.5e-1",
            "9007199254740991",
            "0e9",
            "969263535189525.2",
        ] {
            assert!(survives_a_double(text), "{text}");
        }
        assert!(survives_a_double(&format!("1.5{}", "0".repeat(NUMBER_BYTES_MAX - 3))));
        assert!(!survives_a_double(&format!("1.5{}", "0".repeat(NUMBER_BYTES_MAX - 2))));
        let many = "0".repeat(NUMBER_BYTES_MAX + 1);
        for text in [
            "-0",
            "-0.0",
            "9007199254740992",
            "9007199254740993",
            "18446744073709551615",
            "1e400",
            "-1e400",
            "1e-400",
            "3e-324",
            "0.10000000000000000555",
            "1e99999999999999999999",
            "1e23",
            &many,
        ] {
            assert!(!survives_a_double(text), "{text}");
        }
    }
}
