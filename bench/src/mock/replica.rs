//! Replication in the mock, the replica's half: writes what it gets into a ring of its own and reports how
//! far it is, once per read.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result};

use super::Ring;
use super::leader::{HEAD_SIZE, MAX_BODY};

/// Follows a leader until it closes the connection.
pub fn follow(mut leader: TcpStream, ring: &Ring) -> Result<()> {
    leader.set_nodelay(true)?;
    leader.write_all(&ring.end().to_be_bytes()).context("report to the leader")?;
    let mut input = vec![0; 2 * (HEAD_SIZE + MAX_BODY)];
    let mut filled = 0;
    loop {
        let read = leader.read(&mut input[filled..]).context("read from the leader")?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let mut used = 0;
        while let Some((at, body)) = frame(&input[used..filled]) {
            ring.append_log(at, body)?;
            used += HEAD_SIZE + body.len();
        }
        input.copy_within(used..filled, 0);
        filled -= used;
        if used > 0 {
            leader.write_all(&ring.end().to_be_bytes()).context("report to the leader")?;
        }
    }
}

fn frame(input: &[u8]) -> Option<(u64, &[u8])> {
    let (at, rest) = input.split_first_chunk()?;
    let (size, rest) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*at), rest.get(..u32::from_be_bytes(*size) as usize)?))
}
