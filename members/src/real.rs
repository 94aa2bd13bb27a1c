//! The members of real clusters: HTTP to admin ports, the remoting protocol for everything else, and a bound on each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::Connections;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use planner::facts::{Answer, DrainFacts, IdleGroup, MemberFacts, OnlyHere};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::admin_port::{AdminPorts, properties_text};
use crate::copying::{self, CopyError};
use crate::held::{Held, held};
use crate::idle::IdleTimes;
use crate::look::{self, Led, LookError, Seen};
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
            let held = at_rest(|| look::look(&connections, &draining));
            let held = held.await.map_err(|error| error.to_string())?;
            let only_here = copying::only_here(&connections, &draining).await;
            let only_here = only_here.map_err(|error| error.to_string())?;
            let led = look::led(&connections, &draining).await;
            Ok::<_, String>((held, led, only_here))
        });
        let (group, cluster) = (&draining.master.name, &draining.cluster);
        let (held, led, only_here) = match looked.await.flatten() {
            Ok(looked) => looked,
            Err(why) => {
                debug!(cluster, group, "not known what it holds: {why}");
                return Answer::Unknown;
            }
        };
        let led = led.unwrap_or_else(|why| {
            debug!(cluster, group, "not known where producers are led: {why}");
            // A name server that does not say may lead producers to it.
            Led { by_routes: true, ..Led::default() }
        });
        let times = self.idle.lock().note((cluster, group), &held.idle, Instant::now());
        let idle = held.idle.into_iter().map(|(name, idle)| {
            let idle_for = times.get(&name).copied().map_or(Answer::Unknown, Answer::Known);
            IdleGroup { name, remaining: idle.remaining, idle_for }
        });
        Answer::Known(DrainFacts {
            routes_are_read_only: !led.by_routes,
            remaining: held.remaining,
            idle: idle.collect(),
            unread_ordered: held.unread_ordered,
            order_configured: led.by_order.into_iter().collect(),
            only_here: OnlyHere {
                topics: only_here.topics.into_iter().map(|topic| topic.topic_name).collect(),
                groups: only_here.groups.into_iter().map(|group| group.group_name).collect(),
            },
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
async fn at_rest<F>(mut look: impl FnMut() -> F) -> Result<Held, LookError>
where
    F: Future<Output = Result<Seen, LookError>>,
{
    for _ in 0..LOOKS_FOR_REST {
        let seen = look().await?;
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
                    debug!(to = copying.to.name, "not known what it lacks: {why}");
                    Answer::Unknown
                }
            }
        }
        .boxed()
    }

    fn copy_metadata(&self, copying: &Copying) -> BoxFuture<'_, Result<u32, TellError>> {
        let copying = copying.clone();
        async move {
            let from = copying.from.iter().map(|master| master.name.as_str()).collect::<Vec<_>>().join(", ");
            let what = format!("copy topics and groups from {from} to {}", copying.to.name);
            let copied =
                self.bounded(COPY_TIMEOUT, async |connections| copying::copy(&connections, &copying).await);
            told(what, copied.await)
        }
        .boxed()
    }

    fn hand_over(&self, draining: &Draining, what: &OnlyHere) -> BoxFuture<'_, Result<u32, TellError>> {
        let (draining, what) = (draining.clone(), what.clone());
        async move {
            let made = self.bounded(COPY_TIMEOUT, async |connections| {
                Ok(copying::hand_over(&connections, &draining, &what).await?)
            });
            told(format!("make what only {} has on other groups", draining.master.name), made.await)
        }
        .boxed()
    }
}

fn told(what: String, done: Result<Result<u32, CopyError>, String>) -> Result<u32, TellError> {
    match done {
        Ok(Ok(count)) => Ok(count),
        Ok(Err(error)) if is_refusal(&error) => Err(TellError::Refused { what, why: error.to_string() }),
        Ok(Err(error)) => Err(TellError::NoAnswer { what, why: error.to_string() }),
        Err(why) => Err(TellError::NoAnswer { what, why }),
    }
}

fn is_refusal(error: &CopyError) -> bool {
    match error {
        CopyError::Look(LookError::Request(error)) => error.refusal().is_some(),
        CopyError::Look(_) => false,
        CopyError::NotTaken(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held::{Bounds, Found, Topic};

    /// Delayed messages are held whoever reads.
    fn seen(delayed: i64, moved: bool) -> Seen {
        let queues = [(0, Bounds { min: 0, max: delayed })].into();
        let topic = Topic { ordered: false, queues };
        let topics = [("SCHEDULE_TOPIC_XXXX".to_owned(), topic)].into();
        Seen { found: Found { topics, ..Found::default() }, moved }
    }

    #[tokio::test]
    async fn a_broker_is_empty_only_when_nothing_moved_while_it_was_looked_at() {
        type Case = (&'static str, &'static [(i64, bool)], Option<u64>, usize);
        let cases: [Case; 5] = [
            ("it is empty and at rest", &[(0, false)], Some(0), 1),
            ("it holds something, moved or not", &[(3, true)], Some(3), 1),
            ("it seemed empty, and then was not", &[(0, true), (2, true)], Some(2), 2),
            ("it came to rest", &[(0, true), (0, true), (0, false)], Some(0), 3),
            ("it did not", &[(0, true), (0, true), (0, true), (0, false)], None, 3),
        ];
        for (name, looks, expected, asked) in cases {
            let mut count = 0;
            let held = at_rest(|| {
                count += 1;
                let (delayed, moved) = looks[count - 1];
                std::future::ready(Ok(seen(delayed, moved)))
            });
            let remaining = held.await.ok().map(|held| held.remaining);
            assert_eq!((remaining, count), (expected, asked), "{name}");
        }
    }
}
