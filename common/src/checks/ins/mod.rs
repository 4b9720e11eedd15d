//! The install as a whole.

pub(super) mod not_one_install;
