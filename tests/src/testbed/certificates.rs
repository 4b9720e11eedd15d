//! Certificates and keys of the control plane and the nodes, made by openssl.

use super::command::{Invocation, run};
use super::error::{Error, FileContext};
use super::layout::{Layout, SERVICE_ADDRESS, node_number};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The subject of the cluster's CA. A new CA has the same one, as after `kubeadm init`: only its key tells it from the old.
const AUTHORITY: &str = "/CN=kubernetes";
/// How long certificates are valid, in days. Longer than any testbed lives.
const DAYS: &str = "365";

/// A certificate to be made.
struct Request<'a> {
    file: &'a str,
    authority: &'a str,
    organization: &'a str,
    common_name: &'a str,
    usage: &'a str,
    names: Option<&'a str>,
}

/// Makes everything that does not exist yet: CA, front-proxy CA, service-account key, certificates.
pub(crate) fn make_all(layout: &Layout, nodes: &[String]) -> Result<(), Error> {
    let pki = layout.pki();
    fs::create_dir_all(&pki).file("make", &pki)?;
    fs::set_permissions(&pki, fs::Permissions::from_mode(0o700)).file("protect", &pki)?;
    make_authority(&pki, "ca", AUTHORITY)?;
    make_authority(&pki, "front-proxy-ca", "/CN=front-proxy-ca")?;
    make_service_account_key(&pki)?;
    make_certificates(layout, nodes)
}

/// Makes the certificates that the cluster's CA signs, where they are missing.
pub(crate) fn make_certificates(layout: &Layout, nodes: &[String]) -> Result<(), Error> {
    let server = format!(
        "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:{},IP:{SERVICE_ADDRESS}",
        layout.gateway()
    );
    let client = |file, organization, common_name| Request {
        file,
        authority: "ca",
        organization,
        common_name,
        usage: "clientAuth",
        names: None,
    };
    let mut requests = vec![
        Request {
            usage: "serverAuth",
            names: Some(&server),
            ..client("apiserver", "testbed", "kube-apiserver")
        },
        client("kubelet-client", "system:masters", "kube-apiserver-kubelet-client"),
        client("admin", "system:masters", "kubernetes-admin"),
        client(
            "controller-manager",
            "system:kube-controller-manager",
            "system:kube-controller-manager",
        ),
        client("scheduler", "system:kube-scheduler", "system:kube-scheduler"),
        Request {
            authority: "front-proxy-ca",
            ..client("front-proxy", "testbed", "front-proxy-client")
        },
    ];
    let mut of_nodes = Vec::new();
    for node in nodes {
        let names = format!("DNS:{node},IP:{}", layout.node_address(node_number(node)?));
        of_nodes.push((node, format!("system:node:{node}"), names));
    }
    for (node, common_name, names) in &of_nodes {
        let usage = "clientAuth,serverAuth";
        requests.push(Request {
            usage,
            names: Some(names),
            ..client(node, "system:nodes", common_name)
        });
    }
    for request in requests {
        make_certificate(&layout.pki(), &request)?;
    }
    Ok(())
}

/// Puts the CA and all it signed aside and makes new ones. Copies of the old ones stay as `*.old`, for tests that need them.
pub(crate) fn replace_authority(layout: &Layout, nodes: &[String]) -> Result<(), Error> {
    let pki = layout.pki();
    for entry in fs::read_dir(&pki).file("list", &pki)?.flatten() {
        let path = entry.path();
        let end = path.extension().and_then(|end| end.to_str());
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        if matches!(end, Some("crt" | "key")) && !name.starts_with("front-proxy") && name != "sa" {
            put_aside(&path)?;
        }
    }
    make_authority(&pki, "ca", AUTHORITY)?;
    make_certificates(layout, nodes)
}

/// Puts the service-account key pair aside and makes a new one.
pub(crate) fn replace_service_account_key(layout: &Layout) -> Result<(), Error> {
    let pki = layout.pki();
    put_aside(&pki.join("sa.key"))?;
    put_aside(&pki.join("sa.pub"))?;
    make_service_account_key(&pki)
}

fn put_aside(path: &Path) -> Result<(), Error> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".old");
    fs::rename(path, &aside).file("put aside", path)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A file that is there is whole: openssl writes a partial one first.
