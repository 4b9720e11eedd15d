//! Decodes lists: a whole page at once when it is as it should be, else item by item.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::GapReason;
use super::redaction::redact_object;
use super::secret::without_secrets;

/// What a page of a list held.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// Items that could not be decoded.
    pub(super) bad: Vec<BadItem>,
    /// True when the server said that there is more.
    pub(super) more: bool,
    /// True when the items are metadata and nothing else.
    pub(super) metadata_only: bool,
    /// The name of the only object, when the answer was no list but one object.
    pub(super) single: Option<String>,
}

/// An item that makes no sense.
#[derive(Debug)]
pub(super) struct BadItem {
    /// `namespace/name`, or its place in the list.
    pub(super) name: String,
    pub(super) detail: String,
}

/// Why an answer is no list at all.
#[derive(Debug)]
pub(super) struct NoList {
    pub(super) why: GapReason,
    pub(super) detail: String,
}

#[derive(Deserialize)]
struct Whole<T> {
    #[serde(default)]
    kind: String,
    items: Vec<T>,
    #[serde(default)]
    metadata: Option<ListMetadata>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListMetadata {
    #[serde(rename = "continue")]
    more: Option<String>,
}

/// What an API server answers with when only metadata is asked for.
const METADATA_LIST: &str = "PartialObjectMetadataList";
/// Kind of the items of such a list.
const METADATA_ITEM: &str = "PartialObjectMetadata";
/// What kubectl prints, whatever the kinds of the items.
const MIXED_LIST: &str = "List";
/// Characters of an item that are shown when it makes no sense.
const EXCERPT: usize = 120;

/// Items' kinds, to tell lists of several kinds, as `kubectl get pods,services -o json` prints them.
#[derive(Deserialize)]
struct Kinds {
    items: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    kind: String,
}

/// Decodes a page in JSON or YAML of objects of `kind`; objects of other kinds in it are ignored.
pub(super) fn decode<T: DeserializeOwned>(body: &[u8], kind: &str) -> Result<Page<T>, NoList> {
    if let Ok(whole) = serde_json::from_slice::<Whole<T>>(body)
        && is_list_of(&whole.kind, kind)
        && !(whole.kind == MIXED_LIST && has_others(body, kind))
    {
        let more = whole.metadata.and_then(|it| it.more).is_some_and(|more| !more.is_empty());
        return Ok(Page {
            items: whole.items,
            bad: Vec::new(),
            more,
            metadata_only: whole.kind == METADATA_LIST,
            single: None,
        });
    }
    let value = value(body).map_err(|detail| NoList { why: GapReason::Undecodable, detail })?;
    item_by_item(value, kind)
}

fn is_list_of(list: &str, kind: &str) -> bool {
    matches!(list, "" | MIXED_LIST | METADATA_LIST) || list.strip_suffix("List") == Some(kind)
}

fn has_others(body: &[u8], kind: &str) -> bool {
    serde_json::from_slice::<Kinds>(body)
        .map_or(true, |list| list.items.iter().any(|item| !is_object_of(&item.kind, kind)))
}

fn is_object_of(its: &str, kind: &str) -> bool {
    its.is_empty() || its == kind || its == METADATA_ITEM
}

/// Any JSON or YAML.
pub fn value(body: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(body).map_err(|_| "not UTF-8 text".to_owned())?;
    let text = text.trim_start_matches('\u{feff}');
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(error) if text.trim_start().starts_with(['{', '[']) => {
            Err(format!("not JSON: {error}"))
        }
        Err(_) => crate::yaml::from_str(text).map_err(|error| error.to_string()),
    }
}

fn item_by_item<T: DeserializeOwned>(value: Value, expected: &str) -> Result<Page<T>, NoList> {
    let undecodable =
        |detail: &str| NoList { why: GapReason::Undecodable, detail: detail.to_owned() };
    let Value::Object(mut list) = value else { return Err(undecodable("not a List")) };
    let kind = list.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    if kind == "Status" {
        return Err(status(&list));
    }
    if kind == "Table" {
        return Err(NoList {
            why: GapReason::NotAsked,
            detail: "a Table holds no objects".to_owned(),
        });
    }
    if !is_list_of(&kind, expected) && kind != expected {
        return Err(undecodable(&format!("expected {expected}List, found {kind:?}")));
    }
    let more = list
        .get("metadata")
        .and_then(|metadata| metadata.get("continue"))
        .and_then(Value::as_str)
        .is_some_and(|more| !more.is_empty());
    let (values, single) = match list.remove("items") {
        Some(Value::Array(items)) => (items, None),
        // A nil slice in Go.
        Some(Value::Null) => (Vec::new(), None),
        None if kind == expected => {
            let name = name_of(&list).unwrap_or_default();
            (vec![Value::Object(list)], Some(name))
        }
        _ => return Err(undecodable("a List without items")),
    };
    let mut page = Page {
        items: Vec::with_capacity(values.len()),
        bad: Vec::new(),
        more,
        metadata_only: kind == METADATA_LIST,
        single,
    };
    for (place, value) in values.into_iter().enumerate() {
        let its = value.get("kind").and_then(Value::as_str).unwrap_or_default();
        if !is_object_of(its, expected) {
            continue;
        }
        match item(value, place) {
            Ok(item) => page.items.push(item),
            Err(bad) => page.bad.push(bad),
        }
    }
    Ok(page)
}

