//! The samples of an OpenMetrics text (OpenMetrics 1.0, "Text format"), as far as a signer writes them.

/// Most lines that are read: a signer has a few hundred.
const LINES_MAX: usize = 100_000;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    pub(super) value: f64,
}

/// All lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Samples(Vec<Sample>);

impl Samples {
    /// Reads the text; nothing where it is none, or not whole.
    pub(super) fn read(text: &str) -> Option<Self> {
        let text = text.strip_suffix("# EOF\n")?;
        let lines = text.lines().take(LINES_MAX).filter(|line| !line.starts_with('#') && !line.is_empty());
        lines.map(Sample::read).collect::<Option<_>>().map(Self)
    }

    /// The one value of that name without labels, or the first with some.
    pub(super) fn one(&self, name: &str) -> Option<f64> {
        self.each(name).next().map(|sample| sample.value)
    }

    /// Every sample of that name.
    pub(super) fn each(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| sample.name == name)
    }

    /// Sum of all of that name that have this label with this value.
    pub(super) fn sum_of(&self, name: &str, (label, value): (&str, &str)) -> f64 {
        self.each(name).filter(|sample| sample.label(label) == value).map(|sample| sample.value).sum()
    }

    /// Sum of all of that name.
    pub(super) fn sum(&self, name: &str) -> f64 {
        self.each(name).map(|sample| sample.value).sum()
    }

    /// The buckets of a histogram, each with its upper bound, of the series that has this label with this value.
    pub(super) fn buckets(&self, name: &str, (label, value): (&str, &str)) -> Vec<(f64, f64)> {
        let bucket = format!("{name}_bucket");
        let of = self.each(&bucket).filter(|sample| label.is_empty() || sample.label(label) == value);
        of.filter_map(|sample| Some((sample.label("le").parse().ok()?, sample.value))).collect()
    }
}

impl Sample {
    /// The value of a label; empty without it, which is the same (OpenMetrics 1.0, "Label").
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    fn read(line: &str) -> Option<Self> {
        let (name, rest) = match line.find(['{', ' ']).map(|at| line.split_at(at))? {
            (name, rest) if rest.starts_with('{') => (name, rest.strip_prefix('{')?),
            (name, rest) => {
                return Some(Self { name: name.to_owned(), labels: Vec::new(), value: number(rest)? });
            }
        };
        let (mut labels, mut rest) = (Vec::new(), rest);
        loop {
            if let Some(value) = rest.strip_prefix('}') {
                return Some(Self { name: name.to_owned(), labels, value: number(value)? });
            }
            let (label, value) = rest.split_once("=\"")?;
            let (value, after) = quoted(value)?;
            labels.push((label.trim_start_matches(',').to_owned(), value));
            rest = after;
        }
    }
}

fn number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Text up to its closing quotation mark, and what stands behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut letters) = (String::new(), text.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a A.\n# TYPE a counter\na_total{x=\"1\",y=\"a \\\"quoted\\\" {b}, c\"} 2\na_total{x=\"2\"} 3.5\n\
                        b 7\nh_bucket{le=\"0.1\"} 1\nh_bucket{le=\"+Inf\"} 3\n# EOF\n";

    #[test]
    fn lines_are_read_with_their_labels() {
        let samples = Samples::read(TEXT).unwrap();
        assert_eq!((samples.one("b"), samples.one("c"), samples.sum("a_total")), (Some(7.0), None, 5.5));
        assert_eq!(samples.sum_of("a_total", ("x", "2")), 3.5);
        assert_eq!(samples.sum_of("a_total", ("y", "a \"quoted\" {b}, c")), 2.0);
        assert_eq!(samples.buckets("h", ("", "")), [(0.1, 1.0), (f64::INFINITY, 3.0)]);
    }

    #[test]
    fn what_is_cut_off_or_something_else_is_no_text() {
        for text in
            ["", "b 7\n", "<html>\n# EOF\n", "a{x=\"1} 2\n# EOF\n", "a{x\n# EOF\n", "a\n# EOF\n", "a b\n# EOF\n"]
        {
            assert_eq!(Samples::read(text), None, "{text}");
        }
        for end in 0..TEXT.len() {
            drop(Samples::read(&format!("{}# EOF\n", &TEXT[..end])));
        }
    }
}
