//! kubeconfig files, flags and certificates.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::kubeconfig::Sources;
use super::proxy::ProxyVariables;
use super::{ApiError, Cluster, ConnectError, ConnectOptions};

/// A kubeconfig whose names end with `tag`; its current context only when `current`.
fn kubeconfig(tag: &str, current: bool) -> String {
    let context = if current { format!("current-context: c-{tag}\n") } else { String::new() };
    format!(
        "apiVersion: v1\nkind: Config\n{context}clusters:\n- name: shared\n  cluster: {{server: \"https://{tag}.shared:1\"}}\n\
         - name: k-{tag}\n  cluster: {{server: \"https://{tag}:6443\"}}\ncontexts:\n- name: c-{tag}\n  \
         context: {{cluster: k-{tag}, user: u-{tag}, namespace: n-{tag}}}\n- name: shared\n  \
         context: {{cluster: shared, user: u-{tag}}}\nusers:\n- name: u-{tag}\n  user: {{token: hunter2}}\n"
    )
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

async fn connect(options: &ConnectOptions, sources: &Sources) -> Result<Cluster, ConnectError> {
    Cluster::connect_with(options, sources, &ProxyVariables::default()).await
}

#[test]
fn files_are_looked_for_where_kubectl_looks() {
    let list = |paths: &[&str]| Sources::List(paths.iter().map(PathBuf::from).collect());
    let of = |flag: Option<&str>, variable: Option<&str>| {
        Sources::of(flag.map(Path::new), variable.map(std::ffi::OsStr::new), Some(Path::new("/h")))
    };
    assert_eq!(of(Some("/f"), Some("/a")), Sources::Explicit("/f".into()));
    assert_eq!(of(None, Some("/a::/b:")), list(&["/a", "/b"]));
    assert_eq!(of(None, Some("")), list(&["/h/.kube/config"]));
    assert_eq!(of(None, None), list(&["/h/.kube/config"]));
    assert_eq!(Sources::of(None, None, None), list(&[]));
}

#[tokio::test]
async fn files_are_merged_and_the_first_wins() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path(), "first", &kubeconfig("one", false));
    let second = write(folder.path(), "second", &kubeconfig("two", true));
    let sources = Sources::List(vec![folder.path().join("missing"), first, second]);
    let of = |context: Option<&str>| ConnectOptions {
        context: context.map(str::to_owned),
        ..ConnectOptions::default()
    };
    for (context, server, namespace) in [
        (None, "https://two:6443", "n-two"),
        (Some("c-one"), "https://one:6443", "n-one"),
        (Some("shared"), "https://one.shared:1", "default"),
    ] {
        let cluster = connect(&of(context), &sources).await.unwrap();
        assert_eq!(cluster.target_info().server, server);
        assert_eq!(cluster.target_info().namespace, namespace);
        assert!(!format!("{cluster:?}").contains("hunter2"));
    }
    let error = connect(&of(Some("nope")), &sources).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "context \"nope\" does not exist (there is c-one, c-two, shared)"
    );
    assert!(error.hint().unwrap().contains("--context"));
}

#[tokio::test]
async fn flags_go_before_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let sources = Sources::Explicit(write(folder.path(), "config", &kubeconfig("one", true)));
    let options = ConnectOptions {
        cluster: Some("shared".into()),
        namespace: Some("mine".into()),
        server: Some("10.0.0.1:8080".into()),
        token: Some("s3cr3t".into()),
        password: Some("s3cr3t".into()),
        ..ConnectOptions::default()
    };
    assert!(!format!("{options:?}").contains("s3cr3t"));
    let cluster = connect(&options, &sources).await.unwrap();
    let target = cluster.target_info();
    assert_eq!(target.server, "http://10.0.0.1:8080");
    assert_eq!((target.cluster_name.as_str(), target.namespace.as_str()), ("shared", "mine"));
    let options = ConnectOptions { user: Some("nobody".into()), ..ConnectOptions::default() };
    let error = connect(&options, &sources).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "user \"nobody\" does not exist in the kubeconfig (there is u-one)"
    );
}

