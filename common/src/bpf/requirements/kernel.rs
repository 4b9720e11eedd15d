//! What the kernels of the nodes must be able to do.

use super::{CalicoVersion, Findings, Grade, Kernel, Requirement, Situation};
use crate::snapshot::{Gap, GapReason, Known};

/// Felix checks less: what it refuses, it refuses by quietly staying with iptables.
pub(super) static KERNEL: Requirement = Requirement {
    id: "kernel",
    title: "a kernel that is new enough",
    essential: true,
    judge: kernel,
};

/// Kernels on which a release of Calico is known to fail.
pub(super) static KNOWN_BAD: Requirement = Requirement {
    id: "kernel-known-bad",
    title: "no kernel on which this release of Calico is known to fail",
    essential: false,
    judge: known_bad,
};

/// There are programs for two architectures only.
pub(super) static ARCHITECTURE: Requirement = Requirement {
    id: "architecture",
    title: "an architecture that Calico has programs for",
    essential: true,
    judge: architecture,
};

/// Later releases have no other programs than those that need it.
pub(super) static TYPE_INFORMATION: Requirement = Requirement {
    id: "btf",
    title: "type information of the kernel (BTF)",
    essential: false,
    judge: type_information,
};

/// What the kernel was built with.
pub(super) static OPTIONS: Requirement = Requirement {
    id: "kernel-options",
    title: "a kernel that was built with what eBPF needs",
    essential: false,
    judge: options,
};

/// The oldest kernels that a release of Calico works with.
struct Gate {
    /// First release that it is about.
    since: CalicoVersion,
    /// Oldest kernel.
    oldest: (u32, u32),
    /// Build of Red Hat's 4.18.0 that is as good.
    red_hat_build: u32,
}

const GATES: [Gate; 2] = [
    Gate { since: CalicoVersion(3, 31, 0), oldest: (5, 10), red_hat_build: 305 },
    Gate { since: CalicoVersion(0, 0, 0), oldest: (5, 3), red_hat_build: 193 },
];

/// What every release recommends.
const COMFORTABLE: (u32, u32) = (5, 10);

impl Gate {
    fn lets_in(&self, kernel: &Kernel) -> bool {
        let number = (kernel.number.0, kernel.number.1);
        let as_good = kernel.red_hat && number == (4, 18) && kernel.build >= self.red_hat_build;
        // Red Hat's later 4.x are newer than its 4.18.
        number >= self.oldest || as_good
    }
}

fn gate_of(version: CalicoVersion) -> &'static Gate {
    let [newest, oldest] = &GATES;
    if version >= newest.since { newest } else { oldest }
}

fn kernel(situation: &Situation<'_>, findings: &mut Findings) {
    let version = CalicoVersion::of_install(situation);
    for name in situation.nodes.keys() {
        let kernel = match Kernel::of_node(situation, name) {
            Known::Known(kernel) => kernel,
            Known::Absent => continue,
            Known::Unknown(gap) => {
                findings.unknown_on(name, &gap);
                continue;
            }
        };
        judge_kernel(findings, name, &kernel, version.known().copied());
    }
}

fn judge_kernel(
    findings: &mut Findings,
    name: &str,
    kernel: &Kernel,
    version: Option<CalicoVersion>,
) {
    const NEWER: &str = "boot a newer kernel: 5.10, or Red Hat's 4.18.0-305, and better 6.6";
    let [newest, oldest] = &GATES;
    let release = &kernel.release;
    let fine = version.map_or(newest, gate_of).lets_in(kernel);
    if fine && newest.lets_in(kernel) {
        findings.node(name, Grade::Fine, format!("kernel {release}"), "");
    } else if fine {
        let reason = format!(
            "kernel {release} is older than the {}.{} that is recommended, and too old for v3.31",
            COMFORTABLE.0, COMFORTABLE.1
        );
        findings.node(name, Grade::Warning, reason, NEWER);
    } else if version.is_some() || !oldest.lets_in(kernel) {
        let gate = version.map_or(oldest, gate_of);
        let (major, minor) = gate.oldest;
        let reason = format!(
            "kernel {release} is older than {major}.{minor}: the node may quietly stay with iptables, and without \
             kube-proxy it has no Services"
        );
        findings.node(name, Grade::Blocker, reason, NEWER);
    } else {
        let why = format!(
            "kernel {release} is new enough for some releases of Calico, and the release is not known"
        );
        findings.unknown_on(name, &Gap::new(format!("nodes/{name}"), GapReason::Undecodable, why));
    }
}

