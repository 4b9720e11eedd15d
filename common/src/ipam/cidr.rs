//! Arithmetic of ranges and of ordinals in them, and the names that Calico makes of ranges.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// A range as it is written in an object; bits behind the prefix are cut off.
pub fn parse(text: &str) -> Option<IpNet> {
    let net: IpNet = text.trim().parse().ok()?;
    Some(net.trunc())
}

/// Number of addresses. None for ::/0 alone, whose number does not fit.
pub fn size(net: &IpNet) -> Option<u128> {
    1u128.checked_shl(u32::from(net.max_prefix_len() - net.prefix_len()))
}

/// The address with this ordinal; none behind the end.
pub fn address(net: &IpNet, ordinal: u128) -> Option<IpAddr> {
    if size(net).is_some_and(|size| ordinal >= size) {
        return None;
    }
    match net.network() {
        IpAddr::V4(first) => {
            let number = u32::from(first).checked_add(u32::try_from(ordinal).ok()?)?;
            Some(IpAddr::V4(Ipv4Addr::from(number)))
        }
        IpAddr::V6(first) => {
            Some(IpAddr::V6(Ipv6Addr::from(u128::from(first).checked_add(ordinal)?)))
        }
    }
}

/// The ordinal of an address; none when it is not in the range.
pub fn ordinal(net: &IpNet, address: IpAddr) -> Option<u128> {
    if !net.contains(&address) {
        return None;
    }
    match (net.network(), address) {
        (IpAddr::V4(first), IpAddr::V4(it)) => {
            Some(u128::from(u32::from(it).checked_sub(u32::from(first))?))
        }
        (IpAddr::V6(first), IpAddr::V6(it)) => u128::from(it).checked_sub(u128::from(first)),
        _ => None,
    }
}

/// True when the two have an address in common. Ranges nest or are apart: there is nothing between.
pub fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// Ranges that lie in another one of the list, as places in it: the smallest range around it, and itself. Of equal ones the
/// later lies in the earlier.
pub fn nested(ranges: &[IpNet]) -> Vec<(usize, usize)> {
    let mut sorted: Vec<(&IpNet, usize)> =
        ranges.iter().enumerate().map(|(place, net)| (net, place)).collect();
    // The wider of two that begin at the same address comes first.
    sorted.sort_by_key(|(net, place)| (net.network(), net.prefix_len(), *place));
    let mut around: Vec<(&IpNet, usize)> = Vec::new();
    let mut found = Vec::new();
    for (net, place) in sorted {
        while around.pop_if(|(outer, _)| !outer.contains(net)).is_some() {}
        found.extend(around.last().map(|(_, outer)| (*outer, place)));
        around.push((net, place));
    }
    found
}

/// What Calico calls the block of this range: `192-168-46-0-26`, `fd00---122` (libcalico-go, names/cidr.go).
pub fn block_name(net: &IpNet) -> String {
    net.to_string().replace(['.', ':', '/'], "-")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> IpNet {
        parse(text).unwrap()
    }

    #[test]
    fn names_are_calicos() {
        assert_eq!(block_name(&net("192.168.46.0/26")), "192-168-46-0-26");
        assert_eq!(block_name(&net("fd00::/122")), "fd00---122");
    }

    #[test]
    fn bad_ranges_are_none() {
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "::ffff/x"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
        assert_eq!(net("10.0.0.77/26").to_string(), "10.0.0.64/26");
        assert_eq!(size(&net("::/0")), None);
        assert_eq!(size(&net("0.0.0.0/0")), Some(1 << 32));
        assert_eq!(address(&net("255.255.255.255/32"), 1), None);
    }

    fn any_net() -> impl Strategy<Value = IpNet> {
        prop_oneof![
            (any::<u32>(), 0u8..=32).prop_map(|(bits, prefix)| {
                ipnet::Ipv4Net::new(bits.into(), prefix).unwrap().trunc().into()
            }),
            (any::<u128>(), 1u8..=128).prop_map(|(bits, prefix)| {
                ipnet::Ipv6Net::new(bits.into(), prefix).unwrap().trunc().into()
            }),
        ]
    }

    proptest! {
        #[test]
        fn ordinals_and_addresses_are_inverse(net in any_net(), seed in any::<u128>()) {
            let size = size(&net).unwrap();
            let number = seed % size;
            let it = address(&net, number).unwrap();
            prop_assert!(net.contains(&it));
            prop_assert_eq!(ordinal(&net, it), Some(number));
            prop_assert_eq!(address(&net, size), None);
        }

        #[test]
        fn overlapping_is_symmetric_and_means_a_common_address(a in any_net(), b in any_net()) {
            prop_assert_eq!(overlap(&a, &b), overlap(&b, &a));
            let common = a.contains(&b.network()) || b.contains(&a.network());
            prop_assert_eq!(overlap(&a, &b), common);
        }

        #[test]
        fn a_range_is_nested_when_another_one_holds_it(all in prop::collection::vec((0u32..64, 26u8..=32), 0..20)) {
            let all: Vec<IpNet> = all.into_iter().map(|(bits, prefix)| {
                ipnet::Ipv4Net::new((0x0a00_0000 + bits).into(), prefix).unwrap().trunc().into()
            }).collect();
            let found: std::collections::BTreeMap<usize, usize> =
                nested(&all).into_iter().map(|(outer, inner)| (inner, outer)).collect();
            for (place, net) in all.iter().enumerate() {
                let holds = |(other, it): &(usize, &IpNet)| {
                    it.contains(net) && (*it != net || *other < place)
                };
                let nearest = all.iter().enumerate().filter(holds).map(|it| it.1.prefix_len()).max();
                prop_assert_eq!(found.get(&place).map(|outer| all[*outer].prefix_len()), nearest);
            }
        }

        #[test]
        fn what_is_written_is_read_back(net in any_net()) {
            prop_assert_eq!(parse(&net.to_string()), Some(net));
        }
    }
}
