//! Frames on their way to whole records: takes what was read, cut anywhere, and gives what can be appended. Pure.

use store::{AppendLogError, NoRecord, whole_records};

use crate::follower::FollowError;
use crate::wire::{self, Decoded, FrameHead, HEAD};

/// The stream of one connection between the socket and the log. Holds at most one record and one read.
pub(crate) struct Assembly {
    /// The first bytes of a frame's head.
    head: Vec<u8>,
    /// Bytes of the frame's body still to come.
    body_left: usize,
    /// Where in the log the next byte belongs.
    next: u64,
    /// The first frame may belong anywhere.
    anywhere: bool,
    /// Bytes of the log that are not appended yet, up to `next`.
    bytes: Vec<u8>,
    /// How many there must be before something is whole.
    wanted: usize,
    max_record: usize,
    master_end: u64,
}

impl Assembly {
    /// Makes one for a log that goes on at `next`, or `anywhere` if it is empty and asked for everything.
    pub fn new(next: u64, anywhere: bool, max_record: usize) -> Assembly {
        Assembly {
            head: Vec::with_capacity(HEAD),
            body_left: 0,
            next,
            anywhere,
            bytes: Vec::new(),
            wanted: 0,
            max_record,
            master_end: 0,
        }
    }

    /// Takes what was read.
    ///
    /// # Errors
    /// `Malformed` and `Misplaced`; the connection is of no use any more.
    pub fn on_read(&mut self, mut read: &[u8]) -> Result<(), FollowError> {
        while !read.is_empty() {
            if self.body_left == 0 {
                let (part, rest) = read.split_at(read.len().min(HEAD - self.head.len()));
                self.head.extend_from_slice(part);
                read = rest;
                match wire::decode_head(&self.head) {
                    Decoded::Value(head) => self.on_head(head)?,
                    Decoded::NeedMore => {}
                    Decoded::Malformed(why) => return Err(why.into()),
                }
            } else {
                let (part, rest) = read.split_at(read.len().min(self.body_left));
                self.bytes.extend_from_slice(part);
                self.body_left -= part.len();
                self.next += part.len() as u64;
                read = rest;
            }
        }
        Ok(())
    }

    fn on_head(&mut self, head: FrameHead) -> Result<(), FollowError> {
        self.head.clear();
        if self.anywhere && head.size > 0 {
            self.anywhere = false;
            self.next = head.offset;
        }
        if head.offset != self.next && !self.anywhere {
            return Err(FollowError::Misplaced { frame: head.offset, size: head.size, end: self.next });
        }
        self.master_end = self.master_end.max(head.offset + head.size as u64);
        self.body_left = head.size;
        Ok(())
    }

    /// Returns the whole records and blanks there are, and where in the log they belong; `None` without any.
    ///
    /// # Errors
    /// `Append`: what stands there is no record, or too long for one.
    pub fn whole(&mut self) -> Result<Option<(u64, &[u8])>, FollowError> {
        if self.bytes.len() < self.wanted.max(1) {
            return Ok(None);
        }
        let at = self.next - self.bytes.len() as u64;
        let whole = whole_records(&self.bytes, self.max_record).map_err(|NoRecord { at: inside, why }| {
            AppendLogError::Malformed { at: at + inside as u64, why }
        })?;
        self.wanted = whole.next.unwrap_or(0);
        Ok((whole.len > 0).then(|| (at, &self.bytes[..whole.len])))
    }

    /// Forgets what was appended: everything before `end`.
    pub fn on_appended(&mut self, end: u64) {
        let left = (self.next - end) as usize;
        self.bytes.drain(..self.bytes.len() - left);
    }

    /// Returns the largest end of the master's log that was heard of; 0 before the first frame.
    pub fn master_end(&self) -> u64 {
        self.master_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::message::{MAGIC_BLANK, NewRecord, assign};

    const MAX: usize = 4096;

    /// Records of a log that begins at `base`.
    fn log(base: u64, sizes: &[usize]) -> Vec<u8> {
        let mut log = Vec::new();
        for size in sizes {
            let at = log.len();
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
                body: &vec![7; *size],
                properties: "",
                more_properties: "",
            };
            record.encode(&mut log);
            assign(&mut log[at..], 0, (base + at as u64) as i64, 1);
        }
        log
    }

    fn frame(offset: u64, body: &[u8]) -> Vec<u8> {
        let mut frame = wire::encode_head(FrameHead { offset, size: body.len() }).to_vec();
        frame.extend_from_slice(body);
        frame
    }

