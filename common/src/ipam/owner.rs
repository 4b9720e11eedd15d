//! What an allocation belongs to, as its attributes and handle tell.

use crate::calico::ipam::BlockAttribute;

/// What an address was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner<'a> {
    /// A pod.
    Pod {
        /// Its namespace.
        namespace: &'a str,
        /// Its name.
        name: &'a str,
    },
    /// A tunnel device of a node.
    Tunnel {
        /// Which.
        tunnel: Tunnel,
        /// The node.
        node: &'a str,
    },
    /// A Service of type LoadBalancer.
    Service {
        /// Its namespace.
        namespace: &'a str,
        /// Its name.
        name: &'a str,
    },
    /// A virtual machine whose address outlives its pods (from v3.32).
    VirtualMachine {
        /// Its namespace; empty when it is not told.
        namespace: &'a str,
        /// Its name.
        name: &'a str,
    },
    /// Windows keeps the first three and the last address of a block for itself.
    Windows,
    /// Something that this program does not know.
    Unknown,
}

/// Tunnel devices with an address of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tunnel {
    /// IP in IP.
    Ipip,
    /// VXLAN, IPv4.
    Vxlan,
    /// VXLAN, IPv6.
    VxlanV6,
    /// WireGuard, IPv4.
    Wireguard,
    /// WireGuard, IPv6.
    WireguardV6,
}

/// Handle of the addresses that Windows keeps.
const WINDOWS: &str = "windows-reserved-ipam-handle";

/// True for the handle that all Windows nodes share.
pub fn is_windows(handle: &str) -> bool {
    handle == WINDOWS
}

impl Tunnel {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Ipip, Self::Vxlan, Self::VxlanV6, Self::Wireguard, Self::WireguardV6];

    /// Attribute `type` of its address.
    pub fn attribute(self) -> &'static str {
        match self {
            Self::Ipip => "ipipTunnelAddress",
            Self::Vxlan => "vxlanTunnelAddress",
            Self::VxlanV6 => "vxlanV6TunnelAddress",
            Self::Wireguard => "wireguardTunnelAddress",
            Self::WireguardV6 => "wireguardV6TunnelAddress",
        }
    }

    /// Annotation of a node that holds its address.
    pub fn annotation(self) -> &'static str {
        match self {
            Self::Ipip => "projectcalico.org/IPv4IPIPTunnelAddr",
            Self::Vxlan => "projectcalico.org/IPv4VXLANTunnelAddr",
            Self::VxlanV6 => "projectcalico.org/IPv6VXLANTunnelAddr",
            Self::Wireguard => "projectcalico.org/IPv4WireguardInterfaceAddr",
            Self::WireguardV6 => "projectcalico.org/IPv6WireguardInterfaceAddr",
        }
    }

    /// Beginning of its handle; the node's name follows.
    fn handle(self) -> &'static str {
        match self {
            Self::Ipip => "ipip-tunnel-addr-",
            Self::Vxlan => "vxlan-tunnel-addr-",
            Self::VxlanV6 => "vxlan-v6-tunnel-addr-",
            Self::Wireguard => "wireguard-tunnel-addr-",
            Self::WireguardV6 => "wireguard-v6-tunnel-addr-",
        }
    }

    /// What people call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ipip => "IPIP tunnel",
            Self::Vxlan => "VXLAN tunnel",
            Self::VxlanV6 => "VXLAN tunnel (IPv6)",
            Self::Wireguard => "WireGuard tunnel",
            Self::WireguardV6 => "WireGuard tunnel (IPv6)",
        }
    }
}

