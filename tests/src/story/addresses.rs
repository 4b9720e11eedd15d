//! Blocks, handles and affinities on the testbed's API server. The stand-in for Calico's CNI plugin keeps its addresses elsewhere,
//! so whoever tests `calico-ipam` writes what the real one would have written.

use serde_json::{Value, json};

use crate::testbed::{Error, Testbed};

/// Group and version of what is written.
const API_VERSION: &str = "crd.projectcalico.org/v1";
/// What the first write of a block has for a sequence number: larger than 2^53, as the real ones.
const SEQUENCE: u64 = 1_723_456_789_012_345_678;

/// Objects of IPAM that are deleted again when this is dropped.
#[derive(Debug)]
pub struct Addresses<'a> {
    testbed: &'a Testbed,
    made: Vec<(String, String)>,
}

/// One owner of an address.
#[derive(Debug, Clone)]
pub struct Owner {
    /// Distance of the address from the block's first one.
    pub ordinal: usize,
    /// Its handle.
    pub handle: String,
    /// What the allocator noted.
    pub attributes: Value,
}

impl Owner {
    /// A pod, which got the address long ago.
    pub fn pod(ordinal: usize, node: &str, namespace: &str, name: &str, sandbox: &str) -> Self {
        Self {
            ordinal,
            handle: format!("k8s-pod-network.{sandbox}"),
            attributes: json!({
                "namespace": namespace, "pod": name, "node": node,
                "timestamp": "2026-01-02 03:04:05.678901234 +0000 UTC",
            }),
        }
    }

    /// The VXLAN tunnel of a node.
    pub fn tunnel(ordinal: usize, node: &str) -> Self {
        Self {
            ordinal,
            handle: format!("vxlan-tunnel-addr-{node}"),
            attributes: json!({ "node": node, "type": "vxlanTunnelAddress" }),
        }
    }
}

impl<'a> Addresses<'a> {
    /// Nothing yet.
    pub fn new(testbed: &'a Testbed) -> Self {
        Self { testbed, made: Vec::new() }
    }

    /// A block of a node with these owners, its affinity, and a handle for each owner.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub fn block(&mut self, cidr: &str, node: &str, owners: &[Owner]) -> Result<(), Error> {
        let name = cidr.replace(['.', '/'], "-");
        self.create("ipamblocks", "IPAMBlock", &name, &block(cidr, node, owners))?;
        let affinity = json!({
            "cidr": cidr, "node": node, "state": "confirmed", "deleted": "false", "type": "host",
        });
        self.create("blockaffinities", "BlockAffinity", &format!("{node}-{name}"), &affinity)?;
        owners.iter().try_for_each(|owner| self.handle(&owner.handle, cidr))
    }

    /// A handle of one address of a block.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn handle(&mut self, id: &str, cidr: &str) -> Result<(), Error> {
        let handle = json!({ "handleID": id, "block": { cidr: 1 }, "deleted": false });
        self.create("ipamhandles", "IPAMHandle", &id.to_lowercase(), &handle)
    }

    fn create(&mut self, plural: &str, kind: &str, name: &str, spec: &Value) -> Result<(), Error> {
        let object = json!({
            "apiVersion": API_VERSION, "kind": kind, "metadata": { "name": name }, "spec": spec,
        });
        let folder = tempfile::tempdir().map_err(|error| odd("a directory", &error))?;
        let file = folder.path().join("object.json");
        std::fs::write(&file, object.to_string()).map_err(|error| odd("a file", &error))?;
        let file = file.to_string_lossy().into_owned();
        // kubectl's own validation has no word for the nulls of a block.
        self.testbed.kubectl(&["create", "--validate=false", "-f", &file])?;
        self.made.push((format!("{plural}.crd.projectcalico.org"), name.to_owned()));
        Ok(())
    }

    /// Names and versions of everything that IPAM stores: what reading must not change.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn versions(&self) -> Result<String, Error> {
        let kinds = "ipamblocks,ipamhandles,blockaffinities,ipamconfigs,ippools,ipreservations";
        let columns = "custom-columns=K:.kind,N:.metadata.name,V:.metadata.resourceVersion";
        self.testbed.kubectl(&["get", kinds, "-o", columns])
    }
}

impl Drop for Addresses<'_> {
    fn drop(&mut self) {
        for (plural, name) in &self.made {
            let words = ["delete", plural.as_str(), name.as_str(), "--ignore-not-found"];
            // What cannot be deleted now is gone with the testbed.
            drop(self.testbed.kubectl(&words));
        }
    }
}

fn block(cidr: &str, node: &str, owners: &[Owner]) -> Value {
    let prefix: u32 = cidr.split('/').nth(1).and_then(|it| it.parse().ok()).unwrap_or(32);
    let size = 1_usize << (32 - prefix.min(32));
    let mut allocations = vec![Value::Null; size];
    let mut attributes = Vec::new();
    let mut sequences = serde_json::Map::new();
    for owner in owners {
        if let Some(place) = allocations.get_mut(owner.ordinal) {
            *place = json!(attributes.len());
        }
        attributes.push(json!({ "handle_id": owner.handle, "secondary": owner.attributes }));
        sequences.insert(owner.ordinal.to_string(), json!(SEQUENCE));
    }
    let taken = |it: &usize| owners.iter().any(|owner| owner.ordinal == *it);
    let queue: Vec<usize> = (0..size).filter(|it| !taken(it)).collect();
    json!({
        "cidr": cidr, "affinity": format!("host:{node}"), "allocations": allocations,
        "unallocated": queue, "attributes": attributes, "sequenceNumber": SEQUENCE + 7,
        "sequenceNumberForAllocation": sequences, "deleted": false, "strictAffinity": false,
    })
}

fn odd(what: &str, why: &dyn std::fmt::Display) -> Error {
    Error::Odd { what: what.to_owned(), why: why.to_string() }
}
