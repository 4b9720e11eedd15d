//! Names of what a host's kernel holds: packet filters, their tables, hooks of programs.

use serde::{Deserialize, Serialize};

/// Address families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The two implementations of iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RulesBackend {
    /// `iptables-legacy`
    Legacy,
    /// `iptables-nft`
    Nft,
}

/// A table of nftables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NftTable {
    /// Its family.
    pub family: NftFamily,
    /// Its name: `calico`.
    pub name: String,
}

/// Families of nftables in which Calico has tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NftFamily {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// ARP.
    Arp,
}

impl NftFamily {
    /// As `nft` spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Arp => "arp",
        }
    }
}

/// Where BPF programs are attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProgramHook {
    /// Filters of the `clsact` queueing discipline, both directions.
    Tc,
    /// The driver's hook, or its generic stand-in.
    Xdp,
}

impl ProgramHook {
    /// As plans spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tc => "tc",
            Self::Xdp => "xdp",
        }
    }
}
