//! The table of all checks.

use super::CheckMeta;

/// All checks, sorted by code. Kept by hand: a new check is added here, and a snapshot test shows it in review.
pub static ALL: &[&CheckMeta] = &[];

/// The check with this code, in any case of letters.
pub fn find(code: &str) -> Option<&'static CheckMeta> {
    ALL.iter().copied().find(|check| check.code.0.eq_ignore_ascii_case(code))
}
