//! Whether a slave may follow a master: decided before it connects, because the stream itself checks nothing. Pure.

/// What a slave has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnLog {
    /// First offset.
    pub begin: u64,
    /// End.
    pub end: u64,
    /// Whether there is nothing in between.
    pub empty: bool,
    /// Whether the master has the same bytes where the slave's last record is; `None` when it has nothing there any
    /// more, or the slave has no record.
    pub tail_matches: Option<bool>,
}

/// What a master has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderLog {
    /// First offset.
    pub begin: u64,
    /// End.
    pub end: u64,
}

/// What a slave does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Join {
    /// It follows from its end on.
    Continue,
    /// It gives up its log and takes all the master has.
    StartOver {
        /// In words, with numbers.
        why: String,
    },
    /// It does not follow; a human must decide.
    Refuse {
        /// In words, with numbers and the remedy.
        why: String,
    },
}

/// Decides whether a slave may follow a master.
pub fn decide_join(own: OwnLog, leader: LeaderLog) -> Join {
    if own.empty {
        return Join::Continue;
    }
    let (ours, theirs) =
        (format!("{} to {}", own.begin, own.end), format!("{} to {}", leader.begin, leader.end));
    if own.end > leader.end {
        return Join::Refuse {
            why: format!(
                "this slave's log holds {ours}, its master's only {theirs}: the slave has {} bytes that the master has lost or never had; either bring back the master's data, or make the slave's store empty and restart it to give them up",
                own.end - leader.end
            ),
        };
    }
    if own.end < leader.begin {
        return Join::StartOver {
            why: format!(
                "this slave's log holds {ours}, its master's {theirs}: the master has dropped the {} bytes in between",
                leader.begin - own.end
            ),
        };
    }
    if own.tail_matches == Some(false) {
        return Join::Refuse {
            why: format!(
                "this slave's log holds {ours}, its master's {theirs}, but the slave's last record is not what the master has there: the logs have parted; compare them, then make the store of the one to give up empty and restart it"
            ),
        };
    }
    Join::Continue
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    enum Kind {
        Continue,
        StartOver,
        Refuse,
    }

    #[test]
    fn a_slave_follows_only_a_master_whose_log_begins_with_its_own() {
        let leader = LeaderLog { begin: 1000, end: 5000 };
        let own = |begin, end, tail_matches| OwnLog { begin, end, empty: false, tail_matches };
        let empty = |end| OwnLog { begin: end, end, empty: true, tail_matches: None };
        for (own, want) in [
            (empty(0), Kind::Continue),
            (empty(1000), Kind::Continue),
            (empty(9000), Kind::Continue),
            (own(0, 3000, Some(true)), Kind::Continue),
            (own(2000, 5000, Some(true)), Kind::Continue),
            (own(0, 1000, None), Kind::Continue),
            (own(0, 999, None), Kind::StartOver),
            (own(0, 5001, Some(true)), Kind::Refuse),
            (own(0, 5001, None), Kind::Refuse),
            (own(6000, 7000, None), Kind::Refuse),
            (own(0, 3000, Some(false)), Kind::Refuse),
            (own(0, 5000, Some(false)), Kind::Refuse),
        ] {
            let got = match decide_join(own, leader) {
                Join::Continue => Kind::Continue,
                Join::StartOver { .. } => Kind::StartOver,
                Join::Refuse { .. } => Kind::Refuse,
            };
            assert_eq!(got, want, "{own:?}");
        }
    }

    #[test]
    fn reasons_carry_both_sides_numbers() {
        let leader = LeaderLog { begin: 1000, end: 5000 };
        for own in [
            OwnLog { begin: 100, end: 700, empty: false, tail_matches: None },
            OwnLog { begin: 100, end: 7000, empty: false, tail_matches: None },
            OwnLog { begin: 100, end: 3000, empty: false, tail_matches: Some(false) },
        ] {
            let (Join::StartOver { why } | Join::Refuse { why }) = decide_join(own, leader) else {
                panic!("{own:?} may not follow")
            };
            assert!(why.contains(&format!("100 to {}", own.end)) && why.contains("1000 to 5000"), "{why}");
        }
    }
}
