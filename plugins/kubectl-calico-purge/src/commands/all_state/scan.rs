//! What is on the nodes: before, to plan by, and after, to judge by.

use common::cli::{Exit, Failure, Kind};
use common::node;
use common::node::pod::NodePods;
use common::residue::{
    Inventory, ResidueFacts, Scope, Surroundings, add_node_object, take_inventory,
};
use common::snapshot::Snapshot;
use common::verbs::Session;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::Request;

/// Residues that are named; more are counted.
const TOLD: usize = 20;

/// What is on each node, by name.
///
/// # Errors
/// When a node cannot be looked at: nothing can be removed there either.
pub(super) async fn all(
    session: &Session,
    pods: &NodePods,
    snapshot: &Snapshot,
    request: &Request<'_>,
) -> Result<Vec<(String, Inventory)>, Failure> {
    let at_once = pods.options().max_parallel.max(1);
    let scans = request.nodes.iter().map(|name| one(session, pods, snapshot, name));
    let found = stream::iter(scans).buffered(at_once).try_collect().await;
    session.printer.clear();
    found
}

async fn one(
    session: &Session,
    pods: &NodePods,
    snapshot: &Snapshot,
    name: &str,
) -> Result<(String, Inventory), Failure> {
    session.printer.live(&format!("  scanning {name}"));
    let scanned = async { node::scan(&pods.on(name).await?).await };
    let body = scanned.await.map_err(|error| {
        let hint = error.hint();
        let what = format!("{name} could not be looked at from its host: {error}");
        let mut failure = Failure::new(Kind::Access, what);
        failure.hints.extend(hint.map(str::to_owned));
        failure
    })?;
    let around = Surroundings::of(snapshot, name, Scope::AllState, &[]);
    let mut found = take_inventory(&ResidueFacts::from_scan(name, &body), &around);
    if let Some(node) = snapshot.nodes.items.iter().find(|it| it.metadata.name == name) {
        add_node_object(&mut found, node, Scope::AllState);
    }
    Ok((name.to_owned(), found))
}

/// What a look after the removal means, and how that is told.
pub(super) fn verdict(found: &[(String, Inventory)], program: &str) -> (Exit, String) {
    let mut lines = Vec::new();
    let mut exit = Exit::Good;
    for (node, it) in found {
        if it.is_clean() {
            lines.push(format!("{node}: nothing of Calico is left"));
            continue;
        }
        if !it.residues.is_empty() {
            exit = exit.or(Exit::Findings);
            let names: Vec<&str> =
                it.residues.iter().take(TOLD).map(|residue| residue.what.as_str()).collect();
            let more = it.residues.len().saturating_sub(TOLD);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            lines.push(format!("{node}: left: {}{more}", names.join(", ")));
        }
        for gap in &it.gaps {
            exit = exit.or(Exit::Incomplete);
            lines.push(format!("{node}: not seen: {}: {}", gap.what, gap.detail));
        }
    }
    if exit == Exit::Findings {
        lines.push(format!("run it again, or look closer: {program} leftovers NODE"));
    }
    (exit, lines.join("\n"))
}