    /// Feeds a stream in pieces and appends what is whole to a log; returns it with the most bytes that were held.
    fn feed(assembly: &mut Assembly, stream: &[u8], piece: usize) -> Result<(Vec<u8>, usize), FollowError> {
        let (mut log, mut held) = (Vec::new(), 0);
        for read in stream.chunks(piece) {
            assembly.on_read(read)?;
            held = held.max(assembly.bytes.len());
            if let Some((at, bytes)) = assembly.whole()? {
                log.extend_from_slice(bytes);
                let end = at + bytes.len() as u64;
                assembly.on_appended(end);
            }
        }
        Ok((log, held))
    }

    #[test]
    fn frames_and_reads_cut_anywhere_give_the_same_records() {
        let log = log(1000, &[0, 1, 500, 20, 3000, 7]);
        for frame_size in [1, 13, 91, 600, 5000] {
            let mut stream = Vec::new();
            for (i, body) in log.chunks(frame_size).enumerate() {
                let at = 1000 + (i * frame_size) as u64;
                if i % 3 == 0 {
                    stream.extend(frame(at, &[]));
                }
                stream.extend(frame(at, body));
            }
            for piece in [1, 7, 12, 100, 100_000] {
                let mut assembly = Assembly::new(1000, false, MAX);
                let (got, held) = feed(&mut assembly, &stream, piece).unwrap();
                assert_eq!(got, log, "frames of {frame_size}, reads of {piece}");
                assert!(held <= 3091 + 2 + piece, "one record and one read, not {held} bytes");
                assert_eq!(assembly.master_end(), 1000 + log.len() as u64);
                assert_eq!(assembly.bytes.len(), 0);
            }
        }
    }

    #[test]
    fn an_incomplete_record_waits() {
        let log = log(0, &[10, 20]);
        let mut assembly = Assembly::new(0, false, MAX);
        let (got, _) = feed(&mut assembly, &frame(0, &log[..log.len() - 1]), 1000).unwrap();
        assert_eq!(got, log[..102]);
        assert_eq!(assembly.wanted, log.len() - 102);
        let (got, _) =
            feed(&mut assembly, &frame(log.len() as u64 - 1, &log[log.len() - 1..]), 1000).unwrap();
        assert_eq!(got, log[102..]);
    }

    #[test]
    fn an_empty_log_begins_where_the_first_bytes_belong() {
        let log = log(5000, &[10]);
        let mut assembly = Assembly::new(0, true, MAX);
        feed(&mut assembly, &frame(5000, &[]), 1000).unwrap();
        assert_eq!((assembly.master_end(), assembly.next), (5000, 0), "a heartbeat begins nothing");
        assembly.on_read(&frame(5000, &log)).unwrap();
        assert_eq!(assembly.whole().unwrap(), Some((5000, &log[..])));
        assembly.on_appended(5000 + log.len() as u64);
        let error = assembly.on_read(&frame(5000, &log)).unwrap_err();
        assert!(matches!(error, FollowError::Misplaced { frame: 5000, .. }), "{error}");
    }

    #[test]
    fn what_does_not_come_next_is_refused() {
        let log = log(1000, &[10, 20]);
        for (offset, size) in [(999, 0), (1001, 0), (0, 5), (1001, 5), (2000, 50)] {
            let mut assembly = Assembly::new(1000, false, MAX);
            match assembly.on_read(&frame(offset, &log[..size])).unwrap_err() {
                FollowError::Misplaced { frame, size: s, end: 1000 } => {
                    assert_eq!((frame, s), (offset, size))
                }
                other => panic!("{other}"),
            }
        }
        // Behind an incomplete record its rest comes next.
        let mut assembly = Assembly::new(1000, false, MAX);
        assembly.on_read(&frame(1000, &log[..50])).unwrap();
        let error = assembly.on_read(&frame(1000, &log)).unwrap_err();
        assert!(matches!(error, FollowError::Misplaced { frame: 1000, end: 1050, .. }), "{error}");
    }

    #[test]
    fn what_is_no_record_is_refused_before_it_is_complete() {
        let mut huge = (MAX as u32 + 9).to_be_bytes().to_vec();
        huge.extend_from_slice(&MAGIC_BLANK.to_be_bytes());
        for bad in [&b"GET / HTTP/1.1"[..], &[0; 30], &huge] {
            let mut bytes = log(1000, &[10]);
            let at = 1000 + bytes.len() as u64;
            bytes.extend_from_slice(bad);
            let error = feed(&mut Assembly::new(1000, false, MAX), &frame(1000, &bytes), 1000).unwrap_err();
            match error {
                FollowError::Append(AppendLogError::Malformed { at: place, .. }) => assert_eq!(place, at),
                other => panic!("{other}"),
            }
        }
        let error = Assembly::new(0, false, MAX).on_read(b"HTTP/1.1 400 Bad Request\r\n").unwrap_err();
        assert!(matches!(error, FollowError::Malformed(_)), "{error}");
    }
}
