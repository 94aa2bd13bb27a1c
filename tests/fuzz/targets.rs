//! What is fuzzed: one entry per public decoder, with good inputs to start from.

use protocol::codes::RequestCode;
use protocol::header::{ExtFields, Serialization};
use protocol::json::JsonBody;
use protocol::requests::{self, DecodeExt};
use protocol::{bodies, frame, header, json, message, properties};
use replication::wire;
use tests::requests as samples;

use crate::store;

/// A decoder under test.
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Inputs it accepts.
    pub seeds: Vec<Vec<u8>>,
    /// Feeds it one input.
    pub run: fn(&[u8]),
}

/// Every decoder.
pub fn targets() -> Vec<Target> {
    let frames =
        [samples::frames(&samples::to_a_broker()), samples::frames(&samples::to_a_name_server())].concat();
    let headers = |kind: u8| -> Vec<Vec<u8>> {
        frames.iter().filter(|frame| frame[4] == kind).map(|frame| header_of(frame).to_vec()).collect()
    };
    vec![
        Target { name: "frame", seeds: frames.clone(), run: run_frame },
        Target { name: "frame-mended", seeds: frames.clone(), run: run_mended_frame },
        Target { name: "header-json", seeds: headers(0), run: |b| run_header(Serialization::Json, b) },
        Target { name: "header-binary", seeds: headers(1), run: |b| run_header(Serialization::Binary, b) },
        Target { name: "requests", seeds: [headers(0), headers(1)].concat(), run: run_requests },
        Target { name: "record", seeds: records(), run: run_record },
        Target { name: "batch", seeds: vec![samples::batch_body()], run: run_batch },
        Target {
            name: "properties",
            seeds: vec![samples::PROPERTIES.into(), b"a\x01b".to_vec()],
            run: run_properties,
        },
        Target { name: "json", seeds: samples::json_bodies(), run: run_json },
        Target { name: "bodies", seeds: samples::json_bodies(), run: run_bodies },
        Target { name: "register-compressed", seeds: compressed(), run: run_compressed },
        Target { name: "replication", seeds: vec![replicated()], run: run_replication },
        Target { name: "store-damaged", seeds: store::seeds(), run: store::run_damaged },
        Target { name: "store-index", seeds: store::seeds(), run: store::run_index },
    ]
}

fn header_of(frame: &[u8]) -> &[u8] {
    let length = u32::from_be_bytes([0, frame[5], frame[6], frame[7]]) as usize;
    &frame[8..8 + length]
}

/// Two frames of the log and a heartbeat.
fn replicated() -> Vec<u8> {
    let bodies = [records().concat(), b"more".to_vec(), Vec::new()];
    let mut offset = 4096;
    let mut stream = Vec::new();
    for body in bodies {
        stream.extend_from_slice(&wire::encode_head(wire::FrameHead { offset, size: body.len() }));
        stream.extend_from_slice(&body);
        offset += body.len() as u64;
    }
    stream
}

/// What a master sends, as its slave reads it, and what a slave sends, as its master does.
fn run_replication(bytes: &[u8]) {
    let mut rest = bytes;
    while let wire::Decoded::Value(head) = wire::decode_head(rest) {
        assert!(head.size <= wire::MAX_BODY);
        assert_eq!(wire::encode_head(head), rest[..wire::HEAD]);
        let body = &rest[wire::HEAD..rest.len().min(wire::HEAD + head.size)];
        if let Ok(whole) = ::store::whole_records(body, 64 << 10) {
            assert!(whole.len <= body.len());
            assert!(whole.next.is_none_or(|next| next > body.len() - whole.len));
        }
        rest = &rest[wire::HEAD + body.len()..];
    }
    match wire::decode_last_report(bytes) {
        wire::Decoded::Value((offset, used)) => {
            assert_eq!(wire::encode_report(offset), bytes[used - wire::REPORT..used]);
        }
        wire::Decoded::NeedMore => assert!(bytes.len() < wire::REPORT),
        wire::Decoded::Malformed(why) => assert!(!why.to_string().is_empty()),
    }
}

