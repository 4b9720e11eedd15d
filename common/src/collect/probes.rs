//! Probes of many nodes at once: through calico-node, and where that was asked for, from the host.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream::{self, StreamExt};

use super::merge::merge;
use super::nodes::{self, Target};
use super::{HostProbes, MissedHost, Progress};
use crate::cluster::{ApiError, Cluster};
use crate::node;
use crate::node::pod::NodePodError;
use crate::slim::Pod;
use crate::snapshot::{Extent, Gap, GapReason, Provenance, Record, RecordKey, Sink, Snapshot};

/// Nodes that are probed at once: each holds an exec stream through the API server.
const CONCURRENCY: usize = 16;

/// What came of one node's probe.
#[derive(Default)]
pub(super) struct ProbeAnswer {
    /// Its text.
    pub(super) text: Option<Record>,
    /// What is missing, and why.
    gaps: Vec<Gap>,
    /// The host that was to be looked at, and was not. Windows and virtual nodes have none.
    pub(super) missed: Option<MissedHost>,
}

impl ProbeAnswer {
    pub(super) fn pour(self, sink: &mut dyn Sink) {
        if let Some(record) = &self.text {
            sink.record(record);
        }
        for gap in self.gaps {
            sink.gap(gap);
        }
    }
}

/// A text, and the pod that gave it; or why there is none.
type Told = Result<(Vec<u8>, String), Gap>;

/// Probes the nodes that [`nodes`] picks, and those that are to be looked at from their host; the answers come by name
/// of the node.
pub(super) async fn run(
    cluster: &Cluster,
    seen: &Snapshot,
    hosts: Option<&HostProbes>,
    progress: &dyn Progress,
) -> Vec<ProbeAnswer> {
    let mut targets = nodes::targets(seen);
    for name in hosts.iter().flat_map(|hosts| hosts.listed()) {
        targets.entry(name.clone()).or_insert_with(|| nodes::target_of(seen, name));
    }
    progress.stage("looking at the nodes", Some(targets.len()));
    let kept = AtomicUsize::new(0);
    let ask = |(name, target): (String, Target<'_>)| {
        // The pod is copied, so that nothing borrowed lives in the stream.
        let pod = match target {
            Target::Through(pod) => Ok(pod.clone()),
            Target::NoPod(why) => Err(Gap::new(path(&name), GapReason::NotAsked, why)),
            Target::NotRunning(why) => Err(Gap::new(path(&name), GapReason::Unreachable, why)),
        };
        let kept = &kept;
        async move {
            let inside = match pod {
                Ok(pod) => through_calico_node(cluster, &name, &pod).await,
                Err(gap) => Err(gap),
            };
            let outside = match hosts {
                Some(hosts) if hosts.includes(&name, inside.is_ok()) => {
                    Some(from_host(hosts, &name, kept).await)
                }
                _ => None,
            };
            progress.step(&name);
            answer(cluster, &name, inside, outside)
        }
    };
    let at_once = hosts.map_or(CONCURRENCY, |hosts| hosts.pods.options().max_parallel.max(1));
    stream::iter(targets.into_iter().map(ask)).buffered(at_once).collect().await
}

fn answer(
    cluster: &Cluster,
    name: &str,
    inside: Told,
    outside: Option<Result<(Vec<u8>, String), NodePodError>>,
) -> ProbeAnswer {
    let mut gaps = Vec::new();
    let missed = match &outside {
        Some(Err(NodePodError::Unsuitable { .. }) | Ok(_)) | None => None,
        Some(Err(why)) => Some(MissedHost { node: name.to_owned(), why: why.clone() }),
    };
    let text = match (inside, outside) {
        (Ok((inside, agent)), Some(Ok((outside, pod)))) => {
            Some((merge(&inside, &outside), format!("{agent} and {pod}")))
        }
        (Err(_), Some(Ok(told))) => Some(told),
        (Ok(told), None) => Some(told),
        (Ok(told), Some(Err(error))) => {
            let what = format!("{}#host", path(name));
            gaps.push(Gap::new(what, error.gap_reason(), error.to_string()));
            Some(told)
        }
        (Err(gap), None) => {
            gaps.push(gap);
            None
        }
        (Err(gap), Some(Err(error))) => {
            let detail = format!("{error}; {}", gap.detail);
            gaps.push(Gap::new(path(name), error.gap_reason(), detail));
            None
        }
    };
    let text = text.map(|(body, from)| Record {
        key: RecordKey::Probe(name.to_owned()),
        body,
        at: cluster.now(),
        from: Provenance::Exec(from),
        extent: Extent::default(),
    });
    ProbeAnswer { text, gaps, missed }
}

async fn through_calico_node(cluster: &Cluster, name: &str, pod: &Pod) -> Told {
    match node::probe(cluster, pod).await {
        Ok(body) => Ok((body, pod.full_name())),
        Err(error) => Err(Gap::new(path(name), reason(&error), error.to_string())),
    }
}

async fn from_host(
    hosts: &HostProbes,
    name: &str,
    kept: &AtomicUsize,
) -> Result<(Vec<u8>, String), NodePodError> {
    let pod = hosts.pods.on(name).await?;
    let told = node::probe_host(&pod).await.map(|body| (body, pod.full_name()));
    let limit = hosts.pods.options().max_parallel;
    if !hosts.keep || kept.fetch_add(1, Ordering::Relaxed) >= limit {
        hosts.pods.release(name).await;
    }
    told
}

/// The API server passes on as plain text that it cannot reach the kubelet, or that the container is gone.
pub(super) fn reason(error: &ApiError) -> GapReason {
    match error {
        ApiError::Other { message, .. }
            if ["error dialing backend", "No agent available", "container not found"]
                .iter()
                .any(|text| message.contains(text)) =>
        {
            GapReason::Unreachable
        }
        // The pod went away between the list and the exec.
        ApiError::NotFound { .. } => GapReason::Unreachable,
        other => other.gap_reason(),
    }
}

fn path(node: &str) -> String {
    RecordKey::Probe(node.to_owned()).path()
}
