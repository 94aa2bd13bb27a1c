//! 103: a broker and its topics, every 30 seconds and after every change.

use std::time::{Duration, Instant};

use protocol::bodies::kv_table::KvTable;
use protocol::bodies::register_broker::{RegisterBrokerBody, body_crc32};
use protocol::bodies::topic_config::TopicConfigSerializeWrapper;
use protocol::json::JsonBody;
use protocol::listeners::{INTERNAL, ListenerAddresses};
use protocol::requests::{RegisterBroker, RegisterBrokerReply};
use remoting::Peer;
use tracing::{info, warn};

use crate::kv_config::ORDER_TOPIC_CONFIG;
use crate::name_server::NameServer;
use crate::refusal::Refusal;
use crate::routes::{BrokerAddress, ConnectionId, Registered, Registration};

/// Senders before V3_0_11 send their topics only.
const FULL_BODY_SINCE: i32 = 37;

/// Registers the broker; from now on the connection's end is the broker's end. Returns its master's addresses, if it
/// is a slave, and all order configurations, if the settings say so.
///
/// # Errors
/// [`Refusal::ChecksumMismatch`], [`Refusal::BadBody`], [`Refusal::BadListeners`], [`Refusal::Register`]; nothing has
/// changed.
pub fn handle(
    server: &NameServer,
    peer: &Peer,
    request: &RegisterBroker<'_>,
    body: &[u8],
    sender_version: i32,
    now: Instant,
) -> Result<(RegisterBrokerReply<'static>, Option<KvTable>), Refusal> {
    if request.body_crc32 != 0 && request.body_crc32 != body_crc32(body) {
        return Err(Refusal::ChecksumMismatch);
    }
    let listeners = ListenerAddresses::parse(request.listeners.as_deref().unwrap_or_default())?;
    let body = decode_body(request, body, sender_version)?;
    let registration = Registration {
        // That one is the address it registers with.
        listeners: listeners.without(INTERNAL),
        ..registration(peer, request, body)
    };
    let live = server.live();
    server.keep_connection(peer);
    let registered = server.routes.write().register(registration, &live.rules, now)?;

    let mut reply = RegisterBrokerReply { ha_server_addr: None, master_addr: None };
    let RegisterBroker { cluster_name, broker_name, broker_id, broker_addr, .. } = request;
    match registered {
        Registered::Accepted { is_new, master, change } => {
            if is_new {
                info!(%cluster_name, %broker_name, broker_id, %broker_addr, "broker registered");
            }
            if let Some(master) = master {
                reply.ha_server_addr = Some(master.ha_addr.into());
                reply.master_addr = Some(master.addr.into());
            }
            server.announce(change);
        }
        Registered::Superseded { by } => {
            warn!(%cluster_name, %broker_name, broker_id, %broker_addr, by, "registration ignored: a later epoch has the id");
        }
    }
    let order =
        live.return_order_topic_config_to_broker.then(|| server.kv.namespace(ORDER_TOPIC_CONFIG)).flatten();
    Ok((reply, order))
}

struct Body {
    content: RegisterBrokerBody,
    names_filter_servers: bool,
}

fn decode_body(request: &RegisterBroker<'_>, body: &[u8], sender_version: i32) -> Result<Body, Refusal> {
    let refuse = |error: &dyn std::fmt::Display| {
        Refusal::BadBody(format!("Failed to decode RegisterBrokerBody: {error}"))
    };
    let names_filter_servers = sender_version >= FULL_BODY_SINCE;
    let content = if body.is_empty() {
        RegisterBrokerBody::default()
    } else if !names_filter_servers {
        let topics = TopicConfigSerializeWrapper::decode(body).map_err(|error| refuse(&error))?;
        RegisterBrokerBody { topic_config_serialize_wrapper: topics.into(), ..RegisterBrokerBody::default() }
    } else if request.compressed {
        RegisterBrokerBody::inflate(body, sender_version).map_err(|error| refuse(&error))?
    } else {
        RegisterBrokerBody::decode(body).map_err(|error| refuse(&error))?
    };
    Ok(Body { content, names_filter_servers })
}

fn registration(peer: &Peer, request: &RegisterBroker<'_>, body: Body) -> Registration {
    let text = |text: &str| text.to_owned();
    Registration {
        address: BrokerAddress::new(&request.cluster_name, &request.broker_addr),
        broker_name: text(&request.broker_name),
        broker_id: request.broker_id,
        ha_addr: text(&request.ha_server_addr),
        zone_name: request.zone_name.as_deref().map(text),
        heartbeat_timeout: request
            .heartbeat_timeout_millis
            .map(|ms| Duration::from_millis(ms.max(0).unsigned_abs())),
        enable_acting_master: request.enable_acting_master,
        connection: ConnectionId(peer.id),
        topics: body.content.topic_config_serialize_wrapper,
        filter_servers: body.names_filter_servers.then_some(body.content.filter_server_list),
        listeners: ListenerAddresses::default(),
    }
}
