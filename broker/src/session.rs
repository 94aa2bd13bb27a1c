//! One connection of a broker. Sends of one read become one batch and one write; their answers wait for the flush and
//! for slaves where that was asked for; pulls that find nothing wait for a message. All of it runs on the connection's
//! task.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use daemon::metrics::Sample;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{self, FrameView};
use protocol::requests::NoFields;
use remoting::connection::DRAIN;
use remoting::{Peer, Service, Session};
use store::{AppendError, Batch, Entry, Stored};
use tokio::sync::futures::Notified;
use tokio::sync::watch;

use crate::broker::{Broker, now_ms};
use crate::handlers::pull_message::{self, Allowed, Outcome, Pull};
use crate::handlers::send_message::{self, Caller, LastTopic, PendingSend, SendReply};
use crate::progress;
use crate::redirects::Redirects;
use crate::refusal::Refusal;
use crate::router;
use crate::unanswered::Unanswered;

/// Pulls of one connection held at once; a client has one per queue.
const MAX_PARKED: usize = 16_384;
/// How long sends wait on a connection that stops: a late answer tells more than none.
const LAST_ANSWERS: Duration = DRAIN.saturating_sub(Duration::from_millis(500));
/// Bytes of answers gathered before they are written in the middle of releasing some.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// Bytes of records gathered before they are appended in the middle of a read.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// Makes sessions.
pub struct BrokerService(pub Arc<Broker>);

impl Service for BrokerService {
    type Session = BrokerSession;

    fn accept(&self, peer: &Peer) -> BrokerSession {
        BrokerSession::new(self.0.clone(), peer.clone())
    }
}

/// One connection.
pub struct BrokerSession {
    broker: Arc<Broker>,
    peer: Peer,
    batch: Batch,
    sends: Vec<PendingSend>,
    begun: Option<Instant>,
    /// The broker's, when the batch began.
    address: SocketAddr,
    last_topic: LastTopic,
    unanswered: Unanswered<SentBatch>,
    unanswered_sends: usize,
    waiting_for_slaves: usize,
    flushed: watch::Receiver<u64>,
    replicated: Option<watch::Receiver<u64>>,
    settings: watch::Receiver<()>,
    parked: HashMap<u64, Parked>,
    deadlines: BTreeSet<(Instant, u64)>,
    next_token: u64,
    redirects: Redirects,
    entries: Vec<Entry>,
    stored: Vec<Stored>,
}

/// Stored sends whose answers wait, all of one batch.
struct SentBatch {
    begun: Instant,
    /// Whether slaves must have them.
    copied: bool,
    /// The broker's address then.
    address: SocketAddr,
    sends: Vec<(PendingSend, Range<usize>)>,
    /// Where the records of all of them went; each send has its part.
    stored: Vec<Stored>,
}

struct Parked {
    pull: Pull,
    deadline: Instant,
}

impl BrokerSession {
    fn new(broker: Arc<Broker>, peer: Peer) -> BrokerSession {
        BrokerSession {
            flushed: broker.store.flushed(),
            replicated: broker.leader.as_ref().map(|leader| leader.replicated()),
            settings: broker.live.changes(),
            address: broker.address(),
            broker,
            peer,
            batch: Batch::default(),
            sends: Vec::new(),
            begun: None,
            last_topic: LastTopic::default(),
            unanswered: Unanswered::default(),
            unanswered_sends: 0,
            waiting_for_slaves: 0,
            parked: HashMap::new(),
            deadlines: BTreeSet::new(),
            next_token: 0,
            redirects: Redirects::default(),
            entries: Vec::new(),
            stored: Vec::new(),
        }
    }

    // ---- sends ----

    fn on_send(&mut self, frame: &FrameView<'_>, out: &mut Vec<u8>) {
        let begun = self.begun.unwrap_or_else(|| self.begin_batch());
        let address = self.address;
        match send_message::prepare(
            &self.broker,
            address,
            &self.peer,
            frame,
            &mut self.last_topic,
            &mut self.batch,
        ) {
            Ok(send) => self.sends.push(send),
            Err(refusal) => self.refuse(&Caller::of(frame), &refusal, begun, out),
        }
        if self.batch.bytes() > MAX_BATCH_BYTES {
            self.commit(out);
        }
    }

