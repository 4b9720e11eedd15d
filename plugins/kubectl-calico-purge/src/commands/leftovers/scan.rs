//! Scans nodes, and asks whether Calico lives there.

use common::cli::{Failure, Kind};
use common::cluster::Cluster;
use common::collect::Which;
use common::node;
use common::node::pod::NodePods;
use common::plan::safeguards::{self, Circumstances, Intent, Situation};
use common::report::NodeLeftovers;
use common::residue::{
    ResidueFacts, Scope, Surroundings, add_node_object, lives_on, take_inventory,
};
use common::snapshot::{Known, Snapshot};
use common::verbs::Session;
use common::verbs::node_flags::announce;
use futures::stream::{self, StreamExt};
use ipnet::IpNet;

use crate::commands::refusal::refused;

/// A node, and what has to be known of it.
pub(super) struct Target {
    pub(super) name: String,
    pub(super) around: Surroundings,
}

/// The nodes that are meant. Where it is not certain that Calico does not live, it is taken to live.
pub(super) fn targets(
    snapshot: &Snapshot,
    which: &Which,
    pools: &[IpNet],
) -> Result<Vec<Target>, Failure> {
    let names: Vec<String> = match which {
        Which::Listed(names) => names.iter().cloned().collect(),
        Which::All | Which::Unreachable => {
            let mut all: Vec<String> =
                snapshot.nodes.items.iter().map(|node| node.metadata.name.clone()).collect();
            all.sort();
            all
        }
    };
    if names.is_empty() {
        return Err(Failure::new(Kind::NotFound, "no nodes could be listed")
            .hint("name them: leftovers NODE…"));
    }
    let target = |name: String| {
        let scope = match lives_on(snapshot, &name) {
            Known::Known(false) | Known::Absent => Scope::NotInstalled,
            Known::Known(true) | Known::Unknown(_) => Scope::Stale,
        };
        Target { around: Surroundings::of(snapshot, &name, scope, pools), name }
    };
    Ok(names.into_iter().map(target).collect())
}

/// Asks the guards of this verb: nothing is removed while Calico lives on one of the nodes.
///
/// # Errors
/// When it does, or when that cannot be told.
pub(super) fn check(
    session: &Session,
    cluster: &Cluster,
    snapshot: &Snapshot,
    targets: &[Target],
) -> Result<(), Failure> {
    let intent = Intent {
        nodes: targets.iter().map(|it| it.name.clone()).collect(),
        delete_empty_dirs: false,
        server: cluster.target_info().server.clone(),
    };
    let circumstances = Circumstances::default();
    let situation = Situation { intent: &intent, snapshot, circumstances: &circumstances };
    let found = safeguards::objections_to_removal(&situation);
    if found.is_empty() {
        return Ok(());
    }
    let program = &session.program;
    Err(refused(session, &found)
        .hint(format!("what is stale beside a living Calico is removed by: {program} node NODE"))
        .hint(format!(
            "everything of Calico is taken off a node by: {program} node NODE --all-state"
        )))
}

/// What is on each of the nodes, by name.
pub(super) async fn all(
    session: &Session,
    pods: &NodePods,
    snapshot: &Snapshot,
    targets: &[Target],
) -> Vec<NodeLeftovers> {
    let names = targets.iter().map(|it| it.name.clone()).collect();
    announce(session, pods, &Which::Listed(names));
    let at_once = pods.options().max_parallel.max(1);
    let scans = targets.iter().map(|target| one(session, pods, snapshot, target));
    let found = stream::iter(scans).buffered(at_once).collect().await;
    session.printer.clear();
    found
}

async fn one(
    session: &Session,
    pods: &NodePods,
    snapshot: &Snapshot,
    target: &Target,
) -> NodeLeftovers {
    let Target { name, around, .. } = target;
    session.printer.live(&format!("  scanning {name}"));
    let scanned = async { node::scan(&pods.on(name).await?).await };
    let body = match scanned.await {
        Ok(body) => body,
        Err(error) => return NodeLeftovers::unseen(name, around.scope, error.to_string()),
    };
    let mut found = take_inventory(&ResidueFacts::from_scan(name, &body), around);
    if let Some(node) = snapshot.nodes.items.iter().find(|it| &it.metadata.name == name) {
        add_node_object(&mut found, node, around.scope);
    }
    NodeLeftovers::new(name, around.scope, found)
}
