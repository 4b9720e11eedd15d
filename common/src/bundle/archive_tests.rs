//! Hostile and broken archives.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tempfile::TempDir;

use super::archive::{Limits, unpack};
use super::{BundleError, load};

const MANIFEST: &str =
    "apiVersion: kubectl-calico/v1\nkind: Bundle\ncreatedAt: 2026-11-21T12:00:00Z\n";

/// A file in a folder that goes with it.
fn file(name: &str, body: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, body).unwrap();
    (folder, path)
}

/// Entries are written as they are: tar's own builder would refuse bad names.
fn tar(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, kind, body) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(body.len() as u64);
        if matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link) {
            header.as_old_mut().linkname[..4].copy_from_slice(b"/etc");
        }
        header.set_cksum();
        tar.append(&header, *body).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(body).unwrap();
    gzip.finish().unwrap()
}

fn regular(entries: &[(&str, &str)]) -> Vec<u8> {
    let entries: Vec<_> = entries
        .iter()
        .map(|(name, body)| (*name, tar::EntryType::Regular, body.as_bytes()))
        .collect();
    gzip(&tar(&entries))
}

fn failure(body: &[u8]) -> BundleError {
    let (_folder, path) = file("b.tar.gz", body);
    load(&path).unwrap_err()
}

#[test]
fn leading_folders_are_cut() {
    for leading in ["", "./", "x/", "./x/"] {
        let manifest = format!("{leading}bundle.yaml");
        let pods = format!("{leading}cluster/pods.json");
        let body = r#"{"kind":"List","items":[{"metadata":{"name":"a"}}]}"#;
        let (_folder, path) = file("b.tgz", &regular(&[(&manifest, MANIFEST), (&pods, body)]));
        let snapshot = load(&path).unwrap();
        assert_eq!(snapshot.pods.items.len(), 1, "{leading}");
        assert!(snapshot.pods.is_whole());
    }
}

#[test]
fn what_leads_out_of_the_bundle_is_refused() {
    for name in ["../bundle.yaml", "/bundle.yaml", "a/../../x", "cluster\\pods.json"] {
        let error = failure(&regular(&[(name, "x")]));
        assert!(matches!(error, BundleError::Unsafe { .. }), "{name}: {error}");
    }
    for kind in
        [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo, tar::EntryType::Char]
    {
        let error = failure(&gzip(&tar(&[("cluster/pods.json", kind, b"")])));
        assert!(matches!(error, BundleError::Unsafe { .. }), "{kind:?}: {error}");
    }
}

#[test]
fn what_is_no_bundle_says_what_it_is() {
    let says = |body: &[u8]| failure(body).to_string();
    assert!(says(b"").contains("an empty file"));
    assert!(says(b"hello").contains("not compressed by gzip"));
    assert!(says(&gzip(&[0; 1024])).contains("an empty archive"));
    let other = says(&regular(&[("README.md", "x"), ("a/b/bundle.yaml", "x")]));
    assert!(other.contains("README.md") && other.contains("expected a folder"), "{other}");
    let missing = load(Path::new("/nonexistent/bundle.tar.gz")).unwrap_err();
    assert!(matches!(missing, BundleError::Io { attempt: "open", .. }), "{missing}");
}

#[test]
fn manifests_are_checked() {
    let error = |text: &str| failure(&regular(&[("bundle.yaml", text)]));
    let version = error("apiVersion: kubectl-calico/v9\nkind: Bundle\n");
    assert!(matches!(version, BundleError::UnknownVersion { .. }), "{version}");
    for text in ["", "kind: Pod\n", "[", "apiVersion: kubectl-calico/v1\nkind: Bundle\n"] {
        assert!(matches!(error(text), BundleError::BadManifest { .. }), "{text:?}");
    }
}

#[test]
fn a_cut_archive_names_its_last_whole_file() {
    // Bytes that do not compress, so that cutting the archive cuts them.
    let noise: String = (0u32..40_000)
        .map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8 % 26))
        .collect();
    let body = regular(&[
        ("bundle.yaml", MANIFEST),
        ("cluster/nodes.json", r#"{"items":[]}"#),
        ("cluster/pods.json", &noise),
    ]);
    let error = failure(&body[..body.len() - 200]);
    assert!(matches!(error, BundleError::Truncated { .. }), "{error}");
    assert!(error.to_string().contains("cluster/nodes.json"), "{error}");
    let mut flipped = body.clone();
    let middle = flipped.len() - 6;
    flipped[middle] ^= 0xff;
    assert!(matches!(failure(&flipped), BundleError::Damaged { .. }), "checksum");
}

#[test]
fn limits_hold() {
    let body = regular(&[("bundle.yaml", MANIFEST), ("x", &"0".repeat(100_000))]);
    let (_folder, path) = file("b.tar.gz", &body);
    let with = |limits: Limits| unpack(&path, limits).map(|files| files.len());
    assert_eq!(with(Limits::default()).unwrap(), 1);
    for limits in [
        Limits { file: 99_999, ..Limits::default() },
        Limits { total: 50_000, ..Limits::default() },
        Limits { entries: 1, ..Limits::default() },
    ] {
        let error = with(limits).unwrap_err();
        assert!(matches!(error, BundleError::TooLarge { .. }), "{limits:?} {error}");
    }
}

#[test]
fn a_link_in_a_folder_is_refused_and_other_files_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("bundle.yaml"), MANIFEST).unwrap();
    std::fs::create_dir_all(path("after/cluster")).unwrap();
    std::fs::create_dir_all(path("cluster")).unwrap();
    std::fs::write(path("after/cluster/pods.json"), "{}").unwrap();
    std::fs::write(path("cluster/notes.txt"), "{}").unwrap();
    assert!(load(folder.path()).unwrap().pods.gap.is_some());
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/etc/passwd", path("cluster/pods.json")).unwrap();
        let error = load(folder.path()).unwrap_err();
        assert!(matches!(error, BundleError::Unsafe { .. }), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_damage_is_an_error_or_harmless(place in any::<proptest::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut body = regular(&[("bundle.yaml", MANIFEST), ("cluster/pods.json", r#"{"items":[]}"#)]);
        let place = place.index(body.len());
        body[place] = byte;
        if cut {
            body.truncate(place);
        }
        let (_folder, path) = file("b.tar.gz", &body);
        drop(load(&path));
    }

    #[test]
    fn any_damage_of_the_archive_within_is_an_error_or_harmless(place in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut body = tar(&[("bundle.yaml", tar::EntryType::Regular, MANIFEST.as_bytes()), ("cluster/pods.json", tar::EntryType::Regular, b"{}")]);
        let place = place.index(body.len());
        body[place] = byte;
        let (_folder, path) = file("b.tar.gz", &gzip(&body));
        drop(load(&path));
    }
}