    fn begin_batch(&mut self) -> Instant {
        self.address = self.broker.address();
        *self.begun.insert(Instant::now())
    }

    /// Appends what was gathered, and answers it or lets it wait.
    fn commit(&mut self, out: &mut Vec<u8>) {
        if self.sends.is_empty() {
            self.begun = None;
            self.batch.clear();
            return;
        }
        let begun = self.begun.take().unwrap_or_else(Instant::now);
        let broker = self.broker.clone();
        let appended = broker.store.append(&mut self.batch, now_ms());
        for number in 0..self.batch.len() {
            if self.batch.stored(number).is_some() {
                broker.waiting.wake(self.batch.queue(number), self.batch.tags_code(number));
            }
        }
        let stored = (0..self.batch.len()).filter(|n| self.batch.stored(*n).is_some()).count();
        broker.rates.put.fetch_add(stored as u64, Ordering::Relaxed);
        // The whole batch is covered by its end; so is whatever a failure left of it.
        let end = *appended.as_ref().unwrap_or(&broker.store.written());
        let promise = progress::promise(&broker, end, begun);
        let (mut waiting, mut stored_waiting) = (Vec::new(), Vec::new());
        let latency = begun.elapsed();
        for send in std::mem::take(&mut self.sends) {
            self.stored.clear();
            self.stored.extend(send.records.clone().filter_map(|n| self.batch.stored(n)));
            if self.stored.len() < send.records.len() {
                let refusal = refusal_of(appended.as_ref().err());
                self.refuse(&send.caller, &refusal, begun, out);
            } else if promise.is_some() && send.waits {
                let begin = stored_waiting.len();
                stored_waiting.extend_from_slice(&self.stored);
                waiting.push((send, begin..stored_waiting.len()));
            } else {
                let reply =
                    SendReply { broker: &broker, address: self.address, send: &send, stored: &self.stored };
                answer_send(&reply, ResponseCode::SUCCESS, latency, out);
            }
        }
        if let Some(promise) = promise.filter(|_| !waiting.is_empty()) {
            if promise.flush.is_some() {
                broker.store.request_flush(end);
            }
            let copied = promise.copies.is_some();
            if copied {
                self.waiting_for_slaves += waiting.len();
                broker.waiting_for_slaves.fetch_add(waiting.len(), Ordering::Relaxed);
            }
            self.unanswered_sends += waiting.len();
            let (address, sends, stored) = (self.address, waiting, stored_waiting);
            self.unanswered.push(promise, SentBatch { begun, copied, address, sends, stored });
        }
        self.batch.clear();
    }

    /// Returns true when there may be more to release once `out` is written; so does [`Self::release_pulls`].
    fn release_sends(&mut self, out: &mut Vec<u8>) -> bool {
        while !self.unanswered.is_empty() {
            if out.len() >= MAX_ANSWER_BYTES {
                return true;
            }
            let reached = progress::reached(&self.broker, &mut self.flushed, self.replicated.as_mut());
            let Some((code, batch)) = self.unanswered.pop(reached, Instant::now()) else { return false };
            self.unanswered_sends -= batch.sends.len();
            if batch.copied {
                self.waiting_for_slaves -= batch.sends.len();
                self.broker.waiting_for_slaves.fetch_sub(batch.sends.len(), Ordering::Relaxed);
            }
            for (send, records) in &batch.sends {
                let stored = &batch.stored[records.clone()];
                let reply = SendReply { broker: &self.broker, address: batch.address, send, stored };
                answer_send(&reply, code, batch.begun.elapsed(), out);
            }
        }
        false
    }

    // ---- pulls ----

    fn on_pull(&mut self, frame: &FrameView<'_>, out: &mut Vec<u8>) {
        let begun = Instant::now();
        let caller = Caller::of(frame);
        match pull_message::prepare(&self.broker, caller, &frame.header.ext) {
            Err(refusal) => self.refuse(&caller, &refusal, begun, out),
            Ok(pull) => {
                let deadline = begun + pull.suspend;
                let may_wait = !pull.suspend.is_zero() && self.parked.len() < MAX_PARKED;
                self.run_pull(pull, may_wait.then_some(deadline), out);
            }
        }
    }

