//! PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361): checks, reading, and what a client is told when there is nothing
//! (P§8.4). A held pull runs through here again when it is woken or its time is over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use protocol::bodies::heartbeat::MessageModel;
use protocol::bodies::subscription_group::SubscriptionGroupConfig;
use protocol::bodies::topic_config::perm;
use protocol::codes::ResponseCode;
use protocol::frame;
use protocol::header::ExtFields;
use protocol::requests::{
    DecodeExt, PULL_COMMIT_OFFSET, PULL_SUBSCRIPTION, PULL_SUSPEND, PullMessage, PullMessageReply,
};
use store::{Entry, Queue, ReadError};

use crate::broker::{Broker, blocking};
use crate::handlers::send_message::Caller;
use crate::in_memory;
use crate::refusal::{FAQ, Refusal};
use crate::suggest::Answering;
use crate::tags::TagFilter;

/// Index entries looked at per pull when a filter passes few, as in Java (`maxFilterMessageSize` 16000 of them).
const MAX_SCANNED: u64 = 16_000;
/// Index entries fetched at once.
const BLOCK: usize = 512;
/// No pull is held longer, whatever the client says.
const MAX_SUSPEND_MS: i64 = 600_000;
/// Bytes of records in an answer that still fits a frame.
const MAX_ANSWER: usize = frame::MAX_FRAME - (64 << 10);

/// A pull that was checked.
pub struct Pull {
    /// Who asked.
    pub caller: Caller,
    /// The queue.
    pub queue: Arc<Queue>,
    /// First offset wanted.
    pub offset: i64,
    /// Which messages are wanted.
    pub filter: TagFilter,
    /// How long it may be held; zero for not at all.
    pub suspend: Duration,
    /// When it came.
    pub begun: Instant,
    /// Who pulls.
    pub group: Arc<SubscriptionGroupConfig>,
    max_messages: usize,
    max_bytes: usize,
}

/// What became of a pull.
pub enum Outcome {
    /// The answer was written.
    Answered(ResponseCode),
    /// The client was sent to the master, with this code.
    Redirected(ResponseCode),
    /// There is nothing, and the client is willing to wait.
    Nothing,
}

/// What may be done with a pull that finds nothing, besides telling so.
#[derive(Debug, Clone, Copy)]
pub struct Allowed {
    /// Leave it unanswered.
    pub wait: bool,
    /// Send the client to the master; only slaves do.
    pub redirect: bool,
}

/// Checks a pull and stores the offset it commits.
pub fn prepare(broker: &Broker, caller: Caller, ext: &ExtFields<'_>) -> Result<Pull, Refusal> {
    if broker.slave.is_some() && !broker.live.load().slave_read {
        return Err(Refusal::not_by_a_slave());
    }
    let request = PullMessage::decode(ext)?;
    let group_name = &*request.consumer_group;
    if broker.is_stopping() {
        return Err(Refusal::new(ResponseCode::SERVICE_NOT_AVAILABLE, "the broker is shutting down"));
    }
    check_permission(broker)?;
    let missing = || {
        let remark = format!("subscription group [{group_name}] does not exist, {FAQ}");
        Refusal::new(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, remark)
    };
    let group = broker.group_or_create(group_name)?.ok_or_else(missing)?;
    if !group.consume_enable {
        let remark = format!("subscription group no permission, {group_name}");
        return Err(Refusal::new(ResponseCode::NO_PERMISSION, remark));
    }
    let queue = find_queue(broker, &request)?;
    let filter = find_filter(broker, &request, group.consume_broadcast_enable)?;
    if request.sys_flag & PULL_COMMIT_OFFSET != 0 && request.commit_offset >= 0 {
        broker.commit_offset(group_name, &request.topic, request.queue_id, request.commit_offset)?;
    }
    let may_suspend = request.sys_flag & PULL_SUSPEND != 0 && broker.config.long_polling;
    let suspend_ms = if may_suspend { request.suspend_timeout_millis.clamp(0, MAX_SUSPEND_MS) } else { 0 };
    let wanted_bytes = request.max_msg_bytes.filter(|b| *b > 0).map_or(usize::MAX, |b| b as usize);
    Ok(Pull {
        caller,
        queue,
        offset: request.queue_offset,
        filter,
        suspend: Duration::from_millis(suspend_ms as u64),
        begun: Instant::now(),
        group,
        max_messages: (request.max_msg_nums.max(1) as usize).min(broker.config.max_pull_messages),
        max_bytes: wanted_bytes.min(broker.config.max_pull_bytes).min(MAX_ANSWER),
    })
}

