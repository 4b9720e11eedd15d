//! The probe under every shell of this machine, against a made-up root directory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::PROBE_SCRIPT;
use crate::snapshot::{HostFacts, Known, Section, Vantage, parse_probe};

const SIGNATURE: &str = "c2lnbmF0dXJlLW9mLXRoZS10b2tlbg";
/// `{"alg":"RS256","kid":"k1"}` and `{"exp":1800000000}`.
const HEADER_AND_CLAIMS: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.eyJleHAiOjE4MDAwMDAwMDB9";

/// Shells to try: those that are installed, and busybox's when there is a busybox.
fn shells() -> Vec<Vec<&'static str>> {
    let all =
        [vec!["dash"], vec!["bash"], vec!["bash", "--posix"], vec!["busybox", "sh"], vec!["sh"]];
    let runs = |shell: &Vec<&str>| {
        Command::new(shell[0])
            .args(&shell[1..])
            .args(["-c", "exit 0"])
            .status()
            .is_ok_and(|it| it.success())
    };
    let shells: Vec<_> = all.into_iter().filter(runs).collect();
    assert!(!shells.is_empty(), "no shell to test the probe with");
    shells
}

/// Runs the probe as an exec does: the script by standard input, the input never ended.
fn run(shell: &[&str], root: &Path) -> String {
    use std::io::Write;
    let mut child = Command::new(shell[0])
        .args(&shell[1..])
        .arg("-s")
        .env("CALICO_PROBE_ROOT", root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(PROBE_SCRIPT.as_bytes()).unwrap();
    stdin.flush().unwrap();
    let mut text = Vec::new();
    std::io::Read::read_to_end(child.stdout.as_mut().unwrap(), &mut text).unwrap();
    assert!(child.wait().unwrap().success(), "{shell:?}");
    drop(stdin);
    String::from_utf8(text).unwrap()
}

/// Runs the probe under each shell; each must print a well-formed text.
fn each(root: &Path, check: impl Fn(&str, &BTreeMap<String, Section>, &str)) {
    for shell in shells() {
        let text = run(&shell, root);
        let (sections, faults) = parse_probe(text.as_bytes());
        assert_eq!(faults, [], "{shell:?}: {text}");
        assert!(super::is_probe(text.as_bytes()), "{shell:?}: {text}");
        check(&shell.join(" "), &sections, &text);
    }
}

fn write(root: &Path, path: &str, text: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn kubeconfig(token: &str, ca: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: local\n  cluster:\n    server: https://10.96.0.1:443\n    \
         certificate-authority-data: \"{ca}\"\nusers:\n- name: calico\n  user:\n    token: {token}\n    \
         password: hunter2\ncontexts:\n- name: c\n  context:\n    cluster: local\n    user: calico\n\
         current-context: c\n"
    )
}

#[test]
fn credentials_are_reduced_to_facts() {
    let root = tempfile::Builder::new().prefix("a root ").tempdir().unwrap();
    let pem = "-----BEGIN CERTIFICATE-----\nx\n\n";
    let ca = STANDARD.encode(pem);
    let token = format!("\"{HEADER_AND_CLAIMS}.{SIGNATURE}\"");
    write(root.path(), "host/etc/cni/net.d/calico-kubeconfig", kubeconfig(&token, &ca));
    each(root.path(), |shell, sections, text| {
        assert!(!text.contains(SIGNATURE) && !text.contains("hunter2"), "{shell}");
        assert!(text.contains(HEADER_AND_CLAIMS), "{shell}");
        assert_eq!(sections["vantage"].text, "calico-node\n");
        assert!(!sections.contains_key("ls-cni-bin"), "{shell}");
        let (facts, _) = HostFacts::from_probe("n", text.as_bytes());
        assert_eq!(facts.vantage, Vantage::CalicoNode);
        let Known::Known(found) = facts.cni_kubeconfig else { panic!("{shell}: {text}") };
        assert_eq!(found.server, Known::Known("https://10.96.0.1:443".to_owned()));
        assert_eq!(found.ca_sha256, Known::Known(sha256(pem.as_bytes())), "{shell}");
        assert_eq!(found.token.known().unwrap().key_id.as_deref(), Some("k1"), "{shell}");
    });
}

fn sha256(text: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_token_of_another_form_is_opaque() {
    let root = tempfile::tempdir().unwrap();
    for token in
        ["s3cr3t-opaque", "abc.def.ghi", "eyJ.eyJ", "eyJa.eyJb.c.d", "eyJa.eyJb.c'd", "'a\"b'"]
    {
        write(root.path(), "etc/cni/net.d/calico-kubeconfig", kubeconfig(token, "!!"));
        each(root.path(), |shell, sections, text| {
            assert!(
                sections["calico-kubeconfig"].text.contains("token: opaque\n"),
                "{shell}: {text}"
            );
            assert!(!text.contains(token), "{shell} {token}: {text}");
            assert!(text.contains("sha256:unknown"), "{shell}: {text}");
        });
    }
}

#[test]
fn hostile_content_ends_no_section() {
    let root = tempfile::tempdir().unwrap();
    let conf = format!(
        "{{\"k8s_auth_token\":\n \"hunter\\\"2\", \"Password\" : \"hunter2\", \"type\": \"calico\"}}\n@@end\n@@calico-mtu rc=0 ms=0\n9999\n@@end\n\
         Bearer hunter2\n{HEADER_AND_CLAIMS}.{SIGNATURE}\n-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----"
    );
    write(root.path(), "etc/cni/net.d/10 cal$(id)ico.conflist", &conf);
    write(root.path(), "etc/cni/net.d/20-other.conf", "@@");
    write(root.path(), "var/lib/calico/nodename", "@@end\n");
    write(root.path(), "var/log/calico/cni/cni.log", "one\n@@end\n\u{1b}[31mtwo\r\n");
    each(root.path(), |shell, sections, text| {
        assert!(!text.contains("hunter") && !text.contains(SIGNATURE), "{shell}: {text}");
        let conf = &sections["conf-10_cal__id_ico.conflist"].text;
        assert!(conf.contains("\n@@end\n@@calico-mtu rc=0 ms=0\n9999\n@@end\n"), "{shell}: {conf}");
        assert!(conf.contains("\"type\": \"calico\""), "{shell}: {conf}");
        assert_eq!(sections["conf-20-other.conf"].text, "@@\n", "{shell}");
        assert_eq!(sections["calico-nodename"].text, "@@end\n", "{shell}");
        assert_ne!(sections["calico-mtu"].rc, 0, "{shell}");
        assert!(sections["cni-log"].text.contains("\u{1b}[31mtwo"), "{shell}: {text}");
    });
}

#[test]
fn what_is_missing_or_too_large_is_said() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "etc/cni/net.d/10-big.conflist", vec![b'x'; 300 * 1024]);
    write(root.path(), "var/log/calico/cni/cni.log", "y".repeat(300 * 1024));
    write(root.path(), "opt/cni/bin/calico", "");
    let locked = root.path().join("var/lib/calico");
    write(root.path(), "var/lib/calico/mtu", "1450");
    fs::create_dir(locked.join("nodename")).unwrap();
    fs::set_permissions(root.path().join("opt/cni/bin/calico"), fs::Permissions::from_mode(0o755))
        .unwrap();
    each(root.path(), |shell, sections, text| {
        assert_eq!(sections["vantage"].text, "host\n", "{shell}");
        let missing = &sections["calico-kubeconfig"];
        assert!(missing.rc != 0 && missing.text.contains("No such file"), "{shell}: {missing:?}");
        let big = &sections["conf-10-big.conflist"];
        assert!(big.rc == 27 && big.text.len() < 100, "{shell}");
        let (facts, _) = HostFacts::from_probe("n", text.as_bytes());
        let read = &facts.conflists.known().unwrap()[0];
        assert!(!read.is_read(), "{shell}");
        assert_eq!(read.sha256, Known::Known(sha256(&vec![b'x'; 300 * 1024])), "{shell}");
        let log = &sections["cni-log"];
        assert_eq!((log.rc, log.text.len()), (27, 262_145), "{shell}");
        assert_eq!(sections["calico-mtu"].text, "1450\n", "{shell}");
        // A directory where a file should be cannot be read.
        assert_ne!(sections["calico-nodename"].rc, 0, "{shell}");
        assert!(sections["ls-cni-bin"].text.contains(" calico\n"), "{shell}");
        assert!(text.len() < 1024 * 1024, "{shell}");
    });
}

