//! The install as a whole.

pub(super) mod definitions_gone;
pub(super) mod not_one_install;
