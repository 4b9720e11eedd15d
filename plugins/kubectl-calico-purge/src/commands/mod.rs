//! One file per verb that only this plugin has; the others are in `common::verbs`.

pub(crate) mod all_state;
pub(crate) mod completion;
pub(crate) mod leftovers;
pub(crate) mod node;
pub(crate) mod pods;
mod refusal;
pub(crate) mod sandboxes;
