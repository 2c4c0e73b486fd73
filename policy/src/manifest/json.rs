//! A reader of JSON (RFC 8259) that takes only what every other reader understands in the same way.
//!
//! It pulls values out of the text one after the other and keeps none of them, so that it needs little more memory than
//! the text. What is no JSON stops it. What is JSON and could be read in two ways is noted, and reading goes on: keys
//! that stand twice or differ in case only, lone surrogates, NUL, numbers that a double cannot hold, depth.

use std::borrow::Cow;

use super::problem::Problems;

/// Deepest nesting of objects and arrays. A manifest has six.
pub const DEPTH_MAX: usize = 32;

/// Longest key of an object, in bytes.
pub const KEY_BYTES_MAX: usize = 256;

/// The text is no JSON from here on; the problem is noted.
#[derive(Debug)]
pub(super) struct Stop;

/// What a value begins like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Null => "null",
        }
    }
}

/// One step of a JSON pointer.
#[derive(Clone, Debug)]
enum Step<'a> {
    Key(Cow<'a, str>),
    Item(usize),
}

/// Where reading stands.
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    /// Where the key of the value that is being read stands.
    pub(super) key_at: usize,
    depth: usize,
    path: Vec<Step<'a>>,
    pub(super) problems: Problems,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, key_at: 0, depth: 0, path: Vec::new(), problems: Problems::default() }
    }

    /// Notes a problem with the value that is being read, and goes on.
    pub(super) fn note(&mut self, at: usize, sentence: impl Into<String>, hint: Option<&str>) {
        let path = &self.path;
        self.problems.add(at, || pointer(path), sentence.into(), hint.map(ToOwned::to_owned));
    }

    /// Notes that the text is no JSON from here on.
    pub(super) fn stop(&mut self, at: usize, sentence: impl Into<String>) -> Stop {
        self.note(at, sentence, Some("the rest was not read"));
        Stop
    }

    pub(super) fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// A byte order mark at the beginning is noted and passed over.
    pub(super) fn byte_order_mark(&mut self) {
        const MARK: char = '\u{feff}';
        if self.text.starts_with(MARK) {
            self.note(0, "a byte order mark stands before the manifest", Some("some readers refuse it; leave it out"));
            self.at += MARK.len_utf8();
        }
    }

    /// What the next value is.
    pub(super) fn kind(&mut self) -> Result<Kind, Stop> {
        self.space();
        match self.byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Boolean),
            Some(b'n') => Ok(Kind::Null),
            Some(_) => Err(self.stop(self.at, format!("{} begins no value of JSON", self.next_char()))),
            None => Err(self.stop(self.at, "the text ends where a value is missing")),
        }
    }

    /// Reads an object: `member` reads the value of each key.
    pub(super) fn object(&mut self, member: &mut dyn FnMut(&mut Self, &str) -> Result<(), Stop>) -> Result<(), Stop> {
        self.enter(b'{')?;
        let mut keys = Vec::new();
        self.space();
        while self.byte() != Some(b'}') {
            let begin = self.at;
            if self.byte() != Some(b'"') {
                return Err(self.stop(begin, format!("{} stands where a key begins with `\"`", self.next_char())));
            }
            let key = self.string()?;
            self.check_key(begin, &key);
            self.space();
            self.take(b':')?;
            self.path.push(Step::Key(key.clone()));
            self.key_at = begin;
            member(self, &key)?;
            self.path.pop();
            self.go_on()?;
            keys.push(Key::new(key, begin));
            self.space();
            if self.byte() == Some(b',') {
                self.at += 1;
                self.space();
                if self.byte() == Some(b'}') {
                    return Err(self.stop(self.at, "a comma stands before `}`"));
                }
            } else if self.byte() != Some(b'}') {
                return Err(self.stop(self.at, format!("{} stands where `,` or `}}` belongs", self.next_char())));
            }
        }
        self.at += 1;
        self.depth -= 1;
        self.check_keys(keys);
        Ok(())
    }

    /// Reads an array: `item` reads each value.
    pub(super) fn array(&mut self, item: &mut dyn FnMut(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        self.enter(b'[')?;
        self.space();
        let mut index = 0;
        while self.byte() != Some(b']') {
            self.path.push(Step::Item(index));
            item(self)?;
            self.path.pop();
            self.go_on()?;
            index += 1;
            self.space();
            if self.byte() == Some(b',') {
                self.at += 1;
                self.space();
                if self.byte() == Some(b']') {
                    return Err(self.stop(self.at, "a comma stands before `]`"));
                }
            } else if self.byte() != Some(b']') {
                return Err(self.stop(self.at, format!("{} stands where `,` or `]` belongs", self.next_char())));
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    /// Reads any value, and forgets it.
    pub(super) fn skip(&mut self) -> Result<(), Stop> {
        match self.kind()? {
            Kind::Object => self.object(&mut |reader, _| reader.skip()),
            Kind::Array => self.array(&mut Self::skip),
            Kind::String => self.string().map(|_| ()),
            Kind::Number => self.number(),
            Kind::Boolean if self.byte() == Some(b't') => self.word("true"),
            Kind::Boolean => self.word("false"),
            Kind::Null => self.word("null"),
        }
    }

    /// Nothing but space follows.
    pub(super) fn end(&mut self) -> Result<(), Stop> {
        self.space();
        match self.byte() {
            None => Ok(()),
            Some(_) => Err(self.stop(self.at, format!("{} follows the manifest's end", self.next_char()))),
        }
    }

    fn enter(&mut self, bracket: u8) -> Result<(), Stop> {
        let begin = self.at;
        self.take(bracket)?;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.stop(begin, format!("objects and arrays are nested more than {DEPTH_MAX} deep")));
        }
        Ok(())
    }

    fn go_on(&self) -> Result<(), Stop> {
        if self.problems.are_many() { Err(Stop) } else { Ok(()) }
    }

    fn word(&mut self, word: &str) -> Result<(), Stop> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(self.stop(self.at, format!("{} begins no value of JSON", self.next_char())));
        }
        self.at += word.len();
        Ok(())
    }

    fn take(&mut self, byte: u8) -> Result<(), Stop> {
        if self.byte() != Some(byte) {
            let wanted = char::from(byte);
            return Err(self.stop(self.at, format!("{} stands where `{wanted}` belongs", self.next_char())));
        }
        self.at += 1;
        Ok(())
    }

    /// Space of JSON: blank, tab, line feed, carriage return.
    fn space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The next character, for people.
    pub(super) fn next_char(&self) -> String {
        let next = self.text.get(self.at..).and_then(|rest| rest.chars().next());
        match next {
            None => "the end of the text".to_owned(),
            Some(quote @ ('"' | '\'')) => format!("`{quote}`"),
            Some(next) => format!("`{}`", next.escape_debug()),
        }
    }

    /// A key has one spelling: Go folds `ſ` and the Kelvin sign into ASCII, others normalise.
    fn check_key(&mut self, at: usize, key: &str) {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            self.note(at, format!("a key has {} bytes", key.len()), Some("a key has 1 to 256 bytes"));
        } else if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            let sentence = format!("the key {} has characters that are not visible ASCII", crate::reason::quote(key));
            let hint = if folds_into_ascii(key) {
                format!("some readers take it for `{}`", folded(key))
            } else {
                "readers do not agree when two such keys are the same".to_owned()
            };
            self.note(at, sentence, Some(&hint));
        }
    }

    /// No key stands twice, whether a reader tells capitals from small letters or not.
    fn check_keys(&mut self, mut keys: Vec<Key<'a>>) {
        keys.sort_unstable_by(|one, other| one.folded.cmp(&other.folded).then(one.at.cmp(&other.at)));
        for (first, second) in keys.iter().zip(keys.iter().skip(1)).filter(|(one, other)| one.folded == other.folded) {
            if self.problems.are_many() {
                return;
            }
            let [one, other] = [first, second].map(|key| crate::reason::quote(&key.text));
            if first.text == second.text {
                let sentence = format!("the key {other} stands twice");
                self.note(second.at, sentence, Some("some readers take the first, others the last"));
            } else {
                let sentence = format!("the keys {one} and {other} differ in capitals only");
                self.note(second.at, sentence, Some("some readers take them for the same"));
            }
        }
    }
}

