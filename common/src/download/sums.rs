//! SHA-256 sums: of files, and as releases publish them in SHA256SUMS.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::DownloadError;

/// Bytes that are read at once.
const CHUNK: usize = 256 * 1024;

/// A SHA-256 sum in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Sha256Sum(String);

impl Sha256Sum {
    /// The hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The sum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut sum = RunningSum::default();
        sum.add(bytes);
        sum.finish()
    }

    /// The sum of a file, and its size in bytes.
    pub(super) fn of_file(path: &Path) -> io::Result<(Self, u64)> {
        let mut file = File::open(path)?;
        let mut sum = RunningSum::default();
        let mut chunk = vec![0; CHUNK];
        let mut size = 0;
        loop {
            let got = file.read(&mut chunk)?;
            if got == 0 {
                return Ok((sum.finish(), size));
            }
            sum.add(chunk.get(..got).unwrap_or_default());
            size += got as u64;
        }
    }
}

impl FromStr for Sha256Sum {
    type Err = DownloadError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_prefix("sha256:").unwrap_or(text);
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(DownloadError::Sum(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for Sha256Sum {
    type Error = DownloadError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A sum in the making.
#[derive(Default)]
pub(super) struct RunningSum(Sha256);

impl RunningSum {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(self) -> Sha256Sum {
        Sha256Sum(self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// What a SHA256SUMS file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PublishedSums(BTreeMap<String, Sha256Sum>);

impl PublishedSums {
    /// Reads the output of `sha256sum`: the sum, a space, a space or `*`, the name. Lines of another form are skipped: a
    /// file without a sum is refused later. Of two sums for one name neither counts.
    pub(super) fn parse(text: &str) -> Self {
        let mut sums: BTreeMap<String, Option<Sha256Sum>> = BTreeMap::new();
        for line in text.lines() {
            let Some((sum, name)) = line.split_once(' ') else { continue };
            let Some(name) = name.strip_prefix([' ', '*']) else { continue };
            let Ok(sum) = sum.parse::<Sha256Sum>() else { continue };
            let name = name.trim_end().trim_start_matches("./").to_owned();
            let one = sums.entry(name).or_insert_with(|| Some(sum.clone()));
            if one.as_ref() != Some(&sum) {
                *one = None;
            }
        }
        Self(sums.into_iter().filter_map(|(name, sum)| Some((name, sum?))).collect())
    }

    pub(super) fn of(&self, name: &str) -> Option<&Sha256Sum> {
        self.0.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn sums_are_read_as_sha256sum_writes_them() {
        let b = "f".repeat(64);
        let text = format!(
            "{A}  release-v3.28.4.tgz\r\n{b} *calicoctl-linux-amd64\n{}  ./metadata.yaml\n",
            A.to_ascii_uppercase()
        );
        let sums = PublishedSums::parse(&text);
        assert_eq!(sums.of("release-v3.28.4.tgz").map(Sha256Sum::as_str), Some(A));
        assert_eq!(sums.of("calicoctl-linux-amd64").map(Sha256Sum::as_str), Some(b.as_str()));
        assert_eq!(sums.of("metadata.yaml").map(Sha256Sum::as_str), Some(A));
    }

    #[test]
    fn what_is_no_sum_gives_none() {
        let other = "0".repeat(64);
        for text in [
            "<html>404</html>",
            "abc  file",
            &format!("{A}file"),
            &format!("{A}\tfile"),
            &format!("{A}  file\n{other}  file"),
            &format!("{A}  ../file"),
        ] {
            assert_eq!(PublishedSums::parse(text).of("file"), None, "{text}");
        }
    }

    #[test]
    fn a_files_sum_is_that_of_its_bytes() {
        assert_eq!(Sha256Sum::of(b"").as_str(), A);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes = vec![7; CHUNK + 1];
        std::fs::write(&path, &bytes).unwrap();
        let expected = (Sha256Sum::of(&bytes), bytes.len() as u64);
        assert_eq!(Sha256Sum::of_file(&path).unwrap(), expected);
    }

    #[test]
    fn a_sum_on_the_command_line_is_whole() {
        assert_eq!(format!("sha256:{A}").parse::<Sha256Sum>().unwrap().as_str(), A);
        for wrong in ["", "e3b0", &A.replace('e', "g"), &format!("{A}0")] {
            assert!(wrong.parse::<Sha256Sum>().is_err(), "{wrong}");
        }
    }
}