fn run_frame(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        match frame::decode(rest) {
            frame::Decoded::Frame(view, used) => {
                assert!(used >= 8 && used <= rest.len(), "used {used} of {}", rest.len());
                assert!(view.body.len() <= used - 8);
                visit(&view.header.ext);
                rest = &rest[used..];
            }
            frame::Decoded::NeedMore(wanted) => {
                assert!(wanted > rest.len(), "has {}, wants {wanted}", rest.len());
                assert!(wanted <= frame::MAX_FRAME + 4);
                return;
            }
            frame::Decoded::Malformed(reason) => {
                assert!(!reason.to_string().is_empty());
                return;
            }
        }
    }
}

/// With true lengths, so that what lies behind them is reached.
fn run_mended_frame(bytes: &[u8]) {
    let header = bytes.get(4..8).map_or(0, |w| u32::from_be_bytes([0, w[1], w[2], w[3]]) as usize);
    let mut mended = bytes.to_vec();
    samples::mend_lengths(&mut mended, header);
    assert!(!matches!(frame::decode(&mended), frame::Decoded::NeedMore(_)));
    run_frame(&mended);
}

fn run_header(serialization: Serialization, bytes: &[u8]) {
    if let Ok(header) = header::decode(serialization, bytes) {
        visit(&header.ext);
        let _ = format!("{header:?}");
        typed(RequestCode(header.code), &header.ext);
    }
}

fn run_requests(bytes: &[u8]) {
    for serialization in [Serialization::Json, Serialization::Binary] {
        run_header(serialization, bytes);
    }
}

fn visit(ext: &ExtFields<'_>) {
    let mut fields = 0;
    ext.visit(|key, value| fields += 1 + key.len() + value.len());
    let _ = (fields, ext.get("topic"));
}

/// Reads the fields as every typed header there is, whatever the code.
fn typed(code: RequestCode, ext: &ExtFields<'_>) {
    let _ = requests::SendMessage::decode(code, ext);
    macro_rules! each {
        ($($name:ident)*) => {$( let _ = requests::$name::decode(ext).map(|header| format!("{header:?}")); )*};
    }
    each! {
        CreateTopic TopicName DeleteSubscriptionGroup GroupName GetConsumeStats QueryMessage
        QueryMessageReply ViewMessage HeartbeatReply UnregisterClient ConsumerGroup ProducerGroup
        GetRouteInfo RegisterBroker RegisterBrokerReply BrokerIdentity QueryDataVersionReply BrokerHeartbeat
        PutKvConfig KvConfigKey KvConfigReply KvNamespace ClusterName BrokerName WipeWritePermReply
        AddWritePermReply DeleteTopicInNamesrv GetBrokerMemberGroup NotifyMinBrokerIdChange
        QueryConsumerOffset UpdateConsumerOffset QueueBound SearchOffset OffsetReply TimestampReply
        PullMessage PullMessageReply SendMessageReply SendMessageBack
    }
}

fn records() -> Vec<Vec<u8>> {
    let long_topic = "T".repeat(200);
    let hosts = ["10.0.0.9:5555", "[fe80::1]:5555"];
    let mut records = Vec::new();
    for topic in ["T1", &long_topic] {
        for host in hosts {
            let new = message::NewRecord {
                topic,
                queue_id: 3,
                flag: 7,
                sys_flag: 0,
                born_timestamp: 1_700_000_000_001,
                born_host: host.parse().expect("an address"),
                store_host: hosts[0].parse().expect("an address"),
                reconsume_times: 2,
                prepared_transaction_offset: 99,
                body: b"hello",
                properties: samples::PROPERTIES,
                more_properties: "CLUSTER\u{1}C1\u{2}",
            };
            let mut record = Vec::new();
            new.encode(&mut record);
            message::assign(&mut record, 11, 22, 33);
            records.push(record);
        }
    }
    let mut blank = 300u32.to_be_bytes().to_vec();
    blank.extend_from_slice(&message::MAGIC_BLANK.to_be_bytes());
    records.push(blank);
    let all = records.concat();
    records.push(all);
    records
}

