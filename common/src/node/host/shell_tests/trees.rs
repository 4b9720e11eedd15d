//! Directories, mounts and pins.

use super::*;

/// A directory of Calico with a socket and a neighbour, and what is mounted on the host.
pub(super) fn calico_directory(mounted: &[(&str, &str)]) -> Host {
    let host = Host::new();
    host.write("/run/calico/cni/ipam_upgraded", "");
    host.write("/run/calico/bpf/prog/x", "x");
    host.write("/run/calico notes/x", "x");
    drop(std::os::unix::net::UnixListener::bind(host.path("/run/calico/bird.ctl")).unwrap());
    std::os::unix::fs::symlink("/etc", host.path("/run/calico/elsewhere")).unwrap();
    mount(&host, mounted);
    host
}

/// Writes mountinfo: blanks in paths are `\040` there.
pub(super) fn mount(host: &Host, mounted: &[(&str, &str)]) {
    let root = host.root.path().canonicalize().unwrap();
    let line = |(path, kind): &(&str, &str)| {
        let point = format!("{}{path}", root.display()).replace(' ', "\\040");
        format!("35 29 0:31 / {point} rw,relatime shared:9 - {kind} none rw\n")
    };
    let base = "28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n".to_owned();
    host.write("/proc/self/mountinfo", base + &mounted.iter().map(line).collect::<String>());
}

pub(super) fn remove_tree(path: &str) -> HostOperation {
    HostOperation::RemoveTree { path: path.into() }
}

#[test]
fn a_directory_goes_with_what_is_in_it_unless_something_is_mounted_there() {
    let remove = remove_tree("/run/calico");
    for shell in shells() {
        for point in ["/run/calico/cgroup", "/run/calico"] {
            let host = calico_directory(&[(point, "cgroup2"), ("/run/calico notes", "tmpfs")]);
            assert_refused(&host.perform(&shell, &remove, None), "is to be unmounted first");
            assert!(exists(&host.path("/run/calico/bird.ctl")));
        }
        let host = calico_directory(&[("/run/calico notes", "tmpfs"), ("/run/calico2", "tmpfs")]);
        assert_changed(&host.perform(&shell, &remove, None), "tree");
        assert_eq!(host.names("/run"), ["calico notes"]);
        assert_already(&host.perform(&shell, &remove, None), "again");
        // A single socket.
        let socket = "/var/lib/kubelet/plugins_registry/csi.tigera.io-reg.sock";
        fs::create_dir_all(host.path(socket).parent().unwrap()).unwrap();
        drop(std::os::unix::net::UnixListener::bind(host.path(socket)).unwrap());
        assert_changed(&host.perform(&shell, &remove_tree(socket), None), "socket");
        // What it leads to is not ours.
        std::os::unix::fs::symlink(host.path("/run/calico notes"), host.path("/run/calico"))
            .unwrap();
        assert_refused(&host.perform(&shell, &remove, None), "symbolic link");
        assert!(exists(&host.path("/run/calico notes/x")));
    }
}

#[test]
fn a_host_whose_rm_knows_little_is_served_as_well() {
    for shell in shells().into_iter().filter(|it| it[0] != "busybox") {
        let host = calico_directory(&[]);
        host.program(
            "rm",
            "for it; do [ \"$it\" != --one-file-system ] || exit 1; [ \"$it\" != -rf ] || exit 1; done\nexec /bin/rm \"$@\"\n",
        );
        assert_changed(&host.perform(&shell, &remove_tree("/run/calico"), None), "find");
        assert_eq!(host.names("/run"), ["calico notes"]);
    }
}

#[test]
fn a_directory_that_does_not_go_is_told() {
    let host = calico_directory(&[]);
    host.program("rm", "case \"$*\" in *calico) echo 'rm: Read-only file system' >&2; exit 1 ;; esac\nexec /bin/rm \"$@\"\n");
    assert_failed(&host.perform(&shells()[0], &remove_tree("/run/calico"), None), "Read-only");
}

