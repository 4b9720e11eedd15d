//! BPF programs that are attached to interfaces, and what is pinned.

use std::collections::{BTreeMap, BTreeSet};

use super::Vantage;
use super::reader::Reader;
use crate::snapshot::{GapReason, Known};

/// Names of programs by interface.
pub(super) type Programs = BTreeMap<String, BTreeSet<String>>;

/// What stands in front of the name of a program that came out of a file: its section there.
const SECTION: &str = ":[";

/// Directory of the links that newer kernels attach without a filter. A link lives as long as its pin.
const LINK_PINS: &str = "/sys/fs/bpf/tcx/";

/// Whether a program or pin of this name is Calico's.
pub(super) fn is_calicos(name: &str) -> bool {
    name.starts_with("cali_") || name.starts_with("calico_")
}

/// All programs of interfaces. Without bpftool, the pins of links tell of those that have no filter.
pub(super) fn attached(reader: &Reader<'_>, pins: &Known<BTreeSet<String>>) -> Known<Programs> {
    reader.content("programs").map(filters).and_then(|mut found| {
        if reader.lacks_program("program-links") {
            add_pinned_links(&mut found, pins);
            return Known::Known(found);
        }
        reader.content("program-links").map(|text| {
            for (device, name) in text.lines().filter_map(link_of_program) {
                found.entry(device.to_owned()).or_default().insert(name.to_owned());
            }
            found
        })
    })
}

/// Those that are Calico's, or that are not.
pub(super) fn of_calico(all: &Known<Programs>, calicos: bool) -> Known<Programs> {
    all.as_ref().map(|all| {
        let keep = |names: &BTreeSet<String>| -> BTreeSet<String> {
            names.iter().filter(|name| is_calicos(name) == calicos).cloned().collect()
        };
        all.iter()
            .map(|(device, names)| (device.clone(), keep(names)))
            .filter(|(_, names)| !names.is_empty())
            .collect()
    })
}

/// `# eth0 ingress`, then `filter … bpf … handle 0x1 cali_tc_preambl direct-action … id 35 …`
fn filters(text: &str) -> Programs {
    let mut device = "";
    let mut found = Programs::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("# ") {
            device = heading.split(' ').next().unwrap_or_default();
        } else if let Some(name) = filter_name(line).filter(|_| !device.is_empty()) {
            found.entry(device.to_owned()).or_default().insert(name.to_owned());
        }
    }
    found
}

/// The word after the handle of a filter that is a program.
fn filter_name(line: &str) -> Option<&str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_program = words.first() == Some(&"filter") && words.contains(&"bpf");
    let at = words.iter().position(|it| *it == "handle").filter(|_| is_program)?;
    let name = words.get(at + 2)?;
    Some(name.split(SECTION).next().unwrap_or(name))
}

/// `eth0(2) tcx/ingress cali_tc_preambl prog_id 35 link_id 4`
fn link_of_program(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace();
    let (device, _) = words.next()?.split_once('(')?;
    words.next().filter(|hook| hook.starts_with("tcx/"))?;
    words.next().map(|name| (device, name))
}

/// Pins are named after the interface without its dots: `eth0_ingress`. Whose link it is, the directory says: it is Calico's.
fn add_pinned_links(found: &mut Programs, pins: &Known<BTreeSet<String>>) {
    for pin in pins.known().into_iter().flatten() {
        let Some((device, hook)) =
            pin.strip_prefix(LINK_PINS).and_then(|name| name.rsplit_once('_'))
        else {
            continue;
        };
        if matches!(hook, "ingress" | "egress") {
            let name = format!("cali_tcx_{hook}");
            found.entry(device.to_owned()).or_default().insert(name);
        }
    }
}

/// Paths below /sys/fs/bpf. A container into which that file system is not mounted sees none of them.
pub(super) fn pins(
    reader: &Reader<'_>,
    vantage: Vantage,
    has_bpffs: &Known<bool>,
) -> Known<BTreeSet<String>> {
    match has_bpffs {
        Known::Known(true) => reader
            .content("pins")
            .map(|text| text.lines().filter(|it| it.starts_with('/')).map(str::to_owned).collect()),
        Known::Known(false) if vantage == Vantage::Host => Known::Absent,
        Known::Unknown(gap) => Known::Unknown(gap.clone()),
        _ => reader.unknown(
            "pins",
            GapReason::NotAsked,
            "the BPF file system is not mounted into calico-node",
        ),
    }
}
