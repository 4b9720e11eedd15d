//! Earlier runs, and taking one back: wire types, and how a person reads them.

use jiff::Timestamp;
use serde::Serialize;

use super::catalogue::table;
use super::escape::escape;
use super::layout::{TextOptions, number};
use super::v1::API_VERSION;
use crate::plan::{HostOperation, JsonPatch, Outcome, Plan, Step, Undo, describe};

/// The document that `runs` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunList {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `RunList`.
    pub kind: &'static str,
    /// The runs on this cluster that this machine remembers, oldest first.
    pub runs: Vec<RunEntry>,
}

/// One earlier run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunEntry {
    /// Its id, which `undo` and `resume` take.
    pub id: String,
    /// When it began.
    pub began: Timestamp,
    /// Program and version that made its plan.
    pub made_by: String,
    /// What became of it, in a word or two.
    pub state: &'static str,
    /// Steps of its plan.
    pub steps: usize,
    /// Steps that are done, or were not needed.
    pub finished: usize,
    /// Steps that can be taken back.
    pub undoable: usize,
}

/// The document that `undo` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UndoReport {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `UndoReport`.
    pub kind: &'static str,
    /// The exit code in a word; `planned` when nothing was to be changed.
    pub verdict: &'static str,
    /// The run that is taken back.
    pub run: String,
    /// What is taken back, in the order in which it is done.
    pub steps: Vec<UndoStep>,
    /// What became of it; absent when it was not carried out.
    pub outcome: Option<Outcome>,
    /// A sentence about the whole, for people.
    pub note: Option<String>,
}

/// How one step is taken back.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UndoStep {
    /// The step.
    pub id: String,
    /// What it did.
    pub title: String,
    /// The node it acted on.
    pub node: Option<String>,
    /// How it is taken back, for a person.
    pub undo: String,
    /// The same as data, when it is work on a host.
    pub operation: Option<HostOperation>,
    /// The same as data, when it is a change of an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<JsonPatch>,
}

impl RunList {
    /// The document of these runs.
    pub fn new(runs: Vec<RunEntry>) -> Self {
        Self { api_version: API_VERSION, kind: "RunList", runs }
    }
}

impl UndoReport {
    /// Taking `steps` of `plan` back, which was not done yet. They come in the plan's order.
    pub fn new(plan: &Plan, steps: &[&Step], verdict: &'static str) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "UndoReport",
            verdict,
            run: plan.id.to_string(),
            steps: steps.iter().rev().map(|step| undo_step(step)).collect(),
            outcome: None,
            note: None,
        }
    }
}

fn undo_step(step: &Step) -> UndoStep {
    UndoStep {
        id: step.id.to_string(),
        title: step.title.clone(),
        node: step.node.clone(),
        undo: describe::undo(&step.undo),
        operation: match &step.undo {
            Undo::OnHost { operation, .. } => Some(operation.clone()),
            _ => None,
        },
        patch: match &step.undo {
            Undo::Patch { patch, .. } => Some(patch.clone()),
            _ => None,
        },
    }
}

/// The runs as a table.
pub fn runs(list: &RunList) -> String {
    let rows: Vec<Vec<String>> = list
        .runs
        .iter()
        .map(|run| {
            let undo = match run.undoable {
                0 => "nothing".to_owned(),
                1 => "1 step".to_owned(),
                many => format!("{} steps", number(many)),
            };
            vec![
                run.id.clone(),
                format!("{:.0}", run.began),
                escape(&run.made_by),
                run.state.to_owned(),
                format!("{}/{}", run.finished, run.steps),
                undo,
            ]
        })
        .collect();
    table(&["RUN", "BEGAN", "MADE BY", "STATE", "STEPS", "UNDO"], &rows)
}

/// What would be taken back, for which cluster, in order.
pub fn undo(plan: &Plan, report: &UndoReport, options: &TextOptions) -> String {
    let target = &plan.target;
    let count = report.steps.len();
    let head = format!(
        "Undo of run {} for context {} (cluster \"{}\", {}), {} {}",
        report.run,
        target.context,
        target.cluster_name,
        target.server,
        number(count),
        if count == 1 { "step" } else { "steps" },
    );
    let mut out = format!("{}\n", options.bold(&escape(&head)));
    for (n, step) in report.steps.iter().enumerate() {
        let title = format!("{}  ({})", step.undo, step.title);
        out.push_str(&format!("{:>3}  {}\n", n + 1, escape(&title)));
    }
    out.push_str("Only what still is as the run left it is touched.\n");
    options.plain(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_a_table() {
        let entry = |id: &str, undoable| RunEntry {
            id: id.into(),
            began: Timestamp::UNIX_EPOCH,
            made_by: "kubectl-calico-doctor/0.1.0".into(),
            state: "cut off",
            steps: 3,
            finished: 1,
            undoable,
        };
        let text = runs(&RunList::new(vec![entry("01A", 0), entry("01B", 2)]));
        let words: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[0], ["RUN", "BEGAN", "MADE", "BY", "STATE", "STEPS", "UNDO"]);
        assert_eq!(words[1][..2], ["01A", "1970-01-01T00:00:00Z"]);
        assert_eq!(words[1][3..], ["cut", "off", "1/3", "nothing"]);
        assert_eq!(words[2][5..], ["1/3", "2", "steps"]);
    }
}
