//! Whether the conditions of this way are met by what was seen. What could not be seen never meets anything.

use std::collections::BTreeMap;

use serde_json::Value;

use super::stuck;
use super::words::joined;
use crate::bpf::{BpfFacts, NodeDataPlane};
use crate::calico::names::OURS;
use crate::plan::judge::{Observed, Verdict, first_few, unknown, with};
use crate::plan::{Condition, DataPlane};
use crate::snapshot::Known;

/// Whether `condition` is met; none for conditions of other ways.
pub(in crate::plan) fn judge(condition: &Condition, seen: &Observed) -> Option<Verdict> {
    Some(match condition {
        Condition::RolledOut { variables, .. } => {
            with(&seen.object, "it does not exist", |it| rolled_out(it, variables, seen))
        }
        Condition::EndpointInUse { host, port, .. } => {
            on_every_node(seen, |_, facts| endpoint(facts, host, *port))
        }
        Condition::OnDataPlane { is, .. } => {
            let verdict = on_every_node(seen, |node, facts| {
                data_plane(facts, *is, seen.complaints.get(node).map(String::as_str))
            });
            because_of_operator(verdict, *is, &seen.operator)
        }
        Condition::KubeProxyRulesGone { except, .. } => on_every_node(seen, |node, facts| {
            if except.contains(node) { Verdict::Met } else { rules_gone(facts) }
        }),
        Condition::KubeProxyRulesKept { nodes, .. } => {
            on_every_node(seen, |node, facts| match facts.kube_proxy_rules.implementations {
                Known::Absent if nodes.contains(node) => {
                    Verdict::NotYet("the rules that kube-proxy had in iptables are gone".to_owned())
                }
                _ => Verdict::Met,
            })
        }
        Condition::NoPods { .. } => with(&seen.object, "it does not exist", |it| no_pods(it, seen)),
        Condition::ProofCleared { .. } => match &seen.left_of_proof {
            Known::Known(0) | Known::Absent => Verdict::Met,
            Known::Known(left) => Verdict::NotYet(format!("{left} objects are left")),
            Known::Unknown(gap) => unknown(gap),
        },
        _ => return None,
    })
}

fn number(object: &Value, path: &str) -> i64 {
    object.pointer(path).and_then(Value::as_i64).unwrap_or_default()
}

/// The counts of a DaemonSet or a Deployment, whichever it is, once its controller has seen the newest template.
fn rolled_out(object: &Value, variables: &BTreeMap<String, String>, seen: &Observed) -> Verdict {
    if let Some(why) = lacks(object, variables) {
        return Verdict::NotYet(why);
    }
    if number(object, "/metadata/generation") != number(object, "/status/observedGeneration") {
        return Verdict::NotYet("its controller has not seen its newest template yet".to_owned());
    }
    let is_daemon_set = object.pointer("/status/desiredNumberScheduled").is_some();
    let (wanted, updated, available) = if is_daemon_set {
        (
            number(object, "/status/desiredNumberScheduled"),
            number(object, "/status/updatedNumberScheduled"),
            number(object, "/status/numberAvailable"),
        )
    } else {
        (
            object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1),
            number(object, "/status/updatedReplicas"),
            number(object, "/status/availableReplicas"),
        )
    };
    let old = number(object, "/status/replicas") > updated && !is_daemon_set;
    if updated >= wanted && available >= wanted && !old {
        Verdict::Met
    } else {
        Verdict::NotYet(format!(
            "of {wanted} pods {updated} are of the newest template, {available} available{}",
            stuck::told(object, seen)
        ))
    }
}

