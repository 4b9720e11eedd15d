//! Keys that the API server accepts ServiceAccount tokens of.

use std::collections::BTreeSet;

use serde::Serialize;

/// Ids of the keys in `GET /openid/v1/jwks`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SigningKeys {
    /// `kid` of every key.
    pub ids: BTreeSet<String>,
}
