//! The front door: request code to handler, the one match; reply or refusal to answer. Bytes are decoded before a
//! handler runs and encoded after.

use std::sync::Arc;
use std::time::Instant;

use daemon::metrics::{RequestMetrics, Sample};
use protocol::bodies::data_version::DataVersion;
use protocol::bodies::route::TopicRouteData;
use protocol::codes::RequestCode;
use protocol::json::{self, JsonBody};
use protocol::requests::{DecodeExt, EncodeExt};
use remoting::{Handler, Peer, Reply, Request};
use tracing::debug;

use crate::handlers::admin::{brokers, kv_config, settings, topics};
use crate::handlers::{
    broker_heartbeat, get_route_info, query_data_version, register_broker, unregister_broker,
};
use crate::name_server::NameServer;
use crate::refusal::Refusal;
use crate::routes::{ConnectionId, UnitTopics};

/// Every code that is answered with something else than REQUEST_CODE_NOT_SUPPORTED.
pub const ANSWERED: [RequestCode; 23] = [
    RequestCode::GET_ROUTEINFO_BY_TOPIC,
    RequestCode::REGISTER_BROKER,
    RequestCode::UNREGISTER_BROKER,
    RequestCode::QUERY_DATA_VERSION,
    RequestCode::BROKER_HEARTBEAT,
    RequestCode::GET_BROKER_CLUSTER_INFO,
    RequestCode::GET_BROKER_MEMBER_GROUP,
    RequestCode::WIPE_WRITE_PERM_OF_BROKER,
    RequestCode::ADD_WRITE_PERM_OF_BROKER,
    RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER,
    RequestCode::GET_TOPICS_BY_CLUSTER,
    RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_NS,
    RequestCode::GET_UNIT_TOPIC_LIST,
    RequestCode::GET_HAS_UNIT_SUB_TOPIC_LIST,
    RequestCode::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST,
    RequestCode::REGISTER_TOPIC_IN_NAMESRV,
    RequestCode::DELETE_TOPIC_IN_NAMESRV,
    RequestCode::PUT_KV_CONFIG,
    RequestCode::GET_KV_CONFIG,
    RequestCode::DELETE_KV_CONFIG,
    RequestCode::GET_KVLIST_BY_NAMESPACE,
    RequestCode::UPDATE_NAMESRV_CONFIG,
    RequestCode::GET_NAMESRV_CONFIG,
];

/// Answers all requests that come by one listener of a name server.
pub struct Router {
    server: Arc<NameServer>,
    metrics: RequestMetrics,
    listener: Option<String>,
}

impl Router {
    /// Makes the front door of `server`, counting into `metrics`; `listener` is the further listener whose addresses it
    /// answers with, if it is not the usual one.
    #[must_use]
    pub fn new(server: Arc<NameServer>, metrics: RequestMetrics, listener: Option<String>) -> Self {
        Self { server, metrics, listener }
    }

