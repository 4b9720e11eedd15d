//! Whether the user may do what is planned, asked before anything is changed.

use std::collections::BTreeSet;

use crate::cli::{Failure, Kind};
use crate::cluster::{Cluster, Question};
use crate::execute::rights;
use crate::plan::{Plan, Step};

use super::Session;

/// Rights that are named; more are counted.
const TOLD: usize = 5;

/// Refuses a plan for whose steps a right is missing.
///
/// # Errors
/// When the API server denies one; nothing was changed.
pub async fn to_do(session: &Session, cluster: &Cluster, plan: &Plan) -> Result<(), Failure> {
    all(session, cluster, rights::of_steps(&plan.steps)).await
}

/// The same for taking these steps back.
///
/// # Errors
/// When the API server denies a right; nothing was changed.
pub async fn to_take_back(
    session: &Session,
    cluster: &Cluster,
    steps: &[&Step],
) -> Result<(), Failure> {
    all(session, cluster, rights::of_undoing(steps.iter().copied())).await
}

async fn all(
    session: &Session,
    cluster: &Cluster,
    wanted: BTreeSet<Question>,
) -> Result<(), Failure> {
    let denied = rights::denied(cluster, wanted).await;
    if denied.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = denied.iter().take(TOLD).map(ToString::to_string).collect();
    let more = match denied.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let what = format!("nothing was changed, because you may not {}{more}", named.join(", "));
    Err(Failure::new(Kind::Incomplete, what).hint(format!(
        "ask for the role that --print-rbac prints for this verb of {}",
        session.program
    )))
}
