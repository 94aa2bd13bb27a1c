//! The bytes of the stream (P§6.1). All numbers are big-endian.
//!
//! | direction | bytes | meaning |
//! |---|---|---|
//! | follower to leader | offset i64 | its log ends here; 0 at first: it has none |
//! | leader to follower | offset i64, size i32, `size` bytes | the log's bytes at `offset`; size 0 is a heartbeat, then `offset` is what comes next |

/// Bytes of a report.
pub const REPORT: usize = 8;
/// Bytes before a frame's body.
pub const HEAD: usize = 12;
/// Bytes of a frame's body at most: what a Java follower can buffer.
pub const MAX_BODY: usize = 4 << 20;

/// What stands before a frame's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// Where in the log the body belongs.
    pub offset: u64,
    /// Bytes of the body.
    pub size: usize,
}

/// What the front of a buffer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<T> {
    /// A whole one.
    Value(T),
    /// Only a part of it.
    NeedMore,
    /// Bytes no peer of ours sends; the connection is of no use any more.
    Malformed(Malformed),
}

/// Bytes that mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// An offset below 0.
    #[error("offset {0} is negative")]
    Offset(i64),
    /// A size below 0 or above [`MAX_BODY`].
    #[error("frame at {offset} of {size} bytes, at most {MAX_BODY} are possible")]
    Size {
        /// The frame's offset.
        offset: i64,
        /// Its size.
        size: i32,
    },
}

/// Returns the bytes of a frame's head.
pub fn encode_head(head: FrameHead) -> [u8; HEAD] {
    let mut bytes = [0; HEAD];
    bytes[..8].copy_from_slice(&head.offset.to_be_bytes());
    bytes[8..].copy_from_slice(&(head.size as u32).to_be_bytes());
    bytes
}

/// Decodes the head at the front of `bytes`.
pub fn decode_head(bytes: &[u8]) -> Decoded<FrameHead> {
    let Some(([a, b, c, d, e, f, g, h, i, j, k, l], _)) = bytes.split_first_chunk::<HEAD>() else {
        return Decoded::NeedMore;
    };
    let offset = i64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
    let size = i32::from_be_bytes([*i, *j, *k, *l]);
    if offset < 0 {
        return Decoded::Malformed(Malformed::Offset(offset));
    }
    if size < 0 || size as usize > MAX_BODY {
        return Decoded::Malformed(Malformed::Size { offset, size });
    }
    Decoded::Value(FrameHead { offset: offset as u64, size: size as usize })
}

/// Returns the bytes of a report.
pub fn encode_report(offset: u64) -> [u8; REPORT] {
    offset.to_be_bytes()
}

/// Decodes the last whole report of `bytes`, which begin with a report; those before it say nothing new. Returns it
/// with the bytes up to its end.
pub fn decode_last_report(bytes: &[u8]) -> Decoded<(u64, usize)> {
    let whole = bytes.len() - bytes.len() % REPORT;
    let Some((_, report)) = bytes[..whole].split_last_chunk::<REPORT>() else { return Decoded::NeedMore };
    match i64::from_be_bytes(*report) {
        offset if offset < 0 => Decoded::Malformed(Malformed::Offset(offset)),
        offset => Decoded::Value((offset as u64, whole)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_an_offset_and_a_size() {
        let head = FrameHead { offset: 0x0102_0304_0506_0708, size: 0x0009_0A0B };
        let golden = [1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 10, 11];
        assert_eq!(encode_head(head), golden);
        assert_eq!(decode_head(&golden), Decoded::Value(head));
        assert_eq!(decode_head(&[&golden[..], b"body"].concat()), Decoded::Value(head));
        for cut in 0..HEAD {
            assert_eq!(decode_head(&golden[..cut]), Decoded::NeedMore, "cut at {cut}");
        }
    }

    #[test]
    fn a_heartbeat_is_a_head_of_size_0() {
        let head = FrameHead { offset: 1 << 30, size: 0 };
        assert_eq!(encode_head(head), [0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(decode_head(&encode_head(head)), Decoded::Value(head));
    }

    #[test]
    fn heads_that_nobody_sends_are_malformed() {
        let head = |offset: i64, size: i32| {
            let mut bytes = offset.to_be_bytes().to_vec();
            bytes.extend_from_slice(&size.to_be_bytes());
            decode_head(&bytes)
        };
        let max = MAX_BODY as i32;
        assert_eq!(head(7, max), Decoded::Value(FrameHead { offset: 7, size: MAX_BODY }));
        for (offset, size, why) in [
            (-1, 0, Malformed::Offset(-1)),
            (i64::MIN, 1, Malformed::Offset(i64::MIN)),
            (7, -1, Malformed::Size { offset: 7, size: -1 }),
            (7, max + 1, Malformed::Size { offset: 7, size: max + 1 }),
            (7, i32::MAX, Malformed::Size { offset: 7, size: i32::MAX }),
        ] {
            assert_eq!(head(offset, size), Decoded::Malformed(why));
        }
    }

    #[test]
    fn of_many_reports_the_last_whole_one_counts() {
        let mut bytes = Vec::new();
        assert_eq!(decode_last_report(&bytes), Decoded::NeedMore);
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(encode_report(258), bytes[..]);
        assert_eq!(decode_last_report(&bytes[..7]), Decoded::NeedMore);
        assert_eq!(decode_last_report(&bytes), Decoded::Value((258, 8)));
        bytes.extend_from_slice(&encode_report(300));
        assert_eq!(decode_last_report(&bytes[..15]), Decoded::Value((258, 8)));
        assert_eq!(decode_last_report(&bytes), Decoded::Value((300, 16)));
        bytes.extend_from_slice(&(-5i64).to_be_bytes());
        assert_eq!(decode_last_report(&bytes), Decoded::Malformed(Malformed::Offset(-5)));
    }
}
