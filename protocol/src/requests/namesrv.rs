//! Requests of the name server (P§2.1).

use std::borrow::Cow;

use super::headers;

headers! {
    /// GET_ROUTEINFO_BY_TOPIC (105).
    GetRouteInfo<'a> {
        /// Topic.
        topic: Cow<'a, str> = "topic",
        /// Whether the body must be strict JSON.
        accept_standard_json_only: bool = "acceptStandardJsonOnly" or false,
        /// `true` keeps only brokers of [`Self::zone_name`].
        zone_mode: Option<Cow<'a, str>> = "__ZONE_MODE",
        /// Zone of the caller.
        zone_name: Option<Cow<'a, str>> = "__ZONE_NAME",
    }

    /// REGISTER_BROKER (103).
    RegisterBroker<'a> {
        /// Group of master and slaves.
        broker_name: Cow<'a, str> = "brokerName",
        /// `host:port` clients use.
        broker_addr: Cow<'a, str> = "brokerAddr",
        /// Cluster.
        cluster_name: Cow<'a, str> = "clusterName",
        /// `host:port` slaves use.
        ha_server_addr: Cow<'a, str> = "haServerAddr",
        /// 0 for the master.
        broker_id: i64 = "brokerId",
        /// After how long silence means death; absent: 120 s.
        heartbeat_timeout_millis: Option<i64> = "heartbeatTimeoutMillis",
        /// Whether the lowest id may stand in for the master.
        enable_acting_master: Option<bool> = "enableActingMaster",
        /// Whether the body is deflated.
        compressed: bool = "compressed" or false,
        /// CRC-32 of the body, sign bit cleared; 0: not checked.
        body_crc32: i32 = "bodyCrc32" or 0,
        /// Zone of the broker.
        zone_name: Option<Cow<'a, str>> = "__ZONE_NAME",
        /// Its addresses at other listeners, as [`crate::listeners::ListenerAddresses`] writes them. Of Gantry only:
        /// other name servers pass it over.
        listeners: Option<Cow<'a, str>> = "gantryListeners",
    }

    /// The answer to REGISTER_BROKER.
    RegisterBrokerReply<'a> {
        /// HA address of the master.
        ha_server_addr: Option<Cow<'a, str>> = "haServerAddr",
        /// Address of the master.
        master_addr: Option<Cow<'a, str>> = "masterAddr",
    }

    /// UNREGISTER_BROKER (104) and QUERY_DATA_VERSION (322).
    BrokerIdentity<'a> {
        /// Group of master and slaves.
        broker_name: Cow<'a, str> = "brokerName",
        /// `host:port` clients use.
        broker_addr: Cow<'a, str> = "brokerAddr",
        /// Cluster.
        cluster_name: Cow<'a, str> = "clusterName",
        /// 0 for the master.
        broker_id: i64 = "brokerId",
    }

    /// The answer to QUERY_DATA_VERSION.
    QueryDataVersionReply {
        /// Whether the broker must register in full.
        changed: bool = "changed",
    }

    /// BROKER_HEARTBEAT (904).
    BrokerHeartbeat<'a> {
        /// Cluster.
        cluster_name: Cow<'a, str> = "clusterName",
        /// `host:port` clients use.
        broker_addr: Cow<'a, str> = "brokerAddr",
        /// Group of master and slaves.
        broker_name: Cow<'a, str> = "brokerName",
        /// Id within the group.
        broker_id: Option<i64> = "brokerId",
        /// Epoch of the master the broker follows.
        epoch: Option<i32> = "epoch",
        /// End of its log.
        max_offset: Option<i64> = "maxOffset",
        /// What is confirmed.
        confirm_offset: Option<i64> = "confirmOffset",
        /// After how long silence means death.
        heartbeat_timeout_mills: Option<i64> = "heartbeatTimeoutMills",
        /// Lower is preferred.
        election_priority: Option<i32> = "electionPriority",
    }

    /// PUT_KV_CONFIG (100).
    PutKvConfig<'a> {
        /// Namespace.
        namespace: Cow<'a, str> = "namespace",
        /// Key.
        key: Cow<'a, str> = "key",
        /// Value.
        value: Cow<'a, str> = "value",
    }

    /// GET_KV_CONFIG (101) and DELETE_KV_CONFIG (102).
    KvConfigKey<'a> {
        /// Namespace.
        namespace: Cow<'a, str> = "namespace",
        /// Key.
        key: Cow<'a, str> = "key",
    }

    /// The answer to GET_KV_CONFIG.
    KvConfigReply<'a> {
        /// Value.
        value: Option<Cow<'a, str>> = "value",
    }

    /// GET_KVLIST_BY_NAMESPACE (219).
    KvNamespace<'a> {
        /// Namespace.
        namespace: Cow<'a, str> = "namespace",
    }

    /// GET_TOPICS_BY_CLUSTER (224).
    ClusterName<'a> {
        /// Cluster.
        cluster: Cow<'a, str> = "cluster",
    }

    /// WIPE_WRITE_PERM_OF_BROKER (205) and ADD_WRITE_PERM_OF_BROKER (327).
    BrokerName<'a> {
        /// Group of master and slaves.
        broker_name: Cow<'a, str> = "brokerName",
    }

    /// The answer to WIPE_WRITE_PERM_OF_BROKER.
    WipeWritePermReply {
        /// Topics changed.
        wipe_topic_count: i32 = "wipeTopicCount",
    }

    /// The answer to ADD_WRITE_PERM_OF_BROKER.
    AddWritePermReply {
        /// Topics changed.
        add_topic_count: i32 = "addTopicCount",
    }

    /// DELETE_TOPIC_IN_NAMESRV (216).
    DeleteTopicInNamesrv<'a> {
        /// Topic.
        topic: Cow<'a, str> = "topic",
        /// Restricts to one cluster.
        cluster_name: Option<Cow<'a, str>> = "clusterName",
    }

    /// GET_BROKER_MEMBER_GROUP (901).
    GetBrokerMemberGroup<'a> {
        /// Cluster.
        cluster_name: Cow<'a, str> = "clusterName",
        /// Group of master and slaves.
        broker_name: Cow<'a, str> = "brokerName",
    }

    /// NOTIFY_MIN_BROKER_ID_CHANGE (905), to brokers, one-way.
    NotifyMinBrokerIdChange<'a> {
        /// Lowest live id.
        min_broker_id: Option<i64> = "minBrokerId",
        /// Group of master and slaves.
        broker_name: Option<Cow<'a, str>> = "brokerName",
        /// Address of the lowest live id.
        min_broker_addr: Option<Cow<'a, str>> = "minBrokerAddr",
        /// Address of the broker that left.
        offline_broker_addr: Option<Cow<'a, str>> = "offlineBrokerAddr",
        /// HA address of the lowest live id.
        ha_broker_addr: Option<Cow<'a, str>> = "haBrokerAddr",
    }
}
