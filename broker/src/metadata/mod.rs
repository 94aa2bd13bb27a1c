//! Changes of topics, groups and offsets as records of the log, so that slaves get them in order with the messages: a
//! slave that has a message knows everything that was acknowledged before it. Here: what a record says, pure.
//!
//! - [`log`]: a master writes them; [`apply`]: a slave takes them over
//!
//! The records are those of queue 0 of [`protocol::names::METADATA_TOPIC`]. Body, JSON: `{"v":1,"changes":[...]}`, each
//! change an object whose only key is its kind:
//!
//! | Kind | Value |
//! |---|---|
//! | `putTopic` | `TopicConfig` |
//! | `deleteTopic` | `{"topic", "end"}`: its messages before the physical offset `end` belong to nobody |
//! | `putGroup` | `SubscriptionGroupConfig` |
//! | `deleteGroup` | `{"group", "cleanOffset"}` |
//! | `offsets` | `{"key": "topic@group", "queues": {"0": 8}}`: these queues; null: none of the key's queues has one |
//!
//! A kind or version that is not known is passed over by who reads it: it comes from a newer master, and what it says
//! comes again with the tables, once a minute.

use std::collections::BTreeMap;

use protocol::bodies::subscription_group::SubscriptionGroupConfig;
use protocol::bodies::topic_config::TopicConfig;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub mod apply;
pub mod log;

/// The version of the form above.
const VERSION: u32 = 1;
/// Bytes of a record's body at most, one change apart; with its head it fits the smallest segment.
const MAX_BODY: usize = 32 << 10;
/// Queues of one `offsets` change at most: their text stays below [`MAX_BODY`].
const MAX_QUEUES: usize = 1000;

/// Bytes that the text of a topic or group may have at most to fit a record.
pub const MAX_CONFIG: usize = 32 << 10;

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// A topic was made or changed.
    PutTopic(TopicConfig),
    /// A topic is no more.
    DeleteTopic {
        /// The topic.
        topic: String,
        /// Its messages before this physical offset belong to nobody.
        end: u64,
    },
    /// A group was made or changed.
    PutGroup(SubscriptionGroupConfig),
    /// A group is no more.
    #[serde(rename_all = "camelCase")]
    DeleteGroup {
        /// The group.
        group: String,
        /// Whether its offsets went too.
        clean_offset: bool,
    },
    /// A group has consumed this far.
    Offsets {
        /// `topic@group`.
        key: String,
        /// Queue -> offset; none means that the group has no offset on the topic any more.
        queues: Option<BTreeMap<i32, i64>>,
    },
}

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    changes: &'a [Box<RawValue>],
}

#[derive(Deserialize)]
struct Read {
    v: u32,
    #[serde(default)]
    changes: Vec<Box<RawValue>>,
}

/// What a record's body says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decoded {
    /// The changes that are understood, in order.
    pub changes: Vec<Change>,
    /// What is not, in words.
    pub unknown: Option<String>,
}

/// Returns the bodies of the records that say these changes in this order.
pub fn encode(changes: Vec<Change>) -> serde_json::Result<Vec<Vec<u8>>> {
    let (mut bodies, mut gathered, mut bytes) = (Vec::new(), Vec::new(), 0);
    for change in changes.into_iter().flat_map(pieces) {
        let text = serde_json::value::to_raw_value(&change)?;
        if !gathered.is_empty() && bytes + text.get().len() > MAX_BODY {
            bodies.push(serde_json::to_vec(&Written { v: VERSION, changes: &gathered })?);
            (gathered, bytes) = (Vec::new(), 0);
        }
        bytes += text.get().len();
        gathered.push(text);
    }
    if !gathered.is_empty() {
        bodies.push(serde_json::to_vec(&Written { v: VERSION, changes: &gathered })?);
    }
    Ok(bodies)
}

/// Cuts what would not fit a record; the pieces say the same.
fn pieces(change: Change) -> Vec<Change> {
    match change {
        Change::Offsets { key, queues: Some(queues) } if queues.len() > MAX_QUEUES => {
            let all: Vec<(i32, i64)> = queues.into_iter().collect();
            let piece = |part: &[(i32, i64)]| Change::Offsets {
                key: key.clone(),
                queues: Some(part.iter().copied().collect()),
            };
            all.chunks(MAX_QUEUES).map(piece).collect()
        }
        other => vec![other],
    }
}

