//! Paged lists, raw.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::object::collection_path;
use super::request::{Ask, encode};
use super::{ApiError, Cluster};
use crate::snapshot::{Form, Resource};

/// Objects per page: kubectl's `--chunk-size`.
const PAGE_SIZE: u32 = 500;
/// How often a list is begun at most when its continue token expires.
const STARTS: u32 = 3;

/// Which objects to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRequest {
    /// The kind.
    pub resource: Resource,
    /// API version within its group.
    pub version: String,
    /// Namespace; none for all.
    pub namespace: Option<String>,
    /// Label selector.
    pub label_selector: Option<String>,
    /// Field selector.
    pub field_selector: Option<String>,
    /// Whole objects, or less.
    pub form: Form,
}

impl ListRequest {
    /// All objects of a kind, in full.
    pub fn all(resource: Resource, version: &str) -> Self {
        Self {
            resource,
            version: version.to_owned(),
            namespace: None,
            label_selector: None,
            field_selector: None,
            form: Form::Full,
        }
    }

    /// The selection in the form that [`crate::snapshot::Extent::selector`] keeps; none for everything.
    pub fn selector(&self) -> Option<String> {
        let parts = [
            ("fieldSelector", &self.field_selector),
            ("labelSelector", &self.label_selector),
            ("namespace", &self.namespace),
        ];
        let named: Vec<_> = parts
            .into_iter()
            .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={value}")))
            .collect();
        (!named.is_empty()).then(|| named.join("&"))
    }

    /// URL path, without query.
    pub fn path(&self) -> String {
        let Resource { plural, group } = &self.resource;
        collection_path(group, &self.version, plural, self.namespace.as_deref())
    }

    fn page_path(&self, token: &str) -> String {
        let mut path = format!("{}?limit={PAGE_SIZE}", self.path());
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                path.extend(["&", name, "=", &encode(value)]);
            }
        };
        add("labelSelector", self.label_selector.as_deref().unwrap_or_default());
        add("fieldSelector", self.field_selector.as_deref().unwrap_or_default());
        add("continue", token);
        path
    }

    fn accept(&self) -> &'static str {
        match self.form {
            Form::Full => super::request::JSON,
            Form::Metadata => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            Form::Table => "application/json;as=Table;g=meta.k8s.io;v=v1",
        }
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The answer, byte for byte.
    pub body: Vec<u8>,
    /// `resourceVersion` of the list.
    pub resource_version: Option<String>,
    /// True for the first page. A second first page means that the list was begun anew: forget what came before.
    pub is_first: bool,
}

/// The part of a page that paging needs; the items are skipped, not kept.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Envelope {
    metadata: Option<ListMetadata>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ListMetadata {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    token: Option<String>,
}

impl Cluster {
    /// Lists objects page by page. When the server has forgotten the list's version (410), it begins anew and says so
    /// with [`Page::is_first`]; after the third start it gives up with [`ApiError::Gone`].
    pub async fn list(
        &self,
        request: &ListRequest,
        on_page: &mut (dyn FnMut(Page) + Send),
    ) -> Result<(), ApiError> {
        let attempted = format!("list {}", request.resource);
        let mut token = String::new();
        let mut starts = 1;
        loop {
            let path = request.page_path(&token);
            let ask = Ask { attempted: &attempted, path: &path, accept: request.accept() };
            let body = match self.read(&ask).await {
                Err(ApiError::Gone { .. }) if !token.is_empty() && starts < STARTS => {
                    starts += 1;
                    token.clear();
                    (self.notice)(&format!("{attempted}: the list expired, beginning anew"));
                    continue;
                }
                result => result?,
            };
            let page = envelope(&attempted, &body)?;
            let is_first = token.is_empty();
            let next = page.token.unwrap_or_default();
            on_page(Page { body, resource_version: page.resource_version, is_first });
            if next.is_empty() {
                return Ok(());
            }
            if next == token {
                return Err(ApiError::Other {
                    attempted,
                    message: "the server gives the same page again and again".to_owned(),
                });
            }
            token = next;
        }
    }
}

impl Cluster {
    /// All objects that a list asks for, as values of their own type.
    ///
    /// # Errors
    /// When they cannot be listed, or an answer makes no sense.
    pub async fn list_as<T: DeserializeOwned>(
        &self,
        request: &ListRequest,
    ) -> Result<Vec<T>, ApiError> {
        let mut bodies = Vec::new();
        let mut take = |page: Page| {
            if page.is_first {
                bodies.clear();
            }
            bodies.push(page.body);
        };
        self.list(request, &mut take).await?;
        let mut all = Vec::new();
        for body in bodies {
            let page: Items<T> =
                serde_json::from_slice(&body).map_err(|error| ApiError::Other {
                    attempted: format!("list {}", request.resource),
                    message: format!("the answer makes no sense: {error}"),
                })?;
            all.extend(page.items.unwrap_or_default());
        }
        Ok(all)
    }
}

/// The objects of a page; Go writes null for none.
#[derive(Deserialize)]
struct Items<T> {
    #[serde(default = "Option::default")]
    items: Option<Vec<T>>,
}

fn envelope(attempted: &str, body: &[u8]) -> Result<ListMetadata, ApiError> {
    let envelope: Envelope = serde_json::from_slice(body).map_err(|error| ApiError::Other {
        attempted: attempted.to_owned(),
        message: format!("the answer is no list: {error}"),
    })?;
    Ok(envelope.metadata.unwrap_or_default())
}
