//! Whether an address that somebody has is used by nobody.
//!
//! The rule is stricter than calico-kube-controllers': nobody must show the address anywhere, the owner must be gone or have
//! moved on, and it must have been so for longer than its own deadline, unless the node itself is gone. What is not certain is
//! kept.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::owner::{Tunnel, sandbox};
use super::population::{CONTAINER_ID, shown_by};
use super::{Allocation, Owner, Population};
use crate::calico::ipam::KubeControllersConfiguration;
use crate::slim::Pod;
use crate::snapshot::{Gap, Known, Snapshot};

/// What calico-kube-controllers waits unless it is told otherwise (`leakGracePeriod`), and the least that we wait.
pub const GRACE: Duration = Duration::from_secs(15 * 60);

/// What is to be thought of an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Somebody shows the address.
    Used,
    /// Nobody does, and nobody will.
    Leaked(Reason),
    /// Nobody does, but not for long enough, or since nobody knows when.
    Young(Reason, Option<SignedDuration>),
    /// Nobody does, and that proves nothing.
    Kept(Keep),
}

/// Why an address is leaked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The node that it was taken on is no more.
    NodeGone,
    /// The pod is no more.
    PodGone,
    /// The pod has another sandbox by now, and other addresses.
    OtherSandbox,
    /// The pod has finished.
    PodFinished,
    /// The Service is no more, or has other addresses.
    ServiceGone,
}

impl Reason {
    /// For programs.
    pub fn key(self) -> &'static str {
        match self {
            Self::NodeGone => "node-gone",
            Self::PodGone => "pod-gone",
            Self::OtherSandbox => "other-sandbox",
            Self::PodFinished => "pod-finished",
            Self::ServiceGone => "service-gone",
        }
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::NodeGone => "its node does not exist",
            Self::PodGone => "its pod does not exist",
            Self::OtherSandbox => "its pod has another sandbox, and other addresses",
            Self::PodFinished => "its pod has finished",
            Self::ServiceGone => "no Service has it",
        }
    }
}

/// Why an address that nobody shows is not called leaked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keep {
    /// Windows keeps it.
    Windows,
    /// A virtual machine may come back to it.
    VirtualMachine,
    /// Its pod is about to show it.
    PodStarts,
    /// The node is there, and its tunnel has another address or none.
    TunnelMoved,
    /// Nothing says whose it is.
    Unknown,
}

impl Keep {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Windows => "Windows keeps it for itself",
            Self::VirtualMachine => "its virtual machine may come back to it",
            Self::PodStarts => "its pod is about to get it",
            Self::TunnelMoved => "its node exists, but its tunnel has another address or none",
            Self::Unknown => "nothing says whose it is",
        }
    }
}

/// Judges allocations. It can be had only where pods and nodes were all read: with a part of the pods everything else looks
/// leaked. Without all Services nothing is said of their addresses.
#[derive(Clone, Debug)]
pub struct Judge<'a> {
    population: &'a Population<'a>,
    now: Timestamp,
    grace: SignedDuration,
    knows_services: bool,
}

impl<'a> Judge<'a> {
    /// A judge of this cluster.
    ///
    /// # Errors
    /// What was not read, and would have to be.
    pub fn new(snapshot: &Snapshot, population: &'a Population<'a>) -> Result<Self, Gap> {
        let lists = [
            (snapshot.pods.is_whole(), &snapshot.pods.gap, "cluster/pods.json"),
            (snapshot.nodes.is_whole(), &snapshot.nodes.gap, "cluster/nodes.json"),
        ];
        for (is_whole, gap, what) in lists {
            if !is_whole {
                let not_whole =
                    || Gap::new(what, crate::snapshot::GapReason::NotAsked, "only a part was read");
                return Err(gap.clone().unwrap_or_else(not_whole));
            }
        }
        let grace = grace(snapshot).known().copied().unwrap_or(GRACE).max(GRACE);
        let grace = SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
        let knows_services = snapshot.addresses.services.is_whole();
        Ok(Self { population, now: snapshot.taken, grace, knows_services })
    }

    /// What is to be thought of an allocation.
    pub fn judge(&self, it: &Allocation<'_>) -> Verdict {
        if !self.population.users(it.address).is_empty() {
            return Verdict::Used;
        }
        match it.owner() {
            Owner::Windows => Verdict::Kept(Keep::Windows),
            Owner::VirtualMachine { .. } => Verdict::Kept(Keep::VirtualMachine),
            Owner::Unknown => Verdict::Kept(Keep::Unknown),
            Owner::Tunnel { tunnel, node } => self.tunnel(tunnel, node),
            Owner::Service { .. } if !self.knows_services => Verdict::Kept(Keep::Unknown),
            Owner::Service { .. } => self.aged(it, Reason::ServiceGone, None),
            Owner::Pod { namespace, name } => self.pod(it, namespace, name),
        }
    }

