//! 904: a sign of life between two registrations.

use std::time::Instant;

use protocol::requests::BrokerHeartbeat;

use crate::name_server::NameServer;
use crate::routes::BrokerAddress;

/// Notes that the broker lives. An unknown one gets the same answer; it will register in time.
pub fn handle(server: &NameServer, request: &BrokerHeartbeat<'_>, now: Instant) {
    let address = BrokerAddress::new(&request.cluster_name, &request.broker_addr);
    server.routes.write().touch(&address, now);
}