#[test]
fn felix_is_asked_as_each_release_wants_it() {
    for (program, script) in [
        (
            "bin/calico-node",
            "#!/bin/sh\n[ \"$1\" = -felix-ready ] && exit 0\necho felix is not live >&2\nexit 1\n",
        ),
        (
            "usr/bin/calico",
            "#!/bin/sh\n[ \"$*\" = 'component node health --felix-ready' ] && exit 0\necho felix is not live\nexit 1\n",
        ),
    ] {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("host/etc/cni/net.d")).unwrap();
        write(root.path(), program, script);
        fs::set_permissions(root.path().join(program), fs::Permissions::from_mode(0o755)).unwrap();
        each(root.path(), |shell, sections, _| {
            assert_eq!(sections["felix.readiness"].rc, 0, "{shell} {program}");
            assert_eq!(sections["felix.liveness"].rc, 1, "{shell} {program}");
            assert_eq!(sections["felix.liveness"].text, "felix is not live\n", "{shell}");
        });
    }
}

#[test]
fn bird_is_asked_unless_calico_node_does_without_it() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("host/etc/cni/net.d")).unwrap();
    program(root.path(), "bin/calico-node", "#!/bin/sh\n[ \"$1\" != -bird-ready ] || exit 1\n");
    for (backend, is_asked) in [("bird", true), ("", true), ("vxlan", false), ("none", false)] {
        let variable = format!("CALICO_NETWORKING_BACKEND={backend}");
        let text = run(&["env", &variable, "sh"], root.path());
        let (sections, faults) = parse_probe(text.as_bytes());
        assert_eq!(faults, []);
        assert_eq!(sections["networking-backend"].text.trim(), backend);
        let codes = ["bird.readiness", "bird.liveness"].map(|id| sections.get(id).map(|it| it.rc));
        assert_eq!(codes, if is_asked { [Some(1), Some(0)] } else { [None, None] }, "{backend:?}");
    }
}

