//! BPF programs and pins.

use super::{Means, Seen, Taking};
use crate::plan::ProgramHook;
use crate::residue::ResidueKind;
use crate::residue::facts::AttachedProgram;

/// Where the host's BPF file system is mounted. Calico's own, below /run/calico, goes as a whole.
const ROOT: &str = "/sys/fs/bpf/";

/// Programs that translate Service addresses for sockets.
const CONNECT_TIME: [&str; 6] = [
    "calico_connect_v4",
    "calico_connect_v6",
    "calico_sendmsg_v4",
    "calico_sendmsg_v6",
    "calico_recvmsg_v4",
    "calico_recvmsg_v6",
];

/// Whose a pin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// The BPF data plane's.
    DataPlane,
    /// Felix's, also without the BPF data plane: it drops packets early with them.
    Felix,
    /// It stands where Calico has pins, and may be somebody else's.
    Unclear,
    /// Somebody else's.
    Foreign,
}

pub(super) fn take(taking: &mut Taking<'_>) {
    let facts = taking.facts;
    if let Some(found) = taking.known(&facts.pins) {
        let foreign: Vec<&str> =
            found.pins.iter().map(String::as_str).filter(|it| !is_own(whose(it))).collect();
        for path in &found.pins {
            one(taking, path, whose(path), format!("pin {path}"));
        }
        for path in &found.directories {
            // A directory goes when nothing is left in it.
            let below = format!("{path}/");
            if !foreign.iter().any(|it| it.starts_with(&below)) {
                one(taking, path, whose_directory(path), format!("directory {path}"));
            }
        }
    }
    programs(taking);
    of_cgroups(taking);
}

fn is_own(whose: Whose) -> bool {
    matches!(whose, Whose::DataPlane | Whose::Felix)
}

fn whose(path: &str) -> Whose {
    let Some(below) = path.strip_prefix(ROOT) else { return Whose::Foreign };
    let parts: Vec<&str> = below.split('/').collect();
    match parts.as_slice() {
        ["calico", _, ..] => Whose::Felix,
        ["tc", "globals", name] if name.starts_with("cali_") => Whose::DataPlane,
        ["tc", directory, ..] if is_of_hook(directory) || is_hash(directory) => Whose::DataPlane,
        ["ctlb", name] | [name] if CONNECT_TIME.contains(name) => Whose::DataPlane,
        [name] if name.starts_with("xdp_cali_") => Whose::Felix,
        [name] if is_map(name) => Whose::DataPlane,
        ["tcx" | "netkit", name] if is_of_calicos_link(name) => Whose::DataPlane,
        ["tcx" | "netkit", _] => Whose::Unclear,
        _ => Whose::Foreign,
    }
}

fn whose_directory(path: &str) -> Whose {
    let Some(below) = path.strip_prefix(ROOT) else { return Whose::Foreign };
    let parts: Vec<&str> = below.split('/').collect();
    match parts.as_slice() {
        ["calico", ..] => Whose::Felix,
        ["ctlb"] => Whose::DataPlane,
        ["tc", name] if is_of_hook(name) || is_hash(name) => Whose::DataPlane,
        _ => Whose::Foreign,
    }
}

fn is_map(name: &str) -> bool {
    ["cali_v4_", "cali_v6_", "cali_state"].iter().any(|prefix| name.starts_with(prefix))
}

/// What libbpf's loader called a directory by: the SHA-1 of the object.
fn is_hash(name: &str) -> bool {
    name.len() == 40 && name.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}

/// `<interface>_igr`, `…_egr`, `…_xdp`
fn is_of_hook(name: &str) -> bool {
    ["_igr", "_egr", "_xdp"]
        .iter()
        .any(|end| name.strip_suffix(end).is_some_and(|it| !it.is_empty()))
}

/// `calic89e26c778a_ingress`, `vxlan.calico_egress`
fn is_of_calicos_link(name: &str) -> bool {
    let link = name.rsplit_once('_').map_or(name, |(link, _)| link);
    let ends = |end| link.strip_suffix(end).is_some();
    crate::calico::veth::is_one(link) || ends(".cali") || ends(".calico")
}

fn one(taking: &mut Taking<'_>, path: &str, whose: Whose, what: String) {
    let around = taking.surroundings;
    match whose {
        Whose::Foreign => {}
        Whose::Unclear => {
            if !taking.is_stale_scope() {
                taking.kept(
                    ResidueKind::Pin,
                    path,
                    what,
                    "other programs pin their links there as well",
                );
            }
        }
        // Felix uses it without the BPF data plane, too.
        Whose::Felix if taking.is_stale_scope() => {}
        Whose::DataPlane if !taking.is_unwanted(&around.bpf) => {
            let what = "pins of the BPF data plane";
            taking.undecided(ResidueKind::Pin, ROOT, what, &around.bpf);
        }
        Whose::Felix | Whose::DataPlane => {
            let excerpt = "a place and a name that only Calico pins at";
            let seen = Seen { what, source: "find /sys/fs/bpf", excerpt };
            taking.residue(ResidueKind::Pin, path, seen, Means::Pin(path.to_owned()));
        }
    }
}

fn programs(taking: &mut Taking<'_>) {
    let facts = taking.facts;
    let Some(programs) = taking.known(&facts.programs) else { return };
    let going = taking.residue_links();
    let mut done: Vec<(&str, ProgramHook)> = Vec::new();
    for program in programs {
        let place = (program.link.as_str(), program.hook);
        // It goes with its interface; and one operation detaches all of a hook.
        if !going.contains(&program.link) && !done.contains(&place) && attached(taking, program) {
            done.push(place);
        }
    }
}

fn attached(taking: &mut Taking<'_>, program: &AttachedProgram) -> bool {
    let AttachedProgram { link, hook, name } = program;
    let id = format!("{link}/{}", hook.word());
    let what = format!("BPF program {name} at {link} ({})", hook.word());
    if !name.starts_with("cali") {
        if name.is_empty() {
            taking.kept(
                ResidueKind::Program,
                &id,
                what,
                "it has no name: whose it is cannot be told",
            );
        }
        return false;
    }
    let bpf = &taking.surroundings.bpf;
    // Felix without the BPF data plane attaches programs to the driver's hook only.
    let may_go = match hook {
        ProgramHook::Tc => taking.is_unwanted(bpf),
        ProgramHook::Xdp => !taking.is_stale_scope(),
    };
    let links = taking.facts.links.known();
    let index = links.and_then(|all| all.iter().find(|it| &it.name == link)).map(|it| it.index);
    let (Some(index), true) = (index, may_go) else { return false };
    let seen = Seen { what, source: "tc filter show, ip -d link show", excerpt: name };
    let means = Means::Detach { link: link.clone(), index, hook: *hook };
    taking.residue(ResidueKind::Program, &id, seen, means);
    true
}

/// Programs at cgroups go with the last reference to them. Those that were attached without a pinned link stay.
fn of_cgroups(taking: &mut Taking<'_>) {
    let facts = taking.facts;
    if !taking.is_unwanted(&taking.surroundings.bpf) {
        return;
    }
    let Some(names) = taking.known(&facts.cgroup_programs) else { return };
    for name in names {
        let what = format!("BPF program {name} at a cgroup");
        let seen = Seen { what, source: "bpftool cgroup tree", excerpt: name };
        let why = "it goes with its pin, else with the next boot";
        taking.residue(
            ResidueKind::Program,
            &format!("cgroup/{name}"),
            seen,
            Means::None(why.to_owned()),
        );
    }
}
