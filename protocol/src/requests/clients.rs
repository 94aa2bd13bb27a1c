//! Clients of a broker: heartbeat, leaving, who is in a group (codes 34, 35, 38, 40): P§2.2, P§8.3.

use std::borrow::Cow;

use super::headers;

headers! {
    /// The answer to HEART_BEAT (34); 5.x clients then send only fingerprints of unchanged subscriptions.
    HeartbeatReply {
        /// Whether fingerprints are understood.
        heartbeat_v2: bool = "IS_SUPPORT_HEART_BEAT_V2",
        /// Whether the subscription changed.
        sub_change: bool = "IS_SUB_CHANGE",
    }

    /// UNREGISTER_CLIENT (35).
    UnregisterClient<'a> {
        /// Client id.
        client_id: Cow<'a, str> = "clientID",
        /// Producer group it leaves.
        producer_group: Option<Cow<'a, str>> = "producerGroup",
        /// Consumer group it leaves.
        consumer_group: Option<Cow<'a, str>> = "consumerGroup",
    }

    /// GET_CONSUMER_LIST_BY_GROUP (38), NOTIFY_CONSUMER_IDS_CHANGED (40), GET_CONSUMER_CONNECTION_LIST (203).
    ConsumerGroup<'a> {
        /// Consumer group.
        consumer_group: Cow<'a, str> = "consumerGroup",
    }

    /// GET_PRODUCER_CONNECTION_LIST (204).
    ProducerGroup<'a> {
        /// Producer group.
        producer_group: Cow<'a, str> = "producerGroup",
    }
}
