//! Topics: 17, 18, 21, 202, 215, 305, 351.

use std::collections::BTreeMap;

use protocol::bodies::message_queue::MessageQueue;
use protocol::bodies::stats::{TopicOffset, TopicStatsTable};
use protocol::bodies::topic_config::{
    CreateTopicList, TopicConfig, TopicConfigAndMappingSerializeWrapper, TopicConfigSerializeWrapper,
    TopicFilterType, perm,
};
use protocol::bodies::topic_list::TopicList;
use protocol::codes::ResponseCode;
use protocol::json::JsonBody;
use protocol::requests::{CreateTopic, DecodeExt, TopicName};
use remoting::handler::{Reply, Request};

use crate::broker::{Broker, blocking};
use crate::metadata::MAX_CONFIG;
use crate::refusal::Refusal;
use crate::topics::{MAX_QUEUES, check_name};

/// The one attribute of P§3.6 that steers nothing here yet and is only kept.
const MESSAGE_TYPE: &str = "message.type";

fn invalid(remark: impl Into<String>) -> Refusal {
    Refusal::new(ResponseCode::INVALID_PARAMETER, remark)
}

/// Makes or changes a topic.
pub fn put(broker: &Broker, request: &Request<'_>) -> Result<(), Refusal> {
    let r = CreateTopic::decode(&request.header.ext)?;
    let old = broker.topics.get(&r.topic);
    let attributes = changed_attributes(old.as_deref(), r.attributes.as_deref().unwrap_or(""))?;
    put_config(
        broker,
        TopicConfig {
            topic_name: r.topic.into_owned(),
            read_queue_nums: r.read_queue_nums,
            write_queue_nums: r.write_queue_nums,
            perm: r.perm,
            topic_filter_type: r
                .topic_filter_type
                .and_then(|t| TopicFilterType::from_name(&t))
                .unwrap_or_default(),
            topic_sys_flag: r.topic_sys_flag.unwrap_or(0),
            order: r.order,
            attributes,
        },
    )
}

/// Makes or changes several topics; all are checked before any is made.
pub fn put_list(broker: &Broker, request: &Request<'_>) -> Result<(), Refusal> {
    let list = CreateTopicList::decode(request.body)?.topic_config_list;
    list.iter().try_for_each(|t| check_config(broker, t))?;
    list.into_iter().try_for_each(|t| put_config(broker, t))
}

fn put_config(broker: &Broker, topic: TopicConfig) -> Result<(), Refusal> {
    check_config(broker, &topic)?;
    broker.put_topic(topic)
}

fn check_config(broker: &Broker, topic: &TopicConfig) -> Result<(), Refusal> {
    let name = &topic.topic_name;
    check_name(name).map_err(invalid)?;
    if broker.topics.is_system(name) {
        return Err(invalid(format!("The topic[{name}] is conflict with system topic.")));
    }
    for (what, n) in [("readQueueNums", topic.read_queue_nums), ("writeQueueNums", topic.write_queue_nums)] {
        if !(0..=MAX_QUEUES).contains(&n) {
            return Err(invalid(format!("{what} {n} is not between 0 and {MAX_QUEUES}")));
        }
    }
    if !(0..16).contains(&topic.perm) {
        return Err(invalid(format!(
            "perm {} is not a combination of 4 (read), 2 (write) and 1 (inherit)",
            topic.perm
        )));
    }
    let bytes = topic.encode().len();
    if bytes > MAX_CONFIG {
        return Err(invalid(format!("topic[{name}]: {bytes} bytes of settings are more than {MAX_CONFIG}")));
    }
    Ok(())
}

/// Applies `+key=value,-key` (P§3.6) to a topic's attributes.
fn changed_attributes(old: Option<&TopicConfig>, changes: &str) -> Result<BTreeMap<String, String>, Refusal> {
    let mut attributes = old.map_or_else(BTreeMap::new, |t| t.attributes.clone());
    for change in changes.split(',').map(str::trim).filter(|c| !c.is_empty()) {
        let fail = |why: &str| Refusal::failed(format!("attribute {change}: {why}"));
        match (change.strip_prefix('-'), change.strip_prefix('+').unwrap_or(change).split_once('=')) {
            (Some(key), _) => _ = attributes.remove(key),
            (None, Some((MESSAGE_TYPE, value))) => {
                if !["UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "MIXED"].contains(&value) {
                    return Err(fail(
                        "value not in list: [UNSPECIFIED, NORMAL, FIFO, DELAY, TRANSACTION, MIXED]",
                    ));
                }
                attributes.insert(MESSAGE_TYPE.to_owned(), value.to_owned());
            }
            (None, Some((key @ ("queue.type" | "cleanup.policy" | "reserve.time"), _))) => {
                return Err(fail(&format!("{key} is not supported yet")));
            }
            (None, Some((key, _))) => return Err(fail(&format!("unsupported key: {key}"))),
            (None, None) => return Err(fail("neither +key=value nor -key")),
        }
    }
    Ok(attributes)
}

