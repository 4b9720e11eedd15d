//! No token and no key that a run handles stays anywhere: not in etcd, not in the state directory, not in logs, pod
//! specifications, processes or bundles.

#![cfg(all(unix, feature = "e2e"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tests::story::{Doctor, NODE, Secrets, demand, keep, remove_backups};
use tests::testbed::{CNI_KUBECONFIG, Error, Invocation, Node, Testbed};

/// What a run may not print, journal or send: everything is looked for here afterwards.
struct Haystack<'a> {
    testbed: &'a Testbed,
    doctor: &'a Doctor,
    kept: tempfile::TempDir,
}

impl Haystack<'_> {
    /// All places, by a name for messages.
    fn places(&self) -> Vec<(&'static str, std::path::PathBuf)> {
        let run = self.testbed.layout().run();
        vec![
            ("etcd", run.join("etcd")),
            ("state directory", self.doctor.state().to_owned()),
            ("output, pods, processes and bundles", self.kept.path().to_owned()),
            ("logs of the control plane", self.testbed.layout().logs()),
            ("logs of the node", self.testbed.layout().node(NODE).join("log")),
        ]
    }

    fn search(&self, secrets: &Secrets) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        for (place, path) in self.places() {
            demand(path.exists(), place, &path)?;
            found.extend(secrets.found_in(&path)?);
        }
        Ok(found)
    }

    /// Runs the doctor as talkative as it gets, and keeps what it says, and what is seen meanwhile.
    fn run(&self, node: &Node, name: &str, arguments: &[&str]) -> Result<(), Error> {
        let over = AtomicBool::new(false);
        let ran = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| self.watch(node, name, &over));
            let ran = self.doctor.run(&[arguments, &["-vv"]].concat());
            over.store(true, Ordering::Relaxed);
            watcher.join().map_err(|_| Error::Missing("the watcher".to_owned()))??;
            ran
        })?;
        keep(self.kept.path(), &format!("{name}.out"), &(ran.stdout.clone() + &ran.stderr))?;
        demand(
            ran.code == 0 || ["check", "status"].contains(&name),
            &format!("{name} exits 0"),
            &ran,
        )
    }

    /// Keeps every pod, event and configuration, and every process of the node, until the run is over.
    fn watch(&self, node: &Node, name: &str, over: &AtomicBool) -> Result<(), Error> {
        let kinds = "pods,events,configmaps,leases";
        let mut seen = 0;
        while !over.load(Ordering::Relaxed) || seen == 0 {
            let objects = self.testbed.kubectl(&["get", kinds, "-A", "-o", "yaml"])?;
            let processes = node
                .script("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true", &[])?;
            keep(self.kept.path(), &format!("{name}.{seen}.yaml"), &objects)?;
            keep(self.kept.path(), &format!("{name}.{seen}.processes"), &processes)?;
            seen += 1;
        }
        Ok(())
    }

    fn unpack(&self, bundle: &Path) -> Result<(), Error> {
        let folder = self.kept.path().join("bundle");
        std::fs::create_dir_all(&folder).map_err(|source| Error::File {
            what: "make",
            path: folder.clone(),
            source,
        })?;
        Invocation::of("tar").arg("-xzf").arg(bundle).arg("-C").arg(&folder).check().map(drop)
    }
}

fn add_tokens_of(secrets: &mut Secrets, node: &Node, when: &str) -> Result<(), Error> {
    secrets.add_kubeconfig(&format!("CNI kubeconfig {when}"), &node.read_text(CNI_KUBECONFIG)?)
}

#[test]
fn no_secret_stays_anywhere() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("secrets")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let node = testbed.node(NODE)?;
    let doctor = Doctor::new(&testbed)?;
    let kept = tempfile::tempdir()
        .map_err(|error| Error::Odd { what: "a folder".to_owned(), why: error.to_string() })?;
    let haystack = Haystack { testbed: &testbed, doctor: &doctor, kept };
    let mut secrets = Secrets::default();
    let admin = std::fs::read_to_string(testbed.kubeconfig()).unwrap_or_default();
    secrets.add_kubeconfig("the administrator's kubeconfig", &admin)?;
    add_tokens_of(&mut secrets, node, "of calico-node")?;
    let stale = testbed.expire_token(node)?;
    add_tokens_of(&mut secrets, node, "that has expired")?;
    let image = testbed.remove_calico_image(node)?;

    haystack.run(node, "check", &["check", "--probe"])?;
    let bundle = haystack.kept.path().join("bundle.tar.gz");
    haystack.run(node, "collect", &["collect", "--probe", "-o", &bundle.to_string_lossy()])?;
    haystack.unpack(&bundle)?;
    haystack.run(node, "fix", &["fix", "--yes", "--probe", "CAL-CNI-006"])?;
    add_tokens_of(&mut secrets, node, "after fix")?;
    haystack.run(node, "undo", &["undo", "last", "--yes"])?;
    haystack.run(node, "fix-json", &["fix", "--yes", "--probe", "CAL-CNI-006", "-o", "json"])?;
    add_tokens_of(&mut secrets, node, "after another fix")?;
    haystack.run(node, "runs", &["runs"])?;
    haystack.run(node, "status", &["status"])?;
    demand(secrets.count() == 5, "five secrets", &secrets)?;
    let found = haystack.search(&secrets)?;
    demand(found.is_empty(), "no secret anywhere", &found)?;

    control(&haystack, node)?;
    println!(
        "searched for {} secrets in {} places: none; a planted one is found in each",
        secrets.count(),
        haystack.places().len()
    );
    stale.undo()?;
    image.undo()?;
    testbed.repair_node(node)?;
    remove_backups(node)
}

/// A token that is planted in each of the places is found in each.
fn control(haystack: &Haystack<'_>, node: &Node) -> Result<(), Error> {
    // Another one each time: etcd keeps deleted objects for a while.
    let salt = format!("{:?}-{}", std::time::SystemTime::now(), std::process::id());
    let salt: String = salt.chars().filter(char::is_ascii_digit).collect();
    let planted = format!("eyJhbGciOiJSUzI1NiJ9.e30.planted-{salt}-{}", "abcdef".repeat(4));
    let mut secrets = Secrets::default();
    secrets.add_token("planted", &planted)?;
    demand(haystack.search(&secrets)?.is_empty(), "not found before it is planted", &())?;
    let literal = format!("--from-literal=token={planted}");
    haystack.testbed.kubectl(&["create", "configmap", "planted", "-n", "default", &literal])?;
    for (name, place) in haystack.places().iter().skip(1) {
        demand(secrets.found_in(place)?.is_empty(), name, &())?;
        keep(place, "planted", &planted)?;
    }
    let mut missed = Vec::new();
    for (name, place) in haystack.places() {
        if secrets.found_in(&place)?.is_empty() {
            missed.push(name);
        }
        drop(std::fs::remove_file(place.join("planted")));
    }
    haystack.testbed.kubectl(&["delete", "configmap", "planted", "-n", "default"])?;
    demand(missed.is_empty(), "the planted token is found everywhere", &(missed, node.name()))
}
