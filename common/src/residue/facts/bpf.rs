//! BPF programs and what is pinned.

use std::collections::{BTreeMap, BTreeSet};

use super::HostLink;
use super::reader::{Feature, Reader};
use crate::plan::ProgramHook;
use crate::snapshot::{GapReason, Known};

/// What is in the BPF file systems.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// Programs, maps and links.
    pub pins: BTreeSet<String>,
    /// Directories.
    pub directories: BTreeSet<String>,
}

/// A BPF program that is attached to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedProgram {
    /// The interface.
    pub link: String,
    /// Where.
    pub hook: ProgramHook,
    /// Its name; the kernel keeps 15 characters of it. Empty when it is not known.
    pub name: String,
}

/// What stands in front of the name of a program that came out of a file: its section there.
const SECTION: &str = ":[";

pub(super) fn pins(reader: &Reader<'_>) -> Known<Pins> {
    let paths = |id: &str| {
        reader.content(id).map(|text| -> BTreeSet<String> {
            text.lines().filter(|line| line.starts_with('/')).map(str::to_owned).collect()
        })
    };
    paths("bpf-pins")
        .and_then(|pins| paths("bpf-directories").map(|directories| Pins { pins, directories }))
}

/// Programs of both hooks. tc shows names; of XDP the link shows a number, to which bpftool knows the name.
pub(super) fn programs(
    reader: &Reader<'_>,
    links: &Known<Vec<HostLink>>,
) -> Known<Vec<AttachedProgram>> {
    let filters = reader.of_program("tc-filters", Feature::CalicoPrograms).map(filters);
    let names = reader.of_program("bpf-programs", Feature::CalicoPrograms).map(names);
    filters.and_then(|mut found| {
        links.as_ref().and_then(|links| {
            for link in links {
                let Some((id, name)) = &link.xdp else { continue };
                let name = match (&names, name.is_empty()) {
                    (_, false) => name.clone(),
                    (Known::Known(names), true) => names.get(id).cloned().unwrap_or_default(),
                    (_, true) => {
                        let detail =
                            format!("the name of {}'s XDP program is not known", link.name);
                        return reader.gap("bpf-programs", GapReason::Undecodable, detail);
                    }
                };
                found.push(AttachedProgram {
                    link: link.name.clone(),
                    hook: ProgramHook::Xdp,
                    name,
                });
            }
            Known::Known(found)
        })
    })
}

/// `# eth0 ingress`, then `filter … bpf … handle 0x1 cali_tc_preambl direct-action … id 35 …`
fn filters(text: &str) -> Vec<AttachedProgram> {
    let mut link = "";
    let mut found: Vec<AttachedProgram> = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("# ") {
            link = heading.split(' ').next().unwrap_or_default();
        } else if let Some(name) = filter_name(line).filter(|_| !link.is_empty()) {
            let hook = ProgramHook::Tc;
            found.push(AttachedProgram { link: link.to_owned(), hook, name });
        }
    }
    found
}

/// The word after the handle of a filter that is a program.
fn filter_name(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_program = words.first() == Some(&"filter") && words.contains(&"bpf");
    let at = words.iter().position(|it| *it == "handle").filter(|_| is_program)?;
    let name = words.get(at + 2)?;
    Some(name.split(SECTION).next().unwrap_or(name).to_owned())
}

/// Lines of `bpftool prog show`: `12: xdp  name cali_xdp_preamb  tag …`.
fn names(text: &str) -> BTreeMap<u32, String> {
    let line = |line: &str| {
        let (id, rest) = line.split_once(':')?;
        let mut words = rest.split_whitespace().skip_while(|it| *it != "name").skip(1);
        Some((id.trim().parse().ok()?, words.next()?.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// Names in lines of `bpftool cgroup tree`: `28  connect4  multi  calico_connect_`.
pub(super) fn cgroup_programs(text: &str) -> BTreeSet<String> {
    let is_calicos = |word: &&str| word.starts_with("cali_") || word.starts_with("calico_");
    text.split_whitespace().filter(is_calicos).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn programs_of_tc_are_read() {
        let found = filters(
            "# eth0 ingress\nfilter protocol all pref 49152 bpf chain 0 \nfilter protocol all pref 49152 bpf chain 0 handle 0x1 cali_tc_preambl direct-action not_in_hw id 35 tag 2c jited \n\
             # eth0 egress\nfilter protocol all pref 1 bpf chain 0 handle 0x1 calico_to_host_:[9] direct-action\n# eth1 ingress\nfilter protocol ip pref 1 u32 chain 0 handle 0x1 cali_x\n",
        );
        let seen: Vec<_> = found.iter().map(|it| (it.link.as_str(), it.name.as_str())).collect();
        assert_eq!(seen, [("eth0", "cali_tc_preambl"), ("eth0", "calico_to_host_")]);
    }

    #[test]
    fn names_are_read() {
        let names =
            names("12: xdp  name cali_xdp_preamb  tag 0  gpl\n\tloaded_at x\n13: xdp  tag 1\n");
        assert_eq!(names, [(12, "cali_xdp_preamb".to_owned())].into());
        let of_cgroups = cgroup_programs(
            "    28       cgroup_inet4_connect multi           calico_connect_\n/sys/fs/cgroup/x\n",
        );
        assert_eq!(of_cgroups, ["calico_connect_".to_owned()].into());
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(text in "(?s)(# |filter |bpf |handle |name |cali_|:\\[|[0-9]:|\n|.){0,40}") {
            drop(filters(&text));
            drop(names(&text));
            drop(cgroup_programs(&text));
        }
    }
}
