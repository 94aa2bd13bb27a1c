//! One function per request: typed request in, typed reply or refusal out. Decoding comes before, encoding after, both
//! in the router.

pub mod admin;
pub mod broker_heartbeat;
pub mod get_route_info;
pub mod query_data_version;
pub mod register_broker;
pub mod unregister_broker;
