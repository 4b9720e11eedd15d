//! Who may break what: a node for one test, or the whole cluster for one test.

use super::Testbed;
use super::error::Error;
use super::lock::FileLock;
use super::node::Node;
use super::wait::wait_every;
use std::ops::Deref;
use std::time::Duration;

/// How long a test waits for its turn. Others hold a node for a minute or two.
const TURN: Duration = Duration::from_secs(20 * 60);

/// A node that nobody else breaks.
#[derive(Debug)]
pub struct NodeLease {
    node: Node,
    _node_lock: FileLock,
    _cluster_shared: FileLock,
}

impl Deref for NodeLease {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

/// The cluster, to be broken as a whole. Nobody has a lease meanwhile.
#[derive(Debug)]
pub struct ClusterLock {
    _cluster: FileLock,
}

impl Testbed {
    /// Waits for a node that nobody else has, and for it to work.
    pub fn lease_node(&self) -> Result<NodeLease, Error> {
        let names: Vec<&str> = self.nodes().iter().map(Node::name).collect();
        self.lease_one_of(&names)
    }

    /// Waits for this node.
    pub fn lease_named(&self, name: &str) -> Result<NodeLease, Error> {
        self.lease_one_of(&[name])
    }

    /// Waits for the whole cluster, and for all of it to work.
    pub fn lock_cluster(&self) -> Result<ClusterLock, Error> {
        let _queue = self.queue()?;
        let cluster = FileLock::exclusive(&self.lock_file("cluster"), TURN)?;
        self.repair_cluster()?;
        for node in self.nodes() {
            self.repair_node(node)?;
        }
        Ok(ClusterLock { _cluster: cluster })
    }

    fn lock_file(&self, name: &str) -> std::path::PathBuf {
        self.layout().locks().join(name)
    }

    /// One waits in front of all others, so that leases that come and go cannot keep somebody from the cluster for ever.
    fn queue(&self) -> Result<FileLock, Error> {
        FileLock::exclusive(&self.lock_file("queue"), TURN)
    }

    fn lease_one_of(&self, names: &[&str]) -> Result<NodeLease, Error> {
        let queue = self.queue()?;
        let cluster_shared = FileLock::shared(&self.lock_file("cluster"), TURN)?;
        let (node, node_lock) =
            wait_every("a node is free", TURN, Duration::from_millis(100), || {
                self.free_node(names).map_or_else(
                    |error| Ok(Err(error)),
                    |found| found.map(Ok).ok_or_else(|| "all are leased".to_owned()),
                )
            })??;
        drop(queue);
        self.repair_node(&node)?;
        Ok(NodeLease { node, _node_lock: node_lock, _cluster_shared: cluster_shared })
    }

    fn free_node(&self, names: &[&str]) -> Result<Option<(Node, FileLock)>, Error> {
        for name in names {
            let node = self.node(name)?;
            if let Some(lock) = FileLock::try_exclusive(&self.lock_file(&format!("node-{name}")))? {
                return Ok(Some((node.clone(), lock)));
            }
        }
        Ok(None)
    }
}
