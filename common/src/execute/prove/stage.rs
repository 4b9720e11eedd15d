//! The places from where is asked, what each of them is to ask, and one round of asking.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::Value;

use super::objects::{CONTAINER, Maker, NewService};
use super::round::{Asked, Place, ask};
use crate::cluster::{ApiError, Cluster};
use crate::execute::ebpf::observe::{agents, object, pods_in};
use crate::node::PROBE_CONTAINER;
use crate::plan::ObjectRef;
use crate::plan::ebpf::{ProofTarget, Question, ServiceProof, Vantage};
use crate::slim::Pod;
use crate::snapshot::Known;

/// Places that are asked from at once.
const PARALLEL: usize = 20;
/// Time between two looks at pods that start.
const POLL: Duration = Duration::from_millis(500);

/// A node with its places.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) agent: Pod,
    /// Its address.
    pub(super) address: String,
    /// The pod of the pod network.
    pub(super) pod: Option<String>,
}

/// Everything that is needed to ask.
pub(super) struct Stage<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) namespace: &'a str,
    pub(super) sites: BTreeMap<String, Site>,
    pub(super) service: NewService,
}

/// What is still to be answered, and what was said last.
#[derive(Debug, Default)]
pub(super) struct Open(pub(super) BTreeMap<Vantage, Vec<Asked>>);

/// Names of the questions about the new Service.
pub(super) const NEW: &str = "a new Service";
pub(super) const NODE_PORT: &str = "a new Service's NodePort";

impl<'a> Stage<'a> {
    /// Makes pods and Service, and waits until the pods run, `within` this time.
    pub(super) async fn open(
        maker: &Maker<'a>,
        agent: &ObjectRef,
        with_pods: bool,
        within: Duration,
    ) -> Result<Self, String> {
        let mut sites = sites(maker.cluster, agent).await?;
        let endpoint = api_server(maker.cluster).await?;
        let first = start(maker, &mut sites, with_pods).await?;
        let service = maker.service(&endpoint, &first).await.map_err(|it| it.to_string())?;
        let stage = Self { cluster: maker.cluster, namespace: maker.namespace, sites, service };
        if with_pods {
            stage.wait_for_pods(within).await?;
        }
        Ok(stage)
    }

