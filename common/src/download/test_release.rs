//! Release archives for tests, small and possibly hostile.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use tar::{Builder, EntryType, Header};

/// A member of an archive.
#[derive(Clone, Copy)]
pub(super) enum Member<'a> {
    File(&'a str, &'a [u8]),
    Folder(&'a str),
    Link(&'a str, &'a str),
    HardLink(&'a str, &'a str),
}

/// A gzipped tar of these members; names are written as they are, however wrong.
pub(super) fn archive(members: &[Member<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for member in members {
        let (name, kind, bytes, target): (&str, EntryType, &[u8], &str) = match member {
            Member::File(name, bytes) => (name, EntryType::Regular, bytes, ""),
            Member::Folder(name) => (name, EntryType::Directory, b"", ""),
            Member::Link(name, target) => (name, EntryType::Symlink, b"", target),
            Member::HardLink(name, target) => (name, EntryType::Link, b"", target),
        };
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // Builder's own setters refuse hostile names.
        let old = header.as_old_mut();
        (&mut old.name[..]).write_all(name.as_bytes()).unwrap();
        (&mut old.linkname[..]).write_all(target.as_bytes()).unwrap();
        header.set_cksum();
        builder.append(&header, bytes).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// The archive of v3.28.4, as far as anything of it is used.
pub(super) fn good_archive() -> Vec<u8> {
    archive(&[
        Member::Folder("release-v3.28.4/"),
        Member::File("release-v3.28.4/images/calico-node.tar", &noise(200_000)),
        Member::File("release-v3.28.4/bin/cni/amd64/calico", b"\x7fELF calico amd64"),
        Member::File("release-v3.28.4/bin/cni/amd64/calico-ipam", b"\x7fELF ipam amd64"),
        Member::File("release-v3.28.4/bin/cni/arm64/calico", b"\x7fELF calico arm64"),
        Member::File("release-v3.28.4/manifests/calico.yaml", b"kind: DaemonSet\n"),
        Member::File("release-v3.28.4/manifests/crds.yaml", b"kind: CustomResourceDefinition\n"),
        Member::File("release-v3.28.4/manifests/ocp/nested.yaml", b"kind: Namespace\n"),
        Member::File("release-v3.28.4/manifests/generate.sh", b"exit 0\n"),
    ])
}

/// Bytes that do not compress, always the same.
pub(super) fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}
