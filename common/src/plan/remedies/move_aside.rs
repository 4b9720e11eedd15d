//! Renames another network plugin's configuration that the runtime reads before Calico's. Nothing is deleted.
//!
//! Pods that got their network from that other plugin meanwhile keep it, and nobody else reaches them: those whose address
//! lies in no pool of Calico are made anew by their owner.

use core::net::IpAddr;

use ipnet::IpNet;

use super::host_step::{HostStep, kubelet_answers, step};
use super::need::Need;
use super::{Case, recreate_pods};
use crate::plan::host::backup_path;
use crate::plan::{Condition, Expected, HostOperation, Step};
use crate::slim::Pod;
use crate::snapshot::{NetworkConfiguration, Snapshot};

pub(super) fn steps(case: &Case<'_>, need: &Need<'_>) -> Result<Vec<Step>, String> {
    kubelet_answers(case.snapshot, need.node)?;
    let install = case.snapshot.install.known().ok_or("how Calico is installed is not known")?;
    let foreign = before_calico(case.snapshot, need.node)?;
    let last = foreign.len().saturating_sub(1);
    let mut steps = Vec::new();
    for (index, file) in foreign.iter().enumerate() {
        let sha256 = file.sha256.known().ok_or_else(|| {
            format!("the hash of {} is not known, so it could be replaced unseen", file.file)
        })?;
        let path = format!("{}/{}", install.cni_config_dir, file.file);
        let operation = HostOperation::MoveAside {
            expected: Expected::Sha256(sha256.clone()),
            backup: backup_path(&path, case.run),
            path: path.clone(),
        };
        let node = || need.node.to_owned();
        let verify = if index == last {
            vec![
                Condition::CalicoConfigurationFirst { node: node() },
                Condition::NodeNetworkReady { node: node() },
            ]
        } else {
            vec![Condition::ConfigurationGone { node: node(), file: file.file.clone() }]
        };
        let id = format!("move-aside/{}", file.file);
        let title = format!("rename {path}, which is not Calico's and comes first,");
        steps.push(step(
            case,
            need,
            HostStep { id: &id, title: &title, operation, no_undo: "", verify },
        ));
    }
    steps.extend(strangers(case, need));
    Ok(steps)
}

/// The configurations that the runtime reads before Calico's.
fn before_calico<'a>(
    snapshot: &'a Snapshot,
    node: &str,
) -> Result<Vec<&'a NetworkConfiguration>, String> {
    let host = snapshot.host(node).known().copied();
    let files = host
        .and_then(|host| host.conflists.known())
        .ok_or("the node's CNI configurations are not known")?;
    let calico = files.iter().position(NetworkConfiguration::is_calico).ok_or(
        "Calico's own configuration is not there: without the other one there would be none",
    )?;
    let foreign: Vec<_> = files.iter().take(calico).filter(|file| !file.is_own()).collect();
    if foreign.is_empty() {
        Err("Calico's configuration comes first".to_owned())
    } else {
        Ok(foreign)
    }
}

/// A step for each pod on the node whose address is not Calico's. Those that nobody would make anew are left alone: the
/// verdict after the repair names them if they hang.
fn strangers(case: &Case<'_>, need: &Need<'_>) -> Vec<Step> {
    let pools = &case.snapshot.ip_pools;
    let cidrs: Vec<IpNet> = pools.items.iter().filter_map(|it| it.spec.cidr.parse().ok()).collect();
    // With a pool that makes no sense, or that could not be read, an address of Calico would look like a stranger's.
    if !pools.is_whole() || cidrs.is_empty() || cidrs.len() != pools.items.len() {
        return Vec::new();
    }
    let is_stranger = |pod: &&Pod| {
        pod.spec.node_name == need.node
            && !pod.spec.host_network
            && !pod.is_terminating()
            && !pod.is_finished()
            && pod
                .status
                .pod_ip
                .parse::<IpAddr>()
                .is_ok_and(|ip| !cidrs.iter().any(|it| it.contains(&ip)))
    };
    let pods = case.snapshot.pods.items.iter().filter(is_stranger);
    pods.filter_map(|pod| recreate_pods::of_pods(case, need, &[pod]).ok()).flatten().collect()
}