fn item<T: DeserializeOwned>(mut value: Value, place: usize) -> Result<T, BadItem> {
    strip_nulls(&mut value);
    if let Some(item) = value.is_object().then(|| T::deserialize(&value).ok()).flatten() {
        return Ok(item);
    }
    let name = value.as_object().and_then(name_of).unwrap_or_else(|| format!("item {place}"));
    // Decoders quote what they stumble over: it is looked at again without what nobody should see.
    redact_object(&mut value, true);
    let error = match T::deserialize(&value) {
        Err(error) if value.is_object() => without_secrets(&error.to_string()).into_owned(),
        _ => "not an object of this kind".to_owned(),
    };
    let excerpt: String = value.to_string().chars().take(EXCERPT).collect();
    Err(BadItem { name, detail: format!("{error} in {excerpt}") })
}

/// Go writes `null` where it means "nothing": absent and null are the same to every field we read.
fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(strip_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

fn name_of(object: &Map<String, Value>) -> Option<String> {
    let metadata = object.get("metadata")?;
    let name = metadata.get("name")?.as_str()?;
    Some(match metadata.get("namespace").and_then(Value::as_str) {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    })
}

/// An answer of kind Status is an error of the API server.
fn status(status: &Map<String, Value>) -> NoList {
    let why = match status.get("code").and_then(Value::as_u64) {
        Some(401 | 403) => GapReason::Forbidden,
        Some(404) => GapReason::NotServed,
        Some(408 | 504) => GapReason::TimedOut,
        Some(502 | 503) => GapReason::Unreachable,
        _ => GapReason::Undecodable,
    };
    let message = status.get("message").and_then(Value::as_str).unwrap_or("the API server said no");
    NoList { why, detail: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slim::Pod;

    fn names(page: &Page<Pod>) -> Vec<&str> {
        page.items.iter().map(|pod| pod.metadata.name.as_str()).collect()
    }

    #[test]
    fn one_bad_item_does_not_cost_the_others() {
        let body = br#"{"kind":"List","items":[{"metadata":{"name":"a","labels":null}},
            {"metadata":{"name":"b","namespace":"n"},"spec":{"containers":7}}, 5, {"metadata":{"name":"c"}}]}"#;
        let page = decode::<Pod>(body, "Pod").unwrap();
        assert_eq!(names(&page), ["a", "c"]);
        assert_eq!(page.bad.len(), 2);
        assert_eq!(page.bad[0].name, "n/b");
        assert!(page.bad[0].detail.contains("containers"), "{:?}", page.bad[0]);
        assert_eq!(page.bad[1].name, "item 2");
    }

    #[test]
    fn yaml_json_and_single_objects() {
        let page =
            decode::<Pod>(b"apiVersion: v1\nkind: List\nitems:\n- metadata:\n    name: a\n", "Pod")
                .unwrap();
        assert_eq!(names(&page), ["a"]);
        assert!(page.single.is_none() && !page.more);
        let page =
            decode::<Pod>(br#"{"kind":"Pod","metadata":{"name":"a","namespace":"n"}}"#, "Pod")
                .unwrap();
        assert_eq!(page.single.as_deref(), Some("n/a"));
        let page =
            decode::<Pod>(br#"{"kind":"PodList","metadata":{"continue":"x"},"items":null}"#, "Pod")
                .unwrap();
        assert!(page.more && page.items.is_empty());
    }

    #[test]
    fn what_is_no_list_says_why() {
        let no = |body: &[u8]| decode::<Pod>(body, "Pod").unwrap_err().why;
        assert_eq!(no(br#"{"kind":"Status","code":403,"message":"no"}"#), GapReason::Forbidden);
        assert_eq!(no(br#"{"kind":"Status","code":404}"#), GapReason::NotServed);
        assert_eq!(no(br#"{"kind":"Table","rows":[]}"#), GapReason::NotAsked);
        assert_eq!(no(br#"{"kind":"PodList"}"#), GapReason::Undecodable);
        assert_eq!(no(br#"{"items":[{"#), GapReason::Undecodable);
        assert_eq!(no(b"\xff\xfe"), GapReason::Undecodable);
        assert_eq!(no(b""), GapReason::Undecodable);
    }

    #[test]
    fn objects_of_other_kinds_are_no_pods() {
        let mixed = br#"{"kind":"List","items":[{"kind":"Service","metadata":{"name":"a"}},
            {"kind":"Pod","metadata":{"name":"b"}},{"metadata":{"name":"c"}}]}"#;
        let page = decode::<Pod>(mixed, "Pod").unwrap();
        assert_eq!(names(&page), ["b", "c"]);
        assert!(page.bad.is_empty());
        for other in [&br#"{"kind":"ServiceList","items":[]}"#[..], br#"{"kind":"Service"}"#] {
            let no = decode::<Pod>(other, "Pod").unwrap_err();
            assert!(no.detail.starts_with("expected PodList, found"), "{}", no.detail);
        }
    }
}
