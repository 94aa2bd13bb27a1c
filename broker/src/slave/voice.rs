//! What people are told of a slave's life: each change once, however often it is tried.

use std::collections::BTreeSet;

use tracing::{info, warn};

use super::Ended;
use super::address::Target;
use super::followed_log::Kind;
use super::join::Joined;

/// The kind of trouble that a master makes that takes a connection and closes it at once.
pub(super) const CLOSED: &str = "closed";

/// What was said last.
#[derive(Debug, Default, PartialEq, Eq)]
enum Said {
    #[default]
    Nothing,
    Nowhere,
    Away,
    Lost,
    Trouble,
    Following,
    Level,
}

/// Says what changes.
#[derive(Default)]
pub(super) struct Voice {
    said: Said,
    /// Reasons that were told and have not been overcome, though the master came and went meanwhile.
    troubles: BTreeSet<&'static str>,
}

impl Voice {
    pub fn on_joined(&mut self, target: &Target, joined: &Joined, end: u64) {
        let kind = match joined.kind {
            Kind::Gantry => "Gantry",
            Kind::Java => "Java",
        };
        if self.troubles.is_empty() {
            info!(master = target.address, ha = joined.ha_address, kind, from = end, "following the master");
        }
        self.said = Said::Following;
    }

    /// The slave has all that the master has.
    pub fn on_level(&mut self) {
        // A master that closes every connection does so to level slaves too.
        if !self.troubles.contains(CLOSED) {
            self.troubles.clear();
            self.once(Said::Level, || info!("level with the master"));
        }
    }

    pub fn on_ended(&mut self, ended: &Ended, target: Option<&Target>) {
        let master = target.map_or("", |target| target.address.as_str());
        match ended {
            Ended::Nowhere => {
                self.once(Said::Nowhere, || info!("no name server has named a master yet; waiting"))
            }
            Ended::Away(why) => {
                let known_from = target.map_or("", |target| target.known_from);
                // Lost was said already, and that it is tried again.
                if self.said == Said::Lost {
                    self.said = Said::Away;
                }
                self.once(Said::Away, || {
                    info!(master, known_from, "the master is not reached, trying on: {why}");
                });
            }
            Ended::Lost(why) => {
                self.troubles.clear();
                self.once(Said::Lost, || info!(master, "the master is lost, trying on: {why}"));
            }
            Ended::Moved => info!(master, "the master is elsewhere now"),
            Ended::Trouble { kind, why } => {
                if self.troubles.insert(kind) {
                    warn!(master, "this slave does not follow, trying on: {why}");
                }
                self.said = Said::Trouble;
            }
        }
    }

    fn once(&mut self, now: Said, say: impl FnOnce()) {
        if self.said != now {
            say();
            self.said = now;
        }
    }
}
