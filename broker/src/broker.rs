//! What all connections of a broker share.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use daemon::metrics::RequestMetrics;
use parking_lot::Mutex;
use protocol::bodies::subscription_group::SubscriptionGroupConfig;
use protocol::bodies::topic_config::TopicConfig;
use protocol::codes::ResponseCode;
use protocol::frame::Prepared;
use protocol::names;
use replication::Leader;
use store::{Queue, Store};
use tokio::sync::Notify;
use tracing::info;

use crate::clients::Clients;
use crate::config::Config;
use crate::groups::{self, Groups};
use crate::identity::Identity;
use crate::joins::Joins;
use crate::live::{Change, ChangeError, Live, LiveSettings};
use crate::locks::QueueLocks;
use crate::metadata::Change as MetadataChange;
use crate::metadata::log::MetadataLog;
use crate::offsets::{self, Offsets};
use crate::persist::{self, LoadError};
use crate::rates::Rates;
use crate::refusal::Refusal;
use crate::slave::SlaveLink;
use crate::slave::taken::Taken;
use crate::topics::{self, Topics};
use crate::waiting::Waiting;

/// Topics from which on clients make none any more: all of them must fit the frame that registers a broker.
const MAX_AUTOMATIC_TOPICS: usize = 50_000;
/// Groups from which on clients make none any more: all of them must fit the answer that lists them.
const MAX_AUTOMATIC_GROUPS: usize = 20_000;

/// A broker.
pub struct Broker {
    /// Its settings.
    pub config: Config,
    /// Those of them that change while it runs, as they are now.
    pub live: Live,
    /// Whose messages its folder holds: its own.
    pub identity: Identity,
    /// Its messages.
    pub store: Arc<Store>,
    /// A master's side of the stream to slaves.
    pub leader: Option<Arc<Leader>>,
    /// Which slaves a master has refused.
    pub joins: Joins,
    /// Its topics.
    pub topics: Topics,
    /// Its subscription groups.
    pub groups: Groups,
    /// How far groups have consumed.
    pub offsets: Offsets,
    /// Tells slaves of changes of the three, in the log.
    pub metadata: MetadataLog,
    /// Who is connected.
    pub clients: Clients,
    /// Queues held for ordered consumption.
    pub locks: QueueLocks,
    /// Pulls that wait for messages.
    pub waiting: Waiting,
    /// The link to its master, if it is a slave.
    pub slave: Option<Arc<SlaveLink>>,
    /// The address it began with; see [`Broker::address`].
    own_address: SocketAddr,
    /// The name servers that know it: of those of the live settings, each that has taken its last registration.
    pub registered_at: Mutex<BTreeSet<String>>,
    /// Entries added to the properties of every message.
    pub more_properties: String,
    /// Fields that every answer to a send has.
    pub send_reply: Prepared,
    /// Counters of requests.
    pub requests: RequestMetrics,
    /// Notified when the name servers must hear of a change.
    pub changed: Notify,
    /// Sends stored and not acknowledged yet, because slaves must have them.
    pub waiting_for_slaves: AtomicUsize,
    /// How many messages come and go.
    pub rates: Rates,
    /// When it started, ms since 1970.
    pub boot_ms: i64,
    stopping: AtomicBool,
}

impl Broker {
    /// Makes a broker of an open store and the tables in its folder. `address` is where clients reach it unless
    /// `brokerIP1` says otherwise.
    pub fn new(
        config: Config,
        store: Arc<Store>,
        address: SocketAddr,
        requests: RequestMetrics,
    ) -> Result<Broker, LoadError> {
        let folder = config.store_dir.join("config");
        std::fs::create_dir_all(&folder)
            .and_then(|()| persist::sync_folder(&folder))
            .map_err(|source| LoadError::Io { path: folder.clone(), source })?;
        let system = topics::system_topics(&config.cluster, &config.name, config.default_queues);
        Ok(Broker {
            topics: Topics::load(&folder, system, now_ms())?,
            groups: Groups::load(&folder, now_ms())?,
            offsets: Offsets::load(&folder, now_ms())?,
            metadata: MetadataLog::new(store.clone(), address),
            clients: Clients::default(),
            locks: QueueLocks::default(),
            waiting: Waiting::new(config.max_parked_pulls),
            more_properties: format!("{}\u{1}{}\u{2}", protocol::properties::names::CLUSTER, config.cluster),
            send_reply: Prepared::new(&[("MSG_REGION", &config.region), ("TRACE_ON", "true")]),
            live: Live::new(config.live.clone(), config.write_grace, now_ms()),
            leader: (!config.live.is_slave()).then(|| Leader::new(store.clone(), config.leader())),
            joins: Joins::default(),
            slave: match config.live.is_slave() {
                true => Some(SlaveLink::new(Taken::load(&folder)?)),
                false => None,
            },
            identity: Identity::open(&config)?,
            store,
            own_address: address,
            registered_at: Mutex::default(),
            requests,
            changed: Notify::new(),
            waiting_for_slaves: AtomicUsize::new(0),
            rates: Rates::default(),
            boot_ms: now_ms(),
            stopping: AtomicBool::new(false),
            config,
        })
    }

