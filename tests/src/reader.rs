//! A consumer that finds its broker as official clients do where there are slaves: by the route, at the member that the
//! last answer suggested, at another one when that is not in the route. It notes every delivery.

use std::collections::BTreeMap;
use std::io::{Error, Result};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::bodies::route::{MASTER_ID, TopicRouteData};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::json::JsonBody;
use protocol::requests::Fields;

use crate::consumer::{committed, tell_offset};
use crate::ledger::{Place, messages, pull};
use crate::talk::Talk;

/// A consumer group of one.
#[derive(Debug)]
pub struct Reader {
    group: &'static str,
    topic: &'static str,
    queues: i32,
    name_server: String,
    /// How often each message was delivered.
    delivered: Mutex<BTreeMap<Place, usize>>,
    /// Where the next message of each queue is expected; what a client loses when its process ends.
    next: Mutex<BTreeMap<i32, i64>>,
    /// Deliveries by the broker id that gave them.
    by_broker: Mutex<BTreeMap<i64, usize>>,
}

impl Reader {
    /// A consumer that has read nothing yet.
    pub fn new(group: &'static str, topic: &'static str, queues: i32, name_server: String) -> Reader {
        let (delivered, next, by_broker) = Default::default();
        Reader { group, topic, queues, name_server, delivered, next, by_broker }
    }

    /// Returns how many different messages were delivered.
    pub fn seen(&self) -> usize {
        lock(&self.delivered).len()
    }

    /// Returns how many deliveries there were beyond the first of each message.
    pub fn repeated(&self) -> usize {
        lock(&self.delivered).values().map(|times| times - 1).sum()
    }

    /// Returns how many deliveries a member made.
    pub fn from_broker(&self, id: i64) -> usize {
        lock(&self.by_broker).get(&id).copied().unwrap_or(0)
    }

    /// Forgets where it was, as a process that is started anew: it begins at what is committed.
    pub fn forget(&self) {
        lock(&self.next).clear();
    }

    /// Reads until it has seen `enough` messages or is told to stop, through the loss of any member; commits after every
    /// `batches` batches.
    ///
    /// # Panics
    /// When a queue skips a message.
    pub fn keep_reading(&self, batches: usize, enough: usize, stop: &AtomicBool) {
        let done = || stop.load(Ordering::Relaxed) || self.seen() >= enough;
        while !done() {
            // A member that is lost is what this is about: the next round asks for the route again.
            if self.read(batches, &done).is_err() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Commits everything it has read, and waits until the member it told knows.
    ///
    /// # Errors
    /// No member takes it.
    pub fn commit(&self) -> Result<()> {
        let mut talk = Members::find(&self.name_server, self.topic)?.talk(MASTER_ID)?.1;
        let next = lock(&self.next).clone();
        for (queue, offset) in next {
            tell_offset(&mut talk, self.group, self.topic, queue, offset)?;
            while committed(&mut talk, self.group, self.topic, queue)? != Some(offset) {}
        }
        Ok(())
    }

    fn read(&self, batches: usize, done: &impl Fn() -> bool) -> Result<()> {
        let members = Members::find(&self.name_server, self.topic)?;
        // Offsets are the master's business as long as there is one in the route.
        let (_, mut offsets) = members.talk(MASTER_ID)?;
        let (mut id, mut talk) = members.talk(MASTER_ID)?;
        let mut since_commit = 0;
        while !done() {
            for queue in 0..self.queues {
                let next = self.next_of(queue, &mut offsets)?;
                let answer = pull(&mut talk, self.group, self.topic, queue, next, 20)?;
                let suggested = answer.field("suggestWhichBrokerId").parse().unwrap_or(MASTER_ID);
                if answer.code == ResponseCode::SUCCESS {
                    self.note(queue, next, &answer.body, id);
                    since_commit += 1;
                } else if answer.code != ResponseCode::PULL_NOT_FOUND
                    && answer.code != ResponseCode::PULL_RETRY_IMMEDIATELY
                {
                    return Err(Error::other(format!("{:?} at {next}: {}", answer.code, answer.remark)));
                }
                if suggested != id && members.0.contains_key(&suggested) {
                    (id, talk) = members.talk(suggested)?;
                }
            }
            if since_commit >= batches {
                since_commit = 0;
                let next = lock(&self.next).clone();
                for (queue, offset) in next {
                    tell_offset(&mut offsets, self.group, self.topic, queue, offset)?;
                }
            }
        }
        Ok(())
    }

    fn next_of(&self, queue: i32, offsets: &mut Talk) -> Result<i64> {
        if let Some(next) = lock(&self.next).get(&queue) {
            return Ok(*next);
        }
        let next = committed(offsets, self.group, self.topic, queue)?.unwrap_or(0);
        lock(&self.next).insert(queue, next);
        Ok(next)
    }

    fn note(&self, queue: i32, mut next: i64, body: &[u8], from: i64) {
        for (offset, _) in messages(body) {
            assert_eq!(offset, next, "queue {queue} skips a message");
            *lock(&self.delivered).entry((queue, offset)).or_default() += 1;
            *lock(&self.by_broker).entry(from).or_default() += 1;
            next += 1;
        }
        lock(&self.next).insert(queue, next);
    }
}

/// The members of the one group that has a topic: broker id and address.
struct Members(BTreeMap<i64, String>);

impl Members {
    fn find(name_server: &str, topic: &str) -> Result<Members> {
        let mut talk = Talk::connect(name_server)?;
        let answer = talk.call(RequestCode::GET_ROUTEINFO_BY_TOPIC, &Fields(&[("topic", topic)]), b"")?;
        if answer.code != ResponseCode::SUCCESS {
            return Err(Error::other(answer.remark));
        }
        let route = TopicRouteData::decode(&answer.body).map_err(Error::other)?;
        let group = route.broker_datas.into_iter().next();
        group.map(|group| Members(group.broker_addrs)).ok_or_else(|| Error::other("an empty route"))
    }

    /// Connects to a member, to another one when it is not in the route.
    fn talk(&self, wanted: i64) -> Result<(i64, Talk)> {
        let found = self.0.get_key_value(&wanted).or_else(|| self.0.iter().next());
        let (id, addr) = found.ok_or_else(|| Error::other("no member in the route"))?;
        Ok((*id, Talk::connect(addr)?))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
