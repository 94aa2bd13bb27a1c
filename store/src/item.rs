//! What stands at a position of the log. Recovery and a follower's append judge by this alone, so that nothing is
//! taken over that the next start would cut.

use protocol::message::{self, Decoded, Record};

/// What stands at a position.
pub(crate) enum Item<'a> {
    /// An intact record that belongs there.
    Record(Record<'a>),
    /// A blank of this size.
    Blank(usize),
    /// Only a part of it is in the buffer; this many bytes are needed.
    NeedMore(usize),
    /// Nothing that belongs there.
    Broken(&'static str),
}

/// Judges the front of `bytes`, which stands at a physical offset; records are at most `max_size` long.
pub(crate) fn item(bytes: &[u8], here: u64, max_size: usize) -> Item<'_> {
    match message::decode(bytes, max_size) {
        Decoded::Record(r) if r.physical_offset != here as i64 => Item::Broken("record of another position"),
        Decoded::Record(r) if !r.intact() => Item::Broken("body checksum"),
        // The checksum is of the body only; behind it a torn write leaves zeros, which no record has there.
        Decoded::Record(r) if r.topic.contains('\0') => Item::Broken("topic cut short"),
        Decoded::Record(r) if r.properties.ends_with('\0') => Item::Broken("properties cut short"),
        Decoded::Record(r) => Item::Record(r),
        Decoded::Blank(size) => Item::Blank(size),
        Decoded::Malformed(why) => Item::Broken(why),
        Decoded::NeedMore(wanted) => Item::NeedMore(wanted),
    }
}