/// Refuses reading where the whole broker forbids it, in Java's words.
fn check_permission(broker: &Broker) -> Result<(), Refusal> {
    if broker.live.may_read() {
        return Ok(());
    }
    let remark = format!("the broker[{}] pulling message is forbidden", broker.address().ip());
    Err(Refusal::new(ResponseCode::NO_PERMISSION, remark))
}

fn find_queue(broker: &Broker, request: &PullMessage<'_>) -> Result<Arc<Queue>, Refusal> {
    let Some(topic) = broker.topics.get(&request.topic) else {
        let remark = format!("topic[{}] not exist, apply first please! {FAQ}", request.topic);
        return Err(Refusal::new(ResponseCode::TOPIC_NOT_EXIST, remark));
    };
    if !perm::is_readable(topic.perm) {
        return Err(Refusal::new(
            ResponseCode::NO_PERMISSION,
            format!("the topic[{}] pulling message is forbidden", request.topic),
        ));
    }
    let queue = u32::try_from(request.queue_id).ok().filter(|id| (*id as i32) < topic.read_queue_nums);
    queue.and_then(|id| broker.store.queue_or_create(&request.topic, id)).ok_or_else(|| {
        let remark = format!(
            "queueId[{}] is illegal, topic:[{}] topicConfig.readQueueNums:[{}]",
            request.queue_id, request.topic, topic.read_queue_nums
        );
        Refusal::new(ResponseCode::INVALID_PARAMETER, remark)
    })
}

fn unreadable() -> Refusal {
    Refusal::new(ResponseCode::SUBSCRIPTION_PARSE_FAILED, "parse the consumer's subscription failed")
}

fn find_filter(
    broker: &Broker,
    request: &PullMessage<'_>,
    broadcast_allowed: bool,
) -> Result<TagFilter, Refusal> {
    let is_tag = |kind: Option<&str>| kind.is_none_or(|k| k.is_empty() || k == "TAG");
    if request.sys_flag & PULL_SUBSCRIPTION != 0 {
        check_expression_type(request.expression_type.as_deref())?;
        return TagFilter::parse(request.subscription.as_deref().unwrap_or("")).ok_or_else(unreadable);
    }
    let (group, topic) = (&*request.consumer_group, &*request.topic);
    let missing = |what: &str| {
        Refusal::new(
            ResponseCode::SUBSCRIPTION_NOT_EXIST,
            format!("the consumer's {what} not exist, group: {group}"),
        )
    };
    let subscription = broker.clients.subscription(group, topic).ok_or_else(|| missing("group info"))?;
    if !broadcast_allowed && broker.clients.message_model(group) == Some(MessageModel::Broadcasting) {
        let remark = format!("the consumer group[{group}] can not consume by broadcast way");
        return Err(Refusal::new(ResponseCode::NO_PERMISSION, remark));
    }
    let subscription = subscription.ok_or_else(|| missing("subscription"))?;
    if subscription.sub_version < request.sub_version {
        return Err(Refusal::new(
            ResponseCode::SUBSCRIPTION_NOT_LATEST,
            "the consumer's subscription not latest",
        ));
    }
    if !is_tag(Some(&subscription.expression_type)) {
        check_expression_type(Some(&subscription.expression_type))?;
    }
    TagFilter::parse(&subscription.sub_string).ok_or_else(unreadable)
}

/// Refuses every filter but tags.
pub fn check_expression_type(kind: Option<&str>) -> Result<(), Refusal> {
    match kind {
        None | Some("" | "TAG") => Ok(()),
        Some(other) => {
            let remark = format!("The broker does not support consumer to filter message by {other}");
            Err(Refusal::new(ResponseCode::SYSTEM_ERROR, remark))
        }
    }
}

