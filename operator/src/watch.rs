//! Watches that keep the caches: list once, then follow. What is seen is put on its shelf, and the cluster that it is
//! of is queued if planning could come to something else.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use daemon::signals::Shutdown;
use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use planner::labels::CLUSTER;
use rand::Rng;
use tokio::sync::Notify;

use crate::api;
use crate::caches::{Caches, ClusterKey, Entry, Facts, Shelf};
use crate::queue::Queue;

/// How long one request for changes lasts. A connection that went without a word is noticed then.
const WATCH_TIMEOUT: Duration = Duration::from_secs(120);
/// How many objects are listed at a time: a start needs no more memory than work.
const PAGE: u32 = 50;
/// After a failed list or watch; short, since deleted children are to be back soon.
const RETRY: Duration = Duration::from_secs(3);

/// How many watches have not listed everything yet.
#[derive(Debug, Default)]
pub struct Synced {
    missing: AtomicUsize,
    done: Notify,
}

impl Synced {
    fn expect_one(&self) {
        self.missing.fetch_add(1, Ordering::AcqRel);
    }

    fn one_is_done(&self) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }

    /// Waits until every watch has listed everything once. For one waiter.
    pub async fn wait(&self) {
        while self.missing.load(Ordering::Acquire) > 0 {
            self.done.notified().await;
        }
    }
}

/// What may be watched.
pub struct Scope {
    /// All when empty.
    pub namespaces: Vec<String>,
    pub nodes: bool,
    pub storage: bool,
    pub monitoring: bool,
}

/// Starts all watches; they end with the shutdown.
pub fn start(
    client: &Client,
    caches: &Arc<Caches>,
    queue: &Arc<Queue>,
    scope: &Scope,
    shutdown: &Shutdown,
) -> Arc<Synced> {
    let synced = Arc::new(Synced::default());
    let all = Watches { client, caches, queue, synced: &synced, shutdown };
    let namespaces: Vec<Option<&str>> = match scope.namespaces.is_empty() {
        true => vec![None],
        false => scope.namespaces.iter().map(|name| Some(name.as_str())).collect(),
    };
    for namespace in namespaces {
        all.start(api::clusters(), namespace, Of::Itself, &caches.clusters);
        all.start(api::pods(), namespace, Of::Label, &caches.pods);
        all.start(api::claims(), namespace, Of::Label, &caches.claims);
        for kind in api::kinds(scope.monitoring) {
            all.start(api::resource(kind), namespace, Of::Label, caches.children_of(kind));
        }
    }
    if scope.nodes {
        all.start(api::nodes(), None, Of::Nobody, &caches.nodes);
    }
    if scope.storage {
        all.start(api::storage_classes(), None, Of::Nobody, &caches.storage_classes);
    }
    synced
}

/// Which cluster an object is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// It is the cluster.
    Itself,
    /// The one that its label names.
    Label,
    /// None; all are concerned.
    Nobody,
}

impl Of {
    fn key(self, object: &DynamicObject) -> Option<ClusterKey> {
        let metadata = &object.metadata;
        let namespace = || metadata.namespace.clone();
        match self {
            Of::Itself => Some(ClusterKey { namespace: namespace()?, name: metadata.name.clone()? }),
            Of::Label => {
                let name = metadata.labels.as_ref()?.get(CLUSTER)?.clone();
                Some(ClusterKey { namespace: namespace()?, name })
            }
            Of::Nobody => Some(ClusterKey::nobody()),
        }
    }
}

struct Watches<'a> {
    client: &'a Client,
    caches: &'a Arc<Caches>,
    queue: &'a Arc<Queue>,
    synced: &'a Arc<Synced>,
    shutdown: &'a Shutdown,
}

impl Watches<'_> {
    fn start<F: Facts>(&self, resource: ApiResource, namespace: Option<&str>, of: Of, shelf: &Arc<Shelf<F>>) {
        self.synced.expect_one();
        let api = api::objects(self.client, &resource, namespace);
        let watch = Watch {
            resource,
            namespace: namespace.map(str::to_owned),
            of,
            shelf: shelf.clone(),
            caches: self.caches.clone(),
            queue: self.queue.clone(),
            synced: Some(self.synced.clone()),
            listed: None,
        };
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = watch.run(api) => {}
                () = shutdown.wait() => {}
            }
        });
    }
}

struct Watch<F> {
    resource: ApiResource,
    namespace: Option<String>,
    of: Of,
    shelf: Arc<Shelf<F>>,
    caches: Arc<Caches>,
    queue: Arc<Queue>,
    /// Until everything was listed once.
    synced: Option<Arc<Synced>>,
    /// Namespaces and names, while a list goes on.
    listed: Option<HashSet<(String, String)>>,
}

