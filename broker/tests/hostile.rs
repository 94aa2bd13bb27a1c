//! Every request code with fields and bodies nobody sane would send: one answer each, and the broker lives.
#![allow(clippy::unwrap_used)]

mod support;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::header::Serialization;
use support::*;

/// Every field any request has.
const FIELDS: [&str; 38] = [
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "h",
    "i",
    "j",
    "topic",
    "defaultTopic",
    "producerGroup",
    "consumerGroup",
    "group",
    "groupName",
    "queueId",
    "queueOffset",
    "offset",
    "maxMsgNums",
    "commitOffset",
    "subscription",
    "subVersion",
    "timestamp",
    "readQueueNums",
    "writeQueueNums",
    "perm",
    "bornTimestamp",
    "sysFlag",
    "flag",
    "defaultTopicQueueNums",
    "maxNum",
    "key",
    "beginTimestamp",
    "endTimestamp",
    "clientID",
    "maxMsgBytes",
    "attributes",
];

const VALUES: [&str; 9] = [
    "",
    "-1",
    "0",
    "4294967295",
    "9223372036854775807",
    "-9223372036854775808",
    "T",
    "%RETRY%\u{1}\u{2}|@ä",
    "2147483647",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_field_or_body_of_any_request_harms_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[]).await;
    let mut wire = broker.connect().await;
    wire.make_topic("T", "4", "6").await;
    wire.put("T", "x", "").await;
    let deep = "[".repeat(100_000);
    let bodies: [&[u8]; 6] = [
        b"",
        b"{}",
        b"[1,{\"a\":null}]",
        b"\xff\x00",
        deep.as_bytes(),
        b"{\"mqSet\":[{}],\"groupName\":\"T\"}",
    ];
    for serialization in [Serialization::Json, Serialization::Binary] {
        wire.serialization = serialization;
        for code in RequestCode::ALL {
            for (i, value) in VALUES.iter().enumerate() {
                // Numbers in every field, and names where names belong.
                let mixed = |k: &&'static str| {
                    (*k, if k.to_ascii_lowercase().contains("topic") || *k == "b" { "T" } else { value })
                };
                let all: Vec<_> = FIELDS.iter().map(|k| (*k, *value)).collect();
                let some: Vec<_> = FIELDS.iter().map(mixed).collect();
                for fields in [&all, &some] {
                    // Nothing may be held here: its time would be as hostile as the rest.
                    let fields: Vec<_> =
                        fields.iter().copied().chain([("suspendTimeoutMillis", "0")]).collect();
                    wire.call(*code, &fields, bodies[i % bodies.len()]).await;
                }
            }
        }
    }
    assert_eq!(wire.put("T", "still here", "").await.code, ResponseCode::SUCCESS);
    broker.stop().await;
    let broker = Running::start(dir.path(), &[]).await;
    assert_eq!(broker.connect().await.put("T", "and again", "").await.code, ResponseCode::SUCCESS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_served_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[]).await;
    let mut wire = broker.connect().await;
    for (code, remark) in [
        (RequestCode::CONSUMER_SEND_MSG_BACK, "CONSUMER_SEND_MSG_BACK is not supported yet"),
        (RequestCode::END_TRANSACTION, "END_TRANSACTION is not supported yet"),
        (RequestCode::POP_MESSAGE, "POP_MESSAGE is not supported yet"),
        (RequestCode::QUERY_ASSIGNMENT, "QUERY_ASSIGNMENT is not supported yet"),
        (RequestCode::VIEW_BROKER_STATS_DATA, "VIEW_BROKER_STATS_DATA is not supported yet"),
        (RequestCode::REGISTER_BROKER, " request type 103 not supported"),
        (RequestCode(4711), " request type 4711 not supported"),
        (RequestCode(-1), " request type -1 not supported"),
    ] {
        for serialization in [Serialization::Json, Serialization::Binary] {
            wire.serialization = serialization;
            let answer = wire.call(code, &[], b"").await;
            assert_eq!((answer.code, &*answer.remark), (ResponseCode::REQUEST_CODE_NOT_SUPPORTED, remark));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_too_large_to_remember_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[]).await;
    let mut wire = broker.connect().await;
    let groups: Vec<_> = (0..50_000).map(|i| format!("{{\"groupName\":\"producer-number-{i}\"}}")).collect();
    let body = format!("{{\"clientID\":\"c\",\"producerDataSet\":[{}]}}", groups.join(","));
    let answer = wire.call(RequestCode::HEART_BEAT, &[], body.as_bytes()).await;
    assert_eq!(answer.code, ResponseCode::INVALID_PARAMETER);
}