/// Answers a pull, as far as its answer may be given now.
pub fn answer(
    broker: &Broker,
    pull: &Pull,
    allowed: Allowed,
    entries: &mut Vec<Entry>,
    out: &mut Vec<u8>,
) -> Outcome {
    let (min, max) = pull.queue.bounds();
    let answering = answering(broker);
    let reply = |far_behind: bool, next: u64| PullMessageReply {
        suggest_which_broker_id: answering.suggest(&pull.group, far_behind),
        next_begin_offset: next as i64,
        min_offset: min as i64,
        max_offset: max as i64,
    };
    let send_to_master = |out: &mut Vec<u8>| {
        let code = ResponseCode::PULL_RETRY_IMMEDIATELY;
        tell(broker, pull, code, &reply(false, pull.offset as u64), out);
        Outcome::Redirected(code)
    };
    let redirect = allowed.redirect && answering.redirects();
    if let Err(refusal) = check_permission(broker) {
        // Taken away while the pull waited.
        return refuse(pull, &refusal, out);
    }
    if pull.queue.is_removed() {
        if answering.may_lack_messages() && broker.topics.get(&pull.queue.topic).is_some() {
            // The slave has started over; the next pull finds the queue that took its place.
            return tell(broker, pull, ResponseCode::PULL_NOT_FOUND, &reply(false, pull.offset as u64), out);
        }
        let remark = format!("topic[{}] not exist, apply first please! {FAQ}", pull.queue.topic);
        return refuse(pull, &Refusal::new(ResponseCode::TOPIC_NOT_EXIST, remark), out);
    }
    match decide_position(pull.offset, min, max, answering) {
        Position::Inside => {}
        _ if redirect => return send_to_master(out),
        Position::End if allowed.wait => return Outcome::Nothing,
        Position::End => {
            let reply = reply(false, pull.offset as u64);
            return tell(broker, pull, ResponseCode::PULL_NOT_FOUND, &reply, out);
        }
        Position::Moved(next) => {
            return tell(broker, pull, ResponseCode::PULL_OFFSET_MOVED, &reply(false, next), out);
        }
    }
    entries.clear();
    let selected = match select(pull, entries) {
        Ok(selected) => selected,
        Err(e) => return fail(pull, &Refusal::failed(e), out),
    };
    let behind = selected.last.map_or(0, |at| broker.store.written().saturating_sub(at));
    let found = reply(behind > in_memory::bytes(&broker.config), selected.next);
    if entries.is_empty() {
        // Everything was filtered away. At the end a client that waits is spared a round trip for nothing new.
        return tell(broker, pull, ResponseCode::PULL_RETRY_IMMEDIATELY, &found, out);
    }
    let begin = frame::begin(out, &pull.caller.head(ResponseCode::SUCCESS, None), &found);
    let read = match broker.store.read_entries(entries, false, out) {
        Err(ReadError::WouldBlock) => blocking(|| broker.store.read_entries(entries, true, out)),
        other => other,
    };
    match read {
        Ok(()) if pull.caller.oneway => out.truncate(begin),
        Ok(()) => {
            frame::end(out, begin);
            broker.rates.found.fetch_add(1, Ordering::Relaxed);
            broker.rates.got.fetch_add(entries.len() as u64, Ordering::Relaxed);
        }
        Err(ReadError::Outside { .. }) => {
            out.truncate(begin);
            if redirect {
                return send_to_master(out);
            }
            // Retention was faster: the client goes on where the queue begins now.
            let reply = reply(false, pull.queue.bounds().0.max(pull.offset as u64));
            return tell(broker, pull, ResponseCode::PULL_RETRY_IMMEDIATELY, &reply, out);
        }
        Err(e) => {
            out.truncate(begin);
            return fail(pull, &Refusal::failed(e), out);
        }
    }
    Outcome::Answered(ResponseCode::SUCCESS)
}

/// Says who answers.
fn answering(broker: &Broker) -> Answering {
    match &broker.slave {
        None => Answering::Master { slave_read: broker.live.load().slave_read },
        Some(link) => Answering::Slave { id: broker.config.id, master_is_alive: link.master_is_alive() },
    }
}

/// Tells the client that there is nothing, and where to go on.
fn tell(
    broker: &Broker,
    pull: &Pull,
    code: ResponseCode,
    reply: &PullMessageReply,
    out: &mut Vec<u8>,
) -> Outcome {
    broker.rates.missed.fetch_add(1, Ordering::Relaxed);
    if !pull.caller.oneway {
        frame::encode(out, &pull.caller.head(code, Some(remark(code))), reply, b"");
    }
    Outcome::Answered(code)
}

fn fail(pull: &Pull, refusal: &Refusal, out: &mut Vec<u8>) -> Outcome {
    tracing::warn!(topic = %pull.queue.topic, queue = pull.queue.id, offset = pull.offset, "pull: {}", refusal.remark);
    refuse(pull, refusal, out)
}

