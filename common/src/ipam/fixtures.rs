//! A cluster of one block, for tests.

use crate::calico::IpPool;
use crate::calico::ipam::{BlockAffinity, IpamBlock, IpamHandle};
use crate::slim::{Metadata, Node, Pod};
use crate::snapshot::{Coverage, Snapshot, SnapshotBuilder};

/// Id of the sandbox that addresses of tests are taken for.
pub(crate) const SANDBOX: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

/// Everything was read at 2026-07-12 12:00; block 10.0.0.0/26 has these owners, one address each.
pub(crate) fn cluster(owners: &[String]) -> Snapshot {
    let mut it = SnapshotBuilder::new().finish("2026-07-12T12:00:00Z".parse().unwrap());
    it.addresses.blocks.items = vec![block("10.0.0.0/26", owners)];
    for (coverage, gap) in [
        (&mut it.pods.coverage, &mut it.pods.gap),
        (&mut it.nodes.coverage, &mut it.nodes.gap),
        (&mut it.ip_pools.coverage, &mut it.ip_pools.gap),
        (&mut it.deployments.coverage, &mut it.deployments.gap),
        (&mut it.addresses.blocks.coverage, &mut it.addresses.blocks.gap),
        (&mut it.addresses.handles.coverage, &mut it.addresses.handles.gap),
        (&mut it.addresses.affinities.coverage, &mut it.addresses.affinities.gap),
        (&mut it.addresses.configurations.coverage, &mut it.addresses.configurations.gap),
        (&mut it.addresses.controllers.coverage, &mut it.addresses.controllers.gap),
        (&mut it.addresses.reservations.coverage, &mut it.addresses.reservations.gap),
        (&mut it.addresses.services.coverage, &mut it.addresses.services.gap),
    ] {
        *coverage = Coverage::All;
        *gap = None;
    }
    it
}

/// A block without a fault whose first addresses have these owners.
pub(crate) fn block(cidr: &str, owners: &[String]) -> IpamBlock {
    let net = super::cidr::parse(cidr).unwrap();
    let size = usize::try_from(super::cidr::size(&net).unwrap()).unwrap();
    let mut it = IpamBlock::default();
    it.metadata.name = super::cidr::block_name(&net);
    it.spec.cidr = cidr.to_owned();
    it.spec.affinity = Some("host:n1".into());
    let taken = |place: usize| (place < owners.len()).then(|| i64::try_from(place).unwrap());
    it.spec.allocations = (0..size).map(taken).collect();
    it.spec.unallocated = (owners.len()..size).map(|it| i64::try_from(it).unwrap()).collect();
    it.spec.attributes = owners.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    it
}

pub(crate) fn node(name: &str) -> Node {
    let mut it = Node::default();
    it.metadata.name = name.into();
    it
}

/// A running pod of namespace `a` on `n1`.
pub(crate) fn pod(name: &str, address: &str, sandbox: Option<&str>) -> Pod {
    let mut it = Pod::default();
    it.metadata.namespace = "a".into();
    it.metadata.name = name.into();
    it.spec.node_name = "n1".into();
    it.status.phase = "Running".into();
    it.status.pod_ip = address.into();
    let annotation = "cni.projectcalico.org/containerID".to_owned();
    it.metadata.annotations.extend(sandbox.map(|id| (annotation, id.to_owned())));
    it
}

/// A pool whose blocks have the usual size.
pub(crate) fn pool(name: &str, cidr: &str) -> IpPool {
    let mut it = IpPool::default();
    it.metadata.name = name.into();
    it.spec.cidr = cidr.into();
    it
}

/// A confirmed affinity that was made long ago.
pub(crate) fn affinity(node: &str, cidr: &str) -> BlockAffinity {
    let name = format!("{node}-{}", super::cidr::block_name(&cidr.parse().unwrap()));
    let mut it = BlockAffinity { metadata: old(&name), ..BlockAffinity::default() };
    it.spec.node = node.into();
    it.spec.cidr = cidr.into();
    it
}

/// A handle with one address, made long ago.
pub(crate) fn handle(id: &str, cidr: &str) -> IpamHandle {
    let mut it = IpamHandle { metadata: old(&id.to_lowercase()), ..IpamHandle::default() };
    it.spec.handle_id = id.into();
    it.spec.block.insert(cidr.into(), 1);
    it
}

fn old(name: &str) -> Metadata {
    Metadata {
        name: name.into(),
        creation_timestamp: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        ..Metadata::default()
    }
}

/// Who has an address for a pod of namespace `a` on `n1`; the sandbox is of that number. Taken long ago.
pub(crate) fn of_pod(name: &str, sandbox: usize) -> String {
    format!(
        r#"{{"handle_id":"{}","secondary":{{"namespace":"a","pod":"{name}","node":"n1","timestamp":"2026-01-01 00:00:00 +0000 UTC"}}}}"#,
        handle_id(sandbox)
    )
}

/// The handle of a pod's address whose sandbox is of that number.
pub(crate) fn handle_id(sandbox: usize) -> String {
    format!("k8s-pod-network.{sandbox:064x}")
}
