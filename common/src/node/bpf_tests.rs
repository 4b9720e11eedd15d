//! The look at the data plane under every shell of this machine, against a made-up root directory and made-up programs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::BPF_SCRIPT;
use crate::bpf::{BpfFacts, NodeDataPlane, Protocol};
use crate::snapshot::{Known, Vantage, parse_probe};

fn shells() -> Vec<Vec<&'static str>> {
    let all =
        [vec!["dash"], vec!["bash"], vec!["bash", "--posix"], vec!["busybox", "sh"], vec!["sh"]];
    let runs = |shell: &Vec<&str>| {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).args(["-c", "exit 0"]).status().is_ok_and(|it| it.success())
    };
    let shells: Vec<_> = all.into_iter().filter(runs).collect();
    assert!(!shells.is_empty(), "no shell to test with");
    shells
}

/// Runs the script as an exec does: by standard input, which is never ended.
fn run(shell: &[&str], root: &Path, environment: &[(&str, &str)]) -> String {
    use std::io::{Read, Write};
    let path = format!("{}:/usr/bin:/bin", root.join("programs").display());
    let mut child = Command::new(shell[0])
        .args(&shell[1..])
        .arg("-s")
        .env("CALICO_BPF_ROOT", root)
        .env("PATH", path)
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env_remove("KUBERNETES_SERVICE_PORT")
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(BPF_SCRIPT.as_bytes()).unwrap();
    stdin.flush().unwrap();
    let mut text = String::new();
    child.stdout.as_mut().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success(), "{shell:?}");
    drop(stdin);
    text
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn program(root: &Path, name: &str, body: &str) {
    let path = format!("programs/{name}");
    write(root, &path, &format!("#!/bin/sh\n{body}\n"));
    fs::set_permissions(root.join(path), fs::Permissions::from_mode(0o755)).unwrap();
}

/// A node on eBPF whose kube-proxy still runs, seen from calico-node.
fn node() -> tempfile::TempDir {
    let root = tempfile::Builder::new().prefix("a root ").tempdir().unwrap();
    let at = root.path();
    write(at, "host/etc/cni/net.d/10-calico.conflist", "{}");
    write(at, "proc/version", "Linux version 6.1.0-18-amd64 (x) #1 SMP\n");
    write(
        at,
        "proc/self/mountinfo",
        "29 23 0:26 / /sys/fs/bpf rw shared:9 - bpf bpf rw\n30 23 0:1 / /tmp rw - tmpfs t rw\n",
    );
    write(at, "proc/sys/net/core/bpf_jit_harden", "2\n");
    write(
        at,
        "proc/net/tcp",
        "  sl\n   0: 0100007F:2810 00000000:0000 0A 0\n   1: 0100007F:2811 00000000:0000 0A 0\n",
    );
    write(at, "proc/net/ip_vs", "1\n2\n3\nTCP  0A600001:01BB rr\n");
    write(at, "sys/kernel/btf/vmlinux", "x");
    write(at, "sys/fs/bpf/tc/globals/cali_v4_nat_fe3", "");
    write(at, "sys/fs/bpf/tc/globals/other", "");
    write(at, "sys/fs/bpf/ctlb/cali_connect", "");
    program(
        at,
        "tc",
        r#"case "$*" in
"qdisc show") echo "qdisc noqueue 0: dev lo root refcnt 2"; echo "qdisc clsact ffff: dev eth0 parent ffff:fff1" ;;
"filter show dev eth0 ingress") echo "filter protocol all pref 49151 bpf chain 0"
echo "filter protocol all pref 49151 bpf chain 0 handle 0x1 cali_tc_preambl:[7] direct-action id 35" ;;
esac"#,
    );
    program(
        at,
        "bpftool",
        "echo 'xdp:'; echo 'tc:'; echo 'eth1(3) tcx/ingress cali_tc_preambl prog_id 5 link_id 2'",
    );
    program(
        at,
        "calico-node",
        r#"[ "$*" = "-bpf nat dump" ] || exit 9
echo "10.96.0.1 port 443 proto 6 id 3 count 1 local 0"; printf '\t3:0\t 10.0.0.1:6443\n'; echo "@@end""#,
    );
    program(
        at,
        "xtables-nft-multi",
        r#"[ "$*" = "iptables-save -t nat" ] || exit 0
echo "*nat"; echo ":KUBE-SERVICES - [0:0]"
echo '-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "default/kubernetes:https cluster IP" -m tcp --dport 443 -j KUBE-SVC-X'
echo '-A KUBE-NODEPORTS -p udp -m comment --comment default/x -m udp --dport 30080 -j KUBE-EXT-X'; echo COMMIT"#,
    );
    program(at, "nft", "exit 0");
    root
}

