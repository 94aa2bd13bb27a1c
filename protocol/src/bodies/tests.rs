//! Texts of the reference implementation, byte for byte, and what is tolerated beyond them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;

use super::assignment::*;
use super::broker_member_group::*;
use super::broker_stats::*;
use super::check_client::*;
use super::cluster_info::*;
use super::connection::*;
use super::consumer_list::*;
use super::data_version::*;
use super::group_list::*;
use super::ha_runtime_info::*;
use super::heartbeat::*;
use super::kv_table::*;
use super::lock::*;
use super::message_queue::*;
use super::offsets::*;
use super::register_broker::*;
use super::reset_offset::*;
use super::route::*;
use super::stats::*;
use super::subscription_group::*;
use super::time_span::*;
use super::topic_config::*;
use super::topic_list::*;
use super::topic_queue_mapping::*;
use crate::json::JsonBody;

/// `text` is what the Java side sends and what `body` is written as.
fn golden<T: JsonBody + Debug + PartialEq>(text: &str, body: T) {
    assert_eq!(T::decode(text.as_bytes()).as_ref(), Ok(&body), "{text}");
    assert_eq!(String::from_utf8(body.encode()).unwrap(), text);
}

fn queue() -> MessageQueue {
    MessageQueue { broker_name: "a".to_owned(), queue_id: 0, topic: "T1".to_owned() }
}

fn version(counter: i64) -> DataVersion {
    DataVersion { counter, state_version: 0, timestamp: 1 }
}

fn topic() -> TopicConfig {
    TopicConfig {
        attributes: BTreeMap::from([("message.type".to_owned(), "FIFO".to_owned())]),
        read_queue_nums: 8,
        topic_name: "T1".to_owned(),
        write_queue_nums: 8,
        ..TopicConfig::default()
    }
}

fn broker() -> BrokerData {
    BrokerData {
        broker_addrs: BTreeMap::from([(0, "10.0.0.1:10911".to_owned())]),
        broker_name: "a".to_owned(),
        cluster: "C1".to_owned(),
        ..BrokerData::default()
    }
}

fn route() -> TopicRouteData {
    TopicRouteData {
        broker_datas: vec![broker()],
        queue_datas: vec![QueueData {
            broker_name: "a".to_owned(),
            perm: 6,
            read_queue_nums: 8,
            topic_sys_flag: 0,
            write_queue_nums: 8,
        }],
        ..TopicRouteData::default()
    }
}

const TOPIC: &str = r#"{"attributes":{"message.type":"FIFO"},"order":false,"perm":6,"readQueueNums":8,"topicFilterType":"SINGLE_TAG","topicName":"T1","topicSysFlag":0,"writeQueueNums":8}"#;
const VERSION: &str = r#"{"counter":1,"stateVersion":0,"timestamp":1}"#;
const BROKER: &str =
    r#"{"brokerAddrs":{0:"10.0.0.1:10911"},"brokerName":"a","cluster":"C1","enableActingMaster":false}"#;
const QUEUE: &str = r#"{"brokerName":"a","queueId":0,"topic":"T1"}"#;

#[test]
fn data_version() {
    golden(
        r#"{"counter":12,"stateVersion":0,"timestamp":1700000000000}"#,
        DataVersion { counter: 12, state_version: 0, timestamp: 1_700_000_000_000 },
    );
}

