//! What name servers hear of a broker, and when: everything that changes, at once and without a restart.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::Broker;
use daemon::signals::Shutdown;
use protocol::bodies::register_broker::RegisterBrokerBody;
use protocol::bodies::topic_config::TopicConfig;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{self, CommandHead, Decoded};
use protocol::json::JsonBody;
use protocol::requests::NoFields;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use support::{Unflushed, soon, until};

/// What a name server was told.
#[derive(Debug, PartialEq)]
enum Heard {
    Registered { address: String, listeners: Option<String>, topics: BTreeMap<String, i32> },
    Unregistered(String),
}

/// Answers everything with success and remembers it.
struct NameServer {
    addr: String,
    heard: mpsc::UnboundedReceiver<Heard>,
    kick: watch::Sender<()>,
}

impl NameServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let (hear, heard) = mpsc::unbounded_channel();
        let (kick, kicked) = watch::channel(());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer_all(stream, hear.clone(), kicked.clone()));
            }
        });
        Self { addr, heard, kick }
    }

    async fn next(&mut self) -> Heard {
        soon("the name server hears of the broker", self.heard.recv()).await.unwrap()
    }

    /// Returns the next registration, whatever its topics.
    async fn registered(&mut self) -> (String, Option<String>, BTreeMap<String, i32>) {
        match self.next().await {
            Heard::Registered { address, listeners, topics } => (address, listeners, topics),
            other => panic!("{other:?}"),
        }
    }

    /// Returns who left, whatever was registered before.
    async fn left(&mut self) -> String {
        loop {
            if let Heard::Unregistered(address) = self.next().await {
                return address;
            }
        }
    }
}

