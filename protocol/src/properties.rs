//! Message properties (P§4.4): one string of `key 0x01 value 0x02` entries. Reads and edits it without a map.

use memchr::memchr;

/// Separates a key from its value.
pub const NAME_VALUE: u8 = 1;
/// Ends an entry.
pub const ENTRY_END: u8 = 2;
/// Most bytes of properties a record can carry: a signed 16-bit length.
pub const MAX_PROPERTIES: usize = i16::MAX as usize;

#[allow(missing_docs)]
pub mod names {
    //! Reserved names.
    pub const KEYS: &str = "KEYS";
    pub const TAGS: &str = "TAGS";
    pub const WAIT: &str = "WAIT";
    pub const DELAY: &str = "DELAY";
    pub const RETRY_TOPIC: &str = "RETRY_TOPIC";
    pub const REAL_TOPIC: &str = "REAL_TOPIC";
    pub const REAL_QUEUE_ID: &str = "REAL_QID";
    pub const TRANSACTION_PREPARED: &str = "TRAN_MSG";
    pub const PRODUCER_GROUP: &str = "PGROUP";
    pub const UNIQ_KEY: &str = "UNIQ_KEY";
    pub const MAX_RECONSUME_TIMES: &str = "MAX_RECONSUME_TIMES";
    pub const RECONSUME_TIME: &str = "RECONSUME_TIME";
    pub const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
    pub const MSG_REGION: &str = "MSG_REGION";
    pub const TRACE_ON: &str = "TRACE_ON";
    pub const CLUSTER: &str = "CLUSTER";
    pub const DLQ_ORIGIN_TOPIC: &str = "DLQ_ORIGIN_TOPIC";
    pub const DLQ_ORIGIN_MESSAGE_ID: &str = "DLQ_ORIGIN_MESSAGE_ID";
    pub const TIMER_DELAY_SEC: &str = "TIMER_DELAY_SEC";
    pub const TIMER_DELAY_MS: &str = "TIMER_DELAY_MS";
    pub const TIMER_DELIVER_MS: &str = "TIMER_DELIVER_MS";
    pub const SHARDING_KEY: &str = "__SHARDINGKEY";
    pub const INNER_NUM: &str = "INNER_NUM";
}

/// Iterates over the entries. A pair counts only when its name is not empty; the last separator is optional.
pub fn entries(properties: &str) -> impl Iterator<Item = (&str, &str)> {
    properties.split(ENTRY_END as char).filter_map(|entry| {
        let at = entry.find(NAME_VALUE as char)?;
        (at > 0).then(|| (&entry[..at], &entry[at + 1..]))
    })
}

/// Returns the value of a name; the last one wins, as in Java's map.
pub fn get<'p>(properties: &'p str, name: &str) -> Option<&'p str> {
    entries(properties).filter(|(k, _)| *k == name).map(|(_, v)| v).last()
}

/// What the append needs to know of a message's properties, found in one pass.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Reserved<'p> {
    /// `TAGS`.
    pub tags: Option<&'p str>,
    /// `KEYS`.
    pub keys: Option<&'p str>,
    /// `UNIQ_KEY`.
    pub uniq_key: Option<&'p str>,
    /// `WAIT` is `false`: do not wait for flush or replicas.
    pub no_wait: bool,
    /// `DELAY` or one of the timer properties.
    pub delay: Option<&'p str>,
    /// `TRAN_MSG` is `true`.
    pub transaction: bool,
}

/// Finds the reserved properties in one pass.
pub fn reserved(properties: &str) -> Reserved<'_> {
    let mut r = Reserved::default();
    let mut rest = properties;
    while !rest.is_empty() {
        let end = memchr(ENTRY_END, rest.as_bytes()).unwrap_or(rest.len());
        // Separators are ASCII, so everything is cut between whole characters.
        let (entry, behind) = rest.split_at(end);
        rest = behind.get(1..).unwrap_or("");
        if let Some(at @ 1..) = memchr(NAME_VALUE, entry.as_bytes()) {
            r.set(&entry.as_bytes()[..at], &entry[at + 1..]);
        }
    }
    r
}