#[test]
fn a_data_version_of_a_4_9_broker_has_state_version_0() {
    let version = DataVersion::decode(br#"{"counter":3,"timestamp":5}"#);
    assert_eq!(version, Ok(DataVersion { counter: 3, state_version: 0, timestamp: 5 }));
}

#[test]
fn data_versions_compare_by_state_version_then_counter_then_timestamp() {
    let version = |state_version, counter, timestamp| DataVersion { counter, state_version, timestamp };
    let ascending = [version(0, 0, 9), version(0, 1, 0), version(0, 1, 1), version(1, 0, 0)];
    assert!(ascending.is_sorted());
    assert_eq!(version(0, 1, 1).next(2, 7), version(2, 2, 7));
}

#[test]
fn route_for_clients_before_4_9_4() {
    let text = format!(
        r#"{{"brokerDatas":[{BROKER}],"filterServerTable":{{}},"queueDatas":[{{"brokerName":"a","perm":6,"readQueueNums":8,"topicSysFlag":0,"writeQueueNums":8}}]}}"#
    );
    golden(&text, route());
}

#[test]
fn route_for_clients_since_4_9_4_is_strict_json_in_ascii() {
    let mut route = route();
    route.broker_datas[0].zone_name = Some("zürich".to_owned());
    route.order_topic_conf = Some("a:8".to_owned());
    let text = route.encode_standard();
    assert_eq!(
        String::from_utf8(text.clone()).unwrap(),
        r#"{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.1:10911"},"brokerName":"a","cluster":"C1","enableActingMaster":false,"zoneName":"z\u00FCrich"}],"filterServerTable":{},"orderTopicConf":"a:8","queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":8,"topicSysFlag":0,"writeQueueNums":8}]}"#
    );
    assert_eq!(serde_json::from_slice::<TopicRouteData>(&text).unwrap(), route);
}

#[test]
fn route_of_a_static_topic_names_the_hosted_queues() {
    let mapping = TopicQueueMappingInfo {
        bname: "a".to_owned(),
        curr_id_map: BTreeMap::from([(0, 3)]),
        epoch: 9,
        topic: "T1".to_owned(),
        total_queues: 4,
        ..TopicQueueMappingInfo::default()
    };
    golden(
        r#"{"brokerDatas":[],"filterServerTable":{},"queueDatas":[],"topicQueueMappingByBroker":{"a":{"bname":"a","currIdMap":{0:3},"dirty":false,"epoch":9,"scope":"__global__","topic":"T1","totalQueues":4}}}"#,
        TopicRouteData {
            topic_queue_mapping_by_broker: Some(BTreeMap::from([("a".to_owned(), mapping)])),
            ..TopicRouteData::default()
        },
    );
}

#[test]
fn cluster_info() {
    golden(
        &format!(r#"{{"brokerAddrTable":{{"a":{BROKER}}},"clusterAddrTable":{{"C1":["a"]}}}}"#),
        ClusterInfo {
            broker_addr_table: BTreeMap::from([("a".to_owned(), broker())]),
            cluster_addr_table: BTreeMap::from([("C1".to_owned(), BTreeSet::from(["a".to_owned()]))]),
        },
    );
}

#[test]
fn broker_member_group() {
    golden(
        r#"{"brokerMemberGroup":{"brokerAddrs":{0:"10.0.0.1:10911"},"brokerName":"a","cluster":"C1"}}"#,
        BrokerMemberGroupAnswer {
            broker_member_group: BrokerMemberGroup {
                broker_addrs: broker().broker_addrs,
                broker_name: "a".to_owned(),
                cluster: "C1".to_owned(),
            },
        },
    );
}

#[test]
fn topic_config() {
    golden(TOPIC, topic());
}

#[test]
fn topic_config_without_fields_has_java_defaults() {
    let topic = TopicConfig::decode(br#"{"topicName":"T"}"#).unwrap();
    let shape = (topic.read_queue_nums, topic.write_queue_nums, topic.perm, topic.topic_filter_type);
    assert_eq!(shape, (16, 16, 6, TopicFilterType::SingleTag));
}

#[test]
fn topic_config_wrappers() {
    let table = BTreeMap::from([("T1".to_owned(), topic())]);
    golden(
        &format!(r#"{{"dataVersion":{VERSION},"topicConfigTable":{{"T1":{TOPIC}}}}}"#),
        TopicConfigSerializeWrapper { data_version: version(1), topic_config_table: table },
    );
    golden(
        &format!(
            r#"{{"dataVersion":{VERSION},"mappingDataVersion":{VERSION},"topicConfigTable":{{}},"topicQueueMappingDetailMap":{{}},"topicQueueMappingInfoMap":{{}}}}"#
        ),
        TopicConfigAndMappingSerializeWrapper {
            data_version: version(1),
            mapping_data_version: version(1),
            ..TopicConfigAndMappingSerializeWrapper::default()
        },
    );
}

#[test]
fn a_plain_register_body_of_a_4_9_broker_is_read() {
    let text = format!(
        r#"{{"filterServerList":[],"topicConfigSerializeWrapper":{{"dataVersion":{VERSION},"topicConfigTable":{{"T1":{TOPIC}}}}}}}"#
    );
    let body = RegisterBrokerBody::decode(text.as_bytes()).unwrap();
    assert_eq!(body.topic_config_serialize_wrapper.data_version, version(1));
    assert_eq!(body.topic_config_serialize_wrapper.topic_config_table["T1"], topic());
}

#[test]
fn small_lists_and_tables() {
    golden(r#"{"table":{"k":"v"}}"#, KvTable { table: BTreeMap::from([("k".to_owned(), "v".to_owned())]) });
    golden(
        r#"{"brokerAddr":"10.0.0.1:10911","topicList":["T1","T2"]}"#,
        TopicList {
            broker_addr: Some("10.0.0.1:10911".to_owned()),
            topic_list: BTreeSet::from(["T1".to_owned(), "T2".to_owned()]),
        },
    );
    golden(r#"{"topicList":[]}"#, TopicList::default());
    golden(r#"{"groupList":["G1"]}"#, GroupList { group_list: BTreeSet::from(["G1".to_owned()]) });
    golden(
        r#"{"consumerIdList":["10.0.0.9@7#1"]}"#,
        ConsumerIdList { consumer_id_list: vec!["10.0.0.9@7#1".to_owned()] },
    );
}

fn heartbeat() -> HeartbeatData {
    HeartbeatData {
        client_id: "10.0.0.9@7#1".to_owned(),
        consumer_data_set: vec![ConsumerData {
            group_name: "G1".to_owned(),
            subscription_data_set: vec![SubscriptionData {
                code_set: BTreeSet::from([3_552_231]),
                sub_string: "tagA".to_owned(),
                sub_version: 1_700_000_000_000,
                tags_set: BTreeSet::from(["tagA".to_owned()]),
                topic: "T1".to_owned(),
                ..SubscriptionData::default()
            }],
            ..ConsumerData::default()
        }],
        producer_data_set: vec![ProducerData { group_name: "P1".to_owned() }],
        ..HeartbeatData::default()
    }
}

#[test]
fn heartbeat_of_a_java_client() {
    golden(
        r#"{"clientID":"10.0.0.9@7#1","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"G1","messageModel":"CLUSTERING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[3552231],"expressionType":"TAG","subString":"tagA","subVersion":1700000000000,"tagsSet":["tagA"],"topic":"T1"}],"unitMode":false}],"heartbeatFingerprint":0,"producerDataSet":[{"groupName":"P1"}],"withoutSub":false}"#,
        heartbeat(),
    );
}

#[test]
fn heartbeat_with_ordinals_texts_for_numbers_and_nulls_is_read_too() {
    let text = br#"{"clientID":"10.0.0.9@7#1","consumerDataSet":[{"consumeFromWhere":0,"consumeType":1,"groupName":"G1",
        "messageModel":1,"subscriptionDataSet":[{"codeSet":["3552231"],"subString":"tagA","subVersion":"1700000000000",
        "tagsSet":["tagA"],"topic":"T1"}],"unitMode":null}],"producerDataSet":[{"groupName":"P1"}]}"#;
    assert_eq!(HeartbeatData::decode(text), Ok(heartbeat()));
}

#[test]
fn heartbeat_that_names_one_subscription_twice_is_read_with_both() {
    let text = br#"{"clientID":"c","consumerDataSet":[
        {"groupName":"G1","subscriptionDataSet":[{"topic":"T1","subString":"*"}]},
        {"groupName":"G2","subscriptionDataSet":[{"$ref":"$.consumerDataSet[0].subscriptionDataSet[0]"}]}]}"#;
    let heartbeat = HeartbeatData::decode(text).unwrap();
    let [first, second] = heartbeat.consumer_data_set.as_slice() else { panic!("two groups") };
    assert_eq!(first.subscription_data_set, second.subscription_data_set);
    assert_eq!(second.subscription_data_set[0].topic, "T1");
}

#[test]
fn locks() {
    golden(
        &format!(r#"{{"clientId":"c","consumerGroup":"G1","mqSet":[{QUEUE}],"onlyThisBroker":false}}"#),
        LockBatch {
            client_id: "c".to_owned(),
            consumer_group: "G1".to_owned(),
            mq_set: BTreeSet::from([queue()]),
            only_this_broker: false,
        },
    );
    golden(
        &format!(r#"{{"lockOKMQSet":[{QUEUE}]}}"#),
        LockedQueues { lock_ok_mq_set: BTreeSet::from([queue()]) },
    );
}

#[test]
fn statistics_have_whole_queues_as_keys() {
    let stats = ConsumeStats {
        consume_tps: 0.5,
        offset_table: BTreeMap::from([(
            queue(),
            OffsetWrapper {
                broker_offset: 10,
                consumer_offset: 8,
                last_timestamp: 1_700_000_000_000,
                pull_offset: 9,
            },
        )]),
    };
    let text = format!(
        r#"{{"consumeTps":0.5,"offsetTable":{{{QUEUE}:{{"brokerOffset":10,"consumerOffset":8,"lastTimestamp":1700000000000,"pullOffset":9}}}}}}"#
    );
    golden(&text, stats.clone());
    golden(
        &format!(
            r#"{{"brokerAddr":"10.0.0.1:10911","consumeStatsList":[{{"G1":[{text}]}}],"totalDiff":2,"totalInflightDiff":0}}"#
        ),
        ConsumeStatsList {
            broker_addr: Some("10.0.0.1:10911".to_owned()),
            consume_stats_list: vec![BTreeMap::from([("G1".to_owned(), vec![stats])])],
            total_diff: 2,
            total_inflight_diff: 0,
        },
    );
    golden(
        &format!(
            r#"{{"offsetTable":{{{QUEUE}:{{"lastUpdateTimestamp":1700000000000,"maxOffset":10,"minOffset":0}}}},"topicPutTps":0.0}}"#
        ),
        TopicStatsTable {
            offset_table: BTreeMap::from([(
                queue(),
                TopicOffset { last_update_timestamp: 1_700_000_000_000, max_offset: 10, min_offset: 0 },
            )]),
            topic_put_tps: 0.0,
        },
    );
    golden(
        &format!(r#"{{"offsetTable":{{{QUEUE}:5}}}}"#),
        ResetOffset { offset_table: BTreeMap::from([(queue(), 5)]) },
    );
}

#[test]
fn connections() {
    golden(
        r#"{"connectionSet":[{"clientAddr":"10.0.0.9:50110","clientId":"c","language":"JAVA","version":479}],"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","subscriptionTable":{"T1":{"classFilterMode":false,"codeSet":[],"expressionType":"TAG","subString":"*","subVersion":1,"tagsSet":[],"topic":"T1"}}}"#,
        ConsumerConnection {
            connection_set: vec![Connection {
                client_addr: "10.0.0.9:50110".to_owned(),
                client_id: "c".to_owned(),
                language: "JAVA".to_owned(),
                version: 479,
            }],
            subscription_table: BTreeMap::from([(
                "T1".to_owned(),
                SubscriptionData {
                    sub_string: "*".to_owned(),
                    sub_version: 1,
                    topic: "T1".to_owned(),
                    ..SubscriptionData::default()
                },
            )]),
            ..ConsumerConnection::default()
        },
    );
    golden(r#"{"connectionSet":[]}"#, ProducerConnection::default());
    golden(
        r#"{"data":{"P1":[{"clientId":"c","language":"JAVA","lastUpdateTimestamp":1,"remoteIP":"10.0.0.9:5","version":479}]}}"#,
        ProducerTableInfo {
            data: BTreeMap::from([(
                "P1".to_owned(),
                vec![ProducerInfo {
                    client_id: "c".to_owned(),
                    language: "JAVA".to_owned(),
                    last_update_timestamp: 1,
                    remote_ip: "10.0.0.9:5".to_owned(),
                    version: 479,
                }],
            )]),
        },
    );
}

#[test]
fn subscription_groups() {
    let group = r#"{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"G1","groupRetryPolicy":{"type":"CUSTOMIZED"},"groupSysFlag":0,"notifyConsumerIdsChangedEnable":true,"retryMaxTimes":16,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}"#;
    let config =
        SubscriptionGroupConfig { group_name: "G1".to_owned(), ..SubscriptionGroupConfig::default() };
    golden(group, config.clone());
    golden(
        &format!(
            r#"{{"dataVersion":{VERSION},"forbiddenTable":{{}},"subscriptionGroupTable":{{"G1":{group}}}}}"#
        ),
        SubscriptionGroupWrapper {
            data_version: version(1),
            forbidden_table: BTreeMap::new(),
            subscription_group_table: BTreeMap::from([("G1".to_owned(), config)]),
        },
    );
}

#[test]
fn retry_policies_have_the_reference_waits() {
    let policy = CustomizedRetryPolicy::default();
    assert_eq!(policy.next.len(), 18);
    assert_eq!((policy.next[0], policy.next[3], policy.next[17]), (1_000, 30_000, 7_200_000));
    golden(r#"{"initial":5000,"max":7200000,"multiplier":2}"#, Wrapped(ExponentialRetryPolicy::default()));
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
struct Wrapped(ExponentialRetryPolicy);
impl JsonBody for Wrapped {}

#[test]
fn offsets() {
    golden(
        &format!(r#"{{"dataVersion":{VERSION},"offsetTable":{{"T1@G1":{{0:8,1:4}}}}}}"#),
        ConsumerOffsetSerializeWrapper {
            data_version: Some(version(1)),
            offset_table: BTreeMap::from([("T1@G1".to_owned(), BTreeMap::from([(0, 8), (1, 4)]))]),
        },
    );
    golden(
        &format!(r#"{{"dataVersion":{VERSION},"offsetTable":{{3:120}}}}"#),
        DelayOffsetSerializeWrapper {
            data_version: Some(version(1)),
            offset_table: BTreeMap::from([(3, 120)]),
        },
    );
}

#[test]
fn other_admin_bodies() {
    golden(
        r#"{"messageRequestModeMap":{"T1":{"G1":{"consumerGroup":"G1","mode":"POP","popShareQueueNum":-1,"topic":"T1"}}}}"#,
        MessageRequestModes {
            message_request_mode_map: BTreeMap::from([(
                "T1".to_owned(),
                BTreeMap::from([(
                    "G1".to_owned(),
                    SetMessageRequestMode {
                        consumer_group: "G1".to_owned(),
                        mode: MessageRequestMode::Pop,
                        pop_share_queue_num: -1,
                        topic: "T1".to_owned(),
                    },
                )]),
            )]),
        },
    );
    golden(
        r#"{"messageQueueAssignments":[{"messageQueue":{"brokerName":"a","queueId":-1,"topic":"T1"},"mode":"POP"}]}"#,
        MessageQueueAssignments {
            message_queue_assignments: vec![MessageQueueAssignment {
                attachments: None,
                message_queue: MessageQueue { queue_id: -1, ..queue() },
                mode: MessageRequestMode::Pop,
            }],
        },
    );
    golden(
        r#"{"statsDay":{"avgpt":1.0,"sum":9,"tps":0.1},"statsHour":{"avgpt":0.0,"sum":0,"tps":0.0},"statsMinute":{"avgpt":0.0,"sum":0,"tps":0.0}}"#,
        BrokerStatsData {
            stats_day: BrokerStatsItem { avgpt: 1.0, sum: 9, tps: 0.1 },
            ..BrokerStatsData::default()
        },
    );
    golden(
        &format!(
            r#"{{"consumeTimeSpanSet":[{{"consumeTimeStamp":1,"delayTime":0,"maxTimeStamp":2,"messageQueue":{QUEUE},"minTimeStamp":0}}]}}"#
        ),
        ConsumeTimeSpans {
            consume_time_span_set: vec![QueueTimeSpan {
                consume_time_stamp: 1,
                delay_time: 0,
                max_time_stamp: 2,
                message_queue: queue(),
                min_time_stamp: 0,
            }],
        },
    );
    let check =
        CheckClientConfig::decode(br#"{"clientId":"c","group":"G1","subscriptionData":{"topic":"T1"}}"#);
    assert_eq!(check.unwrap().subscription_data.topic, "T1");
}

#[test]
fn replication_of_a_master_and_of_a_slave() {
    let follower = HaConnectionRuntimeInfo {
        addr: "10.0.0.2:60000".to_owned(),
        in_sync: true,
        slave_ack_offset: 99,
        transfer_from_where: 99,
        ..HaConnectionRuntimeInfo::default()
    };
    let master = HaRuntimeInfo {
        ha_connection_info: vec![follower.clone()],
        in_sync_slave_nums: 1,
        master: true,
        master_commit_log_max_offset: 99,
        ..HaRuntimeInfo::default()
    };
    golden(
        r#"{"haConnectionInfo":[{"addr":"10.0.0.2:60000","diff":0,"inSync":true,"slaveAckOffset":99,"transferFromWhere":99,"transferredByteInSecond":0}],"inSyncSlaveNums":1,"master":true,"masterCommitLogMaxOffset":99}"#,
        master.clone(),
    );
    golden(
        r#"{"haConnectionInfo":[{"addr":"10.0.0.2:60000","catchingUp":false,"diff":0,"inSync":true,"lagMillis":7,"slaveAckOffset":99,"transferFromWhere":99,"transferredByteInSecond":0}],"inSyncSlaveNums":1,"master":true,"masterCommitLogMaxOffset":99}"#,
        HaRuntimeInfo {
            ha_connection_info: vec![HaConnectionRuntimeInfo {
                catching_up: Some(false),
                lag_millis: Some(7),
                ..follower
            }],
            ..master
        },
    );
    golden(
        r#"{"haClientRuntimeInfo":{"activated":true,"lastReadTimestamp":2,"lastWriteTimestamp":1,"masterAddr":"10.0.0.1:10912","masterFlushOffset":99,"maxOffset":98,"transferredByteInSecond":5},"haConnectionInfo":[],"inSyncSlaveNums":0,"master":false,"masterCommitLogMaxOffset":0}"#,
        HaRuntimeInfo {
            ha_client_runtime_info: Some(HaClientRuntimeInfo {
                activated: true,
                last_read_timestamp: 2,
                last_write_timestamp: 1,
                local_addr: None,
                master_addr: Some("10.0.0.1:10912".to_owned()),
                master_flush_offset: 99,
                max_offset: 98,
                transferred_byte_in_second: 5,
            }),
            ..HaRuntimeInfo::default()
        },
    );
}

fn register_body() -> RegisterBrokerBody {
    let mapping = TopicQueueMappingInfo {
        bname: "a".to_owned(),
        curr_id_map: BTreeMap::from([(0, 1)]),
        topic: "S1".to_owned(),
        ..TopicQueueMappingInfo::default()
    };
    let bare = TopicConfig { topic_name: "T2".to_owned(), perm: 7, ..TopicConfig::default() };
    RegisterBrokerBody {
        filter_server_list: vec!["10.0.0.1:9000".to_owned()],
        topic_config_serialize_wrapper: TopicConfigAndMappingSerializeWrapper {
            data_version: version(4),
            topic_config_table: BTreeMap::from([("T1".to_owned(), topic()), ("T2".to_owned(), bare)]),
            topic_queue_mapping_info_map: BTreeMap::from([("S1".to_owned(), mapping)]),
            ..TopicConfigAndMappingSerializeWrapper::default()
        },
    }
}

fn zlib(parts: &[&[u8]]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    parts.iter().for_each(|part| encoder.write_all(part).unwrap());
    encoder.finish().unwrap()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as i32).to_be_bytes(), text.as_bytes()].concat()
}

#[test]
fn register_bodies_survive_both_forms() {
    let body = register_body();
    assert_eq!(RegisterBrokerBody::decode(&body.encode()).as_ref(), Ok(&body));
    assert_eq!(RegisterBrokerBody::inflate(&body.deflate(), 479).unwrap(), body);
}

#[test]
fn a_compressed_register_body_of_a_4_9_broker_ends_after_the_filter_servers() {
    let stream = zlib(&[
        &text(r#"{"counter":4,"timestamp":1}"#),
        &1i32.to_be_bytes(),
        &text("T1 8 4 6 SINGLE_TAG"),
        &text("[]"),
    ]);
    let topics = RegisterBrokerBody::inflate(&stream, 409).unwrap().topic_config_serialize_wrapper;
    assert_eq!(topics.data_version, version(4));
    let wanted =
        TopicConfig { attributes: BTreeMap::new(), read_queue_nums: 8, write_queue_nums: 4, ..topic() };
    assert_eq!(topics.topic_config_table, BTreeMap::from([("T1".to_owned(), wanted)]));
}

#[test]
fn attributes_and_filter_servers_that_cannot_be_read_are_dropped() {
    let stream = zlib(&[&text("{}"), &1i32.to_be_bytes(), &text("T1 8 8 6 SINGLE_TAG {oops"), &text("oops")]);
    let body = RegisterBrokerBody::inflate(&stream, 409).unwrap();
    assert_eq!(body.filter_server_list, Vec::<String>::new());
    assert_eq!(body.topic_config_serialize_wrapper.topic_config_table["T1"].attributes, BTreeMap::new());
}

#[test]
fn bad_compressed_register_bodies_are_refused() {
    let topics =
        |count: i32, entry: &str| zlib(&[&text("{}"), &count.to_be_bytes(), &text(entry), &text("[]")]);
    let refusal = |stream: &[u8]| RegisterBrokerBody::inflate(stream, 409).unwrap_err();
    assert!(matches!(refusal(b"no zlib at all"), InflateError::Stream(_)));
    assert!(matches!(refusal(&register_body().deflate()[..40]), InflateError::Stream(_)));
    assert!(matches!(
        refusal(&topics(2, "T1 8 8 6 SINGLE_TAG {}")),
        InflateError::Topic(_) | InflateError::Stream(_)
    ));
    assert!(matches!(refusal(&topics(1, "T1 8 8")), InflateError::Topic(_)));
    assert!(matches!(refusal(&topics(1, " 8 8 6 SINGLE_TAG")), InflateError::Topic(_)));
    assert!(matches!(refusal(&topics(-1, "")), InflateError::Length(-1)));
    assert!(matches!(refusal(&zlib(&[&text("oops")])), InflateError::Json(_)));
}

#[test]
fn a_compressed_register_body_unfolds_to_no_more_than_the_limit() {
    let one = text("T 1 1 6 SINGLE_TAG");
    let count = MAX_INFLATED as usize / one.len() + 1;
    let bomb = zlib(&[&text("{}"), &(count as i32).to_be_bytes(), &one.repeat(count), &text("[]")]);
    assert!(matches!(RegisterBrokerBody::inflate(&bomb, 409), Err(InflateError::TooLarge)));
    let announced = zlib(&[&text("{}"), &1i32.to_be_bytes(), &i32::MAX.to_be_bytes()]);
    assert!(matches!(RegisterBrokerBody::inflate(&announced, 409), Err(InflateError::TooLarge)));
}

#[test]
fn the_body_checksum_has_no_sign_bit() {
    // CRC-32 of the check string is cbf43926.
    assert_eq!(body_crc32(b"123456789"), 0x4bf4_3926);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_as_any_body(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = HeartbeatData::decode(&bytes);
        let _ = RegisterBrokerBody::decode(&bytes);
        let _ = RegisterBrokerBody::inflate(&bytes, 479);
        let _ = RegisterBrokerBody::inflate(&zlib(&[&bytes]), 479);
        let _ = TopicStatsTable::decode(&bytes);
    }
}
