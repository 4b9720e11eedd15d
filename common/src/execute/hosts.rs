//! What operations need of the nodes' hosts: ephemeral privileged pods, or a stand-in in tests.

use crate::plan::{BinarySource, HostOperation};
use crate::snapshot::{Gap, GapReason};

use super::{PerformError, Performed};

/// Works on hosts. Every method ends by itself.
pub trait Hosts {
    /// Carries the operation out on the node. `content` is what a file is to hold.
    fn operate(
        &self,
        node: &str,
        operation: &HostOperation,
        content: Option<&[u8]>,
    ) -> impl Future<Output = Result<Performed, PerformError>>;

    /// What the probe prints on the node's host, or why nobody can look there.
    fn probe(&self, node: &str) -> impl Future<Output = Result<Vec<u8>, Gap>>;

    /// What the scan for residues prints on the node's host, or why nobody can look there.
    fn residues(&self, node: &str) -> impl Future<Output = Result<Vec<u8>, Gap>>;

    /// An archive of what the node has of Calico.
    fn back_up(&self, node: &str) -> impl Future<Output = Result<Vec<u8>, PerformError>> {
        let _ = node;
        async { Err(PerformError::Rejected(NO_WAY.to_owned())) }
    }

    /// The bytes of a CNI plugin's binary for the node.
    fn binary(
        &self,
        node: &str,
        name: &str,
        source: &BinarySource,
    ) -> impl Future<Output = Result<Vec<u8>, PerformError>>;
}

/// No way to any host: for plans that need none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHosts;

const NO_WAY: &str = "there is no way to the node's host";

impl Hosts for NoHosts {
    async fn operate(
        &self,
        _node: &str,
        _operation: &HostOperation,
        _content: Option<&[u8]>,
    ) -> Result<Performed, PerformError> {
        Err(PerformError::Rejected(NO_WAY.to_owned()))
    }

    async fn probe(&self, _node: &str) -> Result<Vec<u8>, Gap> {
        Err(Gap::new("probe.txt", GapReason::NotAsked, NO_WAY))
    }

    async fn residues(&self, _node: &str) -> Result<Vec<u8>, Gap> {
        Err(Gap::new("residues.txt", GapReason::NotAsked, NO_WAY))
    }

    async fn binary(
        &self,
        _node: &str,
        _name: &str,
        _source: &BinarySource,
    ) -> Result<Vec<u8>, PerformError> {
        Err(PerformError::Rejected(NO_WAY.to_owned()))
    }
}
