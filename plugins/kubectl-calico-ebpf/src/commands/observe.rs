//! Looks at a cluster: what its requirements are judged by.

use std::collections::BTreeSet;

use common::bpf::Situation;
use common::cli::Failure;
use common::cluster::Cluster;
use common::collect::bpf::{nodes_to_ask, situation_of};
use common::collect::{Spinner, Want, Which};
use common::snapshot::Snapshot;
use common::verbs::{Session, look};

/// What a person sees while it takes time.
pub(crate) fn progress(session: &Session) -> Spinner {
    let stderr = session.printer.stderr;
    Spinner::new(stderr.is_terminal && !session.verbose, stderr.unicode)
}

/// Nodes, pods, and how Calico is installed.
///
/// # Errors
/// When the API server does not answer at all, or the user interrupts.
pub(crate) async fn snapshot(session: &Session, cluster: &Cluster) -> Result<Snapshot, Failure> {
    let want = Want { nodes: true, pods: true, install: true, ..Want::of([]) };
    look::snapshot(session, cluster, want).await
}

/// The nodes that are meant: of those that run Linux, these.
pub(crate) fn chosen(snapshot: &Snapshot, which: &Which) -> BTreeSet<String> {
    let all = nodes_to_ask(snapshot);
    match which {
        Which::Listed(names) => names.intersection(&all).cloned().collect(),
        Which::All | Which::Unreachable => all,
    }
}

/// Everything that the data plane depends on, of these nodes.
///
/// # Errors
/// When the user interrupts.
pub(crate) async fn situation<'a>(
    session: &Session,
    cluster: &Cluster,
    snapshot: &'a Snapshot,
    nodes: &BTreeSet<String>,
) -> Result<Situation<'a>, Failure> {
    let progress = progress(session);
    let looking = Box::pin(situation_of(cluster, snapshot, nodes, &progress));
    look::interruptible(looking).await
}
