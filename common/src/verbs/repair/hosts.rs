//! Which nodes `fix` must see from the host itself, through a pod of its own, before it can plan.

use std::collections::BTreeSet;

use crate::cli::Failure;
use crate::cluster::Cluster;
use crate::collect::{HostProbes, Which};
use crate::execute::new_plan_id;
use crate::findings::{Code, Diagnosis, Finding};
use crate::node::pod::{NodePods, Op};
use crate::plan::{Action, Plan, RemedyName};
use crate::snapshot::Snapshot;

use super::{DryRun, Request};
use crate::verbs::Session;
use crate::verbs::look::{self, Look};
use crate::verbs::node_flags::{PodFlags, announce, close};

/// Checks that only the host can answer: who asks for them means all nodes.
const SEEN_FROM_THE_HOST_ONLY: [&str; 2] = ["CAL-POD-003", "CAL-POD-004"];

/// Looks again, from the hosts as well, when the plan needs it or the user asked for it. The pods stay for what comes next.
/// Gives the newest picture, and the nodes that were looked at so. `--dry-run` makes no pod unless `--probe` says so.
pub(super) async fn look_closer(
    session: &Session,
    cluster: &Cluster,
    request: &Request<'_>,
    look: Look,
    pods: &NodePods,
) -> Result<(Look, BTreeSet<String>), Failure> {
    let mut nodes = if request.change.dry_run == DryRun::None {
        wanted(&look.snapshot, &look.diagnosis, request.only)
    } else {
        BTreeSet::new()
    };
    if let Some(asked) = request.nodes {
        nodes.retain(|node| asked.contains(node));
    }
    match request.hosts {
        Some(Which::Listed(names)) => nodes.extend(names.iter().cloned()),
        Some(Which::All | Which::Unreachable) => nodes.extend(answering(&look.snapshot)),
        None => {}
    }
    if nodes.is_empty() {
        return Ok((look, nodes));
    }
    let which = Which::Listed(nodes.clone());
    announce(session, pods, &which);
    let hosts = HostProbes { pods: pods.clone(), which, keep: true };
    let look = look::at_cluster_and_hosts(session, cluster, Some(&hosts)).await?;
    Ok((request.limit(look), nodes))
}

/// How to look once more after a repair: what was judged from the hosts before must be judged so again.
pub struct Again<'a> {
    /// Nodes that were looked at from their host.
    pub nodes: BTreeSet<String>,
    /// How pods are made.
    pub pods: &'a PodFlags,
    /// What the user asked for, after the plugin's name.
    pub verb: &'a str,
}

impl Again<'_> {
    /// Looks. Nodes on whose host something was done are looked at from there as well.
    pub async fn look(
        &self,
        session: &Session,
        cluster: &Cluster,
        plan: &Plan,
    ) -> Result<Look, Failure> {
        let touched = plan.steps.iter().filter_map(|step| match &step.action {
            Action::OnHost { node, .. } => Some(node.clone()),
            _ => None,
        });
        let nodes: BTreeSet<String> = self.nodes.iter().cloned().chain(touched).collect();
        if nodes.is_empty() {
            return look::at_cluster(session, cluster).await;
        }
        let pods = self.pods.open(session, cluster, new_plan_id(), Op::Inspect, self.verb).await;
        let hosts = HostProbes { pods, which: Which::Listed(nodes), keep: false };
        let look = look::at_cluster_and_hosts(session, cluster, Some(&hosts)).await;
        close(session, &hosts.pods).await;
        look
    }
}

/// The check that names nodes which calico-node could not tell about.
const NOT_LOOKED_AT: Code = Code("CAL-ACC-003");

/// Nodes to look at more closely, by name. Nodes whose kubelet is silent are left out: no pod of ours would start there.
pub(super) fn wanted(
    snapshot: &Snapshot,
    diagnosis: &Diagnosis,
    only: &[Code],
) -> BTreeSet<String> {
    // Whatever is asked for may be on a node that could not be looked at.
    let is_asked = |finding: &&Finding| {
        only.is_empty() || only.contains(&finding.code) || finding.code == NOT_LOOKED_AT
    };
    let mut wanted: BTreeSet<String> = diagnosis
        .findings()
        .filter(is_asked)
        .flat_map(|finding| finding.nodes.iter().map(move |node| (finding, node)))
        .filter(|(finding, node)| is_not_enough(snapshot, finding, node))
        .map(|(_, node)| node.clone())
        .collect();
    if only.iter().any(|code| SEEN_FROM_THE_HOST_ONLY.contains(&code.0)) {
        wanted.extend(answering(snapshot));
    }
    wanted.retain(|node| answers(snapshot, node));
    wanted
}

