//! Bad input: whatever is wrong, the user learns what was attempted, what came back and what to do next, and a program
//! that reads `-o json` gets a document.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on panics, and says why it is skipped"
)]

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::fake_api::{FakeApi, kubeconfig, status};
use tests::program::{Ran, doctor_command, root, run_doctor};

const R02: &str = "tests/recordings/R02-stale-token-sa-recreated.tar.gz";

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A home with a kubeconfig.
    fn with(kubeconfig: &str) -> Self {
        let home = Self::new();
        fs::create_dir(home.0.path().join(".kube")).unwrap();
        home.write(".kube/config", kubeconfig);
        home
    }

    fn doctor(&self, arguments: &[&str]) -> Ran {
        run_doctor(self.0.path(), arguments).unwrap()
    }
}

/// The failure as a person and as a program see it: exit code, an `error:` line, a document with the error in it.
fn both_ways(home: &Home, arguments: &[&str], code: i32) -> (Ran, Value) {
    let text = home.doctor(arguments);
    assert_eq!(text.code, Some(code), "{text:?}");
    assert!(!text.stderr.contains("panicked") && text.stderr.lines().count() < 20, "{text:?}");
    let json = home.doctor(&[arguments, &["-o", "json"]].concat());
    assert_eq!(json.code, Some(code), "the exit code depends on -o: {json:?}");
    let document: Value = serde_json::from_str(&json.stdout)
        .unwrap_or_else(|error| panic!("stdout is no document ({error}): {json:?}"));
    assert_eq!(document["apiVersion"], "kubectl-calico/v1", "{document}");
    let yaml = home.doctor(&[arguments, &["-o", "yaml"]].concat());
    let yaml: Value = serde_yaml::from_str(&yaml.stdout).unwrap();
    assert_eq!(yaml["verdict"], document["verdict"]);
    (text, document)
}

fn assert_failed(text: &Ran, document: &Value, wanted: &[&str]) {
    assert_eq!(document["verdict"], "failed", "{document}");
    let errors = document["errors"].to_string();
    for want in wanted {
        assert!(text.stderr.contains(want), "no {want:?}: {text:?}");
    }
    assert!(text.stderr.contains("error: ") && errors.len() > 10, "{text:?} {errors}");
}

#[test]
fn no_kubeconfig() {
    let home = Home::new();
    let (text, document) = both_ways(&home, &[], 1);
    assert_failed(&text, &document, &["hint: ", ".kube/config"]);
}

#[test]
fn a_context_that_does_not_exist() {
    let home = Home::with(&kubeconfig("http://127.0.0.1:1"));
    let (text, document) = both_ways(&home, &["--context", "prod\u{1b}[2J"], 1);
    assert_failed(&text, &document, &["prod", "test"]);
    assert!(!text.stderr.contains('\u{1b}'), "{text:?}");
}

#[test]
fn an_api_server_that_is_not_there() {
    // Port 1 of loopback: nobody listens, and the kernel says so at once.
    let home = Home::with(&kubeconfig("http://127.0.0.1:1"));
    let (text, document) = both_ways(&home, &["--request-timeout=2s"], 1);
    assert_eq!(document["verdict"], "failed");
    assert_eq!(document["roots"][0]["finding"]["code"], "CAL-ACC-001", "{document}");
    assert!(text.stdout.contains("CAL-ACC-001"), "{text:?}");
    assert!(text.stdout.contains("127.0.0.1:1"), "{text:?}");
}