/// Kernels, from the first to the last, with which releases fail that lack the fix.
struct Bad {
    first: (u32, u32, u32),
    last: (u32, u32, u32),
    /// Which releases have it at all; none for all.
    only: Option<(u32, u32)>,
    /// First releases with the fix.
    fixed: &'static [CalicoVersion],
    what: &'static str,
}

const CONNECT_TIME: &str =
    "the programs of connect-time load balancing are refused (projectcalico/calico#11302)";

const FIXED_CONNECT_TIME: &[CalicoVersion] =
    &[CalicoVersion(3, 29, 7), CalicoVersion(3, 30, 5), CalicoVersion(3, 31, 3)];

const BAD: [Bad; 3] = [
    Bad {
        first: (6, 12, 50),
        last: (6, 12, 59),
        only: None,
        fixed: FIXED_CONNECT_TIME,
        what: CONNECT_TIME,
    },
    Bad {
        first: (6, 17, 5),
        last: (6, 17, 5),
        only: None,
        fixed: FIXED_CONNECT_TIME,
        what: CONNECT_TIME,
    },
    Bad {
        first: (6, 1, 0),
        last: (6, 1, u32::MAX),
        only: Some((3, 26)),
        fixed: &[CalicoVersion(3, 26, 2)],
        what: "its library cannot read the kernel's type information (projectcalico/calico#8001)",
    },
];

fn known_bad(situation: &Situation<'_>, findings: &mut Findings) {
    let version = match CalicoVersion::of_install(situation) {
        Known::Known(version) => version,
        Known::Absent => return,
        Known::Unknown(gap) => return findings.unknown(&gap),
    };
    for name in situation.nodes.keys() {
        let kernel = match Kernel::of_node(situation, name) {
            Known::Known(kernel) => kernel,
            Known::Absent => continue,
            Known::Unknown(gap) => {
                findings.unknown_on(name, &gap);
                continue;
            }
        };
        let is_bad = |bad: &&Bad| {
            (bad.first..=bad.last).contains(&kernel.number)
                && bad.only.is_none_or(|it| it == (version.0, version.1))
                && !version.has_fix(bad.fixed)
        };
        match BAD.iter().find(is_bad) {
            Some(bad) => findings.node(
                name,
                Grade::Blocker,
                format!("with kernel {} and Calico {version}, {}", kernel.release, bad.what),
                "upgrade Calico to a release that has the fix, or boot another kernel",
            ),
            None => findings.node(name, Grade::Fine, format!("kernel {}", kernel.release), ""),
        }
    }
}

fn architecture(situation: &Situation<'_>, findings: &mut Findings) {
    for name in situation.nodes.keys() {
        let node = situation.snapshot.nodes.items.iter().find(|it| &it.metadata.name == name);
        let reported = node.map(|it| it.status.node_info.architecture.clone());
        let seen = situation.nodes.get(name).and_then(|it| it.known()?.machine.known());
        let Some(found) = seen.cloned().or(reported).filter(|it| !it.is_empty()) else {
            let why = "the node's architecture could not be told";
            let gap =
                Gap::new(format!("nodes/{name}/bpf.txt#machine"), GapReason::Undecodable, why);
            findings.unknown_on(name, &gap);
            continue;
        };
        if ["amd64", "x86_64", "arm64", "aarch64"].contains(&found.as_str()) {
            findings.node(name, Grade::Fine, found, "");
        } else {
            let reason =
                format!("Calico has eBPF programs for amd64 and arm64 only, and this is {found}");
            findings.node(
                name,
                Grade::Blocker,
                reason,
                "take the node out of the cluster, or stay with iptables",
            );
        }
    }
}

