//! The books of one block: its addresses, and what handles count of them.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::witnesses::used;
use super::{Held, IpamApi, Tries, ended, metadata};
use crate::cluster::{ApiError, Cluster, Write};
use crate::execute::cluster_operations::unread;
use crate::execute::{PerformError, Performed};
use crate::ipam::edit::{self, EditError};
use crate::plan::ObjectRef;
use crate::plan::ipam::{BlockRef, handles_of};

/// Handles that are worked on at once.
const PARALLEL: usize = 8;
/// A handle that counts more than its block has may be one that an address is just taken under: Calico writes the handle first.
/// It is left alone until it was so for this long without a change.
const SETTLED: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 2000 });

/// A block, and who changes it.
#[derive(Clone, Copy)]
pub(super) struct Books<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) api: &'a IpamApi,
    pub(super) block: &'a BlockRef,
    pub(super) write: Write<'a>,
}

impl Books<'_> {
    fn object(&self) -> ObjectRef {
        self.api.block(&self.block.name)
    }

    /// The block; none when it is gone, or as good as that.
    async fn found(&self) -> Result<Option<Value>, ApiError> {
        let found = self.cluster.get_json(&self.object()).await?;
        Ok(found.filter(|it| !edit::is_deleted(it)))
    }

    /// Those that are still held as they were seen.
    fn held<'h>(block: &Value, addresses: &'h [Held]) -> Result<Vec<&'h Held>, EditError> {
        let mut held = Vec::new();
        for it in addresses {
            if edit::is_held(block, it)? {
                held.push(it);
            }
        }
        Ok(held)
    }

    /// Releases them, and counts them off their handles. An earlier attempt may have done the one and not the other.
    pub(super) async fn release(
        &self,
        addresses: &[Held],
        rest: Option<&str>,
    ) -> Result<Performed, PerformError> {
        let (mut acted, mut left, mut freed) = (false, BTreeMap::new(), BTreeSet::new());
        let mut tries = Tries::new();
        while let Some(mut block) = self.found().await.map_err(|error| unread(&error))? {
            let held = Self::held(&block, addresses).map_err(odd)?;
            left = used(self.cluster, &held).await.map_err(|error| unread(&error))?;
            let wanted = addresses.iter().filter(|it| !left.contains_key(&it.address));
            let edited = edit::release(&mut block, wanted, rest).map_err(odd)?;
            left.extend(edited.skipped);
            if edited.changed.is_empty() {
                break;
            }
            match self.cluster.update(&self.object(), &block, self.write).await {
                Ok(_) => {
                    acted = true;
                    freed.extend(edited.changed);
                    break;
                }
                Err(error) => acted |= tries.again(error, &self.object()).await?,
            }
        }
        let freed_under = |handle: &str| {
            let is_its =
                |it: &&Held| it.handle.as_deref() == Some(handle) && freed.contains(&it.address);
            addresses.iter().filter(is_its).count()
        };
        let all: Vec<(&str, usize)> =
            handles_of(addresses).into_iter().map(|it| (it, freed_under(it))).collect();
        acted |= self.settle_all(all).await?;
        Ok(ended(acted, lines(left)))
    }

    /// Gives them back. Handles are counted up first, as whoever takes an address does it.
    pub(super) async fn give_back(&self, addresses: &[Held]) -> Result<Performed, PerformError> {
        let mut acted = false;
        let mut tries = Tries::new();
        loop {
            let block = self.found().await.map_err(|error| unread(&error))?;
            let Some(block) = block else {
                return Err(PerformError::Refused("the block is gone".to_owned()));
            };
            let mut back = block.clone();
            let edited = edit::give_back(&mut back, addresses).map_err(odd)?;
            if !edited.changed.is_empty() {
                let given: BTreeSet<IpAddr> = edited.changed.iter().copied().collect();
                self.raise_all(&block, addresses, &given).await?;
                match self.cluster.update(&self.object(), &back, self.write).await {
                    Ok(_) => acted = true,
                    Err(error) => {
                        acted |= tries.again(error, &self.object()).await?;
                        continue;
                    }
                }
            }
            // What an attempt counted up for an address that another one got by now.
            let refused: BTreeSet<IpAddr> = edited.skipped.iter().map(|it| it.0).collect();
            let its = addresses.iter().filter(|it| refused.contains(&it.address));
            let all: BTreeSet<&str> = its.filter_map(|it| it.handle.as_deref()).collect();
            self.settle_all(all.into_iter().map(|it| (it, 0)).collect()).await?;
            let left = lines(edited.skipped.into_iter().collect());
            if edited.changed.is_empty() && edited.already.is_empty() && !left.is_empty() {
                return Err(PerformError::Refused(left.join("; ")));
            }
            return Ok(ended(acted, left));
        }
    }

    /// What is not released yet although nobody uses it, and what handles count too many.
    pub(super) async fn left_to_release(&self, all: &[Held]) -> Result<Vec<String>, ApiError> {
        let block = self.found().await?;
        let mut left = Vec::new();
        if let Some(block) = &block {
            let held = Self::held(block, all).map_err(|error| other(self, &error))?;
            let used = used(self.cluster, &held).await?;
            let idle = held.iter().filter(|it| !used.contains_key(&it.address));
            left.extend(idle.map(|it| format!("{} is still held", it.address)));
        }
        let wrong = |counted: i64, real: i64| counted > real;
        left.extend(self.miscounted(block.as_ref(), all, wrong).await?);
        Ok(left)
    }

    /// What is free although it was to be given back, and what handles count too few.
    pub(super) async fn left_to_give_back(&self, all: &[Held]) -> Result<Vec<String>, ApiError> {
        let Some(block) = self.found().await? else {
            return Ok(vec![format!("block {} is gone", self.block.cidr)]);
        };
        let edited =
            edit::give_back(&mut block.clone(), all).map_err(|error| other(self, &error))?;
        let mut left: Vec<String> =
            edited.changed.iter().map(|it| format!("{it} is not held again")).collect();
        let wrong = |counted: i64, real: i64| counted < real;
        left.extend(self.miscounted(Some(&block), all, wrong).await?);
        Ok(left)
    }

    async fn miscounted(
        &self,
        block: Option<&Value>,
        addresses: &[Held],
        is_wrong: impl Fn(i64, i64) -> bool,
    ) -> Result<Vec<String>, ApiError> {
        let look = |handle: &str| {
            let (object, handle) = (self.api.handle(handle), handle.to_owned());
            async move {
                let found = self.cluster.get_json(&object).await?;
                let found = found.filter(|it| !edit::is_deleted(it));
                let counted = found.map_or(0, |it| edit::counted(&it, &self.block.cidr));
                Ok::<_, ApiError>((handle, counted))
            }
        };
        let looks = stream::iter(handles_of(addresses).into_iter().map(look));
        let counts: Vec<(String, i64)> = looks.buffer_unordered(PARALLEL).try_collect().await?;
        let mut wrong = Vec::new();
        for (handle, counted) in counts {
            let real = match block {
                Some(it) => edit::held_under(it, &handle).map_err(|error| other(self, &error))?,
                None => 0,
            };
            if is_wrong(counted, real) {
                let cidr = &self.block.cidr;
                wrong.push(format!("handle {handle} counts {counted} of {cidr}, not {real}"));
            }
        }
        Ok(wrong)
    }

    /// Settles what these handles count of the block. With each, how many of its addresses were released just now.
    async fn settle_all(&self, all: Vec<(&str, usize)>) -> Result<bool, PerformError> {
        let settle = all.into_iter().map(|(handle, freed)| self.settle(handle, freed));
        let ended: Vec<bool> =
            stream::iter(settle).buffer_unordered(PARALLEL).try_collect().await?;
        Ok(ended.contains(&true))
    }

    /// Lowers what a handle counts of the block to what it has there; deletes the handle when nothing is left. True when it
    /// was changed.
    async fn settle(&self, handle: &str, freed: usize) -> Result<bool, PerformError> {
        let (object, cidr) = (self.api.handle(handle), self.block.cidr.as_str());
        let freed = i64::try_from(freed).unwrap_or(i64::MAX);
        let mut doubted: Option<String> = None;
        let mut tries = Tries::new();
        let mut acted = false;
        loop {
            // The handle before the block: an address that is taken in between changes the version that is written for.
            let found = self.cluster.get_json(&object).await.map_err(|error| unread(&error))?;
            let Some(mut found) = found.filter(|it| is_of(it, handle)) else { return Ok(acted) };
            let block = self.found().await.map_err(|error| unread(&error))?;
            let real = match &block {
                Some(it) => edit::held_under(it, handle).map_err(odd)?,
                None => 0,
            };
            let excess = edit::counted(&found, cidr) - real;
            if excess <= 0 {
                return Ok(acted);
            }
            let version = metadata(&found, "resourceVersion").to_owned();
            if excess > freed && doubted.as_ref() != Some(&version) {
                doubted = Some(version);
                tokio::time::sleep(SETTLED).await;
                continue;
            }
            let written = if edit::set_count(&mut found, cidr, real) {
                self.cluster.update(&object, &found, self.write).await.map(drop)
            } else {
                let (uid, dry_run) = (metadata(&found, "uid"), self.write.dry_run);
                self.cluster.delete_version(&object, uid, &version, dry_run).await
            };
            match written {
                Ok(()) => return Ok(true),
                Err(error) => acted |= tries.again(error, &object).await?,
            }
        }
    }

    /// Has handles count what they have of the block and what they are about to get.
    async fn raise_all(
        &self,
        block: &Value,
        addresses: &[Held],
        given: &BTreeSet<IpAddr>,
    ) -> Result<(), PerformError> {
        let mut wanted: BTreeMap<&str, (i64, &str)> = BTreeMap::new();
        for it in addresses.iter().filter(|it| given.contains(&it.address)) {
            let Some(handle) = it.handle.as_deref() else { continue };
            let real = edit::held_under(block, handle).map_err(odd)?;
            wanted.entry(handle).or_insert((real, handle)).0 += 1;
        }
        let raise = wanted.into_values().map(|(count, handle)| self.raise(handle, count));
        stream::iter(raise).buffer_unordered(PARALLEL).try_collect().await
    }

    async fn raise(&self, handle: &str, count: i64) -> Result<(), PerformError> {
        let (object, cidr) = (self.api.handle(handle), self.block.cidr.as_str());
        let mut tries = Tries::new();
        loop {
            let found = self.cluster.get_json(&object).await.map_err(|error| unread(&error))?;
            let written = match found {
                None => {
                    let new = self.api.new_handle(handle, cidr, count);
                    self.cluster.create(&object, &new, self.write).await
                }
                Some(found) if edit::counted(&found, cidr) >= count && is_of(&found, handle) => {
                    return Ok(());
                }
                Some(found) if !is_of(&found, handle) => {
                    let why = format!("handle {handle} is being deleted, or is another one's");
                    return Err(PerformError::Rejected(why));
                }
                Some(mut found) => {
                    edit::set_count(&mut found, cidr, count);
                    self.cluster.update(&object, &found, self.write).await
                }
            };
            match written {
                Ok(_) => return Ok(()),
                Err(error) => drop(tries.again(error, &object).await?),
            }
        }
    }
}

/// Whether the object is the living handle of this id: names are in lower case, ids are not.
fn is_of(handle: &Value, id: &str) -> bool {
    let its = handle.pointer("/spec/handleID").and_then(Value::as_str).unwrap_or_default();
    its.split('\r').next() == Some(id) && !edit::is_deleted(handle)
}

fn lines(all: BTreeMap<IpAddr, String>) -> Vec<String> {
    all.into_iter().map(|(address, why)| format!("{address}: {why}")).collect()
}

fn odd(error: EditError) -> PerformError {
    PerformError::Rejected(error.to_string())
}

fn other(books: &Books<'_>, error: &EditError) -> ApiError {
    let attempted = format!("read block {}", books.block.cidr);
    ApiError::Other { attempted, message: error.to_string() }
}
