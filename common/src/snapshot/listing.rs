//! A list of one kind together with what it covers.

use jiff::Timestamp;
use serde::Serialize;

use super::{Coverage, Gap, Known};

/// The objects of one kind that were read.
#[derive(Clone, Debug, Serialize)]
pub struct Listing<T> {
    /// The objects, in the order of the answers.
    pub items: Vec<T>,
    /// Which objects were asked for.
    pub coverage: Coverage,
    /// Why nothing, or not everything that was asked for, is here.
    pub gap: Option<Gap>,
    /// When the last answer came.
    pub at: Option<Timestamp>,
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self { items: Vec::new(), coverage: Coverage::None, gap: None, at: None }
    }
}

impl<T> Listing<T> {
    /// The same list of something else.
    pub(super) fn map<U>(self, to: impl FnMut(T) -> U) -> Listing<U> {
        let Self { items, coverage, gap, at } = self;
        Listing { items: items.into_iter().map(to).collect(), coverage, gap, at }
    }

    /// True when the list holds every object of its kind, so that what is not in it does not exist.
    pub fn is_whole(&self) -> bool {
        self.coverage == Coverage::All && self.gap.is_none()
    }

    /// The items when any answer came; otherwise why not.
    pub fn get(&self) -> Known<&[T]> {
        match (&self.coverage, &self.gap) {
            (Coverage::None, Some(gap)) => Known::Unknown(gap.clone()),
            (Coverage::None, None) => Known::Absent,
            _ => Known::Known(&self.items),
        }
    }

    /// The one item that `is_it` picks: absent only when the list is whole.
    pub fn find(&self, what: &str, is_it: impl Fn(&T) -> bool) -> Known<&T> {
        use super::GapReason::NotAsked;
        match self.items.iter().find(|item| is_it(item)) {
            Some(item) => Known::Known(item),
            None if self.is_whole() => Known::Absent,
            None => Known::Unknown(self.gap.clone().unwrap_or_else(|| {
                Gap::new(what, NotAsked, "not among the objects that were read")
            })),
        }
    }
}
