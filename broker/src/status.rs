//! What a broker says about itself on its admin port. Cheap: nothing here waits for the disk or for anybody.

use std::time::{Duration, Instant};

use client::admin_status::{AdminStatus, Follower, Role, StoreState};

use crate::broker::{Broker, now_ms};
use crate::config::Config;
use crate::member::Phase;
use crate::slave::{SlaveLink, lag_time};

/// Returns the status of a member. Whether it is ready, and which revision its live settings have, the caller adds.
pub fn of(phase: &Phase, config: &Config) -> AdminStatus {
    let (state, store_id) = match phase {
        Phase::Waiting => (StoreState::Recovering, None),
        Phase::Held { state, store_id } => (*state, store_id.clone()),
        Phase::Recovering { store_id } => (StoreState::Recovering, Some(store_id.clone())),
        Phase::Serving(broker) => (StoreState::Ok, Some(broker.identity.store_id.clone())),
    };
    let mut status = AdminStatus {
        version: daemon::build::VERSION.to_owned(),
        role: if config.live.is_slave() { Role::Slave } else { Role::Master },
        broker_name: config.name.clone(),
        broker_id: config.id,
        store_id,
        state,
        ready: false,
        reason: String::new(),
        log_begin: None,
        log_end: None,
        master_end: None,
        lag_bytes: None,
        lag_millis: None,
        in_sync: false,
        followers: Vec::new(),
        registered_at: Vec::new(),
        config_revision: 0,
        config_hash: digest(config.to_properties()),
        permission: config.live.permission as u8,
        disk_used_percent: None,
    };
    if let Phase::Serving(broker) = phase {
        add_broker(&mut status, broker);
    }
    status
}

fn add_broker(status: &mut AdminStatus, broker: &Broker) {
    let live = broker.live.load();
    let settings = broker.config.to_properties().into_iter();
    status.config_hash =
        digest(settings.chain(live.to_properties().map(|(key, value)| (key.to_owned(), value))));
    status.permission = broker.live.permission_in_effect(now_ms()) as u8;
    status.log_begin = Some(broker.store.begin());
    status.log_end = Some(broker.store.written());
    status.disk_used_percent = Some(broker.store.used_percent().into());
    status.registered_at = broker.registered_at.lock().iter().cloned().collect();
    match (&broker.slave, &broker.leader) {
        (Some(link), _) => add_link(status, broker, link),
        (None, Some(leader)) => {
            status.in_sync = true;
            status.followers = leader.followers().into_iter().map(follower).collect();
        }
        (None, None) => {}
    }
}

fn follower(follower: replication::FollowerStatus) -> Follower {
    Follower { address: follower.addr.to_string(), lag_bytes: follower.lag_bytes, in_sync: follower.in_sync }
}

fn add_link(status: &mut AdminStatus, broker: &Broker, link: &SlaveLink) {
    status.in_sync = link.readiness().is_ok();
    if link.joins() == 0 {
        return;
    }
    let following = link.following().state(Instant::now());
    let lag_bytes = following.master_end.saturating_sub(broker.store.written());
    let lag = if lag_bytes == 0 { Duration::ZERO } else { lag_time(&following, broker.boot_ms) };
    status.master_end = Some(following.master_end);
    status.lag_bytes = Some(lag_bytes);
    status.lag_millis = Some(lag.as_millis() as u64);
}

/// The same for the same settings, whatever their order; of two with one key the later counts.
fn digest(settings: impl IntoIterator<Item = (String, String)>) -> String {
    let settings: std::collections::BTreeMap<_, _> = settings.into_iter().collect();
    let text: String = settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_of_what_holds() {
        let pairs = |text: &str| daemon::config::parse(text).unwrap();
        assert_eq!(digest(pairs("a=1\nb=2\na=3")), digest(pairs("b=2\na=3")));
        assert_ne!(digest(pairs("a=1")), digest(pairs("a=2")));
    }
}
