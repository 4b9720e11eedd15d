//! Pods that hang in Terminating although nothing is left to repair, or nothing can be: left, named, or freed.

use std::borrow::Cow;

use crate::findings::{Code, Diagnosis, Finding};
use crate::plan::RemedyName;

/// The check that names such pods.
const STUCK: Code = Code("CAL-POD-002");

/// What becomes of pods that hang in Terminating where nothing repairs the cause. Where CNI DEL can never succeed again they
/// are freed in any case: the check says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck<'a> {
    /// They stay.
    Left,
    /// They stay, and this command, which frees them, is told.
    Told(&'a str),
    /// They are freed of their sandboxes; their addresses stay allocated.
    Freed,
}

impl Stuck<'_> {
    /// The diagnosis as it is planned for. A cause that can be repaired still comes first: its symptoms have no remedy of
    /// their own.
    pub(super) fn treated<'b>(&self, diagnosis: &'b Diagnosis) -> Cow<'b, Diagnosis> {
        if *self != Stuck::Freed {
            return Cow::Borrowed(diagnosis);
        }
        let mut treated = diagnosis.clone();
        for root in &mut treated.roots {
            for finding in std::iter::once(&mut root.finding).chain(&mut root.symptoms) {
                if finding.code == STUCK {
                    finding.remedy = Some(RemedyName::FreeSandboxes);
                }
            }
        }
        Cow::Owned(treated)
    }

    /// What to do about pods that still hang, if any do.
    pub(super) fn hint(&self, diagnosis: &Diagnosis) -> Option<String> {
        let Stuck::Told(command) = self else { return None };
        let hang = |finding: &Finding| finding.code == STUCK;
        diagnosis.findings().any(hang).then(|| {
            format!("pods still hang in Terminating; free them of their sandboxes with: {command}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::{Cause, Root, Severity, Subject};

    fn diagnosis(code: &'static str) -> Diagnosis {
        let finding = |code| {
            let cause = Cause { key: "test", text: String::new() };
            Finding::new(Code(code), Severity::Error, Subject::nodes(["n1"]), "title", cause)
        };
        let root = Root { finding: finding("CAL-CNI-010"), symptoms: vec![finding(code)] };
        Diagnosis { roots: vec![root], checks: Vec::new(), unjudged: Vec::new() }
    }

    #[test]
    fn only_pods_that_hang_in_terminating_are_freed_and_only_when_that_is_wanted() {
        let remedies = |stuck: Stuck<'_>, code| -> Vec<_> {
            let diagnosis = diagnosis(code);
            stuck.treated(&diagnosis).findings().map(|it| it.remedy).collect()
        };
        let free = Some(RemedyName::FreeSandboxes);
        assert_eq!(remedies(Stuck::Freed, "CAL-POD-002"), [None, free]);
        assert_eq!(remedies(Stuck::Freed, "CAL-POD-001"), [None, None]);
        assert_eq!(remedies(Stuck::Told("x"), "CAL-POD-002"), [None, None]);
        assert_eq!(remedies(Stuck::Left, "CAL-POD-002"), [None, None]);
    }

    #[test]
    fn the_command_is_told_where_pods_hang() {
        let told = Stuck::Told("purge node n1 --free-stuck");
        assert!(told.hint(&diagnosis("CAL-POD-002")).unwrap().ends_with("n1 --free-stuck"));
        assert_eq!(told.hint(&diagnosis("CAL-POD-001")), None);
        assert_eq!(Stuck::Left.hint(&diagnosis("CAL-POD-002")), None);
        assert_eq!(Stuck::Freed.hint(&diagnosis("CAL-POD-002")), None);
    }
}
