//! What a diagnosis must say: read from YAML, compared with what it says.

use std::collections::{BTreeMap, BTreeSet};

use common::cli::{FailOn, verdict};
use common::findings::{CheckState, Diagnosis, Finding, Root};
use serde::Deserialize;

/// What a bundle must lead to.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expected {
    /// The scenario whose files come first: those of this one are laid over them.
    pub base: Option<String>,
    /// Files of the base that are left out.
    pub without: BTreeSet<String>,
    /// All roots, in any order: one more is as wrong as one less.
    pub roots: Vec<ExpectedRoot>,
    /// Codes of checks that must have run and found nothing.
    pub silent: Vec<String>,
    /// Codes of checks that must say that something could not be judged.
    pub unjudged: Vec<String>,
    /// The exit code of `check`.
    pub exit: Option<u8>,
}

/// A root.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpectedRoot {
    /// Its code.
    pub code: String,
    /// Key of its cause.
    pub cause: String,
    /// Exactly its nodes.
    pub nodes: BTreeSet<String>,
    /// Exactly the pods it is about, for roots that are about pods.
    pub pods: BTreeSet<String>,
    /// Its severity, when that matters.
    pub severity: Option<String>,
    /// Its confidence, when that matters.
    pub confidence: Option<String>,
    /// Whether a remedy is offered, when that matters.
    pub remedy: Option<bool>,
    /// Name of that remedy, when that matters.
    pub repair: Option<String>,
    /// Texts that must occur in its title, cause, consequence or evidence.
    pub says: Vec<String>,
    /// By code, exactly the pods that hang because of it.
    pub symptoms: BTreeMap<String, BTreeSet<String>>,
}

impl Expected {
    /// Reads expectations from YAML.
    ///
    /// # Errors
    /// When the text is no such YAML; the text says where.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_yaml::from_str(text).map_err(|error| error.to_string())
    }

    /// How `diagnosis` differs from what is expected; empty when it does not.
    pub fn differences(&self, diagnosis: &Diagnosis) -> Vec<String> {
        let mut all = Vec::new();
        let mut left: Vec<&Root> = diagnosis.roots.iter().collect();
        for expected in &self.roots {
            let Some(place) = left.iter().position(|root| expected.is(root)) else {
                all.push(format!("missing: {expected:?}"));
                continue;
            };
            expected.compare(left.remove(place), &mut all);
        }
        all.extend(left.into_iter().map(|root| format!("not expected: {:#?}", root.finding)));
        for code in &self.silent {
            let outcome = diagnosis.checks.iter().find(|it| it.code.0 == code);
            match outcome.map(|it| it.state) {
                Some(CheckState::Passed | CheckState::Partial) => {}
                state => all.push(format!("{code} should have run and be silent: {state:?}")),
            }
        }
        for code in &self.unjudged {
            if !diagnosis.unjudged.iter().any(|it| it.code.0 == code) {
                all.push(format!("{code} should say what it could not judge"));
            }
        }
        let exit = verdict(diagnosis, FailOn::default()).code();
        if self.exit.is_some_and(|expected| expected != exit) {
            all.push(format!("exit {exit}, expected {:?}", self.exit));
        }
        all
    }
}

impl ExpectedRoot {
    fn is(&self, root: &Root) -> bool {
        let finding = &root.finding;
        finding.code.0 == self.code
            && finding.cause.key == self.cause
            && finding.nodes.iter().cloned().collect::<BTreeSet<_>>() == self.nodes
            && (self.pods.is_empty() || pods(finding) == self.pods)
    }

    fn compare(&self, root: &Root, all: &mut Vec<String>) {
        let finding = &root.finding;
        let mut differs = |what: &str, is: String, expected: String| {
            if is != expected {
                all.push(format!("{}: {what} is {is}, expected {expected}", finding.id));
            }
        };
        if let Some(severity) = &self.severity {
            differs("severity", finding.severity.to_string(), severity.clone());
        }
        if let Some(confidence) = &self.confidence {
            differs("confidence", finding.confidence.to_string(), confidence.clone());
        }
        if let Some(remedy) = self.remedy {
            differs("remedy", finding.remedy.is_some().to_string(), remedy.to_string());
        }
        if let Some(repair) = &self.repair {
            differs("repair", repair_name(finding), repair.clone());
        }
        let symptoms = symptoms(root);
        differs("symptoms", format!("{symptoms:?}"), format!("{:?}", self.symptoms));
        let text = text(finding);
        for part in self.says.iter().filter(|part| !text.contains(part.as_str())) {
            all.push(format!("{}: {part:?} is not in\n{text}", finding.id));
        }
    }
}

/// By code, the pods that hang because of a root.
pub fn symptoms(root: &Root) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for symptom in &root.symptoms {
        all.entry(symptom.code.to_string()).or_default().extend(pods(symptom));
    }
    all
}

/// As programs read it.
fn repair_name(finding: &Finding) -> String {
    let name = finding.remedy.and_then(|it| serde_json::to_value(it).ok());
    name.and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default()
}

fn pods(finding: &Finding) -> BTreeSet<String> {
    finding.subject.names.iter().cloned().collect()
}

fn text(finding: &Finding) -> String {
    let mut all =
        vec![finding.title.clone(), finding.cause.text.clone(), finding.consequence.clone()];
    all.extend(finding.evidence.iter().map(|it| format!("{}: {}", it.source, it.excerpt)));
    all.join("\n")
}
