//! Where the API server is reached without Services: which endpoints a cluster knows, and the proof that nodes reach one.

mod proof;
mod sources;
mod url;

pub use proof::{NodeProof, Stage};
pub use sources::{Candidate, Discovery, Source, discover};
pub use url::{EndpointError, parse_endpoint};
