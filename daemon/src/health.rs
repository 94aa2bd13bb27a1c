//! Whether this process is alive and ready, as probes ask for it. What makes a member ready is decided
//! by the member; here it is only remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::time::Instant;

use crate::signals::Shutdown;

/// How old the last beat of a started process may be.
pub const BEAT_LIMIT: Duration = Duration::from_secs(10);

/// How long a process that still recovers may go without progress.
pub const PROGRESS_LIMIT: Duration = Duration::from_secs(120);

/// How often [`Health::keep_beating`] beats.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// Health of a process; clones share it. It begins recovering and not ready.
#[derive(Clone, Debug)]
pub struct Health {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    created: Instant,
    last_beat_ms: AtomicU64,
    started: AtomicBool,
    readiness: RwLock<Result<(), String>>,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// Creates the health of a process that has just begun to start.
    pub fn new() -> Self {
        Self {
            state: Arc::new(State {
                created: Instant::now(),
                last_beat_ms: AtomicU64::new(0),
                started: AtomicBool::new(false),
                readiness: RwLock::new(Err("starting".to_owned())),
            }),
        }
    }

    /// Shows a sign of life: of the event loop, or, while recovering, of progress.
    pub fn beat(&self) {
        let now = self.state.created.elapsed().as_millis() as u64;
        self.state.last_beat_ms.fetch_max(now, Ordering::Relaxed);
    }

    /// Beats until `shutdown`, as a task on the runtime whose life it shows. Spawn it once the process
    /// has recovered; before, progress is the only sign of life that counts.
    pub async fn keep_beating(self, shutdown: Shutdown) {
        let mut tick = tokio::time::interval(BEAT_EVERY);
        while !shutdown.is_triggered() {
            tick.tick().await;
            self.beat();
        }
    }

    /// Says that recovery begins: from now on only progress shows life, and may be [`PROGRESS_LIMIT`] old.
    pub fn set_recovering(&self) {
        self.beat();
        self.state.started.store(false, Ordering::Relaxed);
    }

    /// Says that recovery is over: from now on a beat may only be [`BEAT_LIMIT`] old.
    pub fn set_started(&self) {
        self.beat();
        self.state.started.store(true, Ordering::Relaxed);
    }

    /// Says that the member can serve its role and is in sync.
    pub fn set_ready(&self) {
        *self.state.readiness.write() = Ok(());
    }

    /// Says that the member cannot serve, and why, in words that a user reads in `kubectl describe`.
    pub fn set_not_ready(&self, reason: impl Into<String>) {
        *self.state.readiness.write() = Err(reason.into());
    }

    /// Returns whether the process lives.
    ///
    /// # Errors
    /// How long it has shown no sign of life; whoever watches it should restart it.
    pub fn live(&self) -> Result<(), String> {
        let started = self.state.started.load(Ordering::Relaxed);
        let limit = if started { BEAT_LIMIT } else { PROGRESS_LIMIT };
        let last = Duration::from_millis(self.state.last_beat_ms.load(Ordering::Relaxed));
        let silent = self.state.created.elapsed().saturating_sub(last);
        match silent < limit {
            true => Ok(()),
            false if started => Err(format!("no beat of the event loop for {} s", silent.as_secs())),
            false => Err(format!("no progress of the recovery for {} s", silent.as_secs())),
        }
    }

    /// Returns whether the member is ready.
    ///
    /// # Errors
    /// The reason why it is not; clients should be kept away.
    pub fn ready(&self) -> Result<(), String> {
        self.state.readiness.read().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_long_recovery_lives_as_long_as_it_makes_progress() {
        let health = Health::new();
        tokio::time::advance(Duration::from_secs(119)).await;
        assert_eq!(health.live(), Ok(()));
        health.beat();
        tokio::time::advance(Duration::from_secs(119)).await;
        assert_eq!(health.live(), Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(health.live(), Err("no progress of the recovery for 120 s".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_started_process_has_to_beat_every_ten_seconds() {
        let health = Health::new();
        health.set_started();
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(health.live(), Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(health.live(), Err("no beat of the event loop for 10 s".to_owned()));
        health.beat();
        assert_eq!(health.live(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_waited_for_its_settings_recovers_as_long_as_one_that_did_not() {
        let health = Health::new();
        health.set_started();
        tokio::time::advance(Duration::from_secs(3600)).await;
        health.set_recovering();
        tokio::time::advance(Duration::from_secs(119)).await;
        assert_eq!(health.live(), Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(health.live(), Err("no progress of the recovery for 120 s".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_beating_task_keeps_it_alive_until_the_stop() {
        let (health, shutdown) = (Health::new(), Shutdown::new());
        health.set_started();
        let task = tokio::spawn(health.clone().keep_beating(shutdown.clone()));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(health.live(), Ok(()));
        shutdown.trigger();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn readiness_carries_its_reason() {
        let health = Health::new();
        assert_eq!(health.ready(), Err("starting".to_owned()));
        health.set_ready();
        assert_eq!(health.ready(), Ok(()));
        health.set_not_ready("disk full");
        assert_eq!(health.clone().ready(), Err("disk full".to_owned()));
    }
}
