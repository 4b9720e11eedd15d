//! Which API group holds Calico's objects.

use std::collections::BTreeSet;

use super::builder::Definition;
use super::{Coverage, Flavour, Gap, GapReason, Known, Listing};
use crate::calico::names::{CRD_GROUP, V3_GROUP};
use crate::calico::{ClusterInformation, IpPool};

/// Lists of one group.
type Group = (Listing<ClusterInformation>, Listing<IpPool>);

/// What tells the flavour.
pub(super) struct Seen<'a> {
    pub(super) definitions: &'a Listing<Definition>,
    /// Names of `GET /apis`.
    pub(super) groups: Option<&'a BTreeSet<String>>,
    pub(super) crd: &'a Group,
    pub(super) v3: &'a Group,
}

impl Seen<'_> {
    /// Absent when the cluster serves neither group.
    pub(super) fn flavour(&self) -> Known<Flavour> {
        let crd = self.crd_is_stored();
        match (crd, self.v3_is_stored(crd)) {
            (Some(true), Some(true)) => self.of_both(),
            (_, Some(true)) => Known::Known(Flavour::NativeV3),
            (Some(true), _) => Known::Known(Flavour::CrdV1),
            (Some(false), Some(false)) => Known::Absent,
            _ => self.unknown(),
        }
    }

    /// Definitions of both groups are there for as long as a migration takes, and longer when nobody cleans up: objects in the
    /// old group are what counts. When they could not be read, nobody knows.
    fn of_both(&self) -> Known<Flavour> {
        let (information, pools) = self.crd;
        if !information.items.is_empty() || !pools.items.is_empty() {
            Known::Known(Flavour::Migrating)
        } else if information.is_whole() && pools.is_whole() {
            Known::Known(Flavour::NativeV3)
        } else {
            self.unknown()
        }
    }

    fn unknown(&self) -> Known<Flavour> {
        let (information, pools) = self.crd;
        let gap = [&information.gap, &pools.gap, &self.definitions.gap]
            .into_iter()
            .find_map(Option::clone);
        let nobody_asked = || {
            Gap::new(
                "cluster/api/apis.json",
                GapReason::NotAsked,
                "neither group of Calico was looked for",
            )
        };
        Known::Unknown(gap.unwrap_or_else(nobody_asked))
    }

    /// True when Calico's objects should be read from `projectcalico.org`.
    pub(super) fn reads_v3(&self) -> bool {
        self.flavour() == Known::Known(Flavour::NativeV3)
    }

    fn crd_is_stored(&self) -> Option<bool> {
        if served(self.crd)
            || self.defines(CRD_GROUP)
            || self.groups.is_some_and(|it| it.contains(CRD_GROUP))
        {
            return Some(true);
        }
        let missing = self.groups.is_some() || self.definitions.is_whole() || not_served(self.crd);
        missing.then_some(false)
    }

    /// Objects of this group may also come from Calico's aggregated API server, which stores them as the other group: only when that
    /// one is not there, or definitions say so, are they stored in this one.
    fn v3_is_stored(&self, crd: Option<bool>) -> Option<bool> {
        if self.defines(V3_GROUP) {
            return Some(true);
        }
        if self.definitions.is_whole() {
            return Some(false);
        }
        let answers = served(self.v3) || self.groups.is_some_and(|it| it.contains(V3_GROUP));
        match crd {
            Some(false) if answers => Some(true),
            Some(false) if self.groups.is_some() || not_served(self.v3) => Some(false),
            _ => None,
        }
    }

    fn defines(&self, group: &str) -> bool {
        let of = |definition: &Definition| {
            definition.metadata.name.split_once('.').is_some_and(|(_, its)| its == group)
        };
        self.definitions.items.iter().any(of)
    }
}

fn served(group: &Group) -> bool {
    group.0.coverage != Coverage::None || group.1.coverage != Coverage::None
}

fn not_served(group: &Group) -> bool {
    let is = |gap: Option<&Gap>| gap.is_some_and(|gap| gap.why == GapReason::NotServed);
    is(group.0.gap.as_ref()) && is(group.1.gap.as_ref())
}
