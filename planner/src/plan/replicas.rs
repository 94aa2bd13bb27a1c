//! How many members a group's StatefulSet has next: more at once when it is made, one by one afterwards.

/// What decides.
pub(crate) struct Replicas {
    /// Of the StatefulSet, if there is one.
    pub(crate) now: Option<u32>,
    pub(crate) wanted: u32,
    /// The highest pod's place and one more.
    pub(crate) pods: u32,
    /// Whether all members that should be there are ready.
    pub(crate) all_ready: bool,
    /// The same of all but the last: one that goes need not have come.
    pub(crate) others_ready: bool,
    /// Whether another group is on its way to more members.
    pub(crate) another_grows: bool,
}

/// Returns the next number, and what it waits for.
pub(crate) fn decide(replicas: &Replicas) -> (u32, Option<&'static str>) {
    let wanted = replicas.wanted;
    match replicas.now {
        // Pods without a StatefulSet go on when it is made again.
        None => (wanted.max(replicas.pods), None),
        Some(0) => (wanted, None),
        Some(now) if now == wanted => (now, None),
        Some(now) if now > wanted && replicas.others_ready => (now - 1, None),
        Some(now) if now > wanted || !replicas.all_ready => (now, Some("a member is not ready")),
        Some(now) if replicas.another_grows => (now, Some("another group gets its new members first")),
        Some(now) => (now + 1, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_and_go_one_by_one_while_all_others_are_ready() {
        let usual = |now, wanted| Replicas {
            now,
            wanted,
            pods: 0,
            all_ready: true,
            others_ready: true,
            another_grows: false,
        };
        let cases = [
            ("made at once", usual(None, 3), 3),
            ("made again for the pods there are", Replicas { pods: 4, ..usual(None, 3) }, 4),
            ("started again at once", usual(Some(0), 3), 3),
            ("as it should be", Replicas { all_ready: false, ..usual(Some(3), 3) }, 3),
            ("one more", usual(Some(1), 3), 2),
            ("not before the last is in sync", Replicas { all_ready: false, ..usual(Some(2), 3) }, 2),
            ("group by group", Replicas { another_grows: true, ..usual(Some(1), 3) }, 1),
            ("one less", usual(Some(3), 1), 2),
            ("also when it has not come yet", Replicas { all_ready: false, ..usual(Some(3), 2) }, 2),
            (
                "not while another one is down",
                Replicas { all_ready: false, others_ready: false, ..usual(Some(3), 1) },
                3,
            ),
        ];
        for (name, replicas, expected) in cases {
            assert_eq!(decide(&replicas).0, expected, "{name}");
        }
    }
}