impl<'a> Owner<'a> {
    /// Whom this entry of a block is about.
    pub fn of(entry: &'a BlockAttribute) -> Self {
        let its = &entry.secondary;
        let handle = entry.handle().unwrap_or_default();
        let node = its.node.as_deref();
        let tunnel = |it: &Tunnel| its.kind.as_deref() == Some(it.attribute());
        if is_windows(handle) || its.other("note") == Some("windows host rsvd") {
            return Self::Windows;
        }
        if let Some(tunnel) = Tunnel::ALL.into_iter().find(tunnel) {
            let node = node.or_else(|| handle.strip_prefix(tunnel.handle())).unwrap_or_default();
            return Self::Tunnel { tunnel, node };
        }
        if its.kind.as_deref() == Some("LoadBalancer") {
            let namespace = its.namespace.as_deref().unwrap_or_default();
            return Self::Service { namespace, name: its.other("service").unwrap_or_default() };
        }
        if let Some(machine) = machine(entry, handle) {
            return machine;
        }
        match (its.namespace.as_deref(), its.pod.as_deref()) {
            (Some(namespace), Some(name)) if its.kind.is_none() => Self::Pod { namespace, name },
            _ => Self::Unknown,
        }
    }

    /// The pod's namespace, or the Service's.
    pub fn namespace(&self) -> Option<&'a str> {
        match *self {
            Self::Pod { namespace, .. }
            | Self::Service { namespace, .. }
            | Self::VirtualMachine { namespace, .. } => Some(namespace),
            _ => None,
        }
    }
}

/// A virtual machine, by its attributes or by a handle `<network>.vmi.<namespace>.<name>`.
fn machine<'a>(entry: &'a BlockAttribute, handle: &'a str) -> Option<Owner<'a>> {
    let its = &entry.secondary;
    let of_handle = || {
        let (_, rest) = handle.split_once(".vmi.")?;
        rest.split_once('.')
    };
    let named = its.other("vmi-name").map(|name| (its.namespace.as_deref().unwrap_or(""), name));
    let (namespace, name) = named.or_else(of_handle)?;
    Some(Owner::VirtualMachine { namespace, name })
}

/// Id of the sandbox that a pod's address was taken for: what is behind the last dot of its handle.
pub fn sandbox(handle: &str) -> Option<&str> {
    let (_, id) = handle.rsplit_once('.')?;
    (id.len() == 64 && id.bytes().all(|it| it.is_ascii_hexdigit())).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(json: &str) -> BlockAttribute {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn owners_are_told_apart() {
        let pod = entry(
            r#"{"handle_id":"k8s-pod-network.ab","secondary":{"namespace":"n","pod":"p","node":"a"}}"#,
        );
        assert_eq!(Owner::of(&pod), Owner::Pod { namespace: "n", name: "p" });
        let tunnel = entry(
            r#"{"handle_id":"vxlan-v6-tunnel-addr-a","secondary":{"type":"vxlanV6TunnelAddress"}}"#,
        );
        let is = Owner::Tunnel { tunnel: Tunnel::VxlanV6, node: "a" };
        assert_eq!(Owner::of(&tunnel), is);
        let windows = entry(r#"{"handle_id":"windows-reserved-ipam-handle"}"#);
        assert_eq!(Owner::of(&windows), Owner::Windows);
        // A stopped machine's address has no attributes at all.
        let machine = entry(r#"{"handle_id":"k8s-pod-network.vmi.n.vm1"}"#);
        assert_eq!(Owner::of(&machine), Owner::VirtualMachine { namespace: "n", name: "vm1" });
        let service = entry(
            r#"{"handle_id":"lb-AbC","secondary":{"type":"LoadBalancer","service":"s","namespace":"n"}}"#,
        );
        assert_eq!(Owner::of(&service), Owner::Service { namespace: "n", name: "s" });
        for odd in [r#"{"handle_id":"x"}"#, "{}", r#"{"secondary":{"type":"new","pod":"p"}}"#] {
            assert_eq!(Owner::of(&entry(odd)), Owner::Unknown, "{odd}");
        }
    }

    #[test]
    fn sandboxes_are_behind_the_last_dot() {
        let id = "0".repeat(64);
        assert_eq!(sandbox(&format!("k8s-pod-network.{id}")), Some(id.as_str()));
        assert_eq!(sandbox("default.web-1"), None);
        let bent = entry(&format!(r#"{{"handle_id":"net.{id}\r\neth0"}}"#));
        assert_eq!(bent.handle().and_then(sandbox), Some(id.as_str()));
    }
}