    /// Answers a pull, or parks it until a message comes or `deadline` is over.
    fn run_pull(&mut self, pull: Pull, deadline: Option<Instant>, out: &mut Vec<u8>) {
        let Some(deadline) = deadline else {
            self.try_pull(&pull, false, out);
            return;
        };
        if self.try_pull(&pull, true, out) {
            return;
        }
        let token = self.next_token;
        self.next_token += 1;
        let mailbox = self.peer.mailbox.clone();
        if !self.broker.waiting.park(&pull.queue, self.peer.id, token, pull.filter.clone(), mailbox) {
            self.try_pull(&pull, false, out);
            return;
        }
        // A message may have come between looking and parking, or the topic may have gone.
        if self.try_pull(&pull, true, out) {
            self.broker.waiting.unpark(&pull.queue, self.peer.id, token);
        } else {
            self.deadlines.insert((deadline, token));
            self.parked.insert(token, Parked { pull, deadline });
        }
    }

    /// Says whether the pull was answered.
    fn try_pull(&mut self, pull: &Pull, may_wait: bool, out: &mut Vec<u8>) -> bool {
        let (before, now) = (out.len(), Instant::now());
        let redirect = self.broker.slave.is_some()
            && self.redirects.allow(pull.queue.uid, &pull.group.group_name, pull.offset, now);
        let allowed = Allowed { wait: may_wait, redirect };
        let code = match pull_message::answer(&self.broker, pull, allowed, &mut self.entries, out) {
            Outcome::Nothing => return false,
            Outcome::Answered(code) => code,
            Outcome::Redirected(code) => {
                self.redirects.on_redirect(pull.queue.uid, &pull.group.group_name, pull.offset, now);
                code
            }
        };
        record(&self.broker, pull.caller.code, code, pull.begun.elapsed(), out.len() - before);
        true
    }

    fn release_pulls(&mut self, out: &mut Vec<u8>) -> bool {
        while let Some((deadline, token)) = self.deadlines.first().copied() {
            if deadline > Instant::now() {
                return false;
            }
            if out.len() >= MAX_ANSWER_BYTES {
                return true;
            }
            self.deadlines.remove(&(deadline, token));
            let Some(parked) = self.parked.remove(&token) else { continue };
            self.broker.waiting.unpark(&parked.pull.queue, self.peer.id, token);
            self.run_pull(parked.pull, None, out);
        }
        false
    }

    // ---- everything else ----

    fn refuse(&self, caller: &Caller, refusal: &Refusal, begun: Instant, out: &mut Vec<u8>) {
        let before = out.len();
        if !caller.oneway {
            frame::encode(out, &caller.head(refusal.code, Some(&refusal.remark)), &NoFields, b"");
        }
        record(&self.broker, caller.code, refusal.code, begun.elapsed(), out.len() - before);
    }
}

fn answer_send(reply: &SendReply<'_>, code: ResponseCode, latency: Duration, out: &mut Vec<u8>) {
    let (before, caller) = (out.len(), &reply.send.caller);
    if !caller.oneway {
        frame::encode(out, &caller.head(code, None), reply, b"");
    }
    record(reply.broker, caller.code, code, latency, out.len() - before);
}

fn record(broker: &Broker, request: RequestCode, result: ResponseCode, latency: Duration, bytes_out: usize) {
    broker.requests.record(Sample { request: request.0, result: result.0, bytes_in: 0, bytes_out, latency });
}

/// Returns what a sender is told about a failed append (P§6.2).
fn refusal_of(error: Option<&AppendError>) -> Refusal {
    match error {
        None => Refusal::new(ResponseCode::TOPIC_NOT_EXIST, "the topic was deleted"),
        Some(e @ AppendError::Full(_)) => Refusal::new(
            ResponseCode::SERVICE_NOT_AVAILABLE,
            format!(
                "service not available now. It may be caused by one of the following reasons: the broker's disk is full: {e}"
            ),
        ),
        Some(e @ AppendError::Stopped(_)) => Refusal::new(ResponseCode::SERVICE_NOT_AVAILABLE, e.to_string()),
        Some(e @ AppendError::TooLarge(_)) => Refusal::new(ResponseCode::MESSAGE_ILLEGAL, e.to_string()),
        Some(e @ AppendError::Io { .. }) => Refusal::failed(e),
    }
}