/// First release that has no programs but those that need type information.
const NEEDS_TYPE_INFORMATION: CalicoVersion = CalicoVersion(3, 33, 0);

fn type_information(situation: &Situation<'_>, findings: &mut Findings) {
    const REMEDY: &str = "boot a kernel that was built with CONFIG_DEBUG_INFO_BTF";
    let version = CalicoVersion::of_install(situation);
    let needs = version.known().is_some_and(|it| *it >= NEEDS_TYPE_INFORMATION);
    findings.each(situation, |it| it.btf.clone(), |findings, name, there| {
        if there {
            findings.node(name, Grade::Fine, "/sys/kernel/btf/vmlinux is there", "");
        } else if needs {
            let reason = "the kernel has no type information, and this release has no programs that do without";
            findings.node(name, Grade::Blocker, reason, REMEDY);
        } else {
            let reason = "the kernel has no type information: older programs are used, and releases from v3.33 will not work";
            findings.node(name, Grade::Warning, reason, REMEDY);
        }
    });
}

/// Without these, no program can be loaded or attached.
const NEEDED: [&str; 5] = [
    "CONFIG_BPF_SYSCALL",
    "CONFIG_BPF_JIT",
    "CONFIG_CGROUP_BPF",
    "CONFIG_NET_CLS_BPF",
    "CONFIG_NET_SCH_INGRESS",
];

