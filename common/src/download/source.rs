//! Where release artefacts come from: the public places, or a mirror with one layout.
//!
//! A mirror holds, below its address, one folder per version:
//!
//! ```text
//! <mirror>/v3.28.4/SHA256SUMS
//! <mirror>/v3.28.4/release-v3.28.4.tgz
//! <mirror>/v3.28.4/manifests/calico.yaml
//! ```

use std::fmt;

use reqwest::Url;

use super::{DownloadError, ReleaseVersion};

/// Assets of releases: the archive and SHA256SUMS.
const ASSETS: &str = "https://github.com/projectcalico/calico/releases/download";
/// Files of the source tree at a tag: the manifests.
const TREE: &str = "https://raw.githubusercontent.com/projectcalico/calico";

/// Where to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Calico's own release page and source tree.
    #[default]
    Public,
    /// A mirror, see the module's layout.
    Mirror(Url),
}

impl Source {
    /// A mirror at `address`.
    ///
    /// # Errors
    /// When it is no https address, or has a query.
    pub fn mirror(address: &str) -> Result<Self, DownloadError> {
        let wrong = || DownloadError::Mirror(without_credentials(address));
        let mut url = Url::parse(address).map_err(|_| wrong())?;
        if url.scheme() != "https" || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong());
        }
        let path = format!("{}/", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(Self::Mirror(url))
    }

    /// Address of a file of `version`; `name` is its path in a mirror's folder of that version.
    pub(super) fn address(
        &self,
        version: &ReleaseVersion,
        name: &str,
    ) -> Result<Address, DownloadError> {
        let text = match self {
            Self::Mirror(base) => format!("{base}{version}/{name}"),
            Self::Public if name.starts_with("manifests/") => format!("{TREE}/{version}/{name}"),
            Self::Public => format!("{ASSETS}/{version}/{name}"),
        };
        Url::parse(&text)
            .map(Address)
            .map_err(|_| DownloadError::Mirror(without_credentials(&text)))
    }
}

/// An address to get. Shown without user name and password, which a mirror's may hold.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address(pub(super) Url);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_credentials(self.0.as_str()))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `text` without what stands before an `@` in the host's part, also when it is no valid address.
fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("//") else { return text.to_owned() };
    let (host, path) = match rest.find(['/', '?', '#']) {
        Some(place) => rest.split_at_checked(place).unwrap_or((rest, "")),
        None => (rest, ""),
    };
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}//{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> ReleaseVersion {
        "v3.28.4".parse().unwrap()
    }

    #[test]
    fn public_artefacts_are_where_calico_puts_them() {
        let of = |name| Source::Public.address(&version(), name).unwrap().to_string();
        assert_eq!(
            of("release-v3.28.4.tgz"),
            "https://github.com/projectcalico/calico/releases/download/v3.28.4/release-v3.28.4.tgz"
        );
        assert_eq!(
            of("manifests/crds.yaml"),
            "https://raw.githubusercontent.com/projectcalico/calico/v3.28.4/manifests/crds.yaml"
        );
    }

    #[test]
    fn a_mirror_has_one_folder_per_version() {
        for base in ["https://m.example/calico", "https://m.example/calico//"] {
            let mirror = Source::mirror(base).unwrap();
            let address = mirror.address(&version(), "manifests/calico.yaml").unwrap();
            assert_eq!(
                address.to_string(),
                "https://m.example/calico/v3.28.4/manifests/calico.yaml"
            );
        }
    }

    #[test]
    fn only_https_will_do() {
        for wrong in
            ["http://m", "ftp://m", "m.example", "file:///x", "https://m/?a=b", "https://m/#a", ""]
        {
            assert!(Source::mirror(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mirrors_password_is_not_shown() {
        let mirror = Source::mirror("https://jane:hunter2@m.example:8443/c").unwrap();
        let address = mirror.address(&version(), "SHA256SUMS").unwrap();
        assert_eq!(address.to_string(), "https://m.example:8443/c/v3.28.4/SHA256SUMS");
        assert!(!format!("{address:?}").contains("hunter2"));
        let wrong = Source::mirror("http://jane:hunter2@m.example").unwrap_err();
        assert!(!wrong.to_string().contains("hunter2"), "{wrong}");
    }
}
