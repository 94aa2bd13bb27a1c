//! A small consumer: pulls all queues of a topic at once, with long polling, and hands messages out one
//! batch after the other. It is no member of its group: queues are not shared with other consumers, so
//! give it a group of its own.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::requests::{PULL_SUBSCRIPTION, PULL_SUSPEND, PullMessage};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::broker::{self, Found, Queue};
use crate::error::RequestError;
use crate::message::{Received, UnreadableRecord, read_records};
use crate::routes::{FRESH_FOR, RouteError, RoutedQueue, Routes};

/// How long a broker may hold a pull.
const SUSPEND: Duration = Duration::from_secs(15);

/// How long a pull may take: the time it may be held, and that of a slow answer.
const PULL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait after a failure before the queue is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A broker that answers "nothing new" sooner than this does not hold pulls; then we wait ourselves.
const HELD_AT_LEAST: Duration = Duration::from_millis(200);

/// How many batches wait to be taken; the queues pause when there are more.
const MAX_WAITING_BATCHES: usize = 16;

/// Where a group begins that has never committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the oldest message.
    First,
    /// Behind the newest message.
    #[default]
    Last,
}

/// Settings of a consumer.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// Consumer group, under which offsets are committed.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// `*`, or tags joined by `||`.
    pub tags: String,
    /// Where to begin without a committed offset.
    pub start: Start,
    /// Most messages of one pull.
    pub batch: i32,
}

impl ConsumerOptions {
    /// Returns the settings to consume all of a topic for a group.
    pub fn new(group: impl Into<String>, topic: impl Into<String>) -> Self {
        Self { group: group.into(), topic: topic.into(), tags: "*".to_owned(), start: Start::Last, batch: 32 }
    }
}

/// Why no messages came.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The name servers do not say where the topic is.
    #[error("consume topic {topic}: {source}")]
    Route {
        /// The topic.
        topic: String,
        /// Why.
        source: RouteError,
    },
    /// A broker does not answer or refuses; the consumer goes on trying.
    #[error("consume topic {topic}, queue {queue_id} of {broker_name}: {source}")]
    Queue {
        /// The topic.
        topic: String,
        /// Broker group.
        broker_name: String,
        /// Queue.
        queue_id: i32,
        /// Why.
        source: RequestError,
    },
    /// A message cannot be read; it was skipped with the rest of its batch.
    #[error("consume topic {topic}: {source}")]
    Unreadable {
        /// The topic.
        topic: String,
        /// Which one.
        source: UnreadableRecord,
    },
}

/// Pulls messages until it is dropped.
pub struct Consumer {
    options: Arc<ConsumerOptions>,
    routes: Routes,
    batches: mpsc::Receiver<Result<Vec<Received>, ConsumeError>>,
    handed_out: BTreeMap<(String, i32), i64>,
    _queues: JoinSet<()>,
}

impl Consumer {
    /// Starts to pull every queue of the topic, now and whenever the route gains one.
    ///
    /// # Errors
    /// [`ConsumeError::Route`] when the topic does not exist or no name server answers.
    pub async fn start(routes: Routes, options: ConsumerOptions) -> Result<Self, ConsumeError> {
        let route = routes.refresh(&options.topic).await;
        let route = route.map_err(|source| ConsumeError::Route { topic: options.topic.clone(), source })?;
        let options = Arc::new(options);
        let (to, batches) = mpsc::channel(MAX_WAITING_BATCHES);
        let mut tasks = JoinSet::new();
        let queues = Queues { options: options.clone(), routes: routes.clone(), to, pulled: BTreeSet::new() };
        tasks.spawn(queues.follow(route.read.clone()));
        Ok(Self { options, routes, batches, handed_out: BTreeMap::new(), _queues: tasks })
    }

    /// Waits for messages of one queue, in the order of their offsets. Safe to cancel: nothing is lost.
    ///
    /// # Errors
    /// What keeps a queue from being pulled. The consumer goes on; so may the caller.
    pub async fn next(&mut self) -> Result<Vec<Received>, ConsumeError> {
        let Some(batch) = self.batches.recv().await else {
            // Its tasks end only with it.
            return std::future::pending().await;
        };
        let batch = batch?;
        if let Some(last) = batch.last() {
            self.handed_out.insert((last.broker_name.clone(), last.queue_id), last.queue_offset + 1);
        }
        Ok(batch)
    }

    /// Commits everything that [`Consumer::next`] has handed out, for the group to go on behind it.
    ///
    /// # Errors
    /// The first queue whose broker did not take it; call again later.
    pub async fn commit(&mut self) -> Result<(), ConsumeError> {
        let topic = self.options.topic.clone();
        let route = self.routes.get(&topic).await;
        let route = route.map_err(|source| ConsumeError::Route { topic: topic.clone(), source })?;
        for queue in &route.read {
            let key = (queue.broker_name.clone(), queue.queue_id);
            let Some(offset) = self.handed_out.get(&key) else { continue };
            let committed = async {
                let client = self.routes.connections().to(&queue.addr).await?;
                let place = Queue { topic: &topic, id: queue.queue_id };
                broker::commit_offset(&client, &self.options.group, place, *offset).await
            };
            committed.await.map_err(|source| queue_error(&topic, queue, source))?;
            self.handed_out.remove(&key);
        }
        Ok(())
    }
}

