//! The admin port of a process: `GET /admin/v1/status` tells how it is, `PUT /admin/v1/config` brings live settings.
//! Whoever asks must know the token. What the answers are is the process's business; here it is only asked.

use std::hint::black_box;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::http::serve_bounded;

/// Bytes of live settings at most.
pub const MAX_CONFIG: usize = 256 << 10;
/// Bytes of a token at most.
const MAX_TOKEN: u64 = 4 << 10;

const PATHS: &str = "there are GET /admin/v1/status and PUT /admin/v1/config";

/// A process that can be looked after. Both may wait for the disk; they are called where that holds up nobody.
pub trait Administered: Send + Sync + 'static {
    /// Returns how the process is, as JSON.
    fn status(&self) -> String;

    /// Takes over live settings, or finds that it has newer ones; returns JSON.
    ///
    /// # Errors
    /// Why they cannot be used, in words for a person; nothing has changed then.
    fn put_config(&self, text: &str) -> Result<String, String>;
}

/// Serves the admin port until it is dropped; safe to cancel. The token file is read anew for each request, so that a
/// new token counts at once.
///
/// # Errors
/// The listener broke; the process should stop.
pub async fn serve(listener: TcpListener, token: PathBuf, process: Arc<dyn Administered>) -> io::Result<()> {
    serve_bounded(listener, router(token, process)).await
}

fn router(token: PathBuf, process: Arc<dyn Administered>) -> Router {
    let status = async |State(process): State<Arc<dyn Administered>>| {
        in_words(tokio::task::spawn_blocking(move || json(process.status())).await)
    };
    let config = async |State(process): State<Arc<dyn Administered>>, body: Bytes| {
        in_words(tokio::task::spawn_blocking(move || put_config(&*process, &body)).await)
    };
    Router::new()
        .route("/admin/v1/status", get(status).fallback(wrong_method))
        .route("/admin/v1/config", axum::routing::put(config).fallback(wrong_method))
        .fallback(async || words(StatusCode::NOT_FOUND, PATHS))
        .with_state(process)
        .layer(DefaultBodyLimit::max(MAX_CONFIG))
        .layer(middleware::from_fn_with_state(Arc::new(token), check_token))
}

fn put_config(process: &dyn Administered, body: &[u8]) -> Response {
    let Ok(text) = std::str::from_utf8(body) else {
        return words(StatusCode::BAD_REQUEST, "the body is no UTF-8 text; settings are lines of key=value");
    };
    match process.put_config(text) {
        Ok(answer) => json(answer),
        Err(why) => words(StatusCode::BAD_REQUEST, &why),
    }
}

async fn wrong_method() -> Response {
    words(StatusCode::METHOD_NOT_ALLOWED, PATHS)
}

async fn check_token(State(token): State<Arc<PathBuf>>, request: Request, next: Next) -> Response {
    match is_allowed(&token, request.headers()).await {
        Ok(true) => next.run(request).await,
        Ok(false) => {
            let why = "no `Authorization: Bearer TOKEN` with the token of adminTokenFile";
            let scheme = [(header::WWW_AUTHENTICATE, "Bearer")];
            (scheme, words(StatusCode::UNAUTHORIZED, why)).into_response()
        }
        Err(e) => {
            let why = format!("nobody is let in: adminTokenFile={}: {e}", token.display());
            words(StatusCode::INTERNAL_SERVER_ERROR, &why)
        }
    }
}

async fn is_allowed(token: &PathBuf, headers: &HeaderMap) -> io::Result<bool> {
    let mut known = Vec::new();
    tokio::fs::File::open(token).await?.take(MAX_TOKEN).read_to_end(&mut known).await?;
    let known = known.trim_ascii();
    if known.is_empty() {
        return Err(io::Error::other("the file is empty"));
    }
    let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let given = given.and_then(|value| value.strip_prefix(b"Bearer "));
    Ok(given.is_some_and(|given| are_equal(known, given.trim_ascii())))
}

