//! Slaves and their masters: what reaches a slave, in which order, what goes back, and who may not join whom.
#![allow(clippy::unwrap_used)]

#[path = "support/member.rs"]
mod member;
mod support;

use std::fs;

use member::{Member, SLAVE};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::names::{METADATA_GROUP, METADATA_TOPIC};
use support::follower::Follower;
use support::*;

fn dirs() -> (tempfile::TempDir, tempfile::TempDir) {
    (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap())
}

fn commit_fields<'a>(group: &'a str, topic: &'a str, offset: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("consumerGroup", group), ("topic", topic), ("queueId", "0"), ("commitOffset", offset)]
}

async fn commit(wire: &mut Wire, group: &str, topic: &str, offset: &str) {
    let fields = commit_fields(group, topic, offset);
    let answer = wire.call(RequestCode::UPDATE_CONSUMER_OFFSET, &fields, b"").await;
    assert_eq!(answer.code, ResponseCode::SUCCESS, "{answer:?}");
}

async fn put_group(wire: &mut Wire, group: &str, retries: i32) {
    let body = format!(r#"{{"groupName":"{group}","retryMaxTimes":{retries}}}"#);
    let code = RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP;
    assert_eq!(wire.call(code, &[], body.as_bytes()).await.code, ResponseCode::SUCCESS);
}

async fn delete_topic(wire: &mut Wire, topic: &str) {
    let answer = wire.call(RequestCode::DELETE_TOPIC_IN_BROKER, &[("topic", topic)], b"").await;
    assert_eq!(answer.code, ResponseCode::SUCCESS, "{answer:?}");
}

/// Sends a message and waits until the slave has it.
async fn message_reaches(slave: &Member, master: &Member, wire: &mut Wire, topic: &str, body: &str) {
    assert_eq!(wire.put(topic, body, "").await.code, ResponseCode::SUCCESS);
    slave.has_log_up_to(master.broker.store.written()).await;
}

fn max_offset(member: &Member, topic: &str) -> u64 {
    member.broker.store.queue(topic, 0).map_or(0, |q| q.bounds().1)
}

/// All of a member's log from `begin` on, as the disk has it.
fn log_bytes(member: &Member, begin: u64) -> Vec<u8> {
    let folder = member.dir.join("commitlog");
    let mut names: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names.retain(|name| name.parse::<u64>().unwrap() >= begin);
    let mut bytes: Vec<u8> = names.iter().flat_map(|name| fs::read(folder.join(name)).unwrap()).collect();
    bytes.truncate((member.broker.store.written() - begin) as usize);
    bytes
}

fn same_log(one: &Member, other: &Member, begin: u64) {
    let (a, b) = (log_bytes(one, begin), log_bytes(other, begin));
    let differs = a.iter().zip(&b).position(|(a, b)| a != b);
    assert_eq!((a.len(), differs), (b.len(), None));
}

fn same_tables(one: &Member, other: &Member) {
    assert_eq!(one.broker.topics.all().0, other.broker.topics.all().0);
    assert_eq!(one.broker.groups.all().0, other.broker.groups.all().0);
    let offsets = |m: &Member| {
        let mut all = m.broker.offsets.all().0;
        all.remove(&format!("{METADATA_TOPIC}@{METADATA_GROUP}"));
        all
    };
    assert_eq!(offsets(one), offsets(other));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_has_what_was_before_it_and_what_comes_after() {
    let (m, s) = dirs();
    let master = Member::start(m.path(), &[]).await;
    let mut wire = master.connect().await;
    wire.make_topic("Before", "3", "6").await;
    put_group(&mut wire, "GBefore", 3).await;
    wire.put("T", "one", "").await;
    commit(&mut wire, "GBefore", "T", "1").await;
    assert!(master.broker.store.queue(METADATA_TOPIC, 0).is_none(), "nobody reads changes, none are written");

    let slave = Member::follow(s.path(), &[], &master).await;
    slave.level_with(&master).await;
    same_tables(&master, &slave);
    let state = slave.link().state();
    assert!(state.connected && slave.link().master_is_alive());

    wire.make_topic("After", "2", "6").await;
    wire.make_topic("Before", "5", "6").await;
    put_group(&mut wire, "GAfter", 4).await;
    put_group(&mut wire, "GBefore", 5).await;
    wire.call(
        RequestCode::DELETE_SUBSCRIPTIONGROUP,
        &[("groupName", "GBefore"), ("cleanOffset", "true")],
        b"",
    )
    .await;
    commit(&mut wire, "GAfter", "T", "1").await;
    message_reaches(&slave, &master, &mut wire, "T", "two").await;
    same_tables(&master, &slave);
    assert_eq!(slave.broker.topics.get("Before").unwrap().read_queue_nums, 5);
    assert_eq!(slave.broker.offsets.get("GAfter", "T", 0), Some(1));
    assert_eq!(slave.broker.offsets.get("GBefore", "T", 0), None);

    // One-way commits are told a little later, all together.
    for (queue, offset) in [(0, 2), (1, 3)] {
        master.broker.commit_offset("GAfter", "T", queue, offset).unwrap();
    }
    master.broker.tell_offsets();
    slave.level_with(&master).await;
    same_tables(&master, &slave);

    let mut reader = slave.connect().await;
    let pulled = reader.pull("T", "0", "*", "0").await;
    assert_eq!(pulled.messages(), [(0, "one".to_owned()), (1, "two".to_owned())]);
    same_log(&master, &slave, 0);
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_that_has_a_message_knows_every_change_before_it() {
    let (m, s) = dirs();
    let master = Member::start(m.path(), &[]).await;
    let slave = Member::follow(s.path(), &[], &master).await;
    slave.link_until("connected", |m| m.link().state().connected).await;
    let makers = (0..4).map(|maker| {
        let (addr, slave) = (master.addr, slave.broker.clone());
        tokio::spawn(async move {
            let mut wire = Wire::connect(addr, protocol::header::Serialization::Json).await;
            for n in 0..12 {
                let (topic, group) = (format!("T-{maker}-{n}"), format!("G-{maker}-{n}"));
                // Every second topic is made by its first message.
                if n % 2 == 0 {
                    wire.make_topic(&topic, "1", "6").await;
                }
                put_group(&mut wire, &group, n).await;
                // All fight over this one too.
                wire.make_topic("Shared", &(1 + n * 4 + maker).to_string(), "6").await;
                let physical = {
                    let sent = wire.put(&topic, "x", "").await;
                    assert_eq!(sent.code, ResponseCode::SUCCESS, "{sent:?}");
                    sent.field("msgId").to_owned()
                };
                soon("the slave has the message", async {
                    loop {
                        let appended = slave.store.appended().notified();
                        if slave.store.queue(&topic, 0).is_some_and(|q| q.bounds().1 > 0) {
                            break;
                        }
                        appended.await;
                    }
                })
                .await;
                let known = (slave.topics.get(&topic).is_some(), slave.groups.get(&group).is_some());
                assert_eq!(known, (true, true), "{topic} {group} {physical}");
            }
        })
    });
    for maker in makers.collect::<Vec<_>>() {
        soon("all changes are made", maker).await.unwrap();
    }
    slave.level_with(&master).await;
    same_tables(&master, &slave);
    assert_eq!(slave.link().joins(), 1, "nothing broke meanwhile");
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_anew_is_new_on_a_slave_that_watched_and_on_one_that_was_away() {
    let (m, s) = dirs();
    let master = Member::start(m.path(), &[]).await;
    let slave = Member::follow(s.path(), &[], &master).await;
    let mut wire = master.connect().await;
    wire.put("T", "old", "").await;
    commit(&mut wire, "G", "T", "1").await;
    slave.level_with(&master).await;

    delete_topic(&mut wire, "T").await;
    message_reaches(&slave, &master, &mut wire, "Other", "x").await;
    assert!(slave.broker.topics.get("T").is_none() && slave.broker.offsets.get("G", "T", 0).is_none());
    assert_eq!(max_offset(&slave, "T"), 0);
    message_reaches(&slave, &master, &mut wire, "T", "new").await;
    let mut reader = slave.connect().await;
    assert_eq!(reader.pull("T", "0", "*", "0").await.messages(), [(0, "new".to_owned())]);

    // The same while the slave is away.
    wire.put("T", "newer", "").await;
    wire.make_topic("Gone", "1", "6").await;
    message_reaches(&slave, &master, &mut wire, "Gone", "x").await;
    slave.stop().await;
    delete_topic(&mut wire, "T").await;
    delete_topic(&mut wire, "Gone").await;
    wire.put("T", "newest", "").await;
    let slave = Member::follow(s.path(), &[], &master).await;
    slave.level_with(&master).await;
    same_tables(&master, &slave);
    let mut reader = slave.connect().await;
    assert_eq!(reader.pull("T", "0", "*", "0").await.messages(), [(0, "newest".to_owned())]);
    assert_eq!(max_offset(&slave, "Gone"), 0);
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_waits_on_a_slave_hears_of_the_message_and_of_the_topics_end() {
    let (m, s) = dirs();
    let master = Member::start(m.path(), &[]).await;
    let slave = Member::follow(s.path(), &[], &master).await;
    let mut wire = master.connect().await;
    wire.make_topic("T", "1", "6").await;
    wire.put("T", "first", "").await;
    slave.level_with(&master).await;
    // A client without a way to the master comes back at once and is served then.
    let mut reader = slave.connect().await;
    reader.pull("T", "1", "*", "60000").await;
    let waiting = reader.send(RequestCode::PULL_MESSAGE, &pull_fields("T", "1", "*", "60000"), b"").await;
    until("the pull waits", || slave.broker.waiting.parked() == 1).await;
    wire.put("T", "second", "").await;
    let answer = reader.answer().await;
    assert_eq!((answer.opaque, answer.messages()), (waiting, vec![(1, "second".to_owned())]));
    reader.pull("T", "2", "*", "60000").await;
    reader.send(RequestCode::PULL_MESSAGE, &pull_fields("T", "2", "*", "60000"), b"").await;
    until("the pull waits", || slave.broker.waiting.parked() == 1).await;
    delete_topic(&mut wire, "T").await;
    assert_eq!(reader.answer().await.code, ResponseCode::TOPIC_NOT_EXIST);
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_committed_on_a_slave_while_its_master_is_away_reach_the_master() {
    let (m, s) = dirs();
    let master = Member::start(m.path(), &[]).await;
    let slave = Member::follow(s.path(), &[], &master).await;
    let mut wire = master.connect().await;
    for topic in ["T", "U", "V"] {
        wire.put(topic, "x", "").await;
        commit(&mut wire, "G", topic, "5").await;
    }
    slave.level_with(&master).await;
    until("the offsets came", || slave.broker.offsets.get("G", "V", 0) == Some(5)).await;
    master.stop().await;
    slave.link_until("the master is gone", |m| !m.link().state().connected).await;

    let mut reader = slave.connect().await;
    commit(&mut reader, "G", "T", "8").await;
    commit(&mut reader, "G", "U", "3").await;
    let offset = reader.call(RequestCode::QUERY_CONSUMER_OFFSET, &commit_fields("G", "T", "0"), b"").await;
    assert_eq!(offset.field("offset"), "8", "a slave answers as its master would");
    // A slave that is restarted meanwhile remembers whose doing an offset was.
    slave.stop().await;
    let slave = Member::start(s.path(), &SLAVE).await;
    let master = Member::start(m.path(), &[]).await;
    slave.told(master.addr, master.ha);
    slave.level_with(&master).await;
    let offset = |m: &Member, topic: &str| m.broker.offsets.get("G", topic, 0);
    assert_eq!(["T", "U", "V"].map(|t| offset(&master, t)), [Some(8), Some(5), Some(5)]);
    assert_eq!(["T", "U", "V"].map(|t| offset(&slave, t)), [Some(8), Some(5), Some(5)]);
    assert!(slave.link().taken.is_empty());
    // From here on the master's word counts again.
    let mut wire = master.connect().await;
    commit(&mut wire, "G", "T", "2").await;
    slave.has_log_up_to(master.broker.store.written()).await;
    until("the offset went back", || offset(&slave, "T") == Some(2)).await;
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_of_a_deleted_topic_does_not_reach_the_one_made_anew() {
    let (m, s) = dirs();
    let master = Member::start(m.path(), &[]).await;
    let slave = Member::follow(s.path(), &[], &master).await;
    let mut wire = master.connect().await;
    for topic in ["T", "U"] {
        wire.put(topic, "old", "").await;
        commit(&mut wire, "G", topic, "1").await;
    }
    commit(&mut wire, "H", "T", "1").await;
    slave.level_with(&master).await;
    master.stop().await;
    slave.link_until("the master is gone", |m| !m.link().state().connected).await;
    let mut reader = slave.connect().await;
    for (group, topic) in [("G", "T"), ("G", "U"), ("H", "T")] {
        commit(&mut reader, group, topic, "8").await;
    }
    // The master is back, and its tables have changed before its slave is.
    let master = Member::start(m.path(), &[]).await;
    let mut wire = master.connect().await;
    delete_topic(&mut wire, "T").await;
    wire.put("T", "new", "").await;
    slave.told(master.addr, master.ha);
    slave.level_with(&master).await;
    let offset = |m: &Member, topic: &str| m.broker.offsets.get("G", topic, 0);
    assert_eq!(
        ["T", "U"].map(|t| offset(&master, t)),
        [None, Some(8)],
        "it would skip messages of the new one"
    );
    assert_eq!(["T", "U"].map(|t| offset(&slave, t)), [None, Some(8)]);
    assert!(slave.link().taken.is_empty());
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_that_finds_all_places_taken_does_not_hammer_its_master() {
    let (m, s) = dirs();
    let master = Member::start(m.path(), &[("maxHaConnections", "1")]).await;
    let _other = Follower::connect(master.ha, 0).await;
    until("the place is taken", || master.broker.leader.as_ref().unwrap().followers().len() == 1).await;
    let slave = Member::follow(s.path(), &[], &master).await;
    slave.link_until("it is a trouble", |m| m.link().refusals() > 0).await;
    assert_eq!(slave.link().joins(), 2, "once by chance, twice is a trouble");
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_of_another_group_is_refused_and_both_sides_say_who_they_are() {
    let (m, s) = dirs();
    let master = Member::start(m.path(), &[]).await;
    let foreign = [("brokerClusterName", "C2"), ("brokerName", "b2"), ("brokerId", "2")];
    let slave = Member::follow(s.path(), &foreign, &master).await;
    slave.link_until("refused", |m| m.link().refusals() > 0).await;
    let why = slave.link().readiness().unwrap_err();
    for part in ["cluster C2, group b2 (member 2)", "cluster C, group b (member 0)", "haMasterAddress"] {
        assert!(why.contains(part), "{part}: {why}");
    }
    assert_eq!((slave.link().joins(), slave.broker.store.written()), (0, 0));
    assert!(!master.broker.metadata.is_on(), "who is refused switches nothing on");
    // What the master itself says.
    let fields = [("clusterName", "C2"), ("brokerName", "b2"), ("brokerId", "2"), ("storeId", "x")];
    let answer = master.connect().await.call(RequestCode::EXCHANGE_BROKER_HA_INFO, &fields, b"").await;
    assert_eq!(answer.code, ResponseCode::NO_PERMISSION);
    assert!(
        answer.remark.contains(
            "the slave is cluster C2, group b2 (member 2), the master cluster C, group b (member 0)"
        )
    );
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_that_has_more_or_other_data_than_its_master_does_not_follow() {
    let (m, s) = dirs();
    let master = Member::start(m.path(), &[]).await;
    let slave = Member::follow(s.path(), &[], &master).await;
    let mut wire = master.connect().await;
    wire.put("T", "one", "").await;
    wire.put("T", "two", "").await;
    slave.level_with(&master).await;
    let end = slave.broker.store.written();
    slave.stop().await;
    master.stop().await;

    // The master's disk was lost, and it comes back with less, then with as much but something else.
    let empty = tempfile::tempdir().unwrap();
    let master = Member::start(empty.path(), &[]).await;
    let slave = Member::follow(s.path(), &[], &master).await;
    slave.link_until("refused", |m| m.link().refusals() > 0).await;
    let why = slave.link().readiness().unwrap_err();
    assert!(why.contains(&format!("0 to {end}")) && why.contains(&format!("{end} bytes")), "{why}");
    slave.stop().await;
    let mut wire = master.connect().await;
    while master.broker.store.written() < end {
        // As long as the ones that were lost, so that each is where one of them was.
        wire.put("T", "ONE", "").await;
    }
    let slave = Member::follow(s.path(), &[], &master).await;
    slave.link_until("refused", |m| m.link().refusals() > 0).await;
    let why = slave.link().readiness().unwrap_err();
    assert!(why.contains("parted"), "{why}");
    assert_eq!(slave.broker.store.written(), end, "nothing was thrown away");
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_that_fell_behind_the_masters_retention_starts_over() {
    let (m, s) = dirs();
    let small = [("mappedFileSizeCommitLog", "128KiB"), ("maxMessageSize", "1KiB")];
    let master = Member::start(m.path(), &small).await;
    let slave = Member::follow(s.path(), &small, &master).await;
    let mut wire = master.connect().await;
    wire.put("T", "seen", "").await;
    wire.make_topic("U", "1", "6").await;
    wire.put("U", "gone with its segment", "").await;
    slave.level_with(&master).await;
    slave.stop().await;
    let body = "x".repeat(1000);
    for _ in 0..400 {
        wire.put("T", &body, "").await;
    }
    drop(wire);
    master.stop().await;
    let mut segments: Vec<_> =
        fs::read_dir(m.path().join("commitlog")).unwrap().map(|e| e.unwrap().path()).collect();
    segments.sort();
    assert!(segments.len() > 2, "{segments:?}");
    fs::remove_file(&segments[0]).unwrap();

    let master = Member::start(m.path(), &small).await;
    let begin = master.broker.store.begin();
    assert!(begin > 0);
    let slave = Member::follow(s.path(), &small, &master).await;
    slave.level_with(&master).await;
    assert_eq!((slave.link().start_overs(), slave.link().refusals()), (1, 0));
    assert_eq!(slave.broker.store.begin(), begin);
    let bounds = |m: &Member| m.broker.store.queue("T", 0).unwrap().bounds();
    assert_eq!(bounds(&slave), bounds(&master));
    same_tables(&master, &slave);
    let mut wire = master.connect().await;
    message_reaches(&slave, &master, &mut wire, "T", "last").await;
    same_log(&master, &slave, begin);
    slave.stop().await;

    // A new slave gets all that there is.
    let fresh = tempfile::tempdir().unwrap();
    let slave = Member::follow(fresh.path(), &small, &master).await;
    slave.level_with(&master).await;
    assert_eq!((slave.broker.store.begin(), slave.link().start_overs()), (begin, 0));
    same_log(&master, &slave, begin);
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_that_died_takes_over_again_what_it_may_not_have() {
    let (m, s) = dirs();
    let master = Member::start(m.path(), &[]).await;
    let slave = Member::follow(s.path(), &[], &master).await;
    slave.level_with(&master).await;
    let mut wire = master.connect().await;
    wire.make_topic("T", "3", "6").await;
    put_group(&mut wire, "G", 3).await;
    wire.put("Other", "old", "").await;
    delete_topic(&mut wire, "Other").await;
    wire.put("Gone", "x", "").await;
    delete_topic(&mut wire, "Gone").await;
    wire.put("Other", "new", "").await;
    commit(&mut wire, "G", "T", "9").await;
    message_reaches(&slave, &master, &mut wire, "T", "x").await;
    slave.kill().await;
    master.kill().await;
    // It died with the log written and the tables not.
    for table in ["topics.jsonl", "groups.jsonl"] {
        fs::write(s.path().join("config").join(table), "").unwrap();
    }
    let slave = Member::start(s.path(), &SLAVE).await;
    assert_eq!(slave.broker.topics.get("T").unwrap().read_queue_nums, 3);
    assert_eq!(slave.broker.groups.get("G").unwrap().retry_max_times, 3);
    assert_eq!(slave.broker.offsets.get("G", "T", 0), Some(9));
    assert!(slave.broker.topics.get("Gone").is_none());
    let mut reader = slave.connect().await;
    assert_eq!(reader.pull("Other", "0", "*", "0").await.messages(), [(0, "new".to_owned())]);
    drop(reader);
    let changes = slave.broker.store.queue(METADATA_TOPIC, 0).unwrap().bounds().1;
    assert_eq!(slave.broker.offsets.get(METADATA_GROUP, METADATA_TOPIC, 0), Some(changes as i64));
    slave.stop().await;

    // Made the master by hand, it takes over the rest and begins tables of its own.
    fs::remove_file(s.path().join("store.json")).unwrap();
    let promoted = Member::start(s.path(), &[]).await;
    assert_eq!(promoted.broker.topics.get("T").unwrap().read_queue_nums, 3);
    assert_eq!(promoted.broker.offsets.get(METADATA_GROUP, METADATA_TOPIC, 0), None);
    promoted.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_topic_of_changes_is_nobodys_business() {
    let (m, s) = dirs();
    let master = Member::start(m.path(), &[]).await;
    let slave = Member::follow(s.path(), &[], &master).await;
    slave.level_with(&master).await;
    let mut wire = master.connect().await;
    wire.make_topic("T", "3", "6").await;
    assert!(max_offset(&master, METADATA_TOPIC) > 0);
    assert_eq!(wire.put(METADATA_TOPIC, "x", "").await.code, ResponseCode::NO_PERMISSION);
    assert_eq!(wire.pull(METADATA_TOPIC, "0", "*", "0").await.code, ResponseCode::TOPIC_NOT_EXIST);
    assert_eq!(wire.make_topic(METADATA_TOPIC, "1", "6").await.code, ResponseCode::INVALID_PARAMETER);
    let deleted = wire.call(RequestCode::DELETE_TOPIC_IN_BROKER, &[("topic", METADATA_TOPIC)], b"").await;
    assert_eq!(deleted.code, ResponseCode::INVALID_PARAMETER);
    let all = wire.call(RequestCode::GET_ALL_TOPIC_CONFIG, &[], b"").await;
    assert!(!String::from_utf8(all.body).unwrap().contains(METADATA_TOPIC));
    drop(wire);
    slave.stop().await;
    master.stop().await;
    // Not even a restart makes it one of the topics.
    let again = Running::start(m.path(), &[("brokerClusterName", "C")]).await;
    let mut wire = again.connect().await;
    let topic = wire.call(RequestCode::GET_TOPIC_CONFIG, &[("topic", METADATA_TOPIC)], b"").await;
    assert_eq!(topic.code, ResponseCode::TOPIC_NOT_EXIST);
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_java_slave_finds_what_it_asks_a_master_for() {
    use ResponseCode as R;
    let dir = tempfile::tempdir().unwrap();
    let master = Member::start(dir.path(), &[]).await;
    let mut wire = master.connect().await;
    wire.put("T", "x", "").await;
    commit(&mut wire, "G", "T", "1").await;
    let text = |answer: Answer| {
        assert_eq!(answer.code, R::SUCCESS, "{answer:?}");
        String::from_utf8(answer.body).unwrap()
    };
    let ask = async |wire: &mut Wire, code| text(wire.call(code, &[], b"").await);
    let version = "\"dataVersion\":{\"counter\":";
    let topics = ask(&mut wire, RequestCode::GET_ALL_TOPIC_CONFIG).await;
    assert!(
        topics.contains(version) && topics.contains("\"T\":") && topics.contains("\"TBW102\":"),
        "{topics}"
    );
    let groups = ask(&mut wire, RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG).await;
    assert!(groups.contains(version) && groups.contains("\"G\":"), "{groups}");
    let offsets = ask(&mut wire, RequestCode::GET_ALL_CONSUMER_OFFSET).await;
    assert!(offsets.contains(version) && offsets.contains("\"T@G\":{0:1}"), "{offsets}");
    let zero = "\"dataVersion\":{\"counter\":0,\"stateVersion\":0,\"timestamp\":0}";
    let delays = ask(&mut wire, RequestCode::GET_ALL_DELAY_OFFSET).await;
    assert_eq!(delays, format!("{{{zero},\"offsetTable\":{{}}}}"));
    let modes = ask(&mut wire, RequestCode::GET_ALL_MESSAGE_REQUEST_MODE).await;
    assert_eq!(modes, "{\"messageRequestModeMap\":{}}");
    let timer = ask(&mut wire, RequestCode::GET_TIMER_METRICS).await;
    assert_eq!(timer, format!("{{{zero},\"timingCount\":{{}}}}"));
    assert_eq!(ask(&mut wire, RequestCode::GET_TIMER_CHECK_POINT).await, "\0".repeat(56));

    let told = wire.call(RequestCode::EXCHANGE_BROKER_HA_INFO, &[], b"").await;
    let fields =
        ["masterHaAddress", "masterAddress", "masterFlushOffset", "clusterName"].map(|f| told.field(f));
    assert_eq!(fields, [&*master.ha.to_string(), &*master.addr.to_string(), "0", ""]);
    assert!(!master.broker.metadata.is_on(), "a Java slave does not read changes");
    let reset = RequestCode::RESET_MASTER_FLUSH_OFFSET;
    assert_eq!(wire.call(reset, &[("masterFlushOffset", "7")], b"").await.code, R::SUCCESS);
    let missing = wire.call(reset, &[], b"").await;
    assert_eq!(
        (missing.code, &*missing.remark),
        (R::SYSTEM_ERROR, "the custom field <masterFlushOffset> is null")
    );
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_may_tell_a_slave_itself_where_it_is() {
    let (m, s) = dirs();
    let master = Member::start(m.path(), &[]).await;
    let slave = Member::start(s.path(), &SLAVE).await;
    assert_eq!(slave.link().readiness(), Err("the master has not been reached yet".to_owned()));
    let mut wire = slave.connect().await;
    let asked = wire.call(RequestCode::EXCHANGE_BROKER_HA_INFO, &[], b"").await;
    assert_eq!((asked.code, asked.field("masterHaAddress")), (ResponseCode::SUCCESS, ""), "it is no master");
    let (address, ha) = (master.addr.to_string(), master.ha.to_string());
    let fields = [("masterAddress", &*address), ("masterHaAddress", &*ha), ("masterFlushOffset", "0")];
    assert_eq!(
        wire.call(RequestCode::EXCHANGE_BROKER_HA_INFO, &fields, b"").await.code,
        ResponseCode::SUCCESS
    );
    slave.level_with(&master).await;
    // It moves: what it is told next counts.
    master.stop().await;
    let master = Member::start(m.path(), &[]).await;
    slave.told(master.addr, master.ha);
    let mut wire = master.connect().await;
    message_reaches(&slave, &master, &mut wire, "T", "x").await;
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_log_does_not_make_the_tables_of_a_new_slave_old() {
    let (m, s) = dirs();
    let master = Member::start(m.path(), &[]).await;
    let first = Member::follow(s.path(), &[], &master).await;
    first.level_with(&master).await;
    let mut wire = master.connect().await;
    wire.make_topic("Gone", "3", "6").await;
    wire.make_topic("Kept", "3", "6").await;
    delete_topic(&mut wire, "Kept").await;
    put_group(&mut wire, "G", 3).await;
    wire.put("T", "x", "").await;
    commit(&mut wire, "G", "T", "1").await;
    first.stop().await;
    drop(wire);
    master.stop().await;
    // Restarted, and without a slave, the master tells nothing in its log.
    let master = Member::start(m.path(), &[]).await;
    let mut wire = master.connect().await;
    delete_topic(&mut wire, "Gone").await;
    wire.make_topic("Kept", "5", "6").await;
    put_group(&mut wire, "G", 4).await;
    commit(&mut wire, "G", "T", "0").await;
    let fresh = tempfile::tempdir().unwrap();
    let slave = Member::follow(fresh.path(), &[], &master).await;
    slave.level_with(&master).await;
    same_tables(&master, &slave);
    assert_eq!(slave.broker.topics.get("Kept").unwrap().read_queue_nums, 5);
    slave.stop().await;
    master.stop().await;
}
