//! One question to the API server, and the records and gaps that it gives.

use jiff::Timestamp;

use crate::cluster::{ApiError, Cluster, ListRequest, Page};
use crate::snapshot::{Extent, Form, Gap, Provenance, Record, RecordKey, Resource, Sink};

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// A raw GET.
    Raw(&'static str),
    /// A list.
    List(ListRequest),
    /// One object, kept as a list of one, or of none.
    One {
        /// The kind.
        resource: Resource,
        /// API version within its group.
        version: &'static str,
        /// Namespace; empty for cluster-wide objects.
        namespace: String,
        /// Name.
        name: &'static str,
    },
}

/// What came of a question.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) records: Vec<Record>,
    pub(super) gaps: Vec<Gap>,
    /// The error behind the gaps.
    pub(super) error: Option<ApiError>,
}

impl Answer {
    /// Hands everything on.
    pub(super) fn pour(self, sink: &mut dyn Sink) {
        for record in &self.records {
            sink.record(record);
        }
        for gap in self.gaps {
            sink.gap(gap);
        }
    }

    fn of(key: &RecordKey, detail: &str, error: ApiError) -> Self {
        let text =
            if detail.is_empty() { error.to_string() } else { format!("{error} ({detail})") };
        let gap = Gap::new(key.path(), error.gap_reason(), text);
        Self { records: Vec::new(), gaps: vec![gap], error: Some(error) }
    }
}

impl Ask {
    /// The whole list of a kind.
    pub(super) fn all(plural: &str, group: &str, version: &str) -> Self {
        Self::List(ListRequest::all(Resource::new(plural, group), version))
    }

    /// The objects of a kind with these labels, in all namespaces.
    pub(super) fn labelled(plural: &str, group: &str, version: &str, selector: &str) -> Self {
        let request = ListRequest::all(Resource::new(plural, group), version);
        Self::List(ListRequest { label_selector: Some(selector.to_owned()), ..request })
    }

    /// The objects of a kind with this field, in all namespaces.
    pub(super) fn by_field(plural: &str, group: &str, version: &str, selector: String) -> Self {
        let request = ListRequest::all(Resource::new(plural, group), version);
        Self::List(ListRequest { field_selector: Some(selector), ..request })
    }

    /// Asks. It never fails: what cannot be had is a gap.
    pub(super) async fn send(&self, cluster: &Cluster) -> Answer {
        match self {
            Self::Raw(path) => raw(cluster, path).await,
            Self::List(request) => list(cluster, request).await,
            Self::One { .. } => self.one(cluster).await,
        }
    }

    /// For the progress line.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Raw(path) => (*path).to_owned(),
            Self::List(request) => request.resource.to_string(),
            Self::One { resource, name, .. } => format!("{resource} {name}"),
        }
    }

    async fn one(&self, cluster: &Cluster) -> Answer {
        let Self::One { resource, version, namespace, name } = self else {
            return Answer::default();
        };
        let scope = ListRequest {
            namespace: Some(namespace.clone()).filter(|it| !it.is_empty()),
            field_selector: Some(format!("metadata.name={name}")),
            ..ListRequest::all(resource.clone(), version)
        };
        let path = format!("{}/{name}", scope.path());
        let key = RecordKey::List(resource.clone());
        let items = match cluster.get_raw(&path).await {
            Ok(body) => body,
            Err(error) if error.is_not_found() => Vec::new(),
            Err(error) => return Answer::of(&key, "", error),
        };
        let body =
            [br#"{"apiVersion":"v1","kind":"List","items":["#.as_slice(), &items, b"]}"].concat();
        let extent = Extent { selector: scope.selector(), ..Extent::default() };
        Answer { records: vec![record(key, body, path, extent)], ..Answer::default() }
    }
}

async fn raw(cluster: &Cluster, path: &str) -> Answer {
    let key = RecordKey::Api(path.to_owned());
    match cluster.get_raw(path).await {
        Ok(body) => Answer {
            records: vec![record(key, body, path.to_owned(), Extent::default())],
            ..Answer::default()
        },
        Err(error) => Answer::of(&key, "", error),
    }
}

async fn list(cluster: &Cluster, request: &ListRequest) -> Answer {
    let key = RecordKey::List(request.resource.clone());
    let selector = request.selector();
    let mut pages: Vec<Page> = Vec::new();
    let result = cluster
        .list(request, &mut |page| {
            if page.is_first {
                pages.clear();
            }
            pages.push(page);
        })
        .await;
    let mut answer = match result {
        Ok(()) => Answer::default(),
        Err(error) => Answer::of(&key, selector.as_deref().unwrap_or_default(), error),
    };
    let last = pages.len().saturating_sub(1);
    for (place, page) in pages.into_iter().enumerate() {
        let extent = Extent {
            selector: selector.clone(),
            form: request.form,
            resource_version: page.resource_version,
            complete: place < last || answer.error.is_none(),
        };
        answer.records.push(record(key.clone(), page.body, request.path(), extent));
    }
    answer
}

fn record(key: RecordKey, body: Vec<u8>, path: String, extent: Extent) -> Record {
    debug_assert!(extent.form != Form::Table, "tables are not read here");
    Record { key, body, at: Timestamp::now(), from: Provenance::Api(path), extent }
}
