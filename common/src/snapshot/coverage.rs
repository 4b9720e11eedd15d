//! How much of a kind a list holds. Absence is proven only by [`Coverage::All`].

use serde::{Deserialize, Serialize};

/// Which objects of a kind were fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coverage {
    /// All objects of the kind, in all namespaces.
    All,
    /// Those that match one of these selectors (`fieldSelector=…`, `labelSelector=…`, `namespace=…`, joined by `&`), sorted.
    Selected(Vec<String>),
    /// None was fetched.
    #[default]
    None,
}

impl Coverage {
    /// Adds what one more answer covers.
    #[must_use]
    pub fn and(self, selector: Option<&str>) -> Self {
        match (self, selector) {
            (Self::All, _) | (_, None) => Self::All,
            (Self::None, Some(one)) => Self::Selected(vec![one.to_owned()]),
            (Self::Selected(mut all), Some(one)) => {
                if let Err(place) = all.binary_search_by(|it| it.as_str().cmp(one)) {
                    all.insert(place, one.to_owned());
                }
                Self::Selected(all)
            }
        }
    }
}

/// How the objects were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Whole objects.
    #[default]
    Full,
    /// `PartialObjectMetadataList`.
    Metadata,
    /// `Table`.
    Table,
}
