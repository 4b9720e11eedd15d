//! What the hosts must offer besides their kernel.

use super::{Findings, Grade, Requirement, Situation};
use crate::bpf::is_workload;

/// Tables and programs are kept there.
pub(super) static BPF_FILE_SYSTEM: Requirement = Requirement {
    id: "bpffs",
    title: "the BPF file system",
    essential: false,
    judge: bpf_file_system,
};

/// The programs of connect-time load balancing are attached there.
pub(super) static CGROUP_V2: Requirement = Requirement {
    id: "cgroup2",
    title: "a mount of cgroup v2",
    essential: false,
    judge: cgroup_v2,
};

/// Settings that make programs slow, or that Felix changes for good.
pub(super) static HARDENING: Requirement = Requirement {
    id: "hardening",
    title: "a kernel that is not hardened against BPF",
    essential: false,
    judge: hardening,
};

/// When Felix takes its programs away, everybody else's go as well.
pub(super) static FOREIGN_PROGRAMS: Requirement = Requirement {
    id: "foreign-programs",
    title: "nobody else's programs on the host's interfaces",
    essential: false,
    judge: foreign_programs,
};

fn bpf_file_system(situation: &Situation<'_>, findings: &mut Findings) {
    findings.each(
        situation,
        |it| it.mounts.clone(),
        |findings, name, mounts| {
            if mounts.iter().any(|it| it.kind == "bpf" && it.point == "/sys/fs/bpf") {
                findings.node(name, Grade::Fine, "it is mounted at /sys/fs/bpf", "");
            } else {
                // calico-node's first container mounts it, and without eBPF the operator does not show it to calico-node at all.
                findings.node(
                    name,
                    Grade::Info,
                    "calico-node does not see it yet, and mounts it itself",
                    "",
                );
            }
        },
    );
}

fn cgroup_v2(situation: &Situation<'_>, findings: &mut Findings) {
    findings.each(situation, |it| it.mounts.clone(), |findings, name, mounts| {
        match mounts.iter().find(|it| it.kind == "cgroup2") {
            Some(mount) => findings.node(name, Grade::Fine, format!("it is mounted at {}", mount.point), ""),
            None => findings.node(
                name,
                Grade::Info,
                "calico-node does not see one, and makes its own at /run/calico/cgroup",
                "where the host's root file system cannot be written to, set cgroupV2Path in FelixConfiguration default",
            ),
        }
    });
}

fn hardening(situation: &Situation<'_>, findings: &mut Findings) {
    findings.each(situation, |it| it.sysctl.clone(), |findings, name, settings| {
        let is = |key: &str, value: &str| settings.get(key).is_some_and(|it| it == value);
        let lockdown = situation.nodes.get(name).and_then(|it| it.known()?.lockdown.known());
        if lockdown.is_some_and(|it| it == "confidentiality") {
            let reason = "lockdown is confidentiality: programs may not trace, and releases before v3.31.7 flood the kernel's log";
            findings.node(name, Grade::Warning, reason, "set bpfLogLevel: Off in FelixConfiguration default");
        } else if is("net/core/bpf_jit_harden", "2") {
            let reason = "net.core.bpf_jit_harden is 2: programs run many times slower";
            findings.node(name, Grade::Warning, reason, "sysctl -w net.core.bpf_jit_harden=1, if your rules allow it");
        } else if is("kernel/unprivileged_bpf_disabled", "0") {
            let reason = "Felix will set kernel.unprivileged_bpf_disabled to 1, which only a reboot takes back";
            findings.node(name, Grade::Info, reason, "");
        } else {
            findings.node(name, Grade::Fine, "nothing is in the way", "");
        }
    });
}

fn foreign_programs(situation: &Situation<'_>, findings: &mut Findings) {
    findings.each(situation, |it| it.foreign_programs.clone(), |findings, name, programs| {
        let found: Vec<String> = programs
            .iter()
            .filter(|(device, _)| !is_workload(device))
            .map(|(device, names)| {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                format!("{device} ({})", names.join(", "))
            })
            .collect();
        if found.is_empty() {
            findings.node(name, Grade::Fine, "there are none", "");
        } else {
            findings.node(
                name,
                Grade::Warning,
                format!("programs that are not Calico's are attached to {}", found.join(", ")),
                "find out whose they are: when Calico leaves eBPF, it takes all filters off its interfaces",
            );
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{grade, situation, snapshot, with_section};

    fn of(id: &str, section: &'static str, text: &str) -> String {
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        with_section(&mut it, "node1", section, text);
        assert_eq!(grade(&it, id, "node2"), "fine", "the other node is another one");
        grade(&it, id, "node1")
    }

    #[test]
    fn mounts_that_calico_makes_are_no_fault() {
        assert_eq!(of("bpffs", "mounts", ""), "info");
        assert_eq!(of("bpffs", "mounts", "1 1 0:1 / /run/other rw - bpf bpf rw"), "info");
        assert_eq!(
            of("cgroup2", "mounts", "1 1 0:1 / /sys/fs/cgroup rw - cgroup cgroup rw"),
            "info"
        );
        assert_eq!(
            of("cgroup2", "mounts", "1 1 0:1 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"),
            "fine"
        );
    }

    #[test]
    fn hardened_kernels_are_told() {
        assert_eq!(of("hardening", "sysctl", "net/core/bpf_jit_harden=2"), "warning");
        assert_eq!(of("hardening", "sysctl", "net/core/bpf_jit_harden=1"), "fine");
        assert_eq!(of("hardening", "sysctl", "kernel/unprivileged_bpf_disabled=0"), "info");
        assert_eq!(of("hardening", "lockdown", "none integrity [confidentiality]"), "warning");
        assert_eq!(of("hardening", "lockdown", "none [integrity] confidentiality"), "fine");
    }

    #[test]
    fn programs_of_others_are_told() {
        let on = |device: &str, name: &str| {
            let text = format!(
                "# {device} ingress\nfilter protocol all pref 1 bpf chain 0 handle 0x1 {name} direct-action"
            );
            of("foreign-programs", "programs", &text)
        };
        assert_eq!(on("eth0", "cil_from_netdev"), "warning");
        assert_eq!(on("eth0", "cali_tc_preambl"), "fine");
        assert_eq!(on("cali0123", "bandwidth"), "fine");
    }
}
