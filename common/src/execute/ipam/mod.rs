//! Changes what Calico IPAM stores, as Calico itself does: every write is for exactly the version that was read, so that whoever
//! writes at the same time is met by a conflict. Nothing is locked.
//!
//! A run may die between any two requests. What is to be done is therefore told by what is stored, never by what was done before:
//! addresses are compared with their owners, and what a handle counts with the addresses that its block has.

mod block;
#[cfg(test)]
mod crash_tests;
mod handles;
#[cfg(test)]
mod simulation;
mod witnesses;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::cluster_operations::unsuccessful;
use super::{GuardFailure, PerformError, Performed, Underway};
use crate::cluster::{ApiError, Cluster, Question, Write};
use crate::ipam::{Held, Holder};
use crate::plan::describe::number;
use crate::plan::ipam::{IpamApi, IpamChange};
use crate::plan::{ObjectRef, describe};
use crate::snapshot::{Gap, Known};

use block::Books;

/// How often an object is looked at anew, because somebody else changed it between look and write. Calico tries 100 times; nobody
/// waits for us.
const TRIES: u32 = 12;
/// Things that are named; more are counted.
const NAMED: usize = 8;

/// Makes the change. With `write.dry_run` the server only says whether it would.
pub(super) async fn perform(
    cluster: &Cluster,
    change: &IpamChange,
    write: Write<'_>,
    underway: &Underway<'_>,
) -> Result<Performed, PerformError> {
    match change {
        IpamChange::ReleaseAddresses { api, block, addresses, rest } => {
            // Calico keeps whole seconds.
            let now = cluster.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let books = Books { cluster, api, block, write };
            books.release(addresses, rest.then_some(now.as_str())).await
        }
        IpamChange::GiveBackAddresses { api, block, addresses } => {
            Books { cluster, api, block, write }.give_back(addresses).await
        }
        IpamChange::DeleteHandles { api, handles } => {
            handles::delete(cluster, api, handles, write, underway).await
        }
        IpamChange::RestoreHandles { api, handles } => {
            handles::restore(cluster, api, handles, write, underway).await
        }
    }
}

/// What of the change is not done, except for what turned out to be in use.
pub(super) async fn left(cluster: &Cluster, change: &IpamChange) -> Known<Vec<String>> {
    let write = Write { field_manager: "", dry_run: true };
    let found = match change {
        IpamChange::ReleaseAddresses { api, block, addresses, .. } => {
            Books { cluster, api, block, write }.left_to_release(addresses).await
        }
        IpamChange::GiveBackAddresses { api, block, addresses } => {
            Books { cluster, api, block, write }.left_to_give_back(addresses).await
        }
        IpamChange::DeleteHandles { api, handles } => {
            handles::left_to_delete(cluster, api, handles).await
        }
        IpamChange::RestoreHandles { api, handles } => {
            handles::left_to_restore(cluster, api, handles).await
        }
    };
    match found {
        Ok(left) => Known::Known(left),
        Err(error) => {
            let what = format!("cluster/ipamblocks.{}.json", change.api().group);
            Known::Unknown(Gap::new(what, error.gap_reason(), error.to_string()))
        }
    }
}

/// Whether nobody locked the datastore.
pub(super) async fn datastore_ready(
    cluster: &Cluster,
    information: &ObjectRef,
) -> Result<(), GuardFailure> {
    let found = cluster.get_json(information).await;
    let found = found.map_err(|error| GuardFailure::Unreadable(error.to_string()))?;
    match found.as_ref().and_then(|it| it.pointer("/spec/datastoreReady")) {
        Some(Value::Bool(false)) => Err(GuardFailure::Refused(
            "Calico's datastore is locked (datastoreReady: false): somebody migrates or upgrades it"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

/// What the change takes of the API server.
pub(super) fn rights(change: &IpamChange, all: &mut BTreeSet<Question>) {
    let api = change.api();
    let mut of = |resource: &str, verbs: &[&str]| {
        all.extend(verbs.iter().map(|verb| question(verb, &api.group, resource)));
    };
    match change {
        IpamChange::ReleaseAddresses { addresses, .. } => {
            of("ipamblocks", &["get", "update"]);
            of("ipamhandles", &["delete", "get", "update"]);
            for it in addresses {
                let (resource, namespace) = match &it.holder {
                    Holder::Pod { namespace, gone_node: None, .. } => ("pods", namespace.as_str()),
                    Holder::Pod { namespace, .. } => {
                        all.insert(question("get", "", "nodes"));
                        ("pods", namespace.as_str())
                    }
                    Holder::Node { .. } => ("nodes", ""),
                    Holder::Service { namespace, .. } => ("services", namespace.as_str()),
                    Holder::Nobody => continue,
                };
                let namespace = namespace.to_owned();
                all.insert(Question { namespace, ..question("get", "", resource) });
            }
        }
        IpamChange::GiveBackAddresses { .. } => {
            of("ipamblocks", &["get", "update"]);
            of("ipamhandles", &["create", "delete", "get", "update"]);
        }
        IpamChange::DeleteHandles { .. } => {
            of("ipamblocks", &["get"]);
            of("ipamhandles", &["delete", "get"]);
        }
        IpamChange::RestoreHandles { .. } => of("ipamhandles", &["create", "get"]),
    }
}

fn question(verb: &str, group: &str, resource: &str) -> Question {
    Question {
        verb: verb.to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        ..Question::default()
    }
}

/// Tries of one write.
struct Tries(u32);

impl Tries {
    fn new() -> Self {
        Self(0)
    }

    /// Waits before the object is looked at anew; the error where that would be of no use. True when the write may have been
    /// carried out.
    async fn again(&mut self, error: ApiError, object: &ObjectRef) -> Result<bool, PerformError> {
        self.0 += 1;
        let is_unclear = match &error {
            ApiError::Conflict { .. } | ApiError::NotFound { .. } => false,
            error => match unsuccessful(error) {
                PerformError::Unclear(_) => true,
                other => return Err(other),
            },
        };
        if self.0 < TRIES {
            let pause = Duration::from_millis(10 << self.0.min(6));
            tokio::time::sleep(pause).await;
            return Ok(is_unclear);
        }
        if is_unclear {
            return Err(PerformError::Unclear(error.to_string()));
        }
        let object = describe::object(object);
        let why = format!("{object} changes faster than it can be changed: {error}");
        Err(PerformError::Rejected(why))
    }
}

/// What became of it. `left` are things that were left alone, with the reason for each.
fn ended(acted: bool, mut left: Vec<String>) -> Performed {
    left.sort();
    let more = left.len().saturating_sub(NAMED);
    left.truncate(NAMED);
    let mut text = left.join("; ");
    if more > 0 {
        text.push_str(&format!("; and {} more", number(more)));
    }
    match (acted, text.is_empty()) {
        (true, true) => Performed::Acted,
        (true, false) => Performed::ActedExcept(format!("left alone: {text}")),
        (false, true) => Performed::AlreadyRight("it is so already".to_owned()),
        (false, false) => Performed::AlreadyRight(format!("left alone: {text}")),
    }
}

fn metadata<'a>(object: &'a Value, field: &str) -> &'a str {
    object.pointer(&format!("/metadata/{field}")).and_then(Value::as_str).unwrap_or_default()
}