/// The nodes on which a pod of ours would start.
fn answering(snapshot: &Snapshot) -> impl Iterator<Item = String> + '_ {
    let names = snapshot.nodes.items.iter().map(|node| node.metadata.name.clone());
    names.filter(|name| answers(snapshot, name))
}

/// True when a repair of this finding on this node needs to know what calico-node's container cannot see, or when that
/// container could not be asked.
fn is_not_enough(snapshot: &Snapshot, finding: &Finding, node: &str) -> bool {
    let needs_host = matches!(
        finding.remedy,
        Some(
            RemedyName::FreeSandboxes | RemedyName::RemoveLeakedLinks | RemedyName::RestoreBinaries
        )
    );
    needs_host
        || snapshot.host(node).known().is_none()
        || (finding.remedy.is_some() && snapshot.calico_node_cannot_start(node).is_some())
}

fn answers(snapshot: &Snapshot, node: &str) -> bool {
    let found = snapshot.nodes.items.iter().find(|it| it.metadata.name == node);
    found.is_some_and(|node| {
        node.is_linux() && node.condition("Ready").is_some_and(|ready| ready.status != "Unknown")
    })
}

#[cfg(test)]
mod tests {
    use crate::findings::{Cause, Root, Severity, Subject};
    use crate::slim::{Node, NodeCondition};
    use crate::snapshot::{HostFacts, Known, SnapshotBuilder};

    use super::*;

    /// node1 and node2 were seen through calico-node, node3 was not, node4's kubelet is silent.
    fn snapshot() -> Snapshot {
        let mut it = SnapshotBuilder::new().finish(jiff::Timestamp::UNIX_EPOCH);
        for (name, ready) in
            [("node1", "True"), ("node2", "True"), ("node3", "True"), ("node4", "Unknown")]
        {
            let mut node = Node::default();
            node.metadata.name = name.into();
            let (kind, status) = ("Ready".into(), ready.into());
            node.status.conditions.push(NodeCondition { kind, status, ..NodeCondition::default() });
            it.nodes.items.push(node);
        }
        for name in ["node1", "node2"] {
            let facts = HostFacts::from_probe(name, b"").0;
            it.hosts.insert(name.into(), Known::Known(facts));
        }
        it
    }

    fn found(code: &'static str, node: &str, remedy: Option<RemedyName>) -> Diagnosis {
        let cause = Cause { key: "test", text: String::new() };
        let subject = Subject::nodes([node]);
        let mut finding = Finding::new(Code(code), Severity::Error, subject, "title", cause);
        finding.remedy = remedy;
        let roots = vec![Root { finding, symptoms: Vec::new() }];
        Diagnosis { roots, checks: Vec::new(), unjudged: Vec::new() }
    }

    fn names(diagnosis: &Diagnosis, only: &[Code]) -> Vec<String> {
        wanted(&snapshot(), diagnosis, only).into_iter().collect()
    }

    #[test]
    fn only_nodes_with_a_finding_that_needs_it_are_looked_at_from_their_host() {
        let free = Some(RemedyName::FreeSandboxes);
        assert_eq!(names(&found("CAL-POD-002", "node1", free), &[]), ["node1"]);
        assert_eq!(names(&found("CAL-POD-002", "node1", None), &[]), Vec::<String>::new());
        assert_eq!(names(&found("CAL-CNI-001", "node3", None), &[]), ["node3"], "it was not seen");
        assert_eq!(names(&found("CAL-POD-002", "node4", free), &[]), Vec::<String>::new());
        assert_eq!(
            names(&found("CAL-POD-002", "node1", free), &[Code("CAL-CNI-001")]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_node_that_could_not_be_looked_at_may_have_any_fault() {
        let unseen = found("CAL-ACC-003", "node3", None);
        assert_eq!(names(&unseen, &[Code("CAL-CNI-006")]), ["node3"]);
        // Seen meanwhile, it is like any other.
        let seen = found("CAL-ACC-003", "node1", None);
        assert_eq!(names(&seen, &[Code("CAL-CNI-006")]), Vec::<String>::new());
    }

    #[test]
    fn who_asks_for_orphans_means_all_nodes_that_answer() {
        let nothing = Diagnosis { roots: Vec::new(), checks: Vec::new(), unjudged: Vec::new() };
        assert_eq!(names(&nothing, &[Code("CAL-POD-003")]), ["node1", "node2", "node3"]);
        assert_eq!(names(&nothing, &[]), Vec::<String>::new());
    }
}
