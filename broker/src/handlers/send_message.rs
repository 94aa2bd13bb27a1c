//! SEND_MESSAGE (10), V2 (310) and batch (320): every check a client sees, then the record joins the batch that is
//! appended when the frames of this read are through. P§2.2, P§3.1, P§4.6, P§8.2.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use protocol::bodies::topic_config::{TopicConfig, perm};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{CommandHead, ExtWriter, FrameView};
use protocol::header::{LANGUAGE_JAVA, Serialization, VERSION};
use protocol::message::{self, NewRecord};
use protocol::names;
use protocol::properties::{self, MAX_PROPERTIES, Reserved};
use protocol::requests::{EncodeExt, SendMessage};
use remoting::Peer;
use store::index::keys;
use store::{Batch, Queue};

use crate::broker::{Broker, now_ms};
use crate::live::FlushMode;
use crate::refusal::{FAQ, Refusal};
use crate::topics::{self, MAX_QUEUES};

/// Messages in one batch: the answer lists their ids in a header of 1 MiB at most.
const MAX_BATCH: usize = 30_000;
/// `sysFlag`: the body is a batch that stays one record (`queue.type=BatchCQ`).
const INNER_BATCH: i32 = 1 << 7;

/// A send whose records are in the batch.
#[derive(Debug)]
pub struct PendingSend {
    /// What its answer needs of the request.
    pub caller: Caller,
    /// Its records in the batch.
    pub records: Range<usize>,
    /// The queue they go to.
    pub queue_id: u32,
    /// Unique key of the first, as the answer repeats it.
    pub uniq_key: UniqKey,
    /// Whether the answer waits for the flush and the copies the broker is set to.
    pub waits: bool,
}

/// Who asked, and how the answer is addressed.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// Request code.
    pub code: RequestCode,
    /// Correlation id.
    pub opaque: i32,
    /// Encoding of the answer.
    pub serialization: Serialization,
    /// No answer is wanted.
    pub oneway: bool,
}

impl Caller {
    /// Remembers what an answer needs.
    pub fn of(frame: &FrameView<'_>) -> Caller {
        let h = &frame.header;
        Caller {
            code: RequestCode(h.code),
            opaque: h.opaque,
            serialization: h.serialization,
            oneway: h.is_oneway(),
        }
    }

    /// Returns the head of the answer.
    pub fn head<'r>(&self, code: ResponseCode, remark: Option<&'r str>) -> CommandHead<'r> {
        CommandHead {
            serialization: self.serialization,
            code: code.0,
            language: LANGUAGE_JAVA,
            version: VERSION,
            opaque: self.opaque,
            flag: protocol::header::FLAG_RESPONSE,
            remark,
        }
    }
}

/// A unique key, without memory of its own when it has the usual length.
#[derive(Debug, Clone)]
pub enum UniqKey {
    /// 32 digits, an IPv4 client's.
    Usual([u8; 32]),
    /// Any other.
    Other(Box<str>),
}

impl UniqKey {
    fn new(text: &str) -> UniqKey {
        text.as_bytes().try_into().map_or_else(|_| UniqKey::Other(text.into()), UniqKey::Usual)
    }

    /// Returns the bytes of the text.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            UniqKey::Usual(bytes) => bytes,
            UniqKey::Other(text) => text.as_bytes(),
        }
    }
}

/// What the last send of a connection looked up: the next one mostly goes to the same topic.
#[derive(Default)]
pub struct LastTopic {
    generation: u64,
    config: Option<Arc<TopicConfig>>,
    queues: Vec<Option<Arc<Queue>>>,
}

impl LastTopic {
    fn find(&mut self, broker: &Broker, topic: &str) -> Option<&Arc<TopicConfig>> {
        let generation = broker.topics.generation();
        if self.generation != generation || self.config.as_ref().is_none_or(|c| c.topic_name != topic) {
            self.config = broker.topics.get(topic);
            self.generation = generation;
            self.queues.clear();
        }
        self.config.as_ref()
    }

    /// Says whether topics have changed since the last one was looked up.
    fn is_stale(&self, broker: &Broker) -> bool {
        self.generation != broker.topics.generation()
    }

