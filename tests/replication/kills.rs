//! kill -9 of the master under load, and a look at the slave before the master is back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tests::group::{Group, Setup};
use tests::ledger::Ledger;
use tests::load::{Load, Plan};
use tests::random::Random;
use tests::relay::Way;
use tests::setting::setting;
use tests::sizes::Sizes;
use tests::wait::until;

use crate::{CONFIG, LIMIT, QUEUES, TOPIC, assert_has_everything, plan};

/// The metric of a master that says what a slave does not have.
const LAG: &str = "gantry_broker_follower_lag_bytes";

#[test]
fn whatever_sync_double_write_acknowledged_is_on_the_slave_when_its_master_is_killed() {
    let group = Group::start(&Setup { sync: true, config: CONFIG, ..Setup::default() });
    let (kills, seed) = (setting("REPLICATION_KILLS", 3), setting("REPLICATION_SEED", 1));
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(&ledger, &plan(&group));
    for kill in 0..kills {
        load_for_a_while(&ledger, &mut Random::nth(seed, kill));
        group.master.kill();
        let report = ledger.judge(&group.slave().addr(), TOPIC, QUEUES as i32);
        assert!(report.broken.is_empty(), "seed {seed}, kill {kill}: {report:#?}");
        println!("kill {kill}: {} acknowledged, {} on the slave", report.acknowledged, report.stored);
        // The next acknowledgement says that the slave is back.
        group.master.start_and_wait();
    }
    finish(&group, &ledger, load);
}

#[test]
fn what_async_replication_loses_with_its_master_is_a_suffix_no_longer_than_the_lag_metric_said() {
    let group = Group::start(&Setup { config: CONFIG, ..Setup::default() });
    let (kills, seed) = (setting("REPLICATION_KILLS", 3), setting("REPLICATION_SEED", 1));
    let ledger = Arc::new(Ledger::default());
    let mut load = Load::start(&ledger, &plan(&group));
    for kill in 0..kills {
        load_for_a_while(&ledger, &mut Random::nth(seed, kill));
        // Every second time the slave is left behind on purpose, so that there is something to lose.
        let behind = kill % 2 == 1;
        if behind {
            group.stall(Way::Back);
            load_for_a_while(&ledger, &mut Random::nth(seed, kill));
        }
        // In this order: what the slave has not, by the metric, of what was written before it was read.
        let written = group.master.end();
        let lag = group.master.metric(LAG, "").expect("a master that knows its slave") as u64;
        group.master.kill();
        load.stop();
        group.heal();
        let end = settled_end(&group);
        println!("kill {kill}: {written} written, a lag of {lag} shown, the slave ends at {end}");
        assert!(
            end + lag >= written,
            "seed {seed}, kill {kill}: the slave ends at {end} of {written}, {lag}"
        );
        assert!(!behind || lag > 0, "seed {seed}, kill {kill}: a slave that gets nothing has no lag");
        let report = ledger.judge_before(&group.slave().addr(), TOPIC, QUEUES as i32, end);
        assert!(report.broken.is_empty(), "seed {seed}, kill {kill}: {report:#?}");
        group.master.start_and_wait();
        group.wait_until_linked();
        load = Load::start(&ledger, &plan(&group));
    }
    finish(&group, &ledger, load);
}

#[test]
fn a_slave_killed_again_and_again_while_it_catches_up_ends_with_the_same_bytes() {
    // So slow that it is never done between two kills.
    let config = [CONFIG, &[("haCatchUpBytesPerSecond", "8388608")]].concat();
    let group = Group::without_slaves(&Setup { config: &config, ..Setup::default() });
    let (kills, seed) = (setting("REPLICATION_KILLS", 3), setting("REPLICATION_SEED", 1));
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(&ledger, &Plan { sizes: Sizes::Mixed, ..plan(&group) });
    until("the master to have a log", LIMIT, || (group.master.end() > (8 + 4 * kills) << 20).then_some(()));
    load.stop();
    let mut reached = Vec::new();
    for kill in 0..kills {
        group.slave().start();
        let moment = Duration::from_millis(Random::nth(seed, kill).below(400) as u64);
        let mut joined = None;
        until("the slave to get on", LIMIT, || {
            let end = group.slave().replica().log().ok()?.end;
            let joined = joined.get_or_insert_with(|| (Instant::now(), end));
            (end > joined.1 && joined.0.elapsed() > moment).then(|| reached.push(end))
        });
        group.slave().kill();
    }
    assert!(reached.last() < Some(&group.master.end()), "it was done before the last kill: {reached:?}");
    group.slave().start_and_wait();
    let compared = group.assert_logs_identical();
    println!("killed at {reached:?}, {compared} bytes identical");
    assert_has_everything(&ledger, &group.slave().addr());
    assert_eq!(group.complaints(&[]), Vec::<String>::new());
}

/// Lets the load run until a random moment.
fn load_for_a_while(ledger: &Ledger, random: &mut Random) {
    let (start, before) = (Instant::now(), ledger.acknowledged());
    let moment = Duration::from_millis(200 + random.below(500) as u64);
    until("acknowledgements", LIMIT, || {
        (ledger.acknowledged() >= before + 200 && start.elapsed() >= moment).then_some(())
    });
}

/// Waits until a slave without a master has taken in what was still on its way, and returns where its log ends.
fn settled_end(group: &Group) -> u64 {
    let mut before = None;
    until("the slave's log to stand still", LIMIT, || {
        let end = group.slave().end();
        let still = before.replace(end) == Some(end);
        std::thread::sleep(Duration::from_millis(50));
        still.then_some(end)
    })
}

fn finish(group: &Group, ledger: &Arc<Ledger>, load: Load) {
    load_for_a_while(ledger, &mut Random::new(1));
    load.stop();
    let compared = group.assert_logs_identical();
    for member in [&group.master, group.slave()] {
        assert_has_everything(ledger, &member.addr());
    }
    println!("{} acknowledged, {compared} bytes identical", ledger.acknowledged());
    assert_eq!(group.complaints(&[]), Vec::<String>::new());
}
