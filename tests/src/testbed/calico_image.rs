//! The files of the images: busybox, and the stand-in for calico/node and calico/cni.
//!
//! The stand-in has the tools that the real calico/node image has, and none of those it lacks. What works in it works there.

use super::bpf_object;
use super::command::Invocation;
use super::error::{Error, FileContext};
use super::image::Layer;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// What a script in the image may use: bash, most of the GNU coreutils, grep, sed, find, and the network tools.
const TOOLS: [&str; 63] = [
    "bash",
    "[",
    "base64",
    "basename",
    "cat",
    "chmod",
    "chown",
    "cp",
    "date",
    "dd",
    "df",
    "dirname",
    "du",
    "echo",
    "env",
    "expr",
    "false",
    "id",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mktemp",
    "mv",
    "nproc",
    "printf",
    "pwd",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "sha1sum",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "sync",
    "tee",
    "test",
    "timeout",
    "touch",
    "true",
    "uname",
    "uniq",
    "grep",
    "egrep",
    "fgrep",
    "sed",
    "find",
    "ip",
    "tc",
    "bridge",
    "ss",
    "conntrack",
    "ipset",
    "iptables",
    "iptables-save",
    "iptables-restore",
    "ip6tables",
    "iptables-legacy",
    "iptables-nft",
    "xtables-nft-multi",
    "bpftool",
];

/// Tools that the real calico/node image lacks, so that ours must as well.
pub const FORBIDDEN: [&str; 17] = [
    "nsenter",
    "chroot",
    "mount",
    "umount",
    "awk",
    "gawk",
    "mawk",
    "cut",
    "tr",
    "head",
    "tail",
    "wc",
    "systemctl",
    "crictl",
    "ctr",
    "perl",
    "busybox",
];

/// What the stand-in itself runs and the real image has no file of: it lies where no `PATH` leads.
const PRIVATE: [&str; 1] = ["nft"];
/// The folder of such programs.
const PRIVATE_FOLDER: &str = "usr/lib/testbed";
/// The object with the program that the stand-in attaches, in the folder of the real ones.
const OBJECT: &str = "usr/lib/calico/bpf/cali_tc_preamble.o";
/// Its name, of which the kernel keeps 15 bytes.
const PROGRAM: &str = "cali_tc_preamble";

/// The stand-in for calico/node and calico/cni.
pub(crate) fn calico(rootfs: &Path, standins: &Path, layer: &mut Layer) -> Result<(), Error> {
    with_tools(rootfs, &TOOLS, &PRIVATE, layer)?;
    layer.link("var/run", "/run");
    // /bin is a link to /usr/bin in the tree that the tools come from.
    layer.file("usr/bin/calico-node", &standins.join("calico-node"), 0o755)?;
    for plugin in ["calico", "calico-ipam"] {
        layer.file(format!("opt/cni/bin/{plugin}"), &standins.join("calico"), 0o755)?;
    }
    // It lets every packet go on to what comes after it (TC_ACT_OK).
    layer.bytes(OBJECT, bpf_object::returning(PROGRAM, 0));
    Ok(())
}

/// A small tree with tools of the nodes' root file system, and all that they load. The private ones lie in a folder of their own.
pub(crate) fn with_tools(
    rootfs: &Path,
    tools: &[&str],
    private: &[&str],
    layer: &mut Layer,
) -> Result<(), Error> {
    let mut copier = Copier { rootfs, layer };
    for folder in ["bin", "sbin", "lib", "lib64"] {
        copier.merged_folder(folder);
    }
    let mut programs = BTreeSet::new();
    for tool in tools {
        programs.insert(copier.copy(&copier.find(tool)?)?);
    }
    for tool in private {
        let path = copier.find(tool)?;
        copier.layer.file(
            Path::new(PRIVATE_FOLDER).join(tool),
            &copier.rootfs.join(&path),
            0o755,
        )?;
        programs.insert(path);
    }
    programs.extend(copier.extensions()?);
    for library in libraries(rootfs, &programs)? {
        copier.copy(&library)?;
    }
    layer.link("usr/bin/sh", "bash");
    layer.text("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
    layer.text("etc/group", "root:x:0:\n");
    for folder in ["root", "proc", "sys", "dev", "run", "var/lib", "var/log", "host"] {
        layer.folder(folder, 0o755);
    }
    layer.folder("tmp", 0o1777);
    Ok(())
}

/// The image of Debian's static busybox, with a link for each of its applets.
pub(crate) fn busybox(rootfs: &Path, layer: &mut Layer) -> Result<(), Error> {
    let program = rootfs.join("usr/bin/busybox");
    layer.file("bin/busybox", &program, 0o755)?;
    for applet in Invocation::of(&program)
        .arg("--list")
        .check()?
        .lines()
        .filter(|applet| *applet != "busybox")
    {
        layer.link(format!("bin/{applet}"), "busybox");
    }
    layer.text("etc/passwd", "root:x:0:0:root:/:/bin/sh\n");
    layer.folder("tmp", 0o1777);
    Ok(())
}

struct Copier<'a> {
    rootfs: &'a Path,
    layer: &'a mut Layer,
}