/// Deletes a topic with its messages and the offsets on it.
pub fn delete(broker: &Broker, request: &Request<'_>) -> Result<(), Refusal> {
    let r = TopicName::decode(&request.header.ext)?;
    if r.topic.trim().is_empty() {
        return Err(invalid("The specified topic is blank."));
    }
    if broker.topics.is_system(&r.topic) {
        return Err(invalid(format!("The topic[{}] is conflict with system topic.", r.topic)));
    }
    broker.delete_topic(&r.topic)
}

/// Returns all topics.
pub fn all(broker: &Broker, reply: &mut Reply) -> Result<(), Refusal> {
    let (topic_config_table, data_version) = broker.topics.all();
    let plain = TopicConfigSerializeWrapper { data_version, topic_config_table };
    reply.body = TopicConfigAndMappingSerializeWrapper::from(plain).encode();
    Ok(())
}

/// Returns one topic.
pub fn get(broker: &Broker, request: &Request<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    let r = TopicName::decode(&request.header.ext)?;
    reply.body = find(broker, &r.topic)?.encode();
    Ok(())
}

fn find(broker: &Broker, topic: &str) -> Result<std::sync::Arc<TopicConfig>, Refusal> {
    let missing =
        || Refusal::new(ResponseCode::TOPIC_NOT_EXIST, format!("No topic in this broker. topic: {topic}"));
    broker.topics.get(topic).ok_or_else(missing)
}

/// Returns the bounds of a topic's queues.
pub fn stats(broker: &Broker, request: &Request<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    let r = TopicName::decode(&request.header.ext)?;
    let topic = broker.topics.get(&r.topic);
    let topic = topic.ok_or_else(|| {
        Refusal::new(ResponseCode::TOPIC_NOT_EXIST, format!("topic[{}] not exist", r.topic))
    })?;
    let mut table = TopicStatsTable::default();
    let queues =
        topic.write_queue_nums.max(if perm::is_readable(topic.perm) { topic.read_queue_nums } else { 0 });
    for id in 0..queues {
        let mut offset = TopicOffset::default();
        if let Some(queue) = broker.store.queue(&r.topic, id as u32) {
            let (min, max) = queue.bounds();
            (offset.min_offset, offset.max_offset) = (min as i64, max as i64);
            let last = blocking(|| queue.last_entry(true)).map_err(Refusal::failed)?;
            offset.last_update_timestamp =
                last.map_or(Ok(0), |e| blocking(|| broker.store.store_time(&e)))?;
        }
        let queue = MessageQueue {
            broker_name: broker.config.name.clone(),
            queue_id: id,
            topic: r.topic.to_string(),
        };
        table.offset_table.insert(queue, offset);
    }
    reply.body = table.encode();
    Ok(())
}

/// Returns the broker's own topics.
pub fn system(broker: &Broker, reply: &mut Reply) -> Result<(), Refusal> {
    let topic_list = broker.topics.system_names().iter().cloned().collect();
    reply.body = TopicList { topic_list, broker_addr: Some(broker.address().to_string()) }.encode();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_added_removed_and_refused_by_name() {
        let old = TopicConfig {
            attributes: BTreeMap::from([("message.type".into(), "NORMAL".into())]),
            ..Default::default()
        };
        assert_eq!(changed_attributes(Some(&old), "+message.type=FIFO").unwrap()["message.type"], "FIFO");
        assert!(changed_attributes(Some(&old), "-message.type").unwrap().is_empty());
        for bad in ["+message.type=X", "+queue.type=BatchCQ", "+nonsense=1", "nonsense"] {
            let text = changed_attributes(None, bad).unwrap_err().remark;
            assert!(text.contains(bad), "{text}");
        }
    }
}
