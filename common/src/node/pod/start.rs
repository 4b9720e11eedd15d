//! From an order to a running pod: creation, waiting, and the next try when something is in the way.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use super::facts::{self, NodeFacts};
use super::image;
use super::obstacle::{self, Choices, Obstacle};
use super::spec::{self, Attempt, Order, Work};
use super::{Inner, NodePodError, lock};
use crate::cluster::{ListRequest, Question};
use crate::plan::ObjectRef;
use crate::slim::{Event, Pod};
use crate::snapshot::Resource;

/// Tries on one node at most.
const TRIES: usize = 10;
/// Time after which a pod that has not started is looked at more closely, and again.
const LOOK: Duration = Duration::from_secs(3);
/// Time in which a living kubelet takes a pod, also when it is given twenty at once.
const ACKNOWLEDGE_LIMIT: Duration = Duration::from_secs(15);
/// Time that a pod may take to start. Its image is on the node; an image that must be pulled gets [`PULL_LIMIT`].
const START_LIMIT: Duration = Duration::from_secs(30);
/// The same when the image may have to be pulled.
const PULL_LIMIT: Duration = Duration::from_secs(180);

/// What is done with a pod once it is made.
const LOOKED_AFTER_BY: [&str; 3] = ["delete", "get", "watch"];

/// A pod that was made.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) object: ObjectRef,
    pub(super) attempt: Attempt,
}

/// Says when a pod is what it was made for, or that something is in its way.
pub(super) type Decide<T> = fn(&Pod, &str) -> Option<Result<T, Obstacle>>;

impl Inner {
    /// Makes a pod on `node` and waits until `decide` is content. Pods that did not get there are deleted.
    pub(super) async fn start<T>(
        &self,
        node: &str,
        image: Option<&str>,
        work: &Work,
        limit: Option<Duration>,
        decide: Decide<T>,
    ) -> Result<(Made, T), NodePodError> {
        let facts = facts::read(&self.cluster, node).await?;
        let choices = self.choices(&facts, image);
        let mut attempt = self.first_attempt(node, &facts, &choices)?;
        let mut first_error = None;
        for _ in 0..TRIES {
            let object = self.next_object(&attempt.namespace);
            let tried = self.attempt(node, &facts, &object, &attempt, work, limit, decide).await;
            let Obstacle { error, way } = match tried {
                Ok(done) => {
                    self.remember(&attempt);
                    return Ok((Made { object, attempt }, done));
                }
                Err(obstacle) => obstacle,
            };
            self.ledger.delete(&self.cluster, &object.name).await.ok();
            tracing::debug!("{error}; next: {way:?}");
            let next = choices.next(&attempt, way);
            first_error.get_or_insert(error);
            match next {
                Some(next) => attempt = next,
                None => break,
            }
        }
        Err(first_error.unwrap_or(NodePodError::Closed))
    }

    fn choices(&self, facts: &NodeFacts, image: Option<&str>) -> Choices {
        let images = match image {
            Some(image) => vec![image.to_owned()],
            None => image::candidates(&self.options.image, &facts.node, facts.agent.as_ref()),
        };
        let agent_account = facts.agent.as_ref().and_then(|pod| {
            let account = pod.spec.service_account_name.clone();
            (!account.is_empty()).then(|| (pod.metadata.namespace.clone(), account))
        });
        Choices { namespaces: self.options.namespaces.clone(), images, agent_account }
    }

    fn first_attempt(
        &self,
        node: &str,
        facts: &NodeFacts,
        choices: &Choices,
    ) -> Result<Attempt, NodePodError> {
        let node = node.to_owned();
        let image = choices.images.first().cloned().ok_or(NodePodError::NoImage { node })?;
        let directories = spec::directories(&facts.node.status.node_info.architecture);
        // What worked on another node works here as well.
        if let Some(known) = self.known_attempt() {
            return Ok(Attempt { image, directories, critical: false, ..known });
        }
        let namespace = choices.namespaces.first().cloned().unwrap_or_default();
        Ok(Attempt {
            namespace,
            image,
            directories,
            service_account: "default".to_owned(),
            with_requests: false,
            critical: false,
        })
    }

