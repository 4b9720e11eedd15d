//! The conditions of this way in words, for [`crate::plan::describe`].

use crate::plan::describe::object;
use crate::plan::judge::first_few;
use crate::plan::{Condition, DataPlane};

/// `eBPF`, `iptables`
fn plane(is: DataPlane) -> &'static str {
    match is {
        DataPlane::Bpf => "eBPF",
        DataPlane::Tables => "iptables or nftables",
    }
}

/// As a statement that is to come true; none for conditions of other ways.
pub(in crate::plan) fn condition(condition: &Condition) -> Option<String> {
    Some(match condition {
        Condition::RolledOut { workload, .. } => {
            format!("{} is rolled out", object(workload))
        }
        Condition::EndpointInUse { host, port, .. } => {
            format!("calico-node on every node uses the API server at {}", joined(host, *port))
        }
        Condition::OnDataPlane { is, .. } => {
            format!("every node forwards by {}, as its kernel shows", plane(*is))
        }
        Condition::KubeProxyRulesGone { except, .. } if except.is_empty() => {
            "iptables of every node has no rules of kube-proxy".to_owned()
        }
        Condition::KubeProxyRulesGone { except, .. } => {
            let nodes: Vec<String> = except.iter().cloned().collect();
            format!("iptables of every node but {} has no rules of kube-proxy", first_few(&nodes))
        }
        Condition::KubeProxyRulesKept { .. } => {
            "kube-proxy's rules are still where they were".to_owned()
        }
        Condition::NoPods { workload } => format!("no pod of {} is left", object(workload)),
        Condition::ProofCleared { .. } => "what the proof made is gone".to_owned(),
        _ => return None,
    })
}

/// The same while it is waited for.
pub(in crate::plan) fn awaited(condition: &Condition) -> Option<String> {
    Some(match condition {
        Condition::RolledOut { workload, .. } => format!("{} to roll out", object(workload)),
        Condition::EndpointInUse { .. } => "calico-node to use that API server".to_owned(),
        Condition::OnDataPlane { is, .. } => format!("every node to forward by {}", plane(*is)),
        Condition::KubeProxyRulesGone { .. } => "kube-proxy's rules to go".to_owned(),
        Condition::KubeProxyRulesKept { .. } => "kube-proxy's rules to be there".to_owned(),
        Condition::NoPods { workload } => format!("the pods of {} to go", object(workload)),
        Condition::ProofCleared { .. } => "what the proof made to go".to_owned(),
        _ => return None,
    })
}

/// The same once it is true.
pub(in crate::plan) fn met(condition: &Condition) -> Option<String> {
    Some(match condition {
        Condition::RolledOut { workload, .. } => format!("{} rolled out", workload.name),
        Condition::EndpointInUse { .. } => "API server in use on every node".to_owned(),
        Condition::OnDataPlane { is, .. } => format!("{} on every node", plane(*is)),
        Condition::KubeProxyRulesGone { .. } => "kube-proxy's rules gone".to_owned(),
        Condition::KubeProxyRulesKept { .. } => "kube-proxy's rules kept".to_owned(),
        Condition::NoPods { workload } => format!("no pod of {} left", workload.name),
        Condition::ProofCleared { .. } => "proven".to_owned(),
        _ => return None,
    })
}

/// `10.0.0.10:6443`, `[fd00::1]:6443`
pub(in crate::plan) fn joined(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