impl<'p> Reserved<'p> {
    fn set(&mut self, name: &[u8], value: &'p str) {
        // Most names are the user's; their first letter tells most of them apart.
        match name {
            b"TAGS" => self.tags = Some(value),
            b"KEYS" => self.keys = Some(value),
            b"UNIQ_KEY" => self.uniq_key = Some(value),
            b"WAIT" => self.no_wait = value == "false",
            b"DELAY" | b"TIMER_DELAY_MS" | b"TIMER_DELAY_SEC" | b"TIMER_DELIVER_MS" => {
                self.delay = Some(value)
            }
            b"TRAN_MSG" => self.transaction = value == "true",
            _ => {}
        }
    }
}

/// Appends one entry; adds the separator that the string before it may lack.
pub fn push(properties: &mut String, name: &str, value: &str) {
    if !properties.is_empty() && !properties.ends_with(ENTRY_END as char) {
        properties.push(ENTRY_END as char);
    }
    properties.push_str(name);
    properties.push(NAME_VALUE as char);
    properties.push_str(value);
    properties.push(ENTRY_END as char);
}

/// Returns a copy with `name` set to `value`.
pub fn with(properties: &str, name: &str, value: &str) -> String {
    let mut out = without(properties, name);
    push(&mut out, name, value);
    out
}

/// Returns a copy without `name`.
pub fn without(properties: &str, name: &str) -> String {
    let mut out = String::with_capacity(properties.len());
    for (k, v) in entries(properties).filter(|(k, _)| *k != name) {
        push(&mut out, k, v);
    }
    out
}

/// Java's `String.hashCode`: over UTF-16 units, wrapping at 32 bits.
pub fn java_hash(text: &str) -> i32 {
    if text.is_ascii() {
        return text.bytes().fold(0i32, |h, b| h.wrapping_mul(31).wrapping_add(b as i32));
    }
    text.encode_utf16().fold(0i32, |h, u| h.wrapping_mul(31).wrapping_add(u as i32))
}

/// The consume index's code of a tag (P§4.5): its hash, sign-extended; 0 without one.
pub fn tags_code(tags: Option<&str>) -> i64 {
    match tags {
        Some(t) if !t.is_empty() => java_hash(t) as i64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_java_reads_them() {
        let p = "KEYS\u{1}a b\u{2}TAGS\u{1}\u{2}broken\u{2}\u{1}noname\u{2}x\u{1}1\u{1}2";
        let all: Vec<_> = entries(p).collect();
        assert_eq!(all, [("KEYS", "a b"), ("TAGS", ""), ("x", "1\u{1}2")]);
        assert_eq!(get(p, "x"), Some("1\u{1}2"));
        assert_eq!(get(p, "y"), None);
    }

    #[test]
    fn reserved_names_are_found_wherever_they_stand() {
        let p =
            "x\u{1}1\u{2}TAGS\u{1}t\u{2}\u{1}y\u{2}UNIQ_KEY\u{1}u\u{1}v\u{2}WAIT\u{1}false\u{2}KEYS\u{1}k";
        let r = reserved(p);
        assert_eq!((r.tags, r.uniq_key, r.keys, r.no_wait), (Some("t"), Some("u\u{1}v"), Some("k"), true));
        assert_eq!(reserved(""), Reserved::default());
        assert_eq!(reserved("TAGS"), Reserved::default());
        assert_eq!(reserved("DELAY\u{1}3").delay, Some("3"));
    }

    #[test]
    fn setting_replaces_and_removing_removes() {
        let p = "a\u{1}1\u{2}b\u{1}2";
        assert_eq!(with(p, "a", "9"), "b\u{1}2\u{2}a\u{1}9\u{2}");
        assert_eq!(without(p, "b"), "a\u{1}1\u{2}");
    }

    #[test]
    fn hashes_equal_javas() {
        assert_eq!(java_hash("tagA"), 3552231);
        assert_eq!(java_hash("Aa"), java_hash("BB"));
        assert_eq!(
            java_hash("标签-ä"),
            "标签-ä".encode_utf16().fold(0i32, |h, u| h.wrapping_mul(31).wrapping_add(u as i32))
        );
        assert_eq!(tags_code(Some("")), 0);
        assert_eq!(java_hash("a long tag that overflows"), 597511203);
    }
}
