//! Copies Calico's CNI binaries to a node where calico-node cannot start and do it itself.
//!
//! They come from Calico's own image if the node still has it, else from the release archive that `download` keeps.

use super::Case;
use super::host_step::{HostStep, kubelet_answers, step};
use super::need::Need;
use crate::calico::names::{CNI_BIN_DIR, CNI_BINARIES};
use crate::plan::host::backup_path;
use crate::plan::{BinarySource, Condition, Expected, FileContent, HostOperation, Step};
use crate::slim::Node;
use crate::snapshot::{Install, Snapshot};

/// Permissions that Calico's installer gives them.
const MODE: u32 = 0o755;
/// Repository of the image that holds them, up to v3.32.
const CNI_IMAGE: &str = "calico/cni";

/// Why a container waits whose image the kubelet could not get.
const PULL_FAILURES: [&str; 3] = ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"];

pub(super) fn steps(case: &Case<'_>, need: &Need<'_>) -> Result<Vec<Step>, String> {
    kubelet_answers(case.snapshot, need.node)?;
    let install = case.snapshot.install.known().ok_or("how Calico is installed is not known")?;
    let nodes = &case.snapshot.nodes.items;
    let node = nodes
        .iter()
        .find(|it| it.metadata.name == need.node)
        .ok_or("the node could not be read, so its images are not known")?;
    let gone = images_that_are_gone(case.snapshot, need.node);
    let mut steps = Vec::new();
    for name in CNI_BINARIES.into_iter().filter(|name| !is_there(case.snapshot, need.node, name)) {
        let source = source(node, install, name, &gone)?;
        let title = match &source {
            BinarySource::Image { .. } => format!("copy {name} from Calico's image"),
            BinarySource::Release { version, .. } => {
                format!("copy {name} from the release archive of Calico {version}")
            }
        };
        steps.push(binary(case, need, install, name, &title, source));
    }
    if steps.is_empty() { Err("both binaries are there".to_owned()) } else { Ok(steps) }
}

fn binary(
    case: &Case<'_>,
    need: &Need<'_>,
    install: &Install,
    name: &str,
    title: &str,
    source: BinarySource,
) -> Step {
    let path = format!("{}/{name}", install.cni_bin_dir);
    let host = case.snapshot.host(need.node);
    let is_listed = host.known().is_some_and(|it| it.cni_bin_dir.known().is_some());
    let operation = HostOperation::WriteFile {
        mode: MODE,
        content: FileContent::Binary { name: name.to_owned(), source },
        // Seen to be missing: what stands there by now, somebody else has just put there. Else it is kept as a backup.
        expected: if is_listed { Expected::Absent } else { Expected::Any },
        backup: backup_path(&path, case.run),
        path,
    };
    let id = format!("restore-binaries/{name}");
    let present =
        Condition::CniBinariesPresent { node: need.node.to_owned(), names: vec![name.to_owned()] };
    step(case, need, HostStep { id: &id, title, operation, no_undo: "", verify: vec![present] })
}

/// True when a listing of the host shows it; without one, both are written.
fn is_there(snapshot: &Snapshot, node: &str, name: &str) -> bool {
    snapshot.host(node).known().is_some_and(|host| host.binary(name).known().is_some())
}

/// Images that the kubelet has just looked for in vain. A node's status lists them for minutes after they went.
fn images_that_are_gone<'a>(snapshot: &'a Snapshot, node: &str) -> Vec<&'a str> {
    let Some(pod) = snapshot.calico_node_on(node) else { return Vec::new() };
    let status = &pod.status;
    let statuses = status.init_container_statuses.iter().chain(&status.container_statuses);
    let failed: Vec<&str> = statuses
        .filter(|it| {
            let waiting = it.state.waiting.as_ref();
            waiting.is_some_and(|waiting| PULL_FAILURES.contains(&waiting.reason.as_str()))
        })
        .map(|it| it.name.as_str())
        .collect();
    let containers = pod.spec.init_containers.iter().chain(&pod.spec.containers);
    containers
        .filter(|it| failed.contains(&it.name.as_str()))
        .map(|it| it.image.as_str())
        .filter(|image| !image.is_empty())
        .collect()
}

fn source(
    node: &Node,
    install: &Install,
    name: &str,
    gone: &[&str],
) -> Result<BinarySource, String> {
    let of_cni = |image: &&String| {
        let repository = image.split('@').next().unwrap_or_default();
        let (repository, tag) = repository.rsplit_once(':').unwrap_or((repository, ""));
        let is_cni = repository == CNI_IMAGE || repository.ends_with(&format!("/{CNI_IMAGE}"));
        // Binaries of another release than calico-node's are worse than none.
        let is_gone = gone.iter().any(|it| image.ends_with(it));
        is_cni && !is_gone && install.version.as_deref().is_none_or(|version| version == tag)
    };
    if let Some(image) = node.status.images.iter().flat_map(|it| &it.names).find(of_cni) {
        let path = format!("{CNI_BIN_DIR}/{name}");
        return Ok(BinarySource::Image { image: image.clone(), path });
    }
    let version = install.version.clone().ok_or("the version of Calico is not known")?;
    let architecture = node.status.node_info.architecture.clone();
    if architecture.is_empty() {
        return Err("the node's architecture is not known".to_owned());
    }
    Ok(BinarySource::Release { version, architecture })
}
