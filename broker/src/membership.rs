//! Keeps every name server informed: registers at the start, every 30 s, at once when anything that they know changes,
//! and leaves when the broker stops or a name server goes from its list (P§9). A slave learns from the answers where its
//! master is.
//!
//! | File | Does |
//! |---|---|
//! | `membership/registration.rs` | decides what is said |
//! | `membership/name_server.rs` | the life with one name server |
//! | `membership/resolver.rs` | where it is now |
//! | `membership/voice.rs` | decides what people are told of it |

mod name_server;
mod registration;
mod resolver;
mod voice;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use daemon::signals::Shutdown;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::info;

use crate::broker::Broker;
use crate::slave::Addresses;
use name_server::{NameServer, News, Report};
use registration::Registrations;

/// Changes that come together are told together.
const GATHER: Duration = Duration::from_millis(5);
/// Reports of name servers that wait to be looked at; further ones make them wait.
const MAX_REPORTS: usize = 64;

/// Registers until shutdown; `registered` becomes true with the first success. Then leaves.
pub async fn run(broker: Arc<Broker>, registered: watch::Sender<bool>, shutdown: Shutdown) {
    let (report, mut reports) = mpsc::channel(MAX_REPORTS);
    let mut crew = Crew {
        registrations: Arc::new(Registrations::new(broker.clone())),
        rounds: watch::Sender::new(0),
        report,
        hired: BTreeMap::new(),
        masters: BTreeMap::new(),
        registered,
    };
    crew.hire_missing();
    let mut next_round = Instant::now() + broker.config.register_period;
    loop {
        tokio::select! {
            () = shutdown.wait() => break,
            () = broker.changed.notified() => sleep(GATHER).await,
            () = sleep_until(next_round) => {}
            Some(report) = reports.recv() => {
                crew.on_report(report);
                continue;
            }
        }
        next_round = Instant::now() + broker.config.register_period;
        crew.dismiss_others();
        crew.rounds.send_modify(|round| *round += 1);
        crew.hire_missing();
    }
    // Nobody is to wait for its report to be read.
    drop(reports);
    crew.leave().await;
}

/// All name servers.
struct Crew {
    registrations: Arc<Registrations>,
    rounds: watch::Sender<u64>,
    report: mpsc::Sender<Report>,
    hired: BTreeMap<String, Hired>,
    /// The name servers that know the broker, and where its master is as they said last.
    masters: BTreeMap<String, Option<Addresses>>,
    registered: watch::Sender<bool>,
}

/// The task of one name server; dropping `stop` makes it leave.
struct Hired {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Crew {
    fn broker(&self) -> &Broker {
        &self.registrations.broker
    }

    fn wanted(&self) -> BTreeSet<String> {
        self.broker().live.load().name_servers.iter().cloned().collect()
    }

    /// Leaves the name servers that are not in the list any more.
    fn dismiss_others(&mut self) {
        let wanted = self.wanted();
        let mut gone = Vec::new();
        for (name, hired) in self.hired.iter_mut().filter(|(name, _)| !wanted.contains(*name)) {
            if hired.stop.take().is_some() {
                info!(name_server = name, "no name server of the cluster any more: leaving it");
                gone.push(name.clone());
            }
        }
        gone.iter().for_each(|name| self.forget(name));
    }

    /// Takes up new name servers. One that is just being left is taken up again when it has been left.
    fn hire_missing(&mut self) {
        // Nothing ends a task but a mistake in it; then it begins anew.
        self.hired.retain(|_, hired| !hired.task.is_finished());
        for name in self.wanted() {
            if !self.hired.contains_key(&name) {
                self.hire(name);
            }
        }
    }

    fn hire(&mut self, name: String) {
        let (stop, stopped) = oneshot::channel();
        let name_server = NameServer {
            name: name.clone(),
            registrations: self.registrations.clone(),
            rounds: self.rounds.subscribe(),
            reports: self.report.clone(),
        };
        let task = tokio::spawn(name_server.serve(stopped));
        self.hired.insert(name, Hired { stop: Some(stop), task });
    }

    fn forget(&mut self, name: &str) {
        self.masters.remove(name);
        self.broker().registered_at.lock().remove(name);
    }

    fn on_report(&mut self, Report { name, news }: Report) {
        let is_left = self.hired.get(&name).is_none_or(|hired| hired.stop.is_none());
        match news {
            News::Left => {
                self.hired.remove(&name);
                self.hire_missing();
            }
            News::Knows { .. } if is_left => {}
            News::Knows { master } => {
                self.broker().registered_at.lock().insert(name.clone());
                self.masters.insert(name, master);
                self.tell_slave();
                self.registered.send_if_modified(|registered| !std::mem::replace(registered, true));
            }
            News::DoesNot => self.forget(&name),
        }
    }

    /// Name servers may differ for a while; the first in the list that knows a master is believed.
    fn tell_slave(&self) {
        let Some(link) = &self.broker().slave else { return };
        let live = self.broker().live.load();
        let master = live.name_servers.iter().find_map(|name| self.masters.get(name)?.clone());
        link.on_registered(master);
    }

    /// Leaves all at the same time, so that one that does not answer keeps nothing from the others.
    async fn leave(self) {
        let tasks: Vec<_> = self.hired.into_values().map(|hired| hired.task).collect();
        for task in tasks {
            let _ = task.await;
        }
    }
}
