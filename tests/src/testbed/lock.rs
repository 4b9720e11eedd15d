//! Locks on files, so that they hold between test processes as well, and end with the process that held them.

use super::error::{Error, FileContext};
use super::wait::wait_every;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;

/// A lock on a file (flock), held until dropped.
#[derive(Debug)]
pub(crate) struct FileLock {
    _file: File,
}

fn open(path: &Path) -> Result<File, Error> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).file("make", folder)?;
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .file("open", path)
}

impl FileLock {
    /// Takes the lock for oneself; `None` if somebody has it.
    pub(crate) fn try_exclusive(path: &Path) -> Result<Option<Self>, Error> {
        let file = open(path)?;
        let taken = file.try_lock();
        Self::taken(file, taken, path)
    }

    /// Takes the lock together with others who share it; `None` if somebody has it for himself.
    pub(crate) fn try_shared(path: &Path) -> Result<Option<Self>, Error> {
        let file = open(path)?;
        let taken = file.try_lock_shared();
        Self::taken(file, taken, path)
    }

    fn taken(
        file: File,
        taken: Result<(), TryLockError>,
        path: &Path,
    ) -> Result<Option<Self>, Error> {
        match taken {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).file("lock", path),
        }
    }

    /// Takes the lock for oneself, waiting for others.
    pub(crate) fn exclusive(path: &Path, limit: Duration) -> Result<Self, Error> {
        wait(path, limit, || Self::try_exclusive(path))
    }

    /// Takes the lock together with others who share it, waiting for one who does not.
    pub(crate) fn shared(path: &Path, limit: Duration) -> Result<Self, Error> {
        wait(path, limit, || Self::try_shared(path))
    }
}

fn wait(
    path: &Path,
    limit: Duration,
    mut attempt: impl FnMut() -> Result<Option<FileLock>, Error>,
) -> Result<FileLock, Error> {
    let what = format!("the lock {} is free", path.display());
    wait_every(&what, limit, Duration::from_millis(50), || match attempt() {
        Ok(Some(lock)) => Ok(Ok(lock)),
        Ok(None) => Err("somebody holds it".to_owned()),
        Err(error) => Ok(Err(error)),
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_for_himself_or_many_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/lock");
        let first = FileLock::try_shared(&path).unwrap().unwrap();
        let second = FileLock::try_shared(&path).unwrap().unwrap();
        assert!(FileLock::try_exclusive(&path).unwrap().is_none());
        drop((first, second));
        // A child that another test is just starting holds copies of our files until it has become its program, so a
        // lock that was given up may be held a moment longer.
        let moment = Duration::from_secs(10);
        let alone = FileLock::exclusive(&path, moment).unwrap();
        assert!(FileLock::try_shared(&path).unwrap().is_none());
        let error = FileLock::exclusive(&path, Duration::from_millis(1)).unwrap_err().to_string();
        assert!(error.contains("somebody holds it"), "{error}");
        drop(alone);
        FileLock::shared(&path, moment).unwrap();
    }
}
