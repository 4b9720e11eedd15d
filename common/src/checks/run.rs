//! Runs all checks over a snapshot and folds symptoms into their causes.

use std::collections::BTreeMap;

use super::{ALL, CheckMeta, Context, Need};
use crate::findings::{CheckOutcome, CheckState, Code, Diagnosis, Finding, Findings, Root};
use crate::snapshot::{Coverage, Gap, GapReason, Listing, Snapshot};

/// What is wrong with the cluster, and why.
pub fn diagnose(snapshot: &Snapshot) -> Diagnosis {
    diagnose_by(ALL, snapshot)
}

/// What these checks say is wrong with the cluster, and why.
pub fn diagnose_by(chosen: &[&CheckMeta], snapshot: &Snapshot) -> Diagnosis {
    let context = Context { snapshot, now: snapshot.taken };
    let mut found = Vec::new();
    let mut unjudged = Vec::new();
    let mut checks = Vec::new();
    for check in chosen {
        let mut out = Findings::default();
        let state = match missing(snapshot, check) {
            Some(Missing::All(gap)) => {
                out.not_judged(check.code, "", gap);
                CheckState::Skipped
            }
            Some(Missing::Part(gap)) => {
                (check.run)(&context, &mut out);
                out.not_judged(check.code, "", gap);
                state_of(&out)
            }
            None => {
                (check.run)(&context, &mut out);
                state_of(&out)
            }
        };
        checks.push(CheckOutcome { code: check.code, state });
        found.append(&mut out.found);
        unjudged.append(&mut out.unjudged);
    }
    unjudged.sort();
    Diagnosis { roots: fold(snapshot, found), checks, unjudged }
}

/// What a check lacks.
enum Missing {
    /// Everything: it cannot run.
    All(Gap),
    /// What it finds is true, but it may not have seen everything.
    Part(Gap),
}

/// The first need of a check that is not met; one that is not met at all comes before one that is met in part.
fn missing(snapshot: &Snapshot, check: &CheckMeta) -> Option<Missing> {
    let mut part = None;
    for need in check.needs {
        match lacks(snapshot, *need) {
            Some(Missing::All(gap)) => return Some(Missing::All(gap)),
            other => part = part.or(other),
        }
    }
    part
}

fn lacks(snapshot: &Snapshot, need: Need) -> Option<Missing> {
    match need {
        Need::Nodes => unread(&snapshot.nodes, "cluster/nodes.json", true),
        Need::Pods => unread(&snapshot.pods, "cluster/pods.json", true),
        // Only events about pods' sandboxes and probes matter, so a selection may well be all that is needed.
        Need::Events => unread(&snapshot.events, "cluster/events.json", false),
        Need::Pools => {
            unread(&snapshot.ip_pools, "cluster/ippools.crd.projectcalico.org.json", true)
        }
        Need::Addresses => {
            let what = "cluster/ipamblocks.crd.projectcalico.org.json";
            unread(&snapshot.addresses.blocks, what, true)
        }
        Need::Install => snapshot.install.gap().cloned().map(Missing::All),
        Need::Hosts if snapshot.hosts.is_empty() => Some(Missing::All(Gap::new(
            "nodes/*/probe.txt",
            GapReason::NotAsked,
            "no node was probed",
        ))),
        Need::Hosts => None,
    }
}

/// Why a list, or part of it, is missing. `whole`: a selection of its objects is not enough.
fn unread<T>(listing: &Listing<T>, what: &str, whole: bool) -> Option<Missing> {
    let not_asked = |detail: &str| Gap::new(what, GapReason::NotAsked, detail);
    match (&listing.coverage, &listing.gap) {
        (Coverage::None, gap) => {
            Some(Missing::All(gap.clone().unwrap_or_else(|| not_asked("the list was not read"))))
        }
        (_, Some(gap)) => Some(Missing::Part(gap.clone())),
        (Coverage::Selected(selectors), None) if whole => Some(Missing::Part(not_asked(&format!(
            "only a selection was read: {}",
            selectors.join(", ")
        )))),
        _ => None,
    }
}

fn state_of(out: &Findings) -> CheckState {
    match (out.found.is_empty(), out.unjudged.is_empty()) {
        (false, _) => CheckState::Found,
        (true, true) => CheckState::Passed,
        (true, false) => CheckState::Partial,
    }
}