    /// Says whether a consumer group tells its members of changes.
    pub fn notifies(&self, group: &str) -> bool {
        self.groups.get(group).is_none_or(|g| g.notify_consumer_ids_changed_enable)
    }

    /// Makes or changes a topic and lets the name servers and slaves know. Durable on return.
    pub fn put_topic(&self, topic: TopicConfig) -> Result<(), Refusal> {
        let make = |changes: &mut Vec<MetadataChange>| {
            if self.topics.put(topic.clone(), now_ms())? {
                changes.push(MetadataChange::PutTopic(topic));
            }
            Ok(())
        };
        blocking(|| self.metadata.change(make)).map_err(Refusal::failed)?;
        self.changed.notify_one();
        Ok(())
    }

    /// Makes a topic that a client needs unless it exists. Durable on return.
    pub fn put_topic_if_absent(&self, topic: TopicConfig) -> Result<Arc<TopicConfig>, Refusal> {
        let name = &topic.topic_name;
        if self.slave.is_some() {
            return Err(Refusal::tables_of_a_slave());
        }
        if name == names::METADATA_TOPIC {
            let remark = format!("Sending message to topic[{name}] is forbidden.");
            return Err(Refusal::new(ResponseCode::NO_PERMISSION, remark));
        }
        if self.topics.len() >= MAX_AUTOMATIC_TOPICS {
            return Err(Refusal::failed(format!(
                "topic[{name}] not made: this broker has {MAX_AUTOMATIC_TOPICS} topics, more are made by an administrator only"
            )));
        }
        let make = |changes: &mut Vec<MetadataChange>| {
            let (topic, made) = self.topics.put_if_absent(topic, now_ms())?;
            if made {
                changes.push(MetadataChange::PutTopic((*topic).clone()));
            }
            Ok(topic)
        };
        let made = blocking(|| self.metadata.change(make)).map_err(Refusal::failed)?;
        self.changed.notify_one();
        Ok(made)
    }

    /// Deletes a topic with its messages and the offsets on it. Durable on return.
    pub fn delete_topic(&self, topic: &str) -> Result<(), Refusal> {
        let mut queues = Vec::new();
        let make = |changes: &mut Vec<MetadataChange>| {
            let old = self.topics.get(topic);
            let removed = self.topics.remove(topic, now_ms(), || {
                queues = self.queues_of(topic);
                self.store.delete_topic(topic)?;
                let end = self.store.dropped().get(topic).copied().unwrap_or_else(|| self.store.written());
                changes.push(MetadataChange::DeleteTopic { topic: topic.to_owned(), end });
                Ok(())
            });
            if removed.is_err() && !changes.is_empty() {
                // Its messages are gone, the topic is not.
                changes.extend(old.map(|old| MetadataChange::PutTopic((*old).clone())));
            }
            if removed.is_ok() || !changes.is_empty() {
                // Before slaves are told, so that no offset of the old topic comes behind its end.
                self.offsets.remove_topic(topic);
            }
            removed
        };
        let removed = blocking(|| self.metadata.change(make));
        queues.iter().for_each(|queue| self.waiting.wake_all(queue));
        removed.map_err(Refusal::failed)?;
        // A commit that was under way when the topic went.
        self.offsets.remove_topic(topic);
        self.changed.notify_one();
        // A new topic of the name begins at 0; an old offset would skip what it gets first.
        blocking(|| self.offsets.persist(now_ms())).map_err(Refusal::failed)
    }

    /// Returns the queues of a topic that have, or had, messages.
    pub fn queues_of(&self, topic: &str) -> Vec<Arc<Queue>> {
        let topics = self.store.topics();
        let ids = 0..topics.iter().find(|(t, _)| &**t == topic).map_or(0, |(_, last)| last + 1);
        ids.filter_map(|id| self.store.queue(topic, id)).collect()
    }

    /// Returns a consumer group, made with the defaults if that is allowed; `None` if there is none and may be none.
    pub fn group_or_create(&self, group: &str) -> Result<Option<Arc<SubscriptionGroupConfig>>, Refusal> {
        if let Some(known) = self.groups.get(group) {
            return Ok(Some(known));
        }
        if !self.live.load().auto_create_groups || groups::check_name(group).is_err() {
            return Ok(None);
        }
        if self.slave.is_some() {
            // Its master makes it, and has a slave take it over; reads go on meanwhile.
            return Ok(Some(Arc::new(groups::new_group(group))));
        }
        if self.groups.len() >= MAX_AUTOMATIC_GROUPS {
            return Err(Refusal::failed(format!(
                "group[{group}] not made: this broker has {MAX_AUTOMATIC_GROUPS} groups, more are made by an administrator only"
            )));
        }
        let make = |changes: &mut Vec<MetadataChange>| {
            let (group, made) = self.groups.get_or_create(group, now_ms())?;
            if made {
                changes.push(MetadataChange::PutGroup((*group).clone()));
            }
            Ok(group)
        };
        // On a full disk reads go on: the group has the defaults and is made when there is space.
        Ok(Some(blocking(|| self.metadata.change(make)).unwrap_or_else(|e| {
            tracing::debug!(group, "group not made yet: {e}");
            Arc::new(groups::new_group(group))
        })))
    }

