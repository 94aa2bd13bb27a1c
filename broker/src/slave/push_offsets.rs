//! Hands a master the offsets that clients committed on its slave while it was away.

use std::collections::BTreeMap;

use client::broker::Queue;
use client::{Client, RequestError, replica};
use tracing::debug;

use crate::offsets::Queues;

/// An offset that the master is to have.
#[derive(Debug, PartialEq, Eq)]
struct Push<'a> {
    topic: &'a str,
    group: &'a str,
    queue: i32,
    offset: i64,
}

/// Sends what is larger than what the master has; each is answered before this returns.
///
/// # Errors
/// The master does not answer; all of it may be sent again.
pub(super) async fn push(
    client: &Client,
    taken: &BTreeMap<String, Queues>,
    masters: &BTreeMap<String, Queues>,
) -> Result<(), RequestError> {
    for push in decide_pushes(taken, masters) {
        let queue = Queue { topic: push.topic, id: push.queue };
        match replica::push_offset(client, push.group, queue, push.offset).await {
            Ok(()) => {}
            // The topic or the group is no more: nobody misses the offset.
            Err(e @ RequestError::Refused { .. }) => debug!(?push, "offset not wanted: {e}"),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Decides what the master is to have. Offsets only grow that way: what is smaller here was committed to the master
/// since, or has been reset there.
fn decide_pushes<'a>(
    taken: &'a BTreeMap<String, Queues>,
    masters: &BTreeMap<String, Queues>,
) -> Vec<Push<'a>> {
    let mut pushes = Vec::new();
    for (key, queues) in taken {
        let Some((topic, group)) = key.rsplit_once('@') else { continue };
        let has = |queue: &i32| masters.get(key).and_then(|theirs| theirs.get(queue)).copied();
        let larger =
            queues.iter().filter(|(queue, offset)| has(queue).is_none_or(|theirs| theirs < **offset));
        pushes.extend(larger.map(|(queue, offset)| Push { topic, group, queue: *queue, offset: *offset }));
    }
    pushes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_larger_offsets_go_to_the_master() {
        let table = |key: &str, queues: &[(i32, i64)]| {
            BTreeMap::from([(key.to_owned(), queues.iter().copied().collect::<Queues>())])
        };
        let taken = table("%RETRY%G@G", &[(0, 5), (1, 5), (2, 5), (3, 5)]);
        let masters = table("%RETRY%G@G", &[(0, 4), (1, 5), (2, 6)]);
        let push = |queue| Push { topic: "%RETRY%G", group: "G", queue, offset: 5 };
        assert_eq!(decide_pushes(&taken, &masters), [push(0), push(3)]);
        assert_eq!(decide_pushes(&taken, &BTreeMap::new()).len(), 4);
    }
}
