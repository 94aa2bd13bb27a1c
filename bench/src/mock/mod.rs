//! The mock broker: what a broker costs when it does nothing but the unavoidable. Real frames, header
//! parsing, CRC, record encoding, one write to a file and one to the socket per read; group commit or one
//! replica on request. No topics, access control, statistics, indexes or long polls. Its file is a ring
//! of pages that are resident already. Gantry is measured against it, in pairs.

mod connection;
mod flusher;
mod held;
mod leader;
mod replica;
mod request;
mod ring;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

pub use flusher::Flusher;
pub use held::Hold;
pub use leader::Leader;
pub use ring::{Pieces, Ring};

/// Size of the ring; pages of it stay in memory.
pub const RING_BYTES: u64 = 768 << 20;

/// What is true of a record when its send is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Ack {
    /// It is written.
    Written,
    /// An fdatasync has covered it.
    Flushed,
    /// It is written here and by one replica.
    Replicated,
}

/// Runs the mock until standard input ends, so that it never outlives who started it. Prints
/// `ready PORT` when clients may connect, or `ready PORT REPLICAS_PORT`.
pub fn run(directory: &Path, ack: Ack) -> Result<()> {
    let (listener, port) = listen()?;
    let pieces = if ack == Ack::Flushed { Pieces::Small } else { Pieces::Large };
    let ring = Ring::create(&directory.join("ring"), RING_BYTES, pieces)?;
    let mut ready = format!("ready {port}");
    let hold: Option<Arc<dyn Hold>> = match ack {
        Ack::Written => None,
        Ack::Flushed => Some(Flusher::start(ring.clone())),
        Ack::Replicated => {
            let (replicas, port) = listen()?;
            ready.push_str(&format!(" {port}"));
            Some(Leader::start(ring.clone(), replicas))
        }
    };
    std::thread::spawn(move || serve(&listener, &ring, hold.as_ref()));
    say_and_wait(&ready)
}

/// Runs the mock's replica until standard input ends. Prints `ready` once it follows its leader.
pub fn run_replica(directory: &Path, leader: SocketAddr) -> Result<()> {
    let ring = Ring::create(&directory.join("replica-ring"), RING_BYTES, Pieces::Large)?;
    let leader = TcpStream::connect(leader).with_context(|| format!("connect to the leader {leader}"))?;
    std::thread::spawn(move || {
        // The load generator notices sends that nobody answers.
        if let Err(error) = replica::follow(leader, &ring) {
            eprintln!("mock replica: {error:#}");
        }
    });
    say_and_wait("ready")
}

fn listen() -> Result<(TcpListener, u16)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen on a free port")?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

fn say_and_wait(line: &str) -> Result<()> {
    println!("{line}");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new()).context("wait for the end of standard input")?;
    Ok(())
}

