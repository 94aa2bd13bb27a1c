//! The broker's own settings: UPDATE_BROKER_CONFIG (25) changes the live ones, GET_BROKER_CONFIG (26) shows all. What is
//! changed here ends with the process: the lasting place is the configuration or live file, or the manifest.

use daemon::config;
use protocol::json::JsonBody;
use protocol::requests::BrokerConfigReply;
use remoting::handler::{Reply, Request};

use crate::broker::Broker;
use crate::refusal::Refusal;

/// Changes settings, all of the text or none.
pub fn update(broker: &Broker, request: &Request<'_>) -> Result<(), Refusal> {
    let wanted = config::parse(&String::from_utf8_lossy(request.body)).map_err(Refusal::failed)?;
    broker.change_settings(&wanted).map(drop).map_err(Refusal::failed)
}

/// Returns every setting as it holds now, sorted by key.
pub fn show(broker: &Broker, reply: &mut Reply) -> Result<(), Refusal> {
    let mut pairs: std::collections::BTreeMap<_, _> = broker.config.to_properties().into_iter().collect();
    pairs.extend(broker.live.load().to_properties().map(|(key, value)| (key.to_owned(), value)));
    reply.body = config::write(&Vec::from_iter(pairs)).into_bytes();
    let version = String::from_utf8(broker.live.version().encode()).map_err(Refusal::failed)?;
    reply.set_ext(BrokerConfigReply { version: version.into() });
    Ok(())
}
