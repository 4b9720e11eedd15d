//! How text meets a terminal: width, colour, characters, wrapping.

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

pub use crate::plan::describe::number;

/// What the reader's terminal can do, and what the reader wants to see.
#[derive(Clone, Debug)]
pub struct TextOptions {
    /// Columns.
    pub width: usize,
    /// True when escape sequences for colour are welcome.
    pub colour: bool,
    /// True when characters beyond ASCII can be shown.
    pub unicode: bool,
    /// Names every pod, skipped check and gap.
    pub verbose: bool,
    /// Seconds that the look took, for the last line.
    pub elapsed: Option<f64>,
    /// How the user called this program, for the commands that are proposed: `kubectl calico-doctor`.
    pub program: String,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self {
            width: 100,
            colour: false,
            unicode: true,
            verbose: false,
            elapsed: None,
            program: "kubectl calico-doctor".to_owned(),
        }
    }
}

/// Marks before a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Good,
    Bad,
    Warn,
    Skip,
}

impl TextOptions {
    pub(super) fn mark(&self, mark: Mark) -> String {
        let (unicode, ascii, colour) = match mark {
            Mark::Good => ("✓", "ok", AnsiColor::Green),
            Mark::Bad => ("✗", "x", AnsiColor::Red),
            Mark::Warn => ("‼", "!", AnsiColor::Yellow),
            Mark::Skip => ("–", "-", AnsiColor::BrightBlack),
        };
        self.paint(
            if self.unicode { unicode } else { ascii },
            Style::new().fg_color(Some(colour.into())),
        )
    }

    pub(super) fn bold(&self, text: &str) -> String {
        self.paint(text, Style::new().bold())
    }

    pub(super) fn dim(&self, text: &str) -> String {
        self.paint(text, Style::new().dimmed())
    }

    pub(super) fn paint(&self, text: &str, style: Style) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Replaces the few characters of ours that a plain terminal cannot show.
    pub(super) fn plain(&self, text: String) -> String {
        if self.unicode {
            return text;
        }
        let known = [("≠", "!="), ("…", "..."), ("·", "-"), ("≤", "<="), ("–", "-")];
        let text = known.iter().fold(text, |text, (from, to)| text.replace(from, to));
        text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
    }

    /// `    why    text`, wrapped below itself.
    pub(super) fn block(&self, label: &str, text: &str) -> String {
        let indent = 11;
        let lines = wrap(text, self.width.clamp(40, 120) - indent);
        let mut out = String::new();
        for (n, line) in lines.iter().enumerate() {
            let label = if n == 0 { label } else { "" };
            out.push_str(&format!("    {}{line}\n", self.dim(&format!("{label:<7}"))));
        }
        out
    }
}

/// Breaks at spaces; a word that is longer than a line stays whole, so that it can be copied.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// `node1, node2`; above five: `node1, node2, node3 (+4)`.
pub(super) fn names(names: &[String]) -> String {
    if names.len() <= 5 {
        return names.join(", ");
    }
    format!(
        "{} (+{})",
        names.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
        names.len() - 3
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators() {
        assert_eq!(number(7), "7");
        assert_eq!(number(1000), "1,000");
        assert_eq!(number(1_234_567), "1,234,567");
    }

    #[test]
    fn lines_wrap_at_spaces_and_long_words_stay_whole() {
        assert_eq!(wrap("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(wrap("https://example/very/long x", 6), ["https://example/very/long", "x"]);
    }

    #[test]
    fn long_lists_are_cut() {
        let all: Vec<String> = (1..=7).map(|n| format!("n{n}")).collect();
        assert_eq!(names(&all), "n1, n2, n3 (+4)");
        assert_eq!(names(&all[..2]), "n1, n2");
    }
}
