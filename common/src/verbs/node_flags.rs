//! Flags about node pods, and how a verb makes and closes them.

use std::collections::BTreeSet;

use crate::cli::{Failure, Kind, interrupted};
use crate::cluster::{Cluster, ListRequest};
use crate::collect::{HostProbes, Which};
use crate::execute::new_plan_id;
use crate::node::pod::{self, ImageChoice, NodePodOptions, NodePods, Op};
use crate::plan::{ObjectRef, PlanId};
use crate::slim::Node;
use crate::snapshot::{Form, Resource};
use clap::Args;

use super::Session;

/// Which hosts to look at.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct ProbeFlags {
    /// Look at the nodes from their hosts as well, through privileged pods that are deleted when they were used
    #[arg(long)]
    probe: bool,
    /// With --probe: only at this node (can be repeated)
    #[arg(long, value_name = "NODE", requires = "probe", value_delimiter = ',')]
    node: Vec<String>,
    /// With --probe: only at nodes with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR", requires = "probe")]
    selector: Option<String>,
    #[command(flatten)]
    pods: PodFlags,
}

/// How node pods are made.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct PodFlags {
    /// Node pods at a time (20 if not given)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=500))]
    max_parallel: Option<u16>,
    /// Namespace of node pods, instead of calico-node's
    #[arg(long, value_name = "NAMESPACE", hide_short_help = true)]
    pod_namespace: Option<String>,
    /// Image of node pods, instead of one that is on the node; what it contains does not matter
    #[arg(long, value_name = "IMAGE", hide_short_help = true)]
    pod_image: Option<String>,
}

impl PodFlags {
    /// Node pods for `run`; none is made yet. `reason` is what the user asked for, after the plugin's name.
    pub async fn open(
        &self,
        session: &Session,
        cluster: &Cluster,
        run: PlanId,
        op: Op,
        reason: &str,
    ) -> NodePods {
        let namespaces = pod::namespaces(cluster, self.pod_namespace.as_deref()).await;
        let mut options = NodePodOptions::new(run, op, namespaces);
        options.user = cluster.who_am_i().await.unwrap_or_default();
        options.reason = format!("{} {reason}", session.program);
        session.plugin.clone_into(&mut options.field_manager);
        if let Some(count) = self.max_parallel {
            options.max_parallel = count.into();
        }
        if let Some(image) = &self.pod_image {
            options.image = ImageChoice::Named(image.clone());
        }
        NodePods::new(cluster, options)
    }
}

impl ProbeFlags {
    /// Whether hosts are to be looked at.
    pub fn is_wanted(&self) -> bool {
        self.probe
    }

    /// How the pods are to be made.
    pub fn pods(&self) -> &PodFlags {
        &self.pods
    }

    /// What was asked for, announced; none without `--probe`.
    ///
    /// # Errors
    /// When a node that was named does not exist, or no node has the labels.
    pub async fn hosts(
        &self,
        session: &Session,
        cluster: &Cluster,
        reason: &str,
    ) -> Result<Option<HostProbes>, Failure> {
        if !self.probe {
            return Ok(None);
        }
        let which = self.which(cluster).await?;
        let pods = self.pods.open(session, cluster, new_plan_id(), Op::Inspect, reason).await;
        announce(session, &pods, &which);
        Ok(Some(HostProbes { pods, which, keep: false }))
    }

    /// The nodes that were asked for.
    ///
    /// # Errors
    /// When a node that was named does not exist, or no node has the labels.
    pub async fn which(&self, cluster: &Cluster) -> Result<Which, Failure> {
        nodes_named(cluster, &self.node, self.selector.as_deref()).await
    }
}

/// The nodes with these names and those with these labels; all when neither is given.
///
/// # Errors
/// When a node that was named does not exist, or no node has the labels.
pub async fn nodes_named(
    cluster: &Cluster,
    names: &[String],
    selector: Option<&str>,
) -> Result<Which, Failure> {
    if names.is_empty() && selector.is_none() {
        return Ok(Which::All);
    }
    for name in names {
        if cluster.get_json(&node(name)).await?.is_none() {
            return Err(Failure::new(Kind::NotFound, format!("there is no node {name}"))
                .hint("list them: kubectl get nodes"));
        }
    }
    let mut all: BTreeSet<String> = names.iter().cloned().collect();
    if let Some(selector) = selector {
        let selected = labelled(cluster, selector).await?;
        if selected.is_empty() {
            let what = format!("no node has labels matching {selector}");
            return Err(Failure::new(Kind::NotFound, what)
                .hint("see their labels: kubectl get nodes --show-labels"));
        }
        all.extend(selected);
    }
    Ok(Which::Listed(all))
}

/// Names of the nodes with these labels.
async fn labelled(cluster: &Cluster, selector: &str) -> Result<BTreeSet<String>, Failure> {
    let request = ListRequest {
        label_selector: Some(selector.to_owned()),
        form: Form::Metadata,
        ..ListRequest::all(Resource::new("nodes", ""), "v1")
    };
    let nodes: Vec<Node> = cluster.list_as(&request).await?;
    Ok(nodes.into_iter().map(|node| node.metadata.name).collect())
}

fn node(name: &str) -> ObjectRef {
    ObjectRef {
        group: String::new(),
        version: "v1".to_owned(),
        plural: "nodes".to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
    }
}

/// Says before anything is made what will be.
pub fn announce(session: &Session, pods: &NodePods, which: &Which) {
    let options = pods.options();
    let place = options.namespaces.first().map_or("kube-system", String::as_str);
    let nodes = match which {
        Which::Listed(nodes) if nodes.len() == 1 => "1 node".to_owned(),
        Which::Listed(nodes) => format!("{} nodes", nodes.len()),
        Which::All => "every node that is looked at".to_owned(),
        Which::Unreachable => "nodes that calico-node cannot tell about".to_owned(),
    };
    session.printer.talk(&format!(
        "Making a privileged pod on {nodes}, in namespace {place}, at most {} at a time. They are deleted before this ends (label {}={}).",
        options.max_parallel,
        pod::MANAGED_BY_LABEL,
        pod::MANAGED_BY,
    ));
}

/// Deletes all pods; tells what is left. A second ^C gives up.
pub async fn close(session: &Session, pods: &NodePods) {
    let left = tokio::select! {
        left = pods.close() => left,
        () = interrupted() => {
            session.printer.talk(&format!(
                "interrupted while deleting node pods; delete what is left with: {} sweep",
                session.doctor()
            ));
            return;
        }
    };
    for it in &left {
        session.printer.talk(&format!("pod {} is left: {}", it.pod, it.why));
    }
    if !left.is_empty() {
        session.printer.talk(&format!(
            "They end by themselves within {} s. Delete them with: {} sweep",
            pods.options().deadline.as_secs(),
            session.doctor()
        ));
    }
}