    fn queue(&mut self, broker: &Broker, topic: &str, id: u32) -> Option<Arc<Queue>> {
        if id >= MAX_QUEUES as u32 {
            return None;
        }
        if self.queues.len() <= id as usize {
            self.queues.resize(id as usize + 1, None);
        }
        let slot = &mut self.queues[id as usize];
        if slot.as_ref().is_none_or(|q| q.is_removed()) {
            *slot = broker.store.queue_or_create(topic, id);
        }
        slot.clone()
    }
}

/// Checks a send and puts its records into the batch; `address` is the broker's.
pub fn prepare(
    broker: &Broker,
    address: SocketAddr,
    peer: &Peer,
    frame: &FrameView<'_>,
    last: &mut LastTopic,
    batch: &mut Batch,
) -> Result<PendingSend, Refusal> {
    let caller = Caller::of(frame);
    check_limits(broker)?;
    let request = SendMessage::decode(caller.code, &frame.header.ext)?;
    check_message(broker, &request, frame.body)?;
    let (queue_id, queue) = find_queue(broker, &request, last)?;
    let record = NewRecord {
        topic: &request.topic,
        queue_id: queue_id as i32,
        flag: request.flag,
        sys_flag: request.sys_flag,
        born_timestamp: request.born_timestamp,
        born_host: peer.addr,
        store_host: address,
        reconsume_times: request.reconsume_times,
        prepared_transaction_offset: 0,
        body: frame.body,
        properties: &request.properties,
        more_properties: &broker.more_properties,
    };
    let first = batch.len();
    let mut pending = PendingSend {
        caller,
        records: first..first,
        queue_id,
        uniq_key: UniqKey::Other("".into()),
        waits: true,
    };
    if request.batch {
        push_batch(queue, record, batch, &mut pending)?
    } else {
        push_one(queue, record, batch, &mut pending)?
    }
    pending.records.end = batch.len();
    Ok(pending)
}

/// Finds the queue a send goes to, and makes the topic if that is allowed.
fn find_queue(
    broker: &Broker,
    request: &SendMessage<'_>,
    last: &mut LastTopic,
) -> Result<(u32, Arc<Queue>), Refusal> {
    loop {
        if last.find(broker, &request.topic).is_none() {
            auto_create(broker, request)?;
            last.find(broker, &request.topic);
        }
        let topic = last.config.clone().ok_or_else(|| unknown_topic(&request.topic))?;
        check_topic(&topic)?;
        let id = choose_queue(&topic, request)?;
        let illegal =
            || Refusal::new(ResponseCode::INVALID_PARAMETER, format!("request queueId[{id}] is illegal"));
        let queue = last.queue(broker, &request.topic, id).ok_or_else(illegal)?;
        // Had the topic been deleted in between, this queue would hold messages of a topic that does not exist.
        if !last.is_stale(broker) {
            return Ok((id, queue));
        }
    }
}

fn check_limits(broker: &Broker) -> Result<(), Refusal> {
    if broker.slave.is_some() {
        return Err(Refusal::not_by_a_slave());
    }
    if broker.is_stopping() {
        return Err(Refusal::new(ResponseCode::SERVICE_NOT_AVAILABLE, "the broker is shutting down"));
    }
    if !broker.live.may_write(now_ms) {
        let remark = format!("the broker[{}] sending message is forbidden", broker.address().ip());
        return Err(Refusal::new(ResponseCode::NO_PERMISSION, remark));
    }
    let unflushed = broker.store.written().saturating_sub(broker.store.flushed_offset());
    if unflushed > broker.config.max_unflushed_bytes && broker.live.load().flush == FlushMode::Sync {
        let remark = format!(
            "[PCBUSY_CLEAN_QUEUE]broker busy, start flow control for a while, {unflushed} bytes not flushed"
        );
        return Err(Refusal::new(ResponseCode::SYSTEM_BUSY, remark));
    }
    Ok(())
}

fn check_message(broker: &Broker, request: &SendMessage<'_>, body: &[u8]) -> Result<(), Refusal> {
    let illegal = |remark: String| Err(Refusal::new(ResponseCode::MESSAGE_ILLEGAL, remark));
    let max_body = broker.config.max_message_size;
    if body.len() > max_body {
        return illegal(format!(
            "message body length {} is more than the limit of {max_body} bytes (maxMessageSize)",
            body.len()
        ));
    }
    if request.topic.starts_with(names::RETRY_PREFIX) {
        return illegal(format!("sending to retry topics is not supported yet ({})", request.topic));
    }
    if request.sys_flag & INNER_BATCH != 0 {
        return illegal("batches that are stored as one message are not supported yet".to_owned());
    }
    if request.sys_flag & message::SYS_TRANSACTION != 0 {
        return illegal("transactional messages are not supported yet".to_owned());
    }
    Ok(())
}

