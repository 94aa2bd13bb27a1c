//! A broker as whoever looks after it sees it, from the first moment of its process to the last: what state it is in,
//! and which live settings it has. It takes those from a file or the admin port before there is a broker too: they say
//! which role it has, and which store.

use std::io;
use std::path::Path;
use std::sync::Arc;

use client::admin_status::{AdminStatus, StoreState};
use daemon::admin::Administered;
use daemon::health::Health;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{error, info, warn};

use crate::broker::Broker;
use crate::config::Config;
use crate::identity::{Identity, IdentityError};
use crate::live_file::{self, Basis, Decision, LiveFile, decide};
use crate::status;

/// The state of a member.
#[derive(Clone)]
pub enum Phase {
    /// There is no broker: it has no live settings yet, or has been stopped.
    Waiting,
    /// It has a store that is not the one it must have, and serves nothing.
    Held {
        /// What is wrong with it.
        state: StoreState,
        /// Whose it is, where it has an id.
        store_id: Option<String>,
    },
    /// It opens its store.
    Recovering {
        /// Its id.
        store_id: String,
    },
    /// It serves.
    Serving(Arc<Broker>),
}

impl Phase {
    /// The id of the store that is, or is being, opened.
    fn own_store(&self) -> Option<&str> {
        match self {
            Phase::Waiting | Phase::Held { .. } => None,
            Phase::Recovering { store_id } => Some(store_id),
            Phase::Serving(broker) => Some(&broker.identity.store_id),
        }
    }
}

/// Where live settings last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// In the store too: a restart with an older file does not go back.
    Kept,
    /// Until the process ends.
    ForNow,
}

/// See the module.
pub struct Member {
    basis: Basis,
    lasting: Lasting,
    health: Health,
    /// Held while a text is decided on and taken over, which may wait for the disk: one after the other.
    offering: Mutex<()>,
    state: Mutex<State>,
    news: Notify,
}

struct State {
    phase: Phase,
    live: Option<Arc<LiveFile>>,
    /// Why the last text that was offered does not hold.
    refused: Option<String>,
    /// The live settings that hold could not be kept yet.
    unkept: bool,
}

impl Member {
    /// Makes one that waits.
    pub fn new(basis: Basis, lasting: Lasting, health: Health) -> Arc<Member> {
        let state = State { phase: Phase::Waiting, live: None, refused: None, unkept: false };
        Arc::new(Member {
            basis,
            lasting,
            health,
            offering: Mutex::default(),
            state: Mutex::new(state),
            news: Notify::new(),
        })
    }

