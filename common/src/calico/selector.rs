//! Calico's language of selectors: which labels an object must have (libcalico-go, lib/selector).

use core::fmt;
use std::collections::BTreeMap;

/// Brackets and negations inside each other at most: deeper text is no selector that a person wrote.
const DEPTH: usize = 64;

/// A selector that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// `all()`, or nothing at all.
    All,
    /// `global()`: only what belongs to no namespace.
    Global,
    /// `has(label)`
    Has(String),
    /// `label == 'value'`
    Is(String, String),
    /// `label != 'value'`: also where the label is missing.
    IsNot(String, String),
    /// `label in {'a', 'b'}`
    In(String, Vec<String>),
    /// `label not in {'a', 'b'}`: also where the label is missing.
    NotIn(String, Vec<String>),
    /// `label contains 'part'`
    Contains(String, String),
    /// `label starts with 'part'`
    StartsWith(String, String),
    /// `label ends with 'part'`
    EndsWith(String, String),
    /// `!`
    Not(Box<Selector>),
    /// `&&`
    And(Vec<Selector>),
    /// `||`
    Or(Vec<Selector>),
}

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no selector: {why} at character {at}")]
pub struct NoSelector {
    text: String,
    why: &'static str,
    at: usize,
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, NoSelector> {
        let mut reader = Reader { rest: text, depth: 0 };
        let failed = |reader: &Reader<'_>, why| {
            let at = text.len().saturating_sub(reader.rest.len());
            NoSelector {
                text: text.to_owned(),
                why,
                at: text.get(..at).unwrap_or("").chars().count(),
            }
        };
        if reader.is_at_end() {
            return Ok(Self::All);
        }
        match reader.any() {
            Ok(it) if reader.is_at_end() => Ok(it),
            Ok(_) => Err(failed(&reader, "more text than a selector")),
            Err(why) => Err(failed(&reader, why)),
        }
    }

    /// Whether an object with these labels is meant.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |label: &String, test: &dyn Fn(&str) -> bool| {
            labels.get(label).is_some_and(|value| test(value))
        };
        match self {
            Self::All => true,
            Self::Global => false,
            Self::Has(label) => labels.contains_key(label),
            Self::Is(label, value) => has(label, &|it| it == value),
            Self::IsNot(label, value) => !has(label, &|it| it == value),
            Self::In(label, values) => has(label, &|it| values.iter().any(|one| one == it)),
            Self::NotIn(label, values) => !has(label, &|it| values.iter().any(|one| one == it)),
            Self::Contains(label, part) => has(label, &|it| it.contains(part)),
            Self::StartsWith(label, part) => has(label, &|it| it.starts_with(part)),
            Self::EndsWith(label, part) => has(label, &|it| it.ends_with(part)),
            Self::Not(it) => !it.matches(labels),
            Self::And(all) => all.iter().all(|it| it.matches(labels)),
            Self::Or(all) => all.iter().any(|it| it.matches(labels)),
        }
    }

    /// The parts that an object with these labels does not fulfil, each with what it has instead: `zone == 'a' (it is 'b')`.
    pub fn unfulfilled(&self, labels: &BTreeMap<String, String>) -> Vec<String> {
        match self {
            _ if self.matches(labels) => Vec::new(),
            Self::And(all) => all.iter().flat_map(|it| it.unfulfilled(labels)).collect(),
            Self::Is(label, _)
            | Self::In(label, _)
            | Self::IsNot(label, _)
            | Self::NotIn(label, _)
            | Self::Contains(label, _)
            | Self::StartsWith(label, _)
            | Self::EndsWith(label, _) => vec![match labels.get(label) {
                Some(value) => format!("{self} (it is '{value}')"),
                None => format!("{self} (there is no such label)"),
            }],
            _ => vec![self.to_string()],
        }
    }
}

