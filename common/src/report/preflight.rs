//! What `preflight` prints: requirements of the eBPF data plane, by node and for the cluster.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::layout::{Mark, TextOptions, names};
use super::text::header;
use super::v1::{API_VERSION, ClusterSummary};
use super::{escape, number, table};
use crate::bpf::requirements::{Grade, Judgement, Kernel, Subject};
use crate::bpf::{NodeDataPlane, Situation};
use crate::snapshot::Known;

/// The document that `preflight` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PreflightReport {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `PreflightReport`.
    pub kind: &'static str,
    /// When the cluster was looked at.
    pub taken: Timestamp,
    /// What was looked at.
    pub cluster: ClusterSummary,
    /// The exit code in a word.
    pub verdict: &'static str,
    /// The nodes that were judged, sorted by name.
    pub nodes: Vec<PreflightNode>,
    /// Every requirement of every node and of the cluster.
    pub requirements: Vec<PreflightEntry>,
}

/// A node that was judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PreflightNode {
    /// Its name.
    pub name: String,
    /// Its kernel; null when it is not known.
    pub kernel: Option<String>,
    /// `bpf`, `iptables` or `leftover`; null when it is not known.
    pub data_plane: Option<&'static str>,
}

/// One requirement of one node, or of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PreflightEntry {
    /// Its name.
    pub requirement: &'static str,
    /// What is required.
    pub title: &'static str,
    /// The node; null for the cluster.
    pub node: Option<String>,
    /// `blocker`, `warning`, `unknown`, `info` or `fine`.
    pub grade: &'static str,
    /// Whether the change must not be made while it is unknown.
    pub essential: bool,
    /// Why.
    pub reason: String,
    /// What to do about it; empty when there is nothing to do.
    pub remedy: String,
}

impl PreflightReport {
    /// The report of judgements; `verdict` is the exit code in a word.
    pub fn new(
        situation: &Situation<'_>,
        judgements: &[Judgement],
        nodes: &BTreeSet<String>,
        verdict: &'static str,
    ) -> Self {
        let node = |name: &String| PreflightNode {
            name: name.clone(),
            kernel: Kernel::of_node(situation, name).known().map(|it| it.release.clone()),
            data_plane: situation.nodes.get(name).and_then(|it| data_plane(&it.known()?.state())),
        };
        Self {
            api_version: API_VERSION,
            kind: "PreflightReport",
            taken: situation.snapshot.taken,
            cluster: ClusterSummary::of(situation.snapshot),
            verdict,
            nodes: nodes.iter().map(node).collect(),
            requirements: judgements.iter().map(entry).collect(),
        }
    }
}

fn data_plane(state: &Known<NodeDataPlane>) -> Option<&'static str> {
    state.known().map(|it| match it {
        NodeDataPlane::Bpf => "bpf",
        NodeDataPlane::Iptables => "iptables",
        NodeDataPlane::Leftover => "leftover",
    })
}

fn entry(judgement: &Judgement) -> PreflightEntry {
    PreflightEntry {
        requirement: judgement.requirement.id,
        title: judgement.requirement.title,
        node: match &judgement.subject {
            Subject::Cluster => None,
            Subject::Node(name) => Some(name.clone()),
        },
        grade: word(&judgement.grade),
        essential: judgement.requirement.essential,
        reason: judgement.reason.clone(),
        remedy: judgement.remedy.clone(),
    }
}

fn word(grade: &Grade) -> &'static str {
    match grade {
        Grade::Fine => "fine",
        Grade::Info => "info",
        Grade::Warning => "warning",
        Grade::Unknown(_) => "unknown",
        Grade::Blocker => "blocker",
    }
}

/// Grades in the order in which they are shown; the last two only with `-v`.
const ORDER: [&str; 5] = ["blocker", "unknown", "warning", "info", "fine"];

/// The report for a person. Every foreign character in it is harmless.
pub fn preflight(report: &PreflightReport, options: &TextOptions) -> String {
    let mut out = format!("{}\n\n", options.bold(&header(&report.cluster)));
    if !report.nodes.is_empty() {
        out.push_str(&nodes(report));
        out.push('\n');
    }
    for grade in ORDER {
        for (entry, subjects) in grouped(report, grade) {
            if is_shown(entry, options) {
                out.push_str(&block(entry, &subjects, options));
            }
        }
    }
    out.push_str(&summary(report, options));
    options.plain(out)
}

/// What is fine, worth knowing, or not needed and not known, is shown on request only.
fn is_shown(entry: &PreflightEntry, options: &TextOptions) -> bool {
    options.verbose
        || matches!(entry.grade, "blocker" | "warning")
        || (entry.grade == "unknown" && entry.essential)
}

