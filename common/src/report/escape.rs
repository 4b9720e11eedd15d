//! Makes text from a cluster or a node safe to show: no byte of it may steer a terminal.

/// `text` on one line, with every control character, and every character that reorders text, shown as an escape.
/// Line breaks and tabs become spaces; runs of spaces are folded.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' | ' ' if out.ends_with(' ') || out.is_empty() => {}
            '\n' | '\t' => out.push(' '),
            '\r' if out.ends_with(' ') => {}
            c if c.is_control() || reorders(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// Bidirectional overrides, invisible separators and tags, soft hyphen, byte order mark.
pub(super) fn reorders(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(escape("\u{1b}[2Jhi"), "\\u{1b}[2Jhi");
        assert_eq!(escape("a\rb"), "a\\u{d}b");
        assert_eq!(escape("a\u{9b}31mb"), "a\\u{9b}31mb");
        assert_eq!(escape("x\u{202e}gpj.exe"), "x\\u{202e}gpj.exe");
        assert_eq!(escape("bell\u{7}"), "bell\\u{7}");
    }

    #[test]
    fn plain_text_stays() {
        assert_eq!(escape("plugin type=\"calico\" ≠ 日本"), "plugin type=\"calico\" ≠ 日本");
        assert_eq!(escape(" two\n\n lines\t"), "two lines");
    }
}
