//! Writes the CNI plugin's kubeconfig with a fresh token, where calico-node cannot start and do it itself.
//!
//! The token lives for a day, and nobody renews it while calico-node does not run: the step says so.

use super::host_step::{HostStep, kubelet_answers, step};
use super::need::Need;
use super::{Case, restart_calico_node};
use crate::calico::names::CNI_KUBECONFIG_NAME;
use crate::plan::host::backup_path;
use crate::plan::{Condition, Expected, FileContent, HostOperation, Step};
use crate::snapshot::Snapshot;

/// Permissions that Calico's installer gives the file.
const MODE: u32 = 0o600;

pub(super) fn steps(case: &Case<'_>, need: &Need<'_>) -> Result<Vec<Step>, String> {
    kubelet_answers(case.snapshot, need.node)?;
    restart_calico_node::service_account_exists(case.snapshot, need)?;
    let install = case.snapshot.install.known().ok_or("how Calico is installed is not known")?;
    let path = format!("{}/{CNI_KUBECONFIG_NAME}", install.cni_config_dir);
    let operation = HostOperation::WriteFile {
        mode: MODE,
        content: FileContent::CniKubeconfig {
            server: server(case.snapshot, need.node)?,
            namespace: install.namespace.clone(),
            service_account: install.cni_service_account.clone(),
        },
        // What stands there is refused by the API server, whatever it is; it is kept.
        expected: Expected::Any,
        backup: backup_path(&path, case.run),
        path,
    };
    Ok(vec![step(
        case,
        need,
        HostStep {
            id: "renew-cni-kubeconfig",
            title: "write calico-kubeconfig with a token for 24 h, because calico-node cannot start,",
            operation,
            no_undo: "",
            verify: vec![Condition::CniCredentialsAccepted { node: need.node.to_owned() }],
        },
    )])
}

/// The API server as the node's CNI plugin reaches it: what the file says, else what the same file says elsewhere.
fn server(snapshot: &Snapshot, node: &str) -> Result<String, String> {
    let on = |node: &str| {
        let host = snapshot.host(node).known().copied()?;
        host.cni_kubeconfig.known()?.server.known().cloned()
    };
    let elsewhere = || snapshot.hosts.keys().find_map(|other| on(other));
    let server = on(node).or_else(elsewhere).ok_or(
        "the address of the API server is not known: no node could be asked for its calico-kubeconfig",
    )?;
    is_url(&server).then(|| server.clone()).ok_or_else(|| format!("{server:?} is no server's URL"))
}

/// The address is written into a file on the node: nothing but an address may go there.
fn is_url(text: &str) -> bool {
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '/');
    text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && rest.chars().all(is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_is_written() {
        for good in ["https://10.96.0.1:443", "https://[fd00::1]:443", "https://api.example:6443/"]
        {
            assert!(is_url(good), "{good}");
        }
        for bad in [
            "",
            "http://10.96.0.1",
            "https://",
            "https://a\nusers: []",
            "https://a b",
            "https://u@h",
        ] {
            assert!(!is_url(bad), "{bad:?}");
        }
    }
}