/// The codes that explain pods that hang with this text.
fn explained_by(key: &str) -> &'static [&'static str] {
    match key {
        "unauthorized" | "certificate-not-trusted" => &["CAL-CNI-006"],
        "plugin-missing" => &["CAL-CNI-003", "CAL-CNI-004", "CAL-CNI-005"],
        "cni-not-initialized" => &["CAL-CNI-001", "CAL-CNI-002", "CAL-CNI-003", "CAL-CNI-005"],
        "other-plugin" | "no-network-info" => &["CAL-CNI-003"],
        "kubeconfig-missing" => &["CAL-CNI-002"],
        "forbidden" => &["CAL-CNI-007"],
        "node-not-found" => &["CAL-CNI-008"],
        "nodename-missing" => &["CAL-CNI-009", "CAL-WRK-001"],
        "api-unreachable" => &["CAL-CNI-010"],
        "datastore-locked" => &["CAL-CNI-011"],
        "calls-hang" => &["CAL-POD-008"],
        "resource-missing" => &["CAL-INS-004"],
        _ => &[],
    }
}

/// Puts every finding that another one on the same node explains below that one.
fn fold(snapshot: &Snapshot, found: Vec<Finding>) -> Vec<Root> {
    let (mut symptoms, causes): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|it| is_symptom(it.code));
    let mut roots: Vec<Root> = Vec::new();
    for symptom in &mut symptoms {
        let codes = explained_by(symptom.cause.key);
        symptom.because_of = causes
            .iter()
            .filter(|it| codes.contains(&it.code.0) && overlap(it, symptom))
            .map(|it| it.id.clone())
            .collect();
        symptom.because_of.sort();
    }
    for mut finding in causes {
        let own: Vec<Finding> =
            symptoms.iter().filter(|it| it.because_of.contains(&finding.id)).cloned().collect();
        if finding.consequence.is_empty() {
            finding.consequence = consequence(snapshot, &finding, &own);
        }
        roots.push(Root { finding, symptoms: own });
    }
    let unexplained = symptoms.into_iter().filter(|it| it.because_of.is_empty());
    roots.extend(unexplained.map(|finding| Root { finding, symptoms: Vec::new() }));
    for root in &mut roots {
        root.symptoms.sort_by(|a, b| (a.code, &a.id).cmp(&(b.code, &b.id)));
    }
    roots.sort_by(|a, b| {
        let key = |it: &Root| (it.finding.severity, it.finding.code, it.finding.id.clone());
        key(a).cmp(&key(b))
    });
    roots
}

fn is_symptom(code: Code) -> bool {
    matches!(code.0, "CAL-POD-001" | "CAL-POD-002")
}

fn overlap(cause: &Finding, symptom: &Finding) -> bool {
    symptom.nodes.iter().any(|node| cause.nodes.contains(node))
}

/// Which pods hang because of it, and what will happen elsewhere.
fn consequence(snapshot: &Snapshot, finding: &Finding, symptoms: &[Finding]) -> String {
    if !finding.code.0.starts_with("CAL-CNI-") && finding.code.0 != "CAL-INS-004" {
        return String::new();
    }
    let mut by_node: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for symptom in symptoms {
        for node in &symptom.nodes {
            let (creating, terminating) = by_node.entry(node).or_default();
            match symptom.code.0 {
                "CAL-POD-001" => *creating += symptom.subject.names.len(),
                _ => *terminating += symptom.subject.names.len(),
            }
        }
    }
    let (creating, terminating) =
        by_node.values().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    let latent: Vec<&str> = finding
        .nodes
        .iter()
        .map(String::as_str)
        .filter(|node| !by_node.contains_key(node) && snapshot.calico_node_on(node).is_some())
        .collect();
    let next = format!("on {} the next pod to start or stop will hang", enumerate(&latent));
    let hang = hanging_sentence(creating, terminating, &by_node);
    match (by_node.is_empty(), latent.is_empty()) {
        (true, true) => String::new(),
        (true, false) => next,
        (false, true) => hang,
        (false, false) => format!("{hang}; {next} as well"),
    }
}

fn hanging_sentence(
    creating: usize,
    terminating: usize,
    by_node: &BTreeMap<&str, (usize, usize)>,
) -> String {
    let nodes: Vec<&str> = by_node.keys().copied().collect();
    let all = creating + terminating;
    let verb = if all == 1 { "pod hangs" } else { "pods hang" };
    let split = match (creating, terminating) {
        (0, _) => "Terminating".to_owned(),
        (_, 0) => "ContainerCreating".to_owned(),
        _ => format!("{creating} ContainerCreating, {terminating} Terminating"),
    };
    format!("{all} {verb} on {} ({split})", enumerate(&nodes))
}

/// `a`, `a and b`, `a, b and c`; above five only the first three are named.
pub(super) fn enumerate(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [all @ .., last] if names.len() <= 5 => format!("{} and {last}", all.join(", ")),
        [a, b, c, rest @ ..] => format!("{a}, {b}, {c} and {} more", rest.len()),
        [a, rest @ ..] => format!("{a} and {} more", rest.len()),
    }
}
