//! Sections of one look as facts: what did not come, or came badly, is unknown.

use crate::snapshot::{Gap, GapReason, Known, ProbeFault, Section, Sections};

/// Characters of a program's complaint that are shown.
const EXCERPT: usize = 200;

/// Reads the sections of one look.
pub(super) struct Reader<'a> {
    path: String,
    sections: &'a Sections,
    faults: &'a [ProbeFault],
}

impl<'a> Reader<'a> {
    pub(super) fn new(node: &str, sections: &'a Sections, faults: &'a [ProbeFault]) -> Self {
        Self { path: format!("nodes/{node}/bpf.txt"), sections, faults }
    }

    pub(super) fn unknown<T>(&self, id: &str, why: GapReason, detail: &str) -> Known<T> {
        Known::Unknown(Gap::new(format!("{}#{id}", self.path), why, detail))
    }

    /// What is wrong with the text as a whole.
    pub(super) fn faults(&self) -> Vec<Gap> {
        let gap = |fault: &ProbeFault| {
            let what = match fault.section() {
                Some(id) => format!("{}#{id}", self.path),
                None => self.path.clone(),
            };
            Gap::new(what, GapReason::Undecodable, fault.detail())
        };
        self.faults.iter().map(gap).collect()
    }

    /// Whether this place lacks the program that the section asks for.
    pub(super) fn lacks_program(&self, id: &str) -> bool {
        self.sections.get(id).is_some_and(|it| it.rc == 127)
    }

    /// The text of a section whose command did what it should.
    pub(super) fn content(&self, id: &str) -> Known<&'a str> {
        // Of two sections of one name, one is made up.
        if self.faults.iter().any(|fault| fault.section() == Some(id)) {
            let why = "the section is cut off, or comes twice";
            return self.unknown(id, GapReason::Undecodable, why);
        }
        match self.sections.get(id) {
            None => self.unknown(id, GapReason::NotAsked, "this was not looked at from here"),
            Some(section) if section.rc == 0 => Known::Known(&section.text),
            Some(section) => self.unknown(id, reason(section), &complaint(section)),
        }
    }

    /// A section that holds one word or line; absent when it is empty.
    pub(super) fn line(&self, id: &str) -> Known<&'a str> {
        self.content(id).and_then(|text| match text.trim() {
            "" => Known::Absent,
            line => Known::Known(line),
        })
    }

    /// A section that holds JSON.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, id: &str) -> Known<T> {
        self.content(id).and_then(|text| {
            // `ip` prints nothing at all when there is nothing, in some versions.
            let text = if text.trim().is_empty() { "[]" } else { text.trim() };
            match serde_json::from_str(text) {
                Ok(value) => Known::Known(value),
                Err(error) => self.unknown(id, GapReason::Undecodable, &error.to_string()),
            }
        })
    }
}

fn reason(section: &Section) -> GapReason {
    match section.rc {
        // Of `timeout`, and of a command that it had to kill.
        124 | 137 => GapReason::TimedOut,
        127 => GapReason::NotAsked,
        _ if section.text.contains("ermission denied")
            || section.text.contains("not permitted") =>
        {
            GapReason::Forbidden
        }
        _ => GapReason::Undecodable,
    }
}

fn complaint(section: &Section) -> String {
    let says = section.text.lines().find(|line| !line.is_empty()).unwrap_or("no output");
    let says: String = says.chars().take(EXCERPT).collect();
    match section.rc {
        27 => "it is larger than what is printed of it".to_owned(),
        127 => says,
        code => format!("exit code {code}: {says}"),
    }
}
