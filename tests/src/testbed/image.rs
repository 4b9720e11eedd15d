//! Writes container images: an OCI archive with one layer, as `ctr images import` reads it.

use super::error::{Error, FileContext};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What lies at a path of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    File { source: PathBuf, mode: u32 },
    Bytes { content: Vec<u8>, mode: u32 },
    Link(PathBuf),
    Folder { mode: u32 },
}

/// The files of an image, by path without a leading slash. Sorted, without owner or time: the same files give the same image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layer(BTreeMap<PathBuf, Entry>);

impl Layer {
    /// Adds a file with another file's content.
    pub(crate) fn file(
        &mut self,
        path: impl AsRef<Path>,
        source: &Path,
        mode: u32,
    ) -> Result<(), Error> {
        // Looked at now, because a missing file is easier understood where it was asked for.
        fs::metadata(source).file("find", source)?;
        self.put(path.as_ref(), Entry::File { source: source.to_owned(), mode });
        Ok(())
    }

    /// Adds a small readable file.
    pub(crate) fn text(&mut self, path: impl AsRef<Path>, content: &str) {
        self.bytes(path, content.as_bytes().to_vec());
    }

    /// Adds a readable file that is no text.
    pub(crate) fn bytes(&mut self, path: impl AsRef<Path>, content: Vec<u8>) {
        self.put(path.as_ref(), Entry::Bytes { content, mode: 0o644 });
    }

    /// Adds a script.
    pub(crate) fn program(&mut self, path: impl AsRef<Path>, script: &str) {
        let content = script.as_bytes().to_vec();
        self.put(path.as_ref(), Entry::Bytes { content, mode: 0o755 });
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, path: impl AsRef<Path>, target: impl AsRef<Path>) {
        self.put(path.as_ref(), Entry::Link(target.as_ref().to_owned()));
    }

    /// Adds a folder.
    pub(crate) fn folder(&mut self, path: impl AsRef<Path>, mode: u32) {
        self.put(path.as_ref(), Entry::Folder { mode });
    }

    fn put(&mut self, path: &Path, entry: Entry) {
        for folder in path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()) {
            self.0.entry(folder.to_owned()).or_insert(Entry::Folder { mode: 0o755 });
        }
        self.0.insert(path.to_owned(), entry);
    }

    fn write(&self, to: &Path) -> Result<(), Error> {
        let file = fs::File::create(to).file("create", to)?;
        let mut archive = tar::Builder::new(std::io::BufWriter::new(file));
        for (path, entry) in &self.0 {
            append(&mut archive, path, entry).file("add to the image", path)?;
        }
        let mut writer = archive.into_inner().file("write", to)?;
        std::io::Write::flush(&mut writer).file("write", to)
    }
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn append<W: std::io::Write>(
    archive: &mut tar::Builder<W>,
    path: &Path,
    entry: &Entry,
) -> std::io::Result<()> {
    match entry {
        Entry::Folder { mode } => archive.append_data(
            &mut header(tar::EntryType::Directory, *mode, 0),
            path,
            std::io::empty(),
        ),
        Entry::Link(target) => {
            archive.append_link(&mut header(tar::EntryType::Symlink, 0o777, 0), path, target)
        }
        Entry::Bytes { content, mode } => archive.append_data(
            &mut header(tar::EntryType::Regular, *mode, content.len() as u64),
            path,
            content.as_slice(),
        ),
        Entry::File { source, mode } => {
            let file = fs::File::open(source)?;
            let size = file.metadata()?.len();
            archive.append_data(&mut header(tar::EntryType::Regular, *mode, size), path, file)
        }
    }
}

/// An image to be written.
#[derive(Debug)]
pub(crate) struct Archive<'a> {
    /// The full name with registry and tag.
    pub(crate) name: &'a str,
    pub(crate) layer: &'a Layer,
    /// What a container of it runs unless told otherwise.
    pub(crate) command: &'a [&'a str],
}

/// A piece of an archive: its media type, digest and size.
struct Blob {
    digest: String,
    content: Vec<u8>,
}

impl Blob {
    fn new(content: Vec<u8>) -> Self {
        let digest = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { digest, content }
    }

    fn descriptor(&self, kind: &str) -> Value {
        json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": format!("sha256:{}", self.digest),
            "size": self.content.len(),
        })
    }
}

impl Archive<'_> {
    /// Writes the archive.
    pub(crate) fn write(&self, to: &Path) -> Result<(), Error> {
        let unpacked = to.with_extension("layer");
        self.layer.write(&unpacked)?;
        let layer = Blob::new(fs::read(&unpacked).file("read", &unpacked)?);
        fs::remove_file(&unpacked).file("remove", &unpacked)?;
        let config = Blob::new(self.config(&layer).to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config.descriptor("config.v1+json"),
            "layers": [layer.descriptor("layer.v1.tar")],
        });
        let manifest = Blob::new(manifest.to_string().into_bytes());
        let mut entry = manifest.descriptor("manifest.v1+json");
        let tag = self.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        entry["annotations"] = json!({"io.containerd.image.name": self.name, "org.opencontainers.image.ref.name": tag});
        let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
        pack(to, &index, &[&config, &layer, &manifest]).file("write", to)
    }

    fn config(&self, layer: &Blob) -> Value {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        json!({
            "architecture": architecture,
            "os": "linux",
            "config": {
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                "Cmd": self.command,
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", layer.digest)]},
        })
    }
}

fn pack(to: &Path, index: &str, blobs: &[&Blob]) -> std::io::Result<()> {
    let mut archive = tar::Builder::new(fs::File::create(to)?);
    let mut add = |name: String, content: &[u8]| {
        archive.append_data(
            &mut header(tar::EntryType::Regular, 0o644, content.len() as u64),
            name,
            content,
        )
    };
    add("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    add("index.json".to_owned(), index.as_bytes())?;
    for blob in blobs {
        add(format!("blobs/sha256/{}", blob.digest), &blob.content)?;
    }
    archive.into_inner().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn unpack(path: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(fs::File::open(path).unwrap());
        let read = |entry: std::io::Result<tar::Entry<'_, fs::File>>| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        };
        archive.entries().unwrap().map(read).collect()
    }

    #[test]
    fn digests_lead_from_the_index_to_the_files_and_the_same_files_give_the_same_image() {
        let folder = tempfile::tempdir().unwrap();
        let mut layer = Layer::default();
        layer.text("etc/passwd", "root:x:0:0:root:/:/bin/sh\n");
        layer.link("bin", "usr/bin");
        let write = |name: &str| {
            let path = folder.path().join(name);
            Archive { name: "example.invalid/x:1", layer: &layer, command: &["/x"] }
                .write(&path)
                .unwrap();
            path
        };
        let files = unpack(&write("one.tar"));
        assert_eq!(
            fs::read(folder.path().join("one.tar")).unwrap(),
            fs::read(write("two.tar")).unwrap()
        );
        let follow = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
            let content = &files[&format!("blobs/sha256/{digest}")];
            assert_eq!(Blob::new(content.clone()).digest, digest);
            assert_eq!(descriptor["size"], content.len());
            content.clone()
        };
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let manifest: Value = serde_json::from_slice(&follow(&index["manifests"][0])).unwrap();
        let config: Value = serde_json::from_slice(&follow(&manifest["config"])).unwrap();
        let inner = folder.path().join("layer.tar");
        fs::write(&inner, follow(&manifest["layers"][0])).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        assert_eq!(unpack(&inner).keys().collect::<Vec<_>>(), ["bin", "etc", "etc/passwd"]);
    }
}
