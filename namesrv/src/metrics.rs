//! What a name server shows to Prometheus. All names begin with `gantry_namesrv_`.
//!
//! | Name | Labels | Meaning |
//! |---|---|---|
//! | `requests_total` | request, result | answered requests by request and response code |
//! | `request_bytes_total`, `response_bytes_total` | request | bytes of their bodies |
//! | `request_duration_seconds` | request | from the complete frame to the answer |
//! | `brokers`, `topics` | | in the route table now |
//! | `listener_brokers` | listener | of them, those that named an address for a further listener |
//! | `connections`, `buffered_bytes` | | open connections, bytes of incomplete large frames now |
//! | `connections_accepted_total`, `_refused_total`, `_malformed_total`, `_expelled_total` | | how connections began and ended |
//! | `network_read_bytes_total`, `network_written_bytes_total` | | bytes of the remoting port |

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use daemon::metrics::{Metrics, RequestMetrics};
use protocol::codes::ResponseCode;
use remoting::Stats;

use crate::name_server::NameServer;
use crate::router::ANSWERED;

/// Adds all metrics of `server` and its connections. Returns the counters that the router feeds.
pub fn register(metrics: &Metrics, server: &Arc<NameServer>, stats: &Arc<Stats>) -> RequestMetrics {
    let named = ANSWERED.map(|code| (code.0, code.name()));
    let requests = RequestMetrics::new("gantry_namesrv", named, |code| ResponseCode(code).name());
    metrics.collector(requests.clone());

    let table = server.clone();
    metrics.gauge("gantry_namesrv_brokers", "Broker processes in the route table.", move || {
        table.routes.read().live_brokers() as f64
    });
    let table = server.clone();
    metrics.gauges(
        "gantry_namesrv_listener_brokers",
        "Broker processes that named an address for a further listener.",
        move |emit| {
            for (listener, _) in &table.settings().listener_ports {
                emit(&[("listener", listener)], table.routes.read().brokers_at(listener) as f64);
            }
        },
    );
    let table = server.clone();
    metrics.gauge("gantry_namesrv_topics", "Topics in the route table.", move || {
        table.routes.read().topic_count() as f64
    });
    register_connections(metrics, stats);
    requests
}

fn register_connections(metrics: &Metrics, stats: &Arc<Stats>) {
    let gauge = |name, help, read: fn(&Stats) -> &AtomicUsize| {
        let stats = stats.clone();
        metrics.gauge(name, help, move || read(&stats).load(Ordering::Relaxed) as f64);
    };
    gauge("gantry_namesrv_connections", "Open connections.", |stats| &stats.connections);
    gauge("gantry_namesrv_buffered_bytes", "Bytes of incomplete large frames.", |stats| {
        &stats.buffered_bytes
    });

    let counter = |name, help, read: fn(&Stats) -> &AtomicU64| {
        let stats = stats.clone();
        metrics.counter(name, help, move || read(&stats).load(Ordering::Relaxed) as f64);
    };
    counter("gantry_namesrv_connections_accepted", "Connections accepted.", |stats| &stats.accepted);
    counter(
        "gantry_namesrv_connections_refused",
        "Connections closed because there were too many.",
        |stats| &stats.refused,
    );
    counter(
        "gantry_namesrv_connections_malformed",
        "Connections closed because of bytes that are no frame.",
        |stats| &stats.malformed,
    );
    counter(
        "gantry_namesrv_connections_expelled",
        "Connections closed because of a timeout or a budget.",
        |stats| &stats.expelled,
    );
    counter("gantry_namesrv_network_read_bytes", "Bytes read from the remoting port.", |stats| {
        &stats.bytes_in
    });
    counter("gantry_namesrv_network_written_bytes", "Bytes written to the remoting port.", |stats| {
        &stats.bytes_out
    });
}