    fn next_object(&self, namespace: &str) -> ObjectRef {
        let number = self.serial.fetch_add(1, Ordering::Relaxed);
        let run = self.options.run.0.to_lowercase();
        ObjectRef {
            group: String::new(),
            version: "v1".to_owned(),
            plural: "pods".to_owned(),
            namespace: namespace.to_owned(),
            // Named by us, so that a pod whose creation gave no answer can be found and deleted.
            name: format!("kubectl-calico-{run}-{number}"),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one call site, and all of it differs per try")]
    async fn attempt<T>(
        &self,
        node: &str,
        facts: &NodeFacts,
        object: &ObjectRef,
        attempt: &Attempt,
        work: &Work,
        limit: Option<Duration>,
        decide: Decide<T>,
    ) -> Result<T, Obstacle> {
        let agent = facts.agent.as_ref().filter(|it| it.metadata.namespace == object.namespace);
        let pull_secrets: Vec<String> = agent
            .iter()
            .flat_map(|pod| pod.spec.image_pull_secrets.iter().map(|it| it.name.clone()))
            .collect();
        let deadline = jiff::SignedDuration::try_from(self.options.deadline).unwrap_or_default();
        let now = self.cluster.now();
        let order = Order {
            name: &object.name,
            node,
            options: &self.options,
            attempt,
            pull_secrets: &pull_secrets,
            expires_at: now.saturating_add(deadline).unwrap_or(now),
            work,
        };
        self.may_look_after(&object.namespace).await?;
        let manager = &self.options.field_manager;
        let made = self.ledger.create(&self.cluster, object.clone(), order.pod(), manager).await;
        let made = match made {
            Ok(made) => made,
            Err(NodePodError::Api(error)) => return Err(obstacle::of_creation(&error, attempt)),
            Err(error) => return Err(Obstacle { error, way: obstacle::Way::None }),
        };
        self.wait(node, object, made, attempt, limit, decide).await
    }

    /// Asks before a pod is made: whoever may create one and not delete it would leave it behind. Where nobody answers,
    /// trying tells.
    async fn may_look_after(&self, namespace: &str) -> Result<(), Obstacle> {
        if lock(&self.allowed).contains(namespace) {
            return Ok(());
        }
        let ask = |verb: &'static str| async move {
            let question = Question {
                verb: verb.to_owned(),
                resource: "pods".to_owned(),
                namespace: namespace.to_owned(),
                ..Question::default()
            };
            (verb, self.cluster.can_i(&question).await)
        };
        let answers = futures::future::join_all(LOOKED_AFTER_BY.map(ask)).await;
        if let Some((verb, _)) = answers.iter().find(|(_, answer)| *answer == Ok(false)) {
            let message = "the API server says so".to_owned();
            let namespace = namespace.to_owned();
            return Err(obstacle::other_namespace(NodePodError::Forbidden {
                verb,
                namespace,
                message,
            }));
        }
        if answers.iter().all(|(_, answer)| *answer == Ok(true)) {
            lock(&self.allowed).insert(namespace.to_owned());
        }
        Ok(())
    }

    async fn wait<T>(
        &self,
        node: &str,
        object: &ObjectRef,
        made: Value,
        attempt: &Attempt,
        limit: Option<Duration>,
        decide: Decide<T>,
    ) -> Result<T, Obstacle> {
        let mut made = Some(made);
        let pulls = matches!(self.options.image, super::ImageChoice::Named(_));
        let limit = limit.unwrap_or(if pulls { PULL_LIMIT } else { START_LIMIT });
        let began = Instant::now();
        let none = |error: NodePodError| Obstacle { error, way: obstacle::Way::None };
        let mut last: Option<Pod> = None;
        let mut looks = 0_u32;
        loop {
            let left = limit.saturating_sub(began.elapsed());
            let decided = self
                .cluster
                .wait_since(object, made.take(), LOOK.min(left), |found| {
                    match found.map(Pod::deserialize) {
                        None => Some(Err(none(NodePodError::Gone {
                            node: node.to_owned(),
                            why: "it was deleted".to_owned(),
                        }))),
                        Some(Ok(pod)) => {
                            let decided = decide(&pod, node);
                            last = Some(pod);
                            decided
                        }
                        Some(Err(_)) => None,
                    }
                })
                .await
                .map_err(|error| none(NodePodError::Api(error)))?;
            if let Some(decided) = decided {
                return decided;
            }
            looks += 1;
            let waited = began.elapsed();
            let started = last.as_ref().is_some_and(|pod| pod.status.start_time.is_some());
            if !started && let Some(silent) = self.silence(node, waited).await {
                return Err(none(silent));
            }
            let heard = self.events(object, attempt, node).await;
            if let Some(heard) = heard.as_ref()
                && (heard.way != obstacle::Way::None || looks > 1)
                && !is_running(last.as_ref())
            {
                return Err(heard.clone());
            }
            if waited >= limit {
                let last = last_words(last.as_ref(), heard.as_ref());
                let (node, seconds) = (node.to_owned(), waited.as_secs());
                return Err(none(NodePodError::NotStarted { node, seconds, last }));
            }
        }
    }

    /// Whether the kubelet that has not taken the pod yet gives no other sign of life either.
    async fn silence(&self, node: &str, waited: Duration) -> Option<NodePodError> {
        let said = if let Some(age) = facts::lease_age(&self.cluster, node).await {
            format!("its last sign of life was {age} s ago")
        } else if waited >= ACKNOWLEDGE_LIMIT {
            format!("it has not taken the pod for {} s", waited.as_secs())
        } else {
            return None;
        };
        Some(NodePodError::KubeletSilent { node: node.to_owned(), said })
    }

    /// The newest event of the pod that tells of an obstacle. Events that cannot be read tell nothing.
    async fn events(&self, object: &ObjectRef, attempt: &Attempt, node: &str) -> Option<Obstacle> {
        let request = ListRequest {
            namespace: Some(object.namespace.clone()),
            field_selector: Some(format!("involvedObject.name={}", object.name)),
            ..ListRequest::all(Resource::new("events", ""), "v1")
        };
        let mut events: Vec<Event> = self.cluster.list_as(&request).await.ok()?;
        events.sort_by_key(|event| std::cmp::Reverse(event.last_timestamp));
        events.iter().find_map(|event| obstacle::of_event(event, attempt, node))
    }
}

fn is_running(pod: Option<&Pod>) -> bool {
    pod.is_some_and(|pod| pod.status.phase == "Running")
}

fn last_words(pod: Option<&Pod>, heard: Option<&Obstacle>) -> String {
    if let Some(heard) = heard {
        return heard.error.to_string();
    }
    let waiting = pod
        .and_then(|pod| pod.status.container_statuses.first())
        .and_then(|status| status.state.waiting.as_ref());
    match (waiting, pod) {
        (Some(waiting), _) => {
            format!("{} {}", waiting.reason, waiting.message).trim_end().to_owned()
        }
        (None, Some(pod)) => format!("it is {}", pod.status.phase),
        (None, None) => "nothing was heard of it".to_owned(),
    }
}

/// A pod that waits for scripts has arrived when its container runs.
pub(super) fn runs(pod: &Pod, node: &str) -> Option<Result<(), Obstacle>> {
    obstacle::of_status(pod, node)
}

/// How a script that was a pod's own command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) exit_code: i32,
    pub(super) message: String,
}

/// A pod that is a script has arrived when it has ended.
pub(super) fn has_ended(pod: &Pod, node: &str) -> Option<Result<Ended, Obstacle>> {
    let state = pod.status.container_statuses.first().map(|status| &status.state);
    if let Some(ended) = state.and_then(|state| state.terminated.as_ref())
        && matches!(ended.reason.as_str(), "Completed" | "Error")
    {
        let exit_code = ended.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(-1);
        return Some(Ok(Ended { exit_code, message: ended.message.clone() }));
    }
    match obstacle::of_status(pod, node)? {
        Ok(()) => None,
        Err(obstacle) => Some(Err(obstacle)),
    }
}
