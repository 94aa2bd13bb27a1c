//! The two examples with slaves as a user has them: `gantry up`, messages, the same bytes on both sides, a clean stop.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use tests::cluster::Cluster;
use tests::command::gantry;
use tests::ledger::Ledger;
use tests::talk::Talk;
use tests::wait::until_ok;

use crate::LIMIT;

/// A topic that every broker has, whether or not topics are created by sends.
const TOPIC: &str = "BenchmarkTest";

#[test]
fn masters_and_slaves_of_the_asynchronous_example_have_the_same_bytes() {
    runs_for_real("2m-2s-async.yaml");
}

#[test]
fn masters_and_slaves_of_the_synchronous_example_have_the_same_bytes() {
    runs_for_real("2m-2s-sync.yaml");
}

fn runs_for_real(example: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(example);
    let mut cluster = Cluster::of(&std::fs::read_to_string(file).expect("an example"));
    assert_eq!(cluster.shape(), (2, 2));
    let ledgers = [Arc::new(Ledger::default()), Arc::new(Ledger::default())];
    for (group, ledger) in (0..).zip(&ledgers) {
        let mut talk = Talk::connect(&cluster.broker(group)).expect("the master serves");
        for number in 0..500 {
            assert!(
                ledger.send(&mut talk, TOPIC, number % 4, 1_000).expect("the master answers"),
                "{:?}",
                ledger.take_refused()
            );
        }
    }
    assert!(cluster.assert_logs_identical() > 2 * 500 * 1_000);
    for (group, ledger) in (0..).zip(&ledgers) {
        for ordinal in 0..2 {
            let report = ledger.judge(&cluster.member_addr(group, ordinal), TOPIC, 4);
            assert!(report.broken.is_empty() && report.stored == 500, "{report:#?}");
        }
    }
    shows_no_lag(&cluster);
    assert!(cluster.stop(), "{example} does not stop cleanly:\n{}", cluster.printed().join("\n"));
    assert_eq!(cluster.complaints(), Vec::<String>::new(), "{example}");
}

/// `gantry status` shows every member, and slaves that lack nothing.
fn shows_no_lag(cluster: &Cluster) {
    until_ok("gantry status to show members in sync", LIMIT, || {
        let output = Command::new(gantry())
            .args(["status", "-n", &cluster.name_server(0), "--output", "json"])
            .output()
            .expect("gantry runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            return Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)));
        }
        let rows: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let are = |role: &str, field: &str, value: Value| {
            let rows: Vec<&Value> = rows.iter().filter(|row| row["role"] == role).collect();
            rows.len() == 2 && rows.iter().all(|row| row[field] == value)
        };
        let well = are("slave", "lag_bytes", 0.into())
            && are("slave", "in_sync", true.into())
            && are("master", "in_sync_members", 2.into());
        if well { Ok(()) } else { Err(text) }
    });
}
