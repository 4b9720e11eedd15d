//! Whether a condition is met by what was seen. The executor looks, this decides: the same predicates as the checks'.

use std::collections::BTreeMap;

use jiff::Timestamp;

use serde_json::Value;

use super::lingering::{pods_ending, pods_gone, pods_stopped};
use super::{Aim, Condition, LingeringPod};
use crate::bpf::BpfFacts;
use crate::calico::credentials::{ClusterCredentials, Refusal, refusal};
use crate::residue::{ResidueFacts, still_there};
use crate::slim::{ContainerStatus, Node, Pod};
use crate::snapshot::{FileEntry, Gap, GapReason, HostFacts, Known};

/// What was seen of a node while a condition is waited for. What the condition does not need stays unknown.
#[derive(Clone, Debug)]
pub struct Observed {
    /// When it was seen.
    pub now: Timestamp,
    /// Every pod that is bound to the node, of all namespaces.
    pub pods: Known<Vec<Pod>>,
    /// The node.
    pub node: Known<Node>,
    /// What a probe saw on the node.
    pub host: Known<HostFacts>,
    /// The uid that the object has now; absent when there is none of its name.
    pub object_uid: Known<String>,
    /// The object as the API server shows it.
    pub object: Known<Value>,
    /// Those of the awaited pods that still exist.
    pub lingering: Known<Vec<LingeringPod>>,
    /// What the node's archive on this machine holds.
    pub backup: Known<BackupFacts>,
    /// What the scan for residues saw on the node.
    pub residues: Known<ResidueFacts>,
    /// What each node that runs calico-node shows of its data plane.
    pub data_planes: Known<BTreeMap<String, Known<BpfFacts>>>,
    /// What was logged last where something does not come, by node: of an eBPF data plane, of a pod that is not Ready.
    pub complaints: BTreeMap<String, String>,
    /// What the operator says of its state.
    pub operator: Known<Value>,
    /// How many objects of a proof are left.
    pub left_of_proof: Known<usize>,
    /// What of a change of IPAM is not done, for a person.
    pub left_of_ipam: Known<Vec<String>>,
    /// What the cluster accepts.
    pub credentials: ClusterCredentials,
}

/// What an archive on this machine holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupFacts {
    /// Number of its entries.
    pub entries: usize,
}

impl Observed {
    /// Nothing was looked at yet.
    pub fn nothing(now: Timestamp) -> Self {
        Self {
            now,
            pods: not_asked("cluster/pods.json"),
            node: not_asked("cluster/nodes.json"),
            host: not_asked("probe.txt"),
            object_uid: not_asked("object"),
            object: not_asked("object"),
            lingering: not_asked("cluster/pods.json"),
            backup: not_asked("backup"),
            residues: not_asked("residues.txt"),
            data_planes: not_asked("bpf.txt"),
            complaints: BTreeMap::new(),
            operator: not_asked("cluster/tigerastatuses.operator.tigera.io.json"),
            left_of_proof: not_asked("cluster/services.json"),
            left_of_ipam: not_asked("cluster/ipamblocks.crd.projectcalico.org.json"),
            credentials: ClusterCredentials {
                root_ca: not_asked("cluster/configmaps.json"),
                service_account_uid: not_asked("cluster/serviceaccounts.json"),
                key_ids: not_asked("cluster/api/openid-v1-jwks.json"),
            },
        }
    }
}

fn not_asked<T>(what: &str) -> Known<T> {
    Known::Unknown(Gap::new(what, GapReason::NotAsked, "not looked at"))
}

/// What was seen, held against a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is true.
    Met,
    /// It is not true, or could not be seen to be true; why, for a person.
    NotYet(String),
    /// What it depends on may not be read: waiting does not help, unless the server is just starting. Why, for a person.
    Forbidden(String),
    /// Waiting cannot make it true; why, for a person.
    Failed(String),
}

/// A freed pod that has its network but pulls a large image is fine after this many seconds: what it waits for is no
/// longer ours. Long enough for a pod whose image is on the node to be seen running.
const PULLING_SECONDS: i64 = 30;

