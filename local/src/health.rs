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

/// Returns when the member says that it is ready; never when it does not, so give it a limit. Each
/// answer in between is put into `reason`.
pub(crate) async fn wait_until_ready(health: SocketAddr, reason: &mut String) {
    let mut pause = FIRST_PAUSE;
    loop {
        match timeout(ANSWER_WITHIN, ask(health)).await {
            Ok(Ok(None)) => return,
            Ok(Ok(Some(not_ready))) => *reason = not_ready,
            Ok(Err(error)) => *reason = format!("health port {}: {error}", health.port()),
            Err(_) => *reason = format!("health port {}: no answer", health.port()),
        }
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
        let mut reason = String::new();
        wait_until_ready(address, &mut reason).await;
        assert_eq!(reason, "recovering");
    }
}
