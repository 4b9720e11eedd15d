//! The earlier run that a word means, on the cluster that is meant.

use crate::cli::{Failure, Kind};
use crate::cluster::Cluster;
use crate::execute::journal::{self, FindError, Run, RunState};
use crate::plan::ObjectRef;

use super::Session;
use super::change::internal;

/// Identity of the cluster: uid of namespace kube-system.
///
/// # Errors
/// When it cannot be read.
pub async fn cluster_uid(cluster: &Cluster) -> Result<String, Failure> {
    let object = ObjectRef {
        group: String::new(),
        version: "v1".to_owned(),
        plural: "namespaces".to_owned(),
        namespace: String::new(),
        name: "kube-system".to_owned(),
    };
    let found = cluster.get_json(&object).await.map_err(|error| {
        let hint = error.hint().unwrap_or(
            "reading namespace kube-system must be allowed: its uid identifies the cluster",
        );
        Failure::new(Kind::Access, error).hint(hint)
    })?;
    let uid = found.as_ref().and_then(|it| it.pointer("/metadata/uid")?.as_str());
    uid.filter(|uid| !uid.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(Kind::Access, "cannot tell which cluster this is"))
}

/// The run, which is of this cluster and does not go on at this moment.
///
/// # Errors
/// When there is none, it is of another cluster, or it goes on.
pub async fn find(session: &Session, cluster: &Cluster, word: &str) -> Result<Run, Failure> {
    let uid = cluster_uid(cluster).await?;
    let directory = journal::directory().map_err(internal)?;
    let run = journal::find(&directory, &uid, word).map_err(|error| {
        let list = format!("list the runs that are known here: {} runs", session.program);
        match &error {
            FindError::None(_) => Failure::new(Kind::NotFound, error).hint(format!(
                "without its journal nobody knows what a run did; what it left broken, {} fix finds by looking",
                session.program
            )).hint(list),
            FindError::NoneAtAll => Failure::new(Kind::NotFound, error),
            FindError::Several { .. } => Failure::new(Kind::Usage, error).hint(list),
            FindError::Io { .. } | FindError::Read(_) => Failure::new(Kind::Internal, error),
        }
    })?;
    let target = &run.recorded.plan.target;
    if target.cluster_uid != uid {
        let what = format!(
            "run {} was made for another cluster: context {}, {}",
            run.id(),
            target.context,
            target.server
        );
        let hint = format!("choose that cluster: --context={}", target.context);
        return Err(Failure::new(Kind::Refused, what).hint(hint));
    }
    if run.state() == RunState::Running {
        let what = format!("run {} goes on at this moment", run.id());
        return Err(Failure::new(Kind::Refused, what).hint("wait for it to end, then try again"));
    }
    Ok(run)
}
