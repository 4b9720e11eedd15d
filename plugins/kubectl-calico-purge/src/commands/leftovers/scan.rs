//! Scans nodes, and says where Calico lives.

use common::cli::{Failure, Kind};
use common::collect::Which;
use common::node;
use common::node::pod::NodePods;
use common::report::NodeLeftovers;
use common::residue::{
    ResidueFacts, Scope, Surroundings, add_node_object, lives_on, take_inventory,
};
use common::snapshot::{Known, Snapshot};
use common::verbs::Session;
use common::verbs::node_flags::announce;
use futures::stream::{self, StreamExt};
use ipnet::IpNet;

/// A node, and what has to be known of it.
pub(super) struct Target {
    pub(super) name: String,
    pub(super) around: Surroundings,
    /// Whether Calico lives there; in words when that cannot be told.
    lives: Result<bool, String>,
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
        let lives = match lives_on(snapshot, &name) {
            Known::Known(lives) => Ok(lives),
            Known::Absent => Ok(false),
            Known::Unknown(gap) => Err(gap.detail),
        };
        let scope = if lives == Ok(false) { Scope::NotInstalled } else { Scope::Stale };
        Target { around: Surroundings::of(snapshot, &name, scope, pools), name, lives }
    };
    Ok(names.into_iter().map(target).collect())
}

/// Nothing is removed by this verb while Calico lives on one of the nodes.
pub(super) fn refuse_the_living(session: &Session, targets: &[Target]) -> Result<(), Failure> {
    let why = |it: &Target| match &it.lives {
        Ok(false) => None,
        Ok(true) => Some(format!("Calico lives on {}", it.name)),
        Err(why) => Some(format!("whether Calico lives on {} cannot be told: {why}", it.name)),
    };
    match targets.iter().find_map(why) {
        None => Ok(()),
        Some(why) => Err(Failure::new(Kind::Refused, why).hint(format!(
            "what is stale beside a living Calico is removed by: {} node NODE",
            session.program
        ))),
    }
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
