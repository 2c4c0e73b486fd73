//! What is wrong with a policy file: each mistake with its line, its place, and what to do.

use std::fmt;

use crate::lines::Lines;

/// Most mistakes of one file that are told.
pub(crate) const MISTAKES_MAX: usize = 100;

/// One mistake in a policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1; none where the mistake is about the file as a whole.
    pub line: Option<usize>,
    /// The table, dotted, such as `profile.mesh`; empty for the file as a whole.
    pub place: String,
    /// What is wrong, as a sentence without a full stop.
    pub sentence: String,
    /// What to do or what there is instead, where that can be said.
    pub hint: Option<String>,
}

impl Mistake {
    /// A mistake whose line is still to be found. What stands behind `; hint: `, else behind the last `; `, is the hint.
    #[must_use]
    pub fn new(place: &str, text: impl fmt::Display) -> Self {
        let text = text.to_string();
        // A `; ` between backticks is the file's, not ours.
        let ours = |(sentence, _): &(&str, &str)| sentence.matches('`').count().is_multiple_of(2);
        let split = text.rsplit_once("; hint: ").filter(ours).or_else(|| text.rsplit_once("; ").filter(ours));
        let (sentence, hint) = match split {
            Some((sentence, hint)) => (sentence.to_owned(), Some(hint.to_owned())),
            None => (text, None),
        };
        Self { line: None, place: place.to_owned(), sentence, hint }
    }

    pub(crate) fn at_line(self, line: Option<usize>) -> Self {
        Self { line, ..self }
    }
}

impl fmt::Display for Mistake {
    /// `line 37: [profile.mesh] sentence; hint`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.place.is_empty() {
            write!(f, "[{}] ", self.place)?;
        }
        f.write_str(&self.sentence)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a policy file, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy has {} mistake(s):{}", .mistakes.len(), .mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect::<String>())]
pub struct PolicyError {
    /// The mistakes, at least one.
    pub mistakes: Vec<Mistake>,
}

impl PolicyError {
    /// Finds the lines that are not known yet in `text`.
    pub(crate) fn new(mistakes: Vec<Mistake>, text: &str) -> Self {
        let lines = Lines::of(text);
        let found = |mistake: Mistake| {
            let line = mistake.line.or_else(|| lines.find(&mistake.place, &mistake.sentence));
            mistake.at_line(line)
        };
        let left_out = mistakes.len().saturating_sub(MISTAKES_MAX);
        let mut mistakes: Vec<_> = mistakes.into_iter().take(MISTAKES_MAX).map(found).collect();
        mistakes.sort_by_key(|mistake| mistake.line);
        if left_out > 0 {
            mistakes.push(Mistake::new("", format!("there are {left_out} mistakes more; correct these first")));
        }
        Self { mistakes }
    }
}

#[cfg(test)]
mod tests {
    use crate::Policy;

    /// Lines and sentences of everything that is wrong with `text`.
    fn told(text: &str) -> Vec<String> {
        Policy::parse(text).unwrap_err().mistakes.iter().map(ToString::to_string).collect()
    }

    const AUTHORITY: &str = r#"version = 1
[authority.a.root]
common-name = "Root"
lifetime = "10d"
key = "ecdsa-p256"
[authority.a.epoch]
common-name = "Issuer"
lifetime = "10d"
key = "ecdsa-p256"
"#;

    #[test]
    fn a_mistake_has_the_line_of_what_it_quotes() {
        let text = format!(
            "{AUTHORITY}[profile.p]\nauthority = \"b\"\nlifetime = {{ default = \"60s\", maximum = \"90d\" }}\n\
             keys = [\n  \"ecdsa-p256\",\n  \"ecdsa-p512\",\n]\nusages = []\ncommon-name = \"{{x}}\"\n"
        );
        let told = told(&text);
        assert_eq!(
            told,
            [
                "line 11: [profile.p] there is no authority `b`",
                "line 12: [profile.p] `lifetime.maximum` is 90d; it lies between 1m and 30d",
                "line 15: [profile.p] there is no key kind `ecdsa-p512`; there are ecdsa-p256, ecdsa-p384, rsa-2048, \
                 rsa-3072, rsa-4096, ed25519, ml-dsa-44, ml-dsa-65, ml-dsa-87",
                "line 17: [profile.p] `usages` is empty: a certificate without extended key usage is good for \
                 everything",
                "line 18: [profile.p] nothing says what `{x}` is; name it in `parts`",
            ]
        );
    }

