//! The one stop signal of a process. Who waits for it and what they do then is not known here.

use std::sync::Arc;

use tokio::sync::watch;

/// The exit status of a process that was told twice to stop: the shell's "interrupted".
const INTERRUPTED: i32 = 130;

/// A stop signal that many tasks can wait for. Clones share the signal; it is never taken back.
#[derive(Clone, Debug)]
pub struct Shutdown {
    stop: Arc<watch::Sender<bool>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Creates a signal that only [`Shutdown::trigger`] sets off.
    pub fn new() -> Self {
        Self { stop: Arc::new(watch::Sender::new(false)) }
    }

    /// Creates a signal that SIGTERM and SIGINT set off; a second one of them ends the process at once
    /// with status 130, for a user whose clean stop takes too long. Call it once, inside a runtime.
    ///
    /// # Errors
    /// The handlers could not be installed; the process should not go on.
    pub fn on_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = Self::new();
        let handle = shutdown.clone();
        tokio::spawn(async move {
            let mut next = async || {
                tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                }
            };
            // Waited for outside the log calls: those evaluate nothing when their level is off.
            let first = next().await;
            tracing::info!("stopping on {first}");
            handle.trigger();
            let second = next().await;
            tracing::warn!("second {second}: leaving without a clean stop");
            std::process::exit(INTERRUPTED);
        });
        Ok(shutdown)
    }

    /// Sets the signal off. Doing it again changes nothing.
    pub fn trigger(&self) {
        self.stop.send_replace(true);
    }

    /// Returns whether the signal was set off.
    pub fn is_triggered(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until the signal is set off; returns at once when it was. Safe to cancel.
    pub async fn wait(&self) {
        let mut receiver = self.stop.subscribe();
        // The sender lives as long as `self`, so the wait ends only with the signal.
        let _ = receiver.wait_for(|stop| *stop).await;
    }

    /// Returns the signal in the form that crates without this one understand.
    pub fn receiver(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everyone_hears_the_signal_also_those_who_come_late() {
        let shutdown = Shutdown::new();
        let early = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.wait().await }
        });
        assert!(!shutdown.is_triggered());
        shutdown.clone().trigger();
        shutdown.trigger();
        early.await.unwrap();
        shutdown.wait().await;
        assert!(shutdown.is_triggered());
        assert!(*shutdown.receiver().borrow());
    }

    #[tokio::test]
    async fn a_process_that_logs_nothing_still_stops_on_a_signal_and_not_before() {
        let shutdown = Shutdown::on_signals().unwrap();
        // Long enough for the task to reach its wait: it has nothing else to do.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!shutdown.is_triggered());
        let kill = std::process::Command::new("kill").arg(std::process::id().to_string()).status();
        assert!(kill.unwrap().success());
        shutdown.wait().await;
    }
}
