//! The followers that have reported, and what follows from their reports: what is confirmed, who is missing. Pure:
//! events and `now` in.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::confirm::confirmed;
use crate::leader::FollowerStatus;
use crate::rate::Rate;
use crate::sync_state::SyncState;

/// A leader's followers, by the order they came.
pub(crate) struct Members {
    followers: BTreeMap<u64, Member>,
    required: usize,
    confirmed: u64,
    missing_since: Option<Instant>,
    /// Of all followers, to be selected from; kept for its memory.
    acks: Vec<u64>,
}

struct Member {
    addr: SocketAddr,
    state: SyncState,
    sent: u64,
    /// What it had been sent when another connection came from its host, perhaps the same follower's, which has left
    /// this one then. Whoever acknowledges more is still there.
    in_doubt: Option<u64>,
    from_memory: bool,
    rate: Rate,
}

/// A frame on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub end: u64,
    pub bytes: usize,
    pub from_memory: bool,
}

impl Members {
    pub fn new(required: usize, now: Instant) -> Members {
        let mut members = Members {
            followers: BTreeMap::new(),
            required,
            confirmed: 0,
            missing_since: None,
            acks: Vec::new(),
        };
        members.look_for_missing(now);
        members
    }

    /// A follower gave its first report, and is streamed to from `start`.
    pub fn on_connect(&mut self, id: u64, addr: SocketAddr, start: u64, written: u64, now: Instant) {
        let state = SyncState::on_connect(start, written, now);
        let rate = Rate::new(now);
        let same_host = self.followers.values_mut().filter(|member| member.addr.ip() == addr.ip());
        same_host.for_each(|member| member.in_doubt = Some(member.sent));
        let member = Member { addr, state, sent: start, in_doubt: None, from_memory: true, rate };
        self.followers.insert(id, member);
        self.look_for_missing(now);
        self.confirm(written);
    }

    pub fn on_sent(&mut self, id: u64, sent: Sent, written: u64, now: Instant) {
        if let Some(member) = self.followers.get_mut(&id) {
            member.state.on_written(written, now);
            member.sent = sent.end;
            member.from_memory = sent.from_memory;
            member.rate.on_bytes(sent.bytes, now);
        }
    }

    pub fn on_report(&mut self, id: u64, acked: u64, written: u64) {
        if let Some(member) = self.followers.get_mut(&id) {
            member.in_doubt.take_if(|sent| acked > *sent);
            member.state.on_report(acked);
            self.confirm(written);
        }
    }

    /// Does nothing for one that never reported.
    pub fn on_close(&mut self, id: u64, now: Instant) {
        self.followers.remove(&id);
        self.look_for_missing(now);
    }

    pub fn set_required(&mut self, required: usize, written: u64, now: Instant) {
        // What more members have, fewer have as well.
        if required > self.required {
            self.confirmed = 0;
        }
        self.required = required;
        self.look_for_missing(now);
        self.confirm(written);
    }

    /// Returns up to where as many members as required have the log. Never goes back while their number stays.
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Returns since when there are fewer members than required.
    pub fn missing_since(&self) -> Option<Instant> {
        self.missing_since
    }

    pub fn statuses(&self, written: u64, max_lag: Duration, now: Instant) -> Vec<FollowerStatus> {
        let status = |member: &Member| {
            let lag = member.state.lag(written, max_lag, now);
            FollowerStatus {
                addr: member.addr,
                acked: member.state.acked(),
                sent: member.sent,
                lag_bytes: lag.bytes,
                lag_time: lag.time,
                in_sync: lag.in_sync,
                catching_up: !member.from_memory && lag.bytes > 0,
                bytes_per_second: member.rate.bytes_per_second(now),
            }
        };
        self.followers.values().map(status).collect()
    }

    /// Returns up to where so many members have the log now.
    pub fn confirmed_by(&mut self, required: usize, written: u64) -> u64 {
        // Of one who is enough it does not matter who it is.
        let counted = self.followers.values().filter(|member| required <= 2 || member.in_doubt.is_none());
        self.acks.clear();
        self.acks.extend(counted.map(|member| member.state.acked()));
        confirmed(written, &mut self.acks, required)
    }

    fn confirm(&mut self, written: u64) {
        self.confirmed = self.confirmed.max(self.confirmed_by(self.required, written));
    }

