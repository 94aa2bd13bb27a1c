//! Keeps every name server informed: registers at the start, every 30 s, at once when anything that they know changes,
//! and leaves when the broker stops (P§9). A name server that goes from the list is informed a while longer, for clients
//! still ask it. A slave learns from the answers where its master is.
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
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::info;

use crate::broker::Broker;
use crate::slave::Addresses;
use name_server::{NameServer, News, Report, Stay};
use registration::Registrations;

/// Changes that come together are told together.
const GATHER: Duration = Duration::from_millis(5);
/// How long a name server that went from the list is kept informed: clients hear of the shorter list later, and the
/// operator lets it run for a minute. Left at once, it would answer them that there is no topic.
const LINGER: Duration = Duration::from_secs(90);
/// Reports of name servers that wait to be looked at; further ones make them wait.
const MAX_REPORTS: usize = 64;

/// Registers until shutdown; `registered` becomes true with the first success. Then leaves.
pub async fn run(broker: Arc<Broker>, registered: watch::Sender<bool>, shutdown: Shutdown) {
    run_lingering(broker, registered, shutdown, LINGER).await;
}

/// As [`run`], but with another time than [`LINGER`].
pub async fn run_lingering(
    broker: Arc<Broker>,
    registered: watch::Sender<bool>,
    shutdown: Shutdown,
    linger: Duration,
) {
    let (report, mut reports) = mpsc::channel(MAX_REPORTS);
    let mut crew = Crew {
        registrations: Arc::new(Registrations::new(broker.clone())),
        rounds: watch::Sender::new(0),
        report,
        hired: BTreeMap::new(),
        hires: 0,
        masters: BTreeMap::new(),
        registered,
    };
    crew.follow_the_list(linger);
    let mut next_round = Instant::now() + broker.config.register_period;
    loop {
        let next_leave = crew.next_leave();
        tokio::select! {
            () = shutdown.wait() => break,
            () = broker.changed.notified() => sleep(GATHER).await,
            () = sleep_until(next_round) => {}
            () = sleep_until(next_leave.unwrap_or(next_round)), if next_leave.is_some() => {
                crew.leave_overdue();
                continue;
            }
            Some(report) = reports.recv() => {
                crew.on_report(report);
                continue;
            }
        }
        next_round = Instant::now() + broker.config.register_period;
        crew.rounds.send_modify(|round| *round += 1);
        crew.follow_the_list(linger);
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
    hires: u64,
    /// The name servers that know the broker, and where its master is as they said last.
    masters: BTreeMap<String, Option<Addresses>>,
    registered: watch::Sender<bool>,
}

/// The task of one name server.
struct Hired {
    number: u64,
    stay: watch::Sender<Stay>,
    /// When one that lingers is left.
    leaves: Option<Instant>,
    task: JoinHandle<()>,
}

impl Crew {
    fn broker(&self) -> &Broker {
        &self.registrations.broker
    }

    /// Takes up name servers that are new in the list; those that have gone from it linger.
    fn follow_the_list(&mut self, linger: Duration) {
        let wanted: BTreeSet<String> = self.broker().live.load().name_servers.iter().cloned().collect();
        // Nothing ends the task of a member but a mistake in it; then it begins anew.
        self.hired.retain(|_, hired| !hired.task.is_finished());
        let mut gone = Vec::new();
        for (name, hired) in &mut self.hired {
            match (wanted.contains(name), hired.leaves) {
                (true, Some(_)) => {
                    hired.leaves = None;
                    hired.stay.send_replace(Stay::Member);
                }
                (false, None) => {
                    info!(name_server = name, "no name server of the cluster any more");
                    hired.leaves = Some(Instant::now() + linger);
                    hired.stay.send_replace(Stay::Lingers);
                    gone.push(name.clone());
                }
                _ => {}
            }
        }
        gone.iter().for_each(|name| self.forget(name));
        for name in wanted {
            if !self.hired.contains_key(&name) {
                self.hire(name);
            }
        }
    }

    fn hire(&mut self, name: String) {
        self.hires += 1;
        let (number, stay) = (self.hires, watch::Sender::new(Stay::Member));
        let name_server = NameServer {
            name: name.clone(),
            number,
            registrations: self.registrations.clone(),
            rounds: self.rounds.subscribe(),
            stay: stay.subscribe(),
            reports: self.report.clone(),
        };
        let task = tokio::spawn(name_server.serve());
        self.hired.insert(name, Hired { number, stay, leaves: None, task });
    }

    fn next_leave(&self) -> Option<Instant> {
        let lingering = self.hired.values().filter(|hired| *hired.stay.borrow() == Stay::Lingers);
        lingering.filter_map(|hired| hired.leaves).min()
    }

    fn leave_overdue(&self) {
        let overdue = |hired: &&Hired| hired.leaves.is_some_and(|leaves| leaves <= Instant::now());
        for hired in self.hired.values().filter(overdue) {
            hired.stay.send_replace(Stay::Leaves);
        }
    }

    fn forget(&mut self, name: &str) {
        self.masters.remove(name);
        self.broker().registered_at.lock().remove(name);
    }

    fn on_report(&mut self, Report { name, number, news }: Report) {
        // The last words of a task that has a successor already are not about that one.
        let Some(hired) = self.hired.get(&name).filter(|hired| hired.number == number) else { return };
        let is_member = hired.leaves.is_none();
        match news {
            News::Left if is_member => {
                // Back in the list while it was being left.
                self.hired.remove(&name);
                self.hire(name);
            }
            News::Left => _ = self.hired.remove(&name),
            News::Knows { master } if is_member => {
                self.broker().registered_at.lock().insert(name.clone());
                self.masters.insert(name, master);
                self.tell_slave();
                self.registered.send_if_modified(|registered| !std::mem::replace(registered, true));
            }
            News::Knows { .. } => {}
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
        self.hired.values().for_each(|hired| _ = hired.stay.send_replace(Stay::Leaves));
        for hired in self.hired.into_values() {
            let _ = hired.task.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use store::disk::memory::MemoryDisk;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_last_words_of_a_task_do_not_end_its_successor() {
        let (dir, name) = (tempfile::tempdir().unwrap(), "127.0.0.1:1".to_owned());
        let broker = crate::test_slave::open(dir.path(), &MemoryDisk::new(64 << 20));
        broker.change_settings(&[("namesrvAddr".to_owned(), name.clone())]).unwrap();
        let (report, _reports) = mpsc::channel(MAX_REPORTS);
        let mut crew = Crew {
            registrations: Arc::new(Registrations::new(broker)),
            rounds: watch::Sender::new(0),
            report,
            hired: BTreeMap::new(),
            hires: 0,
            masters: BTreeMap::new(),
            registered: watch::Sender::new(false),
        };
        let number = |crew: &Crew| crew.hired[&name].number;
        crew.follow_the_list(LINGER);
        let first = number(&crew);
        let task = &mut crew.hired.get_mut(&name).unwrap().task;
        task.abort();
        let _ = task.await;
        crew.follow_the_list(LINGER);
        let second = number(&crew);
        assert_ne!(first, second);
        for (told_by, wanted) in [(first, second), (second, second + 1)] {
            crew.on_report(Report { name: name.clone(), number: told_by, news: News::Left });
            assert_eq!(number(&crew), wanted, "{told_by}");
        }
        crew.leave().await;
    }
}
