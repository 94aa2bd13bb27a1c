//! HTTP to the admin ports of brokers: status and settings, as JSON and text. Each call has a connection of its own: one
//! that is kept takes 28 KiB, which for the nine hundred brokers of a hundred clusters is more than all else an operator
//! keeps, and a settled cluster is asked only every ten seconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::admin_status::{self, AdminStatus};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use planner::facts::{Answer, MemberFacts, StoreState};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::debug;

use crate::{AdminPort, TellError};

/// How long a pod may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a broker may take to say how it is: it answers from memory.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it may take to take over settings, which it also writes to its disk.
const PUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// How many brokers are asked or told something at once.
const CALLS_AT_ONCE: usize = 128;
/// Bytes of an answer; a status has about one thousand.
const LONGEST_ANSWER: usize = 64 * 1024;
/// Characters of a refusal that are handed on.
const LONGEST_REFUSAL: usize = 500;

/// A client of all admin ports; clones share the bounds.
#[derive(Clone)]
pub(super) struct AdminPorts {
    client: Client<HttpConnector, Full<Bytes>>,
    calls: Arc<Semaphore>,
}

impl AdminPorts {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Self { client, calls: Arc::new(Semaphore::new(CALLS_AT_ONCE)) }
    }

    pub(super) async fn status(&self, at: AdminPort) -> Answer<MemberFacts> {
        let answer = self.call(&at, Method::GET, "status", Bytes::new(), STATUS_TIMEOUT).await;
        let status = answer.and_then(|(code, body)| match code {
            StatusCode::OK => serde_json::from_slice::<AdminStatus>(&body).map_err(|error| error.to_string()),
            _ => Err(format!("{code}: {}", words(&body))),
        });
        match status {
            Ok(status) => Answer::Known(facts(status)),
            Err(why) => {
                debug!(address = %at.address, "no status: {why}");
                Answer::Unknown
            }
        }
    }

    pub(super) async fn push(&self, at: AdminPort, text: String) -> Result<(), TellError> {
        let what = format!("push settings to {}", at.address);
        match self.call(&at, Method::PUT, "config", Bytes::from(text), PUSH_TIMEOUT).await {
            Ok((StatusCode::OK, _)) => Ok(()),
            Ok((code, body)) => Err(TellError::Refused { what, why: format!("{code}: {}", words(&body)) }),
            Err(why) => Err(TellError::NoAnswer { what, why }),
        }
    }

    /// Returns any answer; the time includes waiting for one's turn.
    async fn call(
        &self,
        at: &AdminPort,
        method: Method,
        what: &str,
        body: Bytes,
        time: Duration,
    ) -> Result<(StatusCode, Bytes), String> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}/admin/v1/{what}", at.address))
            .header("authorization", format!("Bearer {}", at.token.0))
            // The broker closes it, and waits for what is late on the way.
            .header("connection", "close")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let exchange = async {
            let _turn = self.calls.acquire().await.map_err(|error| error.to_string())?;
            let response = self.client.request(request).await.map_err(|error| causes(&error))?;
            let code = response.status();
            let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
            Ok((code, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        timeout(time, exchange).await.map_err(|_| format!("no answer within {}s", time.as_secs()))?
    }
}

/// Returns the text of a properties file.
pub(super) fn properties_text(properties: &BTreeMap<String, String>) -> String {
    properties.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

fn facts(status: AdminStatus) -> MemberFacts {
    MemberFacts {
        version: status.version,
        broker_id: status.broker_id,
        master: status.role == admin_status::Role::Master,
        store_id: status.store_id,
        store: match status.state {
            admin_status::StoreState::Ok => StoreState::Ok,
            admin_status::StoreState::Recovering => StoreState::Recovering,
            admin_status::StoreState::StoreIdentityMismatch => StoreState::StoreIdentityMismatch,
            admin_status::StoreState::VolumeLost => StoreState::VolumeLost,
        },
        ready: status.ready,
        reason: status.reason,
        lag_bytes: match status.role {
            admin_status::Role::Master => Some(0),
            admin_status::Role::Slave => status.lag_bytes,
        },
        in_sync: status.in_sync,
        config_revision: status.config_revision,
        config_hash: status.config_hash,
        permission: status.permission,
        disk_used_percent: status.disk_used_percent,
    }
}

fn words(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim().chars().take(LONGEST_REFUSAL).collect()
}

/// Returns an error with everything behind it: "client error (Connect)" alone helps nobody.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;
    use crate::Token;

    const STATUS: &str = r#"{"version":"0.1.0","role":"Slave","brokerName":"g","brokerId":1,"storeId":"ab",
        "state":"VolumeLost","ready":false,"reason":"empty","logBegin":null,"logEnd":null,"masterEnd":null,
        "lagBytes":null,"lagMillis":null,"inSync":false,"configRevision":7,"configHash":"h","permission":4,
        "diskUsedPercent":12}"#;

    /// Answers each request on each connection with the same text, which may be no HTTP at all; says what came.
    async fn server(answer: String) -> (SocketAddr, mpsc::UnboundedReceiver<(usize, String)>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for connection in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (answer, asked) = (answer.clone(), asked.clone());
                tokio::spawn(async move {
                    let mut request = String::new();
                    let mut buffer = [0; 4096];
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        request.push_str(&String::from_utf8_lossy(&buffer[..read]));
                        if is_whole(&request) {
                            asked.send((connection, std::mem::take(&mut request))).unwrap();
                            stream.write_all(answer.as_bytes()).await.unwrap();
                        }
                    }
                });
            }
        });
        (address, requests)
    }

    fn is_whole(request: &str) -> bool {
        let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        length.map_or(0, |length| length.parse().unwrap()) == body.len()
    }

    fn http(code: &str, body: &str) -> String {
        format!("HTTP/1.1 {code}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    fn at(address: SocketAddr) -> AdminPort {
        AdminPort { address, token: Token("secret".to_owned()) }
    }

    #[tokio::test]
    async fn a_status_is_asked_with_the_token_over_a_connection_that_is_not_kept() {
        let (address, mut requests) = server(http("200 OK", STATUS)).await;
        let ports = AdminPorts::new();
        let expected = MemberFacts {
            version: "0.1.0".to_owned(),
            broker_id: 1,
            store_id: Some("ab".to_owned()),
            store: StoreState::VolumeLost,
            reason: "empty".to_owned(),
            config_revision: 7,
            config_hash: "h".to_owned(),
            permission: 4,
            disk_used_percent: Some(12),
            ..MemberFacts::default()
        };
        for expected_connection in 0..2 {
            // What is not known does not become a number.
            assert_eq!(ports.status(at(address)).await, Answer::Known(expected.clone()));
            let (connection, request) = requests.recv().await.unwrap();
            assert_eq!(connection, expected_connection);
            assert!(request.contains("connection: close\r\n"), "{request}");
            assert!(request.starts_with("GET /admin/v1/status HTTP/1.1\r\n"), "{request}");
            assert!(request.contains("authorization: Bearer secret\r\n"), "{request}");
        }
    }

    #[tokio::test]
    async fn whoever_does_not_answer_as_agreed_is_unknown() {
        let too_long = http("200 OK", &STATUS.replace("empty", &"x".repeat(LONGEST_ANSWER)));
        let answers = [
            ("words", http("200 OK", "hello")),
            ("a wrong token", http("401 Unauthorized", STATUS)),
            ("no HTTP", "\u{1}\u{2}".to_owned()),
            ("more than is read", too_long),
        ];
        let ports = AdminPorts::new();
        for (name, answer) in answers {
            let (address, _requests) = server(answer).await;
            assert_eq!(ports.status(at(address)).await, Answer::Unknown, "{name}");
        }
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(ports.status(at(nobody)).await, Answer::Unknown, "nobody listens");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_accepts_and_says_nothing_is_unknown_in_time() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ports = AdminPorts::new();
        let started = tokio::time::Instant::now();
        assert_eq!(ports.status(at(silent.local_addr().unwrap())).await, Answer::Unknown);
        assert_eq!(started.elapsed(), STATUS_TIMEOUT);
    }

    #[tokio::test]
    async fn settings_are_put_as_a_file_and_a_refusal_comes_back_in_the_brokers_words() {
        let (good, mut requests) = server(http("200 OK", "")).await;
        let (bad, _requests) =
            server(http("400 Bad Request", "brokerPermission is 5, not 6, 4 or 0\n")).await;
        let ports = AdminPorts::new();
        let properties = [("configRevision", "3"), ("brokerPermission", "4")];
        let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        assert_eq!(ports.push(at(good), properties_text(&properties)).await, Ok(()));
        let (_, request) = requests.recv().await.unwrap();
        assert!(request.starts_with("PUT /admin/v1/config HTTP/1.1\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\nbrokerPermission=4\nconfigRevision=3\n"), "{request}");
        let refused = ports.push(at(bad), String::new()).await.unwrap_err().to_string();
        assert_eq!(
            refused,
            format!("push settings to {bad}: refused: 400 Bad Request: brokerPermission is 5, not 6, 4 or 0")
        );
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = ports.push(at(nobody), String::new()).await.unwrap_err();
        assert!(matches!(error, TellError::NoAnswer { .. }), "{error}");
    }
}