    fn tunnel(&self, _: Tunnel, node: &str) -> Verdict {
        if node.is_empty() {
            Verdict::Kept(Keep::Unknown)
        } else if self.population.nodes.contains_key(node) {
            Verdict::Kept(Keep::TunnelMoved)
        } else {
            Verdict::Leaked(Reason::NodeGone)
        }
    }

    fn pod(&self, it: &Allocation<'_>, namespace: &str, name: &str) -> Verdict {
        let Some(node) = it.node() else { return Verdict::Kept(Keep::Unknown) };
        let pod = self.population.pod(namespace, name);
        if !self.population.nodes.contains_key(node) {
            return Verdict::Leaked(Reason::NodeGone);
        }
        let Some(pod) = pod else { return self.aged(it, Reason::PodGone, None) };
        if pod.is_finished() {
            // What it shows is what it had.
            return self.aged(it, Reason::PodFinished, finished(pod));
        }
        let annotated = pod.metadata.annotations.get(CONTAINER_ID).filter(|it| !it.is_empty());
        let taken_for = it.entry.handle().and_then(sandbox);
        match (annotated, taken_for) {
            (Some(now), Some(then)) if now != then && !shown_by(pod).is_empty() => {
                self.aged(it, Reason::OtherSandbox, None)
            }
            _ => Verdict::Kept(Keep::PodStarts),
        }
    }

    /// Leaked, if it has been so for long enough: since `since`, or since it was taken.
    fn aged(&self, it: &Allocation<'_>, reason: Reason, since: Option<Timestamp>) -> Verdict {
        let Some(since) = since.or_else(|| it.entry.secondary.taken()) else {
            return Verdict::Young(reason, None);
        };
        let age = self.now.duration_since(since);
        if age >= self.grace { Verdict::Leaked(reason) } else { Verdict::Young(reason, Some(age)) }
    }
}

/// When the last container of a pod ended.
fn finished(pod: &Pod) -> Option<Timestamp> {
    let all = &pod.status.container_statuses;
    all.iter().filter_map(|it| it.state.terminated.as_ref()?.finished_at).max()
}

/// `leakGracePeriod` of this cluster; absent when it says nothing, zero when nobody collects.
pub fn grace(snapshot: &Snapshot) -> Known<Duration> {
    let path = "cluster/kubecontrollersconfigurations.crd.projectcalico.org.json";
    let found = snapshot.addresses.controllers.find(path, |it| it.metadata.name == "default");
    found.and_then(|it: &KubeControllersConfiguration| {
        let node = it.spec.controllers.node.as_ref();
        Known::from_option(node.and_then(|it| go_duration(it.leak_grace_period.as_deref()?)))
    })
}

