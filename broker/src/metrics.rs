//! What a broker shows to Prometheus. All names begin with `gantry_broker_`.
//!
//! | Name | Meaning |
//! |---|---|
//! | `requests_total` {request, result}, `response_bytes_total`, `request_duration_seconds` | answered requests |
//! | `log_begin_bytes`, `log_end_bytes`, `log_flushed_bytes` | physical offsets of the commit log |
//! | `unflushed_bytes`, `tail_cache_bytes` | against `maxUnflushedBytes` and `tailCacheBytes` |
//! | `disk_used_percent`, `writes_refused` | disk use and whether it stops writes |
//! | `topics`, `producers`, `consumers`, `parked_pulls` | tables |
//! | `followers`, `log_replicated_bytes`, `sends_waiting_for_slaves` | a master: its slaves, what enough members have |
//! | `follower_acked_bytes`, `follower_lag_bytes`, `follower_lag_seconds`, `follower_in_sync` {follower} | each of them |
//! | `slave_connected`, `slave_lag_bytes`, `slave_lag_seconds` | a slave: behind its master, as of their last contact |
//! | `slave_joins_total`, `slave_joins_refused_total`, `slave_start_overs_total` | what became of its attempts to follow |
//! | `connections`, `buffered_bytes`, `connections_*_total`, `network_*_bytes_total` | the remoting port |

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use daemon::metrics::{Metrics, RequestMetrics};
use protocol::codes::{RequestCode, ResponseCode};
use remoting::Stats;
use replication::{FollowerStatus, FollowingState, Leader};

use crate::broker::Broker;
use crate::slave::{SlaveLink, lag_time};

/// Makes the counters of requests.
pub fn requests() -> RequestMetrics {
    let named = RequestCode::ALL.iter().map(|code| (code.0, code.name()));
    RequestMetrics::new("gantry_broker", named, |code| ResponseCode(code).name())
}

/// Adds everything a broker shows.
pub fn register(metrics: &Metrics, broker: &Arc<Broker>, stats: &Arc<Stats>) {
    metrics.collector(broker.requests.clone());
    let gauge = |name: &'static str, help: &'static str, read: fn(&Broker) -> f64| {
        let broker = broker.clone();
        metrics.gauge(name, help, move || read(&broker));
    };
    gauge("gantry_broker_log_begin_bytes", "Physical offset of the log's first byte.", |b| {
        b.store.begin() as f64
    });
    gauge("gantry_broker_log_end_bytes", "Physical offset behind the log's last byte.", |b| {
        b.store.written() as f64
    });
    gauge("gantry_broker_log_flushed_bytes", "Physical offset up to which the log is durable.", |b| {
        b.store.flushed_offset() as f64
    });
    gauge("gantry_broker_unflushed_bytes", "Bytes written and not yet durable.", |b| {
        b.store.written().saturating_sub(b.store.flushed_offset()) as f64
    });
    gauge("gantry_broker_tail_cache_bytes", "Bytes of the log's end in memory.", |b| {
        b.store.cached_bytes() as f64
    });
    gauge("gantry_broker_disk_used_percent", "How full the disk of the store is.", |b| {
        b.store.used_percent() as f64
    });
    gauge("gantry_broker_writes_refused", "1 while the disk is too full for writes.", |b| {
        b.store.is_full() as u8 as f64
    });
    gauge("gantry_broker_topics", "Topics.", |b| b.topics.len() as f64);
    gauge("gantry_broker_producers", "Producers connected.", |b| b.clients.count().0 as f64);
    gauge("gantry_broker_consumers", "Consumers connected.", |b| b.clients.count().1 as f64);
    gauge("gantry_broker_parked_pulls", "Pulls waiting for messages.", |b| b.waiting.parked() as f64);
    match (&broker.leader, &broker.slave) {
        (Some(leader), None) => of_master(metrics, broker, leader),
        (_, Some(link)) => of_slave(metrics, broker, link),
        (None, None) => {}
    }
    of_network(metrics, stats);
}