#[test]
fn an_api_server_that_never_answers() {
    let api = FakeApi::start(|_| None).unwrap();
    let home = Home::with(&api.kubeconfig());
    let started = Instant::now();
    let ran = home.doctor(&["--request-timeout=1s"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(ran.stdout.contains("CAL-ACC-001"), "{ran:?}");
}

#[test]
fn credentials_that_expired() {
    let api = FakeApi::start(|_| Some(status(401, "Unauthorized", "Unauthorized"))).unwrap();
    let home = Home::with(&api.kubeconfig());
    let (text, document) = both_ways(&home, &[], 1);
    assert_eq!(document["verdict"], "failed");
    let all = format!("{}{}", text.stdout, text.stderr);
    assert!(all.contains("You must be logged in to the server"), "{text:?}");
    assert!(!all.contains("not-a-real-token"), "{text:?}");
}

#[test]
fn a_user_who_may_do_nothing() {
    let api = FakeApi::start(|path| {
        Some(match path {
            "/version" => (200, r#"{"gitVersion":"v1.34.4","major":"1","minor":"34"}"#.to_owned()),
            _ => status(
                403,
                "Forbidden",
                "pods is forbidden: User \"jane\" cannot list resource \"pods\"",
            ),
        })
    })
    .unwrap();
    let home = Home::with(&api.kubeconfig());
    let (text, document) = both_ways(&home, &[], 5);
    assert_eq!(document["verdict"], "incomplete");
    assert!(text.stdout.contains("CAL-ACC-002"), "{text:?}");
    assert!(text.stdout.contains("--print-rbac"), "{text:?}");
    assert!(!text.stdout.contains('✓'), "a tick for what was not seen: {text:?}");
    let skipped = document["checks"].as_array().unwrap();
    assert!(skipped.iter().any(|it| it["state"] == "skipped"), "{document}");
}

#[test]
fn an_interrupt_ends_it_quietly() {
    let api = FakeApi::start(|_| None).unwrap();
    let home = Home::with(&api.kubeconfig());
    let mut child = doctor_command(home.0.path(), &["--request-timeout=60s"])
        .unwrap()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while api.asked() == 0 {
        assert!(started.elapsed() < Duration::from_secs(20), "it asked nothing");
        std::thread::sleep(Duration::from_millis(20));
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let interrupted = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if interrupted.elapsed() > Duration::from_secs(10) {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.lines().count() <= 3, "{said}");
}

#[test]
fn what_is_no_bundle() {
    let home = Home::new();
    let whole = fs::read(root().join(R02)).unwrap();
    fs::create_dir(home.0.path().join("empty")).unwrap();
    home.write("half.tar.gz", &whole[..whole.len() / 2]);
    home.write("text.tar.gz", "this is no archive");
    home.write("nothing.tar.gz", "");
    for name in ["half.tar.gz", "text.tar.gz", "nothing.tar.gz", "empty", "absent.tar.gz"] {
        let (text, document) = both_ways(&home, &["--bundle", name], 1);
        assert_failed(&text, &document, &[name]);
    }
}

#[test]
fn a_bundle_cannot_be_repaired() {
    let home = Home::new();
    let bundle = root().join(R02);
    let ran = home.doctor(&["fix", "--bundle", bundle.to_str().unwrap()]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("--dry-run"), "{ran:?}");
    let plan = home.doctor(&["fix", "--dry-run", "--bundle", bundle.to_str().unwrap()]);
    assert_eq!(plan.code, Some(0), "{plan:?}");
    assert!(plan.stdout.contains("restart calico-node on node2"), "{plan:?}");
}

#[test]
fn wrong_command_lines() {
    let home = Home::new();
    for words in [
        &["chekc"][..],
        &["-o", "xml"],
        &["explain", "CAL-XXX-999"],
        &["explain"],
        &["fix", "CAL-XXX-999"],
        &["--request-timeout", "soon"],
        &["completion", "tcsh"],
        // The flag of the default verb: dropped, the living cluster would be repaired.
        &["--bundle", "x.tar.gz", "fix", "--yes"],
        &["--bundle", "x.tar.gz", "check"],
    ] {
        let ran = home.doctor(words);
        assert_eq!(ran.code, Some(2), "{words:?}: {ran:?}");
        assert!(ran.stderr.starts_with("error: ") && ran.stdout.is_empty(), "{words:?}: {ran:?}");
    }
}

/// Unpacks the recording into `folder`.
fn unpack(folder: &Path) -> PathBuf {
    let file = fs::File::open(root().join(R02)).unwrap();
    tar::Archive::new(flate2::read::GzDecoder::new(file)).unpack(folder).unwrap();
    if folder.join("bundle.yaml").is_file() {
        return folder.to_owned();
    }
    let inner = fs::read_dir(folder).unwrap().flatten().map(|it| it.path());
    inner.into_iter().find(|it| it.join("bundle.yaml").is_file()).unwrap()
}

/// Event texts come from programs that read what anybody wrote. None of it may reach a terminal as it is.
#[test]
fn hostile_text_from_the_cluster() {
    let home = Home::new();
    let bundle = unpack(&home.0.path().join("hostile"));
    let path = bundle.join("cluster/events.json");
    let events = fs::read_to_string(&path).unwrap();
    let hostile = r"\u001b]0;owned\u0007\u001b[2J\u009b31m\u202edrowssap\r\u007f Unauthorized";
    assert!(events.contains("Unauthorized"));
    fs::write(&path, events.replace("Unauthorized", hostile)).unwrap();
    for format in ["text", "json", "yaml"] {
        for color in [&["--no-color"][..], &["-v"]] {
            let path = bundle.to_str().unwrap();
            let ran = home.doctor(&[&["--bundle", path, "-o", format], color].concat());
            assert_eq!(ran.code, Some(3), "{ran:?}");
            assert!(ran.stdout.contains("drowssap"), "{format}: {}", ran.stdout);
            let harmful = |it: &char| (it.is_control() && *it != '\n') || *it == '\u{202e}';
            let found: Vec<char> = ran.stdout.chars().filter(harmful).collect();
            assert!(found.is_empty(), "{format} {color:?}: {found:?}");
        }
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let home = Home::new();
    let mut child = doctor_command(home.0.path(), &["explain", "CAL-CNI-006"])
        .unwrap()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

/// The control plane was re-initialised, and the kubeconfig is of before.
#[test]
fn a_kubeconfig_of_another_cluster() {
    let home = Home::new();
    let openssl =
        |words: &[&str]| Command::new("openssl").args(words).current_dir(home.0.path()).output();
    let certificate = |name: &str| {
        let (key, file) = (format!("{name}.key"), format!("{name}.crt"));
        let words = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=kubernetes",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            &key,
            "-out",
            &file,
        ];
        openssl(&words).is_ok_and(|it| it.status.success())
    };
    if !certificate("living") || !certificate("former") {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "openssl is needed");
        println!("skipped: openssl is needed");
        return;
    }
    // Only to learn a port that is free.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new("openssl")
        .args(["s_server", "-quiet", "-cert", "living.crt", "-key", "living.key", "-accept"])
        .arg(format!("127.0.0.1:{port}"))
        .current_dir(home.0.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(started.elapsed() < Duration::from_secs(10), "openssl does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut config: Value =
        serde_json::from_str(&kubeconfig(&format!("https://127.0.0.1:{port}"))).unwrap();
    let former = home.0.path().join("former.crt");
    config["clusters"][0]["cluster"]["certificate-authority"] = former.to_str().unwrap().into();
    let path = home.write("config", config.to_string());
    let ran = home.doctor(&["--kubeconfig", path.to_str().unwrap(), "--request-timeout=5s"]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let all = format!("{}{}", ran.stdout, ran.stderr);
    assert!(all.contains("another cluster") && all.contains("CA"), "{ran:?}");
}
