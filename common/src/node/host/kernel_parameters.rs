//! Parameters of operations on what the kernel holds: routes, rules, links, tables, sets, programs, mounts; and on
//! directories. Each value is checked, so that no script is made that could touch what is not Calico's.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::parameters::{LONGEST, Parts, QUICK, absolute, bad, link_name, word};
use super::{HostContext, RenderError};
use crate::plan::host::{
    is_calico_ip_set, is_calico_mount, is_calico_pin, is_calico_table, is_calico_tree,
};
use crate::plan::{HostOperation, IpFamily, NftTable};

/// One script for routes and rules, to remove and to add them.
const ROUTING: &str = include_str!("routing.sh");

/// Time for one route, rule, set or pin: a program is started twice at most.
const PER_PIECE: Duration = Duration::from_millis(50);

/// What `ip route` prints of a route's state, which is no part of the route.
const STATE_WORDS: &[&str] = &[
    "linkdown",
    "dead",
    "offload",
    "offload_failed",
    "trap",
    "rt_offload",
    "rt_offload_failed",
    "rt_trap",
    "unresolved",
    "pervasive",
    "notify",
    "[detached]",
    "[unresolved]",
];

/// Words of state with a value: `expires 30sec`, `error -101`.
const STATE_PAIRS: &[&str] = &["expires", "error"];

/// Words whose value is a name that anybody chose, and that may look like a word of state.
const NAMED: &[&str] = &["dev", "iif", "oif", "proto", "table", "lookup"];

/// Priorities of rules between the kernel's own: 0, 32766 and 32767.
const RULE_PRIORITIES: std::ops::RangeInclusive<u32> = 1..=32765;

/// Checks an operation of this kind and takes it apart.
pub(super) fn parts<'a>(
    operation: &HostOperation,
    context: &HostContext<'_>,
) -> Result<Parts<'a>, RenderError> {
    let of = |script| Parts::new(context, script);
    match operation {
        HostOperation::RemoveRoutes { family, routes } => {
            routing(of(ROUTING)?, "route", "remove", *family, routes)
        }
        HostOperation::AddRoutes { family, routes } => {
            routing(of(ROUTING)?, "route", "add", *family, routes)
        }
        HostOperation::RemoveRoutingRules { family, rules } => {
            routing(of(ROUTING)?, "rule", "remove", *family, rules)
        }
        HostOperation::AddRoutingRules { family, rules } => {
            routing(of(ROUTING)?, "rule", "add", *family, rules)
        }
        HostOperation::FlushLink { name, index, link_kind } => {
            Ok(of(include_str!("flush_link.sh"))?
                .with("name", link_name(name)?)
                .with("kind", word("kind of interface", link_kind)?)
                .with("index", index.to_string()))
        }
        HostOperation::RemoveNftTables { tables } => {
            let table = |it: &NftTable| {
                if is_calico_table(it.family, &it.name) {
                    return Ok(format!("{} {}", it.family.word(), it.name));
                }
                bad("table", &it.name, "it is not Calico's")
            };
            list(
                of(include_str!("remove_nft_tables.sh"))?,
                "tables",
                "list of tables",
                tables.iter().map(table),
            )
        }
        HostOperation::DestroyIpSets { names } => {
            let set = |it: &String| {
                if is_calico_ip_set(it) {
                    return word("ipset", it);
                }
                bad("ipset", it, "it is not Calico's")
            };
            list(
                of(include_str!("destroy_ip_sets.sh"))?,
                "names",
                "list of ipsets",
                names.iter().map(set),
            )
        }
        HostOperation::RemovePins { paths } => {
            // A directory comes after what is in it.
            let mut deepest_first: Vec<&String> = paths.iter().collect();
            deepest_first.sort_unstable_by(|a, b| b.cmp(a));
            list(
                of(concat!(include_str!("mounts.sh"), include_str!("remove_pins.sh")))?,
                "paths",
                "list of pins",
                deepest_first.into_iter().map(|it| pin(it)),
            )
        }
        HostOperation::DetachPrograms { link, index, hook } => {
            Ok(of(include_str!("detach_programs.sh"))?
                .with("name", link_name(link)?)
                .with("index", index.to_string())
                .with("hook", hook.word()))
        }
        HostOperation::Unmount { path, file_system } => {
            if !is_calico_mount(path, file_system) {
                return bad("mount point", path, "calico-node mounts no such file system there");
            }
            Ok(of(concat!(include_str!("mounts.sh"), include_str!("unmount.sh")))?
                .with("path", path)
                .with("kind", file_system))
        }
        HostOperation::RemoveTree { path } => {
            absolute(path)?;
            if !is_calico_tree(path) {
                return bad("path", path, "it is no directory of Calico's");
            }
            Ok(of(concat!(include_str!("mounts.sh"), include_str!("remove_tree.sh")))?
                .with("path", path))
        }
        other => bad("operation", &format!("{other:?}"), "it has no script"),
    }
}

