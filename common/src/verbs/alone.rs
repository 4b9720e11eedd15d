//! Whether another run changes the cluster, asked before anything is measured or planned. It is no lock: the Lease is taken
//! later, and keeps two runs apart that ask at the same moment.

use crate::cli::{Failure, Kind};
use crate::cluster::Cluster;
use crate::execute::journal;
use crate::execute::lease::{self, ClusterLease};

use super::Session;
use super::change::internal;
use super::earlier::cluster_uid;

/// Refuses while another run goes on, of this machine or of another one. What cannot be read refuses nothing here.
///
/// # Errors
/// When there is such a run, or the cluster or the journals cannot be read.
pub async fn must_be(session: &Session, cluster: &Cluster) -> Result<(), Failure> {
    let uid = cluster_uid(cluster).await?;
    let directory = journal::directory().map_err(internal)?;
    let runs = journal::unfinished_runs(&directory, &uid)?;
    if let Some(run) = runs.iter().find(|run| run.running) {
        let what = format!(
            "nothing was changed, because another run is changing this cluster from this machine: run {}",
            run.plan
        );
        return Err(refused(what));
    }
    let store = ClusterLease::new(cluster, session.plugin);
    let is_dead = |run: &crate::plan::PlanId| journal::is_dead(&directory, run);
    match lease::held(&store, is_dead).await {
        Ok(()) => Ok(()),
        Err(error @ lease::LeaseError::Held { .. }) => {
            Err(refused(format!("nothing was changed, because {error}")))
        }
        // The one who takes it says why it cannot be had.
        Err(_) => Ok(()),
    }
}

fn refused(what: String) -> Failure {
    Failure::new(Kind::Refused, what)
        .hint("wait for it to end, then try again; what a run that died left expires within 30 s")
}