#[test]
fn what_calico_node_shows_is_read() {
    let root = node();
    let environment = [
        ("KUBERNETES_SERVICE_HOST", "10.0.0.9"),
        ("KUBERNETES_SERVICE_PORT", "6443"),
        ("FELIX_BPFENABLED", "true"),
    ];
    for shell in shells() {
        let text = run(&shell, root.path(), &environment);
        let (_, faults) = parse_probe(text.as_bytes());
        assert_eq!(faults, [], "{shell:?}: {text}");
        assert!(super::is_probe(text.as_bytes()), "{shell:?}: {text}");
        let facts = BpfFacts::from_scan("n", text.as_bytes());
        assert_eq!(facts.vantage, Vantage::CalicoNode);
        assert_eq!(facts.state(), Known::Known(NodeDataPlane::Bpf), "{shell:?}: {text}");
        assert_eq!(facts.endpoint.known().unwrap().to_string(), "10.0.0.9:6443");
        assert_eq!(facts.variable, Known::Known(true));
        assert_eq!(facts.programs.known().unwrap().keys().collect::<Vec<_>>(), ["eth0", "eth1"]);
        assert_eq!(facts.pins.known().unwrap().len(), 2, "{text}");
        assert_eq!((facts.nat.known().unwrap().len(), facts.nat_noise), (1, 1));
        let ports: Vec<_> =
            facts.kube_proxy.known().unwrap().iter().map(|it| (it.port, it.protocol)).collect();
        assert_eq!(ports, [(30080, Protocol::Udp), (443, Protocol::Tcp)]);
        assert_eq!(facts.sysctl.known().unwrap()["net/core/bpf_jit_harden"], "2", "{shell:?}");
        assert_eq!(facts.listeners.known().unwrap().iter().collect::<Vec<_>>(), [&10256]);
        assert_eq!(facts.virtual_services, Known::Known(1));
        assert_eq!(facts.btf, Known::Known(true));
    }
}

#[test]
fn an_interface_that_goes_away_meanwhile_is_passed_over() {
    let root = node();
    let tc = |said: &str| {
        let body = format!(
            r#"case "$*" in
"qdisc show") for it in cali1 eth0; do echo "qdisc clsact ffff: dev $it parent ffff:fff1"; done ;;
*eth0\ ingress) echo "filter protocol all pref 49151 bpf chain 0 handle 0x1 cali_tc_preambl:[7] direct-action id 35" ;;
*cali1*) echo '{said}' >&2; exit 1 ;;
esac"#
        );
        program(root.path(), "tc", &body);
    };
    for shell in shells() {
        tc("Cannot find device \"cali1\"");
        let facts = BpfFacts::from_scan("n", run(&shell, root.path(), &[]).as_bytes());
        assert_eq!(facts.state(), Known::Known(NodeDataPlane::Bpf), "{shell:?}");
        assert!(facts.programs.known().unwrap().keys().all(|it| it != "cali1"), "{shell:?}");
        tc("RTNETLINK answers: Operation not permitted");
        let facts = BpfFacts::from_scan("n", run(&shell, root.path(), &[]).as_bytes());
        assert!(facts.state().gap().is_some(), "{shell:?}: what else fails is not passed over");
    }
}

#[test]
fn an_empty_host_has_nothing() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "proc/self/mountinfo", "");
    write(
        root.path(),
        "etc/kubernetes/kubelet.conf",
        "clusters:\n- cluster:\n    server: https://10.0.0.9:6443\n  user: {token: hunter2}\n",
    );
    program(root.path(), "tc", "exit 0");
    for shell in shells() {
        let text = run(&shell, root.path(), &[("KUBERNETES_SERVICE_HOST", "10.0.0.9")]);
        let facts = BpfFacts::from_scan("n", text.as_bytes());
        assert!(!text.contains("hunter"), "{text}");
        assert_eq!(facts.vantage, Vantage::Host);
        assert!(facts.endpoint.gap().is_some());
        assert_eq!(facts.pins, Known::Absent);
        assert_eq!(facts.state(), Known::Known(NodeDataPlane::Iptables), "{shell:?}: {text}");
        let server =
            ("/etc/kubernetes/kubelet.conf".to_owned(), "https://10.0.0.9:6443".to_owned());
        assert_eq!(facts.servers, Known::Known(vec![server]));
        assert!(facts.kube_proxy.gap().is_some(), "nobody could look");
    }
}

#[test]
fn a_failed_command_is_no_fact() {
    let root = node();
    program(root.path(), "tc", "echo nope; exit 2");
    program(root.path(), "calico-node", "echo '[ERROR] Failed to dump NAT maps'");
    program(root.path(), "xtables-nft-multi", "echo denied; exit 4");
    for shell in shells() {
        let text = run(&shell, root.path(), &[]);
        let facts = BpfFacts::from_scan("n", text.as_bytes());
        assert!(facts.state().gap().is_some(), "{shell:?}: {text}");
        assert!(facts.nat.gap().is_some(), "{shell:?}: {text}");
        assert!(facts.kube_proxy.gap().is_some(), "{shell:?}: {text}");
        assert_eq!(facts.endpoint, Known::Absent);
    }
}
