//! Reads `ip -j -d link show` and `ip -j netns list-id`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Gap, GapReason, Known};

/// A network device of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Name.
    pub name: String,
    /// Index within its network namespace.
    pub index: u32,
    /// Kind, e.g. `veth`, `vxlan`, `bridge`; empty for a physical device.
    pub kind: String,
    /// True when it is administratively up.
    pub up: bool,
    /// True when the other end is up as well (`LOWER_UP`).
    pub carrier: bool,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Hardware address.
    pub address: String,
    /// Index of the other end of a veth, in its namespace; of the device below otherwise.
    pub peer_index: Option<u32>,
    /// The namespace of the other end, as a number of this namespace's own.
    pub peer_namespace: Option<i32>,
    /// Details of a VXLAN device.
    pub vxlan: Option<Vxlan>,
}

/// Details of a VXLAN device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Vxlan {
    /// VNI.
    pub id: u32,
    /// UDP port.
    pub port: u16,
    /// Address that it sends from; empty when it has none.
    pub local: String,
    /// The device that it sends through; empty when it is bound to none.
    pub parent: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct LinkItem {
    ifname: String,
    ifindex: u32,
    flags: Vec<String>,
    mtu: u32,
    address: String,
    link_index: Option<u32>,
    link_netnsid: Option<i32>,
    linkinfo: LinkInfo,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct LinkInfo {
    info_kind: String,
    info_data: VxlanItem,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct VxlanItem {
    id: Option<serde_json::Value>,
    port: Option<serde_json::Value>,
    local: String,
    link: String,
}

/// All devices, sorted by name.
pub(super) fn parse(what: &str, text: &str) -> Known<Vec<Link>> {
    let items: Vec<LinkItem> = match serde_json::from_str(text.trim()) {
        Ok(items) => items,
        Err(error) => {
            return Known::Unknown(Gap::new(what, GapReason::Undecodable, error.to_string()));
        }
    };
    // `ip -j` prints an empty object for what a filter left out.
    let mut all: Vec<Link> =
        items.into_iter().filter(|it| !it.ifname.is_empty()).map(link).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Known::Known(all)
}

fn link(item: LinkItem) -> Link {
    let has = |flag: &str| item.flags.iter().any(|it| it == flag);
    let number =
        |value: &Option<serde_json::Value>| value.as_ref().and_then(serde_json::Value::as_u64);
    let data = &item.linkinfo.info_data;
    let vxlan = (item.linkinfo.info_kind == "vxlan").then(|| Vxlan {
        id: number(&data.id).and_then(|it| it.try_into().ok()).unwrap_or_default(),
        port: number(&data.port).and_then(|it| it.try_into().ok()).unwrap_or_default(),
        local: data.local.clone(),
        parent: data.link.clone(),
    });
    Link {
        up: has("UP"),
        carrier: has("LOWER_UP"),
        vxlan,
        name: item.ifname,
        index: item.ifindex,
        kind: item.linkinfo.info_kind,
        mtu: item.mtu,
        address: item.address,
        peer_index: item.link_index,
        peer_namespace: item.link_netnsid,
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NamespaceItem {
    nsid: i32,
    name: Option<String>,
}

/// Names (files of /run/netns) of the namespaces that have a number here.
pub(super) fn namespaces(what: &str, text: &str) -> Known<BTreeMap<i32, String>> {
    let text = if text.trim().is_empty() { "[]" } else { text.trim() };
    match serde_json::from_str::<Vec<NamespaceItem>>(text) {
        Ok(items) => Known::Known(
            items.into_iter().filter_map(|it| it.name.map(|name| (it.nsid, name))).collect(),
        ),
        Err(error) => Known::Unknown(Gap::new(what, GapReason::Undecodable, error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read() {
        let text = r#"[{},{"ifindex":3,"ifname":"vxlan.calico","flags":["BROADCAST","UP","LOWER_UP"],"mtu":1450,"address":"66:2d:bf:44:a6:8b","linkinfo":{"info_kind":"vxlan","info_data":{"id":4096,"local":"10.99.0.12","link":"eth0","port":4789}}},
            {"ifindex":4,"link_index":2,"ifname":"calic89e26c778a","flags":["UP"],"mtu":1450,"link_netnsid":1,"linkinfo":{"info_kind":"veth"}},
            {"ifindex":5,"ifname":"eth0","linkinfo":{"info_kind":"bridge","info_data":{"id":"8000.x","port":"y"}}}]"#;
        let Known::Known(links) = parse("x", text) else { panic!() };
        let names: Vec<_> = links.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["calic89e26c778a", "eth0", "vxlan.calico"]);
        let veth = &links[0];
        assert_eq!((veth.peer_index, veth.peer_namespace), (Some(2), Some(1)));
        assert!(veth.up && !veth.carrier && veth.vxlan.is_none());
        let vxlan = links[2].vxlan.as_ref().unwrap();
        assert_eq!((vxlan.id, vxlan.port, vxlan.parent.as_str()), (4096, 4789, "eth0"));
        assert!(parse("x", "nothing").gap().is_some());
    }

    #[test]
    fn namespaces_are_read() {
        let read = |text| namespaces("x", text);
        let text = r#"[{"nsid":0,"name":"cni-a"},{"nsid":7}]"#;
        assert_eq!(read(text), Known::Known([(0, "cni-a".to_owned())].into()));
        assert_eq!(read("\n"), Known::Known(BTreeMap::new()));
        assert!(read("x").gap().is_some());
    }
}