fn options(situation: &Situation<'_>, findings: &mut Findings) {
    findings.each(
        situation,
        |it| it.kconfig.clone(),
        |findings, name, options| {
            let is_off = |it: &&&str| options.get(**it).is_some_and(|value| value == "n");
            let off: Vec<_> = NEEDED.iter().filter(is_off).copied().collect();
            if off.is_empty() {
                findings.node(name, Grade::Fine, "nothing that is needed was left out", "");
            } else {
                let reason = format!("the kernel was built without {}", off.join(", "));
                findings.node(
                    name,
                    Grade::Blocker,
                    reason,
                    "boot a distribution's ordinary kernel",
                );
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{grade, situation, snapshot, with_section};
    use super::*;

    fn kernel_of(release: &str, calico: &str) -> String {
        let mut snapshot = snapshot();
        if let Known::Known(install) = &mut snapshot.install {
            install.version = Some(calico.to_owned()).filter(|it| !it.is_empty());
        }
        let mut it = situation(&snapshot);
        let version = format!("Linux version {release} (x@y) (gcc) #1 SMP");
        with_section(&mut it, "node1", "kernel", &version);
        grade(&it, "kernel", "node1")
    }

    #[test]
    fn the_gate_follows_the_release_and_is_stricter_than_felix() {
        assert_eq!(kernel_of("6.1.0-18-amd64", "v3.28.4"), "fine");
        assert_eq!(kernel_of("5.10.0", "v3.31.0"), "fine");
        assert_eq!(kernel_of("5.4.0-190-generic", "v3.31.0"), "blocker");
        assert_eq!(kernel_of("5.4.0-190-generic", "v3.30.9"), "warning");
        assert_eq!(kernel_of("4.18.0-305.el8.x86_64", "v3.31.0"), "fine");
        assert_eq!(kernel_of("4.18.0-193.el8.x86_64", "v3.30.1"), "warning");
        assert_eq!(kernel_of("4.18.0-80.el8.x86_64", "v3.28.0"), "blocker");
        // Debian never built a 4.18 like Red Hat's, and Oracle's own kernels are what their number says.
        assert_eq!(kernel_of("4.18.0-305-generic", "v3.28.0"), "blocker");
        assert_eq!(kernel_of("5.2.0-305.el8uek.x86_64", "v3.28.0"), "blocker");
        assert_eq!(kernel_of("3.10.0-1160.el7.x86_64", ""), "blocker");
        assert_eq!(kernel_of("5.4.0", ""), "unknown");
        assert_eq!(kernel_of("6.6.1", ""), "fine");
    }

    #[test]
    fn the_kubelet_knows_the_kernel_as_well() {
        let mut snapshot = snapshot();
        snapshot.nodes.items[0].status.node_info.kernel_version = "4.9.0".to_owned();
        let mut it = situation(&snapshot);
        assert_eq!(grade(&it, "kernel", "node1"), "fine", "the look saw another one");
        it.nodes.insert("node1".to_owned(), super::super::fixtures::unknown());
        assert_eq!(grade(&it, "kernel", "node1"), "blocker");
    }

    fn bad(release: &str, calico: &str) -> String {
        let mut snapshot = snapshot();
        if let Known::Known(install) = &mut snapshot.install {
            install.version = Some(calico.to_owned());
        }
        let mut it = situation(&snapshot);
        with_section(&mut it, "node1", "kernel", &format!("Linux version {release} (x)"));
        grade(&it, "kernel-known-bad", "node1")
    }

    #[test]
    fn kernels_with_which_a_release_fails() {
        assert_eq!(bad("6.12.53", "v3.30.4"), "blocker");
        assert_eq!(bad("6.12.53", "v3.30.5"), "fine");
        assert_eq!(bad("6.12.49", "v3.30.4"), "fine");
        assert_eq!(bad("6.12.53", "v3.32.0"), "fine");
        assert_eq!(bad("6.17.5-100.fc42", "v3.28.0"), "blocker");
        assert_eq!(bad("6.1.0-18-amd64", "v3.26.1"), "blocker");
        assert_eq!(bad("6.1.0-18-amd64", "v3.26.3"), "fine");
        assert_eq!(bad("6.1.0-18-amd64", "v3.28.4"), "fine");
        assert_eq!(bad("6.2.0", "v3.26.1"), "fine");
    }

    #[test]
    fn two_architectures_have_programs() {
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        let mut of = |machine: &str| {
            with_section(&mut it, "node1", "machine", machine);
            grade(&it, "architecture", "node1")
        };
        assert_eq!(of("aarch64"), "fine");
        assert_eq!(of("x86_64"), "fine");
        assert_eq!(of("s390x"), "blocker");
        assert_eq!(of("ppc64le"), "blocker");
    }

    #[test]
    fn type_information_is_needed_by_later_releases_only() {
        let mut snapshot = snapshot();
        let mut of = |calico: &str, there: &str| {
            if let Known::Known(install) = &mut snapshot.install {
                install.version = Some(calico.to_owned());
            }
            let mut it = situation(&snapshot);
            with_section(&mut it, "node1", "btf", there);
            grade(&it, "btf", "node1")
        };
        assert_eq!(of("v3.33.0", "yes"), "fine");
        assert_eq!(of("v3.33.0", "no"), "blocker");
        assert_eq!(of("v3.32.1", "no"), "warning");
    }

    #[test]
    fn only_what_was_left_out_blocks() {
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        let mut of = |text: &str| {
            with_section(&mut it, "node1", "kconfig", text);
            grade(&it, "kernel-options", "node1")
        };
        assert_eq!(of("CONFIG_NET_CLS_BPF=m\nCONFIG_BPF_SYSCALL=y"), "fine");
        assert_eq!(of("CONFIG_NET_CLS_BPF=n\nCONFIG_BPF_SYSCALL=y"), "blocker");
        // One that nothing is said about: older kernels had other options.
        assert_eq!(of("CONFIG_DEBUG_INFO_BTF=n"), "fine");
    }
}
