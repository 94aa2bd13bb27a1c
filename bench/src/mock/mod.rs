//! The mock broker: what a broker costs when it does nothing but the unavoidable. Real frames, header
//! parsing, CRC, record encoding, one write to a file and one to the socket per read; group commit on
//! request. No topics, access control, statistics, indexes or long polls. Its file is a ring of pages
//! that are resident already. Gantry is measured against it, in pairs.

mod connection;
mod flusher;
mod request;
mod ring;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

pub use flusher::Flusher;
pub use ring::{Pieces, Ring};

/// Size of the ring; pages of it stay in memory.
pub const RING_BYTES: u64 = 768 << 20;

/// When the mock answers a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Once the record is written.
    Async,
    /// Once an fdatasync has covered it.
    Sync,
}

/// Runs the mock until standard input ends, so that it never outlives who started it. Prints
/// `ready PORT` when clients may connect.
pub fn run(port: u16, directory: &Path, flush: Flush) -> Result<()> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("listen on {port}"))?;
    let port = listener.local_addr()?.port();
    let pieces = match flush {
        Flush::Async => Pieces::Large,
        Flush::Sync => Pieces::Small,
    };
    let ring = Ring::create(&directory.join("ring"), RING_BYTES, pieces)?;
    std::thread::spawn(move || serve(&listener, &ring, flush));
    println!("ready {port}");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new()).context("wait for the end of standard input")?;
    Ok(())
}

/// Serves connections, a thread each, until the process ends.
pub fn serve(listener: &TcpListener, ring: &Arc<Ring>, flush: Flush) {
    let flusher = match flush {
        Flush::Async => None,
        Flush::Sync => Some(Flusher::start(ring.clone())),
    };
    for stream in listener.incoming().flatten() {
        let (ring, flusher) = (ring.clone(), flusher.clone());
        std::thread::spawn(move || {
            // The load generator notices a connection that ends early.
            if let Err(error) = connection::serve(stream, &ring, flusher.as_deref()) {
                eprintln!("mock: {error:#}");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{self, Goal, Messages, Puller, Sender, Shape, Writes};
    use protocol::header::Serialization;

    fn start(flush: Flush) -> (std::net::SocketAddr, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let ring = Ring::create(&directory.path().join("ring"), 16 << 20, Pieces::Small).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || serve(&listener, &ring, flush));
        (address, directory)
    }

    fn send(address: std::net::SocketAddr, header: Serialization, writes: Writes) -> load::Outcome {
        let messages = Messages { topic: "BenchmarkTest".to_owned(), queues: 8, body: 1024, header };
        let shape = Shape { connections: 2, window: 16, writes };
        load::run(address, shape, Goal::Requests(5_000), |i| Sender::new(&messages, i), || Ok(())).unwrap()
    }

    #[test]
    fn every_send_is_answered_whatever_the_header_the_writes_and_the_flush() {
        for flush in [Flush::Async, Flush::Sync] {
            let (address, _directory) = start(flush);
            for header in [Serialization::Binary, Serialization::Json] {
                for writes in [Writes::Coalesced, Writes::PerFrame] {
                    let outcome = send(address, header, writes);
                    assert_eq!(
                        (outcome.messages, outcome.errors),
                        (10_000, 0),
                        "{flush:?} {header:?} {writes:?}"
                    );
                    assert_eq!(outcome.latency.len(), 10_000);
                }
            }
        }
    }

    #[test]
    fn pulls_get_whole_records_also_after_the_ring_went_round() {
        let (address, _directory) = start(Flush::Async);
        for lap in 0..3 {
            send(address, Serialization::Binary, Writes::Coalesced);
            let shape = Shape { connections: 1, window: 4, writes: Writes::Coalesced };
            let puller = |_| Puller::new("BenchmarkTest", Serialization::Binary, 4);
            let outcome = load::run(address, shape, Goal::Requests(1_000), puller, || Ok(())).unwrap();
            assert_eq!(
                (outcome.messages, outcome.errors),
                (32_000, 0),
                "lap {lap}: {:?}",
                outcome.first_error
            );
        }
    }
}