fn check_topic(topic: &TopicConfig) -> Result<(), Refusal> {
    if !perm::is_writeable(topic.perm) {
        let remark = format!("the topic[{}] sending message is forbidden", topic.topic_name);
        return Err(Refusal::new(ResponseCode::NO_PERMISSION, remark));
    }
    if names::NOT_SENDABLE.contains(&topic.topic_name.as_str()) {
        let remark = format!("Sending message to topic[{}] is forbidden.", topic.topic_name);
        return Err(Refusal::new(ResponseCode::NO_PERMISSION, remark));
    }
    Ok(())
}

fn choose_queue(topic: &TopicConfig, request: &SendMessage<'_>) -> Result<u32, Refusal> {
    let queues = topic.write_queue_nums.max(topic.read_queue_nums).max(0) as u32;
    if request.queue_id < 0 && topic.write_queue_nums > 0 {
        // Any will do; the clock spreads senders well enough and needs no state.
        let random = request.born_timestamp as u64 ^ (now_ms() as u64).rotate_left(17);
        return Ok((random % topic.write_queue_nums as u64) as u32);
    }
    let id = request.queue_id as u32;
    if id >= queues {
        let remark = format!(
            "request queueId[{}] is illegal, {} has {queues} queues",
            request.queue_id, topic.topic_name
        );
        return Err(Refusal::new(ResponseCode::INVALID_PARAMETER, remark));
    }
    Ok(id)
}

fn unknown_topic(topic: &str) -> Refusal {
    let remark = format!("topic[{topic}] not exist, apply first please!{FAQ}");
    Refusal::new(ResponseCode::TOPIC_NOT_EXIST, remark)
}

fn auto_create(broker: &Broker, request: &SendMessage<'_>) -> Result<(), Refusal> {
    topics::check_name(&request.topic)
        .map_err(|remark| Refusal::new(ResponseCode::INVALID_PARAMETER, remark))?;
    if !broker.live.load().auto_create_topics {
        return Err(unknown_topic(&request.topic));
    }
    let template = request.default_topic.clone().text().and_then(|t| broker.topics.get(&t));
    let topic = template
        .and_then(|t| topics::decide_auto_created(&request.topic, &t, request.default_topic_queue_nums));
    match topic {
        Some(topic) if topic.write_queue_nums > 0 => broker.put_topic_if_absent(topic).map(|_| ()),
        _ => Err(unknown_topic(&request.topic)),
    }
}

/// Refuses what this version cannot keep its promise about.
fn check_properties(reserved: &Reserved<'_>, len: usize) -> Result<(), Refusal> {
    if len > MAX_PROPERTIES {
        let remark = format!("message properties length {len} is more than {MAX_PROPERTIES}");
        return Err(Refusal::new(ResponseCode::MESSAGE_ILLEGAL, remark));
    }
    if reserved.transaction {
        return Err(Refusal::new(
            ResponseCode::MESSAGE_ILLEGAL,
            "transactional messages are not supported yet",
        ));
    }
    if let Some(delay) = reserved.delay.filter(|d| *d != "0") {
        let remark = format!("delayed messages are not supported yet (delay {delay})");
        return Err(Refusal::new(ResponseCode::MESSAGE_ILLEGAL, remark));
    }
    Ok(())
}

fn push_one(
    queue: Arc<Queue>,
    record: NewRecord<'_>,
    batch: &mut Batch,
    pending: &mut PendingSend,
) -> Result<(), Refusal> {
    let reserved = properties::reserved(record.properties);
    check_properties(&reserved, record.properties_len())?;
    pending.waits = !reserved.no_wait;
    if let Some(key) = reserved.uniq_key {
        pending.uniq_key = UniqKey::new(key);
        push(queue, &record, &reserved, Some(key), batch);
        return Ok(());
    }
    // A client of another language may leave the id to us.
    let key = format!("{:032X}", unique_number());
    let more = format!("{}{}\u{1}{key}\u{2}", record.more_properties, properties::names::UNIQ_KEY);
    pending.uniq_key = UniqKey::new(&key);
    push(queue, &NewRecord { more_properties: &more, ..record }, &reserved, Some(&key), batch);
    Ok(())
}

