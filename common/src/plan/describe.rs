//! One line for every part of a plan: what the printed plan, the progress line and the journal's errors say.

use crate::calico::credentials::short;

use super::ebpf::words;
use super::ipam::words as ipam;
use super::{
    Action, Condition, FileContent, Guard, HostOperation, JsonPatch, ObjectRef, PatchOperation,
    Undo, Verification,
};

/// `pod kube-system/calico-node-5frw8`
pub fn object(object: &ObjectRef) -> String {
    let kind = kind(&object.plural);
    if object.namespace.is_empty() {
        format!("{kind} {}", object.name)
    } else {
        format!("{kind} {}/{}", object.namespace, object.name)
    }
}

/// What an action is about, one line each, where one sentence cannot hold it.
pub fn details(action: &Action) -> Vec<String> {
    match action {
        Action::Ipam { change } => ipam::details(change),
        _ => Vec::new(),
    }
}

/// What the action does, imperative: `delete pod kube-system/calico-node-5frw8`.
pub fn action(action: &Action) -> String {
    match action {
        Action::Delete { object: it, .. } => format!("delete {}", object(it)),
        Action::OnHost { node, operation: it } => format!("{} on {node}", operation(it)),
        Action::Patch { object: it, patch, .. } => changes(it, patch),
        Action::Evict { pods, .. } => format!("evict {}", counted(pods.len(), "pod")),
        Action::DeletePods { pods, grace_seconds: Some(0), .. } => {
            format!("delete {} without waiting for a kubelet", counted(pods.len(), "pod"))
        }
        Action::DeletePods { pods, .. } => format!("delete {}", counted(pods.len(), "pod")),
        Action::BackUp { node, directory } => {
            format!("save what {node} has of Calico below {directory}")
        }
        Action::Create { object: it, .. } => format!("create {}", object(it)),
        Action::DeleteCreated { object: it, .. } => format!("delete {} again", object(it)),
        Action::RestartPods { workload } => format!("restart {}", object(workload)),
        Action::ProveServices { proof } => format!(
            "make a new Service, and ask it and {} from every node",
            counted(proof.targets.len(), "other")
        ),
        Action::Hold { condition: it, seconds } => {
            format!("watch for {seconds} s: {}", condition(it))
        }
        Action::Ipam { change } => ipam::action(change),
        Action::Sequence { actions } => {
            actions.iter().map(self::action).collect::<Vec<_>>().join("; then ")
        }
    }
}

/// `node n1: set spec.unschedulable to true, remove annotation projectcalico.org/IPv4Address`
fn changes(it: &ObjectRef, patch: &JsonPatch) -> String {
    const SHOWN: usize = 4;
    let mut parts: Vec<String> = patch.changes().map(|it| change(patch, it)).collect();
    let more = parts.len().saturating_sub(SHOWN);
    parts.truncate(SHOWN);
    if more > 0 {
        parts.push(format!("{} more", number(more)));
    }
    format!("{}: {}", object(it), parts.join(", "))
}

fn change(patch: &JsonPatch, operation: &PatchOperation) -> String {
    match operation {
        PatchOperation::Test { path, value } => format!("test that {} is {value}", member(path)),
        PatchOperation::Add { path, value } => match path.strip_suffix("/-") {
            Some(list) => format!("put {value} back into {}", member(list)),
            None => format!("set {} to {value}", member(path)),
        },
        PatchOperation::Remove { path } => {
            // An element of a list has no name but what its tests say of it.
            let below = format!("{path}/");
            let named = patch.0.iter().find_map(|it| match it {
                PatchOperation::Test { path, value } if path.starts_with(&below) => Some(value),
                _ => None,
            });
            match (named, path.rsplit_once('/')) {
                (Some(value), Some((list, _))) => format!("remove {value} from {}", member(list)),
                _ => format!("remove {}", member(path)),
            }
        }
    }
}

/// `/metadata/annotations/a~1b` → `annotation a/b`, `/spec/unschedulable` → `spec.unschedulable`
pub fn member(path: &str) -> String {
    let plain = |it: &str| it.replace("~1", "/").replace("~0", "~");
    if let Some(name) = path.strip_prefix("/metadata/annotations/") {
        return format!("annotation {}", plain(name));
    }
    if let Some(name) = path.strip_prefix("/metadata/labels/") {
        return format!("label {}", plain(name));
    }
    path.trim_start_matches('/').split('/').map(plain).collect::<Vec<_>>().join(".")
}

