//! From request code to handler: the one match. Sends and pulls are not here, because they wait; see `session.rs`.

use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::FrameView;
use remoting::Peer;
use remoting::handler::{Reply, Request};

use crate::broker::Broker;
use crate::handlers::{admin, clients, consumer_offset, lock_queues, queue_offset};
use crate::refusal::Refusal;

/// Answers a request; returns the code of its answer.
pub fn handle(broker: &Broker, peer: &Peer, frame: &FrameView<'_>, out: &mut Vec<u8>) -> ResponseCode {
    let request = Request { header: frame.header.clone(), body: frame.body };
    let mut reply = Reply::default();
    if let Err(refusal) = dispatch(broker, peer, &request, &mut reply) {
        reply = Reply::default();
        reply.refuse(refusal.code, refusal.remark);
    }
    if !request.header.is_oneway() {
        reply.encode(&request.header, out);
    }
    reply.code
}

fn dispatch(broker: &Broker, peer: &Peer, request: &Request<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    if broker.slave.is_some() {
        check_on_slave(request.code())?;
    }
    match request.code() {
        RequestCode::HEART_BEAT => clients::heartbeat(broker, peer, request, reply),
        RequestCode::UNREGISTER_CLIENT => clients::unregister(broker, peer, request),
        RequestCode::GET_CONSUMER_LIST_BY_GROUP => clients::consumer_list(broker, request, reply),
        RequestCode::CHECK_CLIENT_CONFIG => clients::check_config(request),
        RequestCode::QUERY_CONSUMER_OFFSET => consumer_offset::query(broker, request, reply),
        RequestCode::UPDATE_CONSUMER_OFFSET => consumer_offset::update(broker, request),
        RequestCode::GET_MAX_OFFSET => queue_offset::max(broker, request, reply),
        RequestCode::GET_MIN_OFFSET => queue_offset::min(broker, request, reply),
        RequestCode::SEARCH_OFFSET_BY_TIMESTAMP => queue_offset::search(broker, request, reply),
        RequestCode::GET_EARLIEST_MSG_STORETIME => queue_offset::earliest(broker, request, reply),
        RequestCode::LOCK_BATCH_MQ => lock_queues::lock(broker, request, reply),
        RequestCode::UNLOCK_BATCH_MQ => lock_queues::unlock(broker, request),
        RequestCode::UPDATE_AND_CREATE_TOPIC => admin::topics::put(broker, request),
        RequestCode::UPDATE_AND_CREATE_TOPIC_LIST => admin::topics::put_list(broker, request),
        RequestCode::DELETE_TOPIC_IN_BROKER => admin::topics::delete(broker, request),
        RequestCode::GET_ALL_TOPIC_CONFIG => admin::topics::all(broker, reply),
        RequestCode::GET_TOPIC_CONFIG => admin::topics::get(broker, request, reply),
        RequestCode::GET_TOPIC_STATS_INFO => admin::topics::stats(broker, request, reply),
        RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_BROKER => admin::topics::system(broker, reply),
        RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => admin::groups::put(broker, request),
        RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST => admin::groups::put_list(broker, request),
        RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => admin::groups::all(broker, reply),
        RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG => admin::groups::get(broker, request, reply),
        RequestCode::DELETE_SUBSCRIPTIONGROUP => admin::groups::delete(broker, request),
        RequestCode::GET_CONSUMER_CONNECTION_LIST => admin::connections::consumers(broker, request, reply),
        RequestCode::GET_PRODUCER_CONNECTION_LIST => admin::connections::producers(broker, request, reply),
        RequestCode::GET_CONSUME_STATS => admin::offsets::consume_stats(broker, request, reply),
        RequestCode::GET_ALL_CONSUMER_OFFSET => admin::offsets::all(broker, reply),
        RequestCode::QUERY_TOPIC_CONSUME_BY_WHO => admin::offsets::groups_of_topic(broker, request, reply),
        RequestCode::QUERY_MESSAGE => admin::messages::by_key(broker, request, reply),
        RequestCode::VIEW_MESSAGE_BY_ID => admin::messages::by_offset(broker, request, reply),
        RequestCode::GET_BROKER_RUNTIME_INFO => admin::runtime::info(broker, reply),
        RequestCode::UPDATE_BROKER_CONFIG => admin::settings::update(broker, request),
        RequestCode::GET_BROKER_CONFIG => admin::settings::show(broker, reply),
        RequestCode::GET_BROKER_HA_STATUS => admin::ha::status(broker, reply),
        RequestCode::EXCHANGE_BROKER_HA_INFO => {
            admin::replication::exchange_ha_info(broker, peer, request, reply)
        }
        RequestCode::RESET_MASTER_FLUSH_OFFSET => admin::replication::reset_master_flush_offset(request),
        RequestCode::GET_ALL_DELAY_OFFSET => admin::replication::delay_offsets(reply),
        RequestCode::GET_ALL_MESSAGE_REQUEST_MODE => admin::replication::message_request_modes(reply),
        RequestCode::GET_TIMER_CHECK_POINT => admin::replication::timer_checkpoint(reply),
        RequestCode::GET_TIMER_METRICS => admin::replication::timer_metrics(reply),
        later if is_for_brokers(later) => Err(Refusal::not_supported(later.name())),
        other => Err(Refusal::new(
            ResponseCode::REQUEST_CODE_NOT_SUPPORTED,
            format!(" request type {} not supported", other.0),
        )),
    }
}