/// Serves connections, a thread each, until the process ends. Who `hold`s answers decides when they leave;
/// without, they leave at once.
pub fn serve(listener: &TcpListener, ring: &Arc<Ring>, hold: Option<&Arc<dyn Hold>>) {
    for stream in listener.incoming().flatten() {
        let (ring, hold) = (ring.clone(), hold.cloned());
        std::thread::spawn(move || {
            // The load generator notices a connection that ends early.
            if let Err(error) = connection::serve(stream, &ring, hold.as_deref()) {
                eprintln!("mock: {error:#}");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{self, Goal, Messages, Pace, Puller, Sender, Shape, Writes};
    use protocol::header::Serialization;

    /// Every second load of 10,000 messages begins to write it over.
    const RING_SIZE: u64 = 16 << 20;

    struct Mock {
        address: SocketAddr,
        directory: tempfile::TempDir,
    }

    impl Mock {
        fn start(ack: Ack) -> Mock {
            let directory = tempfile::tempdir().unwrap();
            let ring = |name| Ring::create(&directory.path().join(name), RING_SIZE, Pieces::Small).unwrap();
            let leaders = ring("ring");
            let hold: Option<Arc<dyn Hold>> = match ack {
                Ack::Written => None,
                Ack::Flushed => Some(Flusher::start(leaders.clone())),
                Ack::Replicated => {
                    let (replicas, port) = listen().unwrap();
                    let (leader, own) = ((Ipv4Addr::LOCALHOST, port), ring("replica-ring"));
                    let leader = TcpStream::connect(leader).unwrap();
                    std::thread::spawn(move || replica::follow(leader, &own));
                    Some(Leader::start(leaders.clone(), replicas))
                }
            };
            let (listener, port) = listen().unwrap();
            std::thread::spawn(move || serve(&listener, &leaders, hold.as_ref()));
            Mock { address: (Ipv4Addr::LOCALHOST, port).into(), directory }
        }

        fn file(&self, name: &str) -> Vec<u8> {
            std::fs::read(self.directory.path().join(name)).unwrap()
        }
    }

    fn send(address: SocketAddr, header: Serialization, writes: Writes) -> load::Outcome {
        let messages = Messages { topic: "BenchmarkTest".to_owned(), queues: 8, body: 1024, header };
        let shape = Shape { connections: 2, window: 16, writes, pace: Pace::Window };
        load::run(address, shape, Goal::Requests(5_000), |i| Sender::new(&messages, i), || Ok(())).unwrap()
    }

    #[test]
    fn every_send_is_answered_whatever_the_header_the_writes_and_the_ack() {
        for ack in [Ack::Written, Ack::Flushed, Ack::Replicated] {
            let mock = Mock::start(ack);
            for header in [Serialization::Binary, Serialization::Json] {
                for writes in [Writes::Coalesced, Writes::PerFrame] {
                    let outcome = send(mock.address, header, writes);
                    assert_eq!(
                        (outcome.messages, outcome.errors),
                        (10_000, 0),
                        "{ack:?} {header:?} {writes:?}"
                    );
                    assert_eq!(outcome.latency.len(), 10_000);
                }
            }
        }
    }

    #[test]
    fn a_load_at_a_fixed_rate_takes_its_time() {
        let mock = Mock::start(Ack::Written);
        let messages = Messages {
            topic: "BenchmarkTest".to_owned(),
            queues: 8,
            body: 1024,
            header: Serialization::Binary,
        };
        let pace = Pace::PerSecond(1_000);
        let shape = Shape { connections: 2, window: 16, writes: Writes::Coalesced, pace };
        let started = std::time::Instant::now();
        let sender = |i| Sender::new(&messages, i);
        let outcome = load::run(mock.address, shape, Goal::Requests(100), sender, || Ok(())).unwrap();
        assert_eq!((outcome.messages, outcome.errors), (200, 0));
        assert!(started.elapsed() >= std::time::Duration::from_millis(99), "{:?}", started.elapsed());
    }

    #[test]
    fn pulls_get_whole_records_also_after_the_ring_went_round() {
        let mock = Mock::start(Ack::Written);
        for lap in 0..3 {
            send(mock.address, Serialization::Binary, Writes::Coalesced);
            let shape = Shape { connections: 1, window: 4, writes: Writes::Coalesced, pace: Pace::Window };
            let puller = |_| Puller::new("BenchmarkTest", Serialization::Binary, 4);
            let outcome = load::run(mock.address, shape, Goal::Requests(1_000), puller, || Ok(())).unwrap();
            assert_eq!(
                (outcome.messages, outcome.errors),
                (32_000, 0),
                "lap {lap}: {:?}",
                outcome.first_error
            );
        }
    }

    #[test]
    fn a_replica_has_every_answered_record_also_after_the_ring_went_round() {
        let mock = Mock::start(Ack::Replicated);
        for lap in 0..3 {
            let outcome = send(mock.address, Serialization::Binary, Writes::Coalesced);
            assert_eq!((outcome.messages, outcome.errors), (10_000, 0), "lap {lap}");
            assert!(mock.file("ring") == mock.file("replica-ring"), "lap {lap}: the files differ");
        }
    }
}