/// As it would be written; not the very text that was read.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted =
            |it: &String| if it.contains('\'') { format!("\"{it}\"") } else { format!("'{it}'") };
        let set = |all: &[String]| all.iter().map(quoted).collect::<Vec<_>>().join(", ");
        let joined = |all: &[Self], word: &str| {
            all.iter().map(|it| format!("({it})")).collect::<Vec<_>>().join(word)
        };
        match self {
            Self::All => f.write_str("all()"),
            Self::Global => f.write_str("global()"),
            Self::Has(label) => write!(f, "has({label})"),
            Self::Is(label, value) => write!(f, "{label} == {}", quoted(value)),
            Self::IsNot(label, value) => write!(f, "{label} != {}", quoted(value)),
            Self::In(label, all) => write!(f, "{label} in {{{}}}", set(all)),
            Self::NotIn(label, all) => write!(f, "{label} not in {{{}}}", set(all)),
            Self::Contains(label, part) => write!(f, "{label} contains {}", quoted(part)),
            Self::StartsWith(label, part) => write!(f, "{label} starts with {}", quoted(part)),
            Self::EndsWith(label, part) => write!(f, "{label} ends with {}", quoted(part)),
            Self::Not(it) => write!(f, "!({it})"),
            Self::And(all) => f.write_str(&joined(all, " && ")),
            Self::Or(all) => f.write_str(&joined(all, " || ")),
        }
    }
}

/// What is left to be read.
struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

type Read<T> = Result<T, &'static str>;

impl Reader<'_> {
    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_spaces();
        self.rest.is_empty()
    }

    /// Takes `token` if it comes next.
    fn take(&mut self, token: &str) -> bool {
        self.skip_spaces();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes words with spaces between them.
    fn take_words(&mut self, words: &[&str]) -> bool {
        let before = self.rest;
        for word in words {
            if !self.take(word) || self.rest.starts_with(is_label) {
                self.rest = before;
                return false;
            }
        }
        true
    }

    fn any(&mut self) -> Read<Selector> {
        let mut all = vec![self.every()?];
        while self.take("||") {
            all.push(self.every()?);
        }
        Ok(if all.len() == 1 { all.swap_remove(0) } else { Selector::Or(all) })
    }

    fn every(&mut self) -> Read<Selector> {
        let mut all = vec![self.one()?];
        while self.take("&&") {
            all.push(self.one()?);
        }
        Ok(if all.len() == 1 { all.swap_remove(0) } else { Selector::And(all) })
    }

    fn one(&mut self) -> Read<Selector> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err("too many brackets inside each other");
        }
        let it = if self.take("!") {
            Selector::Not(Box::new(self.one()?))
        } else if self.take("(") {
            let inside = self.any()?;
            if !self.take(")") {
                return Err("a closing bracket is missing");
            }
            inside
        } else {
            self.term()?
        };
        self.depth -= 1;
        Ok(it)
    }

    fn term(&mut self) -> Read<Selector> {
        for (name, selector) in [("all", Selector::All), ("global", Selector::Global)] {
            let before = self.rest;
            if self.take(name) && self.take("(") && self.take(")") {
                return Ok(selector);
            }
            self.rest = before;
        }
        let before = self.rest;
        if self.take("has") && self.take("(") {
            let label = self.label()?;
            return if self.take(")") {
                Ok(Selector::Has(label))
            } else {
                Err("a closing bracket is missing")
            };
        }
        self.rest = before;
        let label = self.label()?;
        self.comparison(label)
    }

    fn comparison(&mut self, label: String) -> Read<Selector> {
        if self.take("==") {
            Ok(Selector::Is(label, self.text()?))
        } else if self.take("!=") {
            Ok(Selector::IsNot(label, self.text()?))
        } else if self.take_words(&["not", "in"]) {
            Ok(Selector::NotIn(label, self.set()?))
        } else if self.take_words(&["in"]) {
            Ok(Selector::In(label, self.set()?))
        } else if self.take_words(&["contains"]) {
            Ok(Selector::Contains(label, self.text()?))
        } else if self.take_words(&["starts", "with"]) {
            Ok(Selector::StartsWith(label, self.text()?))
        } else if self.take_words(&["ends", "with"]) {
            Ok(Selector::EndsWith(label, self.text()?))
        } else {
            Err("a comparison is missing")
        }
    }

    fn label(&mut self) -> Read<String> {
        self.skip_spaces();
        let end = self.rest.find(|c| !is_label(c)).unwrap_or(self.rest.len());
        let (label, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        if label.is_empty() {
            return Err("a label is missing");
        }
        self.rest = rest;
        Ok(label.to_owned())
    }

    fn text(&mut self) -> Read<String> {
        self.skip_spaces();
        let quote = self.rest.chars().next().filter(|it| matches!(it, '\'' | '"'));
        let Some(quote) = quote else { return Err("a quoted text is missing") };
        let inside = self.rest.strip_prefix(quote).unwrap_or_default();
        let Some((text, rest)) = inside.split_once(quote) else {
            return Err("a closing quote is missing");
        };
        self.rest = rest;
        Ok(text.to_owned())
    }

    fn set(&mut self) -> Read<Vec<String>> {
        if !self.take("{") {
            return Err("a set in braces is missing");
        }
        let mut all = Vec::new();
        loop {
            if self.take("}") {
                return Ok(all);
            }
            if !all.is_empty() && !self.take(",") {
                return Err("a comma is missing");
            }
            all.push(self.text()?);
        }
    }
}

