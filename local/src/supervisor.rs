//! One member: start it, wait until it is ready, start it again when it dies, stop it when asked.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use manifest::Role;
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::board::{Board, MemberFailed, Standing};
use crate::child::{Child, last_words};
use crate::event::{Event, Ready};
use crate::health::{NotReady, wait_until_ready};
use crate::options::LocalOptions;
use crate::placement::Placement;
use crate::ports::loopback;
use crate::restart::{Decision, Failures};

/// The exit status with which a member says that its settings cannot be used: no restart helps.
pub(crate) const UNUSABLE_SETTINGS: i32 = 2;

/// Who hears what happens.
pub(crate) type Listener = Arc<dyn Fn(Event) + Send + Sync>;

/// Everything one member needs to run.
pub(crate) struct Supervisor {
    pub(crate) placement: Placement,
    pub(crate) options: Arc<LocalOptions>,
    pub(crate) board: Board,
    pub(crate) listener: Listener,
    pub(crate) stop: watch::Receiver<bool>,
    /// Whether it starts with the whole cluster: a broker then waits for the name servers, and the cluster ends when the
    /// member is given up.
    pub(crate) from_the_start: bool,
    /// Whether the member ran before this.
    pub(crate) ran_before: bool,
}

/// Why a member's run ended.
enum RunEnd {
    Stopped,
    Died(Death),
}

/// The end of a process that nobody asked for.
struct Death {
    how: String,
    /// How long it had been ready; `None`: it never was.
    ready_for: Option<Duration>,
    /// Whether it would end in the same way again.
    hopeless: bool,
    /// Whether its log says why; somebody else's SIGKILL it never heard of.
    knew: bool,
}

impl Supervisor {
    /// Runs the member until it is stopped or given up.
    pub(crate) async fn run(mut self) {
        if !self.wait_for_name_servers().await {
            return;
        }
        let mut failures = Failures::default();
        let mut ran_before = self.ran_before;
        loop {
            let death = match self.run_once(ran_before).await {
                RunEnd::Stopped => return,
                RunEnd::Died(death) => death,
            };
            ran_before |= death.ready_for.is_some();
            let decision = failures.decide_restart(&self.options.restart, death.ready_for);
            let (member, how, log) = (self.name(), death.how, self.placement.log_file());
            let last_words = if death.knew { last_words(&log) } else { None };
            match decision {
                Decision::RestartIn(restart_in) if !death.hopeless => {
                    self.tell(Event::Died { member, how, last_words, log, restart_in });
                    tokio::select! {
                        () = sleep(restart_in) => {}
                        () = stopped(&mut self.stop) => return,
                    }
                }
                _ => {
                    let failed = MemberFailed { member, how, last_words, log };
                    if !self.from_the_start {
                        self.tell(Event::Note(failed.to_string()));
                    }
                    self.update(|standing| standing.failed = Some(failed));
                    return;
                }
            }
        }
    }

    /// Brokers start after the name servers, so that their first registration succeeds; `false` is a stop
    /// before that.
    async fn wait_for_name_servers(&mut self) -> bool {
        if !self.from_the_start || self.placement.role == Role::NameServer {
            return true;
        }
        tokio::select! {
            () = self.board.all_ready(Some(Role::NameServer)) => true,
            () = stopped(&mut self.stop) => false,
        }
    }

    async fn run_once(&mut self, ran_before: bool) -> RunEnd {
        let started = Instant::now();
        let mut child = match Child::spawn(&self.options.gantry_bin, &self.placement) {
            Ok(child) => child,
            Err(error) => {
                let how = format!("start {}: {error}", self.options.gantry_bin.display());
                return RunEnd::Died(Death { how, ready_for: None, hopeless: true, knew: false });
            }
        };
        self.update(|standing| standing.pid = Some(child.pid()));
        let end = self.watch(&mut child, started, ran_before).await;
        self.update(|standing| {
            standing.pid = None;
            standing.ready = false;
        });
        end
    }

