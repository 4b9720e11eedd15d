//! What a probe saw on one node.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{Known, Section};

/// From where the probe looked: it decides what it can have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vantage {
    /// The host's own namespaces.
    Host,
    /// Inside the calico-node container: no /opt/cni/bin, no runtime socket, no kubelet log.
    CalicoNode,
}

/// Facts about one node, parsed from the probe's sections.
#[derive(Clone, Debug, Serialize)]
pub struct HostFacts {
    /// From where the probe looked.
    pub vantage: Vantage,
    /// `/etc/cni/net.d/calico-kubeconfig`.
    pub cni_kubeconfig: Known<CniKubeconfig>,
    /// Files of `/etc/cni/net.d`, sorted by name (section `ls-cni-net.d`).
    pub cni_config_dir: Known<Vec<FileEntry>>,
    /// Files of `/opt/cni/bin`, sorted by name (section `ls-cni-bin`).
    pub cni_bin_dir: Known<Vec<FileEntry>>,
    /// What Felix says of itself.
    pub felix: Known<FelixHealth>,
    /// All sections as they came, by id.
    #[serde(skip)]
    pub sections: BTreeMap<String, Section>,
}

/// A line of `ls -ln`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileEntry {
    /// Name within its directory.
    pub name: String,
    /// First column of `ls -l`, e.g. `-rw-------`.
    pub mode: String,
    /// Bytes.
    pub size: u64,
    /// Last modification, when the listing held it in full.
    pub modified: Option<Timestamp>,
}

/// The CNI plugin's credentials, without the credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CniKubeconfig {
    /// The API server it names.
    pub server: Known<String>,
    /// SHA-256, in hex, of the CA's PEM text with its final newline.
    pub ca_sha256: Known<String>,
    /// The token's header and claims; absent when the file holds no token.
    pub token: Known<TokenFacts>,
}

/// Header and claims of a ServiceAccount token. The signature never leaves the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TokenFacts {
    /// Id of the key that signed it.
    pub key_id: Option<String>,
    /// `iss`.
    pub issuer: Option<String>,
    /// `sub`, e.g. `system:serviceaccount:kube-system:calico-cni-plugin`.
    pub subject: Option<String>,
    /// Namespace of the ServiceAccount.
    pub namespace: Option<String>,
    /// Name of the ServiceAccount.
    pub service_account: Option<String>,
    /// `uid` of the ServiceAccount it was issued for.
    pub service_account_uid: Option<String>,
    /// `iat`.
    pub issued_at: Option<Timestamp>,
    /// `exp`.
    pub expires_at: Option<Timestamp>,
}

/// Felix's answers about itself (sections `felix.readiness` and `felix.liveness`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FelixHealth {
    /// True when it calls itself ready.
    pub ready: Known<bool>,
    /// True when it calls itself alive.
    pub live: Known<bool>,
    /// What it said when it is not ready, for a person.
    pub says: String,
}
