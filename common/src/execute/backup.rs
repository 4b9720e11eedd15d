//! Archives of nodes on this machine.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::plan::BackupFacts;
use crate::snapshot::{Gap, GapReason, Known};

fn path(directory: &str, node: &str) -> PathBuf {
    // Names of nodes are names of hosts; whatever else somebody calls one stays within the directory.
    Path::new(directory).join(format!("{}.tar", node.replace(['/', '\\'], "_")))
}

/// Keeps the archive. One that an earlier run kept there is renamed, not replaced: it may hold what is gone by now.
pub(super) fn keep(directory: &str, node: &str, archive: &[u8]) -> io::Result<()> {
    make_private(directory)?;
    let path = path(directory, node);
    if path.exists() {
        let free = (1..).map(|number| path.with_extension(format!("{number}.tar")));
        if let Some(free) = free.into_iter().find(|it| !it.exists()) {
            fs::rename(&path, free)?;
        }
    }
    let mut file = tempfile_beside(&path)?;
    file.1.write_all(archive)?;
    file.1.sync_all()?;
    fs::rename(&file.0, &path)
}

fn make_private(directory: &str) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn tempfile_beside(path: &Path) -> io::Result<(PathBuf, fs::File)> {
    let temporary = path.with_extension(format!("{}.part", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&temporary).map(|file| (temporary, file))
}

/// What the node's archive holds.
pub(super) fn look(directory: &str, node: &str) -> Known<BackupFacts> {
    let path = path(directory, node);
    let counted = fs::File::open(&path).and_then(|file| {
        let mut archive = tar::Archive::new(io::BufReader::new(file));
        let mut entries = 0;
        for entry in archive.entries()? {
            io::copy(&mut entry?, &mut io::sink())?;
            entries += 1;
        }
        Ok(entries)
    });
    match counted {
        Ok(entries) => Known::Known(BackupFacts { entries }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Known::Absent,
        Err(error) => {
            let what = path.display().to_string();
            Known::Unknown(Gap::new(what, GapReason::Undecodable, error.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: usize) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for number in 0..entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            tar.append_data(&mut header, number.to_string(), &b"x"[..]).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn archives_are_kept_and_never_replaced() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("a/b");
        let directory = directory.to_str().unwrap();
        assert_eq!(look(directory, "n1"), Known::Absent);
        keep(directory, "n1", &archive(2)).unwrap();
        assert_eq!(look(directory, "n1"), Known::Known(BackupFacts { entries: 2 }));
        keep(directory, "n1", &archive(1)).unwrap();
        assert_eq!(look(directory, "n1"), Known::Known(BackupFacts { entries: 1 }));
        assert_eq!(look(directory, "n1.1"), Known::Known(BackupFacts { entries: 2 }));
        assert_eq!(fs::read_dir(directory).unwrap().count(), 2, "nothing half written is left");
    }

    #[test]
    fn half_an_archive_is_unknown() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().to_str().unwrap();
        let whole = archive(3);
        fs::write(place.path().join("n1.tar"), &whole[..700]).unwrap();
        assert!(matches!(look(directory, "n1"), Known::Unknown(_)));
    }
}