    fn answer(&self, peer: &Peer, request: &Request<'_>, now: Instant) -> Result<Reply, Refusal> {
        let (server, listener) = (&*self.server, self.listener.as_deref());
        let (text, version) = (request.body, request.header.version);
        Ok(match request.code() {
            RequestCode::GET_ROUTEINFO_BY_TOPIC => {
                let (route, dialect) =
                    get_route_info::handle(server, listener, &decode(request)?, version, now)?;
                bytes(json::to_vec(&route, dialect))
            }
            RequestCode::REGISTER_BROKER => {
                let (reply, order) =
                    register_broker::handle(server, peer, &decode(request)?, text, version, now)?;
                fields_and_body(reply, order.as_ref())
            }
            RequestCode::UNREGISTER_BROKER => {
                unregister_broker::handle(server, peer, &decode(request)?);
                Reply::default()
            }
            RequestCode::QUERY_DATA_VERSION => {
                let asked: DataVersion = decode_body(text)?;
                let (reply, known) = query_data_version::handle(server, &decode(request)?, &asked, now);
                fields_and_body(reply, known.as_ref())
            }
            RequestCode::BROKER_HEARTBEAT => {
                broker_heartbeat::handle(server, &decode(request)?, now);
                Reply::default()
            }

            RequestCode::GET_BROKER_CLUSTER_INFO => body(&brokers::cluster_info(server, listener)),
            RequestCode::GET_BROKER_MEMBER_GROUP => {
                body(&brokers::member_group(server, listener, &decode(request)?))
            }
            RequestCode::WIPE_WRITE_PERM_OF_BROKER => {
                fields(brokers::wipe_write_perm(server, &decode(request)?))
            }
            RequestCode::ADD_WRITE_PERM_OF_BROKER => {
                fields(brokers::add_write_perm(server, &decode(request)?))
            }

            RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => body(&topics::all(server)?),
            RequestCode::GET_TOPICS_BY_CLUSTER => body(&topics::of_cluster(server, &decode(request)?)?),
            RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_NS => body(&topics::system(server, listener)),
            RequestCode::GET_UNIT_TOPIC_LIST => body(&topics::of_units(server, UnitTopics::Unit)?),
            RequestCode::GET_HAS_UNIT_SUB_TOPIC_LIST => {
                body(&topics::of_units(server, UnitTopics::UnitSubscribed)?)
            }
            RequestCode::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => {
                body(&topics::of_units(server, UnitTopics::UnitSubscribedOnly)?)
            }
            RequestCode::REGISTER_TOPIC_IN_NAMESRV => {
                let route: TopicRouteData = decode_body(text)?;
                topics::register(server, &decode(request)?, route);
                Reply::default()
            }
            RequestCode::DELETE_TOPIC_IN_NAMESRV => {
                topics::delete(server, &decode(request)?);
                Reply::default()
            }

            RequestCode::PUT_KV_CONFIG => {
                kv_config::put(server, &decode(request).map_err(Refusal::of_kv_put)?)?;
                Reply::default()
            }
            RequestCode::GET_KV_CONFIG => fields(kv_config::get(server, &decode(request)?)?),
            RequestCode::DELETE_KV_CONFIG => {
                kv_config::delete(server, &decode(request)?)?;
                Reply::default()
            }
            RequestCode::GET_KVLIST_BY_NAMESPACE => body(&kv_config::list(server, &decode(request)?)?),

            RequestCode::UPDATE_NAMESRV_CONFIG => {
                settings::update(server, text)?;
                Reply::default()
            }
            RequestCode::GET_NAMESRV_CONFIG => bytes(settings::show(server).into_bytes()),

            other => return Err(Refusal::Unsupported(other)),
        })
    }
}

impl Handler for Router {
    fn handle(&self, peer: &Peer, request: &Request<'_>, reply: &mut Reply) {
        let begun = Instant::now();
        // The clock of the runtime, so that tests can hold it.
        let now = tokio::time::Instant::now().into_std();
        match self.answer(peer, request, now) {
            Ok(answer) => *reply = answer,
            Err(refusal) => {
                debug!(peer = %peer.addr, request = %request.code(), "refused: {refusal}");
                reply.refuse(refusal.code(), refusal.to_string());
            }
        }
        self.metrics.record(Sample {
            request: request.header.code,
            result: reply.code.0,
            bytes_in: request.body.len(),
            bytes_out: reply.body.len(),
            latency: begun.elapsed(),
        });
    }

    fn closed(&self, peer: &Peer) {
        self.server.on_connection_closed(ConnectionId(peer.id));
    }
}

fn decode<'a, T: DecodeExt<'a>>(request: &Request<'a>) -> Result<T, Refusal> {
    Ok(T::decode(&request.header.ext)?)
}

fn decode_body<T: JsonBody + Default>(body: &[u8]) -> Result<T, Refusal> {
    if body.is_empty() {
        return Ok(T::default());
    }
    T::decode(body).map_err(|error| Refusal::BadBody(error.to_string()))
}

fn fields(fields: impl EncodeExt + Send + 'static) -> Reply {
    let mut reply = Reply::default();
    reply.set_ext(fields);
    reply
}

fn fields_and_body(header: impl EncodeExt + Send + 'static, body: Option<&impl JsonBody>) -> Reply {
    let mut reply = fields(header);
    reply.body = body.map(JsonBody::encode).unwrap_or_default();
    reply
}

fn body(body: &impl JsonBody) -> Reply {
    bytes(body.encode())
}

fn bytes(body: Vec<u8>) -> Reply {
    let mut reply = Reply::default();
    reply.body = body;
    reply
}
