//! A slave as clients see it: what it refuses, what it serves, and whom it sends to the master.
#![allow(clippy::unwrap_used)]

mod support;

use broker::slave::{Addresses, SlaveLink};
use protocol::bodies::topic_config::TopicConfig;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::message::NewRecord;
use store::Batch;
use support::*;

const MASTER: &str = "0";
const SLAVE: &str = "2";

/// A slave with topic `T`, of which it has three messages.
async fn start(settings: &[(&str, &str)]) -> (tempfile::TempDir, Unflushed) {
    let dir = tempfile::tempdir().unwrap();
    let role = [("brokerRole", "SLAVE"), ("brokerId", SLAVE), ("flushDiskType", "ASYNC_FLUSH")];
    let broker = Unflushed::start(dir.path(), &[&role, settings].concat()).await;
    let topic =
        TopicConfig { topic_name: "T".into(), read_queue_nums: 1, write_queue_nums: 1, ..Default::default() };
    broker.broker.topics.put(topic, 1).unwrap();
    for body in ["a", "b", "c"] {
        replicate(&broker, body);
    }
    (dir, broker)
}

/// What following does with a message of queue 0.
fn replicate(broker: &Unflushed, body: &str) {
    let mut batch = Batch::default();
    let record = NewRecord {
        topic: "T",
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: "127.0.0.1:1".parse().unwrap(),
        store_host: "127.0.0.1:2".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: body.as_bytes(),
        properties: "",
        more_properties: "",
    };
    batch.push(broker.store.queue_or_create("T", 0).unwrap(), &record, 0, std::iter::empty());
    broker.store.append(&mut batch, 1).unwrap();
    broker.broker.waiting.wake(batch.queue(0), batch.tags_code(0));
}

fn link(broker: &Unflushed) -> &SlaveLink {
    broker.broker.slave.as_ref().unwrap()
}

fn master_comes(broker: &Unflushed) {
    link(broker).on_registered(Some(Addresses { address: "m:1".into(), ha_address: None }));
}

fn master_goes(broker: &Unflushed) {
    link(broker).on_registered(None);
}

