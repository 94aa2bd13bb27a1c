//! Everything that can happen to a slave, under load: the master serves on, or answers as sync double write promises,
//! its memory stays bounded, and the slave catches up by itself.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::codes::ResponseCode;
use tests::group::{Group, Setup};
use tests::ledger::Ledger;
use tests::load::{Load, Plan};
use tests::random::Random;
use tests::relay::Way;
use tests::setting::setting;
use tests::wait::{until, until_ok};

use crate::{CONFIG, LIMIT, SLAVE_IS_SILENT, SLAVE_TIMEOUT, SLOWNESS, assert_has_everything, plan};

/// What a master's memory may grow by while a slave is in trouble: caches fill, nothing is kept for slaves.
const ALLOWANCE: u64 = 32 << 20;
/// Bytes that a slave's disk has left when it is full: less than a segment, and more than the percent from which old
/// segments would be deleted to make room.
const LEFT_ON_A_FULL_DISK: u64 = 3 << 20;

#[test]
fn a_killed_slave_catches_up_when_it_is_back() {
    through(&Fault {
        strike: |group| {
            group.slave().kill();
            None
        },
        mend: |group| group.slave().start_and_wait(),
        ..Fault::default()
    });
}

#[test]
fn a_suspended_slave_catches_up_when_its_time_goes_on() {
    through(&Fault {
        strike: |group| {
            group.slave().suspend();
            None
        },
        mend: |group| group.slave().resume(),
        explained: SLAVE_IS_SILENT,
        ..Fault::default()
    });
}

#[test]
fn a_slave_cut_off_both_ways_catches_up_when_the_link_is_back() {
    through(&Fault {
        strike: |group| {
            group.cut();
            None
        },
        ..Fault::default()
    });
}

#[test]
fn a_slave_whose_packets_are_lost_both_ways_catches_up_when_the_link_is_back() {
    through(&Fault {
        strike: |group| {
            group.stall_both();
            None
        },
        explained: SLAVE_IS_SILENT,
        ..Fault::default()
    });
}

#[test]
fn a_slave_that_gets_nothing_and_is_heard_catches_up_when_the_link_is_back() {
    through(&Fault {
        strike: |group| {
            group.stall(Way::Back);
            None
        },
        explained: SLAVE_IS_SILENT,
        ..Fault::default()
    });
}

#[test]
fn a_slave_that_gets_everything_and_is_not_heard_catches_up_when_the_link_is_back() {
    through(&Fault {
        strike: |group| {
            group.stall(Way::There);
            None
        },
        explained: SLAVE_IS_SILENT,
        ..Fault::default()
    });
}

#[test]
fn a_slave_with_a_full_disk_catches_up_when_there_is_space_again() {
    through(&Fault {
        strike: |group| Some(fill_disk(group)),
        slave_disk: Some(256),
        slave_config: &[
            ("diskMaxUsedSpaceRatio", "99"),
            ("diskSpaceCleanForciblyRatio", "99"),
            ("diskSpaceWarningLevelRatio", "100"),
        ],
        explained: &["No space left on device"],
        ..Fault::default()
    });
}

#[test]
fn a_second_slave_keeps_sync_double_write_going_while_the_first_is_cut_off() {
    let group = Group::start(&Setup { slaves: 2, sync: true, config: CONFIG, ..Setup::default() });
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(&ledger, &plan(&group));
    for way in [Way::There, Way::Back] {
        group.link().stall(way);
        let before = ledger.acknowledged();
        let start = Instant::now();
        until("acknowledgements by the other slave", LIMIT, || {
            (ledger.acknowledged() > before + 500 && start.elapsed() > SLAVE_TIMEOUT).then_some(())
        });
        group.link().heal();
    }
    load.stop();
    assert_eq!(ledger.late(ResponseCode::FLUSH_SLAVE_TIMEOUT), 0);
    group.assert_logs_identical();
    for slave in &group.slaves {
        assert_has_everything(&ledger, &slave.server.addr());
    }
    assert_eq!(group.complaints(SLAVE_IS_SILENT), Vec::<String>::new());
}

#[test]
fn a_master_keeps_nothing_in_memory_for_a_slave_that_takes_nothing() {
    // Long enough that the connection stays open all the time.
    let config = [CONFIG, &[("haHousekeepingInterval", "60000")]].concat();
    let group = Group::start(&Setup { config: &config, ..Setup::default() });
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(&ledger, &Plan { sizes: 60_000.into(), ..plan(&group) });
    until_acknowledged(&ledger, 500);
    let memory = group.master.process().expect("a master that runs");
    let (before, taken) = (memory.peak(), group.link().forwarded(Way::Back));
    group.stall(Way::Back);
    let target = group.master.end() + 8 * ALLOWANCE;
    until("a backlog", LIMIT, || (group.master.end() > target).then_some(()));
    load.stop();
    let passed = group.link().forwarded(Way::Back) - taken;
    assert!(passed < ALLOWANCE, "{passed} bytes went through a stalled link");
    let grown = memory.peak().saturating_sub(before);
    println!("a backlog of {} MiB, the master grew by {} MiB", (8 * ALLOWANCE) >> 20, grown >> 20);
    assert!(grown < ALLOWANCE, "the master grew by {} MiB", grown >> 20);
    group.heal();
    group.assert_logs_identical();
    assert_eq!(group.complaints(&[]), Vec::<String>::new());
}

/// What happens to a slave, and how it is mended.
struct Fault {
    strike: fn(&Group) -> Option<Filler>,
    mend: fn(&Group),
    slave_disk: Option<u32>,
    slave_config: &'static [(&'static str, &'static str)],
    /// Complaints that it explains.
    explained: &'static [&'static str],
}

