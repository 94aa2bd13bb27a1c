//! A slave that joins late, beside load: it gets the whole log, no faster than it is allowed to, and sends go on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tests::group::{Group, Setup};
use tests::ledger::Ledger;
use tests::load::{Load, Plan};
use tests::setting::setting;
use tests::sizes::Sizes;
use tests::wait::until;

use crate::{LIMIT, assert_has_everything, plan};

/// How long the longest catching up may take.
const LONG: Duration = Duration::from_secs(3_600);

#[test]
fn a_cold_slave_catches_up_within_its_throttle_and_sends_lose_no_more_than_that() {
    let size = setting("CATCH_UP_MIB", 96) << 20;
    let throttle = setting("CATCH_UP_BYTES_PER_SECOND", 16 << 20);
    let (throttle_text, segment) = (throttle.to_string(), (size / 8).clamp(16 << 20, 1 << 30).to_string());
    // A small cache, so that what the slave lacks comes from the disk.
    let config = [
        ("mappedFileSizeCommitLog", segment.as_str()),
        ("tailCacheBytes", "4194304"),
        ("haCatchUpBytesPerSecond", &throttle_text),
    ];
    let group = Group::without_slaves(&Setup { config: &config, ..Setup::default() });
    let fill = Arc::new(Ledger::default());
    let load = Load::start(&fill, &Plan { sizes: Sizes::Each(60_000), ..plan(&group) });
    until("the master to have a log", LONG, || (group.master.end() >= size).then_some(()));
    load.stop();

    // The load that must not suffer rests between its sends: a rate that the machine can keep.
    let load = Load::start(&fill, &Plan { pause: Duration::from_millis(4), ..plan(&group) });
    let alone = Rate::start(&fill);
    until("sends without a slave", LIMIT, || (alone.elapsed() > Duration::from_secs(2)).then_some(()));
    let alone = alone.finish(&fill);

    let (start, begin) = (Instant::now(), group.master.end());
    let (beside, memory) = (Rate::start(&fill), group.master.process().expect("a master that runs"));
    let resident = memory.resident();
    group.slave().start();
    until("the slave to have what there was", LONG, || {
        group.slave().replica().log().is_ok_and(|log| log.end >= begin).then_some(())
    });
    let (took, beside) = (start.elapsed(), beside.finish(&fill));
    load.stop();
    group.slave().wait_ready();

    let compared = group.assert_logs_identical();
    assert!(compared >= size, "{compared} of {size} bytes: an empty slave gets the whole log");
    assert_has_everything(&fill, &group.slave().addr());
    let rate = begin as f64 / took.as_secs_f64();
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    println!(
        "{:.0} MiB in {took:.1?}, {:.1} of {:.1} MiB/s; sends of {alone} alone, {beside} beside it; memory {} to {} MiB",
        mib(begin as f64),
        mib(rate),
        mib(throttle as f64),
        resident >> 20,
        memory.peak() >> 20
    );
    // A tenth for the burst at the beginning.
    assert!(rate < throttle as f64 * 1.1, "faster than allowed");
    assert!(rate > throttle as f64 * 0.3, "far slower than allowed");
    // A message of this load has about 1,100 bytes in the log.
    let (lost, allowed) = (alone.0 - beside.0, throttle as f64 / 1_100.0);
    assert!(lost < allowed && beside.0 > alone.0 * 0.5, "{alone} alone, {beside} beside it");
    assert_eq!(group.complaints(&[]), Vec::<String>::new());
}

/// Acknowledged messages over a time.
struct Rate(Instant, usize);

/// Messages per second.
#[derive(Clone, Copy)]
struct PerSecond(f64);

impl Rate {
    fn start(ledger: &Ledger) -> Rate {
        Rate(Instant::now(), ledger.acknowledged())
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn finish(self, ledger: &Ledger) -> PerSecond {
        PerSecond((ledger.acknowledged() - self.1) as f64 / self.0.elapsed().as_secs_f64())
    }
}

impl std::fmt::Display for PerSecond {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0}/s", self.0)
    }
}
