//! The probe's sectioned text: `@@<id> rc=<n> ms=<n>` … `@@end`, one command each.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Serialize;

use super::secret::without_secrets;

/// Output of one command of the probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Section {
    /// Exit code.
    pub rc: i32,
    /// Milliseconds it took.
    pub ms: u64,
    /// Its output, lossily decoded.
    pub text: String,
}

/// Sections by id.
pub type Sections = BTreeMap<String, Section>;

/// What is wrong with a probe's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeFault {
    /// The text ends within this section, which is dropped.
    Truncated(String),
    /// This section comes again; the first one counts.
    Duplicate(String),
    /// This line starts a section in no known way; what follows it is skipped.
    BadMarker(String),
}

impl ProbeFault {
    /// The section it concerns; none when that cannot be told.
    pub fn section(&self) -> Option<&str> {
        match self {
            Self::Truncated(id) | Self::Duplicate(id) => Some(id),
            Self::BadMarker(_) => None,
        }
    }

    /// The fault in words.
    pub fn detail(&self) -> String {
        match self {
            Self::Truncated(_) => "the probe's text ends within this section".to_owned(),
            Self::Duplicate(_) => "the section comes twice, the first one counts".to_owned(),
            Self::BadMarker(line) => format!("this line starts no section: {line}"),
        }
    }
}

/// Characters of a bad marker that are shown.
const EXCERPT: usize = 60;

/// Parses a probe's text. Every input is accepted: what makes no sense is a fault. Lines outside of sections are skipped, a
/// section is ended by nothing but `@@end` alone on a line, a line of output that starts with `@@@` has one `@` too many, lines that start with `@@@` lose one `@` (the probe adds one to every line of
/// output that starts with `@@`), and CRLF is read as LF in sections that start with it.
/// Secrets that should not be there are taken out (see [`without_secrets`]), except whole values that only the parsers of
/// [`super::HostFacts`] can reduce to facts.
pub fn parse(body: &[u8]) -> (Sections, Vec<ProbeFault>) {
    let body = String::from_utf8_lossy(body);
    let mut sections = Sections::new();
    let mut faults = Vec::new();
    let mut lines = body.split_inclusive('\n');
    while let Some(line) = lines.next() {
        let Some(marker) = line.strip_prefix("@@") else { continue };
        let marker = marker.trim_end();
        if marker == "end" {
            continue;
        }
        let Some((id, mut section)) = header(marker) else {
            let excerpt = without_secrets(marker).chars().take(EXCERPT).collect::<String>();
            faults.push(ProbeFault::BadMarker(format!("@@{excerpt}")));
            continue;
        };
        let Some(text) = text(&mut lines, line.ends_with("\r\n")) else {
            faults.push(ProbeFault::Truncated(id));
            break;
        };
        section.text = without_secrets(&text).into_owned();
        match sections.entry(id) {
            Entry::Vacant(place) => drop(place.insert(section)),
            Entry::Occupied(place) => faults.push(ProbeFault::Duplicate(place.key().clone())),
        }
    }
    (sections, faults)
}

/// `<id> rc=<n> ms=<n>`
fn header(marker: &str) -> Option<(String, Section)> {
    let mut words = marker.split(' ');
    let id = words.next().filter(|id| !id.is_empty())?;
    let rc = words.next()?.strip_prefix("rc=")?.parse().ok()?;
    let ms = words.next()?.strip_prefix("ms=")?.parse().ok()?;
    words.next().is_none().then(|| (id.to_owned(), Section { rc, ms, text: String::new() }))
}

/// The lines up to `@@end`; none when it does not come.
fn text<'a>(lines: &mut impl Iterator<Item = &'a str>, crlf: bool) -> Option<String> {
    let mut text = String::new();
    loop {
        let line = lines.next()?;
        if line.trim_end_matches(['\r', '\n']) == "@@end" {
            return Some(text);
        }
        // The probe puts one more "@" in front of output that looks like a marker.
        let line = line.strip_prefix('@').filter(|rest| rest.starts_with("@@")).unwrap_or(line);
        match line.strip_suffix("\r\n") {
            Some(line) if crlf => {
                text.push_str(line);
                text.push('\n');
            }
            _ => text.push_str(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sections_are_told_apart() {
        let (sections, faults) = parse(b"hello\n@@a rc=0 ms=5\none\n@@b rc=0 ms=1\n @@end\n@@ending\n@@end\n@@c rc=-1 ms=0\n@@end\n");
        assert_eq!(faults, []);
        assert_eq!(
            sections["a"],
            Section { rc: 0, ms: 5, text: "one\n@@b rc=0 ms=1\n @@end\n@@ending\n".to_owned() }
        );
        assert_eq!(sections["c"], Section { rc: -1, ms: 0, text: String::new() });
        assert_eq!(sections.len(), 2);
    }

    #[test]
    fn crlf_is_lf() {
        let (sections, faults) = parse(b"@@a rc=0 ms=5\r\none\r\ntwo\r\n@@end\r\n");
        assert_eq!(faults, []);
        assert_eq!(sections["a"].text, "one\ntwo\n");
    }

    #[test]
    fn faults_are_told() {
        let (sections, faults) = parse(
            b"@@a rc=0 ms=5\none\n@@end\n@@a rc=1 ms=5\ntwo\n@@end\n@@x\n@@b rc=0 ms=0\nthree\n@@e",
        );
        assert_eq!(sections.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(sections["a"].text, "one\n");
        assert_eq!(
            faults,
            [
                ProbeFault::Duplicate("a".to_owned()),
                ProbeFault::BadMarker("@@x".to_owned()),
                ProbeFault::Truncated("b".to_owned())
            ]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            drop(parse(&body));
        }

        #[test]
        fn any_lines_are_accepted(body in "(@@|end|a|b| rc=| ms=|0|-1|\r|\n|ñ){0,60}") {
            let (sections, faults) = parse(body.as_bytes());
            prop_assert!(sections.len() + faults.len() <= body.lines().count());
        }

        #[test]
        fn what_is_written_is_read(
            lines in proptest::collection::vec("@{0,4}|@@end|[a-z ]{0,9}", 0..9),
            rc in any::<i32>(),
            ms in any::<u64>(),
        ) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let escape = |line: &String| if line.starts_with("@@") { "@" } else { "" };
            let written: String = lines.iter().map(|line| format!("{}{line}\n", escape(line))).collect();
            let (sections, faults) = parse(format!("@@id rc={rc} ms={ms}\n{written}@@end\n").as_bytes());
            prop_assert_eq!(faults, []);
            prop_assert_eq!(&sections["id"], &Section { rc, ms, text });
        }
    }
}
