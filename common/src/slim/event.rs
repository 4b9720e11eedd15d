//! Events.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Metadata;

/// What a component said about an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// Metadata.
    pub metadata: Metadata,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Machine-readable reason, e.g. `FailedCreatePodSandBox`.
    pub reason: String,
    /// Text for a person. It is foreign data: escape it before a terminal sees it.
    pub message: String,
    /// How often it was seen.
    pub count: Option<i64>,
    /// First time (core/v1 events).
    pub first_timestamp: Option<Timestamp>,
    /// Last time (core/v1 events).
    pub last_timestamp: Option<Timestamp>,
    /// Time of an event of the newer form.
    pub event_time: Option<Timestamp>,
    /// The object it is about.
    pub involved_object: ObjectReference,
    /// Who said it.
    pub source: EventSource,
}

/// A reference to an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
}

/// Who emitted an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventSource {
    /// Component, e.g. `kubelet`.
    pub component: String,
    /// Node it ran on.
    pub host: String,
}

impl Event {
    /// The newest time it was seen.
    pub fn last_seen(&self) -> Option<Timestamp> {
        self.last_timestamp
            .or(self.event_time)
            .or(self.first_timestamp)
            .or(self.metadata.creation_timestamp)
    }
}
