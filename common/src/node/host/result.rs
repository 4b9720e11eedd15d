//! What an operation's script says about how it went.

use std::collections::BTreeMap;

/// The last line of a script's output begins so.
const MARKER: &str = "@@operation state=";

/// How an operation went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostResult {
    /// It was done.
    Changed {
        /// What it says about it, e.g. `before` and `sha256` of a file. Sorted, without secrets.
        facts: BTreeMap<String, String>,
    },
    /// There was nothing to do, for this reason.
    AlreadyRight(String),
    /// What was found is not what the plan expects, for this reason. Nothing was done.
    Refused(String),
    /// It was begun and did not succeed, for this reason; doing it again may.
    Failed(String),
}

/// Reads what a script printed. A script whose last words are missing (it was killed, or the connection broke) has
/// failed: how far it came is not known, and doing it again tells.
pub fn parse(stdout: &[u8], exit_code: i32) -> HostResult {
    let text = String::from_utf8_lossy(stdout);
    let mut lines: Vec<&str> = text.lines().collect();
    // Text after the last newline was cut short.
    let is_whole = text.ends_with('\n');
    let last = lines.pop().filter(|_| is_whole).and_then(|line| line.strip_prefix(MARKER));
    let mut facts: BTreeMap<String, String> = lines
        .iter()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let why = facts.remove("why").unwrap_or_default();
    match (last, exit_code) {
        (Some("changed"), 0) => HostResult::Changed { facts },
        (Some("already"), 0) => HostResult::AlreadyRight(why),
        (Some("refused"), 6) => HostResult::Refused(why),
        (Some("failed"), _) => HostResult::Failed(why),
        (Some(state), code) => HostResult::Failed(format!(
            "the script said {state:?} and ended with exit code {code}, which do not belong together"
        )),
        (None, code) => {
            HostResult::Failed(format!("the script ended with exit code {code} before it was done"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(stdout: &str, code: i32) -> String {
        match parse(stdout.as_bytes(), code) {
            HostResult::Failed(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_state_is_told() {
        let facts = BTreeMap::from([
            ("before".to_owned(), "absent".to_owned()),
            ("sha256".to_owned(), "a=b".to_owned()),
        ]);
        let text = b"before=absent\nsha256=a=b\n@@operation state=changed\n";
        assert_eq!(parse(text, 0), HostResult::Changed { facts });
        let text = b"why=it is there\n@@operation state=already\n";
        assert_eq!(parse(text, 0), HostResult::AlreadyRight("it is there".into()));
        let text = b"why=/a is gone\n@@operation state=refused\n";
        assert_eq!(parse(text, 6), HostResult::Refused("/a is gone".into()));
        assert_eq!(failed("why=disk full\n@@operation state=failed\n", 1), "disk full");
    }

    #[test]
    fn a_script_without_its_last_words_has_failed() {
        for text in ["", "before=absent\n", "@@operation state=changed", "@@operation state=chan"] {
            assert!(failed(text, 0).contains("before it was done"), "{text}");
        }
        assert!(failed("@@operation state=changed\n", 1).contains("do not belong together"));
        assert!(failed("@@operation state=refused\n", 0).contains("do not belong together"));
        assert!(failed("@@operation state=wonderful\n", 0).contains("wonderful"));
        // Only the last line counts.
        assert!(failed("@@operation state=changed\nx\n", 0).contains("before it was done"));
    }

    #[test]
    fn bytes_that_are_no_text_do_not_matter() {
        let text = b"before=\xff\n@@operation state=changed\n";
        assert!(matches!(parse(text, 0), HostResult::Changed { .. }));
    }
}
