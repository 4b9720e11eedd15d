//! What this tool itself leaves.

pub(super) mod leftovers;
