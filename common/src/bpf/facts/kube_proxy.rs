//! Which addresses and ports kube-proxy's rules translate, in its modes iptables and nftables.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeSet;

use super::reader::Reader;
use super::{NatFrontend, Protocol};
use crate::snapshot::Known;

/// Frontends of both modes.
#[derive(Clone, Debug)]
pub struct KubeProxyRules {
    /// Of iptables, whichever implementation; absent when the chain KUBE-SERVICES is nowhere.
    pub iptables: Known<BTreeSet<NatFrontend>>,
    /// Of nftables; absent when there is no table `kube-proxy`.
    pub nft: Known<BTreeSet<NatFrontend>>,
    /// The implementations of iptables that have them for IPv4; absent when both were looked at and neither has any.
    pub implementations: Known<Vec<&'static str>>,
}

impl KubeProxyRules {
    /// What is translated by either. kube-proxy has one mode: rules of one that are there are not doubted because the other
    /// could not be looked at, but that there are none is known only of both.
    pub(super) fn together(&self) -> Known<BTreeSet<NatFrontend>> {
        match (&self.iptables, &self.nft) {
            (Known::Known(one), Known::Known(other)) => {
                Known::Known(one.union(other).copied().collect())
            }
            (Known::Known(one), _) | (_, Known::Known(one)) => Known::Known(one.clone()),
            (Known::Unknown(gap), _) | (_, Known::Unknown(gap)) => Known::Unknown(gap.clone()),
            (Known::Absent, Known::Absent) => Known::Absent,
        }
    }
}

pub(super) fn read(reader: &Reader<'_>) -> KubeProxyRules {
    KubeProxyRules {
        iptables: iptables(reader),
        nft: nft(reader),
        implementations: implementations(reader),
    }
}