async fn answer_all(
    mut stream: TcpStream,
    hear: mpsc::UnboundedSender<Heard>,
    mut kicked: watch::Receiver<()>,
) {
    kicked.mark_unchanged();
    let mut bytes = Vec::new();
    loop {
        let read = tokio::select! {
            read = stream.read_buf(&mut bytes) => read,
            _ = kicked.changed() => return,
        };
        if !matches!(read, Ok(1..)) {
            return;
        }
        while let Decoded::Frame(request, used) = frame::decode(&bytes) {
            let field = |name: &str| request.header.ext.get(name).map(|value| value.into_owned());
            let address = field("brokerAddr").unwrap();
            let heard = match RequestCode(request.header.code) {
                RequestCode::REGISTER_BROKER => {
                    let body = RegisterBrokerBody::decode(request.body).unwrap();
                    let topics = body.topic_config_serialize_wrapper.topic_config_table;
                    let perms = topics.into_iter().map(|(name, topic)| (name, topic.perm));
                    Heard::Registered {
                        address,
                        listeners: field("gantryListeners"),
                        topics: perms.collect(),
                    }
                }
                RequestCode::UNREGISTER_BROKER => Heard::Unregistered(address),
                other => panic!("{other:?}"),
            };
            let mut answer = Vec::new();
            let head = CommandHead::answer(&request.header, ResponseCode::SUCCESS.0, None);
            frame::encode(&mut answer, &head, &NoFields, b"");
            bytes.drain(..used);
            hear.send(heard).unwrap();
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}

/// A broker of which only its membership lives.
struct Member {
    broker: Arc<Broker>,
    address: String,
    shutdown: Shutdown,
    registered: watch::Receiver<bool>,
    task: JoinHandle<()>,
    _rest: (Unflushed, tempfile::TempDir),
}

impl Member {
    async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_lingering(settings, Duration::ZERO).await
    }

    async fn start_lingering(settings: &[(&str, &str)], linger: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rest = Unflushed::start(dir.path(), settings).await;
        let (shutdown, (registered, is_registered)) = (Shutdown::new(), watch::channel(false));
        let run = broker::membership::run_lingering;
        let task = tokio::spawn(run(rest.broker.clone(), registered, shutdown.clone(), linger));
        let (broker, address) = (rest.broker.clone(), rest.addr.to_string());
        Self { broker, address, shutdown, registered: is_registered, task, _rest: (rest, dir) }
    }

    fn set(&self, key: &str, value: &str) {
        self.broker.change_settings(&[(key.to_owned(), value.to_owned())]).unwrap();
    }

    async fn stop(self) {
        self.shutdown.trigger();
        soon("it leaves", self.task).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn name_servers_come_and_go_without_a_restart() {
    let (mut one, mut two) = (NameServer::start().await, NameServer::start().await);
    let member = Member::start(&[("namesrvAddr", &one.addr)]).await;
    let (address, listeners, topics) = one.registered().await;
    assert_eq!((address, listeners), (member.address.clone(), None));
    assert_eq!(topics["TBW102"], 7, "as it is");
    until("it counts as registered", || *member.registered.borrow()).await;

    member.set("namesrvAddr", &format!("{};{}", one.addr, two.addr));
    assert_eq!(two.registered().await.0, member.address);
    one.registered().await;
    until("both know it", || member.broker.registered_at.lock().len() == 2).await;

    member.set("namesrvAddr", &two.addr);
    assert_eq!(one.left().await, member.address);
    two.registered().await;
    let known: Vec<_> = member.broker.registered_at.lock().iter().cloned().collect();
    assert_eq!(known, [two.addr.clone()]);

    member.set("namesrvAddr", &format!("{};{}", one.addr, two.addr));
    one.registered().await;
    let address = member.address.clone();
    member.stop().await;
    assert_eq!(one.left().await, address);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_that_clients_may_still_ask_is_informed_after_it_has_gone_from_the_list() {
    let (mut old, mut new) = (NameServer::start().await, NameServer::start().await);
    let hour = Duration::from_secs(3_600);
    let member = Member::start_lingering(&[("namesrvAddr", &old.addr)], hour).await;
    old.registered().await;
    member.set("namesrvAddr", &new.addr);
    old.registered().await;
    new.registered().await;
    until("it counts no more", || *member.broker.registered_at.lock() == [new.addr.clone()].into()).await;
    member.set("brokerPermission", "4");
    assert_eq!((old.registered().await.2["TBW102"], new.registered().await.2["TBW102"]), (4, 4));

    // When it has gone itself, nobody looks for it; when it is a member again, it is.
    old.kick.send_replace(());
    member.set("brokerPermission", "6");
    new.registered().await;
    member.set("namesrvAddr", &format!("{};{}", new.addr, old.addr));
    assert_eq!(old.registered().await.2["TBW102"], 7);
    until("it counts again", || member.broker.registered_at.lock().len() == 2).await;
    let address = member.address.clone();
    member.set("namesrvAddr", &new.addr);
    member.stop().await;
    assert_eq!(old.left().await, address, "at the latest when the broker stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_and_permission_are_told_at_once_and_the_routes_are_never_without_the_broker() {
    let mut name_server = NameServer::start().await;
    let member = Member::start(&[
        ("namesrvAddr", &name_server.addr),
        ("brokerPermission", "0"),
        ("listeners", "internal=10.0.0.1:10911"),
    ])
    .await;
    let inside = "10.0.0.1:10911".to_owned();
    let (address, listeners, topics) = name_server.registered().await;
    assert_eq!((&address, listeners, topics.len()), (&inside, None, 0), "in no route");

    member.set("brokerPermission", "6");
    assert_eq!(name_server.registered().await.2["TBW102"], 7);
    member.set("brokerPermission", "4");
    assert_eq!(name_server.registered().await.2["TBW102"], 4);
    member.broker.put_topic(TopicConfig { topic_name: "T".to_owned(), ..TopicConfig::default() }).unwrap();
    assert_eq!(name_server.registered().await.2["T"], 4, "new topics too");

    member.set("listeners", "internal=10.0.0.1:10911,external=mq.example.com:20911");
    let (address, listeners, _) = name_server.registered().await;
    assert_eq!((address, listeners.as_deref()), (inside.clone(), Some("external=mq.example.com:20911")));
    member.set("listeners", "internal=10.0.0.2:10911");
    let (address, listeners, _) = name_server.registered().await;
    assert_eq!((address.as_str(), listeners), ("10.0.0.2:10911", None));
    assert_eq!(name_server.next().await, Heard::Unregistered(inside), "only when the new one is there");
    member.stop().await;
    assert_eq!(name_server.next().await, Heard::Unregistered("10.0.0.2:10911".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_that_comes_late_or_again_is_told_soon_and_keeps_nothing_from_others() {
    let mut name_server = NameServer::start().await;
    let place = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let late = place.local_addr().unwrap().to_string();
    drop(place);
    let servers = format!("no-such-name.invalid:9876;{late};{}", name_server.addr);
    let member = Member::start(&[("namesrvAddr", &servers)]).await;
    name_server.registered().await;
    name_server.kick.send_replace(());
    name_server.registered().await;

    let listener = TcpListener::bind(&late).await.unwrap();
    let (stream, _) = soon("it comes, long before the next period", listener.accept()).await.unwrap();
    let (hear, mut heard) = mpsc::unbounded_channel();
    let (_kick, kicked) = watch::channel(());
    tokio::spawn(answer_all(stream, hear, kicked));
    assert!(matches!(soon("it is told", heard.recv()).await, Some(Heard::Registered { .. })));
    until("the two that are there know it", || member.broker.registered_at.lock().len() == 2).await;
    member.stop().await;
}
