//! Handles that nothing is held under, by the thousand: one request each.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::{ended, metadata};
use crate::cluster::{ApiError, Cluster, Write};
use crate::execute::cluster_operations::{unread, unsuccessful};
use crate::execute::{PerformError, Performed, Underway};
use crate::ipam::{cidr, edit};
use crate::plan::describe::{counted, number};
use crate::plan::ipam::{HandleRef, IpamApi};

/// Requests under way at once.
const PARALLEL: usize = 16;

/// What became of one.
enum End {
    Done,
    /// It was so already.
    Already,
    /// It was left alone, for this reason.
    Left(String),
    /// Not begun: the user wants to stop.
    Stopped,
}

/// Deletes each in the version that was seen, unless a block has an address of it by now.
pub(super) async fn delete(
    cluster: &Cluster,
    api: &IpamApi,
    handles: &[HandleRef],
    write: Write<'_>,
    underway: &Underway<'_>,
) -> Result<Performed, PerformError> {
    let blocks = blocks_of(cluster, api, handles).await.map_err(|error| unread(&error))?;
    let one = |it: &'_ HandleRef| {
        let (it, blocks) = (it.clone(), &blocks);
        async move {
            if let Some(cidr) = in_use(&it, blocks) {
                return Ok(End::Left(format!("{}: {cidr} has an address of it", it.id)));
            }
            let (object, version) = (api.handle(&it.id), &it.resource_version);
            match cluster.delete_version(&object, &it.uid, version, write.dry_run).await {
                Ok(()) => Ok(End::Done),
                Err(ApiError::NotFound { .. }) => Ok(End::Already),
                Err(ApiError::Conflict { .. }) => {
                    Ok(End::Left(format!("{}: somebody changed it since", it.id)))
                }
                Err(error) => Err(unsuccessful(&error)),
            }
        }
    };
    all(handles, one, "deleted", underway).await
}

/// Makes each again that is gone.
pub(super) async fn restore(
    cluster: &Cluster,
    api: &IpamApi,
    handles: &[HandleRef],
    write: Write<'_>,
    underway: &Underway<'_>,
) -> Result<Performed, PerformError> {
    let one = |it: &'_ HandleRef| {
        let it = it.clone();
        async move {
            let new = api.handle_of(&it.before);
            match cluster.create(&api.handle(&it.id), &new, write).await {
                Ok(_) => Ok(End::Done),
                // The same, or one that somebody uses: either way it is not ours to overwrite.
                Err(ApiError::Conflict { .. }) => Ok(End::Already),
                Err(error) => Err(unsuccessful(&error)),
            }
        }
    };
    all(handles, one, "made again", underway).await
}

/// Does one after the other, so many at a time; the first error ends it.
async fn all<'h, F>(
    handles: &'h [HandleRef],
    one: impl Fn(&'h HandleRef) -> F,
    done: &str,
    underway: &Underway<'_>,
) -> Result<Performed, PerformError>
where
    F: Future<Output = Result<End, PerformError>>,
{
    let over = AtomicUsize::new(0);
    let how_far = || {
        let over = over.load(Ordering::Relaxed);
        format!("{} of {} {done}", number(over), counted(handles.len(), "handle"))
    };
    let attempt = |it: &'h HandleRef| {
        let trying = one(it);
        let (over, how_far) = (&over, &how_far);
        async move {
            if underway.stop().is_requested() {
                return Ok(End::Stopped);
            }
            let end = trying.await?;
            over.fetch_add(1, Ordering::Relaxed);
            underway.tell(how_far());
            Ok::<_, PerformError>(end)
        }
    };
    let ends: Vec<End> =
        stream::iter(handles.iter().map(attempt)).buffer_unordered(PARALLEL).try_collect().await?;
    if ends.iter().any(|it| matches!(it, End::Stopped)) {
        return Err(PerformError::Stopped(how_far()));
    }
    let acted = ends.iter().any(|it| matches!(it, End::Done));
    let left = ends.into_iter().filter_map(|it| match it {
        End::Left(why) => Some(why),
        _ => None,
    });
    Ok(ended(acted, left.collect()))
}

/// Those that are there in the version that was seen, and that no block has an address of.
pub(super) async fn left_to_delete(
    cluster: &Cluster,
    api: &IpamApi,
    handles: &[HandleRef],
) -> Result<Vec<String>, ApiError> {
    let found = look(cluster, api, handles).await?;
    let is_same = |(it, found): &(&HandleRef, Option<Value>)| {
        found.as_ref().is_some_and(|found| {
            metadata(found, "uid") == it.uid
                && metadata(found, "resourceVersion") == it.resource_version
        })
    };
    let same: Vec<HandleRef> =
        found.iter().filter(|it| is_same(it)).map(|it| it.0.clone()).collect();
    let blocks = blocks_of(cluster, api, &same).await?;
    let idle = same.iter().filter(|it| in_use(it, &blocks).is_none());
    Ok(idle.map(|it| format!("handle {} is still there", it.id)).collect())
}

/// Those that are not there.
pub(super) async fn left_to_restore(
    cluster: &Cluster,
    api: &IpamApi,
    handles: &[HandleRef],
) -> Result<Vec<String>, ApiError> {
    let found = look(cluster, api, handles).await?;
    let gone = found.iter().filter(|it| it.1.is_none());
    Ok(gone.map(|(it, _)| format!("handle {} is not there", it.id)).collect())
}

async fn look<'h>(
    cluster: &Cluster,
    api: &IpamApi,
    handles: &'h [HandleRef],
) -> Result<Vec<(&'h HandleRef, Option<Value>)>, ApiError> {
    let ask = |it: &'h HandleRef| async move {
        let found = cluster.get_json(&api.handle(&it.id)).await?;
        Ok::<_, ApiError>((it, found))
    };
    stream::iter(handles.iter().map(ask)).buffer_unordered(PARALLEL).try_collect().await
}

/// The blocks that these handles name, by range; none for those that are no more.
async fn blocks_of(
    cluster: &Cluster,
    api: &IpamApi,
    handles: &[HandleRef],
) -> Result<BTreeMap<String, Option<Value>>, ApiError> {
    let ranges: std::collections::BTreeSet<&str> =
        handles.iter().flat_map(HandleRef::blocks).collect();
    let ask = |range: &str| {
        let range = range.to_owned();
        async move {
            let name = cidr::parse(&range).map(|it| cidr::block_name(&it));
            let found = match name {
                Some(name) => cluster.get_json(&api.block(&name)).await?,
                None => None,
            };
            Ok::<_, ApiError>((range, found))
        }
    };
    stream::iter(ranges.into_iter().map(ask)).buffer_unordered(PARALLEL).try_collect().await
}

/// A block that has an address of the handle; one that makes no sense may have.
fn in_use<'h>(it: &'h HandleRef, blocks: &BTreeMap<String, Option<Value>>) -> Option<&'h str> {
    let has = |range: &&str| {
        let block = blocks.get(*range).and_then(Option::as_ref);
        let block = block.filter(|it| !edit::is_deleted(it));
        block.is_some_and(|block| edit::held_under(block, &it.id) != Ok(0))
    };
    it.blocks().find(has)
}
