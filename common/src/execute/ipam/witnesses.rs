//! Asks those who would show that an address is used, immediately before it is released.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cluster::{ApiError, Cluster};
use crate::ipam::{Held, Holder, Witnesses};
use crate::plan::{ObjectRef, describe};

/// Questions under way at once.
const PARALLEL: usize = 16;

/// Addresses that are used, or are about to be, and by whom.
pub(super) async fn used(
    cluster: &Cluster,
    held: &[&Held],
) -> Result<BTreeMap<IpAddr, String>, ApiError> {
    let wanted: BTreeSet<Witness> = held.iter().flat_map(|it| witnesses(&it.holder)).collect();
    let ask = |it: Witness| async move {
        let found = cluster.get_json(&it.object()).await?;
        Ok::<_, ApiError>((it, found))
    };
    let asked = stream::iter(wanted.into_iter().map(ask)).buffer_unordered(PARALLEL);
    let seen: BTreeMap<Witness, Option<Value>> = asked.try_collect().await?;
    let mut used = BTreeMap::new();
    for it in held {
        let find = |kind: &str| {
            witnesses(&it.holder).find(|it| it.kind == kind).and_then(|it| {
                let value = seen.get(&it)?.as_ref()?;
                Some((it, value))
            })
        };
        let pod = find("pods").map(decoded).transpose()?;
        let service = find("services").map(decoded).transpose()?;
        let seen = Witnesses {
            pod: pod.as_ref(),
            node_exists: find("nodes").is_some(),
            service: service.as_ref(),
        };
        if let Some(why) = it.used_by(seen) {
            used.insert(it.address, why);
        }
    }
    Ok(used)
}

/// Somebody who may know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Witness {
    kind: &'static str,
    namespace: String,
    name: String,
}

impl Witness {
    fn object(&self) -> ObjectRef {
        ObjectRef {
            group: String::new(),
            version: "v1".to_owned(),
            plural: self.kind.to_owned(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

fn witnesses(holder: &Holder) -> impl Iterator<Item = Witness> {
    let of = |kind, namespace: &str, name: &str| Witness {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let (one, other) = match holder {
        Holder::Nobody => (None, None),
        Holder::Node { name } => (Some(of("nodes", "", name)), None),
        Holder::Service { namespace, name } => (Some(of("services", namespace, name)), None),
        Holder::Pod { namespace, name, gone_node } => (
            Some(of("pods", namespace, name)),
            gone_node.as_ref().map(|node| of("nodes", "", node)),
        ),
    };
    one.into_iter().chain(other)
}

fn decoded<T: DeserializeOwned>((it, value): (Witness, &Value)) -> Result<T, ApiError> {
    T::deserialize(value).map_err(|error| ApiError::Other {
        attempted: format!("get {}", describe::object(&it.object())),
        message: format!("the answer makes no sense: {error}"),
    })
}