fn routing<'a>(
    parts: Parts<'a>,
    object: &'static str,
    direction: &'static str,
    family: IpFamily,
    lines: &[String],
) -> Result<Parts<'a>, RenderError> {
    let version = match family {
        IpFamily::V4 => "-4",
        IpFamily::V6 => "-6",
    };
    let check = |it: &String| if object == "route" { route(family, it) } else { rule(it) };
    let parts = parts.with("object", object).with("direction", direction).with("version", version);
    list(parts, "lines", "list of routes or rules", lines.iter().map(check))
}

/// One entry per line.
fn list<'a>(
    parts: Parts<'a>,
    name: &'static str,
    what: &'static str,
    entries: impl Iterator<Item = Result<String, RenderError>>,
) -> Result<Parts<'a>, RenderError> {
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    if entries.is_empty() {
        return bad(what, "", "it is empty");
    }
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    let limit = QUICK.saturating_add(PER_PIECE.saturating_mul(count)).min(LONGEST);
    let parts = parts.with(name, entries.join("\n"));
    Ok(Parts { limit, ..parts })
}

fn pin(path: &str) -> Result<String, RenderError> {
    absolute(path)?;
    if !is_calico_pin(path) {
        return bad("pin", path, "it is not Calico's");
    }
    Ok(path.to_owned())
}

/// The words of a line that say what a route or rule is, without those that say how it fares just now.
fn lasting_words<'a>(what: &'static str, text: &'a str) -> Result<Vec<&'a str>, RenderError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "./:_-@+[]".contains(c);
    let mut words = text.split([' ', '\t', '\n', '\\']).filter(|it| !it.is_empty());
    let mut lasting = Vec::new();
    while let Some(it) = words.next() {
        if STATE_PAIRS.contains(&it) {
            words.next();
        } else if !STATE_WORDS.contains(&it) {
            lasting.push(it);
            lasting.extend(NAMED.contains(&it).then(|| words.next()).flatten());
        }
    }
    if lasting.iter().any(|it| it.starts_with('-') || !it.chars().all(plain)) {
        return bad(what, text, "it has a word that does not occur in such a line");
    }
    Ok(lasting)
}

/// The value of a word: of `dev` in `… dev eth0 …`.
fn value<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().position(|it| *it == name).and_then(|at| words.get(at + 1).copied())
}

fn route(family: IpFamily, text: &str) -> Result<String, RenderError> {
    let words = lasting_words("route", text)?;
    let to = match words.first() {
        Some(&("blackhole" | "unreachable" | "prohibit" | "throw" | "unicast")) => words.get(1),
        first => first,
    };
    let is_address = to.is_some_and(|to| {
        let (address, length) = to.split_once('/').unwrap_or((to, "32"));
        let is_of_family = match family {
            IpFamily::V4 => address.parse::<Ipv4Addr>().is_ok(),
            IpFamily::V6 => address.parse::<Ipv6Addr>().is_ok(),
        };
        is_of_family && length.parse::<u8>().is_ok_and(|it| it > 0)
    });
    if !is_address {
        return bad(
            "route",
            text,
            "it does not lead to some network of this family, and such routes are kept",
        );
    }
    if value(&words, "proto") == Some("kernel") || value(&words, "table") == Some("local") {
        return bad("route", text, "it is the kernel's own");
    }
    if words.contains(&"nhid") {
        return bad("route", text, "it uses a next hop object, as Calico's never do");
    }
    Ok(words.join(" "))
}

fn rule(text: &str) -> Result<String, RenderError> {
    let words = lasting_words("routing rule", text)?;
    let priority = words.first().and_then(|it| it.strip_suffix(':')?.parse::<u32>().ok());
    if !priority.is_some_and(|it| RULE_PRIORITIES.contains(&it)) {
        return bad("routing rule", text, "its priority is not one of a rule that is added");
    }
    match value(&words, "lookup") {
        Some("local" | "main" | "default" | "255" | "254" | "253") | None => {
            bad("routing rule", text, "it does not lead to a table of its own")
        }
        Some(_) => Ok(words.join(" ")),
    }
}

#[cfg(test)]
#[path = "kernel_parameters_tests.rs"]
mod tests;
