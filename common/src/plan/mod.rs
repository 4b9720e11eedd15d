//! Plans: what to do about findings, as data. Nothing here acts.

mod condition;
mod model;
mod remedies;

pub use condition::{Condition, PodRef};
pub use model::{
    Action, Applicability, Guard, LeftOut, ObjectRef, Plan, PlanId, Step, StepId, Target, Undo,
    Verification,
};
pub use remedies::{RemedyName, plan_for};
