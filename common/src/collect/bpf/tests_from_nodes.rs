//! Tests from many nodes at once: of an endpoint, and of the kernels.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt};

use super::super::Progress;
use super::super::nodes::{Target, target_of};
use super::super::probes::reason;
use super::NODES_AT_ONCE;
use crate::bpf::endpoint::NodeProof;
use crate::bpf::load::{self, Loaded};
use crate::bpf::{BpfFacts, Endpoint, Situation, text};
use crate::cluster::Cluster;
use crate::node::bpf_host;
use crate::node::endpoint::{endpoint_script, load_script, test_endpoint, test_host};
use crate::node::pod::{NodePodError, NodePods};
use crate::slim::Pod;
use crate::snapshot::{Gap, GapReason, Known, Snapshot};

/// The cluster's authority (PEM), which its API server's certificate is of.
pub fn authority<'s>(situation: &'s Situation<'_>) -> Option<&'s str> {
    situation.root_ca.known().and_then(|it| text(it, "/data/ca.crt"))
}

/// What each of these nodes proves of an endpoint: through calico-node, and from its host as well when there are `pods`.
pub async fn prove(
    cluster: &Cluster,
    snapshot: &Snapshot,
    (endpoint, authority): (&Endpoint, Option<&str>),
    nodes: &BTreeSet<String>,
    pods: Option<&NodePods>,
    progress: &dyn Progress,
) -> BTreeMap<String, NodeProof> {
    let script = endpoint_script(endpoint, authority);
    progress.stage("testing the endpoint from the nodes", Some(nodes.len()));
    let ask = |name: String| {
        // The pod is copied, so that nothing borrowed lives in the stream.
        let pod = match target_of(snapshot, &name) {
            Target::Through(pod) => Ok(pod.clone()),
            Target::NoPod(why) => Err(gap(&name, GapReason::NotAsked, why)),
            Target::NotRunning(why) => Err(gap(&name, GapReason::Unreachable, why)),
        };
        let script = &script;
        async move {
            let inside = match pod {
                Ok(pod) => from_calico_node(cluster, &name, &pod, script).await,
                Err(gap) => NodeProof::Unknown(gap),
            };
            let proof = match pods {
                Some(pods) => inside.and(from_host(pods, &name, script).await),
                None => inside,
            };
            progress.step(&name);
            (name, proof)
        }
    };
    let at_once = pods.map_or(NODES_AT_ONCE, |pods| pods.options().max_parallel.max(1));
    let proofs = stream::iter(nodes.iter().cloned().map(ask)).buffer_unordered(at_once).collect();
    let proofs = proofs.await;
    progress.done();
    proofs
}

async fn from_calico_node(cluster: &Cluster, name: &str, pod: &Pod, script: &str) -> NodeProof {
    match test_endpoint(cluster, pod, script).await {
        Ok(body) => NodeProof::from_scan(name, &body),
        Err(error) => NodeProof::Unknown(gap(name, reason(&error), error.to_string())),
    }
}

async fn from_host(pods: &NodePods, name: &str, script: &str) -> NodeProof {
    match on_host(pods, name, script).await {
        Ok(body) => NodeProof::from_scan(name, &body),
        Err(error) => NodeProof::Unknown(gap(name, error.gap_reason(), error.to_string())),
    }
}

async fn on_host(pods: &NodePods, name: &str, script: &str) -> Result<Vec<u8>, NodePodError> {
    let body = test_host(&pods.on(name).await?, script).await;
    pods.release(name).await;
    body
}

/// What these nodes show of their data plane from their hosts: also where the nodes' own programs find the API server.
pub async fn facts_of_hosts(
    pods: &NodePods,
    nodes: &BTreeSet<String>,
    progress: &dyn Progress,
) -> BTreeMap<String, Known<BpfFacts>> {
    progress.stage("looking at the nodes' hosts", Some(nodes.len()));
    let ask = |name: String| async move {
        let told = async { bpf_host(&pods.on(&name).await?).await }.await;
        pods.release(&name).await;
        let facts = match told {
            Ok(body) => Known::Known(BpfFacts::from_scan(&name, &body)),
            Err(error) => {
                let what = format!("nodes/{name}/bpf.txt");
                Known::Unknown(Gap::new(what, error.gap_reason(), error.to_string()))
            }
        };
        progress.step(&name);
        (name, facts)
    };
    let at_once = pods.options().max_parallel.max(1);
    let found = stream::iter(nodes.iter().cloned().map(ask)).buffer_unordered(at_once).collect();
    let found = found.await;
    progress.done();
    found
}

/// Whether each of these nodes' kernels takes a program, by pods on the nodes.
pub async fn load_test(
    pods: &NodePods,
    nodes: &BTreeSet<String>,
    progress: &dyn Progress,
) -> BTreeMap<String, Loaded> {
    let script = load_script();
    progress.stage("loading a program on the nodes", Some(nodes.len()));
    let ask = |name: String| {
        let script = &script;
        async move {
            let loaded = match on_host(pods, &name, script).await {
                Ok(body) => load::from_scan(&name, &body),
                Err(error) => {
                    let what = format!("nodes/{name}/load.txt");
                    Known::Unknown(Gap::new(what, error.gap_reason(), error.to_string()))
                }
            };
            progress.step(&name);
            (name, loaded)
        }
    };
    let at_once = pods.options().max_parallel.max(1);
    let found = stream::iter(nodes.iter().cloned().map(ask)).buffer_unordered(at_once).collect();
    let found = found.await;
    progress.done();
    found
}

fn gap(node: &str, why: GapReason, detail: String) -> Gap {
    Gap::new(format!("nodes/{node}/endpoint.txt"), why, detail)
}
