//! Removes files of ours that an earlier run left on a host. Pods and Leases are deleted by the verb `sweep`, which needs
//! no plan for that.

use super::Case;
use super::host_step::{HostStep, kubelet_answers, step};
use super::need::Need;
use crate::findings::SubjectKind;
use crate::plan::{Condition, Expected, HostOperation, Step};

pub(super) fn steps(case: &Case<'_>, need: &Need<'_>) -> Result<Vec<Step>, String> {
    let files = files(need);
    if files.is_empty() {
        return Err("`sweep` deletes it".to_owned());
    }
    kubelet_answers(case.snapshot, need.node)?;
    Ok(files
        .into_iter()
        .map(|path| {
            let name = path.rsplit('/').next().unwrap_or(path).to_owned();
            let operation =
                HostOperation::RemoveFile { path: path.to_owned(), expected: Expected::Any };
            let id = format!("sweep/{name}");
            let title = format!("remove {path}, which an earlier run left,");
            step(
                case,
                need,
                HostStep {
                    id: &id,
                    title: &title,
                    operation,
                    no_undo: "it is ours and nobody needs it",
                    verify: vec![Condition::ConfigurationGone {
                        node: need.node.to_owned(),
                        file: name,
                    }],
                },
            )
        })
        .collect())
}

/// Paths on the node that the findings name, as `File/<node>/<path>`. Copies that `undo` needs are never removed, and
/// nothing that is not called as our files are.
fn files<'a>(need: &Need<'a>) -> Vec<&'a str> {
    let prefix = format!("File/{}/", need.node);
    let is_ours = |path: &&str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        let ending = name.rsplit_once('.').map(|(_, ending)| ending);
        let is_temporary = name.contains(".kubectl-calico-") && ending == Some("tmp");
        (name.starts_with("00-kubectl-calico-") || is_temporary) && ending != Some("bak")
    };
    let mut files: Vec<&str> = need
        .causes
        .iter()
        .filter(|finding| finding.subject.kind == SubjectKind::Object)
        .flat_map(|finding| &finding.subject.names)
        .filter(|name| name.starts_with(&prefix))
        .map(|name| &name[prefix.len() - 1..])
        .filter(is_ours)
        .collect();
    files.sort_unstable();
    files.dedup();
    files
}