    #[test]
    fn a_word_that_is_a_key_is_not_looked_for_within_values() {
        let text = format!(
            "{AUTHORITY}[profile.p]\nauthority = \"a\"\nnames = [{{ dns = \"keys.example\" }}]\n\
             lifetime = {{ default = \"1d\", maximum = \"1d\" }}\nkeys = []\nusages = [\"client-auth\"]\n"
        );
        assert_eq!(told(&text), ["line 14: [profile.p] `keys` is empty: no request could be approved"]);
    }

    #[test]
    fn a_table_between_pieces_of_another_is_named() {
        let other = AUTHORITY.replace("version = 1\n", "").replace(".a.", ".b.");
        let told = told(&format!("{AUTHORITY}[caller.c]\nurl = \"x://y\"\nmethods = []\n{other}"));
        assert_eq!(
            told,
            [
                "line 10: [caller.c] a caller has either `uri` or `dns`",
                "line 11: [caller.c] there is no setting `url` here; did you mean `uri`?"
            ]
        );
    }

    #[test]
    fn a_word_is_guessed_from_three_letters_that_differ_at_most() {
        let told =
            |word: &str| told(&format!("{AUTHORITY}[caller.c]\ndns = \"x.y\"\nmethods = []\n{word} = 1\n")).remove(0);
        for (word, meant) in [("metho", "methods"), ("mthd", "methods"), ("profile", "profiles"), ("rates", "rate")] {
            assert!(told(word).ends_with(&format!("; did you mean `{meant}`?")), "{}", told(word));
        }
        for word in ["mthx", "abc", "zzzzzzzzzz"] {
            assert!(told(word).contains("; there are uri, dns, methods, profiles, providers, rate"), "{}", told(word));
        }
    }

    #[test]
    fn a_hundred_misspelt_keys_are_told() {
        let keys: String = (0..150).map(|number| format!("zzzzzz{number} = 1\n")).collect();
        assert_eq!(told(&format!("{AUTHORITY}[caller.c]\ndns = \"x.y\"\nmethods = []\n{keys}")).len(), 100);
    }

    #[test]
    fn misspelt_keys_are_all_told_and_the_rest_is_read() {
        let text = AUTHORITY.replace("lifetime = \"10d\"", "lifetime = \"10\"\nlifetmie = \"1d\"");
        let told = told(&text);
        let lines: Vec<_> = told.iter().map(|mistake| mistake.split(" `").next().unwrap()).collect();
        assert_eq!(
            lines,
            [
                "line 4: [authority.a.root]",
                "line 5: [authority.a.root] there is no setting",
                "line 9: [authority.a.epoch]",
                "line 10: [authority.a.epoch] there is no setting",
            ]
        );
        assert!(told[1].ends_with("; did you mean `lifetime`?"), "{}", told[1]);
    }

    #[test]
    fn a_table_that_lacks_something_hides_no_other() {
        let text = AUTHORITY.replacen("lifetime = \"10d\"\n", "", 1).replace("\"Issuer\"", "\"\"");
        let text = format!("{text}[profile.p]\nauthority = \"a\"\n[caller.c]\nmethods = [7]\nprofiles = [\"p\"]\n");
        let told = told(&text);
        assert_eq!(
            told,
            [
                "line 2: [authority.a.root] `lifetime` is missing",
                "line 9: [profile.p] `lifetime` is missing",
                "line 12: [caller.c] invalid type: integer `7`, expected a string",
            ]
        );
    }

    #[test]
    fn text_that_is_no_toml_has_a_line_for_each_error() {
        let told = told("version = 1\nx = \n[a\n");
        assert!(told.iter().any(|mistake| mistake.starts_with("line 2: ")), "{told:?}");
        assert!(told.iter().any(|mistake| mistake.starts_with("line 3: ")), "{told:?}");
    }

    #[test]
    fn a_hundred_mistakes_are_told_and_the_rest_is_counted() {
        let kinds = "\"x\", ".repeat(150);
        let text = format!(
            "{AUTHORITY}[profile.p]\nauthority = \"a\"\nlifetime = {{ default = \"1d\", maximum = \"1d\" }}\n\
             keys = [{kinds}]\nusages = [\"client-auth\"]\nnames = [{{ dns = \"{{domain}}.example\" }}]\n"
        );
        let told = told(&text);
        assert_eq!(told.len(), 101);
        assert_eq!(told[100], "there are 50 mistakes more; correct these first");
    }

    #[test]
    fn names_with_dots_are_found() {
        let text = "version = 1\n\n[provider.\"sys.auth.a\"]\ndns-suffixes = [\n\"a.b\",\n\"b\"]\n";
        let told = told(text);
        assert!(told.iter().all(|mistake| mistake.starts_with("line 6: [provider.sys.auth.a] ")), "{told:?}");
    }
}