fn unless_there(path: &Path, make: impl FnOnce(&str) -> Result<(), Error>) -> Result<(), Error> {
    if path.exists() {
        return Ok(());
    }
    let partial = path.with_extension("partial");
    make(&text(&partial))?;
    fs::rename(&partial, path).file("rename", &partial)
}

fn make_key(path: &Path) -> Result<(), Error> {
    unless_there(path, |file| {
        run("openssl", &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", file])
            .map(drop)
    })
}

fn make_authority(pki: &Path, name: &str, subject: &str) -> Result<(), Error> {
    let (key, certificate) = (pki.join(format!("{name}.key")), pki.join(format!("{name}.crt")));
    make_key(&key)?;
    unless_there(&certificate, |file| {
        let line = [
            "req",
            "-x509",
            "-new",
            "-key",
            &text(&key),
            "-days",
            DAYS,
            "-subj",
            subject,
            "-out",
            file,
        ];
        run("openssl", &line).map(drop)
    })
}

fn make_service_account_key(pki: &Path) -> Result<(), Error> {
    let (private, public) = (pki.join("sa.key"), pki.join("sa.pub"));
    unless_there(&private, |file| run("openssl", &["genrsa", "-out", file, "2048"]).map(drop))?;
    unless_there(&public, |file| {
        run("openssl", &["rsa", "-in", &text(&private), "-pubout", "-out", file]).map(drop)
    })
}

fn make_certificate(pki: &Path, request: &Request<'_>) -> Result<(), Error> {
    let file = |end: &str| pki.join(format!("{}.{end}", request.file));
    let authority = |end: &str| text(&pki.join(format!("{}.{end}", request.authority)));
    let key = file("key");
    make_key(&key)?;
    let mut extensions = format!(
        "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage={}\n",
        request.usage
    );
    if let Some(names) = request.names {
        extensions.push_str(&format!("subjectAltName={names}\n"));
    }
    unless_there(&file("crt"), |certificate| {
        let subject = format!("/O={}/CN={}", request.organization, request.common_name);
        let asked = run("openssl", &["req", "-new", "-key", &text(&key), "-subj", &subject])?;
        let list = file("extensions");
        fs::write(&list, &extensions).file("write", &list)?;
        Invocation::of("openssl")
            .args([
                "x509",
                "-req",
                "-CA",
                &authority("crt"),
                "-CAkey",
                &authority("key"),
                "-CAcreateserial",
            ])
            .args(["-days", DAYS, "-extfile", &text(&list), "-out", certificate])
            .input(asked)
            .check()?;
        fs::remove_file(&list).file("remove", &list)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (tempfile::TempDir, Layout, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(0, folder.path(), folder.path()).unwrap();
        let nodes = vec!["node1".to_owned()];
        make_all(&layout, &nodes).unwrap();
        (folder, layout, nodes)
    }

    fn verifies(authority: &Path, certificate: &Path) -> bool {
        run("openssl", &["verify", "-CAfile", &text(authority), &text(certificate)]).is_ok()
    }

    #[test]
    fn a_new_authority_has_the_old_subject_and_does_not_vouch_for_old_certificates() {
        let (_folder, layout, nodes) = made();
        let pki = layout.pki();
        let subject = |file: &str| {
            run("openssl", &["x509", "-noout", "-subject", "-in", &text(&pki.join(file))]).unwrap()
        };
        let before = subject("ca.crt");
        assert!(verifies(&pki.join("ca.crt"), &pki.join("node1.crt")));
        replace_authority(&layout, &nodes).unwrap();
        assert_eq!(before, subject("ca.crt"));
        assert!(verifies(&pki.join("ca.crt"), &pki.join("node1.crt")));
        assert!(verifies(&pki.join("ca.crt.old"), &pki.join("node1.crt.old")));
        assert!(!verifies(&pki.join("ca.crt"), &pki.join("node1.crt.old")));
    }

    #[test]
    fn nothing_is_made_twice() {
        let (_folder, layout, nodes) = made();
        let certificate = layout.pki().join("apiserver.crt");
        let before = fs::read(&certificate).unwrap();
        make_all(&layout, &nodes).unwrap();
        assert_eq!(before, fs::read(&certificate).unwrap());
    }
}