impl<F: Facts> Watch<F> {
    async fn run(mut self, api: Api<DynamicObject>) {
        let mut config = watcher::Config::default().timeout(WATCH_TIMEOUT.as_secs() as u32).page_size(PAGE);
        if self.of == Of::Label {
            config = config.labels(CLUSTER);
        }
        let mut events = std::pin::pin!(watcher::watcher(api, config));
        let mut was_forbidden = false;
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    was_forbidden = false;
                    self.on_event(event);
                }
                Err(error) => {
                    // An API server that is down for a minute is nobody's mistake; that nothing is seen shows elsewhere.
                    tracing::debug!("watch {}: {error}", self.resource.plural);
                    if is_forbidden(&error) && !was_forbidden {
                        was_forbidden = true;
                        let what = &self.resource.plural;
                        tracing::error!(
                            "watch {what}: {error}; nothing is done without: compare the operator's role with the chart's"
                        );
                    }
                    let jitter = rand::rng().random_range(0.5..1.0);
                    tokio::time::sleep(RETRY.mul_f64(jitter)).await;
                }
            }
        }
    }

    fn on_event(&mut self, event: Event<DynamicObject>) {
        match event {
            Event::Init => self.listed = Some(HashSet::new()),
            Event::InitApply(object) => {
                let metadata = &object.metadata;
                let place = (
                    metadata.namespace.clone().unwrap_or_default(),
                    metadata.name.clone().unwrap_or_default(),
                );
                self.listed.get_or_insert_default().insert(place);
                self.put(object);
            }
            Event::InitDone => self.on_listed(),
            Event::Apply(object) => self.put(object),
            Event::Delete(object) => {
                let metadata = object.metadata;
                let (name, uid) = (metadata.name.unwrap_or_default(), metadata.uid.unwrap_or_default());
                let (namespace, version) =
                    (metadata.namespace.unwrap_or_default(), metadata.resource_version);
                if let Some(key) = self.shelf.remove(&namespace, &name, &uid, version.as_deref()) {
                    self.tell(&key);
                }
            }
        }
    }

    fn put(&self, object: DynamicObject) {
        let Some(key) = self.of.key(&object) else { return };
        let name = object.metadata.name.clone().unwrap_or_default();
        match Entry::read(api::typed(object, &self.resource)) {
            Ok(entry) => {
                let known = (self.of == Of::Itself).then(|| self.shelf.get(&key, &name)).flatten();
                let asks = known.is_none_or(|known| known.facts.asks_otherwise(&entry.facts));
                if self.shelf.put(&key, &name, entry) {
                    match asks {
                        true => self.tell(&key),
                        // Our own status, most likely: whatever fails is not asked for anew by it.
                        false => self.queue.news(&key),
                    }
                }
            }
            // One that cannot be read must not keep others from being seen.
            Err(error) => {
                tracing::warn!("{} {name} of cluster {key} cannot be read: {error}", self.resource.kind)
            }
        }
    }

    fn on_listed(&mut self) {
        let listed = self.listed.take().unwrap_or_default();
        let known = |namespace: &str, name: &str| listed.contains(&(namespace.to_owned(), name.to_owned()));
        for key in self.shelf.retain(self.namespace.as_deref(), &known) {
            self.tell(&key);
        }
        if let Some(synced) = self.synced.take() {
            synced.one_is_done();
        }
    }

    fn tell(&self, key: &ClusterKey) {
        match self.of {
            Of::Itself => self.queue.changed_by_user(key),
            Of::Label => self.queue.news(key),
            Of::Nobody => self.caches.clusters.keys().iter().for_each(|key| self.queue.news(key)),
        }
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status)) => [401, 403].contains(&status.code),
        watcher::Error::WatchError(status) => [401, 403].contains(&status.code),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::*;
    use crate::queue::Ended;

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_tried_at_once_when_its_user_asks_for_something_else_and_not_for_its_status() {
        let (caches, queue) = (Arc::new(Caches::default()), Arc::new(Queue::default()));
        let watch = Watch {
            resource: api::clusters(),
            namespace: None,
            of: Of::Itself,
            shelf: caches.clusters.clone(),
            caches,
            queue: queue.clone(),
            synced: None,
            listed: None,
        };
        let see = |version: u32, groups: u32, status: Value| {
            let cluster = json!({
                "metadata": { "name": "c", "namespace": "ns", "uid": "u", "resourceVersion": version.to_string() },
                "spec": { "groups": groups }, "status": status,
            });
            watch.put(serde_json::from_value(cluster).unwrap());
        };
        let fail = async || {
            let key = queue.next().await;
            queue.ended(&key, Ended::Failed);
        };
        see(1, 1, json!({}));
        fail().await;
        see(2, 1, json!({ "message": "12s more" }));
        let before = Instant::now();
        fail().await;
        assert!(Instant::now() > before);
        see(3, 2, json!({ "message": "12s more" }));
        let before = Instant::now();
        fail().await;
        assert_eq!(Instant::now(), before);
    }
}
