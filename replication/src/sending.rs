//! One follower's connection: the log goes out, reports come in, on one task. Neither direction waits for the other.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Duration, Instant};

use store::ReadError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep_until};
use tracing::info;

use crate::clock::now;
use crate::leader::Leader;
use crate::members::Sent;
use crate::outgoing::Outgoing;
use crate::wire::{self, Decoded};

/// Bytes of reports read at once.
const READ: usize = 1024;

/// Why a follower's connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("it closed the connection")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("we stop")]
    Stopping,
    #[error("it reported nothing for {0:?} (haHousekeepingInterval)")]
    Silent(Duration),
    #[error("what it sent is no report: {0}")]
    Malformed(#[from] wire::Malformed),
    #[error(
        "it reports {report}, but this log ends at {written}: it has what this master has lost or never had; it must not go on, see its own log"
    )]
    Ahead { report: u64, written: u64 },
    #[error("it reports {report}, but was sent the log up to {sent} only: it does not follow this log alone")]
    NotSent { report: u64, sent: u64 },
    #[error(
        "it reports {report}, but this log begins at {begin}: what it needs next was removed; it must start over"
    )]
    Removed { report: u64, begin: u64 },
    #[error("{0}: what it needs next was removed while it was sent; it must start over")]
    Outrun(ReadError),
    #[error("{0}")]
    Unreadable(ReadError),
}

enum Event {
    Read(io::Result<usize>),
    Written(io::Result<usize>),
    Appended,
    /// What was held back may go.
    Released,
    Timer,
    Stop,
}

/// One follower's connection.
pub(crate) struct Sending<'a, R, W> {
    leader: &'a Leader,
    id: u64,
    addr: SocketAddr,
    reader: R,
    writer: W,
    reports: [u8; READ],
    /// Bytes of an incomplete report.
    reports_len: usize,
    out: Outgoing,
    /// Where in the log the next frame begins; `None` before the first report.
    next: Option<u64>,
    /// The last frame had to be read from the disk.
    from_disk: bool,
    catch_up: watch::Receiver<Option<u64>>,
    last_report: Instant,
    last_written: Instant,
}

