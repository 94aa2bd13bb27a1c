//! A client that behaves, on a topic of its own, while others do not: it must be served all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocol::codes::{RequestCode, ResponseCode};
use protocol::requests::Fields;

use crate::ledger::{messages, pull, send};
use crate::talk::Talk;

/// A client in the background; it sends, reads back and asks for the route, over and over.
pub struct Healthy {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<Duration>,
}

impl Healthy {
    /// Starts it, and waits until the broker knows its topic.
    pub fn start(name_server: String, broker: String) -> Healthy {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let shared = (stop.clone(), rounds.clone());
        let thread = std::thread::spawn(move || run(&name_server, &broker, &shared.0, &shared.1));
        let healthy = Healthy { stop, rounds, thread };
        crate::wait::until("the healthy client to be served", Duration::from_secs(30), || {
            (healthy.rounds() > 0 || healthy.thread.is_finished()).then_some(())
        });
        healthy
    }

    /// Returns how many rounds it was served.
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Stops it and returns the longest that one round took.
    ///
    /// # Panics
    /// When it was not served: a connection lost, no answer in time, or a wrong one.
    pub fn finish(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn run(name_server: &str, broker: &str, stop: &AtomicBool, rounds: &AtomicU64) -> Duration {
    const TOPIC: &str = "Healthy";
    let mut names = Talk::connect(name_server).expect("the name server takes connections");
    let mut talk = Talk::connect(broker).expect("the broker takes connections");
    let mut longest = Duration::ZERO;
    let mut id = 0;
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        let sent = send(&mut talk, TOPIC, 0, id, 200).expect("a healthy send is answered");
        assert_eq!(sent.code, ResponseCode::SUCCESS, "a healthy send is refused: {}", sent.remark);
        let offset = sent.number("queueOffset");
        let pulled = pull(&mut talk, "healthy", TOPIC, 0, offset, 0).expect("a healthy pull is answered");
        assert_eq!(pulled.code, ResponseCode::SUCCESS, "a healthy pull is refused: {}", pulled.remark);
        assert_eq!(messages(&pulled.body).first(), Some(&(offset, id)));
        let topics = names.call(RequestCode::GET_BROKER_CLUSTER_INFO, &Fields(&[]), b"");
        assert_eq!(topics.expect("a healthy query is answered").code, ResponseCode::SUCCESS);
        longest = longest.max(start.elapsed());
        id += 1;
        rounds.store(id, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(1));
    }
    longest
}
