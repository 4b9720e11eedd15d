//! Builds what a testbed is made of, once: each artefact lies in the cache under a hash of all that goes into it.

use super::command::{Invocation, run};
use super::error::{Error, FileContext};
use super::image::{Archive, Layer};
use super::layout::{Layout, sources};
use super::lock::FileLock;
use super::progress::Progress;
use super::{calico_image, proxy};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Debian packages of the nodes' root file system, beside those of `debootstrap --variant=minbase`.
const NODE_PACKAGES: &str = "ca-certificates,containerd,runc,containernetworking-plugins,iptables,conntrack,ethtool,socat,ipset,bpftool,\
                             nftables,kmod,iproute2,procps,util-linux,busybox-static,iputils-ping";
/// The Debian release of the nodes, whatever the machine itself is.
const SUITE: &str = "bookworm";
/// The programs that the stand-ins' Go module holds.
const STANDINS: [&str; 3] = ["calico", "calico-node", "pause"];
/// A build from an empty machine downloads 700 MB and compiles for minutes; on a slow machine for many.
const BUILD_LIMIT: Duration = Duration::from_secs(60 * 60);

/// The built artefacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artefacts {
    /// The folder that nodes see as /opt/testbed/bin.
    pub programs: PathBuf,
    /// Kubernetes and etcd in one program.
    pub kubebox: PathBuf,
    /// The root file system that all nodes share.
    pub rootfs: PathBuf,
    /// The folder of the stand-ins' programs.
    pub standins: PathBuf,
    /// Speaks to a container runtime as crictl does.
    pub crictl: PathBuf,
    /// The folder of image archives, which every node imports.
    pub images: PathBuf,
}

impl Artefacts {
    /// Where the artefacts of these sources are, built or not.
    pub fn of(layout: &Layout) -> Result<Self, Error> {
        let sources = sources();
        let kube = hash(&[&folder_hash(&sources.join("kube"))?, LINKER_FLAGS]);
        let rootfs = hash(&[SUITE, NODE_PACKAGES]);
        let standin = folder_hash(&sources.join("standin"))?;
        let recipe = [
            include_str!("image.rs"),
            include_str!("calico_image.rs"),
            include_str!("artefacts.rs"),
            include_str!("bpf_object.rs"),
            include_str!("proxy.rs"),
            proxy::ENTRY,
        ];
        let mut parts = vec![rootfs.as_str(), standin.as_str()];
        parts.extend(recipe);
        let images = hash(&parts);
        let place = |kind: &str, key: &str| layout.cache().join(format!("{kind}-{key}"));
        let programs = place("kube", &kube);
        Ok(Self {
            kubebox: programs.join("kubebox"),
            programs,
            rootfs: place("rootfs", &rootfs),
            standins: place("standin", &standin),
            crictl: place("crictl", &folder_hash(&sources.join("crictl"))?).join("crictl"),
            images: place("images", &images),
        })
    }

    /// Locates the artefacts and builds those that are missing. One build at a time: others wait for it.
    pub(crate) fn build(layout: &Layout, progress: Progress) -> Result<Self, Error> {
        let artefacts = Self::of(layout)?;
        fs::create_dir_all(layout.cache()).file("make", layout.cache())?;
        let _building = FileLock::exclusive(&layout.cache().join("build.lock"), BUILD_LIMIT)?;
        once(
            &artefacts.programs,
            progress,
            "build Kubernetes (minutes, the first time)",
            build_kube,
        )?;
        once(&artefacts.rootfs, progress, "install the nodes' Debian packages", build_rootfs)?;
        once(
            &artefacts.standins,
            progress,
            "build the stand-ins for Calico's programs",
            build_standins,
        )?;
        if let Some(folder) = artefacts.crictl.parent() {
            once(folder, progress, "build crictl", build_crictl)?;
        }
        once(&artefacts.images, progress, "make images", |folder| artefacts.build_images(folder))?;
        Ok(artefacts)
    }