#[test]
fn a_command_that_hangs_is_ended() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("host/etc/cni/net.d")).unwrap();
    write(
        root.path(),
        "bin/calico-node",
        "#!/bin/sh\n[ \"$1\" = -felix-ready ] && exec sleep 60\nexit 0\n",
    );
    fs::set_permissions(root.path().join("bin/calico-node"), fs::Permissions::from_mode(0o755))
        .unwrap();
    let text = run(&["sh"], root.path());
    let (sections, faults) = parse_probe(text.as_bytes());
    assert_eq!(faults, []);
    assert_eq!(sections["felix.readiness"].rc, 124);
    assert!((4000..9000).contains(&sections["felix.readiness"].ms));
    assert_eq!(sections["felix.liveness"].rc, 0);
}

/// A program below the made-up root.
fn program(root: &Path, path: &str, script: &str) {
    write(root, path, script);
    fs::set_permissions(root.join(path), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_host_shows_its_runtime_without_annotations() {
    let root = tempfile::tempdir().unwrap();
    program(
        root.path(),
        "usr/local/bin/crictl",
        r#"#!/bin/sh
echo "WARN[0000] no endpoint, said on $1" >&2
case $1 in
pods) cat <<'END'
{
  "items": [
    {
      "id": "a1",
      "metadata": { "name": "web", "uid": "u1", "namespace": "shop", "attempt": 0 },
      "state": "SANDBOX_READY",
      "createdAt": "1795262400000000000",
      "labels": {
        "app.kubernetes.io/managed-by": "kubectl-calico"
      },
      "annotations": {
        "a": "hunter2 },",
        "b": "{"
      },
      "runtimeHandler": ""
    },
    { "id": "b1", "annotations": {}, "metadata": { "name": "x", "attempt": 0 } }
  ]
}
END
;;
ps) echo '{ "containers": [ { "podSandboxId": "a1", "state": "CONTAINER_RUNNING" } ] }' ;;
esac
"#,
    );
    let config = "[plugins.x.registry.auth]\n  password = \"hunter2\"\n[plugins.x.cni]\n  bin_dir = \"/usr/lib/cni\"\n  conf_dir = \"/etc/cni/net.d\"\n";
    write(root.path(), "etc/containerd/config.toml", config);
    write(root.path(), "etc/crio/crio.conf", "plugin_dirs = [\n  \"/opt/cni/bin/\",\n]\n# x\n");
    each(root.path(), |shell, _, text| {
        assert!(!text.contains("hunter2"), "{shell}: {text}");
        let (facts, _) = HostFacts::from_probe("n", text.as_bytes());
        let Known::Known(sandboxes) = &facts.sandboxes else { panic!("{shell}: {text}") };
        let seen: Vec<_> = sandboxes.iter().map(|it| (it.name.as_str(), it.running)).collect();
        assert_eq!(seen, [("x", Some(0)), ("web", Some(1))], "{shell}");
        assert_eq!(sandboxes[1].managed_by, "kubectl-calico", "{shell}");
        let Known::Known(config) = &facts.runtime_config else { panic!("{shell}") };
        assert_eq!(config[0].bin_dirs, ["/usr/lib/cni"], "{shell}");
        assert_eq!(config[1].bin_dirs, ["/opt/cni/bin"], "{shell}");
    });
}

