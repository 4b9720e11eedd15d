//! What Calico IPAM stores: read for `calico-ipam`, and not asked for elsewhere.

use serde::de::DeserializeOwned;

use super::builder::{Collected, Last};
use super::scrub::Kept;
use super::{Gap, Listing, Record, Resource};
use crate::calico::ipam::{
    BlockAffinity, IpReservation, IpamBlock, IpamConfig, IpamConfiguration, IpamHandle,
    KubeControllersConfiguration,
};
use crate::calico::names::{CRD_GROUP, V3_GROUP};
use crate::slim::Service;

/// What Calico IPAM stores, and the Services that have addresses of its pools.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// Blocks of addresses.
    pub blocks: Listing<IpamBlock>,
    /// Handles.
    pub handles: Listing<IpamHandle>,
    /// Affinities.
    pub affinities: Listing<BlockAffinity>,
    /// Settings; there is one, `default`, or none.
    pub configurations: Listing<IpamConfig>,
    /// Ranges that nobody gets.
    pub reservations: Listing<IpReservation>,
    /// Settings of calico-kube-controllers; there is one, `default`, or none.
    pub controllers: Listing<KubeControllersConfiguration>,
    /// Services.
    pub services: Listing<Service>,
}

/// Lists of Calico IPAM while they come in, of one API group.
#[derive(Debug, Default)]
struct Group {
    blocks: Collected<IpamBlock>,
    handles: Collected<IpamHandle>,
    affinities: Collected<BlockAffinity>,
    configs: Collected<IpamConfig>,
    configurations: Collected<IpamConfiguration>,
    reservations: Collected<IpReservation>,
    controllers: Collected<KubeControllersConfiguration>,
}

/// The same of both groups.
#[derive(Debug, Default)]
pub(super) struct CollectedAddresses {
    crd: Group,
    v3: Group,
    services: Collected<Service>,
}

impl CollectedAddresses {
    /// Takes a record of a kind that is read here.
    pub(super) fn take(&mut self, resource: &Resource, record: &Record, gaps: &mut Vec<Gap>) {
        match resource.group.as_str() {
            CRD_GROUP => self.crd.take(&resource.plural, record, gaps),
            V3_GROUP => self.v3.take(&resource.plural, record, gaps),
            "" if resource.plural == "services" => self.services.take(record, gaps),
            _ => {}
        }
    }

    /// What came, of the group that holds Calico's objects.
    pub(super) fn finish(self, last: &mut Last, reads_v3: bool) -> Addresses {
        let (group, name) = if reads_v3 { (self.v3, V3_GROUP) } else { (self.crd, CRD_GROUP) };
        let configurations = if reads_v3 {
            listing(last, "ipamconfigurations", name, group.configurations).map(IpamConfig::from)
        } else {
            listing(last, "ipamconfigs", name, group.configs)
        };
        Addresses {
            blocks: listing(last, "ipamblocks", name, group.blocks),
            handles: listing(last, "ipamhandles", name, group.handles),
            affinities: listing(last, "blockaffinities", name, group.affinities),
            configurations,
            reservations: listing(last, "ipreservations", name, group.reservations),
            controllers: listing(last, "kubecontrollersconfigurations", name, group.controllers),
            services: listing(last, "services", "", self.services),
        }
    }
}

impl Group {
    fn take(&mut self, plural: &str, record: &Record, gaps: &mut Vec<Gap>) {
        match plural {
            "ipamblocks" => self.blocks.take(record, gaps),
            "ipamhandles" => self.handles.take(record, gaps),
            "blockaffinities" => self.affinities.take(record, gaps),
            "ipamconfigs" => self.configs.take(record, gaps),
            "ipamconfigurations" => self.configurations.take(record, gaps),
            "ipreservations" => self.reservations.take(record, gaps),
            "kubecontrollersconfigurations" => self.controllers.take(record, gaps),
            _ => {}
        }
    }
}

fn listing<T: DeserializeOwned + Kept>(
    last: &mut Last,
    plural: &str,
    group: &str,
    collected: Collected<T>,
) -> Listing<T> {
    last.optional(&Resource::new(plural, group).to_string(), collected)
}