    /// A name for this set of artefacts: a testbed started from other ones is not reused.
    pub(crate) fn fingerprint(&self) -> String {
        let name =
            |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let crictl = self.crictl.parent().unwrap_or(&self.crictl);
        [&self.programs, &self.rootfs, &self.standins, crictl, &self.images].map(name).join(" ")
    }

    fn build_images(&self, folder: &Path) -> Result<(), Error> {
        let mut pause = Layer::default();
        pause.file("pause", &self.standins.join("pause"), 0o755)?;
        let mut busybox = Layer::default();
        calico_image::busybox(&self.rootfs, &mut busybox)?;
        let mut calico = Layer::default();
        calico_image::calico(&self.rootfs, &self.standins, &mut calico)?;
        let mut proxy = Layer::default();
        proxy::image(&self.rootfs, &mut proxy)?;
        let images = [
            ("pause.tar", "registry.k8s.io/pause:3.10", &pause, "/pause"),
            ("busybox.tar", "docker.io/library/busybox:1.36", &busybox, "sh"),
            ("kube-proxy.tar", proxy::IMAGE, &proxy, "/usr/local/bin/kube-proxy"),
            ("calico-node.tar", "docker.io/calico/node:v3.28.4", &calico, "/bin/calico-node"),
            ("calico-cni.tar", "docker.io/calico/cni:v3.28.4", &calico, "/bin/calico-node"),
        ];
        for (file, name, layer, command) in images {
            Archive { name, layer, command: &[command] }.write(&folder.join(file))?;
        }
        Ok(())
    }
}

/// Builds into a folder beside the final place, which gets its name when it is whole.
fn once(
    place: &Path,
    progress: Progress,
    what: &str,
    build: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    if place.exists() {
        return Ok(());
    }
    progress.phase(what, || {
        let partial = place.with_extension("partial");
        discard(&partial)?;
        fs::create_dir_all(&partial).file("make", &partial)?;
        build(&partial)?;
        fs::rename(&partial, place).file("rename", &partial)
    })
}

/// Removes what a killed build left, after whatever debootstrap mounted in it.
fn discard(partial: &Path) -> Result<(), Error> {
    if !partial.exists() {
        return Ok(());
    }
    for mount in super::inventory::mounts_below(partial)? {
        run("umount", &["--lazy", &mount])?;
    }
    fs::remove_dir_all(partial).file("remove", partial)
}

/// Without them the API server would call itself v0.0.0. `VERSION` and `MINOR` are filled in from go.mod.
const LINKER_FLAGS: &str = "-s -w -X k8s.io/component-base/version.gitVersion=vVERSION -X k8s.io/component-base/version.gitMajor=1 \
    -X k8s.io/component-base/version.gitMinor=MINOR -X k8s.io/component-base/version.gitTreeState=clean \
    -X k8s.io/component-base/version.gitCommit=0000000000000000000000000000000000000000 \
    -X k8s.io/component-base/version.buildDate=2025-01-01T00:00:00Z";

fn build_kube(folder: &Path) -> Result<(), Error> {
    let source = sources().join("kube");
    let file = source.join("go.mod");
    let text = fs::read_to_string(&file).file("read", &file)?;
    let version = kubernetes_version(&text).ok_or_else(|| Error::Odd {
        what: file.display().to_string(),
        why: "it requires no k8s.io/kubernetes".to_owned(),
    })?;
    let minor = version.split('.').nth(1).unwrap_or_default();
    let flags = LINKER_FLAGS.replace("VERSION", version).replace("MINOR", minor);
    go_build(&source, &folder.join("kubebox"), &flags, ".")
}

fn kubernetes_version(go_mod: &str) -> Option<&str> {
    go_mod.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"))
}

