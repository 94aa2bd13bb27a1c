//! Asks a member's health port whether it is ready. Just enough HTTP for one question.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// From one question to the next, at first and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// How long one question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// An answer is a word or a line; more is not read.
const LONGEST_ANSWER: u64 = 4_096;

/// Why a member is not ready.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct NotReady {
    pub(crate) reason: String,
    /// Whether these are the member's own words: it lives. Otherwise it gave no answer.
    pub(crate) answered: bool,
}

/// Returns when the member says that it is ready; never when it does not, so give it a limit. `last` becomes
/// what was heard last.
pub(crate) async fn wait_until_ready(health: SocketAddr, last: &mut NotReady) {
    let mut pause = FIRST_PAUSE;
    loop {
        let silent = |what: String| NotReady {
            reason: format!("health port {}: {what}", health.port()),
            answered: false,
        };
        *last = match timeout(ANSWER_WITHIN, ask(health)).await {
            Ok(Ok(None)) => return,
            Ok(Ok(Some(reason))) => NotReady { reason, answered: true },
            Ok(Err(error)) => silent(error.to_string()),
            Err(_) => silent("no answer".to_owned()),
        };
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Returns nothing when it is ready, or the reason why not.
async fn ask(health: SocketAddr) -> std::io::Result<Option<String>> {
    let mut stream = TcpStream::connect(health).await?;
    let question = format!("GET /readyz HTTP/1.1\r\nHost: {health}\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    Ok(not_ready(&String::from_utf8_lossy(&answer)))
}

fn not_ready(answer: &str) -> Option<String> {
    if answer.starts_with("HTTP/1.1 200 ") {
        return None;
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim());
    Some(if body.is_empty() { "not ready".to_owned() } else { body.to_owned() })
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn only_200_means_ready_and_anything_else_is_the_reason() {
        let cases = [
            ("HTTP/1.1 200 OK\r\n\r\nok\n", None),
            (
                "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 10\r\n\r\nrecovering\n",
                Some("recovering"),
            ),
            ("HTTP/1.1 404 Not Found\r\n\r\n", Some("not ready")),
            ("", Some("not ready")),
        ];
        for (answer, expected) in cases {
            assert_eq!(not_ready(answer).as_deref(), expected, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn the_question_is_repeated_until_the_member_is_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for answer in ["HTTP/1.1 503 x\r\n\r\nrecovering", "HTTP/1.1 200 OK\r\n\r\nok"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut question = [0; 128];
                let read = stream.read(&mut question).await.unwrap();
                assert!(question[..read].starts_with(b"GET /readyz HTTP/1.1\r\n"));
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let mut last = NotReady::default();
        wait_until_ready(address, &mut last).await;
        assert_eq!(last, NotReady { reason: "recovering".to_owned(), answered: true });
    }
}