    async fn watch(&mut self, child: &mut Child, started: Instant, ran_before: bool) -> RunEnd {
        let health = loopback(self.placement.ports.health);
        let mut last = NotReady::default();
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            end = child.wait() => return died(end, None),
            () = stopped(&mut stop) => return self.stop_child(child).await,
            ready = self.ready_in_time(health, &mut last) => if !ready {
                child.kill();
                let _ = child.wait().await;
                let how = format!("not ready after {:?}: {}", self.options.ready_within, last.reason);
                return RunEnd::Died(Death { how, ready_for: None, hopeless: false, knew: true });
            },
        }
        let ready_since = Instant::now();
        let ready = Ready {
            member: self.name(),
            role: self.placement.role,
            duty: self.placement.duty(),
            address: loopback(self.placement.ports.remoting),
            health,
            pid: child.pid(),
            took: ready_since - started,
        };
        self.tell(if ran_before { Event::Restarted(ready) } else { Event::Ready(ready) });
        self.update(|standing| {
            standing.ready = true;
            standing.late = false;
        });
        tokio::select! {
            end = child.wait() => died(end, Some(ready_since.elapsed())),
            () = stopped(&mut self.stop) => self.stop_child(child).await,
        }
    }

    /// Waits until the member is ready; `false`: its time is over. A slave that lives has no end of its time:
    /// to catch up may take hours, and starting it again would not help.
    async fn ready_in_time(&self, health: SocketAddr, last: &mut NotReady) -> bool {
        let LocalOptions { ready_within, told_after, .. } = *self.options;
        let first = told_after.min(ready_within);
        if timeout(first, wait_until_ready(health, last)).await.is_ok() {
            return true;
        }
        let mut left = ready_within - first;
        if !left.is_zero() {
            self.tell(Event::Note(format!("{} is not ready yet: {}", self.name(), last.reason)));
        }
        while timeout(left, wait_until_ready(health, last)).await.is_err() {
            if !(self.placement.is_slave() && last.answered) {
                return false;
            }
            self.go_on_without(&last.reason);
            left = ready_within;
        }
        true
    }

    fn go_on_without(&self, reason: &str) {
        let (name, after) = (self.name(), self.options.ready_within);
        let mut known = false;
        self.update(|standing| known = std::mem::replace(&mut standing.late, true));
        if !known {
            let text =
                format!("{name} is not ready after {after:?}: {reason}; the cluster goes on without it");
            self.tell(Event::Note(text));
        }
    }

    async fn stop_child(&self, child: &mut Child) -> RunEnd {
        let limit = match self.placement.role {
            Role::NameServer => self.options.name_server_stops_within,
            Role::Broker => self.options.broker_stops_within,
        };
        child.terminate();
        if let Ok(end) = timeout(limit, child.wait()).await {
            let problem = end.ok().filter(|status| !status.success()).map(|status| status.to_string());
            self.tell(Event::Stopped { member: self.name(), problem });
        } else {
            child.kill();
            let _ = child.wait().await;
            self.tell(Event::Killed { member: self.name(), after: limit });
        }
        RunEnd::Stopped
    }

    fn update(&self, change: impl FnOnce(&mut Standing)) {
        self.board.update(&self.placement.name, change);
    }

    fn tell(&self, event: Event) {
        (self.listener)(event);
    }

    fn name(&self) -> String {
        self.placement.name.clone()
    }
}

fn died(end: std::io::Result<ExitStatus>, ready_for: Option<Duration>) -> RunEnd {
    RunEnd::Died(match end {
        Ok(status) => Death {
            how: status.to_string(),
            ready_for,
            hopeless: status.code() == Some(UNUSABLE_SETTINGS) && ready_for.is_none(),
            knew: status.signal() != Some(Signal::KILL.as_raw()),
        },
        Err(error) => {
            Death { how: format!("wait for the process: {error}"), ready_for, hopeless: true, knew: true }
        }
    })
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A closed channel means that the cluster was dropped: stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}