/// Why the template has not these variables in each container that has any of them.
fn lacks(object: &Value, variables: &BTreeMap<String, String>) -> Option<String> {
    let all = |kind: &str| {
        let path = format!("/spec/template/spec/{kind}");
        object.pointer(&path).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let containers: Vec<Value> = [all("initContainers"), all("containers")].concat();
    let value_of = |name: &str| {
        let mut found = containers.iter().flat_map(|it| it["env"].as_array().into_iter().flatten());
        found.find(|it| it["name"] == name).map(|it| it["value"].as_str().unwrap_or_default())
    };
    variables.iter().find_map(|(name, wanted)| match (value_of(name), wanted.as_str()) {
        (None, "") => None,
        (Some(is), wanted) if is == wanted => None,
        (is, _) => Some(format!("its template has {name}={}", is.unwrap_or("nothing"))),
    })
}

/// DaemonSet `seen.object` names the nodes by its counts; each must be there and be as `is` wants it.
fn on_every_node(seen: &Observed, is: impl Fn(&str, &BpfFacts) -> Verdict) -> Verdict {
    with(&seen.object, "DaemonSet calico-node does not exist", |object| {
        with(&seen.data_planes, "no node was looked at", |nodes| {
            let wanted = number(object, "/status/desiredNumberScheduled");
            let mut not_yet = Vec::new();
            for (node, facts) in nodes {
                let verdict = match facts {
                    Known::Known(facts) => is(node, facts),
                    Known::Absent => Verdict::NotYet("it was not looked at".to_owned()),
                    Known::Unknown(gap) => unknown(gap),
                };
                match verdict {
                    Verdict::Met => {}
                    Verdict::NotYet(why) | Verdict::Failed(why) => {
                        not_yet.push(format!("{node}: {why}"));
                    }
                    forbidden @ Verdict::Forbidden(_) => return forbidden,
                }
            }
            let seen = i64::try_from(nodes.len()).unwrap_or(i64::MAX);
            if seen < wanted {
                not_yet.push(format!("calico-node runs on {seen} of {wanted} nodes"));
            }
            match (not_yet.is_empty(), wanted) {
                (true, 0) => Verdict::NotYet("calico-node is wanted on no node".to_owned()),
                (true, _) => Verdict::Met,
                (false, _) => Verdict::NotYet(first_few(&not_yet)),
            }
        })
    })
}

fn endpoint(facts: &BpfFacts, host: &str, port: u16) -> Verdict {
    with(&facts.endpoint, "calico-node's environment names no API server", |it| {
        if it.host == host && it.port == port {
            Verdict::Met
        } else {
            Verdict::NotYet(format!("calico-node uses {}", joined(&it.host, it.port)))
        }
    })
}

fn data_plane(facts: &BpfFacts, wanted: DataPlane, complaint: Option<&str>) -> Verdict {
    let because = |what: &str| match complaint.map(str::to_owned).or_else(|| unready(facts)) {
        Some(why) => Verdict::NotYet(format!("{what}: calico-node says: {why}")),
        None => Verdict::NotYet(what.to_owned()),
    };
    with(&facts.state(), "it shows no data plane", |is| match (wanted, is) {
        (DataPlane::Bpf, NodeDataPlane::Bpf) | (DataPlane::Tables, NodeDataPlane::Iptables) => {
            Verdict::Met
        }
        (DataPlane::Bpf, NodeDataPlane::Iptables) => because("no BPF program is attached"),
        (DataPlane::Bpf, NodeDataPlane::Leftover) => because("its BPF programs serve nothing yet"),
        (DataPlane::Tables, _) => Verdict::NotYet("BPF programs or pins are there".to_owned()),
    })
}

fn rules_gone(facts: &BpfFacts) -> Verdict {
    match &facts.kube_proxy_rules.implementations {
        Known::Absent => Verdict::Met,
        Known::Known(found) => Verdict::NotYet(format!(
            "Felix has not removed kube-proxy's rules: chain KUBE-SERVICES is in {}",
            found.join(" and ")
        )),
        Known::Unknown(gap) => unknown(gap),
    }
}

/// What calico-node reports of the part that attaches programs, while that is not ready.
fn unready(facts: &BpfFacts) -> Option<String> {
    let parts = facts.readiness.known()?;
    let part = parts.iter().find(|it| it.component == "BPFEndpointManager")?;
    let is_unready = part.readiness != "-" && !part.readiness.contains("reporting ready");
    (is_unready && !part.detail.is_empty())
        .then(|| format!("{}: {}", part.component, part.detail.trim()))
}

/// What the operator complains about comes first: nothing goes on until it is mended. Then what it waits for.
fn because_of_operator(verdict: Verdict, wanted: DataPlane, status: &Known<Value>) -> Verdict {
    let (Verdict::NotYet(why), Known::Known(status)) = (&verdict, status) else { return verdict };
    let conditions = status.pointer("/status/conditions").and_then(Value::as_array);
    let says = |kind: &str| {
        let mut all = conditions.into_iter().flatten();
        let it = all.find(|it| it["type"] == kind && it["status"] == "True")?;
        Some(it["message"].as_str().unwrap_or("without a message"))
    };
    match (says("Degraded"), says("Progressing")) {
        (Some(says), _) => Verdict::NotYet(format!("the operator is Degraded: {says}; {why}")),
        (None, Some(says)) => Verdict::NotYet(format!("the operator waits: {says}; {why}")),
        (None, None) if wanted == DataPlane::Bpf => Verdict::NotYet(format!(
            "{why}; the operator complains of nothing: it switches eBPF on once it holds calico-node for rolled out everywhere"
        )),
        (None, None) => verdict,
    }
}

fn no_pods(workload: &Value, seen: &Observed) -> Verdict {
    let wanted = number(workload, "/status/desiredNumberScheduled");
    let is_seen =
        number(workload, "/metadata/generation") == number(workload, "/status/observedGeneration");
    let uid = workload.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
    with(&seen.pods, "no pods were looked at", |pods| {
        let left = pods
            .iter()
            .filter(|pod| pod.metadata.controller().is_some_and(|owner| owner.uid == uid));
        match (left.count(), wanted, is_seen) {
            (0, 0, true) => Verdict::Met,
            (_, _, false) => {
                Verdict::NotYet("its controller has not seen the change yet".to_owned())
            }
            (_, 1.., _) => Verdict::NotYet(match last_writer(workload) {
                Some(who) => format!("it wants {wanted} pods, {who}"),
                None => format!("it wants {wanted} pods"),
            }),
            (left, _, _) => Verdict::NotYet(format!("{left} pods are left")),
        }
    })
}

/// Who wrote the object last, as the API server noted it; none when that was us, or nobody knows.
fn last_writer(object: &Value) -> Option<String> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let of_spec =
        entries.iter().filter(|it| it["subresource"].as_str().unwrap_or_default().is_empty());
    let last = of_spec.max_by_key(|it| it["time"].as_str().unwrap_or_default().to_owned())?;
    let (manager, time) = (last["manager"].as_str()?, last["time"].as_str()?);
    (!manager.starts_with(OURS)).then(|| format!("last changed by {manager} at {time}"))
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
