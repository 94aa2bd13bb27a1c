//! Between the brokers of a group (P§2.6).

use std::borrow::Cow;

use super::headers;

headers! {
    /// EXCHANGE_BROKER_HA_INFO (906), the request. Java's slaves send nothing to ask; its masters send their addresses to
    /// tell. A Gantry slave says who it is.
    ExchangeHaInfo<'a> {
        /// Where the master sends its log from, when it tells so.
        master_ha_address: Option<Cow<'a, str>> = "masterHaAddress",
        /// The end of the master's log when it started.
        master_flush_offset: Option<i64> = "masterFlushOffset",
        /// Where the master serves clients.
        master_address: Option<Cow<'a, str>> = "masterAddress",
        /// Cluster of the slave; Gantry only, as everything below.
        cluster_name: Option<Cow<'a, str>> = "clusterName",
        /// Group of the slave.
        broker_name: Option<Cow<'a, str>> = "brokerName",
        /// Member of the group.
        broker_id: Option<i64> = "brokerId",
        /// Identity of its store.
        store_id: Option<Cow<'a, str>> = "storeId",
    }

    /// The answer to EXCHANGE_BROKER_HA_INFO of a master; of a slave it has no fields.
    ExchangeHaInfoReply<'a> {
        /// Where the master sends its log from.
        master_ha_address: Option<Cow<'a, str>> = "masterHaAddress",
        /// The end of its log when it started.
        master_flush_offset: Option<i64> = "masterFlushOffset",
        /// Where it serves clients.
        master_address: Option<Cow<'a, str>> = "masterAddress",
        /// Its cluster; Gantry only, as the next.
        cluster_name: Option<Cow<'a, str>> = "clusterName",
        /// Its group.
        broker_name: Option<Cow<'a, str>> = "brokerName",
    }

    /// RESET_MASTER_FLUSH_OFFSET (908).
    ResetMasterFlushOffset {
        /// What slaves are to take for the master's flushed offset.
        master_flush_offset: i64 = "masterFlushOffset",
    }
}
