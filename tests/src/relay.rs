//! A wire that can be cut: listens in front of a server and forwards to it, until told that the link is down. Knows
//! connections and bytes, not what they mean.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::wait::until;

/// Bytes forwarded at once.
const CHUNK: usize = 64 * 1024;
const LIMIT: Duration = Duration::from_secs(10);

/// A direction, seen from whoever connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the one that connects to the server.
    There,
    /// From the server to the one that connected.
    Back,
}

/// A link to a server. It ends with the value.
#[derive(Debug)]
pub struct Relay {
    link: Arc<Link>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Link {
    listens: SocketAddr,
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    forwarded: [AtomicU64; 2],
}

#[derive(Debug, Default)]
struct State {
    /// New connections are refused.
    down: bool,
    /// Nothing is forwarded that way; connections stay open.
    stalled: [bool; 2],
    listening: bool,
    over: bool,
    open: Vec<Pair>,
    next: u64,
}

/// The two ends of one connection.
#[derive(Debug)]
struct Pair {
    id: u64,
    ends: [TcpStream; 2],
}

impl Relay {
    /// Listens at `listens` (port 0: any free one) and forwards to `target`, both `ip:port`.
    ///
    /// # Panics
    /// When it cannot listen there.
    pub fn start(listens: &str, target: &str) -> Relay {
        let listener = TcpListener::bind(listens).unwrap_or_else(|e| panic!("listen on {listens}: {e}"));
        let state = State { listening: true, ..State::default() };
        let link = Arc::new(Link {
            listens: listener.local_addr().expect("a bound socket has an address"),
            target: target.parse().unwrap_or_else(|e| panic!("forward to {target}: {e}")),
            state: Mutex::new(state),
            changed: Condvar::new(),
            forwarded: Default::default(),
        });
        let shared = link.clone();
        let acceptor = Some(std::thread::spawn(move || shared.keep_accepting(listener)));
        Relay { link, acceptor }
    }

    /// Returns the address to connect to.
    pub fn addr(&self) -> String {
        self.link.listens.to_string()
    }

    /// Takes the link down: closes every connection and refuses new ones.
    pub fn cut(&self) {
        let open = {
            let mut state = self.link.lock();
            state.down = true;
            std::mem::take(&mut state.open)
        };
        open.iter().for_each(Pair::close);
        self.link.changed.notify_all();
        self.wake_acceptor();
        until("a cut link to refuse connections", LIMIT, || (!self.link.lock().listening).then_some(()));
    }

    /// Stops forwarding one way and leaves every connection open: packets that way are lost, and nobody is told.
    pub fn stall(&self, way: Way) {
        self.link.lock().stalled[way as usize] = true;
    }

    /// Stops forwarding both ways and leaves every connection open.
    pub fn stall_both(&self) {
        self.link.lock().stalled = [true; 2];
    }

    /// Makes the link good again, also what was held back. Connections that were closed stay closed.
    pub fn heal(&self) {
        {
            let mut state = self.link.lock();
            (state.down, state.stalled) = (false, [false; 2]);
        }
        self.link.changed.notify_all();
        until("a healed link to take connections", LIMIT, || self.link.lock().listening.then_some(()));
    }

    /// Returns how many bytes went one way so far.
    pub fn forwarded(&self, way: Way) -> u64 {
        self.link.forwarded[way as usize].load(Ordering::Relaxed)
    }

    /// Returns how many connections are open.
    pub fn connections(&self) -> usize {
        self.link.lock().open.len()
    }

