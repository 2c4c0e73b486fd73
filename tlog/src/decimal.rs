//! Numbers as C2SP texts write them: ASCII digits, no sign, no leading zero.

/// Reads a decimal number that has exactly one spelling.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    if digits && canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!(parse("0"), Some(0));
        assert_eq!(parse("18446744073709551615"), Some(u64::MAX));
        for wrong in ["", "00", "01", "+1", "-1", " 1", "1 ", "1_0", "18446744073709551616", "٣"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
