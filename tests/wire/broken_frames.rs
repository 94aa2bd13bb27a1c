//! Thousands of broken frames, half of them with true lengths so that they get past the framing.

use std::io::ErrorKind;
use std::time::Duration;

use protocol::frame::{Decoded, decode};
use tests::healthy::Healthy;
use tests::mutate::mutate;
use tests::random::Random;
use tests::requests::{Sample, frames, mend_lengths, to_a_broker, to_a_name_server};
use tests::setting::setting;
use tests::talk::Talk;

use crate::{Memory, SERVED_WITHIN, cluster};

/// Connections that send broken frames at once.
const THREADS: u64 = 8;
/// What caches, tables and the tail of the log may take on top; far below what broken lengths would ask for.
const ALLOWANCE: u64 = 192 << 20;

#[test]
fn broken_frames_end_their_own_connection_and_nothing_else() {
    let cluster = cluster("broken");
    let broker = Memory::of(&cluster, &cluster.broker_member(0));
    let name_server = Memory::of(&cluster, &cluster.name_server_member(0));
    let healthy = Healthy::start(cluster.name_server(0), cluster.broker(0));

    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (broker, name_server) = (cluster.broker(0), cluster.name_server(0));
            scope.spawn(move || attack(&broker, &to_a_broker(), thread));
            scope.spawn(move || attack(&name_server, &to_a_name_server(), thread));
        }
    });

    let longest = healthy.finish();
    assert!(longest < SERVED_WITHIN, "a healthy client waited {longest:?}");
    broker.assert_grew_less_than(ALLOWANCE);
    name_server.assert_grew_less_than(ALLOWANCE);
    for (member, addr) in [
        (cluster.broker_member(0), cluster.broker(0)),
        (cluster.name_server_member(0), cluster.name_server(0)),
    ] {
        let log = cluster.log(&member);
        assert!(!log.contains("panicked"), "{member} panicked:\n{log}");
        assert!(Talk::connect(&addr).is_ok());
    }
}

/// Sends this thread's share of the frames, several to a connection while it lasts.
fn attack(addr: &str, samples: &[Sample], thread: u64) {
    let seed = setting("WIRE_SEED", 1);
    let good = frames(samples);
    let mut random = Random::nth(seed, thread);
    let mut left = setting("WIRE_FRAMES", 10_000) / THREADS;
    while left > 0 {
        let mut talk =
            Talk::connect(addr).unwrap_or_else(|e| panic!("seed {seed}, thread {thread}: {addr}: {e}"));
        for _ in 0..left.min(1 + random.below(40) as u64) {
            left -= 1;
            let bytes = broken(&mut random, &good);
            // Behind anything but a whole frame, nothing on this connection would be looked at.
            let whole = matches!(decode(&bytes), Decoded::Frame(_, used) if used == bytes.len());
            if talk.write(&bytes).is_err() || !whole {
                break;
            }
        }
        // Answers must be taken, or the server would rightly stop reading.
        match talk.drain(Duration::from_millis(2)) {
            Ok(_) => {}
            Err(e) => assert!(e.kind() != ErrorKind::InvalidData, "seed {seed}, thread {thread}: {e}"),
        }
    }
}

fn broken(random: &mut Random, good: &[Vec<u8>]) -> Vec<u8> {
    let frame = random.pick(good);
    let header = u32::from_be_bytes([0, frame[5], frame[6], frame[7]]) as usize;
    let mut bytes = mutate(random, frame, good);
    if random.one_in(2) {
        mend_lengths(&mut bytes, header);
    }
    bytes
}
