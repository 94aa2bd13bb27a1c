//! 104: a broker says that it leaves.

use protocol::requests::BrokerIdentity;
use remoting::Peer;
use tracing::info;

use crate::name_server::NameServer;
use crate::routes::{BrokerAddress, ConnectionId, Left};

/// Takes the broker out at once, unless another process has taken its place. One that is not there is no error: its
/// connection may have closed before.
pub fn handle(server: &NameServer, peer: &Peer, request: &BrokerIdentity<'_>) {
    let BrokerIdentity { cluster_name, broker_name, broker_id, broker_addr } = request;
    let address = BrokerAddress::new(cluster_name, broker_addr);
    let rules = server.rules();
    let left = server.routes.write().leave(ConnectionId(peer.id), &address, broker_name, &rules);
    match left {
        Left::Gone { change, earlier } => {
            info!(%cluster_name, %broker_name, broker_id, %broker_addr, "broker unregistered: it asked to");
            server.announce(change);
            // If that process lives, it registers again as soon as it misses its connection.
            earlier.into_iter().for_each(|earlier| server.close(earlier));
        }
        Left::Replaced => {
            info!(%cluster_name, %broker_name, broker_id, %broker_addr, "a broker leaves that was replaced before");
        }
    }
}
