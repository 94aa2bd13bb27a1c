//! Replication in the mock, the leader's half: the ring goes to one replica as P§6.1 has it, and answers
//! leave once the replica's report covers their records. The thread that appended also streams, all that
//! has not gone yet in one write; a thread in between would add a wake-up to every send. One thread reads
//! reports and sends answers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use anyhow::{Context, Result};
use parking_lot::Mutex;

use super::Ring;
use super::held::{Held, Hold, send};

/// Bytes of log in one frame at most.
pub const MAX_BODY: usize = 256 * 1024;
/// An offset and the size of the body.
pub const HEAD_SIZE: usize = 12;
/// An offset.
const REPORT_SIZE: usize = 8;

/// Holds answers until the replica has their records.
pub struct Leader {
    ring: Arc<Ring>,
    link: Mutex<Option<Link>>,
    waiting: Mutex<Waiting>,
}

/// Answers with the end of their records, and how far the replica is, which may be further already.
#[derive(Default)]
struct Waiting {
    held: Vec<(u64, Held)>,
    reported: u64,
}

struct Link {
    replica: Arc<TcpStream>,
    sent: u64,
    frame: Vec<u8>,
}

impl Leader {
    /// Starts the thread that serves one replica after the other; it ends with the process.
    pub fn start(ring: Arc<Ring>, listener: TcpListener) -> Arc<Self> {
        let leader = Arc::new(Self { ring, link: Mutex::new(None), waiting: Mutex::default() });
        let handle = leader.clone();
        std::thread::spawn(move || {
            for replica in listener.incoming().flatten() {
                if let Err(error) = handle.serve(Arc::new(replica)) {
                    eprintln!("mock: {error:#}");
                }
                *handle.link.lock() = None;
            }
        });
        leader
    }

    fn serve(&self, replica: Arc<TcpStream>) -> Result<()> {
        replica.set_nodelay(true)?;
        let mut input = [0; 4096];
        let (mut filled, mut linked) = (0, false);
        loop {
            let read = (&*replica).read(&mut input[filled..]).context("read a replica's report")?;
            if read == 0 {
                return Ok(());
            }
            filled += read;
            let whole = filled / REPORT_SIZE * REPORT_SIZE;
            if let Some(report) = input[..whole].last_chunk::<REPORT_SIZE>() {
                let stored = u64::from_be_bytes(*report);
                let covered = self.waiting.lock().on_report(stored);
                send(covered);
                // The first report also says where the replica wants to begin.
                if !linked {
                    linked = true;
                    let link = Link { replica: replica.clone(), sent: stored, frame: Vec::new() };
                    self.link.lock().insert(link).stream(&self.ring)?;
                }
            }
            input.copy_within(whole..filled, 0);
            filled -= whole;
        }
    }
}

impl Hold for Leader {
    fn hold(&self, stream: &Arc<TcpStream>, answers: Vec<u8>) {
        let held = Held { stream: stream.clone(), answers };
        let covered = self.waiting.lock().on_held(self.ring.end(), held);
        send(covered);
        let mut link = self.link.lock();
        if let Some(Err(error)) = link.as_mut().map(|link| link.stream(&self.ring)) {
            eprintln!("mock: {error:#}");
            *link = None;
        }
    }
}

impl Waiting {
    // Another connection's thread may have streamed these records, and the replica have reported them.
    fn on_held(&mut self, end: u64, held: Held) -> Vec<Held> {
        if end <= self.reported {
            return vec![held];
        }
        self.held.push((end, held));
        Vec::new()
    }

    fn on_report(&mut self, stored: u64) -> Vec<Held> {
        self.reported = stored;
        self.held.extract_if(.., |(end, _)| *end <= stored).map(|(_, held)| held).collect()
    }
}

impl Link {
    fn stream(&mut self, ring: &Ring) -> Result<()> {
        loop {
            self.frame.clear();
            self.frame.extend_from_slice(&self.sent.to_be_bytes());
            self.frame.extend_from_slice(&[0; HEAD_SIZE - 8]);
            let count = ring.read_log(self.sent, MAX_BODY, &mut self.frame)?;
            if count == 0 {
                return Ok(());
            }
            self.frame[8..HEAD_SIZE].copy_from_slice(&(count as u32).to_be_bytes());
            (&*self.replica).write_all(&self.frame).context("write to the replica")?;
            self.sent += count as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::Pieces;
    use std::net::Ipv4Addr;

    struct Pair {
        near: Arc<TcpStream>,
        far: TcpStream,
    }

    fn pair() -> Pair {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        far.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        Pair { near: Arc::new(listener.accept().unwrap().0), far }
    }

    fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn answers_whose_records_were_reported_before_they_are_held_leave_at_once() {
        let client = pair();
        let held = || Held { stream: client.near.clone(), answers: Vec::new() };
        let mut waiting = Waiting::default();
        assert_eq!(waiting.on_held(10, held()).len(), 0);
        assert_eq!(waiting.on_report(20).len(), 1);
        assert_eq!(waiting.on_held(20, held()).len(), 1);
        assert_eq!(waiting.on_held(21, held()).len(), 0);
    }

    #[test]
    fn answers_wait_until_a_report_covers_their_records() {
        let directory = tempfile::tempdir().unwrap();
        let ring = Ring::create(&directory.path().join("ring"), 1 << 20, Pieces::Small).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let leader = Leader::start(ring.clone(), listener);
        let mut client = pair();
        for (log, answer) in [(b"first record", b"one"), (b"other record", b"two")] {
            ring.append_log(ring.end(), log).unwrap();
            leader.hold(&client.near, answer.to_vec());
        }
        let mut replica = TcpStream::connect(address).unwrap();
        replica.write_all(&0_u64.to_be_bytes()).unwrap();
        let head = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24];
        assert_eq!(read(&mut replica, 36), [&head[..], b"first recordother record"].concat());

        // One byte short of the second record: only the first is answered. Both would leave in one write.
        replica.write_all(&23_u64.to_be_bytes()).unwrap();
        let mut some = [0; 16];
        assert_eq!(client.far.read(&mut some).unwrap(), 3);
        assert_eq!(&some[..3], b"one");
        // A report that comes in two pieces.
        let report = 24_u64.to_be_bytes();
        replica.write_all(&report[..5]).unwrap();
        replica.write_all(&report[5..]).unwrap();
        assert_eq!(read(&mut client.far, 3), b"two");
    }
}
