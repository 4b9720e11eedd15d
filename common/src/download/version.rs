//! Versions of Calico releases, safe to be part of a path and of a URL.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::DownloadError;

/// The version of a release, as its git tag has it: `v3.28.4`, `v3.30.0-1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct ReleaseVersion {
    major: u64,
    minor: u64,
    patch: u64,
    /// `-1`, `-beta1`; mostly empty.
    suffix: String,
}

/// Longest version that is read; real ones have some ten characters.
const LONGEST: usize = 64;
/// First minor release of v3 whose archive holds no CNI plugins: they are in the image `calico/calico` only.
const WITHOUT_PLUGINS_SINCE: (u64, u64) = (3, 33);

impl ReleaseVersion {
    /// The file name of the release archive.
    pub fn archive_name(&self) -> String {
        format!("release-{self}.tgz")
    }

    /// The version in the file name of a release archive.
    pub fn of_archive_name(name: &str) -> Option<Self> {
        name.strip_prefix("release-")?.strip_suffix(".tgz")?.parse().ok()
    }

    /// True when the release archive holds the CNI plugins as plain files.
    pub fn ships_plugins(&self) -> bool {
        (self.major, self.minor) < WITHOUT_PLUGINS_SINCE
    }
}

impl FromStr for ReleaseVersion {
    type Err = DownloadError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| DownloadError::Version(text.chars().take(LONGEST).collect()))
    }
}

fn parse(text: &str) -> Option<ReleaseVersion> {
    if text.len() > LONGEST {
        return None;
    }
    let text = text.strip_prefix('v').unwrap_or(text);
    let (numbers, suffix) = match text.find('-') {
        Some(place) => text.split_at_checked(place)?,
        None => (text, ""),
    };
    // What is left can neither leave a directory nor hide in one.
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.');
    if !suffix.chars().all(is_plain) || suffix == "-" || suffix.contains("..") {
        return None;
    }
    let mut parts = numbers.split('.').map(number);
    let (major, minor, patch) = (parts.next()??, parts.next()??, parts.next()??);
    let whole = parts.next().is_none();
    whole.then(|| ReleaseVersion { major, minor, patch, suffix: suffix.to_owned() })
}

/// Digits only: `parse` would take `+3` as well.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for ReleaseVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}.{}{}", self.major, self.minor, self.patch, self.suffix)
    }
}

impl From<ReleaseVersion> for String {
    fn from(version: ReleaseVersion) -> Self {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_tags() {
        for (text, shown) in
            [("v3.28.4", "v3.28.4"), ("3.30.0", "v3.30.0"), ("v3.31.0-1", "v3.31.0-1")]
        {
            assert_eq!(text.parse::<ReleaseVersion>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_could_leave_a_directory_is_no_version() {
        for text in [
            "",
            "v",
            "latest",
            "master",
            "v3",
            "v3.28",
            "3.28.4.1",
            "v3.28.x",
            "+3.2.1",
            "v3.28.4-../../etc",
            "v3.28.4/..",
            "..",
            "v3.28.4-",
            "v3.28.4-a b",
            "v3.28.4\n",
            "v3.28.4-é",
        ] {
            assert!(text.parse::<ReleaseVersion>().is_err(), "{text:?}");
        }
        assert!(format!("v3.28.4-{}", "a".repeat(100)).parse::<ReleaseVersion>().is_err());
    }

    #[test]
    fn archives_name_their_version() {
        let version: ReleaseVersion = "v3.28.4".parse().unwrap();
        assert_eq!(ReleaseVersion::of_archive_name(&version.archive_name()), Some(version));
        assert_eq!(ReleaseVersion::of_archive_name("release-v3.28.4.tar"), None);
        assert_eq!(ReleaseVersion::of_archive_name("calico.tgz"), None);
    }

    #[test]
    fn plugins_left_the_archive() {
        let ships = |text: &str| text.parse::<ReleaseVersion>().unwrap().ships_plugins();
        assert!(ships("v3.25.0") && ships("v3.32.9"));
        assert!(!ships("v3.33.0") && !ships("v4.0.0"));
    }
}
