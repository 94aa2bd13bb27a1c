//! 105: where the queues of a topic are. The one request every client sends.

use std::time::Instant;

use protocol::bodies::route::TopicRouteData;
use protocol::json::Dialect;
use protocol::requests::GetRouteInfo;

use crate::config::Live;
use crate::kv_config::ORDER_TOPIC_CONFIG;
use crate::name_server::NameServer;
use crate::refusal::Refusal;
use crate::routes::zone;

/// Clients of V4_9_4 and later read strict JSON; older Java clients expect fastjson's.
const STANDARD_JSON_SINCE: i32 = 401;

/// Returns the route, at the addresses of the listener if it came by a further one, and how this client wants it
/// written.
///
/// # Errors
/// [`Refusal::TopicUnknown`], [`Refusal::NotReady`]
pub fn handle(
    server: &NameServer,
    listener: Option<&str>,
    request: &GetRouteInfo<'_>,
    client_version: i32,
    now: Instant,
) -> Result<(TopicRouteData, Dialect), Refusal> {
    let live = server.live();
    if is_too_early(&live, server.started, now) {
        return Err(Refusal::NotReady);
    }
    let mut route = find(server, listener, request, &live)
        .ok_or_else(|| Refusal::TopicUnknown(request.topic.clone().into_owned()))?;
    if live.order_message_enable {
        route.order_topic_conf = server.kv.get(ORDER_TOPIC_CONFIG, &request.topic);
    }
    let standard = client_version >= STANDARD_JSON_SINCE || request.accept_standard_json_only;
    Ok((route, if standard { Dialect::Standard } else { Dialect::Java }))
}

fn find(
    server: &NameServer,
    listener: Option<&str>,
    request: &GetRouteInfo<'_>,
    live: &Live,
) -> Option<TopicRouteData> {
    let routes = server.routes.read();
    let mut route = routes.route(&request.topic, &live.rules)?;
    if let Some(zone) = wanted_zone(request) {
        zone::keep_zone(&mut route, zone);
    }
    match listener {
        Some(listener) => routes.route_at(listener, route),
        None => Some(route),
    }
}

fn is_too_early(live: &Live, started: Instant, now: Instant) -> bool {
    live.need_wait_for_service && now.saturating_duration_since(started) < live.wait_for_service
}

fn wanted_zone<'a>(request: &'a GetRouteInfo<'_>) -> Option<&'a str> {
    let by_zone = request.zone_mode.as_deref().is_some_and(|mode| mode.eq_ignore_ascii_case("true"));
    request.zone_name.as_deref().filter(|zone| by_zone && !zone.trim().is_empty())
}