    fn look_for_missing(&mut self, now: Instant) {
        if self.followers.len() + 1 >= self.required {
            self.missing_since = None;
        } else {
            self.missing_since.get_or_insert(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each follower has an address of its own.
    fn addr(id: u8) -> SocketAddr {
        ([10, 0, 0, id], 1000).into()
    }

    enum Event {
        Connect(u64, u64),
        /// From the address of follower 1.
        Again(u64, u64),
        SentTo(u64, u64),
        Report(u64, u64),
        Close(u64),
        Required(usize),
    }
    use Event::{Again, Close, Connect, Report, Required, SentTo};

    /// Plays events one second apart over a log that ends at 1000; tells what is confirmed, and since which second
    /// somebody has been missing, after each.
    fn play(required: usize, events: &[Event]) -> Vec<(u64, Option<u64>)> {
        let begin = Instant::now();
        let mut members = Members::new(required, begin);
        let mut after = Vec::new();
        for (second, event) in events.iter().enumerate() {
            let now = begin + Duration::from_secs(second as u64 + 1);
            match event {
                Connect(id, report) => members.on_connect(*id, addr(*id as u8), *report, 1000, now),
                Again(id, report) => members.on_connect(*id, addr(1), *report, 1000, now),
                SentTo(id, end) => {
                    let sent = Sent { end: *end, bytes: 0, from_memory: true };
                    members.on_sent(*id, sent, 1000, now);
                }
                Report(id, acked) => members.on_report(*id, *acked, 1000),
                Close(id) => members.on_close(*id, now),
                Required(n) => members.set_required(*n, 1000, now),
            }
            let missing = members.missing_since().map(|at| at.duration_since(begin).as_secs());
            after.push((members.confirmed(), missing));
        }
        after
    }

    #[test]
    fn alone_nobody_is_missing() {
        assert_eq!(play(1, &[Connect(1, 10), Close(1)]), [(1000, None), (1000, None)]);
        assert_eq!(play(0, &[Close(1)]), [(0, None)]);
    }

    #[test]
    fn two_of_three_confirm_with_the_faster_follower() {
        let events = [
            Connect(1, 10),
            Report(1, 100),
            Connect(2, 50),
            Report(2, 300),
            Report(1, 200),
            Close(2),
            Report(1, 250),
            Report(1, 350),
            Close(1),
            Connect(3, 20),
            Close(9),
        ];
        let want = [
            (10, None),
            (100, None),
            (100, None),
            (300, None),
            (300, None),
            (300, None),
            (300, None),
            (350, None),
            (350, Some(9)),
            (350, None),
            (350, None),
        ];
        assert_eq!(play(2, &events), want);
    }

    #[test]
    fn an_ack_of_one_who_left_does_not_confirm() {
        let events =
            [Connect(1, 900), Close(1), Connect(2, 10), Connect(3, 20), Report(2, 500), Report(3, 400)];
        let want = [(0, Some(0)), (0, Some(0)), (0, Some(0)), (10, None), (20, None), (400, None)];
        assert_eq!(play(3, &events), want);
    }

    #[test]
    fn a_follower_that_comes_again_before_its_old_connection_has_gone_counts_once() {
        let confirmed = |required, events: &[Event]| {
            play(required, events).into_iter().map(|(end, _)| end).collect::<Vec<_>>()
        };
        // It has 900 and comes again; the other one has 200. What it last said on the old connection may be late.
        let events = [
            Connect(1, 100),
            SentTo(1, 920),
            Connect(2, 200),
            Report(1, 900),
            Again(3, 920),
            Report(1, 920),
            Report(3, 950),
            Close(1),
        ];
        assert_eq!(confirmed(3, &events), [0, 0, 100, 200, 200, 200, 200, 200]);
        // Two from one host are two, as soon as the older one has what was sent to it since.
        let events = [
            Connect(1, 500),
            Again(2, 100),
            Report(2, 300),
            Report(1, 500),
            SentTo(1, 600),
            Report(1, 550),
            Report(2, 600),
        ];
        assert_eq!(confirmed(3, &events), [0, 0, 0, 0, 0, 300, 550]);
        // Where one is enough, it does not matter.
        assert_eq!(confirmed(2, &events), [500, 500, 500, 500, 500, 550, 600]);
    }

    #[test]
    fn a_new_number_of_members_counts_at_once() {
        let events =
            [Connect(1, 500), Required(3), Connect(2, 300), Required(4), Required(2), Close(1), Required(1)];
        let want =
            [(500, None), (0, Some(2)), (300, None), (0, Some(4)), (500, None), (500, None), (1000, None)];
        assert_eq!(play(2, &events), want);
        // What three have, two have.
        let events = [Connect(1, 500), Connect(2, 400), Close(1), Close(2), Required(2)];
        assert_eq!(play(3, &events).last(), Some(&(400, Some(3))));
    }

    #[test]
    fn a_status_tells_what_was_sent_and_what_is_missing() {
        let begin = Instant::now();
        let at = |s| begin + Duration::from_secs(s);
        let mut members = Members::new(1, begin);
        members.on_connect(1, addr(1), 100, 1000, at(0));
        members.on_connect(2, addr(2), 1000, 1000, at(0));
        members.on_sent(1, Sent { end: 600, bytes: 500, from_memory: false }, 1000, at(1));
        members.on_report(1, 400, 1000);
        let want = [
            FollowerStatus {
                addr: addr(1),
                acked: 400,
                sent: 600,
                lag_bytes: 600,
                lag_time: Duration::from_secs(2),
                in_sync: false,
                catching_up: true,
                bytes_per_second: 500,
            },
            FollowerStatus {
                addr: addr(2),
                acked: 1000,
                sent: 1000,
                lag_bytes: 0,
                lag_time: Duration::ZERO,
                in_sync: true,
                catching_up: false,
                bytes_per_second: 0,
            },
        ];
        assert_eq!(members.statuses(1000, Duration::from_secs(15), at(2)), want);
    }
}