fn nodes(report: &PreflightReport) -> String {
    let ids = |node: &str, grade: &str| {
        let all = report.requirements.iter();
        let of = all.filter(|it| it.node.as_deref() == Some(node) && it.grade == grade);
        let ids: BTreeSet<&str> = of.map(|it| it.requirement).collect();
        if ids.is_empty() {
            "–".to_owned()
        } else {
            ids.into_iter().collect::<Vec<_>>().join(",")
        }
    };
    let row = |node: &PreflightNode| {
        let or_unknown = |it: Option<&str>| escape(it.unwrap_or("?"));
        vec![
            escape(&node.name),
            or_unknown(node.kernel.as_deref()),
            or_unknown(node.data_plane),
            ids(&node.name, "blocker"),
            ids(&node.name, "warning"),
            ids(&node.name, "unknown"),
        ]
    };
    let rows: Vec<_> = report.nodes.iter().map(row).collect();
    table(&["NODE", "KERNEL", "DATA PLANE", "BLOCKERS", "WARNINGS", "UNKNOWN"], &rows)
}

/// Entries of a grade; those that say the same are one, of several nodes.
fn grouped<'r>(report: &'r PreflightReport, grade: &str) -> Vec<(&'r PreflightEntry, Vec<String>)> {
    let mut places: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    let mut groups: Vec<(&PreflightEntry, Vec<String>)> = Vec::new();
    for entry in report.requirements.iter().filter(|it| it.grade == grade) {
        let key = (entry.requirement, entry.reason.as_str(), entry.remedy.as_str());
        let place = *places.entry(key).or_insert(groups.len());
        if place == groups.len() {
            groups.push((entry, Vec::new()));
        }
        if let Some((_, subjects)) = groups.get_mut(place) {
            subjects.extend(entry.node.as_deref().map(escape));
        }
    }
    groups
}

fn block(entry: &PreflightEntry, subjects: &[String], options: &TextOptions) -> String {
    let mark = options.mark(match entry.grade {
        "blocker" => Mark::Bad,
        "warning" => Mark::Warn,
        "unknown" => Mark::Skip,
        _ => Mark::Good,
    });
    let place = if subjects.is_empty() { "cluster".to_owned() } else { names(subjects) };
    let mut out =
        format!("{mark} {} {} · {} · {place}\n", entry.grade, entry.requirement, entry.title);
    out.push_str(&options.block("why", &escape(&entry.reason)));
    if !entry.remedy.is_empty() {
        out.push_str(&options.block("fix", &escape(&entry.remedy)));
    }
    out
}

fn summary(report: &PreflightReport, options: &TextOptions) -> String {
    let count = |grade: &str| report.requirements.iter().filter(|it| it.grade == grade).count();
    let missing = report.requirements.iter().filter(|it| it.grade == "unknown" && it.essential);
    let (blockers, warnings, missing) = (count("blocker"), count("warning"), missing.count());
    let plural = |count: usize, word: &str| {
        format!("{} {word}{}", number(count), if count == 1 { "" } else { "s" })
    };
    let mut parts = vec![plural(blockers, "blocker"), plural(warnings, "warning")];
    if missing > 0 {
        parts.push(format!("{} needed and not known", number(missing)));
    }
    let open = count("unknown") - missing;
    if open > 0 && !options.verbose {
        parts.push(format!("{} not judged (-v names all)", number(open)));
    }
    let mark = options.mark(match (blockers, missing) {
        (0, 0) => Mark::Good,
        (0, _) => Mark::Warn,
        _ => Mark::Bad,
    });
    let fine = number(count("fine") + count("info"));
    let all = number(report.requirements.len());
    format!("{mark} {fine} of {all} are fine: {}\n", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::requirements::{fixtures, judge};

    fn text(options: &TextOptions) -> String {
        let snapshot = fixtures::snapshot();
        let mut it = fixtures::situation(&snapshot);
        for name in ["node1", "node2"] {
            fixtures::with_section(&mut it, name, "machine", "s390x\u{1b}[31m");
        }
        fixtures::with_section(&mut it, "node1", "sysctl", "net/core/bpf_jit_harden=2");
        let nodes = BTreeSet::from(["node1".to_owned(), "node2".to_owned()]);
        let report = PreflightReport::new(&it, &judge(&it), &nodes, "findings");
        assert_eq!(report.nodes[0].data_plane, Some("iptables"));
        preflight(&report, options)
    }

    #[test]
    fn what_is_wrong_is_shown_and_grouped_and_what_is_fine_is_counted() {
        let text = text(&TextOptions::default());
        assert!(text.contains("NODE    KERNEL"), "{text}");
        assert!(text.contains("✗ blocker architecture"), "{text}");
        assert!(text.contains("· node2\n"), "{text}");
        assert!(text.contains("‼ warning hardening"), "{text}");
        assert!(!text.contains("datastore") && !text.contains('\u{1b}'), "{text}");
        assert!(text.contains("1 blocker, 1 warning"), "{text}");
    }

    #[test]
    fn all_is_shown_on_request_and_in_plain_characters() {
        let options = TextOptions { verbose: true, unicode: false, ..TextOptions::default() };
        let text = text(&options);
        assert!(text.contains("fine datastore"), "{text}");
        assert!(text.is_ascii(), "{text}");
    }
}
