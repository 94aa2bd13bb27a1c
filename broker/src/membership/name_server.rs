//! The life with one name server: found by its name, told of the broker in every round, looked for again when it is lost
//! or its name leads elsewhere, and left at the end. What other name servers do is not known here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use client::namesrv::{self, Registered};
use remoting::{Client, ClientOptions};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::registration::{Registration, Registrations, identity};
use super::resolver::Resolver;
use super::voice::{Line, Voice};
use crate::config::Config;
use crate::slave::Addresses;

/// A name server that does not know the broker is tried again after this long: a cluster that starts waits for it.
const RETRY: Duration = Duration::from_millis(500);
/// One that is there and takes no registration is tried after twice as long each time, but no more seldom than this: all
/// topics go over the wire every time.
const SLOWEST_RETRY: Duration = Duration::from_secs(8);
/// How long connecting may take: whoever is there answers sooner, and another address may be the right one by then.
const CONNECT: Duration = Duration::from_secs(2);

/// How a name server stands to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stay {
    /// It is one of the cluster's.
    Member,
    /// It is none any more, but clients ask it still: it is kept informed as long as it is there.
    Lingers,
    /// It is to be left.
    Leaves,
}

/// What became of telling a name server.
pub(super) struct Report {
    pub(super) name: String,
    /// The number of the task that reports.
    pub(super) number: u64,
    pub(super) news: News,
}

pub(super) enum News {
    /// It knows the broker.
    Knows {
        /// Where the broker's master is, if it has one and the name server knows it.
        master: Option<Addresses>,
    },
    /// It does not, or not any more.
    DoesNot,
    /// It was left, or went when it was none of the cluster's any more.
    Left,
}

/// One name server.
pub(super) struct NameServer {
    pub(super) name: String,
    /// Of all tasks that had, or have, this name server.
    pub(super) number: u64,
    pub(super) registrations: Arc<Registrations>,
    /// Another number: something is to be told.
    pub(super) rounds: watch::Receiver<u64>,
    pub(super) stay: watch::Receiver<Stay>,
    pub(super) reports: mpsc::Sender<Report>,
}

/// A connection on which the broker was told of.
struct Connected {
    client: Client,
    /// The address it was told with last.
    told: Option<String>,
    /// Whether it has taken a registration.
    knows: bool,
}

impl NameServer {
    /// Keeps the name server informed as long as it is to stay, then leaves it.
    pub(super) async fn serve(mut self) {
        let (mut connected, mut stay) = (None, self.stay.clone());
        tokio::select! {
            // Whoever is to be left hears of nothing else.
            biased;
            _ = stay.wait_for(|stay| *stay == Stay::Leaves) => {}
            () = self.keep_informed(&mut connected) => {}
        }
        if let Some(connected) = connected {
            self.leave(&connected).await;
        }
        self.report(News::Left).await;
    }

    async fn keep_informed(&mut self, slot: &mut Option<Connected>) {
        let (mut resolver, mut voice, mut in_vain) = (Resolver::new(&self.name), Voice::default(), 0);
        loop {
            let Err(why) = self.inform(slot, &mut resolver, &mut voice).await;
            let was_there_in_vain = slot.take().is_some_and(|connected| !connected.knows);
            in_vain = if was_there_in_vain { u32::saturating_add(in_vain, 1) } else { 0 };
            if *self.stay.borrow() != Stay::Member {
                return;
            }
            let name_server = &self.name;
            match voice.on_failed(Instant::now()) {
                Some(Line::Trouble) => warn!(name_server, "still not registered, trying on: {why}"),
                Some(_) => info!(name_server, "not registered, trying on: {why}"),
                None => {}
            }
            self.report(News::DoesNot).await;
            sleep(retry_after(in_vain)).await;
        }
    }