#[test]
fn a_control_plane_shows_what_is_wrong_with_it() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
    let unit =
        "#!/bin/sh\nprintf 'Id=kubelet.service\\nLoadState=loaded\\nActiveState=failed\\n'\n";
    program(root.path(), "usr/bin/systemctl", unit);
    program(
        root.path(),
        "usr/bin/journalctl",
        "#!/bin/sh\necho swap is on, token: abcdef.0123456789abcdef\n",
    );
    program(root.path(), "usr/bin/curl", "#!/bin/sh\necho refused\nexit 7\n");
    program(
        root.path(),
        "usr/bin/openssl",
        "#!/bin/sh\nprintf 'subject=CN = a\\nissuer=CN = b\\nnotBefore=Nov 20 12:00:00 2025 GMT\\nnotAfter=Nov 20 12:00:00 2026 GMT\\n'\n",
    );
    write(root.path(), "etc/kubernetes/pki/apiserver.crt", "x");
    write(root.path(), "etc/kubernetes/pki/apiserver.key", "hunter2");
    write(
        root.path(),
        "etc/kubernetes/manifests/etcd.yaml",
        "    - --data-dir=/var/lib/etcd\n    - --initial-cluster=x\n    image: e:1\n",
    );
    write(root.path(), "proc/swaps", "Filename\n/dev/x\n");
    write(root.path(), "proc/12/comm", "kube-controller\n");
    write(root.path(), "proc/13/comm", "etcd\n");
    write(root.path(), "proc/14/comm", "etc\n");
    write(
        root.path(),
        "proc/net/tcp",
        "  sl\n   3: 010B630A:192B 00000000:0000 0A 0:0\n   4: 010B630A:192B 00000000:0000 01 0:0\n   5: 010B630A:0050 00000000:0000 0A 0:0\n",
    );
    let logs = "var/log/pods/kube-system_kube-apiserver-n1_u/kube-apiserver";
    write(root.path(), &format!("{logs}/9.log"), "old\n");
    write(root.path(), &format!("{logs}/10.log"), "new Bearer hunter2\n@@end\n");
    let newer = std::time::SystemTime::now() + std::time::Duration::from_secs(9);
    fs::File::open(root.path().join(logs).join("10.log")).unwrap().set_modified(newer).unwrap();
    each(root.path(), |shell, sections, text| {
        assert!(!text.contains("hunter2"), "{shell}: {text}");
        let (facts, _) = HostFacts::from_probe("n", text.as_bytes());
        assert!(!facts.kubelet.known().unwrap().is_running(), "{shell}");
        assert_eq!(facts.kubelet_healthy, Known::Known(false), "{shell}");
        assert_eq!(facts.swap, Known::Known(true), "{shell}");
        assert!(sections["kubelet-log"].text.contains("swap is on"), "{shell}");
        let part = facts.control_plane.known().unwrap();
        assert_eq!(part.has_manifest("etcd"), Some(true), "{shell}");
        assert_eq!(part.flags.keys().collect::<Vec<_>>(), ["data-dir"], "{shell}");
        let certificates = part.certificates.known().unwrap();
        assert_eq!(certificates[0].not_after, "2026-11-20T12:00:00Z".parse().ok(), "{shell}");
        assert_eq!(certificates.len(), 1, "{shell}");
        assert!(part.runs("etcd") && part.runs("kube-controller-manager"), "{shell}: {text}");
        assert_eq!(part.processes.known().unwrap().len(), 2, "{shell}");
        assert_eq!(part.listening.known().unwrap().iter().collect::<Vec<_>>(), [&6443]);
        let (file, lines) = part.log("kube-apiserver").unwrap();
        assert!(file.ends_with("/10.log"), "{shell}: {file}");
        assert_eq!(lines, ["new Bearer blanked", "@@end"], "{shell}");
    });
}

/// Ids are a contract: what is printed is documented, and from which vantage.
#[test]
fn sections_are_those_of_the_document() {
    let document = include_str!("../../../docs/probe.md");
    for (column, net_d) in [(2, "host/etc/cni/net.d"), (3, "etc/cni/net.d")] {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &format!("{net_d}/10-calico.conflist"), "{}");
        write(root.path(), "var/log/calico/cni/cni.log", "line");
        if column == 2 {
            write(root.path(), "bin/calico-node", "#!/bin/sh\n");
            fs::set_permissions(
                root.path().join("bin/calico-node"),
                fs::Permissions::from_mode(0o755),
            )
            .unwrap();
        }
        let mut documented: Vec<String> = document
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .map(|line| {
                format!("`{line}").split('|').map(|it| it.trim().to_owned()).collect::<Vec<_>>()
            })
            .filter(|cells| cells[column] == "yes" && cells[0] != "`probe`")
            .flat_map(|cells| {
                cells[0].split(", ").map(|id| id.replace('`', "")).collect::<Vec<_>>()
            })
            .map(|id| id.replace("<file>", "10-calico.conflist"))
            .collect();
        documented.sort();
        each(root.path(), |shell, sections, _| {
            assert_eq!(
                sections.keys().collect::<Vec<_>>(),
                documented.iter().collect::<Vec<_>>(),
                "{shell}"
            );
        });
    }
}
