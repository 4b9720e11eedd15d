//! Which pods hold a rollout up, and what keeps them.

use serde_json::Value;

use crate::plan::judge::{Observed, first_few};
use crate::slim::{ContainerStatus, Pod};

/// The pods of `workload` that are not Ready, each with its node and what keeps it; empty when there is nothing to tell.
pub(super) fn told(workload: &Value, seen: &Observed) -> String {
    let pods = seen.pods.known().map(Vec::as_slice).unwrap_or_default();
    let all: Vec<String> = unready(workload, pods)
        .map(|pod| {
            let node = &pod.spec.node_name;
            let why = why(pod).map_or_else(|| "is not Ready".to_owned(), |(_, why)| why);
            let said = seen.complaints.get(node).map(|it| format!(", which says: {it}"));
            format!("{node}: pod {}: {why}{}", pod.metadata.name, said.unwrap_or_default())
        })
        .collect();
    if all.is_empty() { String::new() } else { format!("; {}", first_few(&all)) }
}

/// The pods of `workload` that are bound to a node, are to stay, and are not Ready.
pub fn unready<'a>(workload: &'a Value, pods: &'a [Pod]) -> impl Iterator<Item = &'a Pod> {
    let text = |path: &str| workload.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let (uid, name) = (text("/metadata/uid"), text("/metadata/name"));
    pods.iter().filter(move |pod| {
        let is_its = pod.metadata.controller().is_some_and(|owner| {
            let set_of_it = owner.kind == "ReplicaSet"
                && owner.name.rsplit_once('-').is_some_and(|(front, _)| front == name);
            (!uid.is_empty() && owner.uid == uid) || set_of_it
        });
        is_its && !pod.is_terminating() && !pod.is_ready() && !pod.spec.node_name.is_empty()
    })
}

/// The container that keeps a pod from being Ready, and what it is at; none when that cannot be told.
pub fn why(pod: &Pod) -> Option<(&str, String)> {
    let tell = |it: &ContainerStatus| {
        let (waiting, ended) = (it.state.waiting.as_ref(), it.state.terminated.as_ref());
        let reason = match (waiting, ended) {
            // It waits for those before it.
            (Some(wait), _) if wait.reason == "PodInitializing" => return None,
            (Some(wait), _) => wait.reason.clone(),
            (None, Some(end)) if end.exit_code == Some(0) => return None,
            (None, Some(end)) => format!("ended with exit code {}", end.exit_code.unwrap_or(-1)),
            (None, None) if it.ready => return None,
            (None, None) => "runs and is not ready".to_owned(),
        };
        let often = if it.restart_count > 0 {
            format!(", {} times restarted", it.restart_count)
        } else {
            String::new()
        };
        Some(format!("container {}: {reason}{often}", it.name))
    };
    let status = &pod.status;
    let mut all = status.init_container_statuses.iter().chain(&status.container_statuses);
    all.find_map(|it| Some((it.name.as_str(), tell(it)?)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::snapshot::Known;

    fn pod(name: &str, owner: (&str, &str, &str), statuses: &Value) -> Pod {
        let (kind, owner, uid) = owner;
        serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "kube-system", "ownerReferences": [
                { "kind": kind, "name": owner, "uid": uid, "controller": true } ] },
            "spec": { "nodeName": "node1" },
            "status": { "initContainerStatuses": statuses },
        }))
        .unwrap()
    }

    #[test]
    fn the_container_that_keeps_a_pod_is_named_with_what_it_says() {
        let set = json!({ "metadata": { "uid": "u1", "name": "calico-node" } });
        let crash = json!([
            { "name": "upgrade", "state": { "terminated": { "exitCode": 0 } } },
            { "name": "install-cni", "restartCount": 3, "state": { "waiting": { "reason": "CrashLoopBackOff" } } },
        ]);
        let mut seen = Observed::nothing(jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(told(&set, &seen), "", "no pods were looked at");
        seen.pods = Known::Known(vec![
            pod("calico-node-a", ("DaemonSet", "calico-node", "u1"), &crash),
            pod("other-b", ("DaemonSet", "other", "u2"), &crash),
        ]);
        seen.complaints.insert("node1".into(), "connection refused".into());
        assert_eq!(
            told(&set, &seen),
            "; node1: pod calico-node-a: container install-cni: CrashLoopBackOff, 3 times restarted, which says: connection refused"
        );
    }

    #[test]
    fn pods_of_a_deployment_are_those_of_its_replica_sets() {
        let typha = json!({ "metadata": { "uid": "u1", "name": "calico-typha" } });
        let nothing = json!([]);
        let pods = [
            pod("calico-typha-1-x", ("ReplicaSet", "calico-typha-1", "r1"), &nothing),
            pod("calico-typha-other-1-x", ("ReplicaSet", "calico-typha-other-1", "r2"), &nothing),
        ];
        let names: Vec<_> = unready(&typha, &pods).map(|it| it.metadata.name.as_str()).collect();
        assert_eq!(names, ["calico-typha-1-x"]);
        assert_eq!(why(&pods[0]), None);
    }
}