/// As recovery and consumers do: record after record until something else comes.
fn run_record(bytes: &[u8]) {
    const LARGEST: usize = 4 << 20;
    let _ = message::store_timestamp(bytes);
    let mut rest = bytes;
    while let message::Decoded::Record(record) = message::decode(rest, LARGEST) {
        assert!(record.total_size >= message::MIN_RECORD && record.total_size <= rest.len());
        let _ = (record.intact(), record.offset_msg_id(), properties::reserved(record.properties));
        rest = &rest[record.total_size..];
    }
    if let message::Decoded::NeedMore(wanted) = message::decode(rest, LARGEST) {
        assert!(wanted > rest.len() && wanted <= LARGEST);
    }
}

fn run_batch(bytes: &[u8]) {
    let mut rest = bytes;
    while let Some((item, tail)) = message::next_batch_item(rest) {
        assert!(tail.len() < rest.len(), "an item of no bytes never ends");
        let _ = properties::reserved(item.properties);
        rest = tail;
    }
}

fn run_properties(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = (properties::reserved(&text), properties::get(&text, "TAGS"), properties::tags_code(Some(&text)));
    let set = properties::with(&text, "NEW", "value");
    assert_eq!(properties::get(&set, "NEW"), Some("value"));
    assert_eq!(properties::get(&properties::without(&set, "NEW"), "NEW"), None);
}

fn run_json(bytes: &[u8]) {
    if let Ok(tree) = json::parse(bytes) {
        let text = json::to_vec(&tree, json::Dialect::Java);
        assert!(json::parse(&text).is_ok(), "cannot read back {}", String::from_utf8_lossy(&text));
    }
}

fn run_bodies(bytes: &[u8]) {
    macro_rules! each {
        ($($module:ident::$name:ident)*) => {$(
            if let Ok(body) = bodies::$module::$name::decode(bytes) {
                let text = body.encode();
                let again = bodies::$module::$name::decode(&text);
                assert!(again.is_ok(), concat!(stringify!($name), " cannot read back {}"), String::from_utf8_lossy(&text));
            }
        )*};
    }
    each! {
        assignment::QueryAssignment assignment::MessageQueueAssignments assignment::SetMessageRequestMode
        assignment::MessageRequestModes broker_member_group::BrokerMemberGroupAnswer
        broker_stats::BrokerStatsData check_client::CheckClientConfig cluster_info::ClusterInfo
        connection::ConsumerConnection connection::ProducerConnection connection::ProducerTableInfo
        consumer_list::ConsumerIdList data_version::DataVersion group_list::GroupList
        heartbeat::HeartbeatData heartbeat::SubscriptionData kv_table::KvTable lock::LockBatch
        lock::LockedQueues message_queue::MessageQueue offsets::ConsumerOffsetSerializeWrapper
        offsets::DelayOffsetSerializeWrapper register_broker::RegisterBrokerBody reset_offset::ResetOffset
        route::TopicRouteData stats::ConsumeStats stats::TopicStatsTable stats::ConsumeStatsList
        subscription_group::SubscriptionGroupConfig subscription_group::SubscriptionGroupWrapper
        subscription_group::SubscriptionGroupList time_span::ConsumeTimeSpans topic_config::TopicConfig
        topic_config::TopicConfigSerializeWrapper topic_config::TopicConfigAndMappingSerializeWrapper
        topic_config::CreateTopicList topic_list::TopicList topic_queue_mapping::TopicQueueMappingInfo
    }
}

fn compressed() -> Vec<Vec<u8>> {
    let plain =
        samples::to_a_name_server().into_iter().find(|(code, ..)| *code == 103).map(|(_, _, body)| body);
    let body = bodies::register_broker::RegisterBrokerBody::decode(&plain.unwrap_or_default());
    vec![body.unwrap_or_default().deflate()]
}

fn run_compressed(bytes: &[u8]) {
    for version in [0, 479] {
        let _ = bodies::register_broker::RegisterBrokerBody::inflate(bytes, version);
    }
}
