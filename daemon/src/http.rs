//! The HTTP ports of a process. The open one: `/startupz`, `/livez` and `/readyz` for probes, `/metrics` for Prometheus.
//! The other is [`crate::admin`]'s. Plain HTTP, one request per connection, few connections, each for a few seconds only: whoever can
//! reach this port cannot make the process hold much for him.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use crate::health::Health;
use crate::metrics::Metrics;

/// How many connections are served at a time; further ones wait in the listener's backlog.
pub const MAX_CONNECTIONS: usize = 64;

/// How many of them may come from one address; further ones are closed. Or whoever holds all of them keeps the probes
/// out, and a process that is not answered for is killed.
pub const MAX_FROM_ONE_ADDRESS: usize = 16;

/// How long a connection may last, from accept to the last byte of the answer.
pub const CONNECTION_LIMIT: Duration = Duration::from_secs(10);

/// How long to wait after a failed accept, which nearly always means that descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves the probes and metrics of this process until it is dropped; safe to cancel. Start it before
/// recovery: that it answers at all is what `/startupz` means.
///
/// # Errors
/// The listener broke; the process should stop.
pub async fn serve(listener: TcpListener, health: Health, metrics: Metrics) -> io::Result<()> {
    serve_bounded(listener, router(health, metrics)).await
}

/// Serves any routes within the bounds of this module.
pub(crate) async fn serve_bounded(listener: TcpListener, routes: Router) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let listener = BoundedListener { listener, permits, shares: Arc::default() };
    axum::serve(listener, routes.layer(axum::middleware::map_response(close_after))).await
}

fn router(health: Health, metrics: Metrics) -> Router {
    Router::new()
        .route("/startupz", get(async || answer(Ok(()))))
        .route("/livez", get(async |State(health): State<Health>| answer(health.live())))
        .route("/readyz", get(async |State(health): State<Health>| answer(health.ready())))
        .with_state(health)
        .route("/metrics", get(async move || ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.encode())))
}

fn answer(state: Result<(), String>) -> Response {
    match state {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn close_after(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    response
}

struct BoundedListener {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    shares: Arc<Mutex<Shares>>,
}

/// Open connections by address.
type Shares = BTreeMap<IpAddr, usize>;

/// One connection's part of what its address may have.
struct Share {
    shares: Arc<Mutex<Shares>>,
    address: IpAddr,
}

impl Share {
    fn take(shares: &Arc<Mutex<Shares>>, address: IpAddr) -> Option<Share> {
        let mut all = shares.lock();
        let open = all.entry(address).or_default();
        if *open >= MAX_FROM_ONE_ADDRESS {
            return None;
        }
        *open += 1;
        Some(Share { shares: shares.clone(), address })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut all = self.shares.lock();
        if let Some(open) = all.get_mut(&self.address) {
            *open -= 1;
            if *open == 0 {
                all.remove(&self.address);
            }
        }
    }
}

impl axum::serve::Listener for BoundedListener {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // Nobody closes the semaphore, so this only ever waits.
        let permit = self.permits.clone().acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let Some(share) = Share::take(&self.shares, peer.ip()) else { continue };
                    let deadline = Box::pin(tokio::time::sleep(CONNECTION_LIMIT));
                    return (BoundedStream { stream, deadline, _share: share, _permit: permit }, peer);
                }
                Err(error) => {
                    tracing::debug!("accept on the http port: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that gives its place back when it ends, and ends when its time is up.
struct BoundedStream {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    _share: Share,
    _permit: Option<OwnedSemaphorePermit>,
}

impl BoundedStream {
    // Ready with an error once the time is up; registers the task for that moment otherwise.
    fn poll_in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = poll(Pin::new(&mut self.stream), cx) {
            return Poll::Ready(result);
        }
        ready!(self.deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_in_time(cx, |stream, cx| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_in_time(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_in_time(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_in_time(cx, |stream, cx| stream.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;

    async fn start() -> (SocketAddr, Health) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, health, metrics) = (listener.local_addr().unwrap(), Health::new(), Metrics::new());
        metrics.gauge("gantry_test", "A gauge.", || 4.5);
        tokio::spawn(serve(listener, health.clone(), metrics));
        (address, health)
    }

    async fn get(address: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        // Ends because the server closes after one answer.
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    #[tokio::test]
    async fn probes_tell_start_life_and_readiness_apart() {
        let (address, health) = start().await;
        assert_eq!(get(address, "/startupz").await, (200, "ok\n".to_owned()));
        assert_eq!(get(address, "/livez").await, (200, "ok\n".to_owned()));
        assert_eq!(get(address, "/readyz").await, (503, "starting\n".to_owned()));
        health.set_ready();
        assert_eq!(get(address, "/readyz").await, (200, "ok\n".to_owned()));
        assert_eq!(get(address, "/else").await.0, 404);
    }

    #[tokio::test]
    async fn metrics_are_served_as_open_metrics_text() {
        let (address, _) = start().await;
        let (status, text) = get(address, "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("# TYPE gantry_test gauge\ngantry_test 4.5\n"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    /// A connection from 127.0.0.`from`.
    async fn connect_from(from: u8, address: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, from], 0))).unwrap();
        socket.connect(address).await.unwrap()
    }

    #[tokio::test]
    async fn one_address_cannot_keep_the_probes_of_another_out() {
        let (address, _) = start().await;
        let mut many = Vec::new();
        for _ in 0..2 * MAX_CONNECTIONS {
            many.push(connect_from(2, address).await);
        }
        let answer = tokio::time::timeout(CONNECTION_LIMIT / 2, get(address, "/livez")).await;
        assert_eq!(answer.map(|(code, _)| code), Ok(200));
        // Its places are given back.
        drop(many);
        let free = async {
            loop {
                let mut stream = connect_from(2, address).await;
                let _ = stream.write_all(b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n").await;
                if matches!(stream.read(&mut [0]).await, Ok(1)) {
                    return;
                }
            }
        };
        tokio::time::timeout(CONNECTION_LIMIT / 2, free).await.expect("it is answered again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_is_closed_and_frees_its_place() {
        let (address, _) = start().await;
        let mut silent = Vec::new();
        for number in 0..MAX_CONNECTIONS {
            silent.push(connect_from(2 + (number / MAX_FROM_ONE_ADDRESS) as u8, address).await);
        }
        // Waits in the backlog until the silent ones have had their time.
        assert_eq!(get(address, "/startupz").await.0, 200);
        for mut stream in silent {
            assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
        }
    }
}