/// Takes as long for a wrong first byte as for a wrong last one.
fn are_equal(known: &[u8], given: &[u8]) -> bool {
    let differences = std::iter::zip(known, given).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
    known.len() == given.len() && differences == 0
}

fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn words(status: StatusCode, why: &str) -> Response {
    (status, format!("{why}\n")).into_response()
}

fn in_words(answer: Result<Response, tokio::task::JoinError>) -> Response {
    answer.unwrap_or_else(|e| words(StatusCode::INTERNAL_SERVER_ERROR, &format!("the answer failed: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;

    struct Process;

    impl Administered for Process {
        fn status(&self) -> String {
            "{}".to_owned()
        }

        fn put_config(&self, text: &str) -> Result<String, String> {
            if text.contains("bad") { Err(format!("{text}: not good")) } else { Ok(text.to_owned()) }
        }
    }

    struct Port {
        address: SocketAddr,
        token: PathBuf,
    }

    impl Port {
        async fn open(name: &str) -> Port {
            let token = std::env::temp_dir().join(format!("gantry-token-{name}-{}", std::process::id()));
            std::fs::write(&token, "secret\n").unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(serve(listener, token.clone(), Arc::new(Process)));
            Port { address, token }
        }

        async fn ask(&self, request: &str, token: &str, body: &[u8]) -> (u16, String) {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let length = body.len();
            let head = format!(
                "{request} HTTP/1.1\r\nhost: test\r\nauthorization: {token}\r\ncontent-length: {length}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            // One that is refused for its length is not read.
            let _ = stream.write_all(body).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8(answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            (head[9..12].parse().unwrap(), body.to_owned())
        }
    }

    impl Drop for Port {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.token);
        }
    }

    #[tokio::test]
    async fn whoever_knows_the_token_is_answered() {
        let port = Port::open("known").await;
        let long = vec![b'a'; MAX_CONFIG + 1];
        let ask = async |request, body| port.ask(request, "Bearer secret", body).await;
        assert_eq!(ask("GET /admin/v1/status", b"").await, (200, "{}".to_owned()));
        assert_eq!(ask("PUT /admin/v1/config", b"a=1").await, (200, "a=1".to_owned()));
        assert_eq!(ask("PUT /admin/v1/config", b"bad").await, (400, "bad: not good\n".to_owned()));
        assert_eq!(ask("PUT /admin/v1/config", b"\xff").await.0, 400);
        assert_eq!(ask("PUT /admin/v1/config", &long).await.0, 413);
        assert_eq!(ask("POST /admin/v1/status", b"").await, (405, format!("{PATHS}\n")));
        assert_eq!(ask("GET /admin/v1/config", b"").await, (405, format!("{PATHS}\n")));
        assert_eq!(ask("GET /metrics", b"").await, (404, format!("{PATHS}\n")));
    }

    #[tokio::test]
    async fn nobody_else_is_and_a_new_token_counts_at_once() {
        let port = Port::open("changes").await;
        for token in ["", "secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secreT", "Bearer secret2"] {
            for request in ["GET /admin/v1/status", "PUT /admin/v1/config", "GET /else"] {
                let (code, why) = port.ask(request, token, b"").await;
                assert_eq!(code, 401, "{token}: {why}");
                assert!(why.contains("Bearer TOKEN"), "{why}");
            }
        }
        std::fs::write(&port.token, "other").unwrap();
        assert_eq!(port.ask("GET /admin/v1/status", "Bearer secret", b"").await.0, 401);
        assert_eq!(port.ask("GET /admin/v1/status", "Bearer other", b"").await.0, 200);
        for (write, why) in [(Some(""), "the file is empty"), (None, "No such file")] {
            match write {
                Some(text) => std::fs::write(&port.token, text).unwrap(),
                None => std::fs::remove_file(&port.token).unwrap(),
            }
            let (code, words) = port.ask("GET /admin/v1/status", "Bearer ", b"").await;
            assert!(code == 500 && words.contains("nobody is let in") && words.contains(why), "{words}");
        }
    }
}