/// Refuses what only a master may do: its slaves learn it from their master.
fn check_on_slave(code: RequestCode) -> Result<(), Refusal> {
    match code {
        RequestCode::UPDATE_AND_CREATE_TOPIC
        | RequestCode::UPDATE_AND_CREATE_TOPIC_LIST
        | RequestCode::DELETE_TOPIC_IN_BROKER
        | RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP
        | RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST
        | RequestCode::DELETE_SUBSCRIPTIONGROUP => Err(Refusal::tables_of_a_slave()),
        RequestCode::CONSUMER_SEND_MSG_BACK
        | RequestCode::SEND_REPLY_MESSAGE
        | RequestCode::SEND_REPLY_MESSAGE_V2 => Err(Refusal::not_by_a_slave()),
        _ => Ok(()),
    }
}

/// Says whether a request that is not served is one that RocketMQ's brokers do serve.
fn is_for_brokers(code: RequestCode) -> bool {
    let elsewhere = matches!(
        code,
        // Name servers serve these,
        RequestCode::PUT_KV_CONFIG
            | RequestCode::GET_KV_CONFIG
            | RequestCode::DELETE_KV_CONFIG
            | RequestCode::REGISTER_BROKER
            | RequestCode::UNREGISTER_BROKER
            | RequestCode::GET_ROUTEINFO_BY_TOPIC
            | RequestCode::GET_BROKER_CLUSTER_INFO
            | RequestCode::WIPE_WRITE_PERM_OF_BROKER
            | RequestCode::ADD_WRITE_PERM_OF_BROKER
            | RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER
            | RequestCode::DELETE_TOPIC_IN_NAMESRV
            | RequestCode::REGISTER_TOPIC_IN_NAMESRV
            | RequestCode::GET_KVLIST_BY_NAMESPACE
            | RequestCode::GET_TOPICS_BY_CLUSTER
            | RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_NS
            | RequestCode::GET_UNIT_TOPIC_LIST
            | RequestCode::GET_HAS_UNIT_SUB_TOPIC_LIST
            | RequestCode::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST
            | RequestCode::UPDATE_NAMESRV_CONFIG
            | RequestCode::GET_NAMESRV_CONFIG
            | RequestCode::QUERY_DATA_VERSION
            | RequestCode::BROKER_HEARTBEAT
            // and clients these.
            | RequestCode::CHECK_TRANSACTION_STATE
            | RequestCode::NOTIFY_CONSUMER_IDS_CHANGED
            | RequestCode::RESET_CONSUMER_CLIENT_OFFSET
            | RequestCode::GET_CONSUMER_STATUS_FROM_CLIENT
            | RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT
    );
    !elsewhere && RequestCode::ALL.contains(&code)
}
