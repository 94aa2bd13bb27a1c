//! Keeps every name server informed: registers at the start, every 30 s, at once when topics change, and leaves when
//! the broker stops (P§9). A slave learns from the answers where its master is.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::Connections;
use client::namesrv::{self, Registered};
use daemon::signals::Shutdown;
use protocol::bodies::register_broker::RegisterBrokerBody;
use protocol::bodies::topic_config::TopicConfigSerializeWrapper;
use protocol::requests::{BrokerIdentity, RegisterBroker};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::broker::Broker;
use crate::config::Config;
use crate::handlers::admin::replication::ha_address;
use crate::slave::Addresses;

/// Name servers that could not be told are tried again this often; the others are left alone meanwhile.
const RETRY: Duration = Duration::from_secs(1);
/// Changes that come together are told together.
const GATHER: Duration = Duration::from_millis(5);

/// Registers until shutdown; `registered` becomes true with the first success. Then leaves.
pub async fn run(broker: Arc<Broker>, registered: watch::Sender<bool>, shutdown: Shutdown) {
    let connections = Connections::default();
    let mut down: Vec<String> = Vec::new();
    let mut targets = broker.live.load().name_servers.clone();
    let mut all_told = Instant::now();
    loop {
        let told = tokio::select! {
            () = shutdown.wait() => break,
            told = register_at(&targets, &broker, &connections, &mut down) => told,
        };
        let all = targets == broker.live.load().name_servers;
        if all {
            all_told = Instant::now();
        }
        if let Some(link) = &broker.slave
            && told.known > 0
            && (all || told.master.is_some())
        {
            link.on_registered(told.master);
        }
        registered.send_if_modified(|r| {
            !*r && told.known > 0 && {
                *r = true;
                true
            }
        });
        targets.clone_from(&broker.live.load().name_servers);
        tokio::select! {
            () = shutdown.wait() => break,
            () = broker.changed.notified() => tokio::time::sleep(GATHER).await,
            () = sleep_until(all_told + broker.config.register_period) => {}
            () = tokio::time::sleep(RETRY), if !down.is_empty() => targets.clone_from(&down),
        }
    }
    leave(&broker, &connections).await;
}

/// What came of telling name servers.
#[derive(Default)]
struct Told {
    /// How many of them know the broker now.
    known: usize,
    /// Where its master is, if it has one and one of them knows it.
    master: Option<Addresses>,
}

/// Tells name servers of the broker; `down` are those that could not be told.
async fn register_at(
    targets: &[String],
    broker: &Arc<Broker>,
    connections: &Connections,
    down: &mut Vec<String>,
) -> Told {
    let (topic_config_table, data_version) = broker.topics.all();
    let plain = TopicConfigSerializeWrapper { data_version, topic_config_table };
    let body = Arc::new(RegisterBrokerBody {
        filter_server_list: Vec::new(),
        topic_config_serialize_wrapper: plain.into(),
    });
    let mut tasks = tokio::task::JoinSet::new();
    for addr in targets.iter().cloned() {
        let (broker, connections, body) = (broker.clone(), connections.clone(), body.clone());
        tasks.spawn(async move {
            let result = register(&broker, &connections, &addr, &body).await;
            (addr, result)
        });
    }
    let (mut told, mut masters) = (Told::default(), HashMap::new());
    while let Some(Ok((addr, result))) = tasks.join_next().await {
        let was_down = down.contains(&addr);
        match result {
            Ok(registered) => {
                told.known += 1;
                masters.extend(master(&broker.config, registered).map(|master| (addr.clone(), master)));
                down.retain(|d| *d != addr);
                if was_down {
                    info!(name_server = addr, "registered again");
                }
            }
            Err(e) if !was_down => {
                warn!(name_server = addr, "not registered, trying on: {e}");
                down.push(addr);
            }
            Err(_) => {}
        }
    }
    // Always in the same order, so that a name server with an old view does not win now and then.
    told.master = targets.iter().find_map(|addr| masters.remove(addr));
    told
}

/// Returns where the master of a slave is, as a name server says.
fn master(config: &Config, registered: Registered) -> Option<Addresses> {
    let address = registered.master_addr.filter(|address| config.live.is_slave() && !address.is_empty())?;
    Some(Addresses { address, ha_address: registered.ha_server_addr.filter(|ha| !ha.is_empty()) })
}

async fn register(
    broker: &Broker,
    connections: &Connections,
    addr: &str,
    body: &RegisterBrokerBody,
) -> anyhow::Result<Registered> {
    let client = connections.to(addr).await?;
    let address = broker.address().to_string();
    let header = RegisterBroker {
        broker_name: Cow::Borrowed(&broker.config.name),
        broker_addr: Cow::Borrowed(&address),
        cluster_name: Cow::Borrowed(&broker.config.cluster),
        ha_server_addr: Cow::Owned(ha_address(broker).to_string()),
        broker_id: broker.config.id,
        heartbeat_timeout_millis: None,
        enable_acting_master: None,
        compressed: false,
        body_crc32: 0,
        zone_name: None,
        listeners: None,
    };
    Ok(namesrv::register_broker(&client, &header, body).await?)
}

/// Tells all name servers at the same time, so that one that does not answer keeps nothing from the others.
async fn leave(broker: &Arc<Broker>, connections: &Connections) {
    let mut tasks = tokio::task::JoinSet::new();
    for addr in broker.live.load().name_servers.clone() {
        let (broker, connections) = (broker.clone(), connections.clone());
        tasks.spawn(async move {
            let address = broker.address().to_string();
            let header = BrokerIdentity {
                broker_name: Cow::Borrowed(&broker.config.name),
                broker_addr: Cow::Borrowed(&address),
                cluster_name: Cow::Borrowed(&broker.config.cluster),
                broker_id: broker.config.id,
            };
            // A name server that is gone forgets us by itself.
            if let Ok(client) = connections.to(&addr).await
                && let Err(e) = namesrv::unregister_broker(&client, &header).await
            {
                info!(name_server = addr, "not unregistered: {e}");
            }
        });
    }
    tasks.join_all().await;
}