/// Code, offset to go on from, broker to ask next.
fn told(answer: &Answer) -> (ResponseCode, &str, &str) {
    (answer.code, answer.field("nextBeginOffset"), answer.field("suggestWhichBrokerId"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_takes_no_messages_and_no_changes_of_its_tables() {
    let (_dir, broker) = start(&[("slaveReadEnable", "true")]).await;
    let mut wire = broker.connect().await;
    let busy = "[REJECTREQUEST]system busy, start flow control for a while";
    for code in [
        RequestCode::SEND_MESSAGE,
        RequestCode::SEND_MESSAGE_V2,
        RequestCode::SEND_BATCH_MESSAGE,
        RequestCode::CONSUMER_SEND_MSG_BACK,
        RequestCode::SEND_REPLY_MESSAGE,
        RequestCode::SEND_REPLY_MESSAGE_V2,
    ] {
        let answer = wire.call(code, &message_fields("T", "0", ""), b"x").await;
        assert_eq!((answer.code, &*answer.remark), (ResponseCode::SYSTEM_BUSY, busy), "{code:?}");
    }
    for code in [
        RequestCode::UPDATE_AND_CREATE_TOPIC,
        RequestCode::UPDATE_AND_CREATE_TOPIC_LIST,
        RequestCode::DELETE_TOPIC_IN_BROKER,
        RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
        RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST,
        RequestCode::DELETE_SUBSCRIPTIONGROUP,
    ] {
        let answer = wire.call(code, &[("topic", "T"), ("groupName", "G")], b"{}").await;
        assert_eq!(answer.code, ResponseCode::SYSTEM_ERROR, "{code:?}");
        assert!(answer.remark.starts_with("Can't modify topic or subscription group from slave"), "{code:?}");
    }
    assert_eq!(broker.store.queue("T", 0).unwrap().next(), 3, "nothing was stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_serves_offsets_and_locks() {
    let (_dir, broker) = start(&[]).await;
    let mut wire = broker.connect().await;
    let of = [("consumerGroup", "G"), ("topic", "T"), ("queueId", "0"), ("commitOffset", "2")];
    assert_eq!(wire.call(RequestCode::UPDATE_CONSUMER_OFFSET, &of, b"").await.code, ResponseCode::SUCCESS);
    assert_eq!(wire.call(RequestCode::QUERY_CONSUMER_OFFSET, &of, b"").await.field("offset"), "2");
    assert_eq!(wire.call(RequestCode::GET_MAX_OFFSET, &of, b"").await.field("offset"), "3");
    let body =
        br#"{"clientId":"c","consumerGroup":"G","mqSet":[{"brokerName":"b","queueId":0,"topic":"T"}]}"#;
    let locked = wire.call(RequestCode::LOCK_BATCH_MQ, &[], body).await;
    assert!(String::from_utf8(locked.body).unwrap().contains("\"queueId\":0"));
    let info = wire.call(RequestCode::GET_BROKER_RUNTIME_INFO, &[], b"").await;
    let end = format!("\"commitLogMaxOffset\":\"{}\"", broker.store.written());
    assert!(String::from_utf8(info.body).unwrap().contains(&end));
    let status = wire.call(RequestCode::GET_BROKER_HA_STATUS, &[], b"").await;
    let status = String::from_utf8(status.body).unwrap();
    let own = format!("\"maxOffset\":{}", broker.store.written());
    assert!(status.contains(&own) && status.contains("\"master\":false"), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_serves_pulls_only_when_it_may() {
    let (_dir, broker) = start(&[]).await;
    let mut wire = broker.connect().await;
    let refused = wire.pull("T", "0", "*", "0").await;
    assert_eq!(refused.code, ResponseCode::SYSTEM_BUSY);
    assert!(refused.remark.starts_with("[REJECTREQUEST]"), "{}", refused.remark);
    wire.set("slaveReadEnable=true").await;
    assert_eq!(wire.pull("T", "0", "*", "0").await.messages().len(), 3);
    wire.set("slaveReadEnable=false").await;
    assert_eq!(wire.pull("T", "0", "*", "0").await.code, ResponseCode::SYSTEM_BUSY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_master_gone_consumers_stay_and_keep_their_offsets() {
    let (_dir, broker) = start(&[("slaveReadEnable", "true")]).await;
    let mut wire = broker.connect().await;
    let found = wire.pull("T", "1", "*", "0").await;
    assert_eq!(told(&found), (ResponseCode::SUCCESS, "3", SLAVE));
    assert_eq!(told(&wire.pull("T", "3", "*", "0").await), (ResponseCode::PULL_NOT_FOUND, "3", SLAVE));
    // The master had more: that offset is no mistake of the client's.
    assert_eq!(told(&wire.pull("T", "5", "*", "0").await), (ResponseCode::PULL_NOT_FOUND, "5", SLAVE));
    assert_eq!(told(&wire.pull("T", "5", "*", "20").await), (ResponseCode::PULL_NOT_FOUND, "5", SLAVE));
    // Held until the message comes that was asked for.
    let held = wire.send(RequestCode::PULL_MESSAGE, &pull_fields("T", "4", "*", "60000"), b"").await;
    until("it is held", || broker.broker.waiting.parked() == 1).await;
    replicate(&broker, "d");
    until("it is held again", || broker.broker.waiting.parked() == 1).await;
    wire.nothing_is_due().await;
    replicate(&broker, "e");
    let answer = wire.answer().await;
    assert_eq!((answer.opaque, answer.messages()), (held, vec![(4, "e".to_owned())]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_master_there_whoever_finds_nothing_is_sent_to_it() {
    let (_dir, broker) = start(&[("slaveReadEnable", "true")]).await;
    master_comes(&broker);
    let mut wire = broker.connect().await;
    assert_eq!(told(&wire.pull("T", "1", "*", "0").await), (ResponseCode::SUCCESS, "3", MASTER));
    for (offset, wait) in [("3", "0"), ("4", "60000"), ("1000", "60000"), ("-1", "0")] {
        let answer = wire.pull("T", offset, "*", wait).await;
        assert_eq!(told(&answer), (ResponseCode::PULL_RETRY_IMMEDIATELY, offset, MASTER));
    }
    let filtered = wire.pull("T", "0", "other", "0").await;
    assert_eq!(told(&filtered), (ResponseCode::PULL_RETRY_IMMEDIATELY, "3", MASTER), "looked through here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_does_not_get_to_the_master_is_not_tossed_to_and_fro() {
    let (_dir, broker) = start(&[("slaveReadEnable", "true")]).await;
    master_comes(&broker);
    let mut wire = broker.connect().await;
    let away = (ResponseCode::PULL_RETRY_IMMEDIATELY, "3", MASTER);
    assert_eq!(told(&wire.pull("T", "3", "*", "60000").await), away);
    // It comes back, as the client's route knows no master: held now, until there is something.
    let held = wire.send(RequestCode::PULL_MESSAGE, &pull_fields("T", "3", "*", "60000"), b"").await;
    until("it is held", || broker.broker.waiting.parked() == 1).await;
    replicate(&broker, "d");
    let answer = wire.answer().await;
    assert_eq!((answer.opaque, answer.messages()), (held, vec![(3, "d".to_owned())]));
    // Another offset is another pull.
    assert_eq!(wire.pull("T", "4", "*", "60000").await.code, ResponseCode::PULL_RETRY_IMMEDIATELY);
    let answer = wire.pull("T", "4", "*", "20").await;
    assert_eq!(told(&answer), (ResponseCode::PULL_NOT_FOUND, "4", MASTER), "told once its time is over");
    master_goes(&broker);
    assert_eq!(told(&wire.pull("T", "4", "*", "0").await), (ResponseCode::PULL_NOT_FOUND, "4", SLAVE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_while_a_slave_starts_over_keeps_its_offset() {
    let (_dir, broker) = start(&[("slaveReadEnable", "true")]).await;
    let mut wire = broker.connect().await;
    let held = wire.send(RequestCode::PULL_MESSAGE, &pull_fields("T", "3", "*", "60000"), b"").await;
    until("it is held", || broker.broker.waiting.parked() == 1).await;
    let queue = broker.store.queue("T", 0).unwrap();
    broker.store.start_over(1 << 30).unwrap();
    broker.broker.waiting.wake_all(&queue);
    let answer = wire.answer().await;
    assert_eq!((answer.opaque, told(&answer)), (held, (ResponseCode::PULL_NOT_FOUND, "3", SLAVE)));
    assert_eq!(wire.pull("T", "3", "*", "0").await.code, ResponseCode::PULL_NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_how_far_behind_a_slave_is() {
    let (_dir, broker) = start(&[]).await;
    let metrics = daemon::metrics::Metrics::new();
    broker::metrics::register(&metrics, &broker.broker, &Default::default());
    link(&broker).following().on_master_end(broker.store.written() + 7);
    let text = metrics.encode();
    for line in [
        "gantry_broker_slave_connected 0.0",
        "gantry_broker_slave_lag_bytes 7.0",
        "gantry_broker_slave_lag_seconds ",
        "gantry_broker_slave_joins_total 0.0",
        "gantry_broker_slave_joins_refused_total 0.0",
        "gantry_broker_slave_start_overs_total 0.0",
    ] {
        assert!(text.contains(&format!("\n{line}")), "{line} in {text}");
    }
    assert!(!text.contains("gantry_broker_follower"), "that is for masters");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_may_name_the_members_it_reads_from() {
    let (_dir, broker) = start(&[("slaveReadEnable", "true")]).await;
    let group = protocol::bodies::subscription_group::SubscriptionGroupConfig {
        group_name: "G".into(),
        broker_id: 5,
        ..Default::default()
    };
    broker.broker.groups.put(group, 1).unwrap();
    let mut wire = broker.connect().await;
    assert_eq!(wire.pull("T", "0", "*", "0").await.field("suggestWhichBrokerId"), "5");
    master_comes(&broker);
    assert_eq!(wire.pull("T", "0", "*", "0").await.field("suggestWhichBrokerId"), MASTER);
}