/// A key of an object that was read.
struct Key<'a> {
    text: Cow<'a, str>,
    folded: Cow<'a, str>,
    at: usize,
}

impl<'a> Key<'a> {
    fn new(text: Cow<'a, str>, at: usize) -> Self {
        let capitals = text.bytes().any(|byte| byte.is_ascii_uppercase());
        let folded = if capitals { Cow::Owned(text.to_ascii_lowercase()) } else { text.clone() };
        Self { text, folded, at }
    }
}

/// The two letters outside ASCII whose simple case folding lies in it (Unicode, CaseFolding.txt).
fn folds_into_ascii(key: &str) -> bool {
    key.contains(['\u{17f}', '\u{212a}']) && folded(key).is_ascii()
}

/// A key as readers see it that do not tell capitals from small letters.
pub(super) fn folded(key: &str) -> String {
    let fold = |letter: char| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    key.chars().map(fold).collect()
}

fn pointer(path: &[Step<'_>]) -> String {
    path.iter().fold(String::new(), |text, step| match step {
        Step::Key(key) => {
            let key: String = key.chars().take(KEY_BYTES_MAX).flat_map(char::escape_debug).collect();
            text + "/" + &key.replace('~', "~0").replace('/', "~1")
        }
        Step::Item(index) => text + "/" + &index.to_string(),
    })
}
