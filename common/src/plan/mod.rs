//! Plans: what to do about findings, as data. Nothing here acts.

mod condition;
pub mod describe;
pub mod ebpf;
pub mod host;
mod id;
pub mod ipam;
mod judge;
mod lingering;
mod model;
mod outcome;
mod patch;
pub mod pods;
pub mod purge;
mod rehearsal;
mod remedies;
pub mod safeguards;

pub use condition::{Condition, DataPlane, PodRef};
pub use host::{
    BinarySource, Expected, FileContent, HostOperation, IpFamily, LOOPBACK_SECONDS, NftFamily,
    NftTable, ProgramHook, RulesBackend, SandboxRef,
};
pub use judge::{BackupFacts, Observed, Verdict, judge};
pub use lingering::LingeringPod;
pub use model::{
    Action, Applicability, DEFAULT_PARALLEL, Guard, LeftOut, ObjectRef, Plan, PlanId, Step, StepId,
    Target, Undo, Verification,
};
pub use outcome::{Outcome, RunResult, StepOutcome, StepState, Verified};
pub use patch::{Aim, JsonPatch, PatchOperation, pointer};
pub use rehearsal::{Answer, Rehearsed};
pub use remedies::{Order, RemedyName, plan_for};
