//! What the pod network must be like.

use serde_json::Value;

use super::settings::stored;
use super::{CalicoVersion, Findings, Grade, Requirement, Situation};
use crate::bpf::text;
use crate::calico::IpPool;
use crate::snapshot::{Gap, GapReason, Known};

/// IP-in-IP is not supported.
pub(super) static ENCAPSULATION: Requirement = Requirement {
    id: "encapsulation",
    title: "VXLAN, or no encapsulation",
    essential: false,
    judge: encapsulation,
};

/// Later releases take every packet of their port.
pub(super) static VXLAN_PORT: Requirement = Requirement {
    id: "vxlan-port",
    title: "a VXLAN port that nobody else uses",
    essential: false,
    judge: vxlan_port,
};

/// Older releases know IPv4 only.
pub(super) static IPV6: Requirement = Requirement {
    id: "ipv6",
    title: "a release that knows the families of the IP pools",
    essential: false,
    judge: ipv6,
};

/// There is no translation of it.
pub(super) static SCTP: Requirement =
    Requirement { id: "sctp", title: "no Services with SCTP", essential: false, judge: sctp };

/// Pools that give out addresses; none when they could not be read.
fn pools<'s>(situation: &'s Situation<'_>, findings: &mut Findings) -> Option<Vec<&'s IpPool>> {
    match situation.snapshot.ip_pools.get() {
        Known::Known(_) => {}
        Known::Absent => {
            let gap =
                Gap::new("cluster/ippools.json", GapReason::NotAsked, "IP pools were not read");
            findings.unknown(&gap);
            return None;
        }
        Known::Unknown(gap) => {
            findings.unknown(&gap);
            return None;
        }
    }
    Some(situation.snapshot.ip_pools.items.iter().filter(|it| !it.spec.disabled).collect())
}

fn encapsulation(situation: &Situation<'_>, findings: &mut Findings) {
    let Some(pools) = pools(situation, findings) else { return };
    let is_on = |mode: &str| !mode.is_empty() && mode != "Never";
    let by_ipip: Vec<&str> = pools
        .iter()
        .filter(|it| is_on(&it.spec.ipip_mode))
        .map(|it| it.metadata.name.as_str())
        .collect();
    if by_ipip.is_empty() {
        return findings.cluster(Grade::Fine, "no IP pool uses IP-in-IP", "");
    }
    let direct = stored(situation, None, "bpfExternalServiceMode");
    let direct = direct.known().is_some_and(|it| **it == "DSR");
    let names = by_ipip.join(", ");
    let remedy = "change the pools to VXLAN first (ipipMode: Never, vxlanMode: CrossSubnet), which cuts connections once";
    if direct {
        let reason = format!(
            "IP pools {names} use IP-in-IP, which does not go together with bpfExternalServiceMode: DSR"
        );
        findings.cluster(Grade::Blocker, reason, remedy);
    } else {
        let reason = format!(
            "IP pools {names} use IP-in-IP, which is not supported with eBPF though it may work"
        );
        findings.cluster(Grade::Warning, reason, remedy);
    }
}

/// First release whose device takes every packet of its port, where the kernel has type information.
const TAKES_ALL: CalicoVersion = CalicoVersion(3, 31, 0);
const USUAL_PORT: u64 = 4789;
const OWN_DEVICES: [&str; 2] = ["vxlan.calico", "vxlan-v6.calico"];

fn vxlan_port(situation: &Situation<'_>, findings: &mut Findings) {
    let version = match CalicoVersion::of_install(situation) {
        Known::Known(version) => version,
        Known::Absent => return,
        Known::Unknown(gap) => return findings.unknown(&gap),
    };
    let port = match stored(situation, None, "vxlanPort") {
        Known::Known(value) => value.as_u64().unwrap_or(USUAL_PORT),
        Known::Absent => USUAL_PORT,
        Known::Unknown(gap) => return findings.unknown(&gap),
    };
    findings.each(situation, |it| it.links.clone(), |findings, name, links| {
        let clashes = |it: &&crate::bpf::DataLink| {
            it.vxlan_port.map(u64::from) == Some(port) && !OWN_DEVICES.contains(&it.name.as_str())
        };
        let has_types = situation.nodes.get(name).and_then(|it| it.known()?.btf.known()) == Some(&true);
        match links.iter().find(clashes) {
            Some(other) if version >= TAKES_ALL && has_types => findings.node(
                name,
                Grade::Blocker,
                format!("{} uses port {port} as well, and Calico's device would take all that comes there", other.name),
                "set vxlanPort in FelixConfiguration default to one that is free on all nodes, and open it between them",
            ),
            Some(other) => findings.node(
                name,
                Grade::Info,
                format!("{} uses port {port} as well; from v3.31 that does not work", other.name),
                "",
            ),
            None => findings.node(name, Grade::Fine, format!("nobody else uses port {port}"), ""),
        }
    });
}

