//! What an allocation says of its owner.

use core::fmt;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Owner of an address, as Calico's allocators note it. A large cluster has hundreds of thousands of these, so the usual keys
/// are fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AllocationAttributes {
    /// Namespace of the pod or Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Box<str>>,
    /// Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Box<str>>,
    /// Node that it was taken on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Box<str>>,
    /// `vxlanTunnelAddress` and the like, `LoadBalancer`; none for pods.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Box<str>>,
    /// When it was taken, as Go prints times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Box<str>>,
    /// All other keys.
    #[serde(flatten)]
    pub others: BTreeMap<Box<str>, Box<str>>,
}

impl AllocationAttributes {
    /// Value of a key that is no field.
    pub fn other(&self, key: &str) -> Option<&str> {
        self.others.get(key).map(AsRef::as_ref)
    }

    /// True when nothing is noted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// When the address was taken.
    pub fn taken(&self) -> Option<Timestamp> {
        go_time(self.timestamp.as_deref()?)
    }

    /// All keys with their values, sorted by key.
    pub fn pairs(&self) -> Vec<(&str, &str)> {
        let fields = [
            ("namespace", &self.namespace),
            ("pod", &self.pod),
            ("node", &self.node),
            ("type", &self.kind),
            ("timestamp", &self.timestamp),
        ];
        let fields = fields.into_iter().filter_map(|(key, it)| Some((key, it.as_deref()?)));
        let others = self.others.iter().map(|(key, it)| (key.as_ref(), it.as_ref()));
        let mut all: Vec<_> = fields.chain(others).collect();
        all.sort_unstable();
        all
    }
}

/// By hand: a derived one buffers every map to tell fields and other keys apart, and these are most of what is read.
impl<'de> Deserialize<'de> for AllocationAttributes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Pairs)
    }
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = AllocationAttributes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of texts")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Self::Value::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut it = Self::Value::default();
        while let Some((key, value)) = map.next_entry::<Box<str>, Option<Box<str>>>()? {
            let Some(value) = value else { continue };
            match key.as_ref() {
                "namespace" => it.namespace = Some(value),
                "pod" => it.pod = Some(value),
                "node" => it.node = Some(value),
                "type" => it.kind = Some(value),
                "timestamp" => it.timestamp = Some(value),
                _ => drop(it.others.insert(key, value)),
            }
        }
        Ok(it)
    }
}

/// Go's `time.String()`: `2024-12-14 21:44:05.795537491 +0000 UTC`, sometimes with ` m=+0.01` behind.
pub fn go_time(text: &str) -> Option<Timestamp> {
    let mut words = text.split(' ');
    let (date, time, offset) = (words.next()?, words.next()?, words.next()?);
    let (hours, minutes) = offset.split_at_checked(3)?;
    format!("{date}T{time}{hours}:{minutes}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_go() {
        let at = |text: &str| go_time(text).map(|it| it.to_string());
        let known = Some("2024-12-14T21:44:05.795537491Z".to_owned());
        assert_eq!(at("2024-12-14 21:44:05.795537491 +0000 UTC"), known);
        assert_eq!(at("2024-12-14 23:44:05.795537491 +0200 CEST m=+0.05"), known);
        for bad in ["", "2024-12-14", "yesterday at noon", "2024-12-14 21:44:05 é00", "a b +0é00"]
        {
            assert_eq!(at(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn unusual_keys_are_kept_in_order() {
        let json = r#"{"pod":"p","node":"n","note":"windows host rsvd","type":"x"}"#;
        let it: AllocationAttributes = serde_json::from_str(json).unwrap();
        let keys: Vec<_> = it.pairs().iter().map(|it| it.0).collect();
        assert_eq!(keys, ["node", "note", "pod", "type"]);
        assert_eq!(it.other("note"), Some("windows host rsvd"));
        assert!(!it.is_empty() && AllocationAttributes::default().is_empty());
    }
}
