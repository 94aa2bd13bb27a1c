//! 104: a broker says that it leaves.

use protocol::requests::BrokerIdentity;
use tracing::info;

use crate::name_server::NameServer;
use crate::routes::BrokerAddress;

/// Takes the broker out at once. One that is not there is no error: its connection may have closed before.
pub fn handle(server: &NameServer, request: &BrokerIdentity<'_>) {
    let BrokerIdentity { cluster_name, broker_name, broker_id, broker_addr } = request;
    let address = BrokerAddress::new(cluster_name, broker_addr);
    let rules = server.rules();
    let change = server.routes.write().unregister(&address, broker_name, &rules);
    info!(%cluster_name, %broker_name, broker_id, %broker_addr, "broker unregistered: it asked to");
    server.announce(change);
}
