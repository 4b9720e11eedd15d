//! What checks say: findings with evidence, and the root causes behind them.

mod code;
mod diagnosis;
mod evidence;
mod finding;
mod sink;

pub use code::{Code, Severity};
pub use diagnosis::{CheckOutcome, CheckState, Diagnosis, Root};
pub use evidence::Evidence;
pub use finding::{Cause, Confidence, Finding, FindingId, Subject, SubjectKind};
pub use sink::{Findings, Unjudged};
