//! Topics, groups, offsets and clients: what tools and consumers are told, and what a restart keeps.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use protocol::codes::{RequestCode, ResponseCode};
use support::*;

fn offset_fields<'a>(topic: &'a str, queue: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("consumerGroup", "G"), ("topic", topic), ("queueId", queue), ("commitOffset", "7")]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_without_an_offset_begins_at_the_front_or_is_told_to_decide() {
    use ResponseCode as R;
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[]).await;
    let mut wire = broker.connect().await;
    wire.put("T", "x", "").await;
    let query = offset_fields("T", "0");
    let front = wire.call(RequestCode::QUERY_CONSUMER_OFFSET, &query, b"").await;
    assert_eq!((front.code, front.field("offset")), (R::SUCCESS, "0"));
    let mut strict = query.clone();
    strict.push(("setZeroIfNotFound", "false"));
    assert_eq!(wire.call(RequestCode::QUERY_CONSUMER_OFFSET, &strict, b"").await.code, R::QUERY_NOT_FOUND);
    let unknown = wire.call(RequestCode::QUERY_CONSUMER_OFFSET, &offset_fields("Unknown", "0"), b"").await;
    assert_eq!(unknown.code, R::QUERY_NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_are_kept_only_for_what_exists() {
    use ResponseCode as R;
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[("autoCreateSubscriptionGroup", "false")]).await;
    let mut wire = broker.connect().await;
    wire.put("T", "x", "").await;
    let commit = RequestCode::UPDATE_CONSUMER_OFFSET;
    let answer = wire.call(commit, &offset_fields("T", "0"), b"").await;
    assert_eq!((answer.code, &*answer.remark), (R::SUBSCRIPTION_GROUP_NOT_EXIST, "Group G not exist!"));
    broker.stop().await;
    // Where groups are made by their first consumer, a commit makes one too, if it can have that name.
    let broker = Running::start(dir.path(), &[]).await;
    let mut wire = broker.connect().await;
    let cases = [
        (with(offset_fields("T", "0"), "consumerGroup", "a@b"), R::SUBSCRIPTION_GROUP_NOT_EXIST),
        (offset_fields("Unknown", "0"), R::TOPIC_NOT_EXIST),
        (offset_fields("T", "-1"), R::INVALID_PARAMETER),
        (offset_fields("T", "2147483647"), R::INVALID_PARAMETER),
        (with(offset_fields("T", "0"), "commitOffset", "-1"), R::INVALID_PARAMETER),
        (with(offset_fields("T", "0"), "commitOffset", "9223372036854775807"), R::SUCCESS),
        (offset_fields("T", "0"), R::SUCCESS),
    ];
    for (fields, code) in cases {
        assert_eq!(wire.call(commit, &fields, b"").await.code, code, "{fields:?}");
    }
    let all = wire.call(RequestCode::GET_ALL_CONSUMER_OFFSET, &[], b"").await;
    assert!(String::from_utf8(all.body).unwrap().contains("\"T@G\":{0:7}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_messages_topics_groups_and_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[]).await;
    let mut wire = broker.connect().await;
    wire.make_topic("Made", "3", "6").await;
    wire.put("T", "before", "").await;
    wire.pull("T", "0", "*", "0").await;
    wire.call(RequestCode::UPDATE_CONSUMER_OFFSET, &offset_fields("T", "0"), b"").await;
    let group = br#"{"groupName":"Kept","retryMaxTimes":3}"#;
    wire.call(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], group).await;
    broker.stop().await;
    let broker = Running::start(dir.path(), &[]).await;
    let mut wire = broker.connect().await;
    assert_eq!(wire.pull("T", "0", "*", "0").await.messages(), [(0, "before".to_owned())]);
    let offset = wire.call(RequestCode::QUERY_CONSUMER_OFFSET, &offset_fields("T", "0"), b"").await;
    assert_eq!(offset.field("offset"), "7");
    let made = wire.call(RequestCode::GET_TOPIC_CONFIG, &[("topic", "Made")], b"").await;
    assert!(String::from_utf8(made.body).unwrap().contains("\"readQueueNums\":3"));
    let kept = wire.call(RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG, &[("group", "Kept")], b"").await;
    assert!(String::from_utf8(kept.body).unwrap().contains("\"retryMaxTimes\":3"));
    assert_eq!(wire.put("T", "after", "").await.field("queueOffset"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_anew_has_nothing_of_the_deleted_one_even_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[]).await;
    let mut wire = broker.connect().await;
    // One connection sends before and after: what it remembers of the topic is stale then.
    for body in ["old", "older"] {
        wire.put("T", body, "").await;
    }
    wire.pull("T", "0", "*", "0").await;
    wire.call(RequestCode::UPDATE_CONSUMER_OFFSET, &offset_fields("T", "0"), b"").await;
    let deleted = wire.call(RequestCode::DELETE_TOPIC_IN_BROKER, &[("topic", "T")], b"").await;
    assert_eq!(deleted.code, ResponseCode::SUCCESS);
    assert_eq!(wire.pull("T", "0", "*", "0").await.code, ResponseCode::TOPIC_NOT_EXIST);
    let put = wire.put("T", "new", "").await;
    assert_eq!((put.code, put.field("queueOffset")), (ResponseCode::SUCCESS, "0"));
    let offset = wire.call(RequestCode::QUERY_CONSUMER_OFFSET, &offset_fields("T", "0"), b"").await;
    assert_eq!(offset.field("offset"), "0");
    broker.stop().await;
    let broker = Running::start(dir.path(), &[]).await;
    let mut wire = broker.connect().await;
    assert_eq!(wire.pull("T", "0", "*", "0").await.messages(), [(0, "new".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_deleted_among_sends_is_gone_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("autoCreateTopicEnable", "false")];
    let broker = Running::start(dir.path(), &settings).await;
    let mut admin = broker.connect().await;
    let topics: Vec<String> = (0..20).map(|i| format!("T{i}")).collect();
    for topic in &topics {
        admin.make_topic(topic, "4", "6").await;
        let sent = Arc::new(AtomicUsize::new(0));
        let mut senders = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let (mut wire, topic, sent) = (broker.connect().await, topic.clone(), sent.clone());
            senders.spawn(async move {
                // Until the topic is gone.
                while wire.put(&topic, "x", "").await.code == ResponseCode::SUCCESS {
                    sent.fetch_add(1, SeqCst);
                }
            });
        }
        until("all are sending", || sent.load(SeqCst) > 30).await;
        admin.call(RequestCode::DELETE_TOPIC_IN_BROKER, &[("topic", topic)], b"").await;
        soon("senders stop", senders.join_all()).await;
    }
    broker.stop().await;
    let broker = Running::start(dir.path(), &settings).await;
    let mut wire = broker.connect().await;
    for topic in &topics {
        let gone = wire.call(RequestCode::GET_TOPIC_CONFIG, &[("topic", topic)], b"").await;
        assert_eq!(gone.code, ResponseCode::TOPIC_NOT_EXIST, "{topic}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn system_topics_are_neither_changed_nor_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[]).await;
    let mut wire = broker.connect().await;
    for topic in ["TBW102", "SCHEDULE_TOPIC_XXXX", "DefaultCluster", "b", "rmq_sys_wheel_timer"] {
        let want = format!("The topic[{topic}] is conflict with system topic.");
        let changed = wire.make_topic(topic, "1", "6").await;
        let deleted = wire.call(RequestCode::DELETE_TOPIC_IN_BROKER, &[("topic", topic)], b"").await;
        for answer in [changed, deleted] {
            assert_eq!((answer.code, answer.remark), (ResponseCode::INVALID_PARAMETER, want.clone()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_no_topic_or_group_can_have_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[]).await;
    let mut wire = broker.connect().await;
    for queues in ["-1", "65536", "2147483647"] {
        assert_eq!(wire.make_topic("T", queues, "6").await.code, ResponseCode::INVALID_PARAMETER);
        // It is the number of queues of the group's retry topic.
        let group = format!("{{\"groupName\":\"G\",\"retryQueueNums\":{queues}}}");
        let answer = wire.call(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], group.as_bytes()).await;
        assert_eq!(answer.code, ResponseCode::INVALID_PARAMETER, "{answer:?}");
    }
    assert_eq!(wire.make_topic("T", "4", "16").await.code, ResponseCode::INVALID_PARAMETER);
}

fn heartbeat(client: &str, tags: &str, version: u32) -> String {
    format!(
        r#"{{"clientID":"{client}","consumerDataSet":[{{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"G","messageModel":"CLUSTERING","subscriptionDataSet":[{{"classFilterMode":false,"codeSet":[],"expressionType":"TAG","subString":"{tags}","subVersion":{version},"tagsSet":[],"topic":"T"}}],"unitMode":false}}],"producerDataSet":[{{"groupName":"P"}}],"withoutSub":false}}"#
    )
}

/// Waits for NOTIFY_CONSUMER_IDS_CHANGED.
async fn notified(wire: &mut Wire) {
    match wire.next().await {
        Some(Came::Request(RequestCode::NOTIFY_CONSUMER_IDS_CHANGED, fields)) => {
            assert_eq!(fields, [("consumerGroup".to_owned(), "G".to_owned())]);
        }
        _ => panic!("no notification"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_group_see_each_other_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[]).await;
    let (mut a, mut b) = (broker.connect().await, broker.connect().await);
    let group = [("consumerGroup", "G")];
    let nobody = a.call(RequestCode::GET_CONSUMER_LIST_BY_GROUP, &group, b"").await;
    assert_eq!((nobody.code, &*nobody.remark), (ResponseCode::SYSTEM_ERROR, "no consumer for this group, G"));
    let alive = a.call(RequestCode::HEART_BEAT, &[], heartbeat("a", "*", 1).as_bytes()).await;
    assert_eq!(alive.field("IS_SUPPORT_HEART_BEAT_V2"), "true");
    let list = a.call(RequestCode::GET_CONSUMER_LIST_BY_GROUP, &group, b"").await;
    assert_eq!(list.body, br#"{"consumerIdList":["a"]}"#);
    let retry = a.call(RequestCode::GET_TOPIC_CONFIG, &[("topic", "%RETRY%G")], b"").await;
    assert!(String::from_utf8(retry.body).unwrap().contains("\"readQueueNums\":1"));
    b.call(RequestCode::HEART_BEAT, &[], heartbeat("b", "*", 1).as_bytes()).await;
    notified(&mut a).await;
    // The same again is no change; a new subscription is.
    b.call(RequestCode::HEART_BEAT, &[], heartbeat("b", "*", 1).as_bytes()).await;
    b.call(RequestCode::HEART_BEAT, &[], heartbeat("b", "x", 2).as_bytes()).await;
    notified(&mut a).await;
    drop(b);
    notified(&mut a).await;
    let list = a.call(RequestCode::GET_CONSUMER_LIST_BY_GROUP, &group, b"").await;
    assert_eq!(list.body, br#"{"consumerIdList":["a"]}"#);
    let leave = [("clientID", "a"), ("producerGroup", "P"), ("consumerGroup", "G")];
    a.call(RequestCode::UNREGISTER_CLIENT, &leave, b"").await;
    let offline = a.call(RequestCode::GET_CONSUMER_CONNECTION_LIST, &group, b"").await;
    assert_eq!(offline.code, ResponseCode::CONSUMER_NOT_ONLINE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_is_locked_by_one_client_and_only_if_it_exists() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[]).await;
    let mut wire = broker.connect().await;
    wire.make_topic("T", "1", "6").await;
    let queue = |id| format!(r#"{{"brokerName":"b","queueId":{id},"topic":"T"}}"#);
    let ask = |client| {
        let queues = [queue(0), queue(1), queue(-1)].join(",");
        format!(r#"{{"clientId":"{client}","consumerGroup":"G","mqSet":[{queues}]}}"#)
    };
    let locked = wire.call(RequestCode::LOCK_BATCH_MQ, &[], ask("a").as_bytes()).await;
    assert_eq!(String::from_utf8(locked.body).unwrap(), format!("{{\"lockOKMQSet\":[{}]}}", queue(0)));
    let other = wire.call(RequestCode::LOCK_BATCH_MQ, &[], ask("c").as_bytes()).await;
    assert_eq!(other.body, br#"{"lockOKMQSet":[]}"#);
    wire.call(RequestCode::UNLOCK_BATCH_MQ, &[], ask("a").as_bytes()).await;
    let other = wire.call(RequestCode::LOCK_BATCH_MQ, &[], ask("c").as_bytes()).await;
    assert_eq!(String::from_utf8(other.body).unwrap(), format!("{{\"lockOKMQSet\":[{}]}}", queue(0)));
}
