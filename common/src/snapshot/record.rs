//! Raw answers with their provenance. A live cluster and a bundle pour the same records into a [`Sink`].

use std::fmt;

use jiff::Timestamp;

use super::{Form, Gap};

/// A kind of object as the API names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// Plural, lower case: `pods`.
    pub plural: String,
    /// API group; empty for the core group.
    pub group: String,
}

impl Resource {
    /// The resource `plural` of `group` (empty: core).
    pub fn new(plural: &str, group: &str) -> Self {
        Self { plural: plural.to_owned(), group: group.to_owned() }
    }
}

/// `pods`, `daemonsets.apps`
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plural)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// What a record is an answer to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKey {
    /// A list of objects, or one page of it.
    List(Resource),
    /// A raw GET of this path (`/version`, `/openid/v1/jwks`).
    Api(String),
    /// The probe of this node.
    Probe(String),
    /// A container's log.
    Log {
        /// Namespace of the pod.
        namespace: String,
        /// The pod.
        pod: String,
        /// The container.
        container: String,
        /// True for the log of the container's previous run.
        previous: bool,
    },
}

/// How much of what it answers a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The selector that was sent; none means everything (see [`super::Coverage::Selected`] for the form).
    pub selector: Option<String>,
    /// How the objects were asked for.
    pub form: Form,
    /// `resourceVersion` of the list.
    pub resource_version: Option<String>,
    /// False when the answer was cut short.
    pub complete: bool,
}

impl Default for Extent {
    fn default() -> Self {
        Self { selector: None, form: Form::Full, resource_version: None, complete: true }
    }
}

/// Who gave the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// The API server, by this URL path.
    Api(String),
    /// A probe in this pod (`namespace/name`).
    Exec(String),
    /// A file of a bundle, by its path there.
    Bundle(String),
}

/// One raw answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it answers.
    pub key: RecordKey,
    /// The answer, byte for byte (already redacted where it would hold a secret).
    pub body: Vec<u8>,
    /// When it came.
    pub at: Timestamp,
    /// Who gave it.
    pub from: Provenance,
    /// How much of the whole it is.
    pub extent: Extent,
}

/// Takes records and gaps as they come: the snapshot builder, a bundle's writer, or both.
pub trait Sink: Send {
    /// Takes one answer.
    fn record(&mut self, record: &Record);
    /// Takes one thing that could not be had.
    fn gap(&mut self, gap: Gap);
}
