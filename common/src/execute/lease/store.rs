//! Where the Lease is kept: an API server, or a stand-in in tests.

use jiff::Timestamp;
use serde_json::Value;

use super::{NAME, NAMESPACE};
use crate::cluster::{ApiError, Cluster, Question, Write};
use crate::plan::ObjectRef;

/// Keeps one Lease. Every method ends by itself within a limit of time.
pub trait LeaseStore: Clone + Send + Sync + 'static {
    /// The Lease; none when there is none.
    fn get(&self) -> impl Future<Output = Result<Option<Value>, ApiError>> + Send;

    /// Makes it, and gives it back as stored. [`ApiError::Conflict`] when there is one.
    fn create(&self, lease: &Value) -> impl Future<Output = Result<Value, ApiError>> + Send;

    /// Replaces the one of the same resource version. [`ApiError::Conflict`] when it is another by now.
    fn update(&self, lease: &Value) -> impl Future<Output = Result<Value, ApiError>> + Send;

    /// Deletes it if it still is this one in this version.
    fn delete(
        &self,
        uid: &str,
        resource_version: &str,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// The time by the clock that all holders share: the API server's.
    fn now(&self) -> Timestamp;
}

fn object() -> ObjectRef {
    ObjectRef {
        group: "coordination.k8s.io".to_owned(),
        version: "v1".to_owned(),
        plural: "leases".to_owned(),
        namespace: NAMESPACE.to_owned(),
        name: NAME.to_owned(),
    }
}

/// The Lease in a cluster.
#[derive(Clone, Debug)]
pub struct ClusterLease {
    cluster: Cluster,
    /// `kubectl-calico-<plugin>`
    field_manager: &'static str,
}

impl ClusterLease {
    /// That of `cluster`, written by the plugin that calls itself `field_manager`.
    pub fn new(cluster: &Cluster, field_manager: &'static str) -> Self {
        Self { cluster: cluster.clone(), field_manager }
    }

    /// Who may make the Lease but neither renew nor delete it would leave it behind, and be without it after 30 s.
    async fn must_be_allowed(&self, verb: &str) -> Result<(), ApiError> {
        let question = Question {
            verb: verb.to_owned(),
            group: "coordination.k8s.io".to_owned(),
            resource: "leases".to_owned(),
            namespace: NAMESPACE.to_owned(),
            name: NAME.to_owned(),
            ..Question::default()
        };
        match self.cluster.can_i(&question).await {
            Ok(false) => Err(ApiError::Forbidden {
                attempted: format!("{verb} leases.coordination.k8s.io {NAMESPACE}/{NAME}"),
                message: "the API server says that you may not".to_owned(),
            }),
            // Where nobody answers, trying tells.
            Ok(true) | Err(_) => Ok(()),
        }
    }
}

impl LeaseStore for ClusterLease {
    async fn get(&self) -> Result<Option<Value>, ApiError> {
        self.cluster.get_json(&object()).await
    }

    async fn create(&self, lease: &Value) -> Result<Value, ApiError> {
        for verb in ["update", "delete"] {
            self.must_be_allowed(verb).await?;
        }
        self.cluster.create(&object(), lease, Write::by(self.field_manager)).await
    }

    async fn update(&self, lease: &Value) -> Result<Value, ApiError> {
        self.cluster.update(&object(), lease, Write::by(self.field_manager)).await
    }

    async fn delete(&self, uid: &str, resource_version: &str) -> Result<(), ApiError> {
        self.cluster.delete_version(&object(), uid, resource_version, false).await
    }

    fn now(&self) -> Timestamp {
        self.cluster.now()
    }
}
