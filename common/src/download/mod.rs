//! Artefacts of Calico releases: fetched on request, verified, and kept for repairs without a network.
//!
//! What is kept, in the user's cache directory:
//!
//! ```text
//! kubectl-calico/v3.28.4/record.json            sum, size, proof and origin of each file below
//!                        SHA256SUMS             as published
//!                        release-v3.28.4.tgz    images, manifests, CNI plugins
//!                        manifests/*.yaml       calico.yaml, crds.yaml, operator-crds.yaml, …
//!                        cni/<arch>/<plugin>    taken out of the archive when a repair needs it
//! ```
//!
//! A file gets its name only after its sum was found right, and is hashed again whenever it is used. The sums:
//!
//! - the archive: what SHA256SUMS of the release says, or `--sha256`; without either it is refused;
//! - what is in a verified archive is proven by it: manifests and plugins;
//! - SHA256SUMS itself, and manifests that are fetched alone, have no published sum. They come over https, and their sum is
//!   recorded at the first download: a later change on disk is noticed, a lie of the server at that time is not, and
//!   reports say "not published".

mod archive;
mod bar;
mod cache;
mod error;
mod fetch;
mod folder;
mod release;
mod source;
mod sums;
#[cfg(test)]
mod test_release;
mod version;

pub use bar::{Bar, Silent, Transfer};
pub use cache::{Cache, CniBinary};
pub use error::DownloadError;
pub use fetch::Fetcher;
pub use folder::{Proof, RecordedFile};
pub use release::{Done, Download, FileState, Import, ReleaseFile, Selection, download, import};
pub use source::Source;
pub use sums::Sha256Sum;
pub use version::ReleaseVersion;