fn go_build(source: &Path, output: &Path, flags: &str, package: &str) -> Result<(), Error> {
    Invocation::of("go")
        .args(["build", "-mod=readonly", "-trimpath", "-ldflags", flags, "-o"])
        .arg(output)
        .arg(package)
        .within(source)
        .env("CGO_ENABLED", "0")
        .limit(BUILD_LIMIT)
        .check()
        .map(drop)
}

fn build_standins(folder: &Path) -> Result<(), Error> {
    STANDINS.iter().try_for_each(|name| {
        go_build(&sources().join("standin"), &folder.join(name), "-s -w", &format!("./cmd/{name}"))
    })
}

fn build_crictl(folder: &Path) -> Result<(), Error> {
    go_build(&sources().join("crictl"), &folder.join("crictl"), "-s -w", ".")
}

fn build_rootfs(folder: &Path) -> Result<(), Error> {
    Invocation::of("debootstrap")
        .args(["--variant=minbase", &format!("--include={NODE_PACKAGES}"), SUITE])
        .arg(folder)
        .arg(mirror()?)
        .limit(BUILD_LIMIT)
        .check()
        .map(drop)
}

/// The Debian mirror that this machine's apt uses.
fn mirror() -> Result<String, Error> {
    let format = "$(LABEL)|$(REPO_URI)";
    let listed = Invocation::of("apt-get")
        .args(["indextargets", "--format", format, "Created-By: Packages"])
        .output();
    let listed = listed.map(|output| output.stdout).unwrap_or_default();
    // Updates have the label "Debian" as well, and lie in the same place; security fixes have one of their own.
    let archive = listed.lines().find_map(|line| line.strip_prefix("Debian|"));
    archive.map(ToOwned::to_owned).ok_or_else(|| {
        Error::Missing("apt names no Debian archive (run `apt-get update`): the nodes' root file system cannot be made".to_owned())
    })
}

fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A hash of all files of a folder, with their names. Neither tests nor texts go into a build.
fn folder_hash(folder: &Path) -> Result<String, Error> {
    let mut files = Vec::new();
    list(folder, &mut files)?;
    files.sort();
    let mut parts = Vec::new();
    for file in files {
        let name = file.strip_prefix(folder).unwrap_or(&file).display().to_string();
        if !name.ends_with("_test.go")
            && [".go", "go.mod", "go.sum"].iter().any(|end| name.ends_with(end))
        {
            parts.push(name);
            parts.push(fs::read_to_string(&file).file("read", &file)?);
        }
    }
    Ok(hash(&parts.iter().map(String::as_str).collect::<Vec<_>>()))
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in fs::read_dir(folder).file("list", folder)? {
        let path = entry.file("list", folder)?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_follows_sources_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("main.go", "package main");
        let first = folder_hash(folder.path()).unwrap();
        write("README.md", "text");
        write("main_test.go", "package main");
        assert_eq!(first, folder_hash(folder.path()).unwrap());
        write("main.go", "package other");
        assert_ne!(first, folder_hash(folder.path()).unwrap());
    }

    #[test]
    fn the_version_comes_from_go_mod() {
        assert_eq!(
            kubernetes_version(
                "require (\n\tk8s.io/kubectl v0.0.0\n\tk8s.io/kubernetes v1.34.4\n)"
            ),
            Some("1.34.4")
        );
        assert_eq!(kubernetes_version("module x"), None);
    }

    #[test]
    fn an_interrupted_build_is_begun_again() {
        let folder = tempfile::tempdir().unwrap();
        let (place, quiet) = (folder.path().join("thing-1"), Progress::silent());
        fs::create_dir_all(folder.path().join("thing-1.partial/rest")).unwrap();
        once(&place, quiet, "x", |partial| {
            assert!(!partial.join("rest").exists());
            fs::write(partial.join("whole"), "").file("write", partial)
        })
        .unwrap();
        assert!(place.join("whole").exists());
        once(&place, quiet, "x", |_| panic!("built twice")).unwrap();
    }
}