/// Whether `condition` is met. What could not be seen never meets anything.
pub fn judge(condition: &Condition, seen: &Observed) -> Verdict {
    match condition {
        Condition::DaemonPodReady { namespace, daemon_set, node, old_uid } => {
            with(&seen.pods, "no pods are bound to the node", |pods| {
                let mine = |pod: &&Pod| is_of(pod, namespace, daemon_set, node);
                daemon_pod_ready(pods.iter().filter(mine), daemon_set, old_uid)
            })
        }
        Condition::CniCredentialsAccepted { .. } => {
            with(&seen.host, "the node cannot be probed", |host| credentials_accepted(host, seen))
        }
        Condition::NodeNetworkReady { node } => node_network_ready(node, seen),
        Condition::PodsSettled { pods: expected, .. } => {
            with(&seen.pods, "no pods are bound to the node", |pods| {
                let stuck: Vec<String> = expected
                    .iter()
                    .filter_map(|wanted| pods.iter().find(|pod| pod.metadata.uid == wanted.uid))
                    .filter_map(|pod| unsettled(pod, seen.now))
                    .collect();
                if stuck.is_empty() { Verdict::Met } else { Verdict::NotYet(first_few(&stuck)) }
            })
        }
        Condition::CniBinariesPresent { names, .. } => {
            of_host(seen, |host| binaries_present(host, names))
        }
        Condition::CalicoConfigurationFirst { .. } => of_host(seen, calico_first),
        Condition::ConfigurationGone { file, .. } => {
            of_host(seen, |host| configuration_gone(host, file))
        }
        Condition::SandboxesGone { ids, .. } => of_host(seen, |host| sandboxes_gone(host, ids)),
        Condition::ResiduesGone { ids, .. } => {
            with(&seen.residues, "the node cannot be scanned", |facts| residues_gone(facts, ids))
        }
        Condition::ObjectGone { uid, .. } => match &seen.object_uid {
            Known::Absent => Verdict::Met,
            Known::Known(now) if now != uid => Verdict::Met,
            Known::Known(_) => Verdict::NotYet("it is still there".to_owned()),
            Known::Unknown(gap) => unknown(gap),
        },
        Condition::Patched { uid, patch, .. } => with(&seen.object, "it is gone", |object| {
            if object.pointer("/metadata/uid").and_then(Value::as_str) != Some(uid) {
                return Verdict::Failed("another object has its name now".to_owned());
            }
            match patch.aim(object) {
                Aim::AlreadyRight => Verdict::Met,
                Aim::Ready(_) => Verdict::NotYet("it was not changed".to_owned()),
                Aim::Refused(why) => Verdict::NotYet(why),
            }
        }),
        Condition::PodsEnding { .. } => {
            with(&seen.lingering, "no pods were looked at", |left| pods_ending(left))
        }
        Condition::PodsStopped { at_most_seconds, .. } => {
            with(&seen.lingering, "no pods were looked at", |left| {
                pods_stopped(left, *at_most_seconds, seen.now)
            })
        }
        Condition::PodsGone { pods } => {
            with(&seen.lingering, "no pods were looked at", |left| pods_gone(pods.len(), left))
        }
        Condition::NodeSchedulable { is, .. } => {
            with(&seen.node, "the node no longer exists", |node| {
                match (node.spec.unschedulable != *is, is) {
                    (true, _) => Verdict::Met,
                    (false, true) => Verdict::NotYet("it is cordoned".to_owned()),
                    (false, false) => Verdict::NotYet("it is not cordoned".to_owned()),
                }
            })
        }
        Condition::BackedUp { .. } => {
            with(&seen.backup, "there is no archive", |backup| match backup.entries {
                0 => Verdict::Failed("the archive is empty".to_owned()),
                _ => Verdict::Met,
            })
        }
        Condition::IpamChanged { .. } => {
            with(&seen.left_of_ipam, "nothing was looked at", |left| match left.as_slice() {
                [] => Verdict::Met,
                left => Verdict::NotYet(first_few(left)),
            })
        }
        Condition::RolledOut { .. }
        | Condition::EndpointInUse { .. }
        | Condition::OnDataPlane { .. }
        | Condition::KubeProxyRulesGone { .. }
        | Condition::KubeProxyRulesKept { .. }
        | Condition::NoPods { .. }
        | Condition::ProofCleared { .. } => super::ebpf::judge::judge(condition, seen)
            .unwrap_or_else(|| Verdict::NotYet("nobody can tell".to_owned())),
    }
}