    fn wake_acceptor(&self) {
        // Nobody listens any more when it fails, which is as good.
        let _ = TcpStream::connect(self.link.listens);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let open = {
            let mut state = self.link.lock();
            state.over = true;
            std::mem::take(&mut state.open)
        };
        open.iter().for_each(Pair::close);
        self.link.changed.notify_all();
        self.wake_acceptor();
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn keep_accepting(self: Arc<Self>, first: TcpListener) {
        let mut listener = Some(first);
        loop {
            // Taken out, so that the socket is closed before a link that is down is waited for.
            let Some(socket) = listener.take().or_else(|| TcpListener::bind(self.listens).ok()) else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            self.lock().listening = true;
            let accepted = socket.accept();
            if self.is_down() {
                drop((socket, accepted));
                self.lock().listening = false;
                self.wait_while_down();
            } else {
                listener = Some(socket);
                if let Ok((from, _)) = accepted {
                    let link = self.clone();
                    // Connecting may take long; others must not wait for it.
                    std::thread::spawn(move || link.open(from));
                }
            }
            if self.lock().over {
                return;
            }
        }
    }

    fn is_down(&self) -> bool {
        let state = self.lock();
        state.down || state.over
    }

    fn wait_while_down(&self) {
        let state = self.lock();
        drop(self.changed.wait_while(state, |state| state.down && !state.over));
    }

    /// Connects to the server and forwards until either side closes.
    fn open(self: Arc<Self>, from: TcpStream) {
        let Ok(to) = TcpStream::connect_timeout(&self.target, LIMIT) else { return };
        let (Ok(pair), Ok(pumps)) = (ends(&from, &to), ends(&from, &to)) else { return };
        let id = {
            let mut state = self.lock();
            if state.down || state.over {
                return;
            }
            let id = state.next;
            state.next += 1;
            state.open.push(Pair { id, ends: pair });
            id
        };
        let [from_copy, to_copy] = pumps;
        let link = self.clone();
        std::thread::spawn(move || link.pump(id, Way::Back, to_copy, from_copy));
        self.pump(id, Way::There, from, to);
    }

    fn pump(&self, id: u64, way: Way, mut source: TcpStream, mut sink: TcpStream) {
        let mut chunk = vec![0; CHUNK];
        while let Ok(length @ 1..) = source.read(&mut chunk) {
            if !self.may_pass(id, way) || sink.write_all(&chunk[..length]).is_err() {
                break;
            }
            self.forwarded[way as usize].fetch_add(length as u64, Ordering::Relaxed);
        }
        // The end of a connection is a packet too.
        self.may_pass(id, way);
        self.close(id);
    }

    /// Waits while nothing goes this way; false when the connection is closed meanwhile.
    fn may_pass(&self, id: u64, way: Way) -> bool {
        let is_open = |state: &State| state.open.iter().any(|pair| pair.id == id);
        let state = self.lock();
        let state = self.changed.wait_while(state, |state| state.stalled[way as usize] && is_open(state));
        is_open(&state.unwrap_or_else(|e| e.into_inner()))
    }

    fn close(&self, id: u64) {
        let mut state = self.lock();
        state.open.iter().filter(|pair| pair.id == id).for_each(Pair::close);
        state.open.retain(|pair| pair.id != id);
        drop(state);
        self.changed.notify_all();
    }
}

impl Pair {
    fn close(&self) {
        // An end that is closed already is what was wanted.
        self.ends.iter().for_each(|end| drop(end.shutdown(Shutdown::Both)));
    }
}

fn ends(from: &TcpStream, to: &TcpStream) -> io::Result<[TcpStream; 2]> {
    for end in [from, to] {
        end.set_nodelay(true)?;
    }
    Ok([from.try_clone()?, to.try_clone()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets.
    fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut copy = stream.try_clone().unwrap();
                std::thread::spawn(move || std::io::copy(&mut copy, &mut stream));
            }
        });
        addr
    }

    fn connect(relay: &Relay) -> TcpStream {
        let stream = TcpStream::connect(relay.addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        stream
    }

    /// Sends a byte and returns what comes back.
    fn ask(stream: &mut TcpStream, byte: u8) -> Option<u8> {
        stream.write_all(&[byte]).ok()?;
        let mut answer = [0];
        stream.read_exact(&mut answer).ok()?;
        Some(answer[0])
    }

    #[test]
    fn a_cut_link_closes_what_is_open_and_refuses_until_it_is_healed() {
        let relay = Relay::start("127.0.0.1:0", &echo());
        let mut stream = connect(&relay);
        assert_eq!(ask(&mut stream, 1), Some(1));
        for _ in 0..3 {
            relay.cut();
            assert_eq!(ask(&mut stream, 2), None);
            assert!(TcpStream::connect(relay.addr()).is_err());
            relay.heal();
            stream = connect(&relay);
            assert_eq!(ask(&mut stream, 3), Some(3));
        }
    }

    #[test]
    fn a_link_stalled_one_way_keeps_the_other_and_gives_what_it_held_back_when_healed() {
        for way in [Way::There, Way::Back] {
            let relay = Relay::start("127.0.0.1:0", &echo());
            let mut stream = connect(&relay);
            assert_eq!(ask(&mut stream, 1), Some(1));
            relay.stall(way);
            assert_eq!(ask(&mut stream, 2), None);
            assert_eq!(relay.connections(), 1);
            let there = relay.forwarded(Way::There);
            assert_eq!(there, if way == Way::There { 1 } else { 2 });
            relay.heal();
            let mut answer = [0];
            until("what was held back", LIMIT, || stream.read_exact(&mut answer).ok());
            assert_eq!(answer, [2]);
        }
    }

    #[test]
    fn a_closed_server_is_a_closed_connection() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let relay = Relay::start("127.0.0.1:0", &gone);
        assert_eq!(ask(&mut connect(&relay), 1), None);
    }
}