    async fn wait_for_pods(&self, within: Duration) -> Result<(), String> {
        let began = std::time::Instant::now();
        loop {
            let waiting = match pods_in(self.cluster, self.namespace).await {
                Known::Known(pods) => self.not_running(&pods),
                Known::Absent => vec!["no pod is to be seen".to_owned()],
                Known::Unknown(gap) => vec![gap.detail],
            };
            if waiting.is_empty() {
                return Ok(());
            }
            if began.elapsed() >= within {
                let first = &waiting[0];
                return Err(format!("{} new pods do not run: {first}", waiting.len()));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn not_running(&self, pods: &[Pod]) -> Vec<String> {
        let wait = |(node, site): (&String, &Site)| {
            let name = site.pod.as_ref()?;
            let pod = pods.iter().find(|pod| pod.metadata.name == *name);
            let phase = pod.map_or("gone", |pod| pod.status.phase.as_str());
            (phase != "Running").then(|| format!("{name} on {node} is {phase}"))
        };
        self.sites.iter().filter_map(wait).collect()
    }

    /// Everything that the proof demands.
    pub(super) fn demands(&self, proof: &ServiceProof) -> Open {
        let mut open = BTreeMap::new();
        for (node, site) in &self.sites {
            for from_pod in [false, true] {
                if from_pod && site.pod.is_none() {
                    continue;
                }
                let vantage = Vantage { node: node.clone(), from_pod };
                let mut all = Vec::new();
                if proof.from_pods || !from_pod {
                    all.extend(self.about_the_new(node, proof.node_ports));
                }
                all.extend(proof.targets.iter().filter_map(|it| about(it, &vantage)));
                open.insert(vantage, all);
            }
        }
        Open(open)
    }

    fn about_the_new(&self, node: &str, node_ports: bool) -> Vec<Asked> {
        let tcp = |name: String, address: &str, port: u16| Asked {
            name,
            address: address.to_owned(),
            port,
            question: Question::Tcp,
        };
        let mut all = vec![tcp(NEW.to_owned(), &self.service.address, self.service.port)];
        if let Some(port) = self.service.node_port.filter(|_| node_ports) {
            let next = self.next_to(node);
            for (name, site) in self.sites.iter().filter(|(name, _)| *name == node || *name == next)
            {
                all.push(tcp(format!("{NODE_PORT} on {name}"), &site.address, port));
            }
        }
        all
    }

    /// The node after this one, so that each NodePort is asked from its own node and from one other.
    fn next_to<'s>(&'s self, node: &'s str) -> &'s str {
        let after = self.sites.keys().find(|it| it.as_str() > node);
        after.or_else(|| self.sites.keys().next()).map_or(node, String::as_str)
    }

    /// Asks everywhere what is open; what is answered is open no more. The complaints about the rest.
    pub(super) async fn round(&self, open: &mut Open) -> Vec<String> {
        open.0.retain(|_, asked| !asked.is_empty());
        let jobs: Vec<_> = open
            .0
            .iter()
            .filter_map(|(vantage, asked)| {
                Some((vantage.clone(), self.place(vantage)?, asked.clone()))
            })
            .collect();
        let jobs = jobs.into_iter().map(|(vantage, place, asked)| async move {
            let answers = ask(self.cluster, &place, &asked).await;
            (vantage, answers)
        });
        let answers: Vec<_> = stream::iter(jobs).buffer_unordered(PARALLEL).collect().await;
        let mut complaints = Vec::new();
        for (vantage, answers) in answers {
            let place = shown(&vantage);
            match answers {
                Err(why) => complaints.push(format!("{place}: {why}")),
                Ok(answers) => {
                    let Some(asked) = open.0.get_mut(&vantage) else { continue };
                    let mut answers = answers.into_iter();
                    asked.retain(|_| !answers.next().unwrap_or_default());
                    complaints.extend(asked.iter().map(|it| {
                        format!("{place}: {} does not answer ({}:{})", it.name, it.address, it.port)
                    }));
                }
            }
        }
        open.0.retain(|_, asked| !asked.is_empty());
        complaints.sort();
        complaints
    }

    fn place(&self, vantage: &Vantage) -> Option<Place> {
        let site = self.sites.get(&vantage.node)?;
        let of_agent = &site.agent.metadata;
        Some(match (&site.pod, vantage.from_pod) {
            (Some(pod), true) => Place {
                namespace: self.namespace.to_owned(),
                pod: pod.clone(),
                container: CONTAINER.to_owned(),
            },
            (None, true) => return None,
            (_, false) => Place {
                namespace: of_agent.namespace.clone(),
                pod: of_agent.name.clone(),
                container: PROBE_CONTAINER.to_owned(),
            },
        })
    }
}

/// `node2`, `a pod on node2`
pub(super) fn shown(vantage: &Vantage) -> String {
    let Vantage { node, from_pod } = vantage;
    if *from_pod { format!("a pod on {node}") } else { node.clone() }
}

fn about(target: &ProofTarget, vantage: &Vantage) -> Option<Asked> {
    (!target.silent_before.contains(vantage)).then(|| Asked {
        name: target.service.clone(),
        address: target.address.clone(),
        port: target.port,
        question: target.question,
    })
}

/// The nodes on which calico-node runs, with the address of each.
async fn sites(cluster: &Cluster, agent: &ObjectRef) -> Result<BTreeMap<String, Site>, String> {
    let (set, pods) = tokio::join!(object(cluster, agent), pods_in(cluster, &agent.namespace));
    let told = |gap: crate::snapshot::Gap| gap.detail;
    let Known::Known(set) = set else {
        return Err(set.gap().cloned().map_or("there is no calico-node".to_owned(), told));
    };
    let Known::Known(pods) = pods else {
        return Err(pods.gap().cloned().map_or("there are no pods".to_owned(), told));
    };
    let site = |(node, pod): (String, &Pod)| {
        // It is in the host's network.
        let address = pod.status.pod_ip.clone();
        (node, Site { agent: pod.clone(), address, pod: None })
    };
    Ok(agents(&set, &pods).into_iter().map(site).collect())
}

/// Makes the pods: one on every node, or only the first, which the Service belongs to. It is the answer.
async fn start(
    maker: &Maker<'_>,
    sites: &mut BTreeMap<String, Site>,
    with_pods: bool,
) -> Result<Value, String> {
    let mut first = None;
    let count = if with_pods { sites.len() } else { 1 };
    let jobs: Vec<_> =
        sites.iter().take(count).map(|(node, site)| (node.clone(), image(&site.agent))).collect();
    let jobs = jobs.into_iter().map(|(node, image)| async move {
        let made = maker.pod(&node, &image).await;
        (node, made)
    });
    let made: Vec<(String, Result<Value, ApiError>)> =
        stream::iter(jobs).buffered(PARALLEL).collect().await;
    for (node, made) in made {
        let made = made.map_err(|error| format!("{node}: {error}"))?;
        let name = made["metadata"]["name"].as_str().map(str::to_owned);
        if let Some(site) = sites.get_mut(&node).filter(|_| with_pods) {
            site.pod = name;
        }
        first.get_or_insert(made);
    }
    first.ok_or_else(|| "calico-node runs on no node".to_owned())
}

/// calico-node's image is on its node, and has a shell.
fn image(agent: &Pod) -> String {
    let container = agent.spec.containers.iter().find(|it| it.name == PROBE_CONTAINER);
    container.map(|it| it.image.clone()).unwrap_or_default()
}

/// An address of the API server itself, to which the new Service leads: every node reaches it, or is no node.
async fn api_server(cluster: &Cluster) -> Result<(String, u16), String> {
    let slices = ObjectRef {
        group: "discovery.k8s.io".to_owned(),
        version: "v1".to_owned(),
        plural: "endpointslices".to_owned(),
        namespace: "default".to_owned(),
        name: "kubernetes".to_owned(),
    };
    let found = cluster.get_json(&slices).await.map_err(|error| error.to_string())?;
    let found = found.unwrap_or_default();
    let address = found.pointer("/endpoints/0/addresses/0").and_then(Value::as_str);
    let port = found.pointer("/ports/0/port").and_then(Value::as_u64);
    match (address, port.and_then(|it| u16::try_from(it).ok())) {
        (Some(address), Some(port)) => Ok((address.to_owned(), port)),
        _ => Err("EndpointSlice default/kubernetes names no API server".to_owned()),
    }
}