/// The queues that are pulled; each has its task.
struct Queues {
    options: Arc<ConsumerOptions>,
    routes: Routes,
    to: mpsc::Sender<Result<Vec<Received>, ConsumeError>>,
    pulled: BTreeSet<(String, i32)>,
}

impl Queues {
    // Ends, and its tasks with it, when the consumer is dropped.
    async fn follow(mut self, first: Vec<RoutedQueue>) {
        let mut tasks = JoinSet::new();
        let mut queues = first;
        loop {
            for queue in queues {
                if self.pulled.insert((queue.broker_name.clone(), queue.queue_id)) {
                    let puller = QueuePuller {
                        options: self.options.clone(),
                        routes: self.routes.clone(),
                        to: self.to.clone(),
                        queue,
                    };
                    tasks.spawn(puller.run());
                }
            }
            tokio::time::sleep(FRESH_FOR).await;
            // Without an answer the queues stay as they are.
            queues = match self.routes.get(&self.options.topic).await {
                Ok(route) => route.read.clone(),
                Err(_) => Vec::new(),
            };
        }
    }
}

struct QueuePuller {
    options: Arc<ConsumerOptions>,
    routes: Routes,
    to: mpsc::Sender<Result<Vec<Received>, ConsumeError>>,
    queue: RoutedQueue,
}

impl QueuePuller {
    async fn run(mut self) {
        let mut next = None;
        loop {
            let error = match self.pull_until_error(&mut next).await {
                Ok(ConsumerGone) => return,
                Err(error) => error,
            };
            if self.to.send(Err(queue_error(&self.options.topic, &self.queue, error))).await.is_err() {
                return;
            }
            tokio::time::sleep(RETRY_AFTER).await;
            self.find_again().await;
        }
    }

    async fn pull_until_error(&self, next: &mut Option<i64>) -> Result<ConsumerGone, RequestError> {
        let client = self.routes.connections().to(&self.queue.addr).await?;
        let mut offset = match *next {
            Some(offset) => offset,
            None => self.first_offset(&client).await?,
        };
        loop {
            *next = Some(offset);
            let asked_at = Instant::now();
            let pulled = broker::pull(&client, &self.request(offset), PULL_TIMEOUT).await?;
            offset = pulled.next_offset;
            match pulled.found {
                Found::Messages => {
                    let batch = read_records(&pulled.records, &self.queue.broker_name).map_err(|source| {
                        ConsumeError::Unreadable { topic: self.options.topic.clone(), source }
                    });
                    if self.to.send(batch).await.is_err() {
                        return Ok(ConsumerGone);
                    }
                }
                Found::NothingNew if asked_at.elapsed() < HELD_AT_LEAST => {
                    tokio::time::sleep(HELD_AT_LEAST).await;
                }
                Found::NothingNew | Found::NothingMatches | Found::OffsetMoved => {}
            }
        }
    }

    async fn first_offset(&self, client: &crate::Client) -> Result<i64, RequestError> {
        let queue = Queue { topic: &self.options.topic, id: self.queue.queue_id };
        if let Some(committed) = broker::consumer_offset(client, &self.options.group, queue).await? {
            return Ok(committed);
        }
        match self.options.start {
            Start::First => broker::min_offset(client, queue).await,
            Start::Last => broker::max_offset(client, queue).await,
        }
    }

    fn request(&self, offset: i64) -> PullMessage<'_> {
        PullMessage {
            consumer_group: Cow::Borrowed(&self.options.group),
            topic: Cow::Borrowed(&self.options.topic),
            queue_id: self.queue.queue_id,
            queue_offset: offset,
            max_msg_nums: self.options.batch,
            sys_flag: PULL_SUBSCRIPTION | PULL_SUSPEND,
            commit_offset: 0,
            suspend_timeout_millis: SUSPEND.as_millis() as i64,
            subscription: Some(Cow::Borrowed(&self.options.tags)),
            sub_version: now_ms(),
            expression_type: None,
            max_msg_bytes: None,
        }
    }

    // The broker group may have another master by now.
    async fn find_again(&mut self) {
        let Ok(route) = self.routes.refresh(&self.options.topic).await else { return };
        let same = |queue: &&RoutedQueue| {
            queue.broker_name == self.queue.broker_name && queue.queue_id == self.queue.queue_id
        };
        if let Some(queue) = route.read.iter().find(same) {
            self.queue = queue.clone();
        }
    }
}

/// Nobody takes messages any more.
struct ConsumerGone;

