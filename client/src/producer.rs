//! A small producer: sends one message or one batch and waits for the answer; queues in turn, another
//! broker when one fails, topics created on first use as Java's producer has them created.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::codes::ResponseCode;
use protocol::header::FieldValue;
use protocol::message::{BatchItem, push_batch_item};
use protocol::names::AUTO_CREATE_TOPIC;
use protocol::properties::{self, MAX_PROPERTIES, names};
use protocol::requests::SendMessage;

use crate::broker::{self, Sent};
use crate::error::RequestError;
use crate::message::{Message, unique_key};
use crate::routes::{Route, RouteError, RoutedQueue, Routes};

/// Settings of a producer.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// Producer group.
    pub group: String,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Attempts after the first.
    pub retries: usize,
    /// Queues a topic gets on each broker when it is created on first use.
    pub default_queues: i32,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            group: "gantry-producer".to_owned(),
            timeout: Duration::from_secs(3),
            retries: 2,
            default_queues: 4,
        }
    }
}

/// A message that is stored, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The id that users see: the unique key; of a batch the first one's.
    pub id: String,
    /// Broker group.
    pub broker_name: String,
    /// The broker's answer.
    pub sent: Sent,
}

/// Why a message was not sent, as far as is known.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No broker takes the topic.
    #[error("send to topic {topic}: no broker lets it be written")]
    NotWriteable {
        /// The topic.
        topic: String,
    },
    /// The name servers do not say where the topic is.
    #[error("send to topic {topic}: {source}")]
    Route {
        /// The topic.
        topic: String,
        /// Why.
        source: RouteError,
    },
    /// A broker refused for good, or all attempts failed; the last one's error.
    #[error("send to topic {topic} after {attempts} attempts: {source}")]
    Failed {
        /// The topic.
        topic: String,
        /// Attempts made.
        attempts: usize,
        /// Why the last failed.
        source: RequestError,
    },
    /// The messages cannot be sent as they are.
    #[error("send to topic {topic}: {problem}")]
    Unsendable {
        /// The topic.
        topic: String,
        /// What is wrong.
        problem: &'static str,
    },
}

/// A producer; cheap to clone, clones share connections and routes.
#[derive(Clone)]
pub struct Producer {
    options: ProducerOptions,
    routes: Routes,
    turn: Arc<AtomicUsize>,
}

struct Outgoing<'a> {
    topic: &'a str,
    id: String,
    properties: String,
    body: Cow<'a, [u8]>,
    batch: bool,
}

impl Producer {
    /// Creates a producer; it connects when it sends.
    pub fn new(routes: Routes, options: ProducerOptions) -> Self {
        Self { options, routes, turn: Arc::default() }
    }

    /// Sends a message and waits until it is stored. After an error it may be stored all the same: the
    /// answer may have been lost.
    ///
    /// # Errors
    /// See [`SendError`]; attempts at other brokers have been made where that can help.
    pub async fn send(&self, message: &Message) -> Result<Receipt, SendError> {
        let id = unique_key();
        let properties = message.encode_properties(&id);
        let body = Cow::Borrowed(message.body.as_slice());
        self.deliver(&Outgoing { topic: &message.topic, id, properties, body, batch: false }).await
    }

    /// Sends messages of one topic to one queue with one request; all are stored or none.
    ///
    /// # Errors
    /// As [`Producer::send`]; [`SendError::Unsendable`] for none, or for different topics.
    pub async fn send_batch(&self, messages: &[Message]) -> Result<Receipt, SendError> {
        let unsendable = |topic: &str, problem| SendError::Unsendable { topic: topic.to_owned(), problem };
        let Some(first) = messages.first() else { return Err(unsendable("", "the batch is empty")) };
        if messages.iter().any(|message| message.topic != first.topic) {
            return Err(unsendable(&first.topic, "the batch holds messages of other topics too"));
        }
        let ids: Vec<String> = messages.iter().map(|_| unique_key()).collect();
        let mut body = Vec::new();
        for (message, id) in messages.iter().zip(&ids) {
            let properties = message.encode_properties(id);
            if properties.len() > MAX_PROPERTIES {
                return Err(unsendable(&first.topic, "the properties of a message exceed 32,767 bytes"));
            }
            push_batch_item(&mut body, &BatchItem { flag: 0, body: &message.body, properties: &properties });
        }
        let id = ids[0].clone();
        // Each item has its own properties; the batch only says that its sender waits for it to be safe.
        let mut properties = String::new();
        properties::push(&mut properties, names::WAIT, "true");
        let outgoing = Outgoing { topic: &first.topic, id, properties, body: Cow::Owned(body), batch: true };
        self.deliver(&outgoing).await
    }

