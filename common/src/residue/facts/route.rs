//! Routes and rules of policy routing, as `ip` prints them, one to a line.

use core::net::IpAddr;

use ipnet::IpNet;

use crate::plan::IpFamily;

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostRoute {
    /// The line, as `ip -o route show table all` prints it.
    pub line: String,
    /// `unicast`, `blackhole`, `throw`, …
    pub kind: String,
    /// Where it leads.
    pub destination: IpNet,
    /// Next hops.
    pub gateways: Vec<IpAddr>,
    /// Interfaces it goes through.
    pub devices: Vec<String>,
    /// Who made it: `80`, `bird`, `kernel`, `boot`; empty when it is not said.
    pub protocol: String,
    /// The table; empty for `main`.
    pub table: String,
    /// `metric`, as it is printed.
    pub metric: String,
}

/// A rule of policy routing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoutingRule {
    /// The line, as `ip rule show` prints it.
    pub line: String,
    /// Its place in the order.
    pub priority: u32,
    /// True for `not`.
    pub is_negated: bool,
    /// Mark and mask of the packets it is for.
    pub mark: Option<(u32, u32)>,
    /// The table it sends them to.
    pub table: String,
}

/// Types that may stand in front of the destination.
const KINDS: [&str; 9] = [
    "unicast",
    "blackhole",
    "unreachable",
    "prohibit",
    "throw",
    "local",
    "broadcast",
    "multicast",
    "anycast",
];

/// Every line that is a route.
pub(super) fn routes(family: IpFamily, text: &str) -> Vec<HostRoute> {
    let mut routes: Vec<HostRoute> = text.lines().filter_map(|line| route(family, line)).collect();
    routes.sort();
    routes.dedup();
    routes
}

fn route(family: IpFamily, line: &str) -> Option<HostRoute> {
    let line = line.trim_end();
    // `ip -o` puts a backslash where it would begin a new line.
    let mut words =
        line.split(|c: char| c.is_whitespace() || c == '\\').filter(|it| !it.is_empty()).peekable();
    let kind = words.next_if(|word| KINDS.contains(word)).unwrap_or("unicast").to_owned();
    let destination = destination(family, words.next()?)?;
    let mut route = HostRoute {
        line: line.to_owned(),
        kind,
        destination,
        gateways: Vec::new(),
        devices: Vec::new(),
        protocol: String::new(),
        table: String::new(),
        metric: String::new(),
    };
    while let Some(word) = words.next() {
        match word {
            "via" => {
                // `via inet6 fe80::1` for a gateway of the other family.
                let next = words.next()?;
                let address = if matches!(next, "inet" | "inet6") { words.next()? } else { next };
                route.gateways.push(address.parse().ok()?);
            }
            "dev" => route.devices.push(words.next()?.to_owned()),
            "proto" => route.protocol = words.next()?.to_owned(),
            "metric" => route.metric = words.next()?.to_owned(),
            "table" => route.table = words.next()?.to_owned(),
            _ => {}
        }
    }
    Some(route)
}

fn destination(family: IpFamily, word: &str) -> Option<IpNet> {
    if word == "default" {
        return match family {
            IpFamily::V4 => "0.0.0.0/0".parse().ok(),
            IpFamily::V6 => "::/0".parse().ok(),
        };
    }
    let net: IpNet = word.parse().ok().or_else(|| word.parse::<IpAddr>().ok().map(IpNet::from))?;
    let fits = matches!((net, family), (IpNet::V4(_), IpFamily::V4) | (IpNet::V6(_), IpFamily::V6));
    fits.then_some(net)
}

/// Every line that is a rule: `99: not from all fwmark 0x100000/0x100000 lookup 1`.
pub(super) fn rules(text: &str) -> Vec<RoutingRule> {
    let mut rules: Vec<RoutingRule> = text.lines().filter_map(rule).collect();
    rules.sort();
    rules
}

fn rule(line: &str) -> Option<RoutingRule> {
    let (priority, rest) = line.split_once(':')?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let after = |key: &str| {
        words.iter().position(|it| *it == key).and_then(|at| words.get(at + 1)).copied()
    };
    Some(RoutingRule {
        line: line.trim_end().to_owned(),
        priority: priority.trim().parse().ok()?,
        is_negated: words.first() == Some(&"not"),
        mark: after("fwmark").and_then(mark),
        table: after("lookup").unwrap_or_default().to_owned(),
    })
}

/// `0x100000/0x100000`; without a mask all bits count.
fn mark(word: &str) -> Option<(u32, u32)> {
    let number = |text: &str| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    match word.split_once('/') {
        Some((mark, mask)) => Some((number(mark)?, number(mask)?)),
        None => Some((number(word)?, u32::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn routes_are_read() {
        let all = routes(
            IpFamily::V4,
            "10.65.0.64/26 via 10.99.0.13 dev eth0 proto 80 onlink \nblackhole 10.65.1.0/26 proto bird \n\
             10.65.2.0/26 proto bird \\\tnexthop via 10.99.0.14 dev eth0 weight 1 \\\tnexthop via 10.99.0.15 dev eth1 weight 1 \n\
             10.65.0.7 dev cali0123456789a table 7 scope link \nError: x\nfd00::/64 dev eth0 proto 80\n",
        );
        assert_eq!(all.len(), 4, "{all:?}");
        let many = all.iter().find(|it| it.gateways.len() == 2).unwrap();
        assert_eq!((many.devices.len(), many.protocol.as_str()), (2, "bird"));
        let hole = all.iter().find(|it| it.kind == "blackhole").unwrap();
        assert_eq!(hole.line, "blackhole 10.65.1.0/26 proto bird");
        let link = all.iter().find(|it| it.table == "7").unwrap();
        assert_eq!(link.destination.to_string(), "10.65.0.7/32");
    }

    #[test]
    fn rules_are_read() {
        let all = rules(
            "0:\tfrom all lookup local\n99:\tnot from all fwmark 0x100000/0x100000 lookup 1\nx\n",
        );
        assert_eq!(all.len(), 2);
        assert_eq!(
            (all[1].is_negated, all[1].mark, all[1].table.as_str()),
            (true, Some((0x10_0000, 0x10_0000)), "1")
        );
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(text in "(?s)(via|dev|proto|table|nexthop| |\\\\|\n|10.0.0.1|/33|fd00::|0x|fwmark|99:|not|.){0,40}") {
            for it in routes(IpFamily::V4, &text) {
                prop_assert!(text.contains(&it.line));
            }
            drop(routes(IpFamily::V6, &text));
            drop(rules(&text));
        }
    }
}
