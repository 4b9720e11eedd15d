//! CAL-RBT-004.

use std::collections::BTreeSet;

use crate::checks::Context;
use crate::checks::acc::control_plane;
use crate::findings::{Cause, Code, Confidence, Evidence, Finding, Findings, Severity, Subject};
use crate::slim::NodeCondition;
use crate::snapshot::{Gap, GapReason, HostFacts, Known, Service};

const CODE: Code = Code("CAL-RBT-004");

check! {
    /// # The kubelet of a node is dead
    ///
    /// ## What it detects
    /// Nodes whose kubelet no longer reports (Ready is Unknown), and, where the host was probed, why: the container runtime
    /// or the kubelet is not running, keeps failing, or swap is on and the kubelet refuses to start. A kubelet that runs but
    /// will not start at the next boot is a warning.
    ///
    /// ## How sure
    /// That it is silent is certain; whether the kubelet, the machine or the network between is at fault only a probe of the
    /// host tells: `kubectl calico-doctor check --print-script` prints it, to be run on the node by hand. A node that is
    /// NotReady because its network plugin is not ready has a living kubelet: that is CAL-CNI-001.
    ///
    /// ## What it looks like
    /// `Ready Unknown NodeStatusUnknown Kubelet stopped posting node status.`
    ///
    /// ## What to do
    /// On the node: `journalctl -u kubelet -n 50`, then `systemctl enable --now containerd kubelet`. With swap on: `swapoff -a`,
    /// and take it out of /etc/fstab.
    ///
    /// ## What not to do
    /// Deleting the node's pods by force, or the Node: its containers run on, and addresses are given out twice.
    KUBELET_DEAD: "CAL-RBT-004", "the kubelet of a node is dead", "hosts", Error,
    needs [], fix Manual, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let nodes: BTreeSet<&str> = context
        .linux_nodes()
        .iter()
        .map(|node| node.metadata.name.as_str())
        .chain(context.snapshot.hosts.keys().map(String::as_str))
        .collect();
    if !context.snapshot.nodes.is_whole() {
        let gap = context.snapshot.nodes.gap.clone();
        let not_read =
            || Gap::new("cluster/nodes.json", GapReason::NotAsked, "nodes were not read");
        out.not_judged(CODE, "", gap.unwrap_or_else(not_read));
    }
    for node in nodes {
        let ready = context.node_ready(node);
        let host = context.snapshot.hosts.get(node).and_then(Known::known);
        // The API server's own host is judged as such: without a kubelet there is no API server.
        if host.is_some_and(control_plane::needs_its_kubelet) {
            continue;
        }
        let silent = ready.filter(|it| it.status == "Unknown");
        let dead = host.and_then(why_dead);
        match (silent, dead) {
            (None, None) => {
                out.found.extend(host.and_then(|host| not_at_boot(node, host)));
            }
            // The API has heard of it lately: the probe is older, or the kubelet is called otherwise there.
            (None, Some(_)) if ready.is_some_and(|it| it.status == "True") => {}
            (silent, dead) => out.report(finding(node, silent, host, dead)),
        }
    }
}

/// A service that does not run.
struct Dead {
    key: &'static str,
    text: String,
}

/// Why the kubelet cannot work, as the host shows it; none when it runs or the host does not tell.
fn why_dead(host: &HostFacts) -> Option<Dead> {
    if !control_plane::kubelet_is_down(host) {
        return None;
    }
    if let Known::Known(runtime) = &host.container_runtime
        && !runtime.is_running()
    {
        let text = format!("the container runtime is not running: {}", state(runtime));
        return Some(Dead { key: "runtime-down", text });
    }
    let says = kubelet_log(host).unwrap_or_default();
    if host.swap == Known::Known(true) && says.contains("swap") {
        let text = "swap is on, and the kubelet refuses to start with it".to_owned();
        return Some(Dead { key: "swap", text });
    }
    let text = match &host.kubelet {
        Known::Known(kubelet) => format!("the kubelet is not running: {}", state(kubelet)),
        Known::Absent | Known::Unknown(_) => {
            "no kubelet runs there, and nothing answers on its health port".to_owned()
        }
    };
    Some(Dead { key: "kubelet-down", text })
}