fn of_master(metrics: &Metrics, broker: &Arc<Broker>, leader: &Arc<Leader>) {
    let gauge = |name: &'static str, help: &'static str, read: fn(&Broker, &Leader) -> f64| {
        let (broker, leader) = (broker.clone(), leader.clone());
        metrics.gauge(name, help, move || read(&broker, &leader));
    };
    gauge("gantry_broker_followers", "Slaves connected.", |_, leader| leader.followers().len() as f64);
    gauge(
        "gantry_broker_log_replicated_bytes",
        "Physical offset up to which as many members have the log as an acknowledgement takes.",
        |broker, leader| match broker.live.load().required_acks() {
            0 | 1 => broker.store.written() as f64,
            _ => *leader.replicated().borrow() as f64,
        },
    );
    gauge(
        "gantry_broker_sends_waiting_for_slaves",
        "Sends stored and not yet acknowledged, because slaves must have them.",
        |broker, _| broker.waiting_for_slaves.load(Relaxed) as f64,
    );
    let each = |name: &'static str, help: &'static str, read: fn(&FollowerStatus) -> f64| {
        let leader = leader.clone();
        metrics.gauges(name, help, move |emit| {
            for follower in leader.followers() {
                emit(&[("follower", &follower.addr.to_string())], read(&follower));
            }
        });
    };
    each("gantry_broker_follower_acked_bytes", "Physical offset up to which the slave has the log.", |f| {
        f.acked as f64
    });
    each("gantry_broker_follower_lag_bytes", "Bytes of the log that the slave does not have.", |f| {
        f.lag_bytes as f64
    });
    each(
        "gantry_broker_follower_lag_seconds",
        "For how long the slave has not had everything there was.",
        |f| f.lag_time.as_secs_f64(),
    );
    each(
        "gantry_broker_follower_in_sync",
        "1 when the slave had everything within haMaxTimeSlaveNotCatchup.",
        |f| f.in_sync as u8 as f64,
    );
}

fn of_slave(metrics: &Metrics, broker: &Arc<Broker>, link: &Arc<SlaveLink>) {
    let gauge = |name: &'static str, help: &'static str, read: fn(&Broker, &FollowingState) -> f64| {
        let (broker, following) = (broker.clone(), link.following().clone());
        metrics.gauge(name, help, move || read(&broker, &following.state(Instant::now())));
    };
    gauge("gantry_broker_slave_connected", "1 while the master's log is being followed.", |_, s| {
        s.connected as u8 as f64
    });
    gauge(
        "gantry_broker_slave_lag_bytes",
        "Bytes of the master's log that this slave did not have at their last contact.",
        |broker, s| s.master_end.saturating_sub(broker.store.written()) as f64,
    );
    gauge(
        "gantry_broker_slave_lag_seconds",
        "For how long this slave had not had everything there was, at its last contact with the master.",
        |broker, s| lag_time(s, broker.boot_ms).as_secs_f64(),
    );
    let counter = |name: &'static str, help: &'static str, read: fn(&SlaveLink) -> u64| {
        let link = link.clone();
        metrics.counter(name, help, move || read(&link) as f64);
    };
    counter("gantry_broker_slave_joins", "Times this slave began to follow its master.", SlaveLink::joins);
    counter(
        "gantry_broker_slave_joins_refused",
        "Times this slave could not follow for a reason that a human must remove.",
        SlaveLink::refusals,
    );
    counter(
        "gantry_broker_slave_start_overs",
        "Times this slave gave up its log and started over.",
        SlaveLink::start_overs,
    );
}

fn of_network(metrics: &Metrics, stats: &Arc<Stats>) {
    let network = |name: &'static str, help: &'static str, read: fn(&Stats) -> f64| {
        let stats = stats.clone();
        metrics.gauge(name, help, move || read(&stats));
    };
    network("gantry_broker_connections", "Open connections.", |s| s.connections.load(Relaxed) as f64);
    network("gantry_broker_buffered_bytes", "Bytes of incomplete large frames.", |s| {
        s.buffered_bytes.load(Relaxed) as f64
    });
    let counter = |name: &'static str, help: &'static str, read: fn(&Stats) -> f64| {
        let stats = stats.clone();
        metrics.counter(name, help, move || read(&stats));
    };
    counter("gantry_broker_connections_accepted", "Connections accepted.", |s| {
        s.accepted.load(Relaxed) as f64
    });
    counter("gantry_broker_connections_refused", "Connections closed because there were too many.", |s| {
        s.refused.load(Relaxed) as f64
    });
    counter(
        "gantry_broker_connections_malformed",
        "Connections closed because of bytes that are no frame.",
        |s| s.malformed.load(Relaxed) as f64,
    );
    counter(
        "gantry_broker_connections_expelled",
        "Connections closed because of a timeout or a budget.",
        |s| s.expelled.load(Relaxed) as f64,
    );
    counter("gantry_broker_network_read_bytes", "Bytes read.", |s| s.bytes_in.load(Relaxed) as f64);
    counter("gantry_broker_network_written_bytes", "Bytes written.", |s| s.bytes_out.load(Relaxed) as f64);
}