impl Copier<'_> {
    fn exists(&self, path: &Path) -> bool {
        fs::symlink_metadata(self.rootfs.join(path)).is_ok()
    }

    /// Where the tree has this program.
    fn find(&self, tool: &str) -> Result<PathBuf, Error> {
        ["usr/bin", "usr/sbin"]
            .iter()
            .map(|folder| Path::new(folder).join(tool))
            .find(|path| self.exists(path))
            .ok_or_else(|| Error::Missing(format!("the nodes' root file system has no {tool}")))
    }

    /// Copies one of the links /bin → usr/bin and so on.
    fn merged_folder(&mut self, name: &str) {
        if let Ok(target) = fs::read_link(self.rootfs.join(name)) {
            self.layer.link(name, target);
        }
    }

    /// Copies a file, and if it is a link every file on the way to its end; returns the end.
    fn copy(&mut self, path: &Path) -> Result<PathBuf, Error> {
        let mut path = merged(path);
        loop {
            let source = self.rootfs.join(&path);
            let found = fs::symlink_metadata(&source).file("find", &source)?;
            if !found.file_type().is_symlink() {
                self.layer.file(&path, &source, found.permissions().mode() & 0o7777)?;
                return Ok(path);
            }
            let target = fs::read_link(&source).file("read", &source)?;
            self.layer.link(&path, &target);
            path = merged(&path.parent().unwrap_or(Path::new("")).join(target));
        }
    }

    /// Copies the matches and targets that iptables loads.
    fn extensions(&mut self) -> Result<Vec<PathBuf>, Error> {
        let mut copied = Vec::new();
        let libraries = self.rootfs.join("usr/lib");
        for folder in fs::read_dir(&libraries).file("list", &libraries)?.flatten() {
            let Ok(extensions) = fs::read_dir(folder.path().join("xtables")) else { continue };
            for extension in extensions.flatten() {
                let path = extension.path();
                copied.push(self.copy(path.strip_prefix(self.rootfs).unwrap_or(&path))?);
            }
        }
        Ok(copied)
    }
}

/// A path of the tree without leading slash and `..`, and with /bin, /sbin and /lib where they really are.
fn merged(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => drop(plain.pop()),
            _ => {}
        }
    }
    let first =
        plain.components().next().map(|first| first.as_os_str().to_owned()).unwrap_or_default();
    if ["bin", "sbin", "lib", "lib64"].iter().any(|folder| first == *folder) {
        Path::new("usr").join(plain)
    } else {
        plain
    }
}

/// The libraries that programs of the tree need, found by its own loader.
fn libraries(rootfs: &Path, programs: &BTreeSet<PathBuf>) -> Result<BTreeSet<PathBuf>, Error> {
    // Its status says whether all files are dynamic programs; scripts such as egrep are not.
    let output = Invocation::of("chroot")
        .arg(rootfs)
        .arg("/usr/bin/ldd")
        .args(programs.iter().map(|program| Path::new("/").join(program)))
        .output()?;
    if output.stdout.contains("not found") {
        return Err(Error::Missing(format!(
            "the nodes' root file system lacks a library: {}",
            output.stdout
        )));
    }
    Ok(output.stdout.lines().filter_map(library).collect())
}

/// The path in a line such as `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)` or `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn library(line: &str) -> Option<PathBuf> {
    let path = line.split("=>").last()?.split_whitespace().next()?;
    (path.starts_with('/') && !path.ends_with(':')).then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_ldd_gives_a_path_or_nothing() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(library("\tlibc.so.6 => /lib/x/libc.so.6 (0x7f)"), path("/lib/x/libc.so.6"));
        assert_eq!(
            library("\t/lib64/ld-linux-x86-64.so.2 (0x7f)"),
            path("/lib64/ld-linux-x86-64.so.2")
        );
        for nothing in [
            "\tlinux-vdso.so.1 (0x7f)",
            "/usr/bin/bash:",
            "\tnot a dynamic executable",
            "\tstatically linked",
            "",
        ] {
            assert_eq!(library(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn paths_are_where_the_files_really_are() {
        assert_eq!(merged(Path::new("/lib/x/y.so")), Path::new("usr/lib/x/y.so"));
        assert_eq!(merged(Path::new("etc/alternatives/../../usr/sbin/z")), Path::new("usr/sbin/z"));
        assert_eq!(merged(Path::new("/usr/bin/sh")), Path::new("usr/bin/sh"));
    }

    #[test]
    fn nothing_forbidden_is_asked_for() {
        assert!(TOOLS.iter().all(|tool| !FORBIDDEN.contains(tool)));
    }
}