/// Judges a known fact; an absent or unknown one is not yet good enough.
pub(super) fn with<T>(fact: &Known<T>, absent: &str, judge: impl FnOnce(&T) -> Verdict) -> Verdict {
    match fact {
        Known::Known(value) => judge(value),
        Known::Absent => Verdict::NotYet(absent.to_owned()),
        Known::Unknown(gap) => unknown(gap),
    }
}

pub(super) fn unknown(gap: &Gap) -> Verdict {
    let unseen = format!("{} could not be read: {}", gap.what, gap.detail);
    match gap.why {
        GapReason::Forbidden => Verdict::Forbidden(unseen),
        _ => Verdict::NotYet(unseen),
    }
}

fn is_of(pod: &Pod, namespace: &str, daemon_set: &str, node: &str) -> bool {
    pod.metadata.namespace == namespace
        && pod.spec.node_name == node
        && pod
            .metadata
            .controller()
            .is_some_and(|owner| owner.kind == "DaemonSet" && owner.name == daemon_set)
}

fn daemon_pod_ready<'a>(
    pods: impl Iterator<Item = &'a Pod>,
    daemon_set: &str,
    old_uid: &str,
) -> Verdict {
    let (mut old, mut new) = (None, None);
    for pod in pods {
        if pod.metadata.uid == old_uid {
            old = Some(pod);
        } else if !pod.is_terminating() {
            new = Some(pod);
        }
    }
    match (new, old) {
        (Some(pod), _) if pod.is_ready() => Verdict::Met,
        (Some(pod), _) => {
            Verdict::NotYet(format!("{} is not Ready: {}", pod.full_name(), waits_for(pod)))
        }
        (None, Some(pod)) => Verdict::NotYet(format!("{} is still there", pod.full_name())),
        (None, None) => Verdict::NotYet(format!("{daemon_set} has no new pod on the node yet")),
    }
}

/// What the pod's containers wait for, most telling first.
fn waits_for(pod: &Pod) -> String {
    let statuses = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
    let mut waiting = statuses.filter_map(|status| {
        let waiting = status.state.waiting.as_ref()?;
        (!waiting.reason.is_empty()).then(|| format!("{} {}", status.name, waiting.reason))
    });
    waiting.next().unwrap_or_else(|| match pod.status.phase.as_str() {
        "" => "its phase is not known".to_owned(),
        phase => format!("its phase is {phase}"),
    })
}

fn credentials_accepted(host: &HostFacts, seen: &Observed) -> Verdict {
    with(&host.cni_kubeconfig, "there is no calico-kubeconfig on the node", |file| {
        match refusal(file, &seen.credentials, seen.now) {
            Known::Absent => Verdict::Met,
            Known::Unknown(gap) => unknown(&gap),
            // calico-node asks for a token of this ServiceAccount: while there is none, no restart can help.
            Known::Known(Refusal::ServiceAccountRecreated { live: None, .. }) => {
                Verdict::Failed("the CNI plugin's ServiceAccount does not exist".to_owned())
            }
            Known::Known(refusal) => Verdict::NotYet(refusal.to_string()),
        }
    })
}

fn node_network_ready(name: &str, seen: &Observed) -> Verdict {
    let node = match &seen.node {
        Known::Known(node) => node,
        Known::Absent => return Verdict::Failed(format!("node {name} no longer exists")),
        Known::Unknown(gap) => return unknown(gap),
    };
    match node.condition("Ready") {
        Some(ready) if ready.status == "True" => {}
        Some(ready) => {
            let why = if ready.message.is_empty() { &ready.reason } else { &ready.message };
            return Verdict::NotYet(format!("the node is not Ready: {why}"));
        }
        None => return Verdict::NotYet("the node reports no condition Ready".to_owned()),
    }
    with(&seen.host, "the node cannot be probed", |host| {
        with(&host.cni_config_dir, "there is no CNI configuration directory", |files| {
            if files.iter().any(|file| file.size > 0 && is_calico_configuration(&file.name)) {
                Verdict::Met
            } else {
                Verdict::NotYet("no CNI configuration of Calico on the node".to_owned())
            }
        })
    })
}

