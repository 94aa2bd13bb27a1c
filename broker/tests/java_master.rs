//! A slave of a Java master, played from a script: it says nothing of Gantry, keeps changes of its tables to itself, and
//! answers a slave that reports 0 with its last file only.
#![allow(clippy::unwrap_used)]

#[path = "support/member.rs"]
mod member;
mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use member::Member;
use parking_lot::Mutex;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{self, CommandHead, Decoded};
use protocol::header::Serialization;
use protocol::names::METADATA_TOPIC;
use protocol::requests::Fields;
use store::Store;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Stands in front of a master of ours and gives its answers as Java would.
struct JavaMaster {
    addr: SocketAddr,
    ha: SocketAddr,
    /// First report of each slave that connected.
    reports: Arc<Mutex<Vec<u64>>>,
    /// What 906 is answered beyond Java's words.
    says: Arc<Mutex<Vec<(&'static str, &'static str)>>>,
    _tasks: JoinSet<()>,
}

impl JavaMaster {
    async fn before(master: &Member) -> JavaMaster {
        let (clients, slaves) = (
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        );
        let (addr, ha) = (clients.local_addr().unwrap(), slaves.local_addr().unwrap());
        let (behind, store) = (master.addr, master.broker.store.clone());
        let (reports, says) = (Arc::<Mutex<Vec<u64>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        let (noted, said) = (reports.clone(), says.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = clients.accept().await.unwrap();
                connections.spawn(answer_requests(stream, behind, addr, ha, said.clone()));
            }
        });
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = slaves.accept().await.unwrap();
                connections.spawn(send_log(stream, store.clone(), noted.clone()));
            }
        });
        JavaMaster { addr, ha, reports, says, _tasks: tasks }
    }
}

async fn answer_requests(
    mut stream: TcpStream,
    behind: SocketAddr,
    addr: SocketAddr,
    ha: SocketAddr,
    says: Arc<Mutex<Vec<(&'static str, &'static str)>>>,
) {
    let mut master = Wire::connect(behind, Serialization::Json).await;
    let mut input = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut input).await {
        while let Decoded::Frame(request, used) = frame::decode(&input) {
            let mut fields = Vec::new();
            request.header.ext.visit(|k, v| fields.push((k.to_owned(), v.into_owned())));
            let fields: Vec<_> = fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let code = RequestCode(request.header.code);
            let mut out = Vec::new();
            if code == RequestCode::EXCHANGE_BROKER_HA_INFO {
                let (addr, ha) = (addr.to_string(), ha.to_string());
                let mut fields = vec![("masterHaAddress", &*ha), ("masterAddress", &*addr)];
                fields.push(("masterFlushOffset", "0"));
                fields.extend(says.lock().iter());
                frame::encode(
                    &mut out,
                    &CommandHead::answer(&request.header, 0, None),
                    &Fields(&fields),
                    b"{}",
                );
            } else {
                let answer = master.call(code, &fields, request.body).await;
                let fields: Vec<_> = answer.fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                let head = CommandHead::answer(&request.header, answer.code.0, Some(&answer.remark));
                frame::encode(&mut out, &head, &Fields(&fields), &answer.body);
            }
            stream.write_all(&out).await.unwrap();
            input.drain(..used);
        }
    }
}

async fn send_log(mut stream: TcpStream, store: Arc<Store>, reports: Arc<Mutex<Vec<u64>>>) {
    let report = stream.read_u64().await.unwrap();
    reports.lock().push(report);
    let last_file = store.written() - store.written() % (128 << 10);
    let mut at = if report == 0 { last_file } else { report };
    loop {
        let appended = store.appended().notified();
        let mut out = Vec::new();
        let read = store.read_log(at, 32 << 10, true, &mut out).unwrap();
        if read.bytes == 0 {
            appended.await;
            continue;
        }
        let mut frame = at.to_be_bytes().to_vec();
        frame.extend((out.len() as u32).to_be_bytes());
        frame.extend(&out);
        at += out.len() as u64;
        if stream.write_all(&frame).await.is_err() {
            return;
        }
    }
}

const SMALL: [(&str, &str); 2] = [("mappedFileSizeCommitLog", "128KiB"), ("maxMessageSize", "1KiB")];

async fn fill(wire: &mut Wire, messages: usize) {
    let body = "x".repeat(1000);
    for _ in 0..messages {
        assert_eq!(wire.put("T", &body, "").await.code, ResponseCode::SUCCESS);
    }
}

