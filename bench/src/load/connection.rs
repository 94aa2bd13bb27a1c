//! One connection of a load: keeps its window full, writes and reads in bulk, takes the time of each
//! request.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use protocol::frame::{self, Decoded, FrameView};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::pace::Schedule;
use super::{Outcome, Phase, Shape, Workload, Writes};

const READ_SIZE: usize = 256 * 1024;

/// A server that does not answer for so long has failed.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// One of the window's places. A request carries its place as opaque id, which is free again once the
/// answer is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call(usize);

impl Call {
    /// Makes every opaque id ten digits long, so that a JSON header can be patched in place.
    const BASE: i32 = 1_000_000_000;

    /// Returns the call at a place of the window.
    pub fn at(place: usize) -> Self {
        Self(place)
    }

    /// Returns its opaque id.
    pub fn opaque(self) -> i32 {
        Self::BASE + self.0 as i32
    }

    /// Returns its place in the window.
    pub fn place(self) -> usize {
        self.0
    }

    fn of(opaque: i32, window: usize) -> Option<Self> {
        let place = usize::try_from(opaque.checked_sub(Self::BASE)?).ok()?;
        (place < window).then_some(Self(place))
    }
}

/// A connection that is ready to work.
pub struct Connection<W> {
    stream: TcpStream,
    workload: W,
    writes: Writes,
    schedule: Schedule,
    free: Vec<Call>,
    sent_at: Vec<Option<Instant>>,
    left: u64,
    outcome: Outcome,
}

impl<W: Workload> Connection<W> {
    /// Connects; `limit` is the number of requests after which it ends of itself.
    pub fn open(address: SocketAddr, shape: Shape, limit: u64, workload: W) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_LIMIT))?;
        stream.set_write_timeout(Some(SILENCE_LIMIT))?;
        Ok(Self {
            stream,
            workload,
            writes: shape.writes,
            schedule: Schedule::new(shape.pace, Instant::now()),
            free: (0..shape.window).rev().map(Call).collect(),
            sent_at: vec![None; shape.window],
            left: limit,
            outcome: Outcome::empty(),
        })
    }

    /// Works until the phase is over or the requests are, and the last answer is here.
    pub(super) fn run(mut self, phase: &Phase) -> Result<Outcome> {
        let mut out = Vec::with_capacity(READ_SIZE);
        let mut input = vec![0; READ_SIZE];
        let mut filled = 0;
        loop {
            if phase.is_over() {
                self.left = 0;
            }
            self.send_what_may_go(&mut out)?;
            if self.left == 0 && self.free.len() == self.sent_at.len() {
                return Ok(self.outcome);
            }
            if self.is_next_due_before_an_answer()? {
                continue;
            }
            if filled == input.len() {
                input.resize(input.len() * 2, 0);
            }
            let read = self.stream.read(&mut input[filled..]).context("read answers")?;
            if read == 0 {
                bail!("the server closed the connection");
            }
            filled += read;
            let used = self.take_answers(&input[..filled], phase.is_measured())?;
            input.copy_within(used..filled, 0);
            filled -= used;
        }
    }

    fn send_what_may_go(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let mut now = Instant::now();
        while self.left > 0
            && let Some(call) = self.free.last().copied()
            && let Some(due) = self.schedule.take(now)
        {
            self.free.pop();
            self.left -= 1;
            self.workload.request(call, out);
            self.sent_at[call.0] = Some(due);
            if self.writes == Writes::PerFrame {
                self.stream.write_all(out).context("write a request")?;
                out.clear();
                now = Instant::now();
            }
        }
        self.stream.write_all(out).context("write requests")?;
        out.clear();
        Ok(())
    }

    // Waits for whichever comes first. In a closed loop, and while the window is full, only answers count.
    fn is_next_due_before_an_answer(&self) -> Result<bool> {
        let Some(due) = self.schedule.next_due().filter(|_| self.left > 0 && !self.free.is_empty()) else {
            return Ok(false);
        };
        let left = due.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).context("wait until a request is due")?;
        let mut readable = [PollFd::new(&self.stream, PollFlags::IN)];
        Ok(poll(&mut readable, Some(&left)).context("wait for answers")? == 0)
    }

    fn take_answers(&mut self, input: &[u8], measured: bool) -> Result<usize> {
        let now = Instant::now();
        let mut used = 0;
        loop {
            match frame::decode(&input[used..]) {
                Decoded::Frame(answer, length) => {
                    used += length;
                    self.take_answer(&answer, now, measured)?;
                }
                Decoded::NeedMore(_) => return Ok(used),
                Decoded::Malformed(error) => return Err(anyhow!("malformed answer: {error}")),
            }
        }
    }

    fn take_answer(&mut self, answer: &FrameView<'_>, now: Instant, measured: bool) -> Result<()> {
        let opaque = answer.header.opaque;
        let call = Call::of(opaque, self.sent_at.len());
        let Some((call, sent_at)) = call.and_then(|call| Some((call, self.sent_at[call.0].take()?))) else {
            bail!("an answer to a request that was not made, opaque {opaque}");
        };
        self.free.push(call);
        match self.workload.answer(call, answer) {
            Ok(messages) if measured => {
                self.outcome.messages += messages;
                self.outcome.latency.saturating_record((now - sent_at).as_nanos() as u64);
            }
            Ok(_) => {}
            Err(refusal) => {
                self.outcome.errors += 1;
                self.outcome.first_error.get_or_insert(refusal);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opaque_id_names_its_place_and_others_are_refused() {
        assert_eq!(Call::of(Call(3).opaque(), 4), Some(Call(3)));
        assert_eq!(Call::of(Call(4).opaque(), 4), None);
        for foreign in [0, -1, i32::MIN, i32::MAX] {
            assert_eq!(Call::of(foreign, 4), None);
        }
    }
}
