//! Versions of Calico, its operator and kernels.

use core::fmt;

use super::Situation;
use crate::snapshot::{Gap, GapReason, Known};

/// A release of Calico or of its operator: `v3.30.4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CalicoVersion(pub u32, pub u32, pub u32);

impl CalicoVersion {
    /// Of `v3.30.4`, `3.30`, `v3.31.0-0.dev-12`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches('v');
        let numbers = text.split(['-', '+']).next()?;
        let mut numbers = numbers.split('.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        let patch = numbers.next().map_or(Some(0), |it| it.parse().ok())?;
        Some(Self(major, minor, patch))
    }

    /// Of the tag of an image: `quay.io/tigera/operator:v1.34.5@sha256:…`.
    pub fn of_image(image: &str) -> Option<Self> {
        let name = image.split('@').next()?.rsplit('/').next()?;
        Self::parse(name.split_once(':')?.1)
    }

    /// Of the install that was seen.
    pub fn of_install(situation: &Situation<'_>) -> Known<Self> {
        situation.snapshot.install.as_ref().and_then(|install| {
            match install.version.as_deref().and_then(Self::parse) {
                Some(version) => Known::Known(version),
                None => Known::Unknown(Gap::new(
                    "cluster/clusterinformations",
                    GapReason::Undecodable,
                    "which version of Calico this is could not be told",
                )),
            }
        })
    }

    /// Whether this release has a fix that came with these releases: each is the first one of its minor release that has it,
    /// and so have all later minor releases.
    pub fn has_fix(self, fixed: &[Self]) -> bool {
        let of_minor = fixed.iter().find(|it| (it.0, it.1) == (self.0, self.1));
        let last = fixed.iter().max();
        match of_minor {
            Some(first) => self >= *first,
            None => last.is_some_and(|last| self > *last),
        }
    }
}

impl fmt::Display for CalicoVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A kernel's release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Major, minor and patch.
    pub number: (u32, u32, u32),
    /// The number after the dash: of the distribution's builds.
    pub build: u32,
    /// Whether it is one of Red Hat's (or of those who rebuild theirs), with newer parts than its number tells.
    pub red_hat: bool,
    /// As it calls itself: `4.18.0-305.el8.x86_64`.
    pub release: String,
}

impl Kernel {
    /// Of a release (`uname -r`) or of /proc/version.
    pub fn parse(text: &str) -> Option<Self> {
        let release = match text.strip_prefix("Linux version ") {
            Some(rest) => rest.split(' ').next()?,
            None => text.trim(),
        };
        let (number, rest) = release.split_once(['-', '+', '_']).unwrap_or((release, ""));
        let mut parts = number.split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        // Some distributions write more than three parts, or letters after the third: 5.10.0, 6.1.7.fc37
        let patch = digits(parts.next().unwrap_or("0")).unwrap_or(0);
        Some(Self {
            number: (major, minor, patch),
            build: digits(rest).unwrap_or(0),
            // Oracle's own kernels call themselves el8uek, and are what their number says.
            red_hat: is_enterprise_linux(release) && !release.contains("uek"),
            release: release.to_owned(),
        })
    }

    /// The kernel of a node: as the look saw it, else as the kubelet reported it.
    pub fn of_node(situation: &Situation<'_>, name: &str) -> Known<Self> {
        let seen = situation.nodes.get(name).and_then(|it| it.known()).map(|it| &it.kernel);
        let reported = || {
            let node = situation.snapshot.nodes.items.iter().find(|it| it.metadata.name == name)?;
            Self::parse(&node.status.node_info.kernel_version)
        };
        if let Some(kernel) = seen.and_then(|it| it.known()).and_then(|it| Self::parse(it)) {
            return Known::Known(kernel);
        }
        reported().map_or_else(
            || {
                Known::Unknown(Gap::new(
                    format!("nodes/{name}/bpf.txt#kernel"),
                    GapReason::Undecodable,
                    "the node's kernel could not be told",
                ))
            },
            Known::Known,
        )
    }
}

fn digits(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

/// `.el8`, `.el8_4`
fn is_enterprise_linux(release: &str) -> bool {
    release
        .split('.')
        .filter_map(|it| it.strip_prefix("el"))
        .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(CalicoVersion::parse("v3.30.4"), Some(CalicoVersion(3, 30, 4)));
        assert_eq!(CalicoVersion::parse("3.31.0-0.dev"), Some(CalicoVersion(3, 31, 0)));
        assert_eq!(CalicoVersion::parse("master"), None);
        let image = "registry:5000/tigera/operator:v1.34.5@sha256:0";
        assert_eq!(CalicoVersion::of_image(image), Some(CalicoVersion(1, 34, 5)));
        assert_eq!(CalicoVersion::of_image("registry:5000/operator"), None);
    }

    #[test]
    fn fixes_are_of_minor_releases() {
        let fixed = [CalicoVersion(3, 29, 7), CalicoVersion(3, 30, 5), CalicoVersion(3, 31, 3)];
        let has = |text: &str| CalicoVersion::parse(text).unwrap().has_fix(&fixed);
        assert!(has("v3.29.7") && has("v3.30.5") && has("v3.32.0") && has("v3.31.3"));
        assert!(!has("v3.29.6") && !has("v3.30.4") && !has("v3.31.2") && !has("v3.28.5"));
    }

    #[test]
    fn kernels_are_read() {
        let of = |text: &str| Kernel::parse(text).unwrap();
        let red_hat = of("4.18.0-305.el8.x86_64");
        assert_eq!((red_hat.number, red_hat.build, red_hat.red_hat), ((4, 18, 0), 305, true));
        assert!(of("4.18.0-193.14.3.el8_2.x86_64").red_hat);
        assert!(!of("5.4.17-2136.300.7.el8uek.x86_64").red_hat);
        assert!(!of("5.15.0-1051-azure.elx").red_hat);
        let version =
            of("Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org) (gcc-12) #1 SMP");
        assert_eq!((version.number, version.release.as_str()), ((6, 1, 0), "6.1.0-18-amd64"));
        assert_eq!(of("6.18.44+").number, (6, 18, 44));
        assert_eq!(of("6.1.7.fc37.x86_64").number, (6, 1, 7));
        assert_eq!(Kernel::parse("linux"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(text in "(Linux version |[0-9]{1,11}|\\.|-|\\+|el8|ñ| ){0,20}") {
            let kernel = Kernel::parse(&text);
            prop_assert!(kernel.is_none_or(|it| !it.release.is_empty()));
            let of_image = CalicoVersion::of_image(&text);
            prop_assert!(of_image.is_none() || text.contains(':'));
            prop_assert_eq!(CalicoVersion::parse(&text).is_some(), CalicoVersion::parse(&format!("v{}", text.trim_start())).is_some());
        }
    }
}