async fn slave_of(java: &JavaMaster, dir: &tempfile::TempDir) -> Member {
    let slave = Member::start(dir.path(), &[&member::SLAVE[..], &SMALL].concat()).await;
    slave.told(java.addr, java.ha);
    slave
}

fn messages(member: &Member) -> (u64, u64) {
    member.broker.store.queue("T", 0).map_or((0, 0), |q| q.bounds())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_slave_of_a_java_master_gets_the_whole_log_and_the_tables() {
    let (m, s) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let master = Member::start(m.path(), &SMALL).await;
    let mut wire = master.connect().await;
    wire.make_topic("T", "3", "6").await;
    fill(&mut wire, 300).await;
    let offset = [("consumerGroup", "G"), ("topic", "T"), ("queueId", "0"), ("commitOffset", "7")];
    wire.call(RequestCode::UPDATE_CONSUMER_OFFSET, &offset, b"").await;
    let java = JavaMaster::before(&master).await;
    let slave = slave_of(&java, &s).await;
    slave.level_with(&master).await;
    let first = master.broker.store.read_record(0).unwrap().len() as u64;
    assert_eq!(*java.reports.lock(), [first], "to 0 a Java master sends its last file only");
    assert_eq!((messages(&slave), slave.broker.store.begin()), ((0, 300), 0));
    assert_eq!(slave.broker.topics.get("T").unwrap().read_queue_nums, 3);
    assert_eq!(slave.broker.offsets.get("G", "T", 0), Some(7));
    assert!(!master.broker.metadata.is_on() && master.broker.store.queue(METADATA_TOPIC, 0).is_none());
    fill(&mut wire, 10).await;
    slave.has_log_up_to(master.broker.store.written()).await;
    // Restarted, it goes on where it was.
    slave.stop().await;
    fill(&mut wire, 10).await;
    let slave = slave_of(&java, &s).await;
    slave.level_with(&master).await;
    assert_eq!((messages(&slave), java.reports.lock().len()), ((0, 320), 2));
    slave.stop().await;
    drop((java, wire));
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_slave_begins_where_a_java_masters_retention_has_come_to() {
    let (m, s) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let master = Member::start(m.path(), &SMALL).await;
    let mut wire = master.connect().await;
    fill(&mut wire, 400).await;
    drop(wire);
    master.stop().await;
    std::fs::remove_file(m.path().join("commitlog").join(format!("{:020}", 0))).unwrap();
    let master = Member::start(m.path(), &SMALL).await;
    let begin = master.broker.store.begin();
    assert_eq!(begin, 128 << 10);
    let java = JavaMaster::before(&master).await;
    let slave = slave_of(&java, &s).await;
    slave.level_with(&master).await;
    assert_eq!((java.reports.lock().clone(), slave.broker.store.begin()), (vec![begin], begin));
    assert_eq!(messages(&slave), messages(&master));
    slave.stop().await;
    drop(java);
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_of_a_java_master_that_has_nothing_yet_gets_its_first_message() {
    let (m, s) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let master = Member::start(m.path(), &SMALL).await;
    let java = JavaMaster::before(&master).await;
    let slave = slave_of(&java, &s).await;
    slave.link_until("connected", |m| m.link().state().connected).await;
    let mut wire = master.connect().await;
    fill(&mut wire, 3).await;
    slave.has_log_up_to(master.broker.store.written()).await;
    assert_eq!(messages(&slave), (0, 3));
    slave.stop().await;
    drop((java, wire));
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_does_not_follow_a_master_that_says_it_is_of_another_group() {
    let (m, s) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let master = Member::start(m.path(), &SMALL).await;
    fill(&mut master.connect().await, 3).await;
    let java = JavaMaster::before(&master).await;
    java.says.lock().extend([("clusterName", "C"), ("brokerName", "other")]);
    let slave = slave_of(&java, &s).await;
    slave.link_until("refused", |m| m.link().refusals() > 0).await;
    let why = slave.link().readiness().unwrap_err();
    let both = format!(
        "this slave is cluster C, group b (member 1), the master at {} cluster C, group other (member 0)",
        java.addr
    );
    assert!(why.starts_with(&both), "{why}");
    assert_eq!((slave.broker.store.written(), java.reports.lock().len()), (0, 0));
    slave.stop().await;
    drop(java);
    master.stop().await;
}