/// Resolves at a time; never without one.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Resolves when a watched offset has moved; never without one.
async fn moved(offset: Option<&mut watch::Receiver<u64>>) {
    if let Some(offset) = offset
        && offset.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Resolves with the next report of a slave; never when none is awaited.
async fn reported(report: Pin<&mut Option<Notified<'_>>>) {
    match report.as_pin_mut() {
        Some(report) => report.await,
        None => std::future::pending().await,
    }
}

impl Session for BrokerSession {
    fn on_frame(&mut self, frame: FrameView<'_>, out: &mut Vec<u8>) {
        if frame.header.is_response() {
            // Answers to NOTIFY_CONSUMER_IDS_CHANGED and the like: nobody waits for them.
            return;
        }
        match RequestCode(frame.header.code) {
            RequestCode::SEND_MESSAGE | RequestCode::SEND_MESSAGE_V2 | RequestCode::SEND_BATCH_MESSAGE => {
                return self.on_send(&frame, out);
            }
            _ => self.commit(out),
        }
        match RequestCode(frame.header.code) {
            RequestCode::PULL_MESSAGE | RequestCode::LITE_PULL_MESSAGE => self.on_pull(&frame, out),
            code => {
                let begun = Instant::now();
                let before = out.len();
                let result = router::handle(&self.broker, &self.peer, &frame, out);
                record(&self.broker, code, result, begun.elapsed(), out.len() - before);
            }
        }
    }

    fn on_read_end(&mut self, out: &mut Vec<u8>) {
        self.commit(out);
    }

    fn on_token(&mut self, token: u64, out: &mut Vec<u8>) {
        if let Some(parked) = self.parked.remove(&token) {
            self.deadlines.remove(&(parked.deadline, token));
            self.run_pull(parked.pull, Some(parked.deadline), out);
        }
    }

    async fn progress(&mut self) {
        let Self { broker, unanswered, flushed, replicated, settings, deadlines, .. } = self;
        // Before looking at them: what a promise waits for below depends on them.
        settings.mark_unchanged();
        let (flush, slaves) = (unanswered.waits_for_flush(), unanswered.waits_for_slaves());
        let recount = slaves && unanswered.waits_for_others_than(broker.live.load().required_acks());
        let mut reports = pin!(broker.leader.as_ref().filter(|_| recount).map(|leader| leader.moved()));
        // Before looking how far the log has come, or a report in between would be missed.
        if let Some(reports) = reports.as_mut().as_pin_mut() {
            reports.enable();
        }
        let send = match unanswered.is_empty() {
            true => None,
            false => {
                let reached = progress::reached(broker, flushed, replicated.as_mut());
                unanswered.deadline(reached, Instant::now())
            }
        };
        let pull = deadlines.first().map(|(deadline, _)| *deadline);
        let timer = sleep_until(send.into_iter().chain(pull).min());
        tokio::select! {
            () = timer => {}
            () = moved(flush.then_some(flushed)) => {}
            () = moved(replicated.as_mut().filter(|_| slaves)) => {}
            () = reported(reports) => {}
            Ok(()) = settings.changed(), if slaves => {}
        }
    }

    fn on_progress(&mut self, out: &mut Vec<u8>) -> bool {
        self.release_sends(out) || self.release_pulls(out)
    }

    fn on_stop(&mut self, _out: &mut Vec<u8>) {
        let now = Instant::now();
        self.unanswered.hurry(now + LAST_ANSWERS);
        self.deadlines = self.parked.keys().map(|token| (now, *token)).collect();
        self.parked.values_mut().for_each(|p| p.deadline = now);
    }

    fn may_read(&self) -> bool {
        self.unanswered_sends < self.broker.config.max_unanswered_sends
    }

    fn owes(&self) -> bool {
        !self.unanswered.is_empty()
    }

    fn on_close(&mut self) {
        self.broker.waiting_for_slaves.fetch_sub(self.waiting_for_slaves, Ordering::Relaxed);
        for (token, parked) in self.parked.drain() {
            self.broker.waiting.unpark(&parked.pull.queue, self.peer.id, token);
        }
        self.broker.clients.closed(self.peer.id, |group| self.broker.notifies(group));
    }
}
