//! What all handlers of one name server share: routes, KV configuration, settings and the connections of brokers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use remoting::{Mailbox, Peer};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::config::{Config, Live};
use crate::kv_config::KvConfig;
use crate::routes::{ConnectionId, Departed, MinBrokerIdChange, Routes, Rules};
use crate::warm_up::Seen;

/// How many changes of a lowest broker id may wait to be sent. Members also ask for themselves, so one that is lost
/// costs them a second, not the truth.
pub const MAX_WAITING_CHANGES: usize = 1024;

/// The state of one name server.
pub struct NameServer {
    /// The route table.
    pub routes: RwLock<Routes>,
    /// The KV configuration.
    pub kv: KvConfig,
    /// When the server started.
    pub started: Instant,
    settings: RwLock<Arc<Config>>,
    /// Connections on which brokers registered, so that a silent broker's can be closed.
    connections: Mutex<HashMap<ConnectionId, Arc<Mailbox>>>,
    changes: mpsc::Sender<MinBrokerIdChange>,
}

impl NameServer {
    /// Makes a server with an empty route table, and the receiving end of what it wants to tell brokers.
    #[must_use]
    pub fn new(config: Config, kv: KvConfig, started: Instant) -> (Self, mpsc::Receiver<MinBrokerIdChange>) {
        let (changes, waiting) = mpsc::channel(MAX_WAITING_CHANGES);
        let server = Self {
            routes: RwLock::default(),
            kv,
            started,
            settings: RwLock::new(Arc::new(config)),
            connections: Mutex::default(),
            changes,
        };
        (server, waiting)
    }

    /// Returns the settings as they are now.
    #[must_use]
    pub fn settings(&self) -> Arc<Config> {
        self.settings.read().clone()
    }

    /// Puts new settings in force.
    pub fn set_settings(&self, config: Config) {
        *self.settings.write() = Arc::new(config);
    }

    /// Returns the live settings as they are now.
    #[must_use]
    pub fn live(&self) -> Live {
        self.settings.read().live
    }

    /// Returns the rules of the route table as they are now.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.live().rules
    }

    /// Returns which brokers have come.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let routes = self.routes.read();
        Seen { brokers: routes.live_brokers(), last_came: routes.last_came() }
    }

    /// Remembers the connection of a broker. The connection's end is the broker's end.
    pub fn keep_connection(&self, peer: &Peer) {
        self.connections.lock().entry(ConnectionId(peer.id)).or_insert_with(|| peer.mailbox.clone());
    }

    /// Closes the connection of a broker, if it is open.
    pub fn close(&self, connection: ConnectionId) {
        // What it stands for goes when it has ended.
        if let Some(mailbox) = self.connections.lock().get(&connection) {
            mailbox.close();
        }
    }

    /// Hands a change to the task that tells the brokers.
    pub fn announce(&self, change: Option<MinBrokerIdChange>) {
        let Some(change) = change else { return };
        info!(
            broker_name = change.broker_name,
            min_broker_id = change.min_broker_id,
            "lowest broker id changed"
        );
        if self.changes.try_send(change).is_err() {
            warn!("too many changes of lowest broker ids wait to be sent: one is dropped");
        }
    }

    /// Takes out the brokers of a connection that is gone.
    pub fn on_connection_closed(&self, connection: ConnectionId) {
        if self.connections.lock().remove(&connection).is_none() {
            return;
        }
        let rules = self.rules();
        let departed = self.routes.write().connection_closed(connection, &rules);
        for Departed { address, changes, .. } in departed {
            info!(
                cluster = address.cluster,
                addr = address.addr,
                "broker unregistered: its connection is closed"
            );
            changes.into_iter().for_each(|change| self.announce(Some(change)));
        }
    }

    /// Takes out the brokers that have been silent for too long, and closes their connections.
    pub fn scan(&self, now: Instant) {
        let rules = self.rules();
        let departed = self.routes.write().expire(&rules, now);
        for Departed { address, connection, changes } in departed {
            warn!(
                cluster = address.cluster,
                addr = address.addr,
                "broker unregistered: it has been silent for too long"
            );
            if let Some(mailbox) = self.connections.lock().remove(&connection) {
                mailbox.close();
            }
            changes.into_iter().for_each(|change| self.announce(Some(change)));
        }
    }
}
