//! What a broker shows to Prometheus. All names begin with `gantry_broker_`.
//!
//! | Name | Meaning |
//! |---|---|
//! | `requests_total` {request, result}, `response_bytes_total`, `request_duration_seconds` | answered requests |
//! | `log_begin_bytes`, `log_end_bytes`, `log_flushed_bytes` | physical offsets of the commit log |
//! | `unflushed_bytes`, `tail_cache_bytes` | against `maxUnflushedBytes` and `tailCacheBytes` |
//! | `disk_used_percent`, `writes_refused` | disk use and whether it stops writes |
//! | `topics`, `producers`, `consumers`, `parked_pulls` | tables |
//! | `connections`, `buffered_bytes`, `connections_*_total`, `network_*_bytes_total` | the remoting port |

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use daemon::metrics::{Metrics, RequestMetrics};
use protocol::codes::{RequestCode, ResponseCode};
use remoting::Stats;

use crate::broker::Broker;

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
