//! Writes Calico's conflist on a node where calico-node cannot start and do it itself: as it stands on another node of the
//! same install, with this node's name.

use serde_json::Value;

use super::Case;
use super::host_step::{HostStep, kubelet_answers, step};
use super::need::Need;
use crate::plan::host::backup_path;
use crate::plan::{Condition, Expected, FileContent, HostOperation, Step};
use crate::snapshot::{HostFacts, NetworkConfiguration, REDACTED, Snapshot};

/// Permissions that Calico's installer gives the file.
const MODE: u32 = 0o600;
/// What the probe writes in place of a secret.
const BLANKED: &str = "blanked";

pub(super) fn steps(case: &Case<'_>, need: &Need<'_>) -> Result<Vec<Step>, String> {
    kubelet_answers(case.snapshot, need.node)?;
    let install = case.snapshot.install.known().ok_or("how Calico is installed is not known")?;
    let (name, text) = model(case.snapshot, need.node)
        .ok_or("no other node's conflist could be read to take it from")?;
    let path = format!("{}/{name}", install.cni_config_dir);
    let operation = HostOperation::WriteFile {
        mode: MODE,
        content: FileContent::Text { text },
        expected: expected(case.snapshot, need.node, &name),
        backup: backup_path(&path, case.run),
        path,
    };
    let node = || need.node.to_owned();
    Ok(vec![step(
        case,
        need,
        HostStep {
            id: "restore-conflist",
            title: "write Calico's conflist, as it stands on other nodes,",
            operation,
            no_undo: "",
            verify: vec![
                Condition::CalicoConfigurationFirst { node: node() },
                Condition::NodeNetworkReady { node: node() },
            ],
        },
    )])
}

/// Name and content of the conflist, made from that of the first other node, by name, that has a sound one.
fn model(snapshot: &Snapshot, node: &str) -> Option<(String, String)> {
    let others = snapshot.hosts.iter().filter(|(name, _)| name.as_str() != node);
    others.filter_map(|(_, host)| host.known()).find_map(|host| {
        let file = host.conflists.known()?.iter().find(|it| is_sound(it))?;
        let text = content(host, &file.file)?;
        Some((file.file.clone(), for_node(&text, node)?))
    })
}

fn is_sound(file: &NetworkConfiguration) -> bool {
    file.is_calico() && file.problem.is_none() && file.placeholders.is_empty()
}

/// The file as the probe shows it; none when something in it was blanked.
fn content(host: &HostFacts, file: &str) -> Option<String> {
    let section = host.sections.get(&format!("conf-{file}"))?;
    let is_whole =
        section.rc == 0 && !section.text.contains(BLANKED) && !section.text.contains(REDACTED);
    is_whole.then(|| section.text.clone())
}

/// The same for another node: the name that Calico finds its node by is the only thing in it that differs.
fn for_node(text: &str, node: &str) -> Option<String> {
    let mut value: Value = serde_json::from_str(text).ok()?;
    let plugins = value.get_mut("plugins")?.as_array_mut()?;
    let calico = plugins.iter_mut().find(|it| it["type"] == "calico")?.as_object_mut()?;
    calico.insert("nodename".to_owned(), Value::from(node));
    Some(serde_json::to_string_pretty(&value).ok()? + "\n")
}

/// What was seen to stand there; it is kept as a backup.
fn expected(snapshot: &Snapshot, node: &str, name: &str) -> Expected {
    let Some(host) = snapshot.host(node).known().copied() else { return Expected::Any };
    let Some(files) = host.cni_config_dir.known() else { return Expected::Any };
    if !files.iter().any(|it| it.name == name) {
        return Expected::Absent;
    }
    let sha256 = host.conflists.known().and_then(|all| {
        all.iter().find(|it| it.file == name).and_then(|it| it.sha256.known()).cloned()
    });
    sha256.map_or(Expected::Any, Expected::Sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_nodes_name_differs() {
        let text = r#"{"name":"k8s-pod-network","plugins":[{"type":"calico","nodename":"node1","mtu":0},{"type":"portmap"}]}"#;
        let value: Value = serde_json::from_str(&for_node(text, "node2").unwrap()).unwrap();
        let mut expected: Value = serde_json::from_str(text).unwrap();
        expected["plugins"][0]["nodename"] = Value::from("node2");
        assert_eq!(value, expected);
        for bad in ["", "{}", r#"{"plugins":[{"type":"flannel"}]}"#] {
            assert_eq!(for_node(bad, "node2"), None, "{bad}");
        }
    }
}
