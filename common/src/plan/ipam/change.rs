//! Changes of what Calico IPAM stores. Each is done twice as it is done once, and each has its way back.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ipam::{Held, edit};
use crate::plan::ObjectRef;

/// Where Calico's objects are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpamApi {
    /// API group.
    pub group: String,
    /// API version within the group.
    pub version: String,
}

impl IpamApi {
    /// A block.
    pub fn block(&self, name: &str) -> ObjectRef {
        self.object("ipamblocks", name)
    }

    /// The handle of this id.
    pub fn handle(&self, id: &str) -> ObjectRef {
        self.object("ipamhandles", &edit::handle_name(id))
    }

    /// `ClusterInformation` default, which says whether the datastore is locked.
    pub fn information(&self) -> ObjectRef {
        self.object("clusterinformations", "default")
    }

    fn object(&self, plural: &str, name: &str) -> ObjectRef {
        ObjectRef {
            group: self.group.clone(),
            version: self.version.clone(),
            plural: plural.to_owned(),
            namespace: String::new(),
            name: name.to_owned(),
        }
    }

    /// A handle that counts these addresses of one block.
    pub fn new_handle(&self, id: &str, cidr: &str, count: i64) -> Value {
        self.handle_of(&json!({ "handleID": id, "block": { cidr: count }, "deleted": false }))
    }

    /// A handle with this content.
    pub fn handle_of(&self, spec: &Value) -> Value {
        let id = spec.get("handleID").and_then(Value::as_str).unwrap_or_default();
        json!({
            "apiVersion": format!("{}/{}", self.group, self.version),
            "kind": "IPAMHandle",
            "metadata": { "name": edit::handle_name(id) },
            "spec": spec,
        })
    }
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockRef {
    /// Its name.
    pub name: String,
    /// Its range, as handles name it.
    pub cidr: String,
}

/// A handle in one version of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HandleRef {
    /// Its id. The object's name is the same in lower case.
    pub id: String,
    /// Its uid.
    pub uid: String,
    /// Its version: somebody who uses it changes it.
    pub resource_version: String,
    /// Its content, so that it can be made again.
    pub before: Value,
}

impl HandleRef {
    /// Ranges of the blocks that it counts addresses of.
    pub fn blocks(&self) -> impl Iterator<Item = &str> {
        let blocks = self.before.get("block").and_then(Value::as_object);
        blocks.into_iter().flatten().map(|it| it.0.as_str())
    }
}

/// A change of what Calico IPAM stores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
#[non_exhaustive]
pub enum IpamChange {
    /// Takes addresses of a block from those who held them, and counts them off their handles. One that is used after all, or
    /// has another owner by now, stays.
    #[serde(rename_all = "camelCase")]
    ReleaseAddresses {
        /// Where.
        api: IpamApi,
        /// The block.
        block: BlockRef,
        /// The addresses, as they were held.
        addresses: Vec<Held>,
        /// Whether they rest before they may be given out again: the cluster has a cooldown.
        rest: bool,
    },
    /// Gives addresses back to those who held them, unless somebody has them.
    #[serde(rename_all = "camelCase")]
    GiveBackAddresses {
        /// Where.
        api: IpamApi,
        /// The block.
        block: BlockRef,
        /// The addresses, as they were held.
        addresses: Vec<Held>,
    },
    /// Deletes handles under which no address is held, each in the version that was seen.
    #[serde(rename_all = "camelCase")]
    DeleteHandles {
        /// Where.
        api: IpamApi,
        /// The handles.
        handles: Vec<HandleRef>,
    },
    /// Makes handles again that are no more.
    #[serde(rename_all = "camelCase")]
    RestoreHandles {
        /// Where.
        api: IpamApi,
        /// The handles.
        handles: Vec<HandleRef>,
    },
}

impl IpamChange {
    /// Where.
    pub fn api(&self) -> &IpamApi {
        match self {
            Self::ReleaseAddresses { api, .. }
            | Self::GiveBackAddresses { api, .. }
            | Self::DeleteHandles { api, .. }
            | Self::RestoreHandles { api, .. } => api,
        }
    }

    /// What takes it back.
    #[must_use]
    pub fn inverse(&self) -> Self {
        match self.clone() {
            Self::ReleaseAddresses { api, block, addresses, .. } => {
                Self::GiveBackAddresses { api, block, addresses }
            }
            Self::GiveBackAddresses { api, block, addresses } => {
                Self::ReleaseAddresses { api, block, addresses, rest: false }
            }
            Self::DeleteHandles { api, handles } => Self::RestoreHandles { api, handles },
            Self::RestoreHandles { api, handles } => Self::DeleteHandles { api, handles },
        }
    }

    /// The same without what is only needed to do it: enough to see whether it is done.
    #[must_use]
    pub fn goal(&self) -> Self {
        let mut goal = self.clone();
        match &mut goal {
            // The entry tells whether somebody else has an address by now, and the content where a handle may be used.
            Self::GiveBackAddresses { .. } | Self::DeleteHandles { .. } => {}
            Self::ReleaseAddresses { addresses, .. } => {
                for it in addresses {
                    it.entry = Value::Null;
                }
            }
            Self::RestoreHandles { handles, .. } => {
                for it in handles {
                    it.before = Value::Null;
                }
            }
        }
        goal
    }
}

/// The handles of these addresses.
pub fn handles_of(addresses: &[Held]) -> BTreeSet<&str> {
    addresses.iter().filter_map(|it| it.handle.as_deref()).collect()
}