/// An empty chain counts as well: whoever removes kube-proxy's rules removes the chain.
fn implementations(reader: &Reader<'_>) -> Known<Vec<&'static str>> {
    let mut found = Vec::new();
    let mut missing = None;
    for (id, name) in [("rules.nft.v4", "iptables-nft"), ("rules.legacy.v4", "iptables-legacy")] {
        match reader.content(id) {
            Known::Known(text) if text.lines().any(|line| line.starts_with(CHAIN)) => {
                found.push(name);
            }
            Known::Unknown(gap) => missing = missing.or(Some(gap)),
            Known::Known(_) | Known::Absent => {}
        }
    }
    match (found.is_empty(), missing) {
        (false, _) => Known::Known(found),
        (true, Some(gap)) => Known::Unknown(gap),
        (true, None) => Known::Absent,
    }
}

fn iptables(reader: &Reader<'_>) -> Known<BTreeSet<NatFrontend>> {
    let mut all: Option<BTreeSet<NatFrontend>> = None;
    let mut missing = None;
    for (id, any) in [
        ("rules.nft.v4", IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        ("rules.legacy.v4", IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        ("rules.nft.v6", IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        ("rules.legacy.v6", IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    ] {
        match reader.content(id) {
            Known::Known(text) if text.lines().any(|line| line.starts_with(CHAIN)) => {
                all.get_or_insert_default().extend(text.lines().filter_map(|it| rule(it, any)));
            }
            Known::Unknown(gap) if any.is_ipv4() => missing = missing.or(Some(gap)),
            _ => {}
        }
    }
    match (all, missing) {
        (Some(all), _) => Known::Known(all),
        (None, Some(gap)) => Known::Unknown(gap),
        (None, None) => Known::Absent,
    }
}

/// The chain that kube-proxy makes also when there is no Service.
const CHAIN: &str = ":KUBE-SERVICES ";

/// `-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j KUBE-SVC-…`; a NodePort has no address of its own.
fn rule(line: &str, any: IpAddr) -> Option<NatFrontend> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = |flag: &str| {
        let at = words.iter().position(|word| *word == flag)?;
        words.get(at + 1).copied()
    };
    let chain = after("-A")?;
    let target = after("-j")?;
    if !["KUBE-SVC-", "KUBE-EXT-", "KUBE-FW-", "KUBE-XLB-"].iter().any(|it| target.starts_with(it))
    {
        return None;
    }
    // `! -s …` and other negations are about sources; `! -d` would be no frontend.
    let address = match (chain, after("-d")) {
        ("KUBE-SERVICES", Some(destination)) => single_address(destination)?,
        ("KUBE-NODEPORTS", None) => any,
        ("KUBE-NODEPORTS", Some(destination)) => single_address(destination).unwrap_or(any),
        _ => return None,
    };
    let port = after("--dport")?.parse().ok()?;
    Some(NatFrontend { address, port, protocol: Protocol::from_name(after("-p")?)? })
}

/// `10.96.0.1/32`, `fd00::1/128`, or the address alone.
fn single_address(text: &str) -> Option<IpAddr> {
    let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
    let address: IpAddr = address.parse().ok()?;
    let whole = if address.is_ipv4() { "32" } else { "128" };
    (prefix.is_empty() || prefix == whole).then_some(address)
}

fn nft(reader: &Reader<'_>) -> Known<BTreeSet<NatFrontend>> {
    reader.content("nft-kube-proxy").and_then(|text| {
        if text.lines().any(|line| line.starts_with("table ")) {
            Known::Known(elements(text))
        } else {
            Known::Absent
        }
    })
}

/// Elements of the maps after headings such as `# ip service-ips`: `10.96.0.1 . tcp . 443 : goto service-…` and
/// `tcp . 30080 : goto external-…`.
fn elements(text: &str) -> BTreeSet<NatFrontend> {
    let mut any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let mut found = BTreeSet::new();
    for line in text.lines() {
        match line {
            "# ip service-ips" | "# ip service-nodeports" => any = Ipv4Addr::UNSPECIFIED.into(),
            "# ip6 service-ips" | "# ip6 service-nodeports" => any = Ipv6Addr::UNSPECIFIED.into(),
            _ => found.extend(line.split(',').filter_map(|it| element(it, any))),
        }
    }
    found
}

fn element(text: &str, any: IpAddr) -> Option<NatFrontend> {
    let (key, _) = text.split_once(" : goto ")?;
    // What comes before the first element: `elements = {`. What may follow a key: `comment "…"`.
    let key = key.rsplit('{').next()?.split(" comment ").next()?.trim();
    let parts: Vec<&str> = key.split(" . ").map(str::trim).collect();
    let (address, protocol, port) = match parts.as_slice() {
        [address, protocol, port] => (address.parse().ok()?, protocol, port),
        [protocol, port] => (any, protocol, port),
        _ => return None,
    };
    let port = port.parse().ok()?;
    Some(NatFrontend { address, port, protocol: Protocol::from_name(protocol)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(frontends: impl IntoIterator<Item = NatFrontend>) -> Vec<String> {
        let show = |it: NatFrontend| format!("{} {} {:?}", it.address, it.port, it.protocol);
        frontends.into_iter().map(show).collect()
    }

    #[test]
    fn rules_of_iptables_are_frontends() {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let text = "-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j KUBE-SVC-NPX46M4PTMTKRN6Y\n\
            -A KUBE-SERVICES -d 1.2.3.4/32 -p udp -m udp --dport 53 -j KUBE-EXT-X\n\
            -A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n\
            -A KUBE-SERVICES -d 10.96.0.1/32 ! -s 10.0.0.0/8 -p tcp -m tcp --dport 443 -j KUBE-MARK-MASQ\n\
            -A KUBE-NODEPORTS -p tcp -m tcp --dport 30080 -j KUBE-EXT-Y\n\
            -A KUBE-NODEPORTS -d 127.0.0.0/8 -p tcp -m tcp --dport 30081 -j KUBE-EXT-Y\n\
            -A KUBE-SERVICES -d 10.0.0.0/8 -p tcp -m tcp --dport 1 -j KUBE-SVC-Z\n\
            -A KUBE-SERVICES -d\n";
        assert_eq!(
            shown(text.lines().filter_map(|line| rule(line, any))),
            ["10.96.0.1 443 Tcp", "1.2.3.4 53 Udp", "0.0.0.0 30080 Tcp", "0.0.0.0 30081 Tcp"]
        );
    }

    #[test]
    fn elements_of_nftables_are_frontends() {
        let text = "table ip kube-proxy\n# ip service-ips\ntable ip kube-proxy {\n\tmap service-ips {\n\t\ttype ipv4_addr . inet_proto . inet_service : verdict\n\
            \t\telements = { 10.96.0.1 . tcp . 443 : goto service-2QRHZV4L-default/kubernetes/tcp/https,\n\
            \t\t\t     10.96.0.10 . udp . 53 comment \"x\" : goto service-ABC-kube-system/kube-dns/udp/dns }\n\t}\n}\n\
            # ip service-nodeports\n\t\telements = { tcp . 30080 : goto external-X }\n# ip6 service-nodeports\nelements = { tcp . 30080 : goto external-X }\n";
        assert_eq!(
            shown(elements(text)),
            ["0.0.0.0 30080 Tcp", "10.96.0.1 443 Tcp", "10.96.0.10 53 Udp", ":: 30080 Tcp"]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(text in "(-A KUBE-SERVICES| -d | -p tcp|--dport | -j KUBE-SVC-X|10.0.0.1/32| . tcp . |443 : goto |\\{|,|\n|ñ|[0-9]){0,60}") {
            drop(elements(&text));
            drop(text.lines().map(|it| rule(it, Ipv4Addr::UNSPECIFIED.into())).collect::<Vec<_>>());
        }
    }
}
