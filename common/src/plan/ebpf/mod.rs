//! The way to the eBPF data plane and back, as plans. Each step's undo is the way back from it, so that a run that failed, was
//! cut off or is not wanted any more is taken back by the same steps in the opposite order: kube-proxy serves again, proven with
//! a new Service, before BPF goes.

mod disable;
mod enable;
mod ground;
pub(super) mod judge;
mod objects;
mod proof;
mod steps;
mod stuck;
pub(super) mod words;

pub use disable::{plan_disable, plan_kube_proxy_on};
pub use enable::plan_enable;
pub use ground::{Done, Ground, KUBE_PROXY_OFF, Object, Objects, ProxyRules, Wish, named};
pub use objects::Missing;
pub use proof::{ProofTarget, Question, ServiceProof, Translator, Vantage};
pub use stuck::{unready, why as why_unready};