    async fn deliver(&self, outgoing: &Outgoing<'_>) -> Result<Receipt, SendError> {
        let topic = outgoing.topic;
        let mut failed_brokers = BTreeSet::new();
        let mut attempts = 0;
        loop {
            let route = self
                .route(topic)
                .await
                .map_err(|source| SendError::Route { topic: topic.to_owned(), source })?;
            let Some(queue) =
                choose(&route.write, self.turn.fetch_add(1, Ordering::Relaxed), &failed_brokers)
            else {
                return Err(SendError::NotWriteable { topic: topic.to_owned() });
            };
            attempts += 1;
            match self.attempt(outgoing, queue).await {
                Ok(sent) => {
                    let (id, broker_name) = (outgoing.id.clone(), queue.broker_name.clone());
                    return Ok(Receipt { id, broker_name, sent });
                }
                Err(error) if attempts <= self.options.retries && may_help_elsewhere(&error) => {
                    tracing::debug!("send to {} failed, trying another queue: {error}", queue.addr);
                    failed_brokers.insert(queue.broker_name.clone());
                    // The failed broker may have moved. If nobody knows, the old route has to do.
                    let _ = self.routes.refresh(topic).await;
                }
                Err(source) => return Err(SendError::Failed { topic: topic.to_owned(), attempts, source }),
            }
        }
    }

    // A topic that nobody knows yet is sent to the brokers that would create it (P§8.2).
    async fn route(&self, topic: &str) -> Result<Arc<Route>, RouteError> {
        match self.routes.get(topic).await {
            Err(RouteError::NoTopic(_)) => {
                let template = match self.routes.get(AUTO_CREATE_TOPIC).await {
                    Err(RouteError::NoTopic(_)) => return Err(RouteError::NoTopic(topic.to_owned())),
                    other => other?,
                };
                Ok(Arc::new(Route {
                    write: up_to(&template.write, self.options.default_queues),
                    read: up_to(&template.read, self.options.default_queues),
                }))
            }
            known => known,
        }
    }

    async fn attempt(&self, outgoing: &Outgoing<'_>, queue: &RoutedQueue) -> Result<Sent, RequestError> {
        let client = self.routes.connections().to(&queue.addr).await?;
        let header = SendMessage {
            producer_group: FieldValue::of(&self.options.group),
            topic: Cow::Borrowed(outgoing.topic),
            default_topic: FieldValue::of(AUTO_CREATE_TOPIC),
            default_topic_queue_nums: self.options.default_queues,
            queue_id: queue.queue_id,
            sys_flag: 0,
            born_timestamp: now_ms(),
            flag: 0,
            properties: Cow::Borrowed(&outgoing.properties),
            reconsume_times: 0,
            unit_mode: false,
            max_reconsume_times: None,
            batch: outgoing.batch,
        };
        broker::send(&client, &header, &outgoing.body, self.options.timeout).await
    }
}

fn up_to(queues: &[RoutedQueue], count: i32) -> Vec<RoutedQueue> {
    queues.iter().filter(|queue| queue.queue_id < count).cloned().collect()
}

// The queue whose turn it is, of a broker that has not failed if there is one.
fn choose<'a>(queues: &'a [RoutedQueue], turn: usize, failed: &BTreeSet<String>) -> Option<&'a RoutedQueue> {
    let good: Vec<&RoutedQueue> =
        queues.iter().filter(|queue| !failed.contains(&queue.broker_name)).collect();
    match (good.as_slice(), queues) {
        ([], []) => None,
        ([], all) => Some(&all[turn % all.len()]),
        (good, _) => Some(good[turn % good.len()]),
    }
}

