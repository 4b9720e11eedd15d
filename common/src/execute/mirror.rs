//! A copy of a run's journal in the cluster, for as long as the run is not done: so that it can be gone on with, or taken back,
//! from another machine than the one that was lost. The local journal is the truth; the copy is never ahead of it, and holds the
//! intent of a step before the step acts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::journal::{self, JournalError, Recorded, Run, RunState};
use crate::calico::names::{LEASE_NAMESPACE, MANAGED_BY, OURS};
use crate::cluster::{ApiError, Cluster, ListRequest, Patch, Write};
use crate::plan::{ObjectRef, PlanId, RunResult};
use crate::snapshot::Resource;

/// Label of the copies.
const LABEL: &str = "kubectl-calico/journal";
/// Label that names the run.
const RUN_LABEL: &str = "kubectl-calico/run";
/// Key of the text.
const KEY: &str = "journal.jsonl";
/// Bytes that are copied at most: an object holds 1 MiB.
const LARGEST: usize = 900 * 1024;

/// Why a journal was not copied.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The journal could not be read or written here.
    #[error("cannot copy the journal")]
    Io(#[from] io::Error),
    /// The API server refused.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// It is too large for an object.
    #[error("the journal is too large to be copied into the cluster: {0} bytes")]
    TooLarge(usize),
    /// There is no place for journals here.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

fn object(run: &str) -> ObjectRef {
    ObjectRef {
        group: String::new(),
        version: "v1".to_owned(),
        plural: "configmaps".to_owned(),
        namespace: LEASE_NAMESPACE.to_owned(),
        name: format!("kubectl-calico-journal-{}", run.to_ascii_lowercase()),
    }
}

/// Copies the journal at `path`, of this run.
///
/// # Errors
/// When it cannot be read, or the API server refuses.
pub(super) async fn write(
    cluster: &Cluster,
    run: &PlanId,
    path: &Path,
    write: Write<'_>,
) -> Result<(), MirrorError> {
    let text = fs::read_to_string(path)?;
    if text.len() > LARGEST {
        return Err(MirrorError::TooLarge(text.len()));
    }
    let object = object(&run.0);
    let data = json!({ "data": { KEY: text } });
    match cluster.patch(&object, Patch::Merge(&data), write).await {
        Err(ApiError::NotFound { .. }) => {}
        other => return Ok(other.map(drop)?),
    }
    let manifest = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": object.name, "namespace": object.namespace,
            "labels": { MANAGED_BY: OURS, LABEL: "true", RUN_LABEL: run.0 },
        },
        "data": data["data"],
    });
    Ok(cluster.create(&object, &manifest, write).await.map(drop)?)
}

/// Removes the copy of this run's journal; none there is as good.
///
/// # Errors
/// When the API server refuses.
pub async fn remove(cluster: &Cluster, run: &PlanId) -> Result<(), ApiError> {
    let object = object(&run.0);
    let Some(found) = cluster.get_json(&object).await? else { return Ok(()) };
    let uid = found.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
    match cluster.delete(&object, uid, false).await {
        Err(ApiError::NotFound { .. } | ApiError::Conflict { .. }) | Ok(()) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes the copies of runs that are over, as their journals on this machine tell: their processes died before they did.
///
/// # Errors
/// When copies cannot be listed, or one cannot be removed.
pub async fn remove_over(cluster: &Cluster) -> Result<(), MirrorError> {
    let directory = journal::directory()?;
    for copy in copies(cluster).await? {
        let run = run_of(&copy);
        let Some(path) = place(&directory, run) else { continue };
        if is_over(&path) {
            remove(cluster, &PlanId(run.to_owned())).await?;
        }
    }
    Ok(())
}

/// Whether nobody needs to go on with the run of this journal: one that failed may be gone on with from elsewhere.
fn is_over(path: &Path) -> bool {
    journal::read(path).is_ok_and(|recorded| needs_no_copy(recorded, path))
}

fn needs_no_copy(recorded: Recorded, path: &Path) -> bool {
    let run = Run { path: path.to_owned(), recorded };
    matches!(
        run.state(),
        RunState::Ended(RunResult::Done) | RunState::Undone | RunState::Superseded
    )
}

async fn copies(cluster: &Cluster) -> Result<Vec<Value>, ApiError> {
    let request = ListRequest {
        namespace: Some(LEASE_NAMESPACE.to_owned()),
        label_selector: Some(format!("{MANAGED_BY}={OURS},{LABEL}=true")),
        ..ListRequest::all(Resource::new("configmaps", ""), "v1")
    };
    cluster.list_as(&request).await
}

fn run_of(copy: &Value) -> &str {
    let run = copy.pointer("/metadata/labels/kubectl-calico~1run");
    run.and_then(Value::as_str).unwrap_or_default()
}

/// Writes the copies of runs that this machine has no journal of into the directory of journals. They are the answer.
///
/// # Errors
/// When copies cannot be listed, or written here.
pub async fn fetch(cluster: &Cluster) -> Result<Vec<PlanId>, MirrorError> {
    let directory = journal::directory()?;
    let mut fetched = Vec::new();
    for copy in copies(cluster).await? {
        let text = |path: &str| copy.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let run = run_of(&copy);
        let Some(path) = place(&directory, run) else { continue };
        if path.exists() {
            continue;
        }
        journal::adopt(&path, text(&format!("/data/{KEY}")).as_bytes())?;
        fetched.push(PlanId(run.to_owned()));
    }
    Ok(fetched)
}

/// Where the run's journal is; none for what is no run's id, and could lead anywhere.
fn place(directory: &Path, run: &str) -> Option<PathBuf> {
    let is_id = !run.is_empty() && run.chars().all(|it| it.is_ascii_alphanumeric());
    is_id.then(|| directory.join(format!("{run}.jsonl")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_that_came_to_an_end_needs_no_copy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("01A.jsonl");
        let at = jiff::Timestamp::UNIX_EPOCH;
        let target = crate::plan::Target {
            cluster_uid: "c".into(),
            context: "c".into(),
            cluster_name: "c".into(),
            server: "https://192.0.2.1".into(),
            user: "me".into(),
        };
        let plan = crate::plan::Plan {
            id: PlanId("01A".into()),
            made_by: "test".into(),
            target,
            taken: at,
            steps: vec![],
            left_out: vec![],
            max_failures: 1,
        };
        let mut run = journal::Journal::create(directory.path(), &plan, at).unwrap();
        assert!(!is_over(&path), "it goes on");
        let mut ends = |result| {
            run.write(&journal::Entry::End { at, result }).unwrap();
            let recorded = journal::Recorded { running: false, ..journal::read(&path).unwrap() };
            needs_no_copy(recorded, &path)
        };
        assert!(!ends(RunResult::Failed), "somebody may go on with it");
        assert!(ends(RunResult::Done));
    }

    #[test]
    fn a_copy_is_written_nowhere_but_among_the_journals() {
        let directory = Path::new("/state/runs");
        let path = place(directory, "01ABC").unwrap();
        assert_eq!(path, Path::new("/state/runs/01ABC.jsonl"));
        for run in ["", "../x", "a/b", "a.b", "x\0"] {
            assert_eq!(place(directory, run), None, "{run:?}");
        }
    }
}
