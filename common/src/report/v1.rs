//! Version 1 of the wire types: `apiVersion: kubectl-calico/v1`. Fields are only ever added.

use jiff::Timestamp;
use serde::Serialize;

use crate::findings::{CheckOutcome, Diagnosis, Finding, Unjudged};
use crate::plan::{Outcome, Plan, Rehearsed};
use crate::snapshot::{Gap, Snapshot};

/// `apiVersion` of every document we write.
pub const API_VERSION: &str = "kubectl-calico/v1";

/// The document that `check` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `Report`.
    pub kind: &'static str,
    /// When the cluster was looked at.
    pub taken: Timestamp,
    /// What was looked at.
    pub cluster: ClusterSummary,
    /// `healthy`, `findings`, `incomplete` or `failed`: the exit code in a word, because Windows' kubectl flattens exit codes.
    pub verdict: &'static str,
    /// Root causes with their symptoms, worst first.
    pub roots: Vec<RootReport>,
    /// Result of each check.
    pub checks: Vec<CheckOutcome>,
    /// What could not be judged, and why.
    pub unjudged: Vec<Unjudged>,
    /// What could not be read.
    pub gaps: Vec<Gap>,
    /// What went wrong with the run itself; empty in a good one.
    pub errors: Vec<String>,
    /// Which nodes alone were judged; absent when all were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
}

/// The nodes that a report is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// Their names, sorted.
    pub nodes: Vec<String>,
    /// Number of root causes that are about other nodes, or about the cluster, and are not in the report.
    pub elsewhere: usize,
}

/// The document that `fix` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FixReport {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `FixReport`.
    pub kind: &'static str,
    /// The exit code in a word; `planned` when nothing was to be changed.
    pub verdict: &'static str,
    /// The plan.
    pub plan: Plan,
    /// What became of it; absent when it was not carried out.
    pub outcome: Option<Outcome>,
    /// What became of taking it back, where it failed and was taken back at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken_back: Option<Outcome>,
    /// The cluster after it; absent when it was not carried out.
    pub after: Option<Report>,
    /// The command that takes the run back; absent when there is nothing to take back.
    pub undo: Option<String>,
    /// A sentence about the whole, for people.
    pub note: Option<String>,
    /// What the API server said to each step; absent unless it was asked (`--dry-run=server`).
    pub rehearsal: Option<Vec<Rehearsed>>,
}

impl FixReport {
    /// A plan that was not carried out.
    pub fn new(plan: &Plan, verdict: &'static str) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "FixReport",
            verdict,
            plan: plan.clone(),
            outcome: None,
            taken_back: None,
            after: None,
            undo: None,
            note: None,
            rehearsal: None,
        }
    }
}

/// Which cluster, which Calico.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSummary {
    /// kubeconfig context; absent for a bundle.
    pub context: Option<String>,
    /// Where the data came from when it was no live cluster: the bundle's path.
    pub bundle: Option<String>,
    /// uid of namespace kube-system.
    pub uid: Option<String>,
    /// Version of the API server.
    pub kubernetes: Option<String>,
    /// Version of Calico.
    pub calico: Option<String>,
    /// `manifest` or `operator`.
    pub install: Option<String>,
    /// Namespace of calico-node.
    pub namespace: Option<String>,
    /// Encapsulation, for people.
    pub encapsulation: Option<String>,
    /// Number of nodes.
    pub nodes: Option<usize>,
}

/// A root cause and its symptoms.
#[derive(Clone, Debug, Serialize)]
pub struct RootReport {
    /// The cause.
    pub finding: Finding,
    /// Its symptoms.
    pub symptoms: Vec<Finding>,
}

impl ClusterSummary {
    /// What `snapshot` shows.
    pub fn of(snapshot: &Snapshot) -> Self {
        let install = snapshot.install.known();
        Self {
            context: snapshot.cluster.context.clone(),
            bundle: None,
            uid: snapshot.cluster.uid.known().cloned(),
            kubernetes: snapshot.cluster.server_version.known().cloned(),
            calico: install.and_then(|it| it.version.clone()),
            install: install.map(|it| format!("{:?}", it.method).to_lowercase()),
            namespace: install.map(|it| it.namespace.clone()),
            encapsulation: install.and_then(|it| it.encapsulation.clone()),
            nodes: snapshot.nodes.get().known().map(|nodes| nodes.len()),
        }
    }
}

impl Report {
    /// The report of a run that failed before anything could be looked at.
    pub fn failed(taken: Timestamp, error: String) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "Report",
            taken,
            cluster: ClusterSummary::default(),
            verdict: "failed",
            roots: Vec::new(),
            checks: Vec::new(),
            unjudged: Vec::new(),
            gaps: Vec::new(),
            errors: vec![error],
            scope: None,
        }
    }

    /// The report of `diagnosis` over `snapshot`.
    pub fn new(snapshot: &Snapshot, diagnosis: &Diagnosis, verdict: &'static str) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "Report",
            taken: snapshot.taken,
            cluster: ClusterSummary::of(snapshot),
            verdict,
            roots: diagnosis
                .roots
                .iter()
                .map(|root| RootReport {
                    finding: root.finding.clone(),
                    symptoms: root.symptoms.clone(),
                })
                .collect(),
            checks: diagnosis.checks.clone(),
            unjudged: diagnosis.unjudged.clone(),
            gaps: snapshot.gaps.clone(),
            errors: Vec::new(),
            scope: None,
        }
    }
}
