//! The way to the eBPF data plane and back, as plans. Each step's undo is the way back from it, so that a run that failed, was
//! cut off or is not wanted any more is taken back by the same steps in the opposite order: kube-proxy serves again, proven with
//! a new Service, before BPF goes.

pub(super) mod judge;
mod proof;
pub(super) mod words;

pub use proof::{ProofTarget, Question, ServiceProof, Translator, Vantage};