fn push_batch(
    queue: Arc<Queue>,
    record: NewRecord<'_>,
    batch: &mut Batch,
    pending: &mut PendingSend,
) -> Result<(), Refusal> {
    let malformed =
        || Refusal::new(ResponseCode::MESSAGE_ILLEGAL, "the batch body does not hold whole messages");
    let outer = properties::reserved(record.properties);
    check_properties(&outer, record.properties_len())?;
    pending.waits = !outer.no_wait;
    // All are checked before any joins: a batch is stored as a whole or refused as a whole.
    let mut rest = record.body;
    let mut items = 0;
    while !rest.is_empty() {
        items += 1;
        if items > MAX_BATCH {
            let remark =
                format!("a batch of more than {MAX_BATCH} messages cannot be answered with their ids");
            return Err(Refusal::new(ResponseCode::MESSAGE_ILLEGAL, remark));
        }
        let (item, behind) = message::next_batch_item(rest).ok_or_else(malformed)?;
        let single = NewRecord { properties: item.properties, ..record };
        check_properties(&properties::reserved(item.properties), single.properties_len())?;
        rest = behind;
    }
    let mut rest = record.body;
    while let Some((item, behind)) = message::next_batch_item(rest) {
        let single = NewRecord { body: item.body, flag: item.flag, properties: item.properties, ..record };
        let reserved = properties::reserved(item.properties);
        if pending.records.start == batch.len() {
            pending.uniq_key = UniqKey::new(outer.uniq_key.or(reserved.uniq_key).unwrap_or(""));
        }
        push(queue.clone(), &single, &reserved, reserved.uniq_key, batch);
        rest = behind;
    }
    if pending.records.start == batch.len() { Err(malformed()) } else { Ok(()) }
}

fn push(
    queue: Arc<Queue>,
    record: &NewRecord<'_>,
    reserved: &Reserved<'_>,
    uniq_key: Option<&str>,
    batch: &mut Batch,
) {
    let hashes = keys::of_record(uniq_key, reserved.keys).map(|key| keys::hash(record.topic, key));
    batch.push(queue, record, properties::tags_code(reserved.tags), hashes);
}

fn unique_number() -> u128 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let high = (now_ms() as u128) << 64 | (std::process::id() as u128) << 32;
    high | NEXT.fetch_add(1, Ordering::Relaxed) as u128
}

/// The fields of the answer to a send, written without memory of their own.
pub struct SendReply<'a> {
    /// Who answers.
    pub broker: &'a Broker,
    /// Its address, part of the offset ids.
    pub address: SocketAddr,
    /// The send.
    pub send: &'a PendingSend,
    /// Where its records went.
    pub stored: &'a [store::Stored],
}

impl SendReply<'_> {
    /// The offset ids of a batch, separated by commas.
    fn offset_ids(&self, stored: &[store::Stored]) -> String {
        let mut ids = String::with_capacity(stored.len() * 57);
        for s in stored {
            if !ids.is_empty() {
                ids.push(',');
            }
            message::push_offset_msg_id(&mut ids, self.address, s.physical as i64);
        }
        ids
    }
}

impl EncodeExt for SendReply<'_> {
    fn encode(&self, w: &mut ExtWriter<'_>) {
        w.prepared(&self.broker.send_reply);
        match self.stored {
            [one] => {
                let (digits, len) = message::offset_msg_id_digits(self.address, one.physical as i64);
                w.utf8("msgId", &digits[..len]);
            }
            many => w.text("msgId", &self.offset_ids(many)),
        }
        w.int("queueId", self.send.queue_id as i64);
        w.int("queueOffset", self.stored.first().map_or(0, |s| s.queue_offset as i64));
        let uniq_key = self.send.uniq_key.as_bytes();
        if !uniq_key.is_empty() {
            w.utf8("transactionId", uniq_key);
        }
    }

    fn always_present(&self) -> bool {
        true
    }
}
