//! Proves that Services answer: a new one, which no stale rule of anybody can serve, and those that answered before; from every
//! node's host and from a pod on it.
//!
//! The new Service leads to the API server itself, so that nothing but a Service has to be made for it. All that is made is gone
//! when this returns; what a killed run leaves is found by its labels.

mod measure;
mod objects;
mod round;
mod stage;
mod translated;

use std::time::Duration;

use super::cluster_operations::unread;
use super::{PerformError, Performed, Underway};
use crate::cluster::{Cluster, Write};
use crate::plan::ebpf::{ServiceProof, Translator};
pub use measure::{Measured, measure};
use objects::Maker;
pub(super) use objects::left;
use stage::Stage;

/// Time between two rounds of asking.
const POLL: Duration = Duration::from_secs(1);

/// Proves it, or says what does not answer when the time is over.
pub(super) async fn prove(
    cluster: &Cluster,
    proof: &ServiceProof,
    write: Write<'_>,
    underway: &Underway<'_>,
) -> Result<Performed, PerformError> {
    let namespace = proof.agent.namespace.as_str();
    let maker = Maker { cluster, namespace, run: &proof.run, write };
    let rejected = |error: crate::cluster::ApiError| unread(&error);
    // An earlier attempt of this run may have been killed.
    maker.clear().await.map_err(rejected)?;
    let ended = asked(&maker, proof, underway).await;
    match (maker.clear().await, ended) {
        (Err(error), Ok(_)) => Err(rejected(error)),
        (_, ended) => ended,
    }
}

async fn asked(
    maker: &Maker<'_>,
    proof: &ServiceProof,
    underway: &Underway<'_>,
) -> Result<Performed, PerformError> {
    let within = Duration::from_secs(proof.within_seconds);
    let began = std::time::Instant::now();
    let stage = Stage::open(maker, &proof.agent, true, within).await;
    let stage = stage.map_err(PerformError::Rejected)?;
    let mut open = stage.demands(proof);
    loop {
        let mut complaints = stage.round(&mut open).await;
        if proof.by != Translator::Any {
            complaints.extend(translated::complaints(&stage, proof.by).await);
        }
        if complaints.is_empty() {
            return Ok(Performed::Acted);
        }
        if underway.stop().is_requested() {
            return Err(PerformError::Stopped("the proof was given up".to_owned()));
        }
        if began.elapsed() >= within {
            let seconds = proof.within_seconds;
            return Err(PerformError::Rejected(format!(
                "after {seconds} s {}",
                first_few(&complaints)
            )));
        }
        underway.tell(first_few(&complaints));
        tokio::time::sleep(POLL).await;
    }
}

/// Removes what a measurement that was given up left.
///
/// # Errors
/// When something cannot be listed or deleted.
pub async fn clear_proof(
    cluster: &Cluster,
    namespace: &str,
    run: &crate::plan::PlanId,
    field_manager: &str,
) -> Result<(), crate::cluster::ApiError> {
    Maker { cluster, namespace, run: &run.0, write: Write::by(field_manager) }.clear().await
}

fn first_few(complaints: &[String]) -> String {
    let shown: Vec<&str> = complaints.iter().take(3).map(String::as_str).collect();
    match complaints.len().saturating_sub(3) {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}
