//! An address as somebody held it when it was looked at, and what would show that it is used after all.

use core::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::owner::sandbox;
use super::population::{CONTAINER_ID, service_addresses, shown_by};
use super::{Allocation, Owner};
use crate::slim::{Pod, Service};

/// An address that somebody held, as it was seen. Whoever releases it compares handle and sequence number: a later owner has
/// others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The address.
    pub address: IpAddr,
    /// Its distance from the first one of its block.
    pub ordinal: usize,
    /// Handle under which it was taken, as Calico compares handles; none where it was taken without one.
    pub handle: Option<String>,
    /// The block's sequence number when it was taken; 0 in blocks of old releases.
    pub sequence: u64,
    /// The entry of its owner, whole, so that it can be given back.
    pub entry: Value,
    /// Who would show that it is used.
    pub holder: Holder,
}

/// Who would show that an address is used. It is asked again immediately before the address is released.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Holder {
    /// A pod.
    #[serde(rename_all = "camelCase")]
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// A node that does not exist, which is why the address is nobody's; none where the node does not matter.
        gone_node: Option<String>,
    },
    /// A node that does not exist: the address was its tunnel's.
    #[serde(rename_all = "camelCase")]
    Node {
        /// Its name.
        name: String,
    },
    /// A Service.
    #[serde(rename_all = "camelCase")]
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Nobody is asked: a person said that it is to go.
    Nobody,
}

/// Who would show that an address is used, as they are now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Witnesses<'a> {
    /// The pod; none when there is none.
    pub pod: Option<&'a Pod>,
    /// Whether the node exists.
    pub node_exists: bool,
    /// The Service; none when there is none.
    pub service: Option<&'a Service>,
}

impl Holder {
    /// Who would show that this address is used; none where its owner is of a kind that nobody can be asked about. `node_exists`
    /// tells whether the node that it was taken on does.
    pub fn of(it: &Allocation<'_>, node_exists: bool) -> Option<Self> {
        match it.owner() {
            Owner::Pod { namespace, name } => Some(Self::Pod {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                gone_node: it.node().filter(|_| !node_exists).map(str::to_owned),
            }),
            Owner::Tunnel { node, .. } if !node.is_empty() => {
                Some(Self::Node { name: node.to_owned() })
            }
            Owner::Service { namespace, name } => {
                Some(Self::Service { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => None,
        }
    }
}

impl Held {
    /// Why it must not be released: somebody uses it, or is about to; none when nobody does.
    pub fn used_by(&self, seen: Witnesses<'_>) -> Option<String> {
        match &self.holder {
            Holder::Nobody => None,
            Holder::Node { name } => seen.node_exists.then(|| format!("node {name} exists again")),
            Holder::Pod { gone_node: Some(node), .. } if seen.node_exists => {
                Some(format!("node {node} exists again"))
            }
            Holder::Pod { .. } => self.used_by_pod(seen.pod?),
            Holder::Service { namespace, name } => {
                let shows = service_addresses(seen.service?).contains(&self.address);
                shows.then(|| format!("Service {namespace}/{name} has it"))
            }
        }
    }

    fn used_by_pod(&self, pod: &Pod) -> Option<String> {
        if pod.is_finished() {
            return None;
        }
        let shown = shown_by(pod);
        if shown.contains(&self.address) {
            return Some(format!("pod {} shows it", pod.full_name()));
        }
        if shown.is_empty() {
            return Some(format!("pod {} has no address yet", pod.full_name()));
        }
        let now = pod.metadata.annotations.get(CONTAINER_ID).map(String::as_str);
        let then = self.handle.as_deref().and_then(sandbox);
        (now.is_some() && now == then)
            .then(|| format!("pod {} still has the sandbox that it was taken for", pod.full_name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipam::fixtures::{SANDBOX, pod};

    fn held(holder: Holder) -> Held {
        Held {
            address: "10.0.0.5".parse().unwrap(),
            ordinal: 5,
            handle: Some(format!("k8s-pod-network.{SANDBOX}")),
            sequence: 7,
            entry: Value::Null,
            holder,
        }
    }

    fn of_pod(gone_node: Option<&str>) -> Held {
        let gone_node = gone_node.map(str::to_owned);
        held(Holder::Pod { namespace: "a".into(), name: "p".into(), gone_node })
    }

    #[test]
    fn a_pod_that_shows_it_or_may_yet_keeps_it() {
        let why =
            |pod: &Pod| of_pod(None).used_by(Witnesses { pod: Some(pod), ..Witnesses::default() });
        assert_eq!(why(&pod("p", "10.0.0.5", None)).as_deref(), Some("pod a/p shows it"));
        assert_eq!(why(&pod("p", "", None)).as_deref(), Some("pod a/p has no address yet"));
        assert!(why(&pod("p", "10.0.0.9", Some(SANDBOX))).is_some_and(|it| it.contains("sandbox")));
        assert_eq!(why(&pod("p", "10.0.0.9", Some("other"))), None);
        let mut finished = pod("p", "10.0.0.5", None);
        finished.status.phase = "Failed".into();
        assert_eq!(why(&finished), None);
        assert_eq!(of_pod(None).used_by(Witnesses::default()), None);
    }

    #[test]
    fn a_node_that_is_back_keeps_all_of_its_addresses() {
        let back = Witnesses { node_exists: true, ..Witnesses::default() };
        let tunnel = held(Holder::Node { name: "n9".into() });
        assert_eq!(tunnel.used_by(back).as_deref(), Some("node n9 exists again"));
        assert_eq!(tunnel.used_by(Witnesses::default()), None);
        assert_eq!(of_pod(Some("n9")).used_by(back).as_deref(), Some("node n9 exists again"));
        assert_eq!(of_pod(None).used_by(back), None, "the node never was a reason");
    }

    #[test]
    fn a_service_that_has_it_keeps_it() {
        let it = held(Holder::Service { namespace: "a".into(), name: "s".into() });
        let json = r#"{"status":{"loadBalancer":{"ingress":[{"ip":"10.0.0.5"}]}}}"#;
        let service: Service = serde_json::from_str(json).unwrap();
        let seen = Witnesses { service: Some(&service), ..Witnesses::default() };
        assert_eq!(it.used_by(seen).as_deref(), Some("Service a/s has it"));
        let other = Service::default();
        assert_eq!(it.used_by(Witnesses { service: Some(&other), ..seen }), None);
    }
}