fn is_label(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(text: &str) -> bool {
        let labels = [("zone", "a"), ("kubernetes.io/os", "linux"), ("all", "x")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        Selector::parse(text).unwrap().matches(&labels)
    }

    #[test]
    fn labels_are_compared_as_calico_compares_them() {
        for text in [
            "",
            "all()",
            "all( )",
            "has(zone)",
            "!has(none)",
            "zone == 'a'",
            "zone==\"a\"",
            "zone != 'b'",
            "none != 'b'",
            "zone in {'b', 'a'}",
            "none not in {'a'}",
            "kubernetes.io/os contains 'inu'",
            "kubernetes.io/os starts with 'lin' && kubernetes.io/os ends with 'nux'",
            "zone == 'b' || (has(zone) && !(zone == 'c'))",
            "all == 'x'",
        ] {
            assert!(matches(text), "{text}");
        }
        for text in [
            "!all()",
            "global()",
            "has(none)",
            "none == 'a'",
            "zone in {}",
            "zone not in {'a'}",
            "none contains ''",
            "zone == 'a' && zone == 'b'",
        ] {
            assert!(!matches(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_says_where() {
        for text in [
            "zone",
            "zone == a",
            "zone == 'a",
            "all(",
            "(all()",
            "zone in {'a' 'b'}",
            "== 'a'",
            "all() all()",
            "&&",
        ] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
        let error = Selector::parse("zone == 'a' &&").unwrap_err().to_string();
        assert_eq!(error, "\"zone == 'a' &&\" is no selector: a label is missing at character 14");
        assert!(Selector::parse(&"(".repeat(100_000)).is_err());
    }

    #[test]
    fn what_is_not_fulfilled_is_named() {
        let labels = BTreeMap::from([("zone".to_owned(), "b".to_owned())]);
        let selector = Selector::parse("zone == 'a' && has(zone) && rack in {'1'}").unwrap();
        assert_eq!(
            selector.unfulfilled(&labels),
            ["zone == 'a' (it is 'b')", "rack in {'1'} (there is no such label)"]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_accepted_or_refused(text in "(all\\(\\)|has\\(|zone|rack|==|!=|'a'|\"b'\"| in |not in|\\{|\\}|,|&&|\\|\\||!|\\(|\\)| |ñ){0,24}") {
            if let Ok(selector) = Selector::parse(&text) {
                // What is written of it is read as the same.
                let again = Selector::parse(&selector.to_string()).unwrap();
                prop_assert_eq!(again.to_string(), selector.to_string());
                for labels in [BTreeMap::new(), BTreeMap::from([("zone".to_owned(), "a".to_owned())])] {
                    prop_assert_eq!(selector.matches(&labels), again.matches(&labels));
                    prop_assert_eq!(selector.matches(&labels), selector.unfulfilled(&labels).is_empty());
                }
            }
        }
    }
}
