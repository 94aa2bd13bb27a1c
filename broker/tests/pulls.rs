//! Pulling: offsets, tags, long polling, and what becomes of held pulls.
#![allow(clippy::unwrap_used)]

mod support;

use protocol::codes::{RequestCode, ResponseCode};
use support::*;

async fn started(n: usize) -> (tempfile::TempDir, Running, Wire) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[]).await;
    let mut wire = broker.connect().await;
    wire.make_topic("T", "4", "6").await;
    for i in 0..n {
        let tag = if i % 2 == 0 { "TAGS\u{1}even\u{2}" } else { "TAGS\u{1}odd\u{2}" };
        wire.put("T", &i.to_string(), tag).await;
    }
    (dir, broker, wire)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_pull_says_where_to_go_on() {
    use ResponseCode as R;
    let (_dir, _broker, mut wire) = started(5).await;
    for (offset, code, next) in [
        ("0", R::SUCCESS, "5"),
        ("5", R::PULL_NOT_FOUND, "5"),
        ("6", R::PULL_OFFSET_MOVED, "5"),
        ("9223372036854775807", R::PULL_OFFSET_MOVED, "5"),
        ("-1", R::PULL_OFFSET_MOVED, "0"),
        ("-9223372036854775808", R::PULL_OFFSET_MOVED, "0"),
    ] {
        let answer = wire.pull("T", offset, "*", "0").await;
        assert_eq!((answer.code, answer.field("nextBeginOffset")), (code, next), "{offset}");
        assert_eq!((answer.field("minOffset"), answer.field("maxOffset")), ("0", "5"), "{offset}");
        assert_eq!(answer.field("suggestWhichBrokerId"), "0", "{offset}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_messages_with_the_wanted_tags_come_and_the_others_are_passed_over() {
    let (_dir, _broker, mut wire) = started(5).await;
    let odd = wire.pull("T", "0", "odd || other", "0").await;
    assert_eq!(odd.messages(), [(1, "1".to_owned()), (3, "3".to_owned())]);
    assert_eq!(odd.field("nextBeginOffset"), "5");
    let none = wire.pull("T", "0", "other", "0").await;
    assert_eq!((none.code, none.field("nextBeginOffset")), (ResponseCode::PULL_RETRY_IMMEDIATELY, "5"));
    assert_eq!(wire.pull("T", "0", "||", "0").await.code, ResponseCode::SUBSCRIPTION_PARSE_FAILED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_stays_within_the_messages_and_bytes_asked_for() {
    let (_dir, _broker, mut wire) = started(5).await;
    let two = with(pull_fields("T", "0", "*", "0"), "maxMsgNums", "2");
    assert_eq!(wire.call(RequestCode::PULL_MESSAGE, &two, b"").await.messages().len(), 2);
    let one = with(pull_fields("T", "0", "*", "0"), "maxMsgNums", "-5");
    assert_eq!(wire.call(RequestCode::PULL_MESSAGE, &one, b"").await.messages().len(), 1);
    let mut tight = pull_fields("T", "0", "*", "0");
    tight.push(("maxMsgBytes", "1"));
    assert_eq!(
        wire.call(RequestCode::PULL_MESSAGE, &tight, b"").await.messages().len(),
        1,
        "one always fits"
    );
    let many = with(pull_fields("T", "0", "*", "0"), "maxMsgNums", "2147483647");
    assert_eq!(wire.call(RequestCode::LITE_PULL_MESSAGE, &many, b"").await.messages().len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_pulled_is_refused_with_its_code() {
    use ResponseCode as R;
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[("autoCreateSubscriptionGroup", "false")]).await;
    let mut wire = broker.connect().await;
    wire.make_topic("T", "2", "6").await;
    wire.make_topic("WriteOnly", "2", "2").await;
    let answer = wire.pull("T", "0", "*", "0").await;
    assert_eq!(answer.code, R::SUBSCRIPTION_GROUP_NOT_EXIST);
    assert!(answer.remark.starts_with("subscription group [G] does not exist, "), "{}", answer.remark);
    for group in [&br#"{"groupName":"G"}"#[..], br#"{"groupName":"Closed","consumeEnable":false}"#] {
        wire.call(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], group).await;
    }
    let pull = |topic| pull_fields(topic, "0", "*", "0");
    let cases = [
        (
            with(pull("T"), "consumerGroup", "Closed"),
            R::NO_PERMISSION,
            "subscription group no permission, Closed",
        ),
        (pull("Unknown"), R::TOPIC_NOT_EXIST, "topic[Unknown] not exist, apply first please!"),
        (pull("WriteOnly"), R::NO_PERMISSION, "the topic[WriteOnly] pulling message is forbidden"),
        (
            with(pull("T"), "queueId", "2"),
            R::INVALID_PARAMETER,
            "queueId[2] is illegal, topic:[T] topicConfig.readQueueNums:[2]",
        ),
        (with(pull("T"), "queueId", "-1"), R::INVALID_PARAMETER, "queueId[-1] is illegal"),
        (with(pull("T"), "sysFlag", "0"), R::SUBSCRIPTION_NOT_EXIST, "the consumer's group info not exist"),
        (with(pull("T"), "queueOffset", "1e3"), R::SYSTEM_ERROR, "the custom field <queueOffset> is null"),
    ];
    for (fields, code, remark) in cases {
        let answer = wire.call(RequestCode::PULL_MESSAGE, &fields, b"").await;
        assert_eq!(answer.code, code, "{remark}: {answer:?}");
        assert!(answer.remark.contains(remark), "{} has {remark}", answer.remark);
    }
    let mut sql = pull("T");
    sql.push(("expressionType", "SQL92"));
    let answer = wire.call(RequestCode::PULL_MESSAGE, &sql, b"").await;
    assert_eq!(answer.remark, "The broker does not support consumer to filter message by SQL92");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_pull_is_answered_by_the_first_message_it_wants() {
    let (_dir, broker, mut wire) = started(1).await;
    let mut other = broker.connect().await;
    // Longer than anybody waits: the clock must not be what answers.
    for wait in ["600000", "9223372036854775807"] {
        let end = wire.pull("T", "0", "*", "0").await.field("maxOffset").to_owned();
        let held = wire.send(RequestCode::PULL_MESSAGE, &pull_fields("T", &end, "wanted", wait), b"").await;
        // The same connection goes on while a pull is held.
        assert_eq!(wire.put("T", "no", "TAGS\u{1}other\u{2}").await.code, ResponseCode::SUCCESS);
        other.put("T", "yes", "TAGS\u{1}wanted\u{2}").await;
        let answer = wire.answer().await;
        assert_eq!((answer.opaque, answer.code), (held, ResponseCode::SUCCESS));
        assert_eq!(answer.messages().iter().map(|(_, b)| &**b).collect::<Vec<_>>(), ["yes"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_pull_ends_when_its_time_is_over() {
    let (_dir, _broker, mut wire) = started(1).await;
    let nothing = wire.pull("T", "1", "*", "50").await;
    assert_eq!((nothing.code, nothing.field("nextBeginOffset")), (ResponseCode::PULL_NOT_FOUND, "1"));
    let held = wire.send(RequestCode::PULL_MESSAGE, &pull_fields("T", "1", "wanted", "50"), b"").await;
    wire.oneway(RequestCode::SEND_MESSAGE_V2, &message_fields("T", "0", "TAGS\u{1}other\u{2}"), b"x").await;
    let passed = wire.answer().await;
    assert_eq!(passed.opaque, held);
    assert_eq!((passed.code, passed.field("nextBeginOffset")), (ResponseCode::PULL_RETRY_IMMEDIATELY, "2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_broker_answers_the_pulls_it_held() {
    let (_dir, broker, mut wire) = started(0).await;
    let held = wire.send(RequestCode::PULL_MESSAGE, &pull_fields("T", "0", "*", "600000"), b"").await;
    wire.put("Other", "x", "").await;
    broker.ask_to_stop();
    let answer = wire.answer().await;
    assert_eq!((answer.opaque, answer.code), (held, ResponseCode::PULL_NOT_FOUND));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_held_at_a_topic_that_is_deleted_hears_so() {
    let (_dir, broker, mut wire) = started(0).await;
    let held = wire.send(RequestCode::PULL_MESSAGE, &pull_fields("T", "0", "*", "600000"), b"").await;
    wire.put("Other", "x", "").await;
    broker.connect().await.call(RequestCode::DELETE_TOPIC_IN_BROKER, &[("topic", "T")], b"").await;
    let answer = wire.answer().await;
    assert_eq!((answer.opaque, answer.code), (held, ResponseCode::TOPIC_NOT_EXIST));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_offset_a_pull_brings_is_stored_unless_it_is_none() {
    let (_dir, _broker, mut wire) = started(3).await;
    let query = [("consumerGroup", "G"), ("topic", "T"), ("queueId", "0")];
    for (commit, want) in [("2", "2"), ("-7", "2")] {
        let fields = with(pull_fields("T", "3", "*", "0"), "sysFlag", "5");
        wire.call(RequestCode::PULL_MESSAGE, &with(fields, "commitOffset", commit), b"").await;
        let stored = wire.call(RequestCode::QUERY_CONSUMER_OFFSET, &query, b"").await;
        assert_eq!(stored.field("offset"), want, "after {commit}");
    }
}
