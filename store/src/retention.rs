//! What may go, decided from facts (P§5.9): segments past their time at the hour of deletion, segments past their
//! time at once when the disk is full, any but the last when it is very full. Pure.

/// When segments may go and when writes stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// How long a segment is kept after its last record, ms (`fileReservedTime`, given in hours).
    pub reserved_ms: i64,
    /// Hours of the day, UTC, at which segments past their time go (`deleteWhen`).
    pub delete_hours: Vec<u8>,
    /// Disk use, percent, from which they go at once (`diskMaxUsedSpaceRatio`).
    pub max_used_percent: u8,
    /// Disk use, percent, from which any segment but the last goes, oldest first (`diskSpaceCleanForciblyRatio`).
    pub force_percent: u8,
    /// Disk use, percent, from which writes are refused (`diskSpaceWarningLevelRatio`).
    pub refuse_percent: u8,
}

impl Default for RetentionPolicy {
    fn default() -> Self {
        RetentionPolicy {
            reserved_ms: 72 * 3600 * 1000,
            delete_hours: vec![4],
            max_used_percent: 75,
            force_percent: 85,
            refuse_percent: 90,
        }
    }
}

/// Segments that one pass removes at most, as in Java; the next pass is 10 s later.
pub const BATCH: usize = 10;

/// What is known of a sealed segment, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Physical offset of its first byte.
    pub base: u64,
    /// Store time of its last record, ms since 1970.
    pub last_store_time: i64,
}

/// Returns the segments to remove now, oldest first. `sealed` never holds the segment being written.
pub fn decide_removal(
    sealed: &[SegmentFacts],
    now_ms: i64,
    used_percent: u8,
    policy: &RetentionPolicy,
) -> Vec<u64> {
    let hour = (now_ms.rem_euclid(86_400_000) / 3_600_000) as u8;
    let forced = used_percent >= policy.force_percent;
    let due = forced || used_percent >= policy.max_used_percent || policy.delete_hours.contains(&hour);
    if !due {
        return Vec::new();
    }
    sealed
        .iter()
        .take_while(|s| forced || now_ms - s.last_store_time > policy.reserved_ms)
        .take(if forced { 1 } else { BATCH })
        .map(|s| s.base)
        .collect()
}

/// Says whether writes must be refused.
pub fn decide_refusal(used_percent: u8, policy: &RetentionPolicy) -> bool {
    used_percent >= policy.refuse_percent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_go_by_age_hour_and_disk_use() {
        const HOUR: i64 = 3_600_000;
        let day = 20_000 * 24 * HOUR;
        let policy = RetentionPolicy::default();
        let sealed: Vec<_> = [80, 75, 60, 1]
            .iter()
            .zip(0..)
            .map(|(h, base)| SegmentFacts { base, last_store_time: day - h * HOUR })
            .collect();
        let cases: [(&str, i64, u8, &[u64]); 6] = [
            ("not the hour", day, 50, &[]),
            ("the hour", day + 4 * HOUR, 50, &[0, 1]),
            ("a full disk does not wait for the hour", day, 75, &[0, 1]),
            ("a very full disk takes the oldest, one at a time", day, 85, &[0]),
            ("the first that is young keeps all behind it", day - 9 * HOUR, 75, &[]),
            ("the hour, later", day + 28 * HOUR, 10, &[0, 1, 2]),
        ];
        for (what, now, used, want) in cases {
            assert_eq!(decide_removal(&sealed, now, used, &policy), want, "{what}");
        }
        assert!(!decide_refusal(89, &policy));
        assert!(decide_refusal(90, &policy));
    }
}