/// `kubelet.service failed (exit-code 1, 7 restarts), not enabled`
fn state(service: &Service) -> String {
    let Service::Unit(unit) = service else { return service.name().to_owned() };
    let mut text = format!("{} is {}", unit.name, unit.active);
    if unit.result != "success" && !unit.result.is_empty() {
        text.push_str(&format!(
            " ({} {}, {} restarts)",
            unit.result, unit.exit_code, unit.restarts
        ));
    }
    if !unit.since.is_empty() {
        text.push_str(&format!(" since {}", unit.since));
    }
    if unit.enabled == "disabled" {
        text.push_str(", and not enabled: it does not start at boot");
    }
    text
}

fn kubelet_log(host: &HostFacts) -> Option<&str> {
    let section = host.sections.get("kubelet-log").filter(|it| it.rc == 0)?;
    Some(section.text.trim())
}

fn finding(
    node: &str,
    silent: Option<&NodeCondition>,
    host: Option<&HostFacts>,
    dead: Option<Dead>,
) -> Finding {
    let confidence = if dead.is_some() { Confidence::Certain } else { Confidence::Likely };
    let cause = match (dead, host.and_then(|host| host.kubelet.known())) {
        (Some(dead), _) => Cause { key: dead.key, text: dead.text },
        (None, Some(kubelet)) if kubelet.is_running() => Cause {
            key: "cut-off",
            text: "the kubelet runs, so the node cannot reach the API server".to_owned(),
        },
        (None, _) => Cause {
            key: "silent",
            text: "the kubelet or the whole machine is dead or cut off; the script of `check --print-script`, run on the node, tells which"
                .to_owned(),
        },
    };
    let title = match cause.key {
        "silent" | "cut-off" => format!("the kubelet of {node} is silent"),
        _ => format!("the kubelet of {node} is dead"),
    };
    let mut finding = Finding::new(CODE, Severity::Error, Subject::nodes([node]), title, cause);
    finding.confidence = confidence;
    finding.consequence =
        "what its pods seem to do is history, and nothing can be repaired there from here"
            .to_owned();
    if let Some(ready) = silent {
        let heard = ready
            .last_heartbeat_time
            .map_or_else(String::new, |at| format!(", last heard of at {at:.0}"));
        let text = format!("{} {}{heard}", ready.reason, ready.message);
        finding
            .evidence
            .push(Evidence::new(format!("{node}: condition Ready"), text.trim().to_owned()));
    }
    if let Some(line) = host.and_then(kubelet_log).and_then(|text| text.lines().next_back()) {
        finding.evidence.push(Evidence::new(format!("{node}: kubelet's log"), line.to_owned()));
    }
    finding
}

/// A unit that runs now and will not after the next boot.
fn not_at_boot(node: &str, host: &HostFacts) -> Option<Finding> {
    let units: Vec<&str> = [&host.kubelet, &host.container_runtime]
        .into_iter()
        .filter_map(|service| match service.known()? {
            Service::Unit(unit) if unit.enabled == "disabled" && unit.active == "active" => {
                Some(unit.name.as_str())
            }
            _ => None,
        })
        .collect();
    if units.is_empty() {
        return None;
    }
    let verb = if units.len() == 1 { "is" } else { "are" };
    let mut finding = Finding::new(
        CODE,
        Severity::Warning,
        Subject::nodes([node]),
        format!("{node} will not come up by itself after a reboot"),
        Cause {
            key: "not-enabled",
            text: format!("{} {verb} running, but not enabled", units.join(" and ")),
        },
    );
    finding.consequence = format!("on {node}: systemctl enable {}", units.join(" "));
    finding
        .evidence
        .push(Evidence::new(format!("{node}: systemctl show"), "UnitFileState=disabled"));
    Some(finding)
}
