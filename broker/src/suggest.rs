//! Which member of its group a consumer is to pull from next (P§6.3). Pure.
//!
//! A master sends consumers that are far behind to a slave, so that they read cold messages there. A slave sends
//! everybody else back as long as there is a master: it may lag, and only the master knows where a queue ends.

use protocol::bodies::subscription_group::SubscriptionGroupConfig;

/// Broker id of every master.
const MASTER: i64 = 0;

/// Who answers a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answering {
    /// The master; `slave_read` is its `slaveReadEnable`.
    Master {
        /// Whether slaves serve pulls.
        slave_read: bool,
    },
    /// A slave.
    Slave {
        /// Its broker id.
        id: i64,
        /// Whether there is a master to go to.
        master_is_alive: bool,
    },
}

impl Answering {
    /// Returns the broker id of the member to ask next. `far_behind`: what the consumer is at is no longer in memory.
    pub fn suggest(self, group: &SubscriptionGroupConfig, far_behind: bool) -> i64 {
        match self {
            Answering::Master { slave_read: false } => MASTER,
            _ if far_behind => group.which_broker_when_consume_slowly,
            Answering::Master { slave_read: true } => group.broker_id,
            Answering::Slave { master_is_alive: true, .. } => MASTER,
            // Java names the master all the same; clients then try a dead one until their route says so.
            Answering::Slave { id, .. } if group.broker_id == MASTER => id,
            Answering::Slave { .. } => group.broker_id,
        }
    }

    /// Says whether a pull that found nothing is sent to the master at once, with the offset it asked for.
    pub fn redirects(self) -> bool {
        matches!(self, Answering::Slave { master_is_alive: true, .. })
    }

    /// Says whether an offset behind the end is left alone, because the master may have more.
    pub fn may_lack_messages(self) -> bool {
        matches!(self, Answering::Slave { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_far_behind_go_to_slaves_and_others_to_the_master_while_there_is_one() {
        let usual = SubscriptionGroupConfig::default();
        let special =
            SubscriptionGroupConfig { broker_id: 3, which_broker_when_consume_slowly: 2, ..usual.clone() };
        let master = |slave_read| Answering::Master { slave_read };
        let slave = |master_is_alive| Answering::Slave { id: 4, master_is_alive };
        for (answering, group, in_memory, far_behind) in [
            (master(false), &usual, 0, 0),
            (master(false), &special, 0, 0),
            (master(true), &usual, 0, 1),
            (master(true), &special, 3, 2),
            (slave(true), &usual, 0, 1),
            (slave(true), &special, 0, 2),
            (slave(false), &usual, 4, 1),
            (slave(false), &special, 3, 2),
        ] {
            let got = [false, true].map(|far| answering.suggest(group, far));
            assert_eq!(got, [in_memory, far_behind], "{answering:?} {group:?}");
        }
    }
}