const CGROUP: (&str, &str) = ("/run/calico/cgroup", "cgroup2");

pub(super) fn unmount() -> HostOperation {
    HostOperation::Unmount { path: CGROUP.0.into(), file_system: CGROUP.1.into() }
}

/// Calico's cgroup is mounted, twice. `umount` takes the newest mount away, unless a file `busy` is there.
pub(super) fn mounted_twice() -> Host {
    let host = calico_directory(&[CGROUP, CGROUP]);
    fs::create_dir_all(host.path("/run/calico/cgroup/x")).unwrap();
    host.program(
        "umount",
        "[ ! -e \"$root/busy\" ] || { echo 'umount: target is busy.' >&2; exit 32; }\n\
         echo \"$1\" >>\"$root/log\"\nsed -i '$d' \"$root/proc/self/mountinfo\"\n",
    );
    host
}

#[test]
fn what_is_mounted_is_unmounted_if_it_is_what_is_expected() {
    let unmount = unmount();
    for shell in shells().into_iter().filter(|it| it[0] != "busybox") {
        let host = mounted_twice();
        host.write("/busy", "");
        assert_failed(&host.perform(&shell, &unmount, None), "target is busy");
        fs::remove_file(host.path("/busy")).unwrap();
        assert_changed(&host.perform(&shell, &unmount, None), "twice");
        assert_eq!(host.read("/log").unwrap().lines().count(), 2);
        assert_already(&host.perform(&shell, &unmount, None), "again");
        mount(&host, &[("/run/calico/cgroup/x", "tmpfs")]);
        assert_already(&host.perform(&shell, &unmount, None), "only below");
        mount(&host, &[("/run/calico/cgroup", "tmpfs")]);
        assert_refused(&host.perform(&shell, &unmount, None), "of type tmpfs");
        fs::remove_dir_all(host.path("/run/calico")).unwrap();
        assert_already(&host.perform(&shell, &unmount, None), "no such directory");
    }
}

pub(super) fn remove_pins() -> HostOperation {
    let pins = [
        "/sys/fs/bpf/tc/globals",
        "/sys/fs/bpf/tc/globals/cali_a",
        "/sys/fs/bpf/tc",
        "/sys/fs/bpf/calico",
    ];
    HostOperation::RemovePins { paths: pins.map(str::to_owned).to_vec() }
}

/// A host with these pins in its BPF file system.
pub(super) fn pinned(paths: &[&str]) -> Host {
    let host = Host::new();
    for path in paths {
        host.write(&format!("/sys/fs/bpf/{path}"), "");
    }
    mount(&host, &[("/sys", "sysfs"), ("/sys/fs/bpf", "tmpfs"), ("/sys/fs/bpf", "bpf")]);
    host
}

#[test]
fn pins_go_only_from_a_bpf_file_system() {
    let remove = remove_pins();
    for shell in shells() {
        let host = pinned(&["tc/globals/cali_a", "tc/globals/cilium_x", "cilium/x"]);
        mount(&host, &[("/sys", "sysfs"), ("/sys/fs/bpf/cilium", "bpf")]);
        assert_refused(&host.perform(&shell, &remove, None), "not in a BPF file system");
        mount(&host, &[("/sys", "sysfs"), ("/sys/fs/bpf", "tmpfs"), ("/sys/fs/bpf", "bpf")]);
        // Somebody else's pin keeps its directory.
        assert_failed(&host.perform(&shell, &remove, None), "not empty");
        assert_eq!(host.names("/sys/fs/bpf/tc/globals"), ["cilium_x"]);
        fs::remove_file(host.path("/sys/fs/bpf/tc/globals/cilium_x")).unwrap();
        assert_changed(&host.perform(&shell, &remove, None), "pins");
        assert_eq!(host.names("/sys/fs/bpf"), ["cilium"]);
        assert_already(&host.perform(&shell, &remove, None), "again");
    }
}
