//! Whole records in a stream of log bytes that is cut anywhere. Pure; positions and checksums are the append's matter.

use protocol::message::{self, BLANK_HEAD, Decoded};

/// How much of a buffer can be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// Bytes of the whole records and blanks at its front.
    pub len: usize,
    /// Bytes that what begins behind them needs in all, as far as its first bytes tell; `None` when nothing does.
    pub next: Option<usize>,
}

/// What stands in a buffer is no log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no record begins at byte {at} of what was received: {why}")]
pub struct NoRecord {
    /// Position in the buffer.
    pub at: usize,
    /// What stands there.
    pub why: &'static str,
}

/// Finds the whole records and blanks at the front of `bytes`, which begins with one.
///
/// A blank fills what a record did not fit into, so none is longer than the largest record and a blank's own head.
///
/// # Errors
/// [`NoRecord`] when something else stands there, or something larger than `max_record` allows.
pub fn whole_records(bytes: &[u8], max_record: usize) -> Result<Whole, NoRecord> {
    let mut len = 0;
    loop {
        let rest = &bytes[len..];
        if rest.is_empty() {
            return Ok(Whole { len, next: None });
        }
        let size = match message::decode(rest, max_record) {
            Decoded::Record(r) => r.total_size,
            Decoded::Blank(size) if size > max_record + BLANK_HEAD => {
                return Err(NoRecord { at: len, why: "blank longer than any record" });
            }
            Decoded::Blank(size) => size,
            Decoded::NeedMore(wanted) => wanted,
            Decoded::Malformed(why) => return Err(NoRecord { at: len, why }),
        };
        if size > rest.len() {
            return Ok(Whole { len, next: Some(size) });
        }
        len += size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::message::{MAGIC_BLANK, NewRecord};

    fn record(body: &[u8]) -> Vec<u8> {
        let record = NewRecord {
            topic: "T",
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 1,
            born_host: "127.0.0.1:1".parse().unwrap(),
            store_host: "127.0.0.1:2".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            properties: "",
            more_properties: "",
        };
        let mut out = Vec::new();
        record.encode(&mut out);
        out
    }

    fn blank(size: usize) -> Vec<u8> {
        let mut out = vec![0; size];
        out[..4].copy_from_slice(&(size as u32).to_be_bytes());
        out[4..8].copy_from_slice(&MAGIC_BLANK.to_be_bytes());
        out
    }

    #[test]
    fn a_stream_cut_anywhere_tells_what_is_whole_and_what_is_missing() {
        let parts = [record(b"one"), blank(8), record(&[7; 300]), blank(200), record(b"")];
        let all = parts.concat();
        for cut in 0..=all.len() {
            let mut len = 0;
            let next = parts.iter().find(|p| {
                len += p.len();
                len > cut
            });
            let len = next.map_or(len, |p| len - p.len());
            let next = match (cut - len, next) {
                (0, _) => None,
                (1..8, _) => Some(BLANK_HEAD),
                (_, next) => next.map(|p| p.len()),
            };
            assert_eq!(whole_records(&all[..cut], 1000), Ok(Whole { len, next }), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_record_or_too_large_is_refused_with_its_place() {
        let good = record(b"one");
        let (largest, larger) = (blank(308), blank(309));
        let long = record(&[1; 300]);
        let cases: [(&[u8], &str); 5] = [
            (&[0; 20], "zeros"),
            (&[9; 20], "magic"),
            (&long[..20], "size"),
            (&larger[..8], "blank longer than any record"),
            (&blank(8).iter().map(|b| b & !8).collect::<Vec<_>>(), "magic"),
        ];
        for (bad, why) in cases {
            let bytes = [&good, bad].concat();
            assert_eq!(whole_records(&bytes, 300), Err(NoRecord { at: good.len(), why }));
        }
        assert_eq!(whole_records(&largest, 300), Ok(Whole { len: 308, next: None }));
    }
}