fn queue_error(topic: &str, queue: &RoutedQueue, source: RequestError) -> ConsumeError {
    ConsumeError::Queue {
        topic: topic.to_owned(),
        broker_name: queue.broker_name.clone(),
        queue_id: queue.queue_id,
        source,
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Connections;
    use crate::scripted::{self, Answer, Asked};
    use parking_lot::Mutex;
    use protocol::codes::{RequestCode, ResponseCode};
    use protocol::message::{NewRecord, assign};

    fn record(queue_offset: i64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let host = "127.0.0.1:1".parse().unwrap();
        let new = NewRecord {
            topic: "T",
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 0,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"x",
            properties: "",
            more_properties: "",
        };
        new.encode(&mut bytes);
        assign(&mut bytes, queue_offset, 0, 0);
        bytes
    }

    fn pulled(next: i64) -> Answer {
        let next = next.to_string();
        Answer::fields(&[
            ("suggestWhichBrokerId", "0"),
            ("nextBeginOffset", &next),
            ("minOffset", "0"),
            ("maxOffset", "9"),
        ])
    }

    async fn consumer(script: impl Fn(&Asked) -> Answer + Clone + Send + Sync + 'static) -> Consumer {
        let broker = scripted::start(script).await;
        let name_server = scripted::start(move |_| Answer::body(scripted::route("a", &broker, 1))).await;
        let routes = Routes::new(Connections::default(), &name_server);
        let options = ConsumerOptions { start: Start::First, ..ConsumerOptions::new("G", "T") };
        Consumer::start(routes, options).await.unwrap()
    }

    #[tokio::test]
    async fn it_begins_at_the_committed_offset_and_follows_every_answer() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let mut consumer = consumer(move |request| {
            if request.code == RequestCode::QUERY_CONSUMER_OFFSET.0 {
                return Answer::fields(&[("offset", "5")]);
            }
            let offset = request.field("queueOffset").unwrap_or_default().to_owned();
            seen.lock().push(offset.clone());
            match offset.as_str() {
                "5" => pulled(2).with_code(ResponseCode::PULL_OFFSET_MOVED),
                "2" => pulled(4).with_code(ResponseCode::PULL_RETRY_IMMEDIATELY),
                "4" => pulled(6).with_body([record(4), record(5)].concat()),
                "6" => pulled(7).with_body(record(6)),
                _ => pulled(7).with_code(ResponseCode::PULL_NOT_FOUND),
            }
        })
        .await;
        let mut offsets = Vec::new();
        while offsets.len() < 3 {
            offsets.extend(consumer.next().await.unwrap().iter().map(|message| message.queue_offset));
        }
        assert_eq!(offsets, [4, 5, 6]);
        assert_eq!(asked.lock()[..4], ["5", "2", "4", "6"]);
    }

    #[tokio::test]
    async fn commit_names_the_message_after_the_last_one_handed_out() {
        let committed = Arc::new(Mutex::new(Vec::new()));
        let seen = committed.clone();
        let mut consumer = consumer(move |request| match protocol::codes::RequestCode(request.code) {
            RequestCode::QUERY_CONSUMER_OFFSET => Answer::refuse(ResponseCode::QUERY_NOT_FOUND, "none"),
            RequestCode::GET_MIN_OFFSET => Answer::fields(&[("offset", "3")]),
            RequestCode::UPDATE_CONSUMER_OFFSET => {
                seen.lock().push(request.field("commitOffset").unwrap_or_default().to_owned());
                Answer::fields(&[])
            }
            _ if request.field("queueOffset") == Some("3") => pulled(4).with_body(record(3)),
            _ => pulled(4).with_code(ResponseCode::PULL_NOT_FOUND),
        })
        .await;
        assert_eq!(consumer.next().await.unwrap().len(), 1);
        consumer.commit().await.unwrap();
        consumer.commit().await.unwrap();
        assert_eq!(*committed.lock(), ["4"]);
    }

    #[tokio::test]
    async fn a_refusal_is_reported_and_the_queue_tried_again() {
        tokio::time::pause();
        let refused = Arc::new(Mutex::new(false));
        let mut consumer = consumer(move |request| {
            let first = !std::mem::replace(&mut *refused.lock(), true);
            match protocol::codes::RequestCode(request.code) {
                _ if first => Answer::refuse(ResponseCode::NO_PERMISSION, "the broker is not readable"),
                RequestCode::QUERY_CONSUMER_OFFSET => Answer::fields(&[("offset", "0")]),
                _ => pulled(1).with_body(record(0)),
            }
        })
        .await;
        let error = consumer.next().await.unwrap_err().to_string();
        assert!(error.starts_with("consume topic T, queue 0 of a: "), "{error}");
        assert!(error.ends_with("16 NO_PERMISSION, the broker is not readable"), "{error}");
        assert_eq!(consumer.next().await.unwrap()[0].queue_offset, 0);
    }
}
