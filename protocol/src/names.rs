//! Reserved topics and groups, and what their names say (P§8.1, P§8.9).

/// Template for topics made by their first message; routable, so that producers can find a broker for such a topic.
pub const AUTO_CREATE_TOPIC: &str = "TBW102";
/// Queue of delayed messages, one queue per level.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// Written by client self tests; sends are refused.
pub const SELF_TEST_TOPIC: &str = "SELF_TEST_TOPIC";
/// Default topic of Apache's benchmark programs.
pub const BENCHMARK_TOPIC: &str = "BenchmarkTest";
/// Offsets that were moved; sends are refused.
pub const OFFSET_MOVED_EVENT: &str = "OFFSET_MOVED_EVENT";
/// Half messages.
pub const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// Decisions about half messages.
pub const OP_HALF_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Half messages that were checked too often.
pub const CHECK_MAX_TIME_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// Trace records.
pub const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
/// Messages waiting for a time.
pub const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
/// Changes of a Gantry master's topics, groups and offsets, for its slaves; no client reads or writes it.
pub const METADATA_TOPIC: &str = "rmq_sys_gantry_metadata";
/// The group under which a Gantry slave notes how far it has taken them over.
pub const METADATA_GROUP: &str = "CID_RMQ_SYS_GANTRY_METADATA";
/// Topics with this prefix hold what a group could not consume.
pub const RETRY_PREFIX: &str = "%RETRY%";
/// Topics with this prefix hold what a group gave up on.
pub const DLQ_PREFIX: &str = "%DLQ%";

/// Groups every broker knows from its start.
pub const SYSTEM_GROUPS: [&str; 8] = [
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_RMQ_SYS_TRANS",
];

/// Topics to which clients may not send.
pub const NOT_SENDABLE: [&str; 7] = [
    SCHEDULE_TOPIC,
    HALF_TOPIC,
    OP_HALF_TOPIC,
    CHECK_MAX_TIME_TOPIC,
    SELF_TEST_TOPIC,
    OFFSET_MOVED_EVENT,
    METADATA_TOPIC,
];

/// Longest topic name a user may choose.
pub const MAX_TOPIC: usize = 127;
/// Longest name of a retry or dead-letter topic.
pub const MAX_RETRY_TOPIC: usize = 255;
/// Longest group name.
pub const MAX_GROUP: usize = 120;

/// Returns the retry topic of a group.
pub fn retry_topic(group: &str) -> String {
    format!("{RETRY_PREFIX}{group}")
}

/// Returns the dead-letter topic of a group.
pub fn dlq_topic(group: &str) -> String {
    format!("{DLQ_PREFIX}{group}")
}

/// Says which character of a topic or group name is not allowed, if any.
pub fn illegal_character(name: &str) -> Option<char> {
    name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '%' | '|' | '-' | '_')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_letters_digits_and_four_signs() {
        assert_eq!(illegal_character("%RETRY%g-1_a|B"), None);
        assert_eq!(illegal_character("a b"), Some(' '));
        assert_eq!(illegal_character("ä"), Some('ä'));
    }
}
