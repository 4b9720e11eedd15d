//! Network devices, their addresses, and those that default routes use.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::reader::Reader;
use crate::snapshot::Known;

/// A network device of the host, as far as the data plane cares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataLink {
    /// Name.
    pub name: String,
    /// Kind, e.g. `veth`, `vxlan`, `bond`, `ipvlan`; empty for a physical device.
    pub kind: String,
    /// The bond or bridge that it belongs to; empty when to none.
    pub master: String,
    /// The device that it is made on top of (of a VLAN, say); empty when there is none here.
    pub parent: String,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// UDP port, of a VXLAN device.
    pub vxlan_port: Option<u16>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct LinkItem {
    ifname: String,
    flags: Vec<String>,
    master: String,
    link: Option<String>,
    mtu: u32,
    linkinfo: Info,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Info {
    info_kind: String,
    info_data: Data,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Data {
    port: Option<serde_json::Value>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AddressItem {
    ifname: String,
    addr_info: Vec<Address>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Address {
    local: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RouteItem {
    dev: String,
    nexthops: Vec<Hop>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Hop {
    dev: String,
}

pub(super) fn links(reader: &Reader<'_>) -> Known<Vec<DataLink>> {
    reader.json::<Vec<LinkItem>>("ip-link").map(|items| {
        let mut links: Vec<DataLink> = items.into_iter().map(link).collect();
        links.sort_by(|a, b| a.name.cmp(&b.name));
        links
    })
}

fn link(item: LinkItem) -> DataLink {
    let port = item.linkinfo.info_data.port.filter(|_| item.linkinfo.info_kind == "vxlan");
    DataLink {
        name: item.ifname,
        kind: item.linkinfo.info_kind,
        master: item.master,
        parent: item.link.unwrap_or_default(),
        mtu: item.mtu,
        up: item.flags.iter().any(|flag| flag == "UP"),
        vxlan_port: port.and_then(|it| it.as_u64()).and_then(|it| u16::try_from(it).ok()),
    }
}

pub(super) fn addresses(reader: &Reader<'_>) -> Known<BTreeMap<String, Vec<IpAddr>>> {
    reader.json::<Vec<AddressItem>>("ip-addr").map(|items| {
        let of = |item: &AddressItem| {
            item.addr_info.iter().filter_map(|it| it.local.as_ref()?.parse().ok()).collect()
        };
        items.iter().map(|item| (item.ifname.clone(), of(item))).collect()
    })
}

/// Devices of default routes of both families.
pub(super) fn default_routes(reader: &Reader<'_>) -> Known<BTreeSet<String>> {
    reader.json::<Vec<RouteItem>>("ip-route.v4").map(|mut routes| {
        // A kernel without IPv6 has no such routes, and its complaint is not worth losing the others for.
        if let Known::Known(more) = reader.json::<Vec<RouteItem>>("ip-route.v6") {
            routes.extend(more);
        }
        routes
            .into_iter()
            .flat_map(|it| it.nexthops.into_iter().map(|hop| hop.dev).chain([it.dev]))
            .filter(|it| !it.is_empty())
            .collect()
    })
}
