//! Up to which offset enough members have the log. Pure; who counts as a member is the caller's to say, by the acks it
//! passes: all connected followers, those of an epoch, or those of a sync-state set.

/// Returns the offset up to which `required` members have the log: its owner, who has it up to `own_written`, and the
/// followers, each with what it has acknowledged. 0 when there are not that many members. The order of `acks` does not
/// matter, and is not kept.
pub fn confirmed(own_written: u64, acks: &mut [u64], required: usize) -> u64 {
    let Some(nth) = required.saturating_sub(1).checked_sub(1) else { return own_written };
    if nth >= acks.len() {
        return 0;
    }
    let (_, ack, _) = acks.select_nth_unstable_by(nth, |a, b| b.cmp(a));
    // What a follower has behind our end is nothing of ours.
    own_written.min(*ack)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_members_as_required_have_what_is_confirmed() {
        for (own, acks, required, want) in [
            // Alone, the owner confirms for itself.
            (100, &[][..], 0, 100),
            (100, &[], 1, 100),
            (100, &[50], 1, 100),
            // Too few members confirm nothing.
            (100, &[], 2, 0),
            (100, &[90], 3, 0),
            (100, &[90, 80], 4, 0),
            // One follower.
            (100, &[90], 2, 90),
            (100, &[100], 2, 100),
            (100, &[0], 2, 0),
            // Two followers, in any order.
            (100, &[90, 80], 2, 90),
            (100, &[80, 90], 2, 90),
            (100, &[80, 90], 3, 80),
            // Three followers.
            (100, &[70, 90, 80], 2, 90),
            (100, &[70, 90, 80], 3, 80),
            (100, &[70, 90, 80], 4, 70),
            (100, &[90, 90, 10], 3, 90),
            (100, &[90, 90, 10], 4, 10),
            // Never more than the owner has.
            (100, &[120, 110], 3, 100),
            (100, &[120], 2, 100),
        ] {
            let got = confirmed(own, &mut acks.to_vec(), required);
            assert_eq!(got, want, "own {own}, acks {acks:?}, required {required}");
        }
    }
}
