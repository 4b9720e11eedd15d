//! Tests of what operations are refused, and how long they may take.

use super::super::render;
use super::*;
use crate::plan::PlanId;

fn run() -> PlanId {
    PlanId("01RUN".into())
}

fn rendered(operation: &HostOperation) -> Result<String, RenderError> {
    let run = run();
    let script = render(operation, &HostContext::new(&run), None)?;
    Ok(String::from_utf8(script.as_bytes().to_vec()).unwrap())
}

fn why(operation: &HostOperation) -> String {
    rendered(operation).unwrap_err().to_string()
}

fn remove(path: &str, expected: Expected) -> HostOperation {
    HostOperation::RemoveFile { path: path.into(), expected }
}

#[test]
fn only_our_own_files_are_removed_unseen() {
    let sum = Expected::Sha256("ab".repeat(32));
    for own in ["/a/00-kubectl-calico-loopback.conflist", "/a/b.kubectl-calico-01RUN.bak"] {
        assert!(rendered(&remove(own, Expected::Any)).is_ok(), "{own}");
    }
    for foreign in ["/etc/passwd", "/a/kubectl-calico", "/kubectl-calico-x/passwd"] {
        let said = why(&remove(foreign, Expected::Any));
        assert!(said.contains("not ours"), "{said}");
        assert!(rendered(&remove(foreign, sum.clone())).is_ok());
    }
}

#[test]
fn paths_are_plain_and_absolute() {
    for path in ["", "a", "a/b", "/", "/a/", "/a/../b", "/a//b", "/./a", "/a\n/b", "/a\0"] {
        let said = why(&remove(path, Expected::Sha256("0".repeat(64))));
        assert!(said.contains("plain absolute path"), "{path:?}: {said}");
    }
    let moved = |backup: &str| HostOperation::MoveAside {
        path: "/a/b".into(),
        expected: Expected::Any,
        backup: backup.into(),
    };
    assert!(rendered(&moved("/a/c")).is_ok());
    for backup in ["/a/b", "/c", "/a/b/c", "/b/b"] {
        assert!(why(&moved(backup)).contains("same directory"), "{backup}");
    }
    let short = remove("/a/b", Expected::Sha256("0".repeat(63)));
    assert!(why(&short).contains("SHA-256"));
}

#[test]
fn names_are_names() {
    let link = |name: &str, kind: &str| HostOperation::RemoveLink {
        name: name.into(),
        link_kind: kind.into(),
        index: 7,
    };
    assert!(rendered(&link("vxlan.calico", "vxlan")).is_ok());
    for name in ["", "-x", "..", "a/b", "a b", "a\n", "sixteen-bytes-xx", "$(id)"] {
        assert!(why(&link(name, "veth")).starts_with("interface"), "{name:?}");
    }
    assert!(why(&link("a", "ve th")).starts_with("kind"));
    let unit = |unit: &str| HostOperation::RestartUnit { unit: unit.into() };
    assert!(rendered(&unit("containerd@1.service")).is_ok());
    assert!(why(&unit("a;b")).starts_with("unit"));
    let sandboxes = |id: &str, uid: &str, name: &str| HostOperation::RemoveSandboxes {
        sandboxes: vec![SandboxRef {
            id: id.into(),
            namespace: "n".into(),
            name: name.into(),
            uid: uid.into(),
            ready: true,
        }],
        loopback: false,
    };
    assert!(rendered(&sandboxes("a1", "u-1", "p")).unwrap().contains("'a1 u-1 yes n/p'"));
    for wrong in [sandboxes("a b", "u", "p"), sandboxes("a", "u\nx", "p"), sandboxes("a", "u", "")]
    {
        assert!(why(&wrong).contains("is not a name"));
    }
    let none = HostOperation::RemoveSandboxes { sandboxes: Vec::new(), loopback: true };
    assert!(why(&none).contains("empty"));
}

#[test]
fn kernel_parameters_stay_below_their_directory() {
    let entry = |key: &str| sysctl_entry(key).unwrap();
    assert_eq!(entry("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
    assert_eq!(entry("net.ipv4.conf.eth0/100.rp_filter"), "net/ipv4/conf/eth0.100/rp_filter");
    for key in ["", "a..b", "a.//.b", ".a", "a.", "a b", "/./x", "a.$(id)"] {
        assert!(sysctl_entry(key).is_err(), "{key} gives {:?}", sysctl_entry(key));
    }
}

#[test]
fn content_that_is_in_no_plan_must_be_given_and_is_not_shown() {
    let operation = HostOperation::WriteFile {
        path: "/etc/cni/net.d/calico-kubeconfig".into(),
        mode: 0o600,
        content: FileContent::CniKubeconfig {
            server: "https://10.96.0.1:443".into(),
            namespace: "kube-system".into(),
            service_account: "calico-cni-plugin".into(),
        },
        expected: Expected::Absent,
        backup: "/etc/cni/net.d/calico-kubeconfig.kubectl-calico-01RUN.bak".into(),
    };
    assert!(why(&operation).contains("calico-kubeconfig was not given"));
    let run = run();
    let script = render(&operation, &HostContext::new(&run), Some(b"token: hunter2")).unwrap();
    let shown = format!("{script:?}");
    assert!(shown.contains("not shown") && !shown.contains("hunter2"), "{shown}");
    assert!(!shown.contains("dG9rZW46IGh1bnRlcjI"), "{shown}");
}

#[test]
fn time_limits_grow_with_the_work_up_to_a_point() {
    let limit = |count: usize| {
        let sandbox = SandboxRef {
            id: "a".into(),
            namespace: "n".into(),
            name: "p".into(),
            uid: "u".into(),
            ready: false,
        };
        let operation =
            HostOperation::RemoveSandboxes { sandboxes: vec![sandbox; count], loopback: true };
        let run = run();
        render(&operation, &HostContext::new(&run), None).unwrap().limit()
    };
    assert!(limit(1) > Duration::from_secs(120));
    assert!(limit(9) > limit(4));
    assert_eq!(limit(10_000), LONGEST);
}
