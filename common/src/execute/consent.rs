//! Consent: what everything that changes a cluster takes by value.

use std::io::{self, BufRead, Write};

/// The user's yes to one plan. Only a flag or an answer at a terminal makes one, and a run uses it up.
#[derive(Debug)]
pub struct Consent(());

/// A terminal at which a person can be asked.
pub struct Terminal<'a> {
    /// Where the answer comes from.
    pub input: &'a mut dyn BufRead,
    /// Where the question goes (stderr: stdout is data).
    pub output: &'a mut dyn Write,
}

impl Consent {
    /// What `--yes` says.
    pub fn from_flag(yes: bool) -> Option<Self> {
        yes.then_some(Self(()))
    }

    /// Asks until there is a yes or a no; `e` prints `explanation`. Anything that is no clear yes, the end of the
    /// input included, is no consent.
    pub fn ask(terminal: Terminal<'_>, explanation: &str) -> io::Result<Option<Self>> {
        let Terminal { input, output } = terminal;
        loop {
            write!(output, "Apply? [y]es / [n]o / [e]xplain: ")?;
            output.flush()?;
            let mut answer = String::new();
            if input.read_line(&mut answer)? == 0 {
                writeln!(output)?;
                return Ok(None);
            }
            match answer.trim().to_ascii_lowercase().as_str() {
                "y" | "yes" => return Ok(Some(Self(()))),
                "e" | "explain" => writeln!(output, "{}", explanation.trim_end())?,
                "n" | "no" | "" => return Ok(None),
                _ => {}
            }
        }
    }

    /// The flag's yes, else the terminal's answer, else none: without a terminal nobody can be asked.
    pub fn obtain(
        yes: bool,
        terminal: Option<Terminal<'_>>,
        explanation: &str,
    ) -> io::Result<Option<Self>> {
        match (Self::from_flag(yes), terminal) {
            (Some(consent), _) => Ok(Some(consent)),
            (None, Some(terminal)) => Self::ask(terminal, explanation),
            (None, None) => Ok(None),
        }
    }

    /// A yes to a plan that takes itself back when it fails is a yes to that as well.
    #[must_use]
    pub fn with_taking_back(self) -> (Self, Self) {
        (self, Self(()))
    }

    /// Uses the consent up.
    pub(super) fn spend(self) {
        let Self(()) = self;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(answers: &str) -> (bool, String) {
        let mut input = answers.as_bytes();
        let mut output = Vec::new();
        let terminal = Terminal { input: &mut input, output: &mut output };
        let consent = Consent::ask(terminal, "because\n").unwrap();
        (consent.is_some(), String::from_utf8(output).unwrap())
    }

    #[test]
    fn only_a_clear_yes_is_a_yes() {
        for yes in ["y\n", "Y\n", "yes\n", " yes \n", "what\ny\n", "y"] {
            assert!(answered(yes).0, "{yes:?}");
        }
        for no in ["n\n", "no\n", "\n", "", "yess\n", "N\n", "o\ny es\n"] {
            assert!(!answered(no).0, "{no:?}");
        }
    }

    #[test]
    fn an_explanation_is_given_before_the_question_comes_again() {
        let (yes, said) = answered("e\nn\n");
        assert!(!yes);
        let question = "Apply? [y]es / [n]o / [e]xplain: ";
        assert_eq!(said, format!("{question}because\n{question}"));
    }

    #[test]
    fn without_a_terminal_only_the_flag_consents() {
        assert!(Consent::obtain(false, None, "").unwrap().is_none());
        assert!(Consent::obtain(true, None, "").unwrap().is_some());
        let (mut input, mut output) = (&b"n\n"[..], Vec::new());
        let terminal = Terminal { input: &mut input, output: &mut output };
        assert!(Consent::obtain(true, Some(terminal), "").unwrap().is_some());
        assert!(output.is_empty(), "the flag spares the question");
    }
}