/// `1 pod`, `3,000 pods`
pub fn counted(count: usize, noun: &str) -> String {
    let ending = match (count, noun.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{} {noun}{ending}", number(count))
}

/// What is done on a host, imperative: `write /etc/cni/net.d/calico-kubeconfig with a fresh token`.
pub fn operation(operation: &HostOperation) -> String {
    match operation {
        HostOperation::WriteFile { path, content, .. } => match content {
            FileContent::Text { .. } => format!("write {path}"),
            FileContent::CniKubeconfig { .. } => format!("write {path} with a fresh token"),
            FileContent::Binary { .. } => format!("write {path} from Calico's release"),
        },
        HostOperation::MoveAside { path, backup, .. } => {
            format!("rename {path} to {}", file_name(backup))
        }
        HostOperation::RestoreFile { path, .. } => format!("put back {path}"),
        HostOperation::RemoveFile { path, .. } => format!("remove {path}"),
        HostOperation::RemoveLink { name, link_kind, .. } => {
            format!("remove network interface {name} ({link_kind})")
        }
        HostOperation::RemoveSandboxes { sandboxes, .. } => match sandboxes.len() {
            1 => "stop and remove 1 pod sandbox".to_owned(),
            many => format!("stop and remove {many} pod sandboxes"),
        },
        HostOperation::SetSysctl { key, value, .. } => format!("set {key} to {value}"),
        HostOperation::RestartUnit { unit } => format!("restart {unit}"),
        HostOperation::RestoreRules { .. } => "change packet filter rules".to_owned(),
        HostOperation::RemoveRoutes { routes, .. } => format!("remove {}", some(routes, "route")),
        HostOperation::AddRoutes { routes, .. } => format!("add {}", some(routes, "route")),
        HostOperation::RemoveRoutingRules { rules, .. } => {
            format!("remove {}", some(rules, "routing rule"))
        }
        HostOperation::AddRoutingRules { rules, .. } => {
            format!("add {}", some(rules, "routing rule"))
        }
        HostOperation::FlushLink { name, link_kind, .. } => {
            format!(
                "take the addresses from network interface {name} ({link_kind}), and set it down"
            )
        }
        HostOperation::RemoveNftTables { tables } => {
            let names: Vec<_> =
                tables.iter().map(|it| format!("{} {}", it.family.word(), it.name)).collect();
            format!("remove nftables table {}", names.join(", "))
        }
        HostOperation::DestroyIpSets { names } => format!("destroy {}", some(names, "ipset")),
        HostOperation::RemovePins { paths } => format!("remove {}", some(paths, "BPF pin")),
        HostOperation::DetachPrograms { link, hook, .. } => {
            format!("detach Calico's {} programs from {link}", hook.word())
        }
        HostOperation::Unmount { path, .. } => format!("unmount {path}"),
        HostOperation::RemoveTree { path } => format!("remove {path} with all that is in it"),
    }
}

/// `2 routes`; a single one is named.
fn some(them: &[String], noun: &str) -> String {
    match them {
        [one] => format!("{noun} {}", one.split_whitespace().collect::<Vec<_>>().join(" ")),
        many => format!("{} {noun}s", many.len()),
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// What the guard asks for: `only while …`.
pub fn guard(guard: &Guard) -> String {
    match guard {
        Guard::SameCluster { uid } => {
            format!("only while this is the cluster of the plan (kube-system is {})", short(uid))
        }
        Guard::SameUid { object: it, uid } => {
            format!("only while {} is the one that was diagnosed ({})", object(it), short(uid))
        }
        Guard::OwnerExists { object: it, .. } => {
            format!("only while {} exists to put the pod back", object(it))
        }
        Guard::DatastoreReady { .. } => "only while Calico's datastore is not locked".to_owned(),
        Guard::ObjectAbsent { object: it } => format!("only while there is no {}", object(it)),
    }
}

/// What is waited for, as a statement that is to come true.
pub fn condition(condition: &Condition) -> String {
    match condition {
        Condition::DaemonPodReady { daemon_set, node, .. } => {
            format!("a new pod of {daemon_set} is Ready on {node}")
        }
        Condition::CniCredentialsAccepted { node } => {
            format!("calico-kubeconfig on {node} is rewritten, and its token is accepted")
        }
        Condition::NodeNetworkReady { node } => {
            format!("{node} has its CNI configuration, and its network is ready")
        }
        Condition::PodsSettled { pods, node } => match pods.len() {
            1 => format!("1 stuck pod on {node} runs or is gone"),
            many => format!("{many} stuck pods on {node} run or are gone"),
        },
        Condition::CniBinariesPresent { node, names } => {
            format!("CNI plugin {} is on {node}", names.join(", "))
        }
        Condition::CalicoConfigurationFirst { node } => {
            format!("Calico's CNI configuration is the first on {node}")
        }
        Condition::ConfigurationGone { node, file } => format!("{file} is gone from {node}"),
        Condition::SandboxesGone { node, ids } => match ids.len() {
            1 => format!("1 sandbox on {node} is gone"),
            many => format!("{many} sandboxes on {node} are gone"),
        },
        Condition::ResiduesGone { node, ids } => match ids.len() {
            1 => format!("{} is gone from {node}", ids[0]),
            many => format!("{many} residues are gone from {node}"),
        },
        Condition::ObjectGone { object: it, .. } => format!("{} is gone", object(it)),
        Condition::Patched { object: it, .. } => format!("{} is so changed", object(it)),
        Condition::PodsEnding { pods } => match pods.len() {
            1 => "1 pod ends".to_owned(),
            many => format!("{} pods end", number(many)),
        },
        Condition::PodsStopped { pods, at_most_seconds } => {
            let who = match pods.len() {
                1 => "1 pod has".to_owned(),
                many => format!("{} pods have", number(many)),
            };
            format!("{who} stopped, or used up the time to stop (at most {at_most_seconds} s)")
        }
        Condition::PodsGone { pods } => match pods.len() {
            1 => "1 pod is gone".to_owned(),
            many => format!("{} pods are gone", number(many)),
        },
        Condition::NodeSchedulable { node, is: true } => format!("pods may be scheduled to {node}"),
        Condition::NodeSchedulable { node, is: false } => format!("{node} is cordoned"),
        Condition::BackedUp { node, directory } => {
            format!("what {node} has of Calico is saved below {directory}")
        }
        Condition::RolledOut { .. }
        | Condition::EndpointInUse { .. }
        | Condition::OnDataPlane { .. }
        | Condition::KubeProxyRulesGone { .. }
        | Condition::KubeProxyRulesKept { .. }
        | Condition::NoPods { .. }
        | Condition::ProofCleared { .. } => words::condition(condition).unwrap_or_default(),
        Condition::IpamChanged { change } => ipam::condition(change),
    }
}

/// The same while it is waited for: `calico-node to be Ready`.
pub fn awaited(condition: &Condition) -> String {
    match condition {
        Condition::DaemonPodReady { daemon_set, .. } => format!("{daemon_set} to be Ready"),
        Condition::CniCredentialsAccepted { .. } => "the token to be accepted".to_owned(),
        Condition::NodeNetworkReady { .. } => "the node's network to be ready".to_owned(),
        Condition::PodsSettled { pods, .. } => match pods.len() {
            1 => "1 stuck pod to run or go".to_owned(),
            many => format!("{many} stuck pods to run or go"),
        },
        Condition::CniBinariesPresent { .. } => "the CNI binaries to be there".to_owned(),
        Condition::CalicoConfigurationFirst { .. } => {
            "Calico's CNI configuration to be the first".to_owned()
        }
        Condition::ConfigurationGone { file, .. } => format!("{file} to go"),
        Condition::SandboxesGone { ids, .. } => match ids.len() {
            1 => "1 sandbox to go".to_owned(),
            many => format!("{many} sandboxes to go"),
        },
        Condition::ResiduesGone { ids, .. } => match ids.len() {
            1 => format!("{} to go", ids[0]),
            many => format!("{many} residues to go"),
        },
        Condition::ObjectGone { object: it, .. } => format!("{} to go", object(it)),
        Condition::Patched { object: it, .. } => format!("{} to be changed", object(it)),
        Condition::PodsEnding { pods } => format!("{} to end", counted(pods.len(), "pod")),
        Condition::PodsStopped { pods, .. } => {
            format!("{} to stop", counted(pods.len(), "pod"))
        }
        Condition::PodsGone { pods } => format!("{} to go", counted(pods.len(), "pod")),
        Condition::NodeSchedulable { node, is: true } => format!("{node} to take pods again"),
        Condition::NodeSchedulable { node, is: false } => format!("{node} to be cordoned"),
        Condition::BackedUp { .. } => "the archive to be whole".to_owned(),
        Condition::RolledOut { .. }
        | Condition::EndpointInUse { .. }
        | Condition::OnDataPlane { .. }
        | Condition::KubeProxyRulesGone { .. }
        | Condition::KubeProxyRulesKept { .. }
        | Condition::NoPods { .. }
        | Condition::ProofCleared { .. } => words::awaited(condition).unwrap_or_default(),
        Condition::IpamChanged { change } => ipam::awaited(change),
    }
}

/// The same once it is true, in a few words: `token accepted`.
pub fn met(condition: &Condition) -> String {
    match condition {
        Condition::DaemonPodReady { daemon_set, .. } => format!("{daemon_set} Ready"),
        Condition::CniCredentialsAccepted { .. } => "token accepted".to_owned(),
        Condition::NodeNetworkReady { .. } => "network ready".to_owned(),
        Condition::PodsSettled { pods, .. } => {
            format!("{count} of {count} pods fine", count = pods.len())
        }
        Condition::CniBinariesPresent { .. } => "CNI binaries there".to_owned(),
        Condition::CalicoConfigurationFirst { .. } => "Calico's configuration first".to_owned(),
        Condition::ConfigurationGone { file, .. } => format!("{file} gone"),
        Condition::SandboxesGone { ids, .. } => {
            format!("{count} of {count} sandboxes gone", count = ids.len())
        }
        Condition::ResiduesGone { ids, .. } => {
            format!("{count} of {count} residues gone", count = ids.len())
        }
        Condition::ObjectGone { .. } => "gone".to_owned(),
        Condition::Patched { .. } => "changed".to_owned(),
        Condition::PodsEnding { pods } => format!("{} ending", counted(pods.len(), "pod")),
        Condition::PodsStopped { pods, .. } => {
            format!("{} stopped", counted(pods.len(), "pod"))
        }
        Condition::PodsGone { pods } => format!("{} gone", counted(pods.len(), "pod")),
        Condition::NodeSchedulable { is: true, .. } => "takes pods again".to_owned(),
        Condition::NodeSchedulable { is: false, .. } => "cordoned".to_owned(),
        Condition::BackedUp { .. } => "saved".to_owned(),
        Condition::RolledOut { .. }
        | Condition::EndpointInUse { .. }
        | Condition::OnDataPlane { .. }
        | Condition::KubeProxyRulesGone { .. }
        | Condition::KubeProxyRulesKept { .. }
        | Condition::NoPods { .. }
        | Condition::ProofCleared { .. } => words::met(condition).unwrap_or_default(),
        Condition::IpamChanged { change } => ipam::met(change).to_owned(),
    }
}

/// The condition with its limit: `… (at most 120 s)`.
pub fn verification(verification: &Verification) -> String {
    format!("{} (at most {} s)", condition(&verification.condition), verification.within_seconds)
}

/// How the step is taken back: `not needed: the DaemonSet puts the pod back`.
pub fn undo(undo: &Undo) -> String {
    match undo {
        Undo::NotNeeded { why } => format!("not needed: {why}"),
        Undo::Impossible { why } => format!("not possible: {why}"),
        Undo::OnHost { node, operation: it } => format!("{} on {node}", operation(it)),
        Undo::Patch { object: it, patch, .. } => changes(it, patch),
        Undo::By { action: it, .. } => action(it),
    }
}

/// `12,345`
pub fn number(value: usize) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `pods` → `pod`, `daemonsets` → `DaemonSet`; an unknown kind keeps its plural.
fn kind(plural: &str) -> &str {
    match plural {
        "leases" => "Lease",
        "pods" => "pod",
        "daemonsets" => "DaemonSet",
        "namespaces" => "namespace",
        "nodes" => "node",
        "deployments" => "Deployment",
        "configmaps" => "ConfigMap",
        "felixconfigurations" => "FelixConfiguration",
        "installations" => "Installation",
        "tigerastatuses" => "TigeraStatus",
        "ipamblocks" => "block",
        "ipamhandles" => "handle",
        "clusterinformations" => "ClusterInformation",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::PodRef;
    use super::*;

    fn pod() -> ObjectRef {
        ObjectRef {
            group: String::new(),
            version: "v1".into(),
            plural: "pods".into(),
            namespace: "kube-system".into(),
            name: "calico-node-5frw8".into(),
        }
    }

    #[test]
    fn lines_read_like_sentences_of_a_colleague() {
        let uid = "686bbed9-0000-0000-0000-000000000000".to_owned();
        assert_eq!(
            action(&Action::Delete { object: pod(), uid: uid.clone() }),
            "delete pod kube-system/calico-node-5frw8"
        );
        assert_eq!(
            guard(&Guard::SameUid { object: pod(), uid }),
            "only while pod kube-system/calico-node-5frw8 is the one that was diagnosed (686bbed9…)"
        );
        assert_eq!(
            undo(&Undo::NotNeeded { why: "the DaemonSet puts the pod back".into() }),
            "not needed: the DaemonSet puts the pod back"
        );
    }

    #[test]
    fn counts_agree_with_their_nouns() {
        let pod =
            |name: &str| PodRef { namespace: "shop".into(), name: name.into(), uid: name.into() };
        let one = Condition::PodsSettled { node: "node2".into(), pods: vec![pod("a")] };
        let two = Condition::PodsSettled { node: "node2".into(), pods: vec![pod("a"), pod("b")] };
        assert_eq!(condition(&one), "1 stuck pod on node2 runs or is gone");
        assert_eq!(condition(&two), "2 stuck pods on node2 run or are gone");
        assert_eq!(awaited(&two), "2 stuck pods to run or go");
        assert_eq!(met(&two), "2 of 2 pods fine");
        assert_eq!(
            verification(&Verification { condition: one, within_seconds: 120 }),
            "1 stuck pod on node2 runs or is gone (at most 120 s)"
        );
    }

    #[test]
    fn changes_are_told_in_words() {
        let node = ObjectRef { plural: "nodes".into(), namespace: String::new(), ..pod() };
        let mut patch = JsonPatch::default()
            .change("/spec/unschedulable", None, Some(true.into()))
            .change("/metadata/annotations/projectcalico.org~1IPv4Address", Some("x".into()), None)
            .test("/status/conditions/0/type", "NetworkUnavailable".into());
        patch.0.push(PatchOperation::Remove { path: "/status/conditions/0".into() });
        let said = changes(&node, &patch);
        assert_eq!(
            said,
            "node calico-node-5frw8: set spec.unschedulable to true, remove annotation \
             projectcalico.org/IPv4Address, remove \"NetworkUnavailable\" from status.conditions"
        );
        for n in 0..4 {
            patch.0.push(PatchOperation::Remove { path: format!("/spec/{n}") });
        }
        assert!(changes(&node, &patch).ends_with("remove spec.0, 3 more"));
    }

    #[test]
    fn thousands_of_pods_make_one_short_line() {
        let pod =
            |n: usize| PodRef { namespace: "n".into(), name: n.to_string(), uid: n.to_string() };
        let pods: Vec<PodRef> = (0..3000).map(pod).collect();
        let gone = Condition::PodsGone { pods: pods.clone() };
        assert_eq!(condition(&gone), "3,000 pods are gone");
        let delete = |grace_seconds, pods| {
            action(&Action::DeletePods { pods, grace_seconds, max_parallel: 16 })
        };
        assert_eq!(delete(None, pods), "delete 3,000 pods");
        assert_eq!(delete(Some(0), vec![pod(1)]), "delete 1 pod without waiting for a kubelet");
    }

    #[test]
    fn a_cluster_wide_object_has_no_slash() {
        let node = ObjectRef { plural: "nodes".into(), namespace: String::new(), ..pod() };
        assert_eq!(object(&node), "node calico-node-5frw8");
        assert_eq!(short("abc"), "abc");
    }
}
