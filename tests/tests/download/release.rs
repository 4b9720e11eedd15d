//! A release and a mirror of it, and doctor with a cache of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tests::https_server::{Asked, HttpsServer, Reply};
use tests::program::{Ran, doctor_command};

pub(crate) const ARCHIVE: &str = "/v3.28.4/release-v3.28.4.tgz";
pub(crate) const SUMS: &str = "/v3.28.4/SHA256SUMS";
/// ETag of everything.
pub(crate) const ETAG: &str = "\"0x8DC1\"";

/// A tar.gz with these files below `release-v3.28.4/`, and half a megabyte that does not compress.
pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let noise: Vec<u8> =
        (0_u32..16_384).flat_map(|n| <[u8; 32]>::from(Sha256::digest(n.to_be_bytes()))).collect();
    for (name, bytes) in [("images/calico-node.tar", noise.as_slice())].iter().chain(files) {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        let path = format!("release-v3.28.4/{name}");
        // The builder's own setter refuses hostile names.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

pub(crate) fn good_archive() -> Vec<u8> {
    archive(&[
        ("bin/cni/amd64/calico", b"\x7fELF calico"),
        ("manifests/calico.yaml", b"kind: DaemonSet\n"),
        ("manifests/crds.yaml", b"kind: CustomResourceDefinition\n"),
    ])
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn sums(archive: &[u8]) -> String {
    format!("{}  release-v3.28.4.tgz\n{}  ocp.tgz\n", sha256(archive), "0".repeat(64))
}

/// Answers by path; what is not in it is 404. Tests change it between runs.
#[derive(Clone, Default)]
pub(crate) struct Site(Arc<Mutex<BTreeMap<String, Reply>>>);

impl Site {
    /// A mirror with this archive, its sums, and two manifests.
    pub(crate) fn with(archive: &[u8]) -> Self {
        let site = Self::default();
        site.put(SUMS, Reply::new(200, sums(archive)));
        site.put(ARCHIVE, Reply::new(200, archive).header("etag", ETAG));
        site.put("/v3.28.4/manifests/calico.yaml", Reply::new(200, "kind: DaemonSet\n"));
        site.put(
            "/v3.28.4/manifests/crds.yaml",
            Reply::new(200, "kind: CustomResourceDefinition\n"),
        );
        site
    }

    pub(crate) fn put(&self, path: &str, reply: Reply) {
        self.0.lock().unwrap().insert(path.to_owned(), reply);
    }

    fn answer(&self, asked: &Asked) -> Reply {
        self.0
            .lock()
            .unwrap()
            .get(&asked.path)
            .cloned()
            .unwrap_or_else(|| Reply::new(404, "no such file"))
    }

    /// A server of this site.
    pub(crate) fn serve(&self) -> HttpsServer {
        let site = self.clone();
        HttpsServer::start(move |asked| site.answer(asked)).unwrap()
    }
}

/// A user's home, with the cache in it.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file of the cached version.
    pub(crate) fn cached(&self, name: &str) -> PathBuf {
        self.path("cache/kubectl-calico/v3.28.4").join(name)
    }

    /// `doctor download` with `arguments`; there is no cluster.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command =
            doctor_command(self.0.path(), &[&["download"], arguments].concat()).unwrap();
        command.env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    /// The arguments that make a mirror of `server`, whose certificate lies in this home.
    pub(crate) fn mirror(&self, server: &HttpsServer) -> Vec<String> {
        let authority = self.path("authority.pem");
        fs::write(&authority, server.authority()).unwrap();
        [
            "--version",
            "v3.28.4",
            "--mirror",
            &server.url(),
            "--mirror-ca",
            authority.to_str().unwrap(),
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// Downloads v3.28.4 from `server`.
    pub(crate) fn download(&self, server: &HttpsServer, more: &[&str]) -> Ran {
        let mirror = self.mirror(server);
        let arguments: Vec<&str> =
            mirror.iter().map(String::as_str).chain(more.iter().copied()).collect();
        self.run(&arguments)
    }

    /// Names below the cached version, sorted, without those that are always there.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut open = vec![self.cached("")];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    let name = path.strip_prefix(self.cached("")).unwrap();
                    names.push(name.to_str().unwrap().to_owned());
                }
            }
        }
        names.retain(|name| name != ".lock" && name != "record.json");
        names.sort();
        names
    }
}

/// Files of a report: name, proof, state.
pub(crate) fn files(ran: &Ran) -> Vec<(String, String, String)> {
    let document: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    assert_eq!(document["kind"], "DownloadReport", "{ran:?}");
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    let all = document["files"].as_array().unwrap();
    all.iter().map(|it| (text(&it["name"]), text(&it["proof"]), text(&it["state"]))).collect()
}

/// The same in a form that is short to write.
pub(crate) fn expected(files: &[[&str; 3]]) -> Vec<(String, String, String)> {
    files.iter().map(|[a, b, c]| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect()
}

pub(crate) fn assert_failed(ran: &Ran, code: i32, says: &[&str]) {
    assert_eq!(ran.code, Some(code), "{ran:?}");
    for text in says {
        assert!(ran.stderr.contains(text), "{text:?} is not in {ran:?}");
    }
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
}
