//! Brokers and their groups: listed (106, 901) and write-protected (205, 327).

use protocol::bodies::broker_member_group::BrokerMemberGroupAnswer;
use protocol::bodies::cluster_info::ClusterInfo;
use protocol::requests::{AddWritePermReply, BrokerName, GetBrokerMemberGroup, WipeWritePermReply};
use tracing::info;

use crate::name_server::NameServer;

/// 106: every broker by name and by cluster.
pub fn cluster_info(server: &NameServer, listener: Option<&str>) -> ClusterInfo {
    let routes = server.routes.read();
    listener.map_or_else(|| routes.cluster_info(), |listener| routes.cluster_info_at(listener))
}

/// 901: the members of a group.
pub fn member_group(
    server: &NameServer,
    listener: Option<&str>,
    request: &GetBrokerMemberGroup<'_>,
) -> BrokerMemberGroupAnswer {
    let (cluster, broker_name) = (&*request.cluster_name, &*request.broker_name);
    let routes = server.routes.read();
    let broker_member_group = match listener {
        Some(listener) => routes.member_group_at(listener, cluster, broker_name),
        None => routes.member_group(cluster, broker_name),
    };
    BrokerMemberGroupAnswer { broker_member_group }
}

/// 205: takes the write bit from all topics of a group, until it registers a change.
pub fn wipe_write_perm(server: &NameServer, request: &BrokerName<'_>) -> WipeWritePermReply {
    let count = server.routes.write().wipe_write_perm(&request.broker_name);
    info!(broker_name = %request.broker_name, topics = count, "write permission wiped");
    WipeWritePermReply { wipe_topic_count: saturate(count) }
}

/// 327: gives the write bit back.
pub fn add_write_perm(server: &NameServer, request: &BrokerName<'_>) -> AddWritePermReply {
    let count = server.routes.write().add_write_perm(&request.broker_name);
    info!(broker_name = %request.broker_name, topics = count, "write permission added");
    AddWritePermReply { add_topic_count: saturate(count) }
}

fn saturate(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
