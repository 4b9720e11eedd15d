//! The NAT table as `nat dump` prints it.

use core::net::IpAddr;
use std::collections::BTreeMap;

use super::reader::Reader;
use super::{NatFrontend, Protocol, Served, Vantage};
use crate::snapshot::{GapReason, Known};

/// A table, and how many lines of the dump are no part of it.
#[derive(Debug, Default)]
pub(super) struct Dump {
    pub(super) frontends: BTreeMap<NatFrontend, Served>,
    pub(super) noise: usize,
}

/// Both families' tables as one. Absent when there is neither.
pub(super) fn read(reader: &Reader<'_>, vantage: Vantage, has_bpffs: &Known<bool>) -> Known<Dump> {
    // Felix pins its tables: without the file system that holds them there are none.
    if has_bpffs.known() == Some(&false) {
        return Known::Absent;
    }
    if vantage == Vantage::Host {
        let why = "only calico-node can print the table";
        return reader.unknown("nat.v4", GapReason::NotAsked, why);
    }
    match (family(reader, "nat.v4"), family(reader, "nat.v6")) {
        (Known::Unknown(gap), _) | (_, Known::Unknown(gap)) => Known::Unknown(gap),
        (Known::Absent, other) | (other, Known::Absent) => other,
        (Known::Known(mut all), Known::Known(more)) => {
            all.frontends.extend(more.frontends);
            all.noise += more.noise;
            Known::Known(all)
        }
    }
}

fn family(reader: &Reader<'_>, id: &str) -> Known<Dump> {
    reader.content(id).and_then(|text| {
        if text.trim() == "absent" {
            return Known::Absent;
        }
        let dump = parse(text);
        // calico-node ends well also when it could not read the table, and only says so.
        let failure = text.lines().find(|line| {
            frontend(line).is_none()
                && (line.contains("Failed to dump") || line.contains("level=panic"))
        });
        match failure {
            Some(line) => reader.unknown(
                id,
                GapReason::Undecodable,
                &line.chars().take(200).collect::<String>(),
            ),
            None => Known::Known(dump),
        }
    })
}

/// Every line that is a frontend; backends stand on lines that begin with white space.
pub(super) fn parse(text: &str) -> Dump {
    let mut dump = Dump::default();
    for line in text.lines().filter(|it| !it.is_empty() && !it.starts_with([' ', '\t'])) {
        match frontend(line) {
            // A frontend may come again for a range of sources that it is limited to: that one is no more than a part of it.
            Some((key, served, limited)) if limited => {
                dump.frontends.entry(key).or_insert(served);
            }
            Some((key, served, _)) => {
                dump.frontends.insert(key, served);
            }
            None => dump.noise += 1,
        }
    }
    dump
}

/// `10.96.0.1 port 443 proto 6 id 3 count 1 local 0 flags external-local src 10.0.0.0/8`; also whether it has a `src`.
fn frontend(line: &str) -> Option<(NatFrontend, Served, bool)> {
    let mut words = line.split_whitespace();
    let address: IpAddr = words.next()?.parse().ok()?;
    let mut number = |name: &str| {
        let is_it = words.next()? == name;
        words.next().filter(|_| is_it)
    };
    let port = number("port")?.parse().ok()?;
    let protocol = Protocol::from_number(number("proto")?.parse().ok()?);
    let _id: u32 = number("id")?.parse().ok()?;
    // -1: what comes is dropped.
    let count: i64 = number("count")?.parse().ok()?;
    let backends = u32::try_from(count).unwrap_or(0);
    let limited = words.any(|word| word == "src");
    Some((NatFrontend { address, port, protocol }, Served { backends }, limited))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frontends_are_read_and_noise_is_counted() {
        let dump = parse(
            "I1130 feature_gate.go:249] feature gates: {map[]}\n\
             10.96.0.1 port 443 proto 6 id 3 count 1 local 0\n\t3:0\t 172.18.0.3:6443\n\
             10.96.0.10 port 53 proto 17 id 4 count 2 local 1 flags external-local\n\t4:0\t is missing\n\
             10.96.0.9 port 80 proto 132 id 5 count -1 local 0\n\
             10.0.0.5 port 80 proto 6 id 6 count 7 local 0 src 10.0.0.0/8\n\
             10.0.0.5 port 80 proto 6 id 6 count 2 local 0\n\
             10.0.0.5 port 80 proto 6 id 6 count 9 local 0 src 10.1.0.0/16\n\
             fd00::1 port 443 proto 6 id 7 count 1 local 0\n\
             10.0.0.5 port 80000 proto 6 id 6 count 7 local 0\n10.0.0.5 port\n\n",
        );
        let of = |address: &str, port, protocol| {
            let key = NatFrontend { address: address.parse().unwrap(), port, protocol };
            dump.frontends.get(&key).map(|it| it.backends)
        };
        assert_eq!(of("10.96.0.1", 443, Protocol::Tcp), Some(1));
        assert_eq!(of("10.96.0.10", 53, Protocol::Udp), Some(2));
        assert_eq!(of("10.96.0.9", 80, Protocol::Other(132)), Some(0));
        assert_eq!(of("10.0.0.5", 80, Protocol::Tcp), Some(2));
        assert_eq!(of("fd00::1", 443, Protocol::Tcp), Some(1));
        assert_eq!((dump.frontends.len(), dump.noise), (5, 3));
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(text in "(10\\.0\\.0\\.1| port | proto | id | count | local |[0-9]{1,12}|-1|src|\n|\t|ñ){0,60}") {
            let dump = parse(&text);
            prop_assert!(dump.frontends.len() + dump.noise <= text.lines().count());
        }
    }
}
