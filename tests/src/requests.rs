//! One good request of every kind that clients, tools and brokers send: the seeds of everything that is broken on
//! purpose. All names begin with `Broken`, so that no mutation of them can meet the topics of a healthy client.

use protocol::frame::{CommandHead, encode};
use protocol::header::Serialization;
use protocol::message::{BatchItem, push_batch_item};
use protocol::requests::Fields;

/// A request: code, custom fields, body.
pub type Sample = (i32, &'static [(&'static str, &'static str)], Vec<u8>);

/// Properties of a sent message, as a Java client writes them.
pub const PROPERTIES: &str = "KEYS\u{1}k1 k2\u{2}UNIQ_KEY\u{1}0A0000011234567890ABCDEF00000001\u{2}WAIT\u{1}true\u{2}TAGS\u{1}tagA\u{2}";

const SEND: &[(&str, &str)] = &[
    ("a", "BrokenProducer"),
    ("b", "BrokenTopic"),
    ("c", "TBW102"),
    ("d", "4"),
    ("e", "0"),
    ("f", "0"),
    ("g", "1700000000000"),
    ("h", "0"),
    ("i", PROPERTIES),
    ("j", "0"),
    ("k", "false"),
    ("m", "false"),
    ("n", "Broken-broker"),
];

const SEND_V1: &[(&str, &str)] = &[
    ("producerGroup", "BrokenProducer"),
    ("topic", "BrokenTopic"),
    ("defaultTopic", "TBW102"),
    ("defaultTopicQueueNums", "4"),
    ("queueId", "1"),
    ("sysFlag", "0"),
    ("bornTimestamp", "1700000000000"),
    ("flag", "0"),
    ("properties", PROPERTIES),
    ("reconsumeTimes", "0"),
    ("unitMode", "false"),
    ("batch", "false"),
];

const PULL: &[(&str, &str)] = &[
    ("consumerGroup", "BrokenGroup"),
    ("topic", "BrokenTopic"),
    ("queueId", "0"),
    ("queueOffset", "0"),
    ("maxMsgNums", "32"),
    ("sysFlag", "4"),
    ("commitOffset", "0"),
    ("suspendTimeoutMillis", "20"),
    ("subscription", "tagA || tagB"),
    ("subVersion", "1700000000000"),
    ("expressionType", "TAG"),
];

const QUEUE: &[(&str, &str)] = &[
    ("consumerGroup", "BrokenGroup"),
    ("topic", "BrokenTopic"),
    ("queueId", "0"),
    ("commitOffset", "3"),
    ("timestamp", "1700000000000"),
    ("boundaryType", "LOWER"),
    ("setZeroIfNotFound", "false"),
];

const CREATE_TOPIC: &[(&str, &str)] = &[
    ("topic", "BrokenTopic"),
    ("defaultTopic", "TBW102"),
    ("readQueueNums", "4"),
    ("writeQueueNums", "4"),
    ("perm", "6"),
    ("topicFilterType", "SINGLE_TAG"),
    ("topicSysFlag", "0"),
    ("order", "false"),
    ("attributes", "+message.type=NORMAL,-reserve.time"),
];

const NAMES: &[(&str, &str)] = &[
    ("topic", "BrokenTopic"),
    ("group", "BrokenGroup"),
    ("groupName", "BrokenGroup"),
    ("consumerGroup", "BrokenGroup"),
    ("producerGroup", "BrokenProducer"),
    ("clientID", "broken@1"),
    ("cleanOffset", "true"),
    ("statsName", "TOPIC_PUT_NUMS"),
    ("statsKey", "BrokenTopic"),
];

const QUERY: &[(&str, &str)] = &[
    ("topic", "BrokenTopic"),
    ("key", "k1"),
    ("maxNum", "32"),
    ("beginTimestamp", "0"),
    ("endTimestamp", "9223372036854775807"),
    ("offset", "0"),
    ("index", "0"),
    ("count", "10"),
    ("queueId", "0"),
];

const BACK: &[(&str, &str)] = &[
    ("offset", "0"),
    ("group", "BrokenGroup"),
    ("delayLevel", "0"),
    ("originMsgId", "0A00000100002A9F00000000000000FF"),
    ("originTopic", "BrokenTopic"),
    ("maxReconsumeTimes", "16"),
];

const BROKER: &[(&str, &str)] = &[
    ("brokerName", "Broken-broker"),
    ("brokerAddr", "127.0.0.1:9"),
    ("clusterName", "BrokenCluster"),
    ("haServerAddr", "127.0.0.1:8"),
    ("brokerId", "0"),
    ("compressed", "false"),
    ("bodyCrc32", "0"),
    ("heartbeatTimeoutMillis", "1000"),
    ("maxOffset", "7"),
    ("epoch", "1"),
];

const KEY_VALUE: &[(&str, &str)] = &[
    ("namespace", "BROKEN"),
    ("key", "k"),
    ("value", "v"),
    ("cluster", "BrokenCluster"),
    ("topic", "BrokenTopic"),
];

const HEARTBEAT: &str = r#"{"clientID":"broken@1","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"BrokenGroup","messageModel":"CLUSTERING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[3552231],"expressionType":"TAG","subString":"tagA","subVersion":1700000000000,"tagsSet":["tagA"],"topic":"BrokenTopic"},{"$ref":"$.consumerDataSet[0].subscriptionDataSet[0]"}],"unitMode":false}],"heartbeatFingerprint":0,"producerDataSet":[{"groupName":"BrokenProducer"}],"withoutSub":false}"#;
const LOCK: &str = r#"{"clientId":"broken@1","consumerGroup":"BrokenGroup","mqSet":[{"brokerName":"Broken-broker","queueId":0,"topic":"BrokenTopic"}],"onlyThisBroker":true}"#;
const GROUP: &str = r#"{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"BrokenGroup","groupRetryPolicy":{"type":"CUSTOMIZED"},"groupSysFlag":0,"notifyConsumerIdsChangedEnable":true,"retryMaxTimes":16,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}"#;
const REGISTER: &str = r#"{"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{"counter":1,"stateVersion":0,"timestamp":1},"mappingDataVersion":{"counter":0,"stateVersion":0,"timestamp":0},"topicConfigTable":{"BrokenTopic":{"attributes":{},"order":false,"perm":6,"readQueueNums":8,"topicFilterType":"SINGLE_TAG","topicName":"BrokenTopic","topicSysFlag":0,"writeQueueNums":8}},"topicQueueMappingDetailMap":{},"topicQueueMappingInfoMap":{}}}"#;
const ROUTE: &str = r#"{"brokerDatas":[{"brokerAddrs":{0:"127.0.0.1:9"},"brokerName":"Broken-broker","cluster":"BrokenCluster"}],"filterServerTable":{},"queueDatas":[{"brokerName":"Broken-broker","perm":6,"readQueueNums":8,"topicSysFlag":0,"writeQueueNums":8}]}"#;
const VERSION: &str = r#"{"counter":12,"stateVersion":0,"timestamp":1700000000000}"#;
const CHECK: &str = r#"{"clientId":"broken@1","group":"BrokenGroup","namespace":"","subscriptionData":{"codeSet":[],"expressionType":"SQL92","subString":"a > 1 AND (b IS NULL OR c IN ('x'))","subVersion":1,"tagsSet":[],"topic":"BrokenTopic"}}"#;
const ASSIGNMENT: &str = r#"{"clientId":"broken@1","consumerGroup":"BrokenGroup","messageModel":"CLUSTERING","strategyName":"AVG","topic":"BrokenTopic"}"#;

/// Every JSON body above, and some that only answers carry.
pub fn json_bodies() -> Vec<Vec<u8>> {
    let answers = [
        r#"{"offsetTable":{{"brokerName":"a","queueId":0,"topic":"T1"}:{"brokerOffset":10,"consumerOffset":8,"lastTimestamp":1,"pullOffset":9}},"consumeTps":0.5}"#,
        r#"{"dataVersion":{"counter":1},"offsetTable":{"T1@G1":{0:8,1:4}}}"#,
        r#"{"brokerAddrTable":{"a":{"brokerAddrs":{0:"10.0.0.1:10911"},"brokerName":"a","cluster":"C1"}},"clusterAddrTable":{"C1":["a"]}}"#,
        r#"{'single':[1,2,],bare:"x","u":"A\ud83d\ude00","n":-1.5e3,}"#,
        r#"{"a":{"b":{"$ref":".."}},"c":{"$ref":"$.a"},"d":[{"$ref":"$"},{"$ref":"@"}]}"#,
    ];
    [HEARTBEAT, LOCK, GROUP, REGISTER, ROUTE, VERSION, CHECK, ASSIGNMENT]
        .iter()
        .chain(&answers)
        .map(|text| text.as_bytes().to_vec())
        .collect()
}

/// The body of a batch send with three messages.
pub fn batch_body() -> Vec<u8> {
    let mut body = Vec::new();
    for text in ["", "one", "another message"] {
        push_batch_item(&mut body, &BatchItem { flag: 1, body: text.as_bytes(), properties: PROPERTIES });
    }
    body
}

/// Requests a broker serves.
pub fn to_a_broker() -> Vec<Sample> {
    let body = b"a body of some length, as good as any other".to_vec();
    let mut all: Vec<Sample> = vec![
        (310, SEND, body.clone()),
        (320, SEND, batch_body()),
        (325, SEND, body.clone()),
        (10, SEND_V1, body.clone()),
        (324, SEND_V1, body),
        (36, BACK, vec![]),
        (34, &[], HEARTBEAT.into()),
        (46, &[], CHECK.into()),
        (400, &[], ASSIGNMENT.into()),
        (200, &[], GROUP.into()),
        (17, CREATE_TOPIC, vec![]),
    ];
    all.extend([11, 361].map(|code| (code, PULL, vec![])));
    all.extend([14, 15, 29, 30, 31, 32].map(|code| (code, QUEUE, vec![])));
    all.extend([41, 42].map(|code| (code, &[][..], LOCK.into())));
    all.extend([12, 33, 321].map(|code| (code, QUERY, vec![])));
    all.extend(
        [35, 38, 202, 203, 204, 207, 208, 215, 300, 315, 343, 345, 351, 352]
            .map(|code| (code, NAMES, vec![])),
    );
    all.extend(
        [21, 26, 28, 43, 45, 105, 106, 201, 305, 328, 907, 77, -1].map(|code| (code, &[][..], vec![])),
    );
    all
}

/// Requests a name server serves.
pub fn to_a_name_server() -> Vec<Sample> {
    let mut all: Vec<Sample> =
        vec![(103, BROKER, REGISTER.into()), (322, BROKER, VERSION.into()), (217, KEY_VALUE, ROUTE.into())];
    all.extend([104, 205, 327, 901, 904].map(|code| (code, BROKER, vec![])));
    all.extend([100, 101, 102, 105, 216, 219, 224].map(|code| (code, KEY_VALUE, vec![])));
    all.extend([106, 206, 304, 311, 312, 313, 319, 9999].map(|code| (code, &[][..], vec![])));
    all
}

/// Writes a request as a frame.
pub fn frame(sample: &Sample, serialization: Serialization, opaque: i32) -> Vec<u8> {
    let mut out = Vec::new();
    let (code, fields, body) = sample;
    encode(&mut out, &CommandHead::request(serialization, *code, opaque), &Fields(fields), body);
    out
}

/// Returns every sample in both header encodings.
pub fn frames(samples: &[Sample]) -> Vec<Vec<u8>> {
    samples
        .iter()
        .enumerate()
        .flat_map(|(i, s)| [Serialization::Json, Serialization::Binary].map(|h| frame(s, h, i as i32)))
        .collect()
}

/// Writes the true length of a frame and keeps the header's within it, so that what is broken deeper in is reached.
pub fn mend_lengths(frame: &mut Vec<u8>, header_length: usize) {
    if frame.len() < 8 {
        frame.resize(8, 0);
    }
    let length = (frame.len() - 4) as u32;
    let header = header_length.min(frame.len() - 8) as u32;
    let word = u32::from(frame[4] & 1) << 24 | header;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame[4..8].copy_from_slice(&word.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::frame::{Decoded, decode};

    #[test]
    fn every_sample_is_a_good_frame() {
        for bytes in [frames(&to_a_broker()), frames(&to_a_name_server())].concat() {
            assert!(matches!(decode(&bytes), Decoded::Frame(_, used) if used == bytes.len()), "{bytes:?}");
        }
    }

    #[test]
    fn a_mended_frame_is_whole_whatever_happened_to_it() {
        for cut in [0, 3, 9, 40] {
            let mut bytes = frames(&to_a_broker())[0][..cut].to_vec();
            mend_lengths(&mut bytes, 300);
            assert!(!matches!(decode(&bytes), Decoded::NeedMore(_)), "{cut}");
        }
    }
}
