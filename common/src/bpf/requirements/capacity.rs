//! Whether the tables that Felix makes hold what the cluster has.

use serde_json::Value;

use super::settings::stored;
use super::{Findings, Grade, Requirement, Situation};
use crate::bpf::{is_workload, text};
use crate::snapshot::Known;

/// What does not fit is not translated.
pub(super) static CAPACITY: Requirement = Requirement {
    id: "capacity",
    title: "a table of Services that holds all of them",
    essential: false,
    judge: capacity,
};

/// Entries of the table unless Felix is told otherwise.
const USUAL: u64 = 65_536;
/// Addresses that a host has at least: its own, and that of the loopback device.
const FEWEST_ADDRESSES: u64 = 2;

fn capacity(situation: &Situation<'_>, findings: &mut Findings) {
    let services = match &situation.services {
        Known::Known(services) => services,
        Known::Absent => return,
        Known::Unknown(gap) => return findings.unknown(gap),
    };
    let size = match stored(situation, None, "bpfMapSizeNATFrontend") {
        Known::Known(value) => value.as_u64().unwrap_or(USUAL),
        Known::Absent => USUAL,
        Known::Unknown(gap) => return findings.unknown(&gap),
    };
    let own = addresses_of_a_host(situation);
    let needed = services.iter().map(|it| entries(it, own)).fold(0, u64::saturating_add);
    let percent = needed.saturating_mul(100) / size.max(1);
    if percent >= 70 {
        findings.cluster(
            Grade::Warning,
            format!("the Services need about {needed} entries of {size}, which is {percent} %"),
            "set bpfMapSizeNATFrontend in FelixConfiguration default to twice as many, before eBPF is on",
        );
    } else {
        findings.cluster(Grade::Fine, format!("about {needed} entries of {size}"), "");
    }
}

/// Of the host that has most.
fn addresses_of_a_host(situation: &Situation<'_>) -> u64 {
    let of = |facts: &crate::bpf::BpfFacts| {
        let devices = facts.addresses.known()?.iter();
        let count: usize =
            devices.filter(|(name, _)| !is_workload(name)).map(|(_, all)| all.len()).sum();
        u64::try_from(count).ok()
    };
    let counts = situation.nodes.values().filter_map(|it| it.known().and_then(of));
    counts.max().unwrap_or_default().max(FEWEST_ADDRESSES)
}

/// Entries of a Service: each port at each of its addresses, and each port of the node at each of the host's.
fn entries(service: &Value, own: u64) -> u64 {
    if matches!(text(service, "/spec/clusterIP"), None | Some("None" | "")) {
        return 0;
    }
    let length = |pointer: &str| {
        let all = service.pointer(pointer).and_then(Value::as_array);
        u64::try_from(all.map_or(0, Vec::len)).unwrap_or(u64::MAX)
    };
    let addresses = length("/spec/clusterIPs").max(1)
        + length("/spec/externalIPs")
        + length("/status/loadBalancer/ingress");
    let ports = service.pointer("/spec/ports").and_then(Value::as_array);
    let of_port = |port: &Value| {
        let on_nodes = port.get("nodePort").and_then(Value::as_u64).is_some_and(|it| it > 0);
        addresses + if on_nodes { own } else { 0 }
    };
    ports.into_iter().flatten().map(of_port).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{grade_of_cluster as grade, situation, snapshot};
    use super::*;

    #[test]
    fn services_have_entries_by_address_and_port() {
        let spec = json!({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9", "fd00::9"], "externalIPs": ["192.0.2.1"],
            "ports": [{"port": 80, "nodePort": 30080}, {"port": 81}]});
        assert_eq!(entries(&json!({ "spec": spec }), 4), 3 + 4 + 3);
        assert_eq!(entries(&json!({"spec": {"clusterIP": "None", "ports": [{"port": 80}]}}), 4), 0);
        assert_eq!(
            entries(&json!({"spec": {"type": "ExternalName", "ports": [{"port": 80}]}}), 4),
            0
        );
    }

    #[test]
    fn a_table_that_is_nearly_full_is_told() {
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        let service = json!({"spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80}]}});
        it.services = Known::Known(vec![service; 100]);
        assert_eq!(grade(&it, "capacity"), "fine");
        let spec = json!({"bpfMapSizeNATFrontend": 128});
        it.felix = Known::Known(vec![json!({"metadata": {"name": "default"}, "spec": spec})]);
        assert_eq!(grade(&it, "capacity"), "warning");
        let spec = json!({"bpfMapSizeNATFrontend": 200});
        it.felix = Known::Known(vec![json!({"metadata": {"name": "default"}, "spec": spec})]);
        assert_eq!(grade(&it, "capacity"), "fine");
    }
}
