//! The way to the eBPF data plane and back, as plans. Each step's undo is the way back from it, so that a run that failed, was
//! cut off or is not wanted any more is taken back by the same steps in the opposite order: kube-proxy serves again, proven with
//! a new Service, before BPF goes.

mod enable;
mod ground;
pub(super) mod judge;
mod proof;
mod steps;
pub(super) mod words;

pub use enable::plan_enable;
pub use ground::{
    ENDPOINT_MAP, Ground, KUBE_PROXY_OFF, Object, Objects, Wish, companion_names,
    installation_name, kube_proxy_name, named, operator_name,
};
pub use proof::{ProofTarget, Question, ServiceProof, Translator, Vantage};
