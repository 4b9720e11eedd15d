//! What many nodes show of their data plane, through their calico-node pods.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt};

use super::super::Progress;
use super::super::nodes::{Target, target_of};
use super::super::probes::reason;
use crate::bpf::{BpfFacts, is_windows};
use crate::cluster::Cluster;
use crate::node;
use crate::slim::Pod;
use crate::snapshot::{Gap, GapReason, Known, Snapshot};

/// Nodes that are looked at at once: each holds an exec stream through the API server.
pub const NODES_AT_ONCE: usize = 20;

/// Every node of the cluster that runs Linux; when nodes could not be read, those that calico-node runs on.
pub fn nodes_to_ask(snapshot: &Snapshot) -> BTreeSet<String> {
    let nodes = snapshot.nodes.items.iter().filter(|it| !is_windows(it));
    let mut names: BTreeSet<String> = nodes.map(|it| it.metadata.name.clone()).collect();
    let known: BTreeSet<&str> =
        snapshot.nodes.items.iter().map(|it| it.metadata.name.as_str()).collect();
    let agents = snapshot.calico_node_pods().map(|pod| pod.spec.node_name.as_str());
    names.extend(agents.filter(|it| !it.is_empty() && !known.contains(it)).map(str::to_owned));
    names
}

/// What these nodes show. A node that cannot be asked is unknown, with the reason. The pods are those of `snapshot`.
pub async fn facts(
    cluster: &Cluster,
    snapshot: &Snapshot,
    nodes: &BTreeSet<String>,
    progress: &dyn Progress,
) -> BTreeMap<String, Known<BpfFacts>> {
    progress.stage("looking at the nodes' data plane", Some(nodes.len()));
    let ask = |name: String| {
        // The pod is copied, so that nothing borrowed lives in the stream.
        let pod = match target_of(snapshot, &name) {
            Target::Through(pod) => Ok(pod.clone()),
            Target::NoPod(why) => Err(Gap::new(path(&name), GapReason::NotAsked, why)),
            Target::NotRunning(why) => Err(Gap::new(path(&name), GapReason::Unreachable, why)),
        };
        async move {
            let told = match pod {
                Ok(pod) => look(cluster, &name, &pod).await,
                Err(gap) => Known::Unknown(gap),
            };
            progress.step(&name);
            (name, told)
        }
    };
    stream::iter(nodes.iter().cloned().map(ask)).buffer_unordered(NODES_AT_ONCE).collect().await
}

async fn look(cluster: &Cluster, name: &str, pod: &Pod) -> Known<BpfFacts> {
    match node::bpf(cluster, pod).await {
        Ok(body) => Known::Known(BpfFacts::from_scan(name, &body)),
        Err(error) => Known::Unknown(Gap::new(path(name), reason(&error), error.to_string())),
    }
}

fn path(node: &str) -> String {
    format!("nodes/{node}/bpf.txt")
}
