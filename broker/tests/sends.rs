//! Sending: what a producer is told, and what is stored.
#![allow(clippy::unwrap_used)]

mod support;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::message::{BatchItem, push_batch_item};
use support::*;

fn batch(n: usize) -> Vec<u8> {
    let mut body = Vec::new();
    for i in 0..n {
        push_batch_item(&mut body, &BatchItem { flag: 0, body: i.to_string().as_bytes(), properties: "" });
    }
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_in_any_spelling_is_answered_with_where_it_went() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[]).await;
    let mut wire = broker.connect().await;
    let v1 = [
        ("producerGroup", "P"),
        ("topic", "T"),
        ("defaultTopic", "TBW102"),
        ("defaultTopicQueueNums", "4"),
        ("queueId", "2"),
        ("sysFlag", "0"),
        ("bornTimestamp", "1"),
        ("flag", "0"),
        ("properties", "UNIQ_KEY\u{1}KEY1\u{2}"),
    ];
    let first = wire.call(RequestCode::SEND_MESSAGE, &v1, b"a").await;
    assert_eq!(first.code, ResponseCode::SUCCESS, "{first:?}");
    assert_eq!((first.field("queueId"), first.field("queueOffset")), ("2", "0"));
    assert_eq!((first.field("transactionId"), first.field("msgId").len()), ("KEY1", 32));
    assert_eq!((first.field("MSG_REGION"), first.field("TRACE_ON")), ("DefaultRegion", "true"));
    let second = wire.call(RequestCode::SEND_MESSAGE_V2, &message_fields("T", "2", ""), b"b").await;
    assert_eq!(second.field("queueOffset"), "1");
    assert_eq!(second.field("transactionId").len(), 32, "an id is made for who has none");
    let any = wire.call(RequestCode::SEND_MESSAGE_V2, &message_fields("T", "-1", ""), b"c").await;
    assert_eq!(any.code, ResponseCode::SUCCESS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_stored_whole_with_one_id_each_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[]).await;
    let mut wire = broker.connect().await;
    let fields = with(message_fields("T", "0", ""), "m", "true");
    let answer = wire.call(RequestCode::SEND_BATCH_MESSAGE, &fields, &batch(3)).await;
    assert_eq!((answer.code, answer.field("queueOffset")), (ResponseCode::SUCCESS, "0"));
    assert_eq!(answer.field("msgId").split(',').filter(|id| id.len() == 32).count(), 3);
    let whole = batch(3);
    for bad in [&whole[..whole.len() - 1], b"", b"\0\0\0\0", &batch(30_001)] {
        let answer = wire.call(RequestCode::SEND_BATCH_MESSAGE, &fields, bad).await;
        assert_eq!(answer.code, ResponseCode::MESSAGE_ILLEGAL, "{} bytes", bad.len());
    }
    assert_eq!(wire.pull("T", "0", "*", "0").await.field("maxOffset"), "3");
    let many = wire.call(RequestCode::SEND_BATCH_MESSAGE, &fields, &batch(30_000)).await;
    assert_eq!(many.field("msgId").split(',').count(), 30_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_made_by_its_first_message_only_where_that_is_allowed() {
    let (on, off) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = Running::start(on.path(), &[]).await;
    let mut wire = broker.connect().await;
    wire.put("New", "x", "").await;
    let topic = wire.call(RequestCode::GET_TOPIC_CONFIG, &[("topic", "New")], b"").await;
    let text = String::from_utf8(topic.body).unwrap();
    assert!(text.contains("\"readQueueNums\":4") && text.contains("\"perm\":6"), "{text}");
    for name in ["a b", "ä", &"x".repeat(128), " "] {
        let answer = wire.put(name, "x", "").await;
        assert_eq!(answer.code, ResponseCode::INVALID_PARAMETER, "{name}: {answer:?}");
    }
    for queues in ["0", "-1", "-2147483648"] {
        let fields = with(message_fields("Zero", "0", ""), "d", queues);
        let answer = wire.call(RequestCode::SEND_MESSAGE_V2, &fields, b"x").await;
        assert_eq!(answer.code, ResponseCode::TOPIC_NOT_EXIST);
    }
    let broker = Running::start(off.path(), &[("autoCreateTopicEnable", "false")]).await;
    let answer = broker.connect().await.put("New", "x", "").await;
    assert_eq!(answer.code, ResponseCode::TOPIC_NOT_EXIST);
    assert!(answer.remark.starts_with("topic[New] not exist, apply first please!"), "{}", answer.remark);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_sent_is_refused_with_its_code() {
    use ResponseCode as R;
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[("maxMessageSize", "1KiB")]).await;
    let mut wire = broker.connect().await;
    wire.make_topic("T", "2", "6").await;
    wire.make_topic("ReadOnly", "2", "4").await;
    wire.make_topic("Empty", "0", "6").await;
    let body = "x".repeat(1025);
    let long = format!("k\u{1}{}", "v".repeat(40_000));
    let plain = |topic, queue, properties| (message_fields(topic, queue, properties), "x");
    let cases = [
        (plain("ReadOnly", "0", ""), R::NO_PERMISSION, "the topic[ReadOnly] sending message is forbidden"),
        (
            plain("SELF_TEST_TOPIC", "0", ""),
            R::NO_PERMISSION,
            "Sending message to topic[SELF_TEST_TOPIC] is forbidden.",
        ),
        (plain("T", "2", ""), R::INVALID_PARAMETER, "request queueId[2] is illegal"),
        (plain("T", "2147483647", ""), R::INVALID_PARAMETER, "request queueId[2147483647] is illegal"),
        (plain("Empty", "-1", ""), R::INVALID_PARAMETER, "request queueId[-1] is illegal"),
        ((message_fields("T", "0", ""), &body), R::MESSAGE_ILLEGAL, "maxMessageSize"),
        (plain("T", "0", &long), R::MESSAGE_ILLEGAL, "properties length"),
        (plain("T", "0", "DELAY\u{1}3\u{2}"), R::MESSAGE_ILLEGAL, "delayed messages are not supported yet"),
        (plain("T", "0", "TIMER_DELIVER_MS\u{1}3\u{2}"), R::MESSAGE_ILLEGAL, "not supported yet"),
        (
            plain("T", "0", "TRAN_MSG\u{1}true\u{2}"),
            R::MESSAGE_ILLEGAL,
            "transactional messages are not supported yet",
        ),
        (plain("%RETRY%G", "0", ""), R::MESSAGE_ILLEGAL, "retry topics is not supported yet"),
        ((with(message_fields("T", "0", ""), "f", "4"), "x"), R::MESSAGE_ILLEGAL, "not supported yet"),
        ((with(message_fields("T", "0", ""), "f", "128"), "x"), R::MESSAGE_ILLEGAL, "not supported yet"),
        (
            (with(message_fields("T", "0", ""), "e", "x"), "x"),
            R::SYSTEM_ERROR,
            "the custom field <queueId> is null",
        ),
    ];
    for ((fields, body), code, remark) in cases {
        let answer = wire.call(RequestCode::SEND_MESSAGE_V2, &fields, body.as_bytes()).await;
        assert_eq!(answer.code, code, "{remark}: {answer:?}");
        assert!(answer.remark.contains(remark), "{} has {remark}", answer.remark);
    }
    assert_eq!(wire.pull("T", "0", "*", "0").await.field("maxOffset"), "0", "nothing was stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_way_send_is_stored_or_refused_in_silence() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[]).await;
    let mut wire = broker.connect().await;
    wire.oneway(RequestCode::SEND_MESSAGE_V2, &message_fields("T", "0", ""), b"x").await;
    wire.oneway(RequestCode::SEND_MESSAGE_V2, &message_fields("T", "99", ""), b"x").await;
    wire.oneway(RequestCode::PULL_MESSAGE, &pull_fields("T", "0", "*", "0"), b"").await;
    wire.oneway(RequestCode(4711), &[], b"").await;
    assert_eq!(wire.pull("T", "0", "*", "0").await.messages(), [(0, "x".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_sends_are_answered_once_each_and_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[("flushDiskType", "SYNC_FLUSH")]).await;
    let mut wire = broker.connect().await;
    let mut asked = Vec::new();
    for i in 0..500 {
        let queue = if i % 5 == 4 { "99" } else { "0" };
        asked.push(wire.send(RequestCode::SEND_MESSAGE_V2, &message_fields("T", queue, ""), b"x").await);
    }
    let mut answers = Vec::new();
    for _ in &asked {
        answers.push(wire.answer().await);
    }
    answers.sort_by_key(|a| a.opaque);
    assert!(answers.iter().map(|a| a.opaque).eq(asked.iter().copied()));
    let stored =
        answers.iter().filter(|a| a.code == ResponseCode::SUCCESS).map(|a| a.field("queueOffset").to_owned());
    assert!(stored.eq((0..400).map(|i| i.to_string())));
}
