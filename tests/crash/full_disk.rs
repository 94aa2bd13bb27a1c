//! A disk that fills up: sends are refused with a definite code, reads go on, nothing acknowledged is lost, and sends
//! go on when there is space again.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use protocol::codes::ResponseCode;
use tests::cluster::Cluster;
use tests::ledger::Ledger;
use tests::options::Options;
use tests::talk::Talk;
use tests::wait::until;

const TOPIC: &str = "Ledger";
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn over_the_watermark_sends_are_refused_and_reads_go_on_until_there_is_space_again() {
    // One segment holds everything, so that early cleaning finds nothing it may delete.
    let disk = SmallDisk::start("watermark", 256, "67108864");
    let mut talk = disk.talk();
    assert_eq!(disk.send_many(&mut talk, 200), 200);
    let filler = disk.fill(u64::MAX);
    disk.until_refused(&mut talk);
    let refused = disk.ledger.take_refused();
    assert!(refused.iter().all(|answer| answer.code == ResponseCode::SERVICE_NOT_AVAILABLE), "{refused:?}");
    disk.assert_all_is_there();
    drop(filler);
    disk.until_accepted(&mut talk);
    assert_eq!(disk.send_many(&mut talk, 50), 50);
    disk.assert_all_is_there();
}

#[test]
fn a_disk_too_full_for_the_next_segment_loses_nothing_and_serves_again_when_there_is_space() {
    // Two segments fit, a third does not, and the disk stays below the mark where old segments are deleted early.
    let disk = SmallDisk::start("enospc", 128, "33554432");
    let mut talk = disk.talk();
    assert_eq!(disk.send_many(&mut talk, 20), 20);
    let filler = disk.fill(38 << 20);
    disk.until_refused(&mut talk);
    let refused = disk.ledger.take_refused();
    let definite = [ResponseCode::SERVICE_NOT_AVAILABLE, ResponseCode::SYSTEM_ERROR];
    assert!(refused.iter().all(|answer| definite.contains(&answer.code)), "{refused:?}");
    disk.assert_all_is_there();
    drop(filler);
    disk.until_accepted(&mut talk);
    assert_eq!(disk.send_many(&mut talk, 50), 50);
    disk.assert_all_is_there();
}

#[test]
fn a_broker_killed_on_a_full_disk_starts_there_and_has_everything() {
    let disk = SmallDisk::start("killed", 128, "33554432");
    let mut talk = disk.talk();
    assert_eq!(disk.send_many(&mut talk, 100), 100);
    let _filler = disk.fill(u64::MAX);
    disk.until_refused(&mut talk);
    let broker = disk.cluster.broker_member(0);
    disk.cluster.kill(&broker);
    disk.cluster.wait_ready(&broker);
    disk.assert_all_is_there();
}

struct SmallDisk {
    cluster: Cluster,
    ledger: Ledger,
}

/// A file that takes space; dropping it gives the space back.
struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        // It may be gone with its disk.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl SmallDisk {
    fn start(name: &str, mib: u32, segment: &str) -> SmallDisk {
        let config = [("mappedFileSizeCommitLog", segment)];
        let options = Options { config: &config, small_disk: Some(mib), ..Options::default() };
        SmallDisk { cluster: Cluster::start(name, &options), ledger: Ledger::default() }
    }

    fn talk(&self) -> Talk {
        Talk::connect(&self.cluster.broker(0)).expect("the broker serves")
    }

    /// Sends and returns how many were accepted.
    fn send_many(&self, talk: &mut Talk, count: usize) -> usize {
        let send = |_: &usize| self.ledger.send(talk, TOPIC, 0, 10_000).expect("an answer, whatever it is");
        (0..count).filter(send).count()
    }

    fn until_refused(&self, talk: &mut Talk) {
        until("a send to be refused", LIMIT, || (self.send_many(talk, 100) < 100).then_some(()));
    }

    fn until_accepted(&self, talk: &mut Talk) {
        until("a send to be accepted again", LIMIT, || (self.send_many(talk, 1) == 1).then_some(()));
        self.ledger.take_refused();
    }

    /// Writes a file of so many bytes, or as many as there is space for.
    fn fill(&self, bytes: u64) -> Filler {
        let path = self.cluster.data().join("filler");
        let mut file = File::create(&path).expect("a file on the small disk");
        let chunk = [7; 64 * 1024];
        let mut written = 0;
        while written < bytes && file.write_all(&chunk).is_ok() {
            written += chunk.len() as u64;
        }
        Filler(path)
    }

    fn assert_all_is_there(&self) {
        let report = self.ledger.judge(&self.cluster.broker(0), TOPIC, 1);
        assert!(report.broken.is_empty(), "{report:#?}");
    }
}
