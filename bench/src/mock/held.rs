//! Answers that wait for more than the write: for a sync, or for a replica.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;

/// Who decides when answers may leave.
pub trait Hold: Send + Sync {
    /// Takes over answers to records that are written; they leave once more is true of those.
    fn hold(&self, stream: &Arc<TcpStream>, answers: Vec<u8>);
}

/// Answers and the connection they leave by.
pub struct Held {
    pub stream: Arc<TcpStream>,
    pub answers: Vec<u8>,
}

/// Sends a group of answers: one write per connection, whatever the number of its reads in this group.
pub fn send(group: impl IntoIterator<Item = Held>) {
    let mut merged: Vec<Held> = Vec::new();
    for part in group {
        match merged.iter_mut().find(|held| Arc::ptr_eq(&held.stream, &part.stream)) {
            Some(held) => held.answers.extend_from_slice(&part.answers),
            None => merged.push(part),
        }
    }
    for held in merged {
        // A client that left needs no answer.
        let _ = (&*held.stream).write_all(&held.answers);
    }
}