/// A duration as Go writes it: `15m0s`, `1h30m`, `0`, `90s`.
pub fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut all) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (count, behind) = rest.split_at_checked(number)?;
        let unit_end = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, next) = behind.split_at_checked(unit_end)?;
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        let part = count.parse::<f64>().ok()? * seconds;
        all = all.checked_add(Duration::try_from_secs_f64(part).ok()?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipam::Ledger;
    use crate::ipam::fixtures::{SANDBOX, cluster, node, pod};

    /// Verdicts of the one block's allocations, in their order.
    fn verdicts(snapshot: &Snapshot) -> Vec<Verdict> {
        let population = Population::new(snapshot);
        let judge = Judge::new(snapshot, &population).unwrap();
        Ledger::new(snapshot).allocations().map(|(_, it)| judge.judge(&it)).collect()
    }

    const OLD: &str = "2026-01-01 00:00:00 +0000 UTC";
    /// The fixture's time is 12:00.
    const FRESH: &str = "2026-07-12 11:50:00 +0000 UTC";

    fn of_pod(name: &str, node: &str, taken: &str) -> String {
        format!(
            r#"{{"handle_id":"k8s-pod-network.{SANDBOX}","secondary":{{"namespace":"a","pod":"{name}","node":"{node}","timestamp":"{taken}"}}}}"#
        )
    }

    #[test]
    fn what_nobody_uses_is_leaked_when_it_is_old_enough() {
        let mut it = cluster(&[
            of_pod("gone", "n1", OLD),
            of_pod("gone", "n1", FRESH),
            of_pod("gone", "n9", FRESH),
            of_pod("lives", "n1", OLD),
            of_pod("starts", "n1", OLD),
            of_pod("again", "n1", OLD),
        ]);
        it.nodes.items = vec![node("n1")];
        let again = pod("again", "10.0.0.40", Some("f"));
        it.pods.items = vec![pod("lives", "10.0.0.3", None), pod("starts", "", None), again];
        let age = SignedDuration::from_mins(10);
        assert_eq!(
            verdicts(&it),
            [
                Verdict::Leaked(Reason::PodGone),
                Verdict::Young(Reason::PodGone, Some(age)),
                Verdict::Leaked(Reason::NodeGone),
                Verdict::Used,
                Verdict::Kept(Keep::PodStarts),
                Verdict::Leaked(Reason::OtherSandbox),
            ]
        );
    }

    /// calicoctl calls each of these leaked, and would free them while they are in use.
    #[test]
    fn d1_tunnels_of_ipv6_and_d2_stopped_machines_and_d3_other_networks_are_no_leaks() {
        let tunnel = |kind: &str| format!(r#"{{"secondary":{{"type":"{kind}","node":"n1"}}}}"#);
        let mut it = cluster(&[
            tunnel("vxlanV6TunnelAddress"),
            tunnel("wireguardV6TunnelAddress"),
            r#"{"handle_id":"k8s-pod-network.vmi.a.vm1"}"#.to_owned(),
            of_pod("multi", "n1", OLD),
            tunnel("vxlanTunnelAddress"),
            tunnel("vxlanTunnelAddress").replace("n1", "n9"),
            r#"{"handle_id":"windows-reserved-ipam-handle"}"#.to_owned(),
            r#"{"handle_id":"of-somebody-else"}"#.to_owned(),
        ]);
        let mut n1 = node("n1");
        let annotations = &mut n1.metadata.annotations;
        annotations.insert(Tunnel::VxlanV6.annotation().into(), "10.0.0.0".into());
        annotations.insert(Tunnel::WireguardV6.annotation().into(), "10.0.0.1".into());
        it.nodes.items = vec![n1];
        let mut multi = pod("multi", "192.0.2.1", None);
        let status = r#"[{"name":"a","ips":["192.0.2.1"]},{"name":"b","ips":["10.0.0.3"]}]"#;
        multi
            .metadata
            .annotations
            .insert("k8s.v1.cni.cncf.io/network-status".into(), status.into());
        it.pods.items = vec![multi];
        assert_eq!(
            verdicts(&it),
            [
                Verdict::Used,
                Verdict::Used,
                Verdict::Kept(Keep::VirtualMachine),
                Verdict::Used,
                Verdict::Kept(Keep::TunnelMoved),
                Verdict::Leaked(Reason::NodeGone),
                Verdict::Kept(Keep::Windows),
                Verdict::Kept(Keep::Unknown),
            ]
        );
    }

    #[test]
    fn a_part_of_the_pods_proves_nothing() {
        let mut it = cluster(&[of_pod("gone", "n1", OLD)]);
        let can = |it: &Snapshot| Judge::new(it, &Population::new(it)).is_ok();
        it.pods.gap = Some(Gap::new("x", crate::snapshot::GapReason::Forbidden, "no"));
        assert!(!can(&it));
        it.pods.gap = None;
        it.pods.coverage = crate::snapshot::Coverage::Selected(vec!["namespace=a".into()]);
        assert!(!can(&it));
        it.pods.coverage = crate::snapshot::Coverage::All;
        assert!(can(&it));
    }

    #[test]
    fn without_all_services_their_addresses_are_kept() {
        let service = format!(
            r#"{{"handle_id":"lb-x","secondary":{{"type":"LoadBalancer","namespace":"a","service":"s","timestamp":"{OLD}"}}}}"#
        );
        let mut it = cluster(&[service]);
        assert_eq!(verdicts(&it), [Verdict::Leaked(Reason::ServiceGone)]);
        it.addresses.services.coverage = crate::snapshot::Coverage::None;
        assert_eq!(verdicts(&it), [Verdict::Kept(Keep::Unknown)]);
    }

    #[test]
    fn durations_of_go() {
        let seconds = |text: &str| go_duration(text).map(|it| it.as_secs());
        assert_eq!(seconds("15m0s"), Some(900));
        assert_eq!(seconds("1h30m"), Some(5400));
        assert_eq!(seconds("0s"), Some(0));
        assert_eq!(seconds("1.5h"), Some(5400));
        for bad in ["", "15", "m", "1d", "é", "9e9h", "-1m"] {
            assert_eq!(go_duration(bad), None, "{bad:?}");
        }
    }
}
