//! Sections of the scan as facts: what a missing program would have shown is nothing only if the kernel has nothing.

use crate::snapshot::{Gap, GapReason, Known, ProbeFault, Section, Sections};

/// Characters of a program's complaint that are shown.
const EXCERPT: usize = 200;

/// A part of the kernel that a program shows. Where the kernel has it not, nobody misses the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feature {
    NfTables,
    IpTables,
    Ip6Tables,
    IpSets,
    CalicoPrograms,
}

impl Feature {
    /// Its line in section `kernel`.
    fn word(self) -> &'static str {
        match self {
            Self::NfTables => "nft_do_chain",
            Self::IpTables => "ip_tables_names",
            Self::Ip6Tables => "ip6_tables_names",
            Self::IpSets => "ip_set_test",
            Self::CalicoPrograms => "calico_programs",
        }
    }
}

/// Reads the sections of one scan.
pub(super) struct Reader<'a> {
    path: String,
    sections: &'a Sections,
    faults: &'a [ProbeFault],
}

impl<'a> Reader<'a> {
    pub(super) fn new(node: &str, sections: &'a Sections, faults: &'a [ProbeFault]) -> Self {
        Self { path: format!("nodes/{node}/residues.txt"), sections, faults }
    }

    pub(super) fn gap<T>(&self, id: &str, why: GapReason, detail: impl Into<String>) -> Known<T> {
        Known::Unknown(Gap::new(format!("{}#{id}", self.path), why, detail))
    }

    pub(super) fn sections(&self) -> &'a Sections {
        self.sections
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

    /// The text of a section whose command did what it should.
    pub(super) fn content(&self, id: &str) -> Known<&'a str> {
        // Of two sections of one name, one is made up.
        if self.faults.iter().any(|fault| fault.section() == Some(id)) {
            return self.gap(id, GapReason::Undecodable, "the section is cut off, or comes twice");
        }
        match self.sections.get(id) {
            None => self.gap(id, GapReason::Undecodable, "the scan has no such section"),
            Some(section) if section.rc == 0 => Known::Known(&section.text),
            Some(section) => self.gap(id, reason(section), complaint(section)),
        }
    }

    /// The same of a section that a program prints which not every host has.
    pub(super) fn of_program(&self, id: &str, feature: Feature) -> Known<&'a str> {
        let is_missing = self.sections.get(id).is_some_and(|section| section.rc == 127);
        if is_missing && self.has(feature) == Some(false) {
            Known::Known("")
        } else {
            self.content(id)
        }
    }

    /// Whether the kernel has something; none when that could not be told.
    fn has(&self, feature: Feature) -> Option<bool> {
        let text = *self.content("kernel").known()?;
        let answer = text.lines().find_map(|line| line.strip_prefix(feature.word()))?;
        match answer.trim() {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }

    /// A section that holds JSON.
    pub(super) fn json<T>(
        &self,
        id: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Known<T> {
        self.content(id).and_then(|text| match parse(text) {
            Ok(value) => Known::Known(value),
            Err(why) => self.gap(id, GapReason::Undecodable, why),
        })
    }
}

fn reason(section: &Section) -> GapReason {
    match section.rc {
        // Of `timeout`, and of a command that it had to kill.
        124 | 137 => GapReason::TimedOut,
        _ if section.text.contains("ermission denied") => GapReason::Forbidden,
        // A program that is not there could have shown something: the scan is not complete.
        _ => GapReason::Undecodable,
    }
}

fn complaint(section: &Section) -> String {
    let says = section.text.lines().find(|line| !line.is_empty()).unwrap_or("no output");
    let says: String = says.chars().take(EXCERPT).collect();
    match section.rc {
        27 => "it is larger than the scan prints".to_owned(),
        127 => says,
        code => format!("exit code {code}: {says}"),
    }
}