    /// Takes over the live settings that were kept in the store, if it is this member's. May wait for the disk.
    ///
    /// # Errors
    /// The disk failed.
    pub fn take_kept(&self) -> Result<(), IdentityError> {
        let config = &self.basis.config;
        let is_own = match Identity::find(config) {
            Ok(found) => found.is_some_and(|identity| identity.is_of(config)),
            // Told of later, when it is decided whether the store will do.
            Err(IdentityError::Damaged { .. }) => false,
            Err(e) => return Err(e),
        };
        if !is_own {
            return Ok(());
        }
        match live_file::find(&config.store_dir) {
            Ok(Some(text)) => {
                // One that cannot be used any more was told of.
                let _ = self.offer(&text, &config.store_dir.display().to_string());
            }
            Ok(None) => {}
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                warn!(
                    "the live settings kept in {} are damaged, waiting for others: {e}",
                    config.store_dir.display()
                );
            }
            Err(source) => return Err(IdentityError::Io { path: config.store_dir.clone(), source }),
        }
        Ok(())
    }

    /// Takes over live settings, if they are new; returns the revision that holds. `from` is told to people. May wait
    /// for the disk.
    ///
    /// # Errors
    /// Why they cannot be used, in words; nothing has changed then.
    pub fn offer(&self, text: &str, from: &str) -> Result<u64, String> {
        let _one = self.offering.lock();
        let (phase, last) = {
            let state = self.state.lock();
            (state.phase.clone(), state.live.clone())
        };
        let decision = decide(&self.basis, last.as_deref(), phase.own_store(), text);
        let done = match decision {
            Decision::Ignored => {
                if last.as_ref().is_some_and(|last| last.text == text) {
                    self.state.lock().refused = None;
                }
                Ok(last.map_or(0, |last| last.revision))
            }
            Decision::New(file) => self.take(*file, &phase, from),
            Decision::Refused(why) => Err(why),
        };
        if let Err(why) = &done {
            warn!(from, "live settings not taken over, what holds stays: {why}");
            self.state.lock().refused = Some(why.clone());
        }
        self.news.notify_one();
        done
    }

    fn take(&self, file: LiveFile, phase: &Phase, from: &str) -> Result<u64, String> {
        for unknown in live_file::unknown(&self.basis, &file) {
            warn!(from, "{unknown}; it is left out");
        }
        // Before anything of it holds: what was taken over is not forgotten.
        let unkept = phase.own_store().is_some() && !self.keep(&file.text);
        if let Phase::Serving(broker) = phase {
            broker.take_settings(file.config.live.clone()).map_err(|e| e.to_string())?;
        }
        let revision = file.revision;
        info!(revision, from, "live settings taken over");
        let mut state = self.state.lock();
        state.live = Some(Arc::new(file));
        state.unkept = unkept;
        state.refused = None;
        Ok(revision)
    }

    /// Says whether a text is kept now, as far as it has to be. A full disk must not keep a broker from being told what
    /// to do about it.
    fn keep(&self, text: &str) -> bool {
        if self.lasting == Lasting::ForNow {
            return true;
        }
        match live_file::keep(&self.basis.config.store_dir, text) {
            Ok(()) => true,
            Err(e) => {
                if !self.state.lock().unkept {
                    warn!("live settings hold, but a restart may forget them; keeping them is tried on: {e}");
                }
                false
            }
        }
    }

    /// Tries again to keep what could not be kept. May wait for the disk.
    pub fn keep_on(&self) {
        let _one = self.offering.lock();
        let unkept = {
            let state = self.state.lock();
            state.live.clone().filter(|_| state.unkept)
        };
        if let Some(live) = unkept
            && self.keep(&live.text)
        {
            self.state.lock().unkept = false;
        }
    }

    /// Decides whether the member may begin, with the settings it has then. Takes an empty store that it may have.
    /// Otherwise it is not ready and says why, until [`Member::news`]. May wait for the disk.
    ///
    /// # Errors
    /// The disk failed.
    pub fn decide_begin(&self, file: &Path) -> Result<Option<Config>, IdentityError> {
        let _one = self.offering.lock();
        let (live, refused) = {
            let state = self.state.lock();
            (state.live.clone(), state.refused.clone())
        };
        let Some(live) = live else {
            let why = refused.unwrap_or_else(|| format!("{} is not there", file.display()));
            self.not_ready(format!("waiting for live settings: {why}"));
            return Ok(None);
        };
        match Identity::open(&live.config) {
            Ok(identity) => {
                self.begin(identity);
                let unkept = !self.keep(&live.text);
                self.state.lock().unkept = unkept;
                Ok(Some(live.config.clone()))
            }
            Err(e @ IdentityError::Io { .. }) => Err(e),
            Err(e) => {
                self.hold(&e, &live.config);
                Ok(None)
            }
        }
    }

    fn hold(&self, why: &IdentityError, config: &Config) {
        let state = match why {
            IdentityError::Lost { .. } => StoreState::VolumeLost,
            _ => StoreState::StoreIdentityMismatch,
        };
        let found = Identity::find(config).ok().flatten();
        let store_id = found.map(|identity| identity.store_id);
        self.state.lock().phase = Phase::Held { state, store_id };
        let why = format!("{}: {why}", name_of(state));
        if self.health.ready().err().as_ref() != Some(&why) {
            error!("nothing is served: {why}");
        }
        self.health.set_not_ready(why);
    }

    fn not_ready(&self, why: String) {
        if self.health.ready().err().as_ref() != Some(&why) {
            info!("{why}");
        }
        self.health.set_not_ready(why);
    }

    /// The store is this member's; it is opened now.
    pub fn begin(&self, identity: Identity) {
        self.state.lock().phase = Phase::Recovering { store_id: identity.store_id };
        self.health.set_not_ready("recovering the store");
    }

    /// The broker is there. It gets what was taken over since its settings were read.
    pub fn serve(&self, broker: &Arc<Broker>) {
        let _one = self.offering.lock();
        let live = self.state.lock().live.clone();
        if let Some(live) = live
            && let Err(e) = broker.take_settings(live.config.live.clone())
        {
            warn!("live settings not taken over: {e}");
        }
        self.state.lock().phase = Phase::Serving(broker.clone());
    }

    /// The broker is no more.
    pub fn stop(&self) {
        self.state.lock().phase = Phase::Waiting;
    }

    /// Resolves when live settings came, or were refused, since the last time.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// Returns how the member is.
    pub fn status(&self) -> AdminStatus {
        let (phase, live, refused) = {
            let state = self.state.lock();
            (state.phase.clone(), state.live.clone(), state.refused.clone())
        };
        let config = live.as_ref().map_or(&self.basis.config, |live| &live.config);
        let mut status = status::of(&phase, config);
        status.config_revision = live.as_ref().map_or(0, |live| live.revision);
        let unready = self.health.ready().err();
        status.ready = unready.is_none();
        // One that waits for live settings has said why.
        let refused = refused.filter(|why| !unready.as_ref().is_some_and(|unready| unready.contains(why)));
        let refused = refused.map(|why| format!("live settings refused: {why}"));
        status.reason = unready.into_iter().chain(refused).collect::<Vec<_>>().join("; ");
        status
    }
}

/// As it stands in conditions and events.
fn name_of(state: StoreState) -> &'static str {
    match state {
        StoreState::VolumeLost => "VolumeLost",
        StoreState::StoreIdentityMismatch => "StoreIdentityMismatch",
        StoreState::Ok | StoreState::Recovering => "",
    }
}

impl Administered for Member {
    fn status(&self) -> String {
        // Numbers, text and lists of them: nothing of it can fail.
        serde_json::to_string(&Member::status(self)).unwrap_or_default()
    }

    fn put_config(&self, text: &str) -> Result<String, String> {
        let revision = self.offer(text, "the admin port")?;
        Ok(format!("{{\"revision\":{revision}}}"))
    }
}