fn refuse(pull: &Pull, refusal: &Refusal, out: &mut Vec<u8>) -> Outcome {
    if !pull.caller.oneway {
        frame::encode(
            out,
            &pull.caller.head(refusal.code, Some(&refusal.remark)),
            &protocol::requests::NoFields,
            b"",
        );
    }
    Outcome::Answered(refusal.code)
}

/// Where a pull points.
#[derive(Debug, PartialEq, Eq)]
enum Position {
    /// At messages.
    Inside,
    /// Right behind the last message, or at 0 of an empty queue; on a slave, anywhere behind the last message.
    End,
    /// Nowhere: the client must go on at this offset.
    Moved(u64),
}

/// Decides what an offset means for a queue with these bounds (P§8.4).
fn decide_position(offset: i64, min: u64, max: u64, answering: Answering) -> Position {
    match u64::try_from(offset) {
        Err(_) => Position::Moved(min),
        Ok(offset) if offset == max => Position::End,
        Ok(offset) if offset > max && answering.may_lack_messages() => Position::End,
        Ok(offset) if offset > max => Position::Moved(max),
        Ok(offset) if offset < min => Position::Moved(min),
        Ok(_) => Position::Inside,
    }
}

/// What was looked at for an answer.
struct Selected {
    /// The offset to go on from.
    next: u64,
    /// Where the last message is in the log.
    last: Option<u64>,
}

/// Chooses the messages of an answer.
fn select(pull: &Pull, chosen: &mut Vec<Entry>) -> std::io::Result<Selected> {
    let mut next = pull.offset as u64;
    let mut last = None;
    let mut bytes = 0;
    let limit = next + MAX_SCANNED;
    let mut block = Vec::new();
    loop {
        let want = match &pull.filter {
            TagFilter::All => pull.max_messages - chosen.len(),
            TagFilter::Codes(_) => BLOCK,
        };
        block.clear();
        fetch(&pull.queue, next, want, &mut block)?;
        if block.is_empty() {
            return Ok(Selected { next, last });
        }
        for entry in &block {
            if pull.filter.matches(entry.tags_code) {
                let full = chosen.len() >= pull.max_messages || bytes + entry.size as usize > pull.max_bytes;
                if full && !chosen.is_empty() {
                    return Ok(Selected { next, last });
                }
                bytes += entry.size as usize;
                chosen.push(*entry);
            }
            next = entry.queue_offset + 1;
            last = Some(entry.physical);
        }
        if chosen.len() >= pull.max_messages || next >= limit {
            return Ok(Selected { next, last });
        }
    }
}

fn fetch(queue: &Queue, from: u64, max: usize, out: &mut Vec<Entry>) -> std::io::Result<()> {
    match queue.entries(from, max, false, out) {
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
            let from = out.last().map_or(from, |e| e.queue_offset + 1);
            let left = max - out.len();
            blocking(|| queue.entries(from, left, true, out))
        }
        other => other,
    }
}

fn remark(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::PULL_NOT_FOUND => "OFFSET_OVERFLOW_ONE",
        ResponseCode::PULL_OFFSET_MOVED => "OFFSET_ILLEGAL",
        _ => "NO_MATCHED_MESSAGE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_outside_a_queue_are_corrected() {
        let master = Answering::Master { slave_read: true };
        for (offset, min, max, want) in [
            (0, 0, 0, Position::End),
            (5, 0, 0, Position::Moved(0)),
            (25, 0, 25, Position::End),
            (1000, 0, 25, Position::Moved(25)),
            (3, 10, 25, Position::Moved(10)),
            (-1, 10, 25, Position::Moved(10)),
            (10, 10, 25, Position::Inside),
            (24, 10, 25, Position::Inside),
            (25, 25, 25, Position::End),
        ] {
            assert_eq!(decide_position(offset, min, max, master), want, "{offset} in {min}..{max}");
        }
    }

    #[test]
    fn a_slave_leaves_offsets_alone_that_its_master_may_have() {
        let slave = Answering::Slave { id: 1, master_is_alive: false };
        for (offset, min, max, want) in [
            (5, 0, 0, Position::End),
            (25, 0, 25, Position::End),
            (1000, 0, 25, Position::End),
            (24, 10, 25, Position::Inside),
            (3, 10, 25, Position::Moved(10)),
            (-1, 10, 25, Position::Moved(10)),
        ] {
            assert_eq!(decide_position(offset, min, max, slave), want, "{offset} in {min}..{max}");
        }
    }
}
