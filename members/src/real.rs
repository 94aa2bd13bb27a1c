//! The members of real clusters: HTTP to admin ports, the remoting protocol for everything else, and a bound on each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::Connections;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use planner::facts::{Answer, DrainFacts, IdleGroup, MemberFacts};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::admin_port::{AdminPorts, properties_text};
use crate::copying::{self, CopyError};
use crate::held::{Held, held};
use crate::idle::IdleTimes;
use crate::look::{self, LookError};
use crate::{AdminPort, Copying, Draining, Members, TellError};

/// How long a look at a drain or a comparison may take, waiting for its turn included.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long making topics and groups may take; what is left is made the next time.
const COPY_TIMEOUT: Duration = Duration::from_secs(60);
/// How many looks, comparisons and copies go on at once.
const LOOKS_AT_ONCE: usize = 4;
/// How often a broker that seems empty is looked at until nothing moved meanwhile.
const LOOKS_FOR_REST: usize = 3;

/// The members of real clusters; clones share bounds, and for how long groups have been idle.
#[derive(Clone)]
pub struct Real {
    ports: AdminPorts,
    looks: Arc<Semaphore>,
    idle: Arc<Mutex<IdleTimes>>,
}

impl Real {
    /// Makes one; a process needs one.
    pub fn new() -> Self {
        Self {
            ports: AdminPorts::new(),
            looks: Arc::new(Semaphore::new(LOOKS_AT_ONCE)),
            idle: Arc::default(),
        }
    }

    /// Does something with connections of its own: they are used for a moment in half a minute, and an address may be
    /// another pod's by then.
    async fn bounded<T>(
        &self,
        time: Duration,
        work: impl AsyncFnOnce(Connections) -> T,
    ) -> Result<T, String> {
        let turn = async {
            let _turn = self.looks.acquire().await.map_err(|error| error.to_string())?;
            Ok(work(Connections::default()).await)
        };
        timeout(time, turn).await.map_err(|_| format!("not done within {}s", time.as_secs()))?
    }

    async fn drain_facts(&self, draining: Draining) -> Answer<DrainFacts> {
        let looked = self.bounded(LOOK_TIMEOUT, async |connections| {
            let held = held_at_rest(&connections, &draining).await.map_err(|error| error.to_string())?;
            let read_only = look::routes_are_read_only(&connections, &draining).await;
            Ok::<_, String>((held, read_only))
        });
        let (group, cluster) = (&draining.master.name, &draining.cluster);
        let (held, read_only) = match looked.await.flatten() {
            Ok(looked) => looked,
            Err(why) => {
                debug!(cluster, group, "not known what it holds: {why}");
                return Answer::Unknown;
            }
        };
        if let Err(why) = &read_only {
            debug!(cluster, group, "not known where producers are led: {why}");
        }
        let times = self.idle.lock().note((cluster, group), &held.idle, Instant::now());
        let idle = held.idle.into_iter().map(|(name, idle)| {
            let idle_for = times.get(&name).copied().map_or(Answer::Unknown, Answer::Known);
            IdleGroup { name, remaining: idle.remaining, idle_for }
        });
        Answer::Known(DrainFacts {
            // A name server that does not say may lead producers to it.
            routes_are_read_only: read_only.unwrap_or(false),
            remaining: held.remaining,
            idle: idle.collect(),
            ordered_topics: held.ordered_topics,
            top_lags: held.top_lags,
        })
    }
}

impl Default for Real {
    fn default() -> Self {
        Self::new()
    }
}

/// Looks until a broker that seems to hold nothing for anyone was at rest while it was looked at.
async fn held_at_rest(connections: &Connections, draining: &Draining) -> Result<Held, LookError> {
    for _ in 0..LOOKS_FOR_REST {
        let seen = look::look(connections, draining).await?;
        let held = held(&seen.found);
        if held.remaining > 0 || !seen.moved {
            return Ok(held);
        }
    }
    Err(LookError::Restless { looks: LOOKS_FOR_REST })
}

impl Members for Real {
    fn status(&self, at: &AdminPort) -> BoxFuture<'_, Answer<MemberFacts>> {
        let at = at.clone();
        self.ports.status(at).boxed()
    }

    fn push(
        &self,
        at: &AdminPort,
        properties: &BTreeMap<String, String>,
    ) -> BoxFuture<'_, Result<(), TellError>> {
        self.ports.push(at.clone(), properties_text(properties)).boxed()
    }

    fn drain(&self, draining: &Draining) -> BoxFuture<'_, Answer<DrainFacts>> {
        self.drain_facts(draining.clone()).boxed()
    }

    fn copies(&self, copying: &Copying) -> BoxFuture<'_, Answer<u32>> {
        let copying = copying.clone();
        async move {
            let compared = self.bounded(LOOK_TIMEOUT, async |connections| {
                copying::lacking(&connections, &copying).await.map_err(|error| error.to_string())
            });
            match compared.await.flatten() {
                Ok(lacking) => Answer::Known(lacking.count()),
                Err(why) => {
                    debug!(from = copying.from.name, to = copying.to.name, "not known what it lacks: {why}");
                    Answer::Unknown
                }
            }
        }
        .boxed()
    }

    fn copy_metadata(&self, copying: &Copying) -> BoxFuture<'_, Result<u32, TellError>> {
        let copying = copying.clone();
        async move {
            let what = format!("copy topics and groups from {} to {}", copying.from.name, copying.to.name);
            let copied =
                self.bounded(COPY_TIMEOUT, async |connections| copying::copy(&connections, &copying).await);
            match copied.await {
                Ok(Ok(count)) => Ok(count),
                Ok(Err(error)) if is_refusal(&error) => {
                    Err(TellError::Refused { what, why: error.to_string() })
                }
                Ok(Err(error)) => Err(TellError::NoAnswer { what, why: error.to_string() }),
                Err(why) => Err(TellError::NoAnswer { what, why }),
            }
        }
        .boxed()
    }
}

fn is_refusal(error: &CopyError) -> bool {
    match error {
        CopyError::Look(LookError::Request(error)) => error.refusal().is_some(),
        CopyError::Look(_) => false,
        CopyError::NotTaken(_) => true,
    }
}
