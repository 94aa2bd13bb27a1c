//! Apache's broker on the other side of the stream, which is how users move: its slave follows our master, our slave
//! follows its master, while the link is cut and healed again and again. Afterwards both have the same bytes, and
//! either serves every message.

use std::sync::Arc;
use std::time::Duration;

use protocol::codes::{RequestCode, ResponseCode};
use tests::group::{Group, Maker, Setup};
use tests::ledger::{Ledger, bound, pull};
use tests::load::{Load, Plan};
use tests::server::Server;
use tests::setting::setting;
use tests::sizes::Sizes;
use tests::talk::Talk;
use tests::wait::{until, until_ok};

use crate::{LIMIT, QUEUES, TOPIC, assert_has_everything, plan};

/// How long a million messages may take.
const LONG: Duration = Duration::from_secs(3_600);

/// A Java broker that has just started may stumble over a list of its own that is still empty; it is asked again.
const JAVA_IS_YOUNG: &[&str] =
    &["refused GET_BROKER_RUNTIME_INFO: 1 SYSTEM_ERROR, java.util.NoSuchElementException"];

#[test]
fn a_java_slave_follows_our_master_asynchronously() {
    follow_through_cuts(Maker::Gantry, Maker::Java, false);
}

#[test]
fn a_java_slave_follows_our_master_with_sync_double_write() {
    follow_through_cuts(Maker::Gantry, Maker::Java, true);
}

#[test]
fn our_slave_follows_a_java_master_asynchronously() {
    follow_through_cuts(Maker::Java, Maker::Gantry, false);
}

#[test]
fn our_slave_follows_a_java_master_with_sync_double_write() {
    follow_through_cuts(Maker::Java, Maker::Gantry, true);
}

fn follow_through_cuts(master: Maker, slave: Maker, sync: bool) {
    let (messages, cuts) = (setting("MESSAGES", 20_000), setting("CUTS", 2));
    // Segments as users have them when there is enough to fill some, small ones otherwise.
    let segment = if messages >= 1_000_000 { "1073741824" } else { "16777216" };
    let config = [("mappedFileSizeCommitLog", segment), ("slaveTimeout", "1000")];
    let group = Group::start(&Setup { master, slave, sync, config: &config, ..Setup::default() });
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(
        &ledger,
        &Plan { senders: 16, sizes: Sizes::Mixed, count: Some(messages), ..plan(&group) },
    );
    for cut in 1..=cuts {
        until(&format!("{cut} of {} parts to be sent", cuts + 1), LONG, || {
            (ledger.sent() >= messages * cut / (cuts + 1) || load.is_over()).then_some(())
        });
        cut_and_heal(&group, &ledger, sync);
    }
    until("everything to be sent", LONG, || load.is_over().then_some(()));
    load.stop();

    let compared = group.assert_logs_identical();
    for member in [&group.master, group.slave()] {
        wait_until_readable(member, &group.master);
        assert_has_everything(&ledger, &member.addr());
    }
    let (acknowledged, late) = (ledger.acknowledged(), ledger.late(ResponseCode::FLUSH_SLAVE_TIMEOUT));
    println!(
        "{slave:?} slave of a {master:?} master, {}: {acknowledged} acknowledged, {late} late, {cuts} cuts, \
         {compared} bytes identical",
        if sync { "sync" } else { "async" }
    );
    assert_eq!(ledger.unanswered(), 0);
    // The cuts do that.
    assert!(late == 0 || sync, "{late} of a master that waits for nobody");
    assert_eq!(ledger.take_refused().len(), 0);
    assert_eq!(group.complaints(JAVA_IS_YOUNG), Vec::<String>::new());
}

/// Takes the link down until the master cannot but notice.
fn cut_and_heal(group: &Group, ledger: &Ledger, sync: bool) {
    let (sent, late) = (ledger.sent(), ledger.late(ResponseCode::FLUSH_SLAVE_TIMEOUT));
    group.cut();
    until("sends beside a cut link", LIMIT, || {
        let noticed = match sync {
            true => ledger.late(ResponseCode::FLUSH_SLAVE_TIMEOUT) > late,
            false => ledger.sent() > sent + 200,
        };
        noticed.then_some(())
    });
    group.heal();
}

/// A Java broker makes its queues from its log a moment later, and a Java slave asks for topics every ten seconds only.
fn wait_until_readable(member: &Server, master: &Server) {
    let ends = |addr: &str| -> std::io::Result<Vec<i64>> {
        let mut talk = Talk::connect(addr)?;
        (0..QUEUES).map(|queue| bound(&mut talk, RequestCode::GET_MAX_OFFSET, TOPIC, queue as i32)).collect()
    };
    until_ok("all queues to be readable", LIMIT, || {
        let [found, wanted] = [member, master].map(|server| ends(&server.addr()).map_err(|e| e.to_string()));
        let (found, wanted) = (found?, wanted?);
        let mut talk = Talk::connect(&member.addr()).map_err(|e| e.to_string())?;
        let answer = pull(&mut talk, "judge", TOPIC, 0, found[0], 0).map_err(|e| e.to_string())?;
        let known = answer.code != ResponseCode::TOPIC_NOT_EXIST;
        if known && found == wanted {
            Ok(())
        } else {
            Err(format!("{found:?} of {wanted:?}, {:?}", answer.code))
        }
    });
}
