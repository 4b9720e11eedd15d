//! Gets one file over https into its `.part`, and goes on where an earlier attempt ended.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, RANGE};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::folder::{create, make_directory, origin_of, remove};
use super::source::Address;
use super::{DownloadError, Transfer};

/// Time that setting up a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that may pass without a byte.
const SILENCE: Duration = Duration::from_secs(30);
/// Redirects that are followed; GitHub's assets need one.
const REDIRECTS: usize = 5;

/// A https client. It respects HTTPS_PROXY and NO_PROXY, and trusts what the system trusts (SSL_CERT_FILE and SSL_CERT_DIR
/// included).
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: Client,
}

/// Where a `.part` comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Origin {
    /// Address without credentials.
    address: String,
    /// Strong validator; without one nothing tells whether the rest would fit.
    etag: Option<String>,
    /// Bytes of the whole.
    total: Option<u64>,
}

/// One file to get.
pub(super) struct Wish<'a> {
    pub(super) address: &'a Address,
    pub(super) part: &'a Path,
    /// Most bytes that it can have.
    pub(super) limit: u64,
    /// What the progress line calls it.
    pub(super) name: &'a str,
}

impl Fetcher {
    /// A client that also trusts the PEM certificates in `authority`.
    ///
    /// # Errors
    /// When these are no certificates, or the system's cannot be used.
    pub fn new(authority: Option<&[u8]>) -> Result<Self, DownloadError> {
        // Fails only when a provider is there already, which is just as good.
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut builder = Client::builder()
            .https_only(true)
            .redirect(Policy::custom(follow))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE)
            .user_agent(concat!("kubectl-calico/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = authority {
            let certificates =
                Certificate::from_pem_bundle(pem).map_err(DownloadError::Authority)?;
            if certificates.is_empty() {
                return Err(DownloadError::NoCertificate);
            }
            builder = builder.tls_certs_merge(certificates);
        }
        builder.build().map(|client| Self { client }).map_err(DownloadError::Client)
    }

    /// Gets a file into its `.part`. What an earlier attempt left there is kept if the server says that the rest fits.
    ///
    /// # Errors
    /// When it could not be had as a whole. What has arrived stays for the next attempt.
    pub(super) async fn get(
        &self,
        wish: &Wish<'_>,
        progress: &dyn Transfer,
    ) -> Result<(), DownloadError> {
        if let Some(parent) = wish.part.parent() {
            make_directory(parent)?;
        }
        let kept = Kept::of(wish);
        if kept.as_ref().is_some_and(|it| it.origin.total == Some(it.have)) {
            return Ok(());
        }
        let response = self.ask(wish, kept.as_ref()).await?;
        if response.status() != StatusCode::RANGE_NOT_SATISFIABLE {
            return receive(wish, kept, response, progress).await;
        }
        // What is there is longer than the file has become.
        remove(wish.part)?;
        let response = self.ask(wish, None).await?;
        receive(wish, None, response, progress).await
    }

    async fn ask(&self, wish: &Wish<'_>, kept: Option<&Kept>) -> Result<Response, DownloadError> {
        let mut request = self.client.get(wish.address.0.clone());
        if let Some(kept) = kept {
            request =
                request.header(RANGE, format!("bytes={}-", kept.have)).header(IF_RANGE, &kept.etag);
        }
        // The client's own words name the address it came to, which may hold a signature.
        request.send().await.map_err(|source| DownloadError::Request {
            address: wish.address.to_string(),
            source: source.without_url(),
        })
    }
}

/// Follows a redirect to https only.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    if attempt.previous().len() > REDIRECTS {
        return attempt.error("too many redirects");
    }
    if attempt.url().scheme() != "https" {
        let host = attempt.url().host_str().unwrap_or_default().to_owned();
        return attempt
            .error(format!("it was redirected to {host} without https, which is refused"));
    }
    attempt.follow()
}

/// What an earlier attempt left, if it can be continued.
struct Kept {
    have: u64,
    etag: String,
    origin: Origin,
}

impl Kept {
    fn of(wish: &Wish<'_>) -> Option<Self> {
        let have = fs::symlink_metadata(wish.part).ok().filter(fs::Metadata::is_file)?.len();
        let origin: Origin = serde_json::from_slice(&fs::read(origin_of(wish.part)).ok()?).ok()?;
        let etag = origin.etag.clone()?;
        (have > 0 && have <= wish.limit && origin.address == wish.address.to_string())
            .then_some(Self { have, etag, origin })
    }
}

