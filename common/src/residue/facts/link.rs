//! Network interfaces, their addresses, and where their other ends are.

use std::collections::{BTreeMap, BTreeSet};

use core::net::IpAddr;

use serde::Deserialize;

use super::reader::Reader;
use crate::snapshot::Known;

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostLink {
    /// Name.
    pub name: String,
    /// Index.
    pub index: u32,
    /// Kind, e.g. `veth`; empty for a physical one.
    pub kind: String,
    /// True when it is administratively up.
    pub up: bool,
    /// The interface that it is a port of; empty when it is none's.
    pub master: String,
    /// Index of the other end.
    pub peer_index: Option<u32>,
    /// The namespace of the other end, as a number of this namespace's own; none when it is this one.
    pub peer_namespace: Option<i32>,
    /// Number and, where `ip` shows it, name of the XDP program.
    pub xdp: Option<(u32, String)>,
}

/// Network namespaces with a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkNamespaces {
    /// Names by their number in this namespace.
    pub by_number: BTreeMap<i32, String>,
    /// Names of those in which a process lives.
    pub in_use: BTreeSet<String>,
}

/// Where the other end of an interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OtherEnd {
    /// On the host itself.
    Host,
    /// In a namespace in which a process lives.
    Living(String),
    /// In a namespace in which nothing lives.
    Dead(String),
    /// That cannot be told.
    Unknown,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct LinkItem {
    ifname: String,
    ifindex: u32,
    flags: Vec<String>,
    master: String,
    link_index: Option<u32>,
    link_netnsid: Option<i32>,
    linkinfo: LinkInfo,
    xdp: XdpItem,
    addr_info: Vec<AddressItem>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct LinkInfo {
    info_kind: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct XdpItem {
    prog: Option<ProgramItem>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ProgramItem {
    id: u32,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AddressItem {
    local: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NamespaceItem {
    nsid: i32,
    name: String,
}

/// All interfaces, sorted by name.
pub(super) fn parse(text: &str) -> Result<Vec<HostLink>, String> {
    let mut links: Vec<HostLink> = items::<LinkItem>(text)?
        .into_iter()
        // `ip -j` prints an empty object for what a filter left out.
        .filter(|it| !it.ifname.is_empty())
        .map(|it| HostLink {
            up: it.flags.iter().any(|flag| flag == "UP"),
            name: it.ifname,
            index: it.ifindex,
            kind: it.linkinfo.info_kind,
            master: it.master,
            peer_index: it.link_index,
            peer_namespace: it.link_netnsid,
            xdp: it.xdp.prog.map(|program| (program.id, program.name)),
        })
        .collect();
    links.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(links)
}

/// Addresses by interface, without those that an interface gives itself.
pub(super) fn addresses(text: &str) -> Result<BTreeMap<String, Vec<IpAddr>>, String> {
    let is_link_local = |it: &IpAddr| matches!(it, IpAddr::V6(it) if it.is_unicast_link_local());
    let of = |it: &LinkItem| -> Vec<IpAddr> {
        let all = it.addr_info.iter().filter_map(|it| it.local.parse().ok());
        all.filter(|it| !is_link_local(it)).collect()
    };
    let items = items::<LinkItem>(text)?;
    Ok(items.into_iter().map(|it| (it.ifname.clone(), of(&it))).collect())
}

/// `ip -j` prints nothing at all where there is nothing.
fn items<T: for<'a> Deserialize<'a>>(text: &str) -> Result<Vec<T>, String> {
    let text = if text.trim().is_empty() { "[]" } else { text.trim() };
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Namespaces of three sections: numbers and names, names and inodes, inodes of the living.
pub(super) fn namespaces(reader: &Reader<'_>) -> Known<NetworkNamespaces> {
    let names = reader.json("netns-ids", items::<NamespaceItem>);
    let inodes = reader.content("netns-inodes").map(inodes);
    let living = reader.content("netns-in-use").map(|text| -> BTreeSet<u64> {
        text.lines().filter_map(|line| line.trim().parse().ok()).collect()
    });
    names.and_then(|names| {
        inodes.and_then(|inodes| {
            living.map(|living| {
                let lives = |inode: &u64| living.contains(inode);
                let by_number = names.into_iter().filter(|it| !it.name.is_empty());
                let in_use = inodes.into_iter().filter(|(_, inode)| lives(inode));
                NetworkNamespaces {
                    by_number: by_number.map(|it| (it.nsid, it.name)).collect(),
                    in_use: in_use.map(|(name, _)| name).collect(),
                }
            })
        })
    })
}

/// `<inode> <path>` lines of `ls -1i`.
fn inodes(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (inode, path) = line.trim().split_once(' ')?;
        Some((path.rsplit('/').next()?.to_owned(), inode.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

impl NetworkNamespaces {
    /// Where the other end of `link` is.
    pub fn other_end(&self, link: &HostLink) -> OtherEnd {
        let Some(number) = link.peer_namespace else {
            return if link.peer_index.is_some() { OtherEnd::Host } else { OtherEnd::Unknown };
        };
        match self.by_number.get(&number) {
            // A process may hold a namespace that has no name.
            None => OtherEnd::Unknown,
            Some(name) if self.in_use.contains(name) => OtherEnd::Living(name.clone()),
            Some(name) => OtherEnd::Dead(name.clone()),
        }
    }
}