// The codes after which Java's producer tries another broker (P§1.7).
fn may_help_elsewhere(error: &RequestError) -> bool {
    match error {
        RequestError::Call(_) => true,
        RequestError::Unreadable { .. } => false,
        RequestError::Refused { code, .. } => matches!(
            *code,
            ResponseCode::TOPIC_NOT_EXIST
                | ResponseCode::SERVICE_NOT_AVAILABLE
                | ResponseCode::SYSTEM_ERROR
                | ResponseCode::SYSTEM_BUSY
                | ResponseCode::NO_PERMISSION
                | ResponseCode::NO_BUYER_ID
                | ResponseCode::NOT_IN_CURRENT_UNIT
                | ResponseCode::GO_AWAY
        ),
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Connections;
    use crate::scripted::{self, Answer};
    use parking_lot::Mutex;
    use protocol::codes::RequestCode;

    fn queue(broker: &str, queue_id: i32) -> RoutedQueue {
        RoutedQueue { broker_name: broker.into(), addr: format!("{broker}:1"), queue_id }
    }

    fn sent_to(queue_id: &str) -> Answer {
        Answer::fields(&[("msgId", "ID"), ("queueId", queue_id), ("queueOffset", "5")])
    }

    fn producer(name_server: &str) -> Producer {
        Producer::new(Routes::new(Connections::default(), name_server), ProducerOptions::default())
    }

    #[test]
    fn queues_take_turns_and_failed_brokers_are_passed_over_while_others_are_left() {
        let queues = [queue("a", 0), queue("a", 1), queue("b", 0)];
        let names = |failed: &[&str]| -> Vec<String> {
            let failed = failed.iter().map(|name| (*name).to_owned()).collect();
            (0..3)
                .map(|turn| choose(&queues, turn, &failed).unwrap())
                .map(|q| format!("{}{}", q.broker_name, q.queue_id))
                .collect()
        };
        assert_eq!(names(&[]), ["a0", "a1", "b0"]);
        assert_eq!(names(&["a"]), ["b0", "b0", "b0"]);
        assert_eq!(names(&["a", "b"]), ["a0", "a1", "b0"]);
        assert_eq!(choose(&[], 7, &BTreeSet::new()), None);
    }

    #[tokio::test]
    async fn a_topic_that_nobody_knows_is_sent_where_it_would_be_created() {
        let broker = scripted::start(|request| {
            assert_eq!(request.field("b"), Some("New"));
            assert_eq!(request.field("c"), Some("TBW102"));
            sent_to(request.field("e").unwrap())
        })
        .await;
        let name_server = scripted::start(move |request| match request.field("topic") {
            Some("TBW102") => Answer::body(scripted::route("a", &broker, 8)),
            _ => Answer::refuse(ResponseCode::TOPIC_NOT_EXIST, "no route"),
        })
        .await;
        let producer = producer(&name_server);
        let mut queues = Vec::new();
        for _ in 0..5 {
            queues.push(producer.send(&Message::new("New", "body")).await.unwrap().sent.queue_id);
        }
        assert_eq!(queues, [0, 1, 2, 3, 0]);
    }

    #[tokio::test]
    async fn a_busy_broker_is_left_for_another_and_an_illegal_message_is_not_tried_again() {
        let busy = scripted::start(|_| Answer::refuse(ResponseCode::SYSTEM_BUSY, "busy")).await;
        let good = scripted::start(|request| match request.field("b") {
            Some("Bad") => Answer::refuse(ResponseCode::MESSAGE_ILLEGAL, "too large"),
            _ => sent_to("0"),
        })
        .await;
        let name_server = scripted::start(move |_| {
            Answer::body(scripted::routes(&[("a", busy.as_str(), 1), ("b", good.as_str(), 1)]))
        })
        .await;
        let producer = producer(&name_server);
        for _ in 0..2 {
            let receipt = producer.send(&Message::new("T", "body")).await.unwrap();
            assert_eq!((receipt.broker_name.as_str(), receipt.sent.queue_offset), ("b", 5));
        }
        let error = producer.send(&Message::new("Bad", "body")).await.unwrap_err();
        assert!(
            error.to_string().ends_with("refused SEND_MESSAGE_V2: 13 MESSAGE_ILLEGAL, too large"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_batch_is_one_request_with_one_item_per_message() {
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let seen = bodies.clone();
        let broker = scripted::start(move |request| {
            assert_eq!((request.code, request.field("m")), (RequestCode::SEND_BATCH_MESSAGE.0, Some("true")));
            let mut rest = request.body.as_slice();
            while let Some((item, more)) = protocol::message::next_batch_item(rest) {
                seen.lock().push(String::from_utf8_lossy(item.body).into_owned());
                rest = more;
            }
            sent_to("0")
        })
        .await;
        let name_server = scripted::start(move |_| Answer::body(scripted::route("a", &broker, 1))).await;
        let producer = producer(&name_server);
        producer.send_batch(&[Message::new("T", "one"), Message::new("T", "two")]).await.unwrap();
        assert_eq!(*bodies.lock(), ["one", "two"]);
        let mixed = producer.send_batch(&[Message::new("T", "1"), Message::new("U", "2")]).await.unwrap_err();
        assert_eq!(mixed.to_string(), "send to topic T: the batch holds messages of other topics too");
        assert!(matches!(producer.send_batch(&[]).await, Err(SendError::Unsendable { .. })));
    }
}