    /// Makes or changes a group. Durable on return.
    pub fn put_group(&self, group: SubscriptionGroupConfig) -> Result<(), Refusal> {
        let make = |changes: &mut Vec<MetadataChange>| {
            if self.groups.put(group.clone(), now_ms())? {
                changes.push(MetadataChange::PutGroup(group));
            }
            Ok(())
        };
        blocking(|| self.metadata.change(make)).map_err(Refusal::failed)
    }

    /// Deletes a group, with its offsets if that is asked for. Durable on return.
    pub fn delete_group(&self, group: &str, offsets: OffsetsToo) -> Result<(), Refusal> {
        let clean_offset = offsets == OffsetsToo::Yes;
        let make = |changes: &mut Vec<MetadataChange>| {
            if self.groups.remove(group, now_ms())? || clean_offset {
                changes.push(MetadataChange::DeleteGroup { group: group.to_owned(), clean_offset });
            }
            if clean_offset {
                self.offsets.remove_group(group);
            }
            Ok(())
        };
        blocking(|| self.metadata.change(make)).map_err(Refusal::failed)?;
        match clean_offset {
            true => blocking(|| self.offsets.persist(now_ms())).map_err(Refusal::failed),
            false => Ok(()),
        }
    }

    /// Takes over what a client commits. Durable and known to slaves a little later; see [`Broker::tell_offsets`].
    pub fn commit_offset(&self, group: &str, topic: &str, queue: i32, offset: i64) -> Result<(), Refusal> {
        let commit = || self.offsets.set(group, topic, queue, offset);
        match &self.slave {
            None => commit(),
            Some(link) if link.taken.set(offsets::key(topic, group), queue, offset, commit) => {}
            Some(_) => {
                return Err(Refusal::failed("this slave keeps too many offsets for its master already"));
            }
        }
        Ok(())
    }

    /// Tells slaves of all offsets committed so far, before whoever waits for it is answered. On a full disk they are
    /// told later.
    pub fn tell_offsets(&self) {
        if self.metadata.is_on()
            && let Err(e) = blocking(|| self.metadata.tell_offsets(&self.offsets))
        {
            tracing::debug!("slaves not told of offsets yet: {e}");
        }
    }

    /// Writes the offsets that have changed. Durable on return.
    pub fn persist_offsets(&self) -> io::Result<()> {
        // First, so that what a client has moved further here is never forgotten before it is known to be its doing.
        self.slave.as_ref().map_or(Ok(()), |link| link.taken.persist())?;
        self.offsets.persist(now_ms())
    }

    /// Returns the address clients know it by, part of every offset id. It changes with `brokerIP1`.
    pub fn address(&self) -> SocketAddr {
        let ip = self.live.load().advertised_ip.unwrap_or(self.own_address.ip());
        SocketAddr::new(ip, self.own_address.port())
    }

    /// Changes live settings, all that are wanted or none, and returns what is different now. The change ends with the
    /// process.
    pub fn change_settings(&self, wanted: &[(String, String)]) -> Result<Vec<Change>, ChangeError> {
        let apply = |settings: &LiveSettings| self.apply(settings);
        let changes = self.live.change(&self.config, wanted, now_ms(), apply)?;
        self.on_changes(&changes);
        Ok(changes)
    }

    /// Takes over live settings as a whole, and returns what is different now.
    pub fn take_settings(&self, settings: LiveSettings) -> Result<Vec<Change>, ChangeError> {
        let changes = self.live.replace(settings, now_ms(), |settings| self.apply(settings))?;
        self.on_changes(&changes);
        Ok(changes)
    }

    /// Tells those who keep a copy of their own.
    fn apply(&self, settings: &LiveSettings) {
        if let Some(leader) = &self.leader {
            leader.set_required_acks(settings.required_acks());
            leader.set_catch_up_bytes_per_second(settings.catch_up_bytes_per_second);
            leader.set_max_lag(settings.max_slave_lag);
        }
        self.store.set_flush_interval(settings.flush_interval);
        self.store.set_retention(settings.retention(&self.config.delete_when));
        if let Err(e) = daemon::logs::set_level(&settings.log_level) {
            tracing::warn!("the log level stays: {e}");
        }
    }

    fn on_changes(&self, changes: &[Change]) {
        const TOLD: [&str; 4] = ["brokerPermission", "namesrvAddr", "brokerIP1", "listeners"];
        for change in changes {
            info!(key = change.key, before = change.before, now = change.now, "setting changed");
        }
        if changes.iter().any(|change| TOLD.contains(&change.key)) {
            self.changed.notify_one();
        }
    }

    /// From now on sends and pulls are refused, with a code that sends clients elsewhere.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Says whether [`Broker::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// Whether a group's offsets go with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetsToo {
    /// They do.
    Yes,
    /// They stay.
    No,
}

/// The wall clock, ms since 1970.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// Runs something that may wait for the disk, without holding up the other connections of this thread.
pub fn blocking<T>(f: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(f)
}
