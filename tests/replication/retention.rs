//! A slave that was away so long that its master has dropped what it needs next: it starts over, loudly.

use std::sync::Arc;

use tests::group::{Group, Setup};
use tests::ledger::Ledger;
use tests::load::{Load, Plan};
use tests::replica::bounds;
use tests::wait::until;

use crate::{CONFIG, LIMIT, plan};

#[test]
fn a_slave_that_fell_behind_its_masters_retention_starts_over_and_says_so() {
    // A disk that is soon full, on which the master drops its oldest segments.
    let group = Group::start(&Setup {
        master_disk: Some(64),
        config: CONFIG,
        master_config: &[
            ("diskMaxUsedSpaceRatio", "40"),
            ("diskSpaceCleanForciblyRatio", "50"),
            ("diskSpaceWarningLevelRatio", "90"),
        ],
        ..Setup::default()
    });
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(&ledger, &Plan { sizes: 10_000.into(), ..plan(&group) });
    // A slave with nothing at all begins where its master does, without a word.
    until("messages on both", LIMIT, || {
        let on_the_slave = bounds(&group.slave().addr()).is_ok_and(|(_, end)| end > 0);
        (ledger.acknowledged() > 100 && on_the_slave).then_some(())
    });
    group.slave().kill();
    let end = group.master.end();
    until("the master to drop what the slave needs next", LIMIT, || {
        bounds(&group.master.addr()).is_ok_and(|(begin, _)| begin > end).then_some(())
    });
    load.stop();
    group.slave().start_and_wait();
    group.wait_until_linked();
    let compared = group.assert_logs_identical();
    let (begin, _) = bounds(&group.slave().addr()).expect("the slave serves");
    assert!(compared > 0 && begin > end, "the slave begins at {begin}, and had had the log up to {end}");
    let said = group.complaints(&[]);
    println!("{}", said.join("\n"));
    assert!(said.iter().any(|line| line.contains("WARN") && line.starts_with("pair-1")), "{said:?}");
}