/// Reads a body; never fails, because a slave goes on without what it does not understand.
pub fn decode(body: &[u8]) -> Decoded {
    let read: Read = match serde_json::from_slice(body) {
        Ok(read) => read,
        Err(e) => return Decoded { changes: Vec::new(), unknown: Some(format!("no changes: {e}")) },
    };
    if read.v != VERSION {
        let unknown = Some(format!("changes of version {}, known is {VERSION}", read.v));
        return Decoded { changes: Vec::new(), unknown };
    }
    let mut decoded = Decoded::default();
    for text in read.changes {
        match serde_json::from_str(text.get()) {
            Ok(change) => decoded.changes.push(change),
            Err(e) => decoded.unknown = Some(format!("a change that is not known: {e}")),
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bodies: &[Vec<u8>]) -> Vec<&str> {
        bodies.iter().map(|b| std::str::from_utf8(b).unwrap()).collect()
    }

    fn offsets(key: &str, queues: impl IntoIterator<Item = (i32, i64)>) -> Change {
        Change::Offsets { key: key.to_owned(), queues: Some(queues.into_iter().collect()) }
    }

    #[test]
    fn every_change_is_read_as_it_was_written() {
        let changes = vec![
            Change::PutTopic(TopicConfig { topic_name: "T".to_owned(), ..TopicConfig::default() }),
            Change::DeleteTopic { topic: "T".to_owned(), end: 7 },
            Change::PutGroup(crate::groups::new_group("G")),
            Change::DeleteGroup { group: "G".to_owned(), clean_offset: true },
            offsets("T@G", [(0, 8), (12, i64::MAX)]),
            Change::Offsets { key: "T@H".to_owned(), queues: None },
        ];
        let bodies = encode(changes.clone()).unwrap();
        assert_eq!(bodies.len(), 1);
        assert_eq!(decode(&bodies[0]), Decoded { changes, unknown: None });
    }

    #[test]
    fn the_text_is_the_one_of_the_table() {
        let changes = vec![
            Change::DeleteTopic { topic: "T".to_owned(), end: 7 },
            Change::DeleteGroup { group: "G".to_owned(), clean_offset: true },
            offsets("T@G", [(0, 8)]),
            Change::Offsets { key: "T@H".to_owned(), queues: None },
        ];
        let want = r#"{"v":1,"changes":[{"deleteTopic":{"topic":"T","end":7}},{"deleteGroup":{"group":"G","cleanOffset":true}},{"offsets":{"key":"T@G","queues":{"0":8}}},{"offsets":{"key":"T@H","queues":null}}]}"#;
        assert_eq!(text(&encode(changes).unwrap()), [want]);
    }

    #[test]
    fn many_changes_are_several_records_in_order() {
        let many: Vec<Change> = (0..3000).map(|n| offsets(&format!("T{n}@G"), [(0, n)])).collect();
        let bodies = encode(many.clone()).unwrap();
        assert!(bodies.len() > 1 && bodies.iter().all(|b| b.len() < MAX_BODY + 10_000));
        assert_eq!(bodies.iter().flat_map(|b| decode(b).changes).collect::<Vec<_>>(), many);
        let wide = offsets("T@G", (0..65_535).map(|q| (q, i64::MAX)));
        let bodies = encode(vec![wide]).unwrap();
        assert!(bodies.iter().all(|b| b.len() < MAX_BODY + 10_000));
        let queues = bodies.iter().flat_map(|b| decode(b).changes).map(|c| match c {
            Change::Offsets { queues: Some(queues), .. } => queues.len(),
            other => panic!("{other:?}"),
        });
        assert_eq!(queues.sum::<usize>(), 65_535);
        assert_eq!(encode(Vec::new()).unwrap(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn what_a_newer_master_says_is_passed_over_and_named() {
        let mixed = br#"{"v":1,"changes":[{"sing":{"song":1}},{"deleteTopic":{"topic":"T","end":7,"new":1}}],"more":2}"#;
        let decoded = decode(mixed);
        assert_eq!(decoded.changes, [Change::DeleteTopic { topic: "T".to_owned(), end: 7 }]);
        assert!(decoded.unknown.unwrap().contains("sing"));
        let newer = decode(br#"{"v":2,"changes":[{"deleteTopic":{"topic":"T","end":7}}]}"#);
        assert_eq!(newer.changes, []);
        assert_eq!(newer.unknown.unwrap(), "changes of version 2, known is 1");
        assert!(decode(b"\xff").unknown.is_some());
    }
}