fn of_host(seen: &Observed, judge: impl FnOnce(&HostFacts) -> Verdict) -> Verdict {
    with(&seen.host, "the node cannot be probed", judge)
}

fn binaries_present(host: &HostFacts, names: &[String]) -> Verdict {
    with(&host.cni_bin_dir, "there is no CNI plugin directory", |files| {
        let is_there = |name: &str| files.iter().any(|it| it.name == name && it.size > 0);
        match names.iter().find(|name| !is_there(name)) {
            None => Verdict::Met,
            Some(name) => Verdict::NotYet(format!("{name} is not in the CNI plugin directory")),
        }
    })
}

/// Runtimes read the first file, by name, that is a network configuration.
fn calico_first(host: &HostFacts) -> Verdict {
    with(&host.conflists, "there is no CNI configuration directory", |files| match files.first() {
        Some(first) if first.is_calico() => Verdict::Met,
        Some(first) => {
            Verdict::NotYet(format!("{} comes before Calico's configuration", first.file))
        }
        None => Verdict::NotYet("there is no CNI configuration".to_owned()),
    })
}

fn configuration_gone(host: &HostFacts, name: &str) -> Verdict {
    // What we leave beside a plugin has a name of its own, so that one answer does for both directories.
    let beside_plugins = host.cni_bin_dir.known().is_some_and(|files| is_in(files, name));
    with(&host.cni_config_dir, "there is no CNI configuration directory", |files| {
        if beside_plugins || is_in(files, name) {
            Verdict::NotYet(format!("{name} is still there"))
        } else {
            Verdict::Met
        }
    })
}

fn is_in(files: &[FileEntry], name: &str) -> bool {
    files.iter().any(|file| file.name == name)
}

fn sandboxes_gone(host: &HostFacts, ids: &[String]) -> Verdict {
    with(&host.sandboxes, "the runtime lists no sandboxes", |sandboxes| {
        let left = sandboxes.iter().filter(|it| ids.contains(&it.id)).count();
        match left {
            0 => Verdict::Met,
            left => Verdict::NotYet(format!("{left} of {} sandboxes are still there", ids.len())),
        }
    })
}

fn residues_gone(facts: &ResidueFacts, ids: &[String]) -> Verdict {
    match still_there(facts, ids) {
        Known::Known(left) => Verdict::NotYet(format!("still there: {}", first_few(&left))),
        Known::Absent => Verdict::Met,
        Known::Unknown(gap) => unknown(&gap),
    }
}

/// `10-calico.conflist`, `10-canal.conflist`, or what older manifests called them; never `calico-kubeconfig`.
fn is_calico_configuration(name: &str) -> bool {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    matches!(extension, "conflist" | "conf") && (stem.contains("calico") || stem.contains("canal"))
}

/// Why the pod still hangs; none when it runs, has finished, or waits for something that is not its network.
fn unsettled(pod: &Pod, now: Timestamp) -> Option<String> {
    let name = pod.full_name();
    if pod.is_terminating() {
        return Some(format!("{name} is still Terminating"));
    }
    if pod.is_finished() {
        return None;
    }
    let sandbox = pod.condition("PodReadyToStartContainers");
    if sandbox.is_some_and(|it| it.status != "True") {
        return Some(format!("{name} has no network yet: {}", waits_for(pod)));
    }
    let statuses =
        || pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
    if statuses().any(is_past_creation) {
        return None;
    }
    let since = sandbox.and_then(|it| it.last_transition_time);
    if since.is_some_and(|since| now.as_second() - since.as_second() >= PULLING_SECONDS) {
        return None;
    }
    Some(format!("{name} does not run yet: {}", waits_for(pod)))
}

/// True when the container got as far as only a pod with a network gets.
fn is_past_creation(status: &ContainerStatus) -> bool {
    let waits_elsewhere = |reason: &str| {
        !matches!(reason, "" | "ContainerCreating" | "PodInitializing" | "ContainerStatusUnknown")
    };
    status.state.running.is_some()
        || status.state.waiting.as_ref().is_some_and(|it| waits_elsewhere(&it.reason))
}

/// The first three, and how many more.
pub(super) fn first_few(reasons: &[String]) -> String {
    let shown = reasons.iter().take(3).map(String::as_str).collect::<Vec<_>>().join("; ");
    match reasons.len().saturating_sub(3) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
