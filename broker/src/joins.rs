//! Who may join a master: slaves of its own group. A foreign one is told so, with both identities, and so is this
//! broker's operator, once. Whoever reaches the port may say any name: what is repeated and logged of that is bounded.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use parking_lot::Mutex;
use protocol::requests::ExchangeHaInfo;
use tracing::warn;

use crate::identity::{Identity, member};

/// Refused slaves that are told of, each once; more than this are somebody's game.
const MAX_TOLD: usize = 64;
/// Characters of a name that are repeated.
const MAX_NAME: usize = 127;

/// The slaves that were refused.
#[derive(Default)]
pub struct Joins {
    told: Mutex<BTreeSet<String>>,
}

impl Joins {
    /// Checks a slave that introduces itself.
    ///
    /// # Errors
    /// Why it may not follow this master, in words for its operator.
    pub fn check(
        &self,
        master: &Identity,
        slave: &ExchangeHaInfo<'_>,
        from: SocketAddr,
    ) -> Result<(), String> {
        let Err(why) = may_follow(master, slave) else { return Ok(()) };
        let mut told = self.told.lock();
        if told.len() < MAX_TOLD && told.insert(why.clone()) {
            warn!(from = %from.ip(), "a slave may not join: {why}");
        }
        drop(told);
        Err(why)
    }
}

fn may_follow(master: &Identity, slave: &ExchangeHaInfo<'_>) -> Result<(), String> {
    let (cluster, name) = (slave.cluster_name.as_deref(), slave.broker_name.as_deref());
    let id = slave.broker_id.unwrap_or(-1);
    let both = format!(
        "the slave is {}, the master {}",
        member(&in_words(cluster), &in_words(name), id),
        member(&master.cluster, &master.broker_name, master.broker_id)
    );
    if cluster != Some(&master.cluster) || name != Some(&master.broker_name) {
        return Err(format!(
            "{both}; set brokerClusterName and brokerName of the slave to its master's, or haMasterAddress and namesrvAddr to its own master's"
        ));
    }
    if id <= 0 {
        return Err(format!("{both}; brokerId of a slave is 1 or more"));
    }
    if slave.store_id.as_deref() == Some(&master.store_id) {
        return Err(format!(
            "{both}, and both stores have the id {}: one is a copy; remove store.json of the slave, or give it an empty folder",
            master.store_id
        ));
    }
    Ok(())
}

/// A name as somebody else gave it, fit for a line of a log.
fn in_words(name: Option<&str>) -> String {
    let shown = name.unwrap_or("?").escape_debug().take(MAX_NAME);
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master() -> Identity {
        Identity {
            store_id: "aa".into(),
            cluster: "C1".into(),
            broker_name: "G1".into(),
            broker_id: 0,
            created_at: 1,
        }
    }

    #[test]
    fn what_a_stranger_says_is_repeated_in_bounds() {
        let joins = Joins::default();
        for n in 0..10 * MAX_TOLD {
            let name = format!("{n}\n{}", "x".repeat(100_000));
            let slave = ExchangeHaInfo {
                master_ha_address: None,
                master_flush_offset: None,
                master_address: None,
                cluster_name: Some("C1".into()),
                broker_name: Some(name.into()),
                broker_id: Some(1),
                store_id: None,
            };
            let why = joins.check(&master(), &slave, "127.0.0.1:1".parse().unwrap()).unwrap_err();
            assert!(why.len() < 500 && !why.contains('\n') && why.contains(&format!("group {n}")), "{why}");
        }
        assert_eq!(joins.told.lock().len(), MAX_TOLD);
    }

    #[test]
    fn only_slaves_of_the_masters_group_may_join_and_others_hear_both_identities() {
        let joins = Joins::default();
        let check = |cluster: &str, name: &str, id: i64, store: &str| {
            let slave = ExchangeHaInfo {
                master_ha_address: None,
                master_flush_offset: None,
                master_address: None,
                cluster_name: Some(cluster.into()),
                broker_name: Some(name.into()),
                broker_id: Some(id),
                store_id: Some(store.into()),
            };
            joins.check(&master(), &slave, "127.0.0.1:1".parse().unwrap())
        };
        assert_eq!(check("C1", "G1", 1, "bb"), Ok(()));
        for (cluster, name, id, store, remedy) in [
            ("C2", "G1", 1, "bb", "brokerClusterName"),
            ("C1", "G2", 2, "bb", "brokerName"),
            ("C1", "G1", 0, "bb", "1 or more"),
            ("C1", "G1", 1, "aa", "store.json"),
        ] {
            let why = check(cluster, name, id, store).unwrap_err();
            let both = format!(
                "the slave is cluster {cluster}, group {name} (member {id}), the master cluster C1, group G1 (member 0)"
            );
            assert!(why.starts_with(&both) && why.contains(remedy), "{why}");
        }
    }
}