#[tokio::test]
async fn what_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let none = ConnectOptions::default();
    let missing = folder.path().join("missing");
    let error = connect(&none, &Sources::List(vec![missing.clone()])).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no kubeconfig found (tried {})", missing.display()));
    assert!(error.hint().unwrap().contains("--bundle"));
    let error = connect(&none, &Sources::Explicit(missing)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreadable { .. }));

    let cases = [
        ("clusters: [", "is broken"),
        ("clusters: 3", "is broken"),
        (
            "current-context: \"\"\ncontexts: [{name: a, context: {cluster: b}}]",
            "no current context (it has a)",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: b}}]",
            "cluster \"b\" of context \"a\"",
        ),
    ];
    for (text, expected) in cases {
        let path = write(folder.path(), "config", text);
        let error = connect(&none, &Sources::List(vec![path])).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }

    let user = |user: &str| {
        format!(
            "current-context: a\ncontexts: [{{name: a, context: {{cluster: b, user: c}}}}]\n\
             clusters: [{{name: b, cluster: {{server: \"https://b\"}}}}]\nusers: [{{name: c, user: {user}}}]"
        )
    };
    let cases = [
        (
            "{client-certificate: gone.crt, client-key: gone.key}",
            "cannot read the client certificate",
        ),
        (
            "{client-certificate-data: aGVsbG8=, client-key-data: aHVudGVyMg==}",
            "client certificate or key",
        ),
        ("{tokenFile: gone}", "cannot read the token file"),
        (
            "{exec: {apiVersion: client.authentication.k8s.io/v1, command: /no/such/plugin, interactiveMode: Never, installHint: get it}}",
            "credential plugin \"/no/such/plugin\"",
        ),
        (
            "{exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/false, interactiveMode: Never}}",
            "it failed",
        ),
    ];
    for (entry, expected) in cases {
        let path = write(folder.path(), "config", &user(entry));
        let error = connect(&none, &Sources::List(vec![path])).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{entry}: {error}");
        assert!(error.hint().is_some(), "{entry}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{entry}");
    }
}

#[tokio::test]
async fn a_proxy_that_cannot_be_used_is_named_without_its_password() {
    let options = ConnectOptions { server: Some("https://b".into()), ..ConnectOptions::default() };
    let proxies = ProxyVariables {
        https: Some("https://jane:hunter2@proxy.corp:3128".into()),
        ..ProxyVariables::default()
    };
    let none = Sources::List(Vec::new());
    let error = Cluster::connect_with(&options, &none, &proxies).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the proxy \"https://proxy.corp:3128\" cannot be used: scheme https is not supported"
    );
}

/// A TLS server with a certificate of its own making, for one connection. It gives the port and the certificate.
fn tls_server() -> (u16, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(std::thread::spawn(move || {
        let Ok((stream, _)) = listener.accept() else { return };
        let session = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut tls = rustls::StreamOwned::new(session, stream);
        let mut request = [0; 4096];
        if tls.read(&mut request).is_ok_and(|count| count > 0) {
            tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").ok();
            tls.flush().ok();
        }
    }));
    (port, pem)
}

async fn get_version(port: u16, authority: &Path) -> Result<Vec<u8>, ApiError> {
    let options = ConnectOptions {
        server: Some(format!("https://127.0.0.1:{port}")),
        certificate_authority: Some(authority.to_owned()),
        request_timeout: Some(Duration::from_secs(20)),
        ..ConnectOptions::default()
    };
    let cluster = connect(&options, &Sources::List(Vec::new())).await.unwrap();
    cluster.get_raw("/version").await
}

#[tokio::test]
async fn a_server_of_another_authority_is_told_from_one_that_is_down() {
    let folder = tempfile::tempdir().unwrap();
    let (port, pem) = tls_server();
    let right = write(folder.path(), "right.crt", &pem);
    assert_eq!(get_version(port, &right).await, Ok(b"{}".to_vec()));

    let (port, _) = tls_server();
    let error = get_version(port, &right).await.unwrap_err();
    assert!(matches!(error, ApiError::CertificateNotTrusted { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("belongs to another cluster"));
    assert_eq!(
        error.kubectl_sentence(),
        "Unable to connect to the server: x509: certificate signed by unknown authority"
    );
}
