//! What a run has made: so that all of it is deleted, however the run ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{self, StreamExt};
use serde_json::Value;
use tokio::sync::RwLock;

use super::NodePodError;
use crate::cluster::{ApiError, Cluster, Write};
use crate::plan::ObjectRef;

/// Deletions under way at once.
const CONCURRENCY: usize = 20;

/// A pod that could not be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBehind {
    /// `namespace/name`
    pub pod: String,
    /// Why.
    pub why: String,
}

/// Pods that exist, or may exist, because of us.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// True when nothing more may be made. Whoever makes something holds a share of it until the answer is known.
    closed: Arc<RwLock<bool>>,
    /// By name; the uid is empty while it is not known.
    pods: Mutex<BTreeMap<String, (ObjectRef, String)>>,
}

impl Ledger {
    /// Creates a pod. The request goes on when this future is dropped, so that its outcome is known to [`Self::close`].
    pub(super) async fn create(
        self: &Arc<Self>,
        cluster: &Cluster,
        object: ObjectRef,
        body: Value,
        field_manager: &str,
    ) -> Result<Value, NodePodError> {
        let share = self.closed.clone().read_owned().await;
        if *share {
            return Err(NodePodError::Closed);
        }
        self.note(&object, "");
        let (ledger, cluster) = (self.clone(), cluster.clone());
        let manager = field_manager.to_owned();
        let request = tokio::spawn(async move {
            let answer = cluster.create(&object, &body, Write::by(&manager)).await;
            match &answer {
                Ok(made) => ledger.note(&object, uid_of(made)),
                Err(error) if was_refused(error) => ledger.forget(&object),
                Err(_) => {}
            }
            drop(share);
            answer
        });
        match request.await {
            Ok(answer) => answer.map_err(NodePodError::Api),
            Err(_) => Err(NodePodError::Closed),
        }
    }

    /// Deletes one pod now.
    pub(super) async fn delete(&self, cluster: &Cluster, name: &str) -> Result<(), LeftBehind> {
        let found = self.lock().get(name).cloned();
        match found {
            Some((object, uid)) => self.remove(cluster, object, uid).await,
            None => Ok(()),
        }
    }

    /// Deletes everything; nothing can be created any more.
    pub(super) async fn close(&self, cluster: &Cluster) -> Vec<LeftBehind> {
        *self.closed.write().await = true;
        let all: Vec<_> = self.lock().values().cloned().collect();
        let removals = all.into_iter().map(|(object, uid)| self.remove(cluster, object, uid));
        let ends: Vec<_> = stream::iter(removals).buffered(CONCURRENCY).collect().await;
        ends.into_iter().filter_map(Result::err).collect()
    }

    /// The pod's specification gives it no grace, so that a deletion is complete when it is answered.
    async fn remove(
        &self,
        cluster: &Cluster,
        object: ObjectRef,
        uid: String,
    ) -> Result<(), LeftBehind> {
        let left = |error: ApiError| LeftBehind {
            pod: format!("{}/{}", object.namespace, object.name),
            why: error.to_string(),
        };
        let uid = if uid.is_empty() {
            // The creation gave no answer. Its name is ours alone.
            let Some(found) = cluster.get_json(&object).await.map_err(left)? else {
                self.forget(&object);
                return Ok(());
            };
            uid_of(&found).to_owned()
        } else {
            uid
        };
        match cluster.delete(&object, &uid, false).await {
            Ok(()) | Err(ApiError::NotFound { .. } | ApiError::Conflict { .. }) => {
                self.forget(&object);
                Ok(())
            }
            Err(error) => Err(left(error)),
        }
    }

    fn note(&self, object: &ObjectRef, uid: &str) {
        self.lock().insert(object.name.clone(), (object.clone(), uid.to_owned()));
    }

    fn forget(&self, object: &ObjectRef) {
        self.lock().remove(&object.name);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (ObjectRef, String)>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn uid_of(object: &Value) -> &str {
    object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default()
}

/// True when the answer proves that nothing was created.
fn was_refused(error: &ApiError) -> bool {
    matches!(
        error,
        ApiError::Forbidden { .. }
            | ApiError::NotFound { .. }
            | ApiError::Unauthorized { .. }
            | ApiError::Conflict { .. }
            | ApiError::Invalid { .. }
    )
}
