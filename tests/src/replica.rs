//! The members of a group side by side: how far each one's log reaches, as it says itself, and whether they are the
//! same on the disk once nothing moves.

use std::io::{Error, Result};
use std::path::PathBuf;
use std::time::Duration;

use protocol::bodies::kv_table::KvTable;
use protocol::codes::RequestCode;
use protocol::json::JsonBody;
use protocol::requests::Fields;

use crate::logs::{Log, compare};
use crate::talk::Talk;
use crate::wait::until_ok;

/// How long slaves may take to catch up once nothing is sent any more.
const CATCH_UP: Duration = Duration::from_secs(120);

/// A member that runs, and where its log lies.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Its name, for messages.
    pub name: String,
    /// Its address, `ip:port`.
    pub addr: String,
    /// The folder with the segments of its commit log.
    pub folder: PathBuf,
}

impl Replica {
    /// Returns the member's log as it is now.
    ///
    /// # Errors
    /// The member does not serve, or its answer is not the one it was taken for.
    pub fn log(&self) -> Result<Log> {
        let (begin, end) = bounds(&self.addr)?;
        Ok(Log { name: self.name.clone(), folder: self.folder.clone(), begin, end })
    }
}

/// Asks a broker where its log begins and ends.
///
/// # Errors
/// The broker does not serve, or its answer is not the one it was taken for.
pub fn bounds(addr: &str) -> Result<(u64, u64)> {
    let mut talk = Talk::connect(addr)?;
    let answer = talk.call(RequestCode::GET_BROKER_RUNTIME_INFO, &Fields(&[]), b"")?;
    let table = KvTable::decode(&answer.body).map_err(|e| Error::other(format!("{e}: {answer:?}")))?.table;
    // An empty Java broker says that its log begins at -1.
    let number = |key: &str| Some(table.get(key)?.parse::<i64>().ok()?.max(0) as u64);
    let bounds = number("commitLogMinOffset").zip(number("commitLogMaxOffset"));
    bounds.ok_or_else(|| Error::other(format!("{addr} does not say where its log ends: {table:?}")))
}

/// Waits until all members have the same end, twice in a row, and returns their logs.
///
/// # Panics
/// When they do not get there, with where each one is.
pub fn wait_until_equal(replicas: &[Replica]) -> Vec<Log> {
    let mut before = Vec::new();
    until_ok("all members have the same log", CATCH_UP, || {
        let logs: Vec<Log> =
            replicas.iter().map(Replica::log).collect::<Result<_>>().map_err(|e| e.to_string())?;
        let now: Vec<u64> = logs.iter().map(|log| log.end).collect();
        let still = std::mem::replace(&mut before, now.clone()) == now;
        if still && now.iter().all(|end| *end == now[0]) {
            Ok(logs)
        } else {
            Err(format!("they end at {now:?}"))
        }
    })
}

/// Waits until nothing moves, compares every byte the members have in common, and returns how many there are.
///
/// # Panics
/// When they differ.
pub fn assert_identical(replicas: &[Replica]) -> u64 {
    let logs = wait_until_equal(replicas);
    let others = logs[1..].iter().map(|log| compare(&logs[0], log).unwrap_or_else(|e| panic!("{e}")));
    others.min().unwrap_or(0)
}
