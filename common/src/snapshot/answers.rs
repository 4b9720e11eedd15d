//! Reads raw answers of the API server that are no lists. What makes no sense is unknown, and a gap.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Gap, GapReason, Known, SigningKeys, list};

/// `gitVersion` of `GET /version`.
pub(super) fn version(what: &str, body: &[u8], gaps: &mut Vec<Gap>) -> Known<String> {
    raw(what, body, |it: Version| it.git_version, gaps)
}

/// Ids of the keys of `GET /openid/v1/jwks`; a key without an id cannot be named by a token.
pub(super) fn signing_keys(what: &str, body: &[u8], gaps: &mut Vec<Gap>) -> Known<SigningKeys> {
    let id = |key: Key| (!key.kid.is_empty()).then_some(key.kid);
    raw(
        what,
        body,
        |it: KeySet| SigningKeys { ids: it.keys.into_iter().filter_map(id).collect() },
        gaps,
    )
}

/// Names of the groups of `GET /apis`.
pub(super) fn groups(what: &str, body: &[u8], gaps: &mut Vec<Gap>) -> Known<BTreeSet<String>> {
    raw(what, body, |it: Groups| it.groups.into_iter().map(|group| group.name).collect(), gaps)
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "gitVersion")]
    git_version: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    #[serde(default)]
    kid: String,
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
}

fn raw<R: DeserializeOwned, T>(
    what: &str,
    body: &[u8],
    fact: impl FnOnce(R) -> T,
    gaps: &mut Vec<Gap>,
) -> Known<T> {
    let value = list::value(body)
        .and_then(|value| R::deserialize(value).map_err(|error| error.to_string()));
    match value {
        Ok(value) => Known::Known(fact(value)),
        Err(error) => {
            let gap = Gap::new(what, GapReason::Undecodable, error);
            gaps.push(gap.clone());
            Known::Unknown(gap)
        }
    }
}
