//! What people are told of one name server: changes of state, each once, and trouble only when it lasts. At the start
//! of a cluster names do not resolve yet and nobody listens; that is no trouble.

use std::time::Duration;

use tokio::time::Instant;

/// A name server that is not reached for so long is trouble.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A line for the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// INFO: it knows the broker, for the first time.
    Registered,
    /// INFO: it knows the broker again.
    RegisteredAgain,
    /// INFO: it does not know the broker, for now.
    NotYet,
    /// WARN: and it has been so for [`PATIENCE`].
    Trouble,
}

/// Remembers what was said.
#[derive(Debug, Default)]
pub(super) struct Voice {
    knew: bool,
    /// Since when it has not known the broker, and whether that was called trouble.
    down: Option<(Instant, bool)>,
}

impl Voice {
    pub(super) fn on_registered(&mut self) -> Option<Line> {
        let was_down = self.down.take().is_some();
        match std::mem::replace(&mut self.knew, true) {
            false => Some(Line::Registered),
            true => was_down.then_some(Line::RegisteredAgain),
        }
    }

    pub(super) fn on_failed(&mut self, now: Instant) -> Option<Line> {
        match &mut self.down {
            None => {
                self.down = Some((now, false));
                Some(Line::NotYet)
            }
            Some((since, told @ false)) if now.saturating_duration_since(*since) >= PATIENCE => {
                *told = true;
                Some(Line::Trouble)
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_told_once_and_trouble_when_it_lasts() {
        let (mut voice, start) = (Voice::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(voice.on_failed(after(0)), Some(Line::NotYet));
        assert_eq!(voice.on_failed(after(1)), None);
        assert_eq!(voice.on_failed(after(59)), None);
        assert_eq!(voice.on_failed(after(60)), Some(Line::Trouble));
        assert_eq!(voice.on_failed(after(200)), None);
        assert_eq!(voice.on_registered(), Some(Line::Registered));
        assert_eq!(voice.on_registered(), None);
        assert_eq!(voice.on_failed(after(300)), Some(Line::NotYet), "patience begins anew");
        assert_eq!(voice.on_failed(after(301)), None);
        assert_eq!(voice.on_registered(), Some(Line::RegisteredAgain));
    }
}