/// Writes an answer's body behind what is there, or over it.
async fn receive(
    wish: &Wish<'_>,
    kept: Option<Kept>,
    mut response: Response,
    progress: &dyn Transfer,
) -> Result<(), DownloadError> {
    let address = wish.address.to_string();
    let status = response.status();
    let (have, total) = match status {
        StatusCode::OK => (0, response.content_length()),
        StatusCode::PARTIAL_CONTENT => {
            let have = kept.as_ref().map_or(0, |it| it.have);
            let total = rest_of(response.headers(), have)
                .ok_or(DownloadError::WrongPart { address: address.clone(), have })?;
            (have, total)
        }
        other => return Err(DownloadError::Status { address, status: other.as_u16() }),
    };
    let too_large =
        || DownloadError::TooLarge { what: wish.address.to_string(), limit: wish.limit };
    if total.is_some_and(|total| total > wish.limit) {
        return Err(too_large());
    }
    let origin = Origin { address: address.clone(), etag: etag(response.headers()), total };
    let mut file = open(wish, have, &origin)?;
    progress.begin(wish.name, have, total);
    let mut at = have;
    let ended = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                at += chunk.len() as u64;
                if at > wish.limit {
                    progress.end();
                    return Err(too_large());
                }
                file.write_all(&chunk).map_err(DownloadError::disk("write", wish.part))?;
                progress.advance(chunk.len() as u64);
            }
            Ok(None) => break None,
            Err(source) => break Some(source.without_url()),
        }
    };
    progress.end();
    if ended.is_some() || total.is_some_and(|total| total != at) {
        return Err(DownloadError::BrokeOff { address, have: at, total, source: ended });
    }
    Ok(())
}

/// The `.part`, at byte `have`, and beside it where it comes from.
fn open(wish: &Wish<'_>, have: u64, origin: &Origin) -> Result<File, DownloadError> {
    if have > 0 {
        let mut options = OpenOptions::new();
        return options
            .append(true)
            .open(wish.part)
            .map_err(DownloadError::disk("write", wish.part));
    }
    // First the old bytes go, then their origin changes: never the reverse.
    let file = create(wish.part, true)?;
    let path = origin_of(wish.part);
    fs::write(&path, crate::report::json(origin)).map_err(DownloadError::disk("write", &path))?;
    Ok(file)
}

/// A validator that stands for every byte.
fn etag(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(ETAG)?.to_str().ok()?;
    (text.starts_with('"') && text.ends_with('"') && text.len() > 2).then(|| text.to_owned())
}

/// From `bytes 100-199/200`: the whole's size if it is known. None when the part is not the rest from byte `have` on.
#[expect(
    clippy::option_option,
    reason = "whether the part fits, and then whether its end is known"
)]
fn rest_of(headers: &HeaderMap, have: u64) -> Option<Option<u64>> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (range, total) = range.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    if have == 0 || first.parse() != Ok(have) {
        return None;
    }
    if total == "*" {
        return Some(None);
    }
    let (last, total): (u64, u64) = (last.parse().ok()?, total.parse().ok()?);
    (last.checked_add(1) == Some(total)).then_some(Some(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: reqwest::header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_part_must_be_the_rest() {
        let rest = |value: &str| rest_of(&headers(CONTENT_RANGE, value), 100);
        assert_eq!(rest("bytes 100-199/200"), Some(Some(200)));
        assert_eq!(rest("bytes 100-199/*"), Some(None));
        for wrong in [
            "bytes 0-199/200",
            "bytes 101-199/200",
            "bytes 100-150/200",
            "bytes */200",
            "items 100-199/200",
            "",
        ] {
            assert_eq!(rest(wrong), None, "{wrong}");
        }
        assert_eq!(rest_of(&HeaderMap::new(), 100), None);
        assert_eq!(
            rest_of(&headers(CONTENT_RANGE, "bytes 0-9/10"), 0),
            None,
            "nobody asked for a part"
        );
    }

    #[test]
    fn only_a_strong_validator_counts() {
        assert_eq!(etag(&headers(ETAG, "\"0x8DC\"")).as_deref(), Some("\"0x8DC\""));
        for weak in ["W/\"0x8DC\"", "\"", "\"\"", "0x8DC", ""] {
            assert_eq!(etag(&headers(ETAG, weak)), None, "{weak}");
        }
    }

    #[test]
    fn an_authority_holds_certificates() {
        assert!(Fetcher::new(None).is_ok());
        assert!(matches!(Fetcher::new(Some(b"no pem")), Err(DownloadError::NoCertificate)));
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(Fetcher::new(Some(broken)).is_err());
    }
}
