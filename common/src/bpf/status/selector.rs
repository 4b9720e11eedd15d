//! Calico's selectors of labels, as far as people write them for nodes.

use std::collections::BTreeMap;

/// Whether `selector` selects an object with these labels; none when it is more than this understands.
pub(super) fn selects(selector: &str, labels: &BTreeMap<String, String>) -> Option<bool> {
    // Parentheses, `||` and strings that hold operators are left to those who know them whole.
    if selector.contains("||") {
        return None;
    }
    let mut all = true;
    for term in selector.split("&&") {
        all &= term_selects(term.trim(), labels)?;
    }
    Some(all)
}

fn term_selects(term: &str, labels: &BTreeMap<String, String>) -> Option<bool> {
    if term == "all()" || term.is_empty() {
        return Some(true);
    }
    if term == "global()" {
        return None;
    }
    if let Some(rest) = term.strip_prefix('!') {
        return term_selects(rest.trim_start(), labels).map(|it| !it);
    }
    if let Some(key) = term.strip_prefix("has(").and_then(|it| it.strip_suffix(')')) {
        return is_key(key.trim()).then(|| labels.contains_key(key.trim()));
    }
    if let Some((key, value)) = term.split_once("==") {
        let value = literal(value)?;
        return is_key(key.trim()).then(|| labels.get(key.trim()).is_some_and(|it| it == value));
    }
    let (key, value) = term.split_once("!=")?;
    let value = literal(value)?;
    is_key(key.trim()).then(|| labels.get(key.trim()).is_none_or(|it| it != value))
}

/// `'canary'` or `"canary"`
fn literal(text: &str) -> Option<&str> {
    let text = text.trim();
    let quoted = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    let inner = quoted('\'').or_else(|| quoted('"'))?;
    (!inner.contains(['\'', '"'])).then_some(inner)
}

fn is_key(text: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "./-_".contains(c);
    !text.is_empty() && text.chars().all(is_fine)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(selector: &str) -> Option<bool> {
        let labels = [("rack", "a"), ("example.org/ebpf", "canary")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        selects(selector, &labels.into())
    }

    #[test]
    fn usual_selectors_are_understood() {
        for selector in [
            "all()",
            "",
            "has(rack)",
            "!has(row)",
            "rack == 'a'",
            "example.org/ebpf == \"canary\" && rack != 'b'",
            "row != 'b'",
        ] {
            assert_eq!(of(selector), Some(true), "{selector}");
        }
        for selector in
            ["has(row)", "!all()", "rack == 'b'", "rack == 'a' && has(row)", "rack != 'a'"]
        {
            assert_eq!(of(selector), Some(false), "{selector}");
        }
    }

    #[test]
    fn what_is_not_understood_is_not_guessed() {
        for selector in [
            "has(a) || has(b)",
            "rack in {'a'}",
            "(rack == 'a')",
            "rack == a",
            "rack starts with 'a'",
            "global()",
        ] {
            assert_eq!(of(selector), None, "{selector}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(text in "(has\\(|\\)|!|==|!=|&&|'|\"|rack| |ñ|all\\(\\)){0,20}") {
            let _ = of(&text);
        }
    }
}