impl<'a, R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Sending<'a, R, W> {
    pub fn new(leader: &'a Leader, id: u64, addr: SocketAddr, reader: R, writer: W) -> Sending<'a, R, W> {
        Sending {
            leader,
            id,
            addr,
            reader,
            writer,
            reports: [0; READ],
            reports_len: 0,
            out: Outgoing::default(),
            next: None,
            from_disk: false,
            catch_up: leader.catch_up_changes(),
            last_report: now(),
            last_written: now(),
        }
    }

    /// Says whether the other end has ever reported.
    pub fn is_follower(&self) -> bool {
        self.next.is_some()
    }

    /// Runs the connection to its end.
    pub async fn drive(&mut self, mut stop: watch::Receiver<bool>) -> Result<Infallible, Ended> {
        let leader = self.leader;
        let timer = sleep_until(self.next_deadline().into());
        tokio::pin!(timer);
        loop {
            // Before the log's end is looked at, or an append in between would wake nobody.
            let appended = leader.store().appended().notified();
            self.fill()?;
            match self.next_event(appended, timer.as_mut(), &mut stop).await {
                Event::Stop => return Err(Ended::Stopping),
                Event::Read(n) => self.on_read(n?)?,
                Event::Written(n) => self.on_written(n?)?,
                Event::Released => self.out.held_until = None,
                Event::Appended => {}
                Event::Timer => {
                    let silence = leader.config().housekeeping;
                    if now() >= self.last_report + silence {
                        return Err(Ended::Silent(silence));
                    }
                    self.beat_if_due();
                    // Set again only here, not at every frame: it may wake too early, which does no harm.
                    timer.as_mut().reset(self.next_deadline().into());
                }
            }
        }
    }

    async fn next_event(
        &mut self,
        appended: impl Future<Output = ()>,
        timer: Pin<&mut Sleep>,
        stop: &mut watch::Receiver<bool>,
    ) -> Event {
        let held_until = self.out.held_until;
        let released = async {
            match held_until {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let idle = self.next.is_some() && self.out.is_empty();
        let out = self.out.unwritten();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Event::Stop,
            n = self.reader.read(&mut self.reports[self.reports_len..]) => Event::Read(n),
            n = self.writer.write(out), if !out.is_empty() => Event::Written(n),
            () = appended, if idle => Event::Appended,
            () = released, if held_until.is_some() => Event::Released,
            _ = self.catch_up.changed(), if held_until.is_some() => Event::Released,
            () = timer => Event::Timer,
        }
    }

    // ---- reports ----

    fn on_read(&mut self, n: usize) -> Result<(), Ended> {
        if n == 0 {
            return Err(Ended::Closed);
        }
        self.reports_len += n;
        match wire::decode_last_report(&self.reports[..self.reports_len]) {
            Decoded::NeedMore => Ok(()),
            Decoded::Malformed(why) => Err(why.into()),
            Decoded::Value((report, used)) => {
                self.reports.copy_within(used..self.reports_len, 0);
                self.reports_len -= used;
                self.last_report = now();
                self.on_report(report)
            }
        }
    }

    fn on_report(&mut self, report: u64) -> Result<(), Ended> {
        match self.next {
            None => self.start(report),
            Some(sent) if report > sent => Err(Ended::NotSent { report, sent }),
            Some(_) => {
                self.leader.on_report(self.id, report);
                Ok(())
            }
        }
    }

    fn start(&mut self, report: u64) -> Result<(), Ended> {
        let (begin, written) = (self.leader.store().begin(), self.leader.store().written());
        // 0 is "nothing": it gets all there is.
        let start = if report == 0 { begin } else { report };
        if start > written {
            return Err(Ended::Ahead { report, written });
        }
        if start < begin {
            return Err(Ended::Removed { report, begin });
        }
        info!(follower = %self.addr, report, begin, written, "follower connected");
        self.next = Some(start);
        self.leader.on_connect(self.id, self.addr, start);
        if start == written {
            // So that it knows at once that it has everything.
            self.out.beat(start);
        }
        Ok(())
    }

    // ---- frames ----

    /// Puts what the log has behind the last frame into the next one, unless one is on its way.
    fn fill(&mut self) -> Result<(), Ended> {
        let Some(next) = self.next.filter(|_| self.out.is_empty()) else { return Ok(()) };
        let store = self.leader.store();
        let written = store.written();
        if next == written {
            return Ok(());
        }
        let max = self.leader.config().max_transfer_bytes;
        let read = self.out.fill(next, |out| match store.read_log(next, max, false, out) {
            // The other connections of this thread must not wait for the disk.
            Err(ReadError::WouldBlock) => {
                tokio::task::block_in_place(|| store.read_log(next, max, true, out))
            }
            read => read,
        });
        let read = read.map_err(|e| match e {
            ReadError::Outside { .. } => Ended::Outrun(e),
            _ => Ended::Unreadable(e),
        })?;
        let end = next + read.bytes as u64;
        self.next = Some(end);
        // The blank at the end of a segment is not in memory even for a follower that keeps up: one read is free.
        let behind = std::mem::replace(&mut self.from_disk, !read.from_memory);
        if behind && self.from_disk {
            self.catch_up.mark_unchanged();
            self.out.held_until = self.leader.book(read.bytes);
        }
        let sent = Sent { end, bytes: read.bytes, from_memory: read.from_memory };
        self.leader.on_sent(self.id, sent, written);
        Ok(())
    }

    fn on_written(&mut self, n: usize) -> Result<(), Ended> {
        if n == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero).into());
        }
        self.out.on_written(n);
        self.last_written = now();
        Ok(())
    }

    /// A frame that is on its way says that we live; one that is held back does not.
    fn beat_if_due(&mut self) {
        if self.out.is_quiet()
            && let Some(next) = self.next
            && now() >= self.last_written + self.leader.config().heartbeat
        {
            self.out.beat(next);
        }
    }

    fn next_deadline(&self) -> Instant {
        let (heartbeat, housekeeping) = (self.leader.config().heartbeat, self.leader.config().housekeeping);
        let quiet_since = if self.out.is_quiet() && self.next.is_some() { self.last_written } else { now() };
        (quiet_since + heartbeat).min(self.last_report + housekeeping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use store::StoreConfig;
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use crate::leader::LeaderConfig;
    use crate::support::{Site, until};
    use crate::wire::{HEAD, encode_report};

    /// A leader with one connection, of which the test holds the other end.
    struct Rig {
        site: Site,
        leader: Arc<Leader>,
        peer: DuplexStream,
        connection: JoinHandle<Ended>,
        stop: watch::Sender<bool>,
    }

    fn rig(site: Site, config: LeaderConfig, pipe: usize) -> Rig {
        let leader = Leader::new(site.store.clone(), config);
        let (near, peer) = duplex(pipe);
        let stop = watch::Sender::new(false);
        let (serving, stopped) = (leader.clone(), stop.subscribe());
        let connection = tokio::spawn(async move {
            let (reader, writer) = tokio::io::split(near);
            let mut sending = Sending::new(&serving, 1, addr(), reader, writer);
            let Err(ended) = sending.drive(stopped).await;
            ended
        });
        Rig { site, leader, peer, connection, stop }
    }

    fn addr() -> SocketAddr {
        "127.0.0.1:9".parse().unwrap()
    }

    impl Rig {
        async fn report(&mut self, offset: u64) {
            self.peer.write_all(&encode_report(offset)).await.unwrap();
        }

        async fn frame(&mut self) -> (u64, Vec<u8>) {
            let mut head = [0; HEAD];
            self.peer.read_exact(&mut head).await.unwrap();
            let Decoded::Value(head) = wire::decode_head(&head) else { panic!("{head:?} is no head") };
            let mut body = vec![0; head.size];
            self.peer.read_exact(&mut body).await.unwrap();
            (head.offset, body)
        }
    }

    const ROOM: usize = 4 << 20;

    #[tokio::test(start_paused = true)]
    async fn bytes_on_the_wire_are_those_of_the_protocol() {
        let site = Site::new(4096);
        let end = site.append([3]);
        let mut rig = rig(site, LeaderConfig::default(), ROOM);
        let begun = now();
        rig.peer.write_all(&[0, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
        let mut got = vec![0; 12 + end as usize];
        rig.peer.read_exact(&mut got).await.unwrap();
        assert_eq!(got[..12], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, end as u8]);
        assert_eq!(got[12..], rig.site.log());
        let mut heartbeat = [9; 12];
        rig.peer.read_exact(&mut heartbeat).await.unwrap();
        assert_eq!(heartbeat, [0, 0, 0, 0, 0, 0, 0, end as u8, 0, 0, 0, 0]);
        assert_eq!(now() - begun, Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_before_the_first_report_and_a_late_one_is_no_fault() {
        let site = Site::new(4096);
        let end = site.append([10]);
        let mut rig = rig(site, LeaderConfig::default(), ROOM);
        let early = tokio::time::timeout(Duration::from_secs(15), rig.frame()).await;
        assert!(early.is_err() && rig.leader.followers().is_empty());
        rig.report(end).await;
        assert_eq!(rig.frame().await, (end, vec![]), "at once, so that it knows that it has everything");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_follower_gets_a_heartbeat_every_five_seconds() {
        let site = Site::new(4096);
        let end = site.append([10]);
        let mut rig = rig(site, LeaderConfig::default(), ROOM);
        let begun = now();
        rig.report(end).await;
        for beat in 0..10 {
            assert_eq!(rig.frame().await, (end, vec![]));
            assert_eq!(now() - begun, Duration::from_secs(5 * beat));
            rig.report(end).await;
        }
        let end = rig.site.append([20]);
        let (at, body) = rig.frame().await;
        assert_eq!(at + body.len() as u64, end, "what is appended goes at once");
        assert_eq!(now() - begun, Duration::from_secs(45));
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_that_falls_silent_is_closed() {
        let site = Site::new(4096);
        let mut rig = rig(site, LeaderConfig::default(), ROOM);
        let begun = now();
        rig.report(0).await;
        tokio::time::sleep(Duration::from_secs(15)).await;
        rig.report(0).await;
        let ended = rig.connection.await.unwrap();
        assert!(matches!(ended, Ended::Silent(_)), "{ended}");
        assert_eq!(now() - begun, Duration::from_secs(35));
    }

    #[tokio::test(start_paused = true)]
    async fn who_connects_and_says_nothing_is_closed() {
        let rig = rig(Site::new(4096), LeaderConfig::default(), ROOM);
        let begun = now();
        let ended = rig.connection.await.unwrap();
        assert!(matches!(ended, Ended::Silent(_)), "{ended}");
        assert_eq!(now() - begun, Duration::from_secs(20));
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_that_does_not_fit_the_log_ends_the_connection_with_its_numbers() {
        for (reports, want) in [
            (
                &[501][..],
                "it reports 501, but this log ends at 500: it has what this master has lost or never had; it must not go on, see its own log",
            ),
            (
                &[399],
                "it reports 399, but this log begins at 400: what it needs next was removed; it must start over",
            ),
            (
                &[1],
                "it reports 1, but this log begins at 400: what it needs next was removed; it must start over",
            ),
            (
                &[500, 501],
                "it reports 501, but was sent the log up to 500 only: it does not follow this log alone",
            ),
            (
                &[0, 450, 501],
                "it reports 501, but was sent the log up to 500 only: it does not follow this log alone",
            ),
            (&[1 << 63], "what it sent is no report: offset -9223372036854775808 is negative"),
            (
                &[0, u64::from_be_bytes(*b"GET / HT")],
                "it reports 5135603447292250196, but was sent the log up to 500 only: it does not follow this log alone",
            ),
        ] {
            let site = Site::new(4096);
            site.store.start_over(400).unwrap();
            // A record without a body and with a topic of one byte has 92 bytes.
            assert_eq!(site.append([8]), 500);
            let mut rig = rig(site, LeaderConfig::default(), ROOM);
            let (last, first) = reports.split_last().unwrap();
            for report in first {
                rig.report(*report).await;
                // Taken before the next one comes: of many the last counts.
                let acked = (*report).max(400);
                until("the report", || rig.leader.followers().first().is_some_and(|f| f.acked == acked))
                    .await;
            }
            rig.report(*last).await;
            assert_eq!(rig.connection.await.unwrap().to_string(), want);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reports_cut_anywhere_are_understood() {
        let site = Site::new(4096);
        let end = site.append([1, 2, 3]);
        let mut rig = rig(site, LeaderConfig::default(), ROOM);
        rig.peer.write_all(&[0; 5]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(rig.leader.followers().is_empty());
        rig.peer.write_all(&[&[0; 3][..], &encode_report(93)[..7]].concat()).await.unwrap();
        assert_eq!(rig.frame().await, (0, rig.site.log()));
        assert_eq!(rig.leader.followers()[0].acked, 0);
        rig.peer.write_all(&[&encode_report(93)[7..], &encode_report(end)].concat()).await.unwrap();
        until("the last report", || rig.leader.followers()[0].acked == end).await;
    }

    #[tokio::test(start_paused = true)]
    async fn reports_are_taken_while_a_frame_does_not_go_out() {
        let site = Site::new(1 << 20);
        let end = site.append([1000; 100]);
        let mut rig = rig(site, LeaderConfig::default(), 100);
        rig.report(0).await;
        // Of the log 100 bytes fit the pipe; nobody reads them.
        until("a frame to be stuck", || rig.leader.followers().first().is_some_and(|f| f.sent == end)).await;
        for acked in [1, 500, 70_000] {
            tokio::time::sleep(Duration::from_secs(15)).await;
            rig.report(acked).await;
            until("the report", || rig.leader.followers()[0].acked == acked).await;
        }
        let status = rig.leader.followers().remove(0);
        assert_eq!(
            (status.lag_bytes, status.lag_time, status.in_sync),
            (end - 70_000, Duration::from_secs(45), false)
        );
        assert_eq!(rig.frame().await.1.len() as u64, end);
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_holds_all_that_came_meanwhile_up_to_a_bound_and_ends_with_a_segment() {
        let site = Site::new(64 << 10);
        let end = site.append((0..200).map(|n| 1000 + n));
        let config = LeaderConfig { max_transfer_bytes: 24 << 10, ..LeaderConfig::default() };
        let mut rig = rig(site, config, ROOM);
        rig.report(0).await;
        let (mut next, mut got, mut sizes) = (0, Vec::new(), Vec::new());
        while next < end {
            let (at, body) = rig.frame().await;
            assert_eq!(at, next);
            assert_eq!(at >> 16, (at + body.len() as u64 - 1) >> 16, "within one segment");
            next += body.len() as u64;
            got.extend_from_slice(&body);
            sizes.push(body.len());
        }
        assert_eq!(sizes[..2], [24 << 10, 24 << 10]);
        assert_eq!(sizes.iter().max(), Some(&(24 << 10)));
        assert!(got == rig.site.log());
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_is_removed_under_a_follower_ends_the_connection() {
        let site = Site::new(4096);
        site.append([100; 100]);
        let mut rig = rig(site, LeaderConfig::default(), 100);
        rig.report(0).await;
        until("a frame to be stuck", || !rig.leader.followers().is_empty()).await;
        rig.site.store.start_over(1 << 20).unwrap();
        rig.frame().await;
        let ended = rig.connection.await.unwrap();
        assert!(matches!(ended, Ended::Outrun(ReadError::Outside { .. })), "{ended}");
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_and_closing_end_the_connection() {
        let mut stopped = rig(Site::new(4096), LeaderConfig::default(), ROOM);
        stopped.report(0).await;
        stopped.stop.send_replace(true);
        assert!(matches!(stopped.connection.await.unwrap(), Ended::Stopping));
        let mut closed = rig(Site::new(4096), LeaderConfig::default(), ROOM);
        closed.report(0).await;
        drop(closed.peer);
        assert!(matches!(closed.connection.await.unwrap(), Ended::Closed | Ended::Io(_)));
    }

    /// A log of which the last MiB, or less, is in memory.
    fn cold() -> Site {
        let site = Site::with(StoreConfig {
            segment_bytes: 16 << 20,
            cache_bytes: 1 << 20,
            ..StoreConfig::new("/s")
        });
        site.append([10_000; 580]);
        site
    }

    fn throttled(bytes_per_second: u64) -> LeaderConfig {
        LeaderConfig {
            catch_up_bytes_per_second: Some(bytes_per_second),
            max_transfer_bytes: 64 << 10,
            ..LeaderConfig::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn catching_up_from_the_disk_keeps_the_rate_and_the_tail_is_free_of_it() {
        let mut rig = rig(cold(), throttled(256 << 10), ROOM);
        let store = rig.site.store.clone();
        let in_memory = |at: u64| store.read_log(at, 1, false, &mut Vec::new()).unwrap().from_memory;
        let begun = now();
        rig.report(0).await;
        let (mut next, mut slow, mut slow_until) = (0, 0, begun);
        while next < store.written() {
            let (at, body) = rig.frame().await;
            next = at + body.len() as u64;
            if !in_memory(at) {
                (slow, slow_until) = (slow + body.len(), now());
            }
        }
        assert!(slow > 4 << 20 && store.written() - slow as u64 > 64 << 10, "{slow} bytes are on the disk");
        // One frame is free, the next one goes at once, and a tenth of a second is credit.
        let want = (slow - (128 << 10)) as f64 / (256 << 10) as f64 - 0.1;
        let took = (slow_until - begun).as_secs_f64();
        assert!((want..want + 0.3).contains(&took), "{slow} bytes took {took} s, not {want}");
        assert_eq!(now(), slow_until, "what is in memory is not held back");
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_frame_is_held_back_heartbeats_and_reports_flow() {
        // A frame takes 64 seconds.
        let mut rig = rig(cold(), throttled(1 << 10), ROOM);
        rig.report(0).await;
        rig.frame().await;
        let (at, body) = rig.frame().await;
        let (begun, next) = (now(), at + body.len() as u64);
        for beat in 1..=12 {
            assert_eq!(rig.frame().await, (next, vec![]));
            assert_eq!((now() - begun).as_secs(), 5 * beat);
            rig.report(beat).await;
            until("the report", || rig.leader.followers()[0].acked == beat).await;
        }
        let (at, body) = rig.frame().await;
        assert_eq!((at, body.len()), (next, 64 << 10));
        assert_eq!((now() - begun).as_secs(), 63, "64 and a tenth of credit");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_rate_counts_for_what_is_held_back() {
        let mut rig = rig(cold(), throttled(1), ROOM);
        let begun = now();
        rig.report(0).await;
        rig.frame().await;
        rig.frame().await;
        until("the next frame to be held", || rig.leader.followers()[0].sent > 128 << 10).await;
        rig.leader.set_catch_up_bytes_per_second(None);
        let mut next = 0;
        while next < rig.site.store.written() {
            let (at, body) = rig.frame().await;
            next = at + body.len() as u64;
        }
        assert_eq!(now(), begun);
    }

    #[tokio::test(start_paused = true)]
    async fn the_blank_at_the_end_of_a_segment_is_not_held_back() {
        let site = Site::new(8192);
        let mut rig = rig(site, throttled(1), ROOM);
        let begun = now();
        rig.report(0).await;
        rig.frame().await;
        let mut next = 0;
        for _ in 0..10 {
            rig.site.append([3000]);
            while next < rig.site.store.written() {
                let (at, body) = rig.frame().await;
                next = at + body.len() as u64;
            }
        }
        assert_eq!(now(), begun);
    }
}
