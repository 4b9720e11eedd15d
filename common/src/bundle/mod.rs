//! Bundles: a folder or `.tar.gz` of what an API server and probes said. Read into the same records as a live cluster gives,
//! written from them.

mod archive;
#[cfg(test)]
mod archive_tests;
mod error;
mod folder;
mod loose;
mod manifest;
mod reader;
mod redaction;
mod writer;
#[cfg(test)]
mod writer_tests;

pub use error::BundleError;
pub use manifest::{API_VERSION, FileEntry, KIND, MANIFEST, Manifest};
pub use reader::{load, read};
pub use redaction::redact;
pub use writer::Writer;
