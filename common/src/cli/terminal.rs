//! What a stream's terminal can do.

use std::env;
use std::io::IsTerminal;

/// The abilities of the terminal behind one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// True when a person looks at it.
    pub is_terminal: bool,
    /// True when colour is welcome.
    pub colour: bool,
    /// True when characters beyond ASCII can be shown.
    pub unicode: bool,
    /// Columns; 100 when there is no terminal.
    pub width: usize,
}

/// Width of output that is not for a terminal.
const PLAIN_WIDTH: usize = 100;

impl Terminal {
    /// The terminal behind stdout.
    pub fn stdout(no_colour: bool) -> Self {
        let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        Self::judge(std::io::stdout().is_terminal(), width, no_colour, |name| env::var(name).ok())
    }

    /// The terminal behind stderr.
    pub fn stderr(no_colour: bool) -> Self {
        let width = terminal_size::terminal_size_of(std::io::stderr())
            .map(|(width, _)| usize::from(width.0));
        Self::judge(std::io::stderr().is_terminal(), width, no_colour, |name| env::var(name).ok())
    }

    /// Colour: never with `--no-color` or NO_COLOR (even empty) or on a dumb terminal; else on a terminal, or when
    /// CLICOLOR_FORCE asks for it. Unicode: unless the locale says it is not UTF-8 or the terminal is dumb.
    fn judge(
        is_terminal: bool,
        width: Option<usize>,
        no_colour: bool,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let dumb = variable("TERM").as_deref() == Some("dumb");
        let forced = variable("CLICOLOR_FORCE").is_some_and(|value| value != "0");
        let refused = no_colour || variable("NO_COLOR").is_some() || dumb;
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .filter_map(&variable)
            .find(|value| !value.is_empty());
        let utf8 = locale.is_none_or(|value| {
            let value = value.to_ascii_lowercase();
            value.contains("utf-8") || value.contains("utf8")
        });
        Self {
            is_terminal,
            colour: !refused && (is_terminal || forced),
            unicode: utf8 && !dumb,
            width: width.filter(|_| is_terminal).unwrap_or(PLAIN_WIDTH),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Terminal;

    fn judge(is_terminal: bool, no_colour: bool, variables: &[(&str, &str)]) -> Terminal {
        Terminal::judge(is_terminal, Some(80), no_colour, |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn colour_only_where_it_is_welcome() {
        assert!(judge(true, false, &[]).colour);
        assert!(!judge(false, false, &[]).colour);
        assert!(judge(false, false, &[("CLICOLOR_FORCE", "1")]).colour);
        assert!(!judge(true, false, &[("NO_COLOR", "")]).colour);
        assert!(!judge(true, true, &[("CLICOLOR_FORCE", "1")]).colour);
        assert!(!judge(true, false, &[("TERM", "dumb")]).colour);
    }

    #[test]
    fn ascii_where_the_locale_says_so() {
        assert!(judge(true, false, &[]).unicode);
        assert!(judge(true, false, &[("LANG", "de_DE.UTF-8")]).unicode);
        assert!(!judge(true, false, &[("LANG", "C")]).unicode);
        assert!(!judge(true, false, &[("LC_ALL", "POSIX"), ("LANG", "C.UTF-8")]).unicode);
        assert!(!judge(true, false, &[("TERM", "dumb")]).unicode);
    }

    #[test]
    fn a_pipe_has_a_fixed_width() {
        assert_eq!(judge(false, false, &[]).width, 100);
        assert_eq!(judge(true, false, &[]).width, 80);
    }
}
