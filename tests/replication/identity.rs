//! A slave with somebody else's data: it does not start, or does not follow, and says whose data it has.

use std::path::Path;
use std::sync::Arc;

use tests::group::{Group, Setup};
use tests::http;
use tests::ledger::Ledger;
use tests::load::{Load, Plan};
use tests::wait::until_ok;

use crate::{CONFIG, LIMIT, plan};

#[test]
fn a_slave_with_another_clusters_data_does_not_start_and_names_both() {
    let config = [CONFIG, &[("brokerClusterName", "Other")]].concat();
    let other = Group::start(&Setup { config: &config, ..Setup::default() });
    let ours = Group::without_slaves(&Setup { config: CONFIG, ..Setup::default() });
    assert!(other.slave().stop());
    copy(&other.slave().store(), &ours.slave().store());
    ours.slave().start();
    until_ok("the slave to end", LIMIT, || {
        let runs = ours.slave().process().is_some_and(|process| process.runs());
        if runs { Err(ours.slave().log()) } else { Ok(()) }
    });
    let said = ours.slave().log();
    assert!(said.contains("cluster Other") && said.contains("cluster Tests"), "{said}");
}

#[test]
fn a_slave_whose_log_is_not_its_masters_does_not_follow_and_says_so() {
    let groups = [0, 1].map(|_| {
        let group = Group::start(&Setup { config: CONFIG, ..Setup::default() });
        let ledger = Arc::new(Ledger::default());
        let load = Load::start(&ledger, &Plan { count: Some(500), ..plan(&group) });
        until_ok("messages", LIMIT, || if load.is_over() { Ok(()) } else { Err(String::new()) });
        group.assert_logs_identical();
        group
    });
    let [ours, other] = &groups;
    let before = other.slave().end();
    for group in &groups {
        assert!(group.slave().stop());
    }
    let theirs = ours.slave().store();
    std::fs::remove_dir_all(&theirs).expect("our own folder");
    copy(&other.slave().store(), &theirs);
    ours.slave().start();
    // The reason is told to whoever asks for readiness, and once in the log.
    until_ok("the slave to say why it does not follow", LIMIT, || {
        let answer = http::get(ours.slave().health(), "/readyz").unwrap_or_default();
        let warned = ours.slave().complaints();
        let said = answer.contains(" 503 ") && answer.contains("master") && !warned.is_empty();
        if said { Ok(()) } else { Err(format!("{answer}; {warned:?}")) }
    });
    assert_eq!(ours.slave().end(), before, "a log that is not the master's was written to");
    println!("{:?}", ours.slave().complaints());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("our own folder");
    for entry in std::fs::read_dir(from).expect("a store").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a file of a stopped store");
        }
    }
}
