//! 322: does this broker have to register in full? Also a sign of life.

use std::time::Instant;

use protocol::bodies::data_version::DataVersion;
use protocol::requests::{BrokerIdentity, QueryDataVersionReply};

use crate::name_server::NameServer;
use crate::routes::BrokerAddress;

/// Compares the broker's data version with the registered one, and returns that too, if there is one.
pub fn handle(
    server: &NameServer,
    request: &BrokerIdentity<'_>,
    version: &DataVersion,
    now: Instant,
) -> (QueryDataVersionReply, Option<DataVersion>) {
    let address = BrokerAddress::new(&request.cluster_name, &request.broker_addr);
    let mut routes = server.routes.write();
    routes.touch(&address, now);
    (
        QueryDataVersionReply { changed: routes.is_changed(&address, version) },
        routes.data_version(&address).copied(),
    )
}