    /// Connects and tells every round, until it fails.
    async fn inform(
        &mut self,
        slot: &mut Option<Connected>,
        resolver: &mut Resolver,
        voice: &mut Voice,
    ) -> Result<std::convert::Infallible, String> {
        let (client, peer) = connect(resolver).await?;
        let connected = slot.insert(Connected { client, told: None, knows: false });
        let elsewhere = || format!("its name does not lead to {peer} any more");
        loop {
            let round = *self.rounds.borrow_and_update();
            let registration = self.registrations.of(round);
            let config = &self.registrations.broker.config;
            let registered = tokio::select! {
                told = connected.tell(config, &registration) => told?,
                () = resolver.moved_from(peer) => return Err(elsewhere()),
            };
            drop(registration);
            connected.knows = true;
            match voice.on_registered() {
                Some(Line::Registered) => info!(name_server = self.name, %peer, "registered"),
                Some(_) => info!(name_server = self.name, %peer, "registered again"),
                None => {}
            }
            self.report(News::Knows { master: master(config, registered) }).await;
            tokio::select! {
                Ok(()) = self.rounds.changed() => {}
                () = connected.client.lost() => return Err(format!("the connection to {peer} is lost")),
                () = resolver.moved_from(peer) => return Err(elsewhere()),
            }
        }
    }

    async fn leave(&self, connected: &Connected) {
        let Some(address) = &connected.told else { return };
        let identity = identity(&self.registrations.broker.config, address);
        // A name server that cannot be told forgets us with the connection.
        match namesrv::unregister_broker(&connected.client, &identity).await {
            Ok(()) => info!(name_server = self.name, "unregistered"),
            Err(e) => info!(name_server = self.name, "not unregistered: {e}"),
        }
    }

    async fn report(&self, news: News) {
        // Nobody listens when the broker stops.
        let _ = self.reports.send(Report { name: self.name.clone(), number: self.number, news }).await;
    }
}

impl Connected {
    async fn tell(&mut self, config: &Config, registration: &Registration) -> Result<Registered, String> {
        // Noted first: a request that nobody waits for any more may have been carried out.
        let before = self.told.replace(registration.address.clone());
        let header = registration.header(config);
        let registered = namesrv::register_broker(&self.client, &header, &registration.body).await;
        let registered = registered.map_err(|e| e.to_string())?;
        if let Some(before) = before.filter(|before| *before != registration.address) {
            // Only now, so that the routes are never without the broker.
            let left = namesrv::unregister_broker(&self.client, &identity(config, &before)).await;
            left.map_err(|e| e.to_string())?;
        }
        Ok(registered)
    }
}

/// Returns when to try again after a name server was connected to so many times in a row and took no registration.
fn retry_after(in_vain: u32) -> Duration {
    SLOWEST_RETRY.min(RETRY.saturating_mul(1 << in_vain.saturating_sub(1).min(10)))
}

/// Connects to the first of its addresses that can be reached.
async fn connect(resolver: &mut Resolver) -> Result<(Client, SocketAddr), String> {
    let mut why = String::new();
    for peer in resolver.resolve().await.map_err(|e| e.to_string())? {
        let options = ClientOptions { connect_timeout: CONNECT, ..ClientOptions::default() };
        match Client::connect(&peer.to_string(), options).await {
            Ok(client) => return Ok((client, peer)),
            Err(e) => why = e.to_string(),
        }
    }
    Err(why)
}

/// Returns where the master of a slave is, as a name server says.
fn master(config: &Config, registered: Registered) -> Option<Addresses> {
    let address = registered.master_addr.filter(|address| config.live.is_slave() && !address.is_empty())?;
    Some(Addresses { address, ha_address: registered.ha_server_addr.filter(|ha| !ha.is_empty()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_not_there_is_looked_for_often_and_one_that_refuses_is_asked_less_and_less() {
        let seconds = |in_vain| retry_after(in_vain).as_secs_f64();
        assert_eq!([0, 1, 2, 3, 4, 5, 6, u32::MAX].map(seconds), [0.5, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]);
    }
}
