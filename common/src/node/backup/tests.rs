//! The script under the shells of this machine on a made-up host, and what is made of its answer.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";

fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A host with Calico's files, each with a secret, and with somebody else's.
fn host() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in [
        (
            "etc/cni/net.d/10-calico.conflist",
            "{\"plugins\":[{\"type\":\"calico\",\"policy\":{\"k8s_auth_token\":\n\"hunter2\"}}]}"
                .to_owned(),
        ),
        ("etc/cni/net.d/05-cilium.conflist", "{\"plugins\":[{\"type\":\"cilium\"}]}".to_owned()),
        (
            "etc/cni/net.d/calico-kubeconfig",
            format!(
                "apiVersion: v1\nusers:\n- name: calico\n  user:\n    token: {TOKEN}\n  user: {{token: hunter2}}\nclusters:\n- cluster:\n    server: https://10.96.0.1:443\n    server: https://me:hunter2@10.96.0.1\n"
            ),
        ),
        ("etc/cni/net.d/other-kubeconfig", "server: https://foreign".to_owned()),
        ("var/lib/calico/nodename", "node1".to_owned()),
        ("var/lib/calico/key", "-----BEGIN RSA PRIVATE KEY-----\nhunter2".to_owned()),
        ("programs/ip", "#!/bin/sh\necho \"ip $*\"\n".to_owned()),
        ("programs/nft", "#!/bin/sh\nexit 3\n".to_owned()),
        ("programs/iptables-nft-save", "#!/bin/sh\necho '*filter'; echo warning >&2\n".to_owned()),
    ] {
        write(root.path(), path, &content);
    }
    for program in fs::read_dir(root.path().join("programs")).unwrap() {
        fs::set_permissions(program.unwrap().path(), fs::Permissions::from_mode(0o755)).unwrap();
    }
    root
}

fn printed(shell: &str, root: &Path) -> Vec<u8> {
    let mut child = Command::new(shell)
        .arg("-s")
        .env("CALICO_HOST_ROOT", root)
        .env("CALICO_HOST_PATH", format!("{}:/usr/bin:/bin", root.join("programs").display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(BACKUP_SCRIPT.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{shell}");
    output.stdout
}

fn content(archive: &[u8]) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(archive);
    let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (entry.path().unwrap().display().to_string(), text)
    };
    archive.entries().unwrap().map(read).collect()
}

#[test]
fn what_is_there_is_saved_and_no_secret_is() {
    for shell in ["dash", "bash", "sh"] {
        if Command::new(shell).args(["-c", "exit"]).status().is_err() {
            continue;
        }
        let root = host();
        let text = printed(shell, root.path());
        let files = content(&archive(&text).unwrap());
        assert_eq!(files["files/var/lib/calico/nodename"], "node1\n");
        assert_eq!(files["ip-route-v6.txt"], "ip -6 route show table all\n");
        assert_eq!(files["iptables-nft-save.txt"], "*filter\n");
        let conflist = &files["files/etc/cni/net.d/10-calico.conflist"];
        assert!(conflist.contains("\"type\":\"calico\"") && conflist.contains("blanked"));
        let kubeconfig = &files["files/etc/cni/net.d/calico-kubeconfig"];
        assert!(kubeconfig.contains("    server: https://10.96.0.1:443\n"), "{kubeconfig}");
        assert!(files.values().all(|it| !it.contains("hunter2") && !it.contains("c2lnbmF0")));
        assert!(files.keys().all(|it| !it.contains("cilium") && !it.contains("other-")));
        let left_out = &files["left-out.txt"];
        for line in [
            "files/var/lib/calico/key: it holds a private key",
            "nft-list-ruleset.txt: the program ended with exit code 3",
        ] {
            assert!(left_out.lines().any(|it| it == line), "{left_out}");
        }
    }
}

#[test]
fn what_was_cut_short_is_no_backup() {
    let whole = "@@piece a rc=0 form=plain\neA==\n@@end\n@@backup complete\n";
    assert_eq!(content(&archive(whole.as_bytes()).unwrap())["a"], "x");
    for end in 0..whole.len() - 1 {
        assert!(archive(&whole.as_bytes()[..end]).is_err(), "{}", &whole[..end]);
    }
}

#[test]
fn an_answer_that_is_not_the_scripts_is_refused() {
    for head in [
        "../etc/passwd rc=0 form=plain",
        "/etc/passwd rc=0 form=plain",
        "a/../b rc=0 form=plain",
        "a rc=x form=plain",
        "a rc=0 form=zip",
        "a rc=0 form=gzip",
        "a b rc=0 form=plain",
        "a rc=0 form=plain more",
    ] {
        let text = format!("@@piece {head}\neA==\n@@end\n@@backup complete\n");
        assert!(matches!(archive(text.as_bytes()), Err(BackupError::Odd { .. })), "{head}");
    }
    assert!(matches!(archive(b"hello\n"), Err(BackupError::Odd { .. })));
}