impl Default for Fault {
    fn default() -> Self {
        Fault { strike: |_| None, mend: Group::heal, slave_disk: None, slave_config: &[], explained: &[] }
    }
}

fn through(fault: &Fault) {
    for sync in [false, true] {
        let (times, seed) = (setting("SLAVE_FAULTS", 1), setting("REPLICATION_SEED", 1));
        // A small disk holds the messages of one round.
        let per_group = if fault.slave_disk.is_some() { 1 } else { times };
        for first in (0..times).step_by(per_group.max(1) as usize) {
            let rounds = first..times.min(first + per_group);
            rounds_on_a_group(fault, sync, rounds.map(|round| Random::nth(seed, round)));
        }
    }
}

fn rounds_on_a_group(fault: &Fault, sync: bool, rounds: impl Iterator<Item = Random>) {
    let group = Group::start(&Setup {
        sync,
        config: CONFIG,
        slave_config: fault.slave_config,
        slave_disk: fault.slave_disk,
        ..Setup::default()
    });
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(&ledger, &Plan { pause: Duration::from_millis(2), ..plan(&group) });
    until_acknowledged(&ledger, 1_000);
    let memory = group.master.process().expect("a master that runs");
    let before = memory.peak();
    let mut round = 0;
    for mut random in rounds {
        ledger.take_slowest();
        let filler = (fault.strike)(&group);
        if sync {
            sends_are_late(&ledger);
        } else {
            sends_go_on(&group, &ledger, filler.is_some());
        }
        hold_on(&mut random);
        drop(filler);
        (fault.mend)(&group);
        let target = group.master.end();
        until_ok("the slave to catch up", LIMIT, || {
            let end = group.slave().replica().log().map_err(|e| e.to_string())?.end;
            if end >= target { Ok(()) } else { Err(format!("it ends at {end} of {target}")) }
        });
        // In sync double write this says that the slave counts again.
        until_acknowledged(&ledger, 200);
        round += 1;
    }
    load.stop();
    let compared = group.assert_logs_identical();
    let grown = memory.peak().saturating_sub(before);
    for member in [&group.master, group.slave()] {
        assert_has_everything(&ledger, &member.addr());
    }
    println!(
        "{}: {round} times, {} acknowledged, {} late, {compared} bytes identical, the master grew by {} MiB",
        if sync { "sync" } else { "async" },
        ledger.acknowledged(),
        ledger.late(ResponseCode::FLUSH_SLAVE_TIMEOUT),
        grown >> 20
    );
    assert_eq!((ledger.unanswered(), ledger.take_refused().len()), (0, 0));
    assert!(grown < ALLOWANCE, "the master grew by {} MiB", grown >> 20);
    assert_eq!(group.complaints(fault.explained), Vec::<String>::new());
}

/// Asynchronous: nobody waits for the slave, which is left behind.
fn sends_go_on(group: &Group, ledger: &Ledger, slowly: bool) {
    // A disk is full when the next segment is due.
    let behind = if slowly { 64 << 10 } else { 0 };
    let (start, slave) = (Instant::now(), || group.slave().replica().log().map(|log| log.end).ok());
    until("the master to go on alone", LIMIT, || {
        let is_behind = behind == 0 || slave().is_some_and(|end| group.master.end() > end + behind);
        is_behind.then_some(())
    });
    until_acknowledged(ledger, 500);
    let (slowest, passed) = (ledger.take_slowest(), start.elapsed());
    assert!(slowest < SLOWNESS, "a send took {slowest:?} of {passed:?} with nobody to wait for");
    assert_eq!(ledger.late(ResponseCode::FLUSH_SLAVE_TIMEOUT), 0);
}

/// Sync double write: every send is stored, and says in time that the slave has it not.
fn sends_are_late(ledger: &Ledger) {
    let late = || ledger.late(ResponseCode::FLUSH_SLAVE_TIMEOUT);
    let before = late();
    // Every sender has had one by then, so that what was on its way at the fault is answered.
    until("answers that the slave is late", LIMIT, || (late() >= before + 16).then_some(()));
    let acknowledged = ledger.acknowledged();
    let before = late();
    until("more answers that the slave is late", LIMIT, || (late() >= before + 16).then_some(()));
    assert_eq!(ledger.acknowledged(), acknowledged, "acknowledged without the slave");
    let slowest = ledger.take_slowest();
    assert!(slowest < SLAVE_TIMEOUT + SLOWNESS, "a send took {slowest:?}");
}

/// Keeps the fault for a random while: sometimes shorter, sometimes longer than it takes to notice a dead connection.
fn hold_on(random: &mut Random) {
    std::thread::sleep(Duration::from_millis(random.below(3_000) as u64));
}

fn until_acknowledged(ledger: &Ledger, more: usize) {
    let before = ledger.acknowledged();
    until("acknowledgements", LIMIT, || (ledger.acknowledged() >= before + more).then_some(()));
}

/// A file that takes the space on a slave's disk; dropping it gives the space back.
struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        // It may be gone with its disk.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn fill_disk(group: &Group) -> Filler {
    let folder = group.slave().store();
    let path = folder.join("filler");
    let mut file = File::create(&path).expect("a file on the small disk");
    let free = || {
        let space = rustix::fs::statvfs(&folder).expect("the small disk");
        space.f_bavail * space.f_frsize
    };
    let chunk = [7; 64 * 1024];
    while free() > LEFT_ON_A_FULL_DISK && file.write_all(&chunk).is_ok() {}
    Filler(path)
}
