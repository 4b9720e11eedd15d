//! The tests from nodes, run on this machine: against a real TLS server where openssl is there, and on this kernel as root.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;

use super::endpoint::{endpoint_script, load_script};
use crate::bpf::Endpoint;
use crate::bpf::endpoint::{NodeProof, Stage};
use crate::bpf::load;
use crate::snapshot::Known;

/// What bash makes of a script that it reads from its standard input, with these programs only when there are some.
fn run(shell: &str, script: &str, path: Option<&str>) -> Vec<u8> {
    let mut command = Command::new(shell);
    command.arg("-s").stdin(Stdio::piped()).stdout(Stdio::piped());
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    child.wait_with_output().unwrap().stdout
}

fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    found.is_ok_and(|it| it.status.success())
}

fn here(port: u16) -> Endpoint {
    Endpoint { host: "127.0.0.1".to_owned(), port }
}

fn stage(proof: &NodeProof) -> Option<Stage> {
    match proof {
        NodeProof::Failed { stage, .. } => Some(*stage),
        _ => None,
    }
}

#[test]
fn a_port_that_nobody_listens_on_fails_at_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for shell in ["dash", "bash"].into_iter().filter(|it| has(it)) {
        let told = run(shell, &endpoint_script(&here(port), Some("none")), None);
        let proof = NodeProof::from_scan("n", &told);
        assert_eq!(stage(&proof), Some(Stage::Connection), "{shell}: {proof:?}");
    }
}

#[test]
fn without_an_authority_a_connection_is_all_that_is_proven() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let told = run("bash", &endpoint_script(&here(port), None), None);
    let proof = NodeProof::from_scan("n", &told);
    assert!(matches!(proof, NodeProof::ConnectionOnly { .. }), "{proof:?}");
}

#[test]
fn a_name_that_has_no_address_fails_at_the_name() {
    let endpoint = Endpoint { host: "nobody.invalid".to_owned(), port: 6443 };
    let told = run("bash", &endpoint_script(&endpoint, None), None);
    let proof = NodeProof::from_scan("n", &told);
    assert_eq!(stage(&proof), Some(Stage::Name), "{proof:?}");
}

/// Answers every connection as an API server does, under a certificate for 127.0.0.1; gives port and authority.
fn api_server(answer: &'static str) -> (u16, String) {
    use std::sync::Arc;
    let key = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let authority = key.cert.pem();
    let chain = vec![key.cert.der().clone()];
    let private =
        rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { continue };
            let Ok(mut session) = rustls::ServerConnection::new(Arc::clone(&config)) else {
                return;
            };
            let mut stream = rustls::Stream::new(&mut session, &mut socket);
            let mut request = [0; 2048];
            if stream.read(&mut request).is_ok_and(|it| it > 0) {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    answer.len()
                );
                stream.write_all(head.as_bytes()).ok();
                stream.write_all(answer.as_bytes()).ok();
                stream.conn.send_close_notify();
                stream.flush().ok();
            }
        }
    });
    (port, authority)
}

/// Places with a link to each of the programs that the script needs, and one of those that know TLS.
fn places() -> Vec<(&'static str, tempfile::TempDir)> {
    let place = |means: &'static str| {
        let place = tempfile::tempdir().unwrap();
        for program in ["bash", "sed", "timeout", "true", means] {
            let found =
                Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
            let path = String::from_utf8(found.stdout).unwrap();
            std::os::unix::fs::symlink(path.trim(), place.path().join(program)).unwrap();
        }
        (means, place)
    };
    ["curl", "openssl"].into_iter().filter(|it| has(it)).map(place).collect()
}

/// The script with no other programs than those of a place.
fn confined(script: &str) -> String {
    let open = script.lines().filter(|line| !line.starts_with("PATH="));
    open.map(|line| format!("{line}\n")).collect()
}

#[test]
fn who_answers_is_told_by_the_certificate() {
    let (port, authority) = api_server("{\"gitVersion\": \"v1.34.4\"}");
    let (other_port, other) = api_server("hello");
    for (means, place) in places() {
        let path = place.path().to_str().unwrap();
        let of = |endpoint: &Endpoint, authority: &str| {
            let told = run(
                "/bin/bash",
                &confined(&endpoint_script(endpoint, Some(authority))),
                Some(path),
            );
            assert!(String::from_utf8_lossy(&told).contains(means));
            NodeProof::from_scan("n", &told)
        };
        let version = Some("v1.34.4".to_owned());
        assert_eq!(of(&here(port), &authority), NodeProof::Proven { version }, "{means}");
        assert_eq!(stage(&of(&here(port), &other)), Some(Stage::Certificate), "{means}");
        let named = Endpoint { host: "localhost".to_owned(), port };
        assert_eq!(stage(&of(&named, &authority)), Some(Stage::Certificate), "{means}");
        assert_eq!(stage(&of(&here(other_port), &other)), Some(Stage::Answer), "{means}");
    }
}

#[test]
fn this_kernel_takes_the_program_or_the_test_says_why_not() {
    for shell in ["dash", "bash"].into_iter().filter(|it| has(it)) {
        let told = run(shell, &load_script(), None);
        let text = String::from_utf8_lossy(&told).into_owned();
        match load::from_scan("n", &told) {
            Known::Known(result) => assert_eq!(result, Ok(()), "{shell}: {text}"),
            // Whoever runs this may not be root, or have no tc.
            Known::Unknown(gap) => assert!(!gap.detail.is_empty(), "{shell}: {text}"),
            Known::Absent => panic!("{shell}: {text}"),
        }
    }
}