fn ipv6(situation: &Situation<'_>, findings: &mut Findings) {
    let Some(pools) = pools(situation, findings) else { return };
    let is_six = |it: &&&IpPool| it.spec.cidr.contains(':');
    let six = pools.iter().filter(is_six).count();
    if six == 0 {
        return findings.cluster(Grade::Fine, "all IP pools are IPv4", "");
    }
    let both = six < pools.len();
    let version = match CalicoVersion::of_install(situation) {
        Known::Known(version) => version,
        Known::Absent => return,
        Known::Unknown(gap) => return findings.unknown(&gap),
    };
    let remedy = "upgrade Calico to v3.28 or later";
    if version >= CalicoVersion(3, 28, 0) {
        findings.cluster(Grade::Fine, format!("{version} knows both families"), "");
    } else if version < CalicoVersion(3, 27, 0) {
        let reason = format!("there is an IP pool of IPv6, and eBPF of {version} knows IPv4 only");
        findings.cluster(Grade::Blocker, reason, remedy);
    } else if both {
        let reason = format!(
            "there are IP pools of both families, and eBPF of {version} knows one at a time"
        );
        findings.cluster(Grade::Blocker, reason, remedy);
    } else {
        findings.cluster(Grade::Warning, format!("IPv6 is a preview in {version}"), remedy);
    }
}

fn sctp(situation: &Situation<'_>, findings: &mut Findings) {
    let services = match &situation.services {
        Known::Known(services) => services,
        Known::Absent => return,
        Known::Unknown(gap) => return findings.unknown(gap),
    };
    let has = |it: &&Value| {
        let ports = it.pointer("/spec/ports").and_then(Value::as_array);
        ports.into_iter().flatten().any(|port| text(port, "/protocol") == Some("SCTP"))
    };
    let named = |it: &Value| {
        let part = |pointer| text(it, pointer).unwrap_or_default();
        format!("{}/{}", part("/metadata/namespace"), part("/metadata/name"))
    };
    let found: Vec<String> = services.iter().filter(has).map(named).collect();
    match found.first() {
        None => findings.cluster(Grade::Fine, "no Service has such a port", ""),
        Some(first) => {
            let reason = format!(
                "{} Services have ports of SCTP ({first} …), which eBPF does not translate",
                found.len()
            );
            findings.cluster(Grade::Warning, reason, "make sure that nobody depends on them");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{
        grade, grade_of_cluster, named, situation, snapshot, with_section,
    };
    use super::*;

    #[test]
    fn ip_in_ip_warns_and_with_dsr_blocks() {
        let mut snapshot = snapshot();
        let pool = &mut snapshot.ip_pools.items[0].spec;
        pool.ipip_mode = "CrossSubnet".into();
        pool.vxlan_mode = "Never".into();
        let mut it = situation(&snapshot);
        assert_eq!(grade_of_cluster(&it, "encapsulation"), "warning");
        let spec = json!({"bpfExternalServiceMode": "DSR"});
        it.felix = Known::Known(vec![json!({"metadata": {"name": "default"}, "spec": spec})]);
        assert_eq!(grade_of_cluster(&it, "encapsulation"), "blocker");
        snapshot.ip_pools.items[0].spec.disabled = true;
        assert_eq!(grade_of_cluster(&situation(&snapshot), "encapsulation"), "fine");
    }

    #[test]
    fn the_port_of_another_device_blocks_later_releases() {
        let mut snapshot = snapshot();
        let mut of = |version: &str, name: &str, port: u16| {
            if let Known::Known(install) = &mut snapshot.install {
                install.version = Some(version.to_owned());
            }
            let mut it = situation(&snapshot);
            let link = format!(
                r#"[{{"ifname":"{name}","linkinfo":{{"info_kind":"vxlan","info_data":{{"port":{port}}}}}}}]"#
            );
            with_section(&mut it, "node1", "ip-link", &link);
            grade(&it, "vxlan-port", "node1")
        };
        assert_eq!(of("v3.31.0", "vx0", 4789), "blocker");
        assert_eq!(of("v3.30.0", "vx0", 4789), "info");
        assert_eq!(of("v3.31.0", "flannel.1", 8472), "fine");
        assert_eq!(of("v3.31.0", "vxlan.calico", 4789), "fine");
    }

    #[test]
    fn families_of_pools_need_a_release() {
        let mut snapshot = snapshot();
        let mut of = |version: &str, cidrs: &[&str]| {
            if let Known::Known(install) = &mut snapshot.install {
                install.version = Some(version.to_owned());
            }
            let pool = |cidr: &&str| {
                let mut pool = IpPool { metadata: named("", cidr), ..Default::default() };
                pool.spec.cidr = (*cidr).to_owned();
                pool
            };
            snapshot.ip_pools.items = cidrs.iter().map(pool).collect();
            grade_of_cluster(&situation(&snapshot), "ipv6")
        };
        assert_eq!(of("v3.26.4", &["fd00::/64"]), "blocker");
        assert_eq!(of("v3.27.0", &["fd00::/64"]), "warning");
        assert_eq!(of("v3.27.0", &["fd00::/64", "10.0.0.0/16"]), "blocker");
        assert_eq!(of("v3.28.0", &["fd00::/64", "10.0.0.0/16"]), "fine");
        assert_eq!(of("v3.26.4", &["10.0.0.0/16"]), "fine");
    }

    #[test]
    fn services_with_sctp_warn() {
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        let mut of = |protocol: &str| {
            let service =
                json!({"metadata": {"name": "sctp"}, "spec": {"ports": [{"protocol": protocol}]}});
            it.services = Known::Known(vec![service]);
            grade_of_cluster(&it, "sctp")
        };
        assert_eq!(of("SCTP"), "warning");
        assert_eq!(of("TCP"), "fine");
    }
}
