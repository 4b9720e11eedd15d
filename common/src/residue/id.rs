//! Names of residues: stable, so that a plan, a journal and a second scan speak of the same thing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of thing was left. The first part of a [`ResidueId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ResidueKind {
    /// A file that is in a directory which others share.
    File,
    /// A directory of Calico's own, or a socket in a shared place.
    Directory,
    /// A mounted file system below one of Calico's own directories.
    Mount,
    /// A network interface.
    Link,
    /// A route.
    Route,
    /// A rule of policy routing.
    RoutingRule,
    /// A chain of iptables.
    Chain,
    /// A rule of iptables in a chain that is not Calico's.
    Rule,
    /// A table of nftables.
    NftTable,
    /// An ipset.
    IpSet,
    /// A BPF program attached to an interface.
    Program,
    /// A program, map or link that is pinned in a BPF file system, or a directory there.
    Pin,
    /// An annotation of the Node object.
    Annotation,
    /// A condition of the Node object.
    Condition,
}

impl ResidueKind {
    /// All of them, in the order in which they are printed.
    pub const ALL: [Self; 14] = [
        Self::File,
        Self::Directory,
        Self::Mount,
        Self::Link,
        Self::Route,
        Self::RoutingRule,
        Self::Chain,
        Self::Rule,
        Self::NftTable,
        Self::IpSet,
        Self::Program,
        Self::Pin,
        Self::Annotation,
        Self::Condition,
    ];

    /// As it stands in an id.
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Mount => "mount",
            Self::Link => "link",
            Self::Route => "route",
            Self::RoutingRule => "routing-rule",
            Self::Chain => "chain",
            Self::Rule => "rule",
            Self::NftTable => "nft-table",
            Self::IpSet => "ip-set",
            Self::Program => "program",
            Self::Pin => "pin",
            Self::Annotation => "annotation",
            Self::Condition => "condition",
        }
    }

    /// For a person, in the number that fits `count`: `2 routing rules`.
    pub fn counted(self, count: usize) -> String {
        let (one, many) = match self {
            Self::File => ("file", "files"),
            Self::Directory => ("directory", "directories"),
            Self::Mount => ("mount", "mounts"),
            Self::Link => ("interface", "interfaces"),
            Self::Route => ("route", "routes"),
            Self::RoutingRule => ("routing rule", "routing rules"),
            Self::Chain => ("iptables chain", "iptables chains"),
            Self::Rule => ("iptables rule", "iptables rules"),
            Self::NftTable => ("nftables table", "nftables tables"),
            Self::IpSet => ("ipset", "ipsets"),
            Self::Program => ("attached BPF program", "attached BPF programs"),
            Self::Pin => ("BPF pin", "BPF pins"),
            Self::Annotation => ("node annotation", "node annotations"),
            Self::Condition => ("node condition", "node conditions"),
        };
        format!("{count} {}", if count == 1 { one } else { many })
    }
}

/// Identifies a residue on its node: `link/vxlan.calico`, `chain/nft/v4/filter/cali-FORWARD`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResidueId(pub String);

impl ResidueId {
    /// The id of `name`, which identifies the thing among those of its kind. A path loses its first slash.
    pub fn new(kind: ResidueKind, name: &str) -> Self {
        Self(format!("{}/{}", kind.word(), name.strip_prefix('/').unwrap_or(name)))
    }

    /// What kind of thing it names; none for an id of another version of this program.
    pub fn kind(&self) -> Option<ResidueKind> {
        let word = self.0.split('/').next()?;
        ResidueKind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

impl fmt::Display for ResidueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_their_kind() {
        let id = ResidueId::new(ResidueKind::File, "/etc/cni/net.d/calico-kubeconfig");
        assert_eq!(id.0, "file/etc/cni/net.d/calico-kubeconfig");
        for kind in ResidueKind::ALL {
            assert_eq!(ResidueId::new(kind, "x").kind(), Some(kind));
            assert_ne!(kind.counted(1)[2..], kind.counted(2)[2..]);
        }
        assert_eq!(ResidueId("elsewhere/x".to_owned()).kind(), None);
    }
}
