//! Every manifest that users are given starts, serves, stops cleanly and has nothing to complain about.

use std::path::Path;

use tests::cluster::Cluster;
use tests::ledger::Ledger;
use tests::talk::Talk;

#[test]
fn every_example_manifest_becomes_a_cluster_that_serves_and_stops_cleanly() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("deploy").map(|entry| entry.expect("deploy").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() >= 4, "only {files:?}");
    for file in files {
        let mut cluster = Cluster::of(&std::fs::read_to_string(&file).expect("an example"));
        let mut talk = Talk::connect(&cluster.broker(0)).expect("the broker serves");
        // A topic that every broker has, whether or not topics are created by sends.
        let topic = "BenchmarkTest";
        let ledger = Ledger::default();
        assert!(
            ledger.send(&mut talk, topic, 0, 100).expect("the broker answers"),
            "{file:?}: {:?}",
            ledger.take_refused()
        );
        assert_eq!(ledger.judge(&cluster.broker(0), topic, 1).broken, Vec::<String>::new(), "{file:?}");
        assert!(cluster.stop(), "{file:?} does not stop cleanly:\n{}", cluster.printed().join("\n"));
        assert_eq!(cluster.complaints(), Vec::<String>::new(), "{file:?}");
    }
}
