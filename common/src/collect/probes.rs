//! Probes of many nodes at once.

use futures::stream::{self, StreamExt};

use super::Progress;
use super::nodes::{self, Target};
use crate::cluster::{ApiError, Cluster};
use crate::node;
use crate::slim::Pod;
use crate::snapshot::{Extent, Gap, GapReason, Provenance, Record, RecordKey, Sink, Snapshot};

/// Nodes that are probed at once: each holds an exec stream through the API server.
const CONCURRENCY: usize = 16;

/// What came of one node's probe.
pub(super) enum ProbeAnswer {
    /// Its text.
    Text(Record),
    /// Why there is none.
    Nothing(Gap),
}

impl ProbeAnswer {
    pub(super) fn pour(self, sink: &mut dyn Sink) {
        match self {
            Self::Text(record) => sink.record(&record),
            Self::Nothing(gap) => sink.gap(gap),
        }
    }
}

/// Probes the nodes that [`nodes`] picks; the answers come by name of the node.
pub(super) async fn run(
    cluster: &Cluster,
    seen: &Snapshot,
    progress: &dyn Progress,
) -> Vec<ProbeAnswer> {
    let targets = nodes::targets(seen);
    progress.stage("looking at the nodes", Some(targets.len()));
    let ask = |(name, target): (String, Target<'_>)| {
        // The pod is copied, so that nothing borrowed lives in the stream.
        let pod = match target {
            Target::Through(pod) => Ok(pod.clone()),
            Target::NoPod(why) => Err(Gap::new(path(&name), GapReason::NotAsked, why)),
            Target::NotRunning(why) => Err(Gap::new(path(&name), GapReason::Unreachable, why)),
        };
        async move {
            let answer = match pod {
                Ok(pod) => one(cluster, &name, &pod).await,
                Err(gap) => ProbeAnswer::Nothing(gap),
            };
            progress.step(&name);
            answer
        }
    };
    stream::iter(targets.into_iter().map(ask)).buffered(CONCURRENCY).collect().await
}

async fn one(cluster: &Cluster, name: &str, pod: &Pod) -> ProbeAnswer {
    match node::probe(cluster, pod).await {
        Ok(body) => ProbeAnswer::Text(Record {
            key: RecordKey::Probe(name.to_owned()),
            body,
            at: cluster.now(),
            from: Provenance::Exec(pod.full_name()),
            extent: Extent::default(),
        }),
        Err(error) => ProbeAnswer::Nothing(Gap::new(path(name), reason(&error), error.to_string())),
    }
}

/// The API server passes on as plain text that it cannot reach the kubelet, or that the container is gone.
fn reason(error: &ApiError) -> GapReason {
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
