//! Puts the operator together and runs it until it is stopped or may not act any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use daemon::health::Health;
use daemon::metrics::Metrics;
use daemon::signals::Shutdown;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use parking_lot::Mutex;
use planner::facts::OperatorSettings;
use rand::Rng;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::apply::Executor;
use crate::caches::Caches;
use crate::events::Events;
use crate::leader::{self, Candidate, Times};
use crate::members::Members;
use crate::metrics::Counters;
use crate::observe::Observer;
use crate::queue::Queue;
use crate::reconcile::Reconciler;
use crate::settings::RunArguments;
use crate::slots::Slots;
use crate::{api, watch};

/// How many clusters are looked at at a time. A look mostly waits for its members' answers.
const WORKERS: usize = 16;
/// How many of these looks plan and take steps: each has all of its cluster in memory then.
const AT_WORK: usize = 4;
/// How often the API server is asked until it answers for the first time.
const FIRST_TRY: Duration = Duration::from_secs(2);

/// What is shared with the process around it.
pub struct Surroundings {
    pub client: Client,
    pub members: Arc<dyn Members>,
    pub health: Health,
    pub metrics: Metrics,
    pub counters: Counters,
}

/// Runs until the shutdown, and gives the lease back then.
///
/// # Errors
/// The lease was lost to another operator or could not be renewed: the process has to end.
pub async fn run(
    arguments: RunArguments,
    around: Surroundings,
    shutdown: Shutdown,
) -> Result<(), leader::Lost> {
    let Surroundings { client, members, health, metrics, counters } = around;
    counters.register(&metrics);
    health.set_started();
    tokio::spawn(health.clone().keep_beating(shutdown.clone()));
    let first = arguments.watch_namespaces.first().map(String::as_str);
    let Some(monitoring) = monitoring_kinds(&client, first, &health, &shutdown).await else { return Ok(()) };
    let (caches, queue) = (Arc::new(Caches::default()), Arc::new(Queue::default()));
    let scope = watch::Scope {
        namespaces: arguments.watch_namespaces.clone(),
        nodes: arguments.observe_nodes,
        storage: arguments.observe_storage,
        monitoring,
    };
    health.set_not_ready("not everything was listed yet; is the definition of RocketMQCluster installed?");
    let synced = watch::start(&client, &caches, &queue, &scope, &shutdown);
    let (sender, leads) = leader::channel();
    let (depth, leading) = (queue.clone(), leads.clone());
    metrics
        .gauge("gantry_operator_queue_depth", "Clusters that wait for a look.", move || depth.depth() as f64);
    metrics.gauge("gantry_operator_leader", "1 while this operator is the one that acts.", move || {
        f64::from(u8::from(leading.now()))
    });
    let reconciler = Arc::new(Reconciler {
        observer: Observer {
            client: client.clone(),
            caches: caches.clone(),
            members: members.clone(),
            settings: OperatorSettings { monitoring_kinds: monitoring, ..arguments.settings() },
            nodes: arguments.observe_nodes,
            storage: arguments.observe_storage,
        },
        executor: Executor { client: client.clone(), caches, members, leads: leads.clone() },
        events: Events { client: client.clone(), instance: arguments.pod_name.clone() },
        slots: Slots::new(arguments.max_rolling_clusters),
        counters,
        memories: Mutex::new(HashMap::new()),
        turns: Semaphore::new(AT_WORK),
    });
    let work = {
        let shutdown = shutdown.clone();
        async move {
            tokio::select! {
                () = shutdown.wait() => return,
                () = synced.wait() => health.set_ready(),
            }
            tokio::select! {
                () = shutdown.wait() => return,
                () = leads.elected() => {}
            }
            let mut workers = JoinSet::new();
            for _ in 0..WORKERS {
                workers.spawn(worker(reconciler.clone(), queue.clone(), shutdown.clone()));
            }
            while workers.join_next().await.is_some() {}
        }
    };
    let leases: Api<Lease> = Api::namespaced(client, &arguments.pod_namespace);
    let other: u64 = rand::rng().random();
    let times = Times {
        lease: arguments.lease_duration,
        renew_deadline: arguments.renew_deadline,
        retry: arguments.retry_period,
    };
    let identity = format!("{}_{other:016x}", arguments.pod_name);
    let candidate = Candidate { lease: arguments.lease_name, identity, times };
    leader::run(leases, candidate, sender, work).await
}

/// Looks at one cluster after the other; what has begun is brought to its end.
async fn worker(reconciler: Arc<Reconciler>, queue: Arc<Queue>, shutdown: Shutdown) {
    loop {
        let key = tokio::select! {
            () = shutdown.wait() => return,
            key = queue.next() => key,
        };
        let ended = reconciler.look(&key).await;
        queue.ended(&key, ended);
    }
}

/// Asks until the API server answers; `None` at the shutdown.
async fn monitoring_kinds(
    client: &Client,
    namespace: Option<&str>,
    health: &Health,
    shutdown: &Shutdown,
) -> Option<bool> {
    loop {
        let answer = tokio::select! {
            () = shutdown.wait() => return None,
            answer = tokio::time::timeout(api::REQUEST_TIMEOUT, api::has_monitoring_kinds(client, namespace)) => answer,
        };
        let why = match answer {
            Ok(Ok(served)) => return Some(served),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::warn!("ask the API server which kinds it has: {why}; tried again");
        health.set_not_ready(format!("the API server does not answer: {why}"));
        tokio::select! {
            () = shutdown.wait() => return None,
            () = tokio::time::sleep(FIRST_TRY) => {}
        }
    }
}
