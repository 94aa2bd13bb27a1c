//! A broker as an operator runs it: with a live file, and an admin port behind a token.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use broker::live_file::Basis;
use broker::{Doors, RunError, Sockets};
use client::admin_status::AdminStatus;
use daemon::signals::Shutdown;
use protocol::header::Serialization;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Wire, pairs, soon};

const TOKEN: &str = "secret";

/// A process, and the folder of its pod: `store`, `live.properties`, `token`.
pub struct Operated {
    pub addr: SocketAddr,
    admin: SocketAddr,
    http: SocketAddr,
    folder: PathBuf,
    shutdown: Shutdown,
    task: JoinHandle<Result<(), RunError>>,
}

impl Operated {
    pub async fn start(folder: &Path, settings: &[(&str, &str)]) -> Operated {
        let token = folder.join("token");
        std::fs::write(&token, TOKEN).unwrap();
        let mut given = pairs(&folder.join("store"), settings);
        given.push(("adminTokenFile".to_owned(), token.display().to_string()));
        let basis = Basis::without_live(given).unwrap();
        let bind = async || {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            (listener, addr)
        };
        let ((remoting, addr), (fast, _), (slaves, _)) = (bind().await, bind().await, bind().await);
        let ((http, http_addr), (admin, admin_addr)) = (bind().await, bind().await);
        let sockets = async move |config: &broker::Config| {
            let slaves = (!config.live.is_slave()).then_some(slaves);
            Ok(Sockets { clients: [remoting, fast], slaves })
        };
        let doors = Doors { http: Some(http), admin: Some(admin) };
        let (shutdown, file) = (Shutdown::new(), folder.join("live.properties"));
        let task = tokio::spawn(broker::run_with_live(basis, file, doors, sockets, shutdown.clone()));
        Operated { addr, admin: admin_addr, http: http_addr, folder: folder.to_owned(), shutdown, task }
    }

    /// Replaces its live file.
    pub fn write_live(&self, text: &str) {
        write_live(&self.folder, text);
    }

    /// Brings live settings to the admin port.
    pub async fn push(&self, text: &str) -> (u16, String) {
        request(self.admin, "PUT /admin/v1/config", text).await
    }

    pub async fn status(&self) -> AdminStatus {
        let (code, body) = request(self.admin, "GET /admin/v1/status", "").await;
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Waits until the status says something.
    pub async fn status_until(&self, what: &str, holds: impl Fn(&AdminStatus) -> bool) -> AdminStatus {
        let mut last = None;
        let wait = async {
            loop {
                let status = self.status().await;
                if holds(&status) {
                    return status;
                }
                last = Some(status);
            }
        };
        let found = tokio::time::timeout(super::DEADLINE, wait).await;
        found.unwrap_or_else(|_| panic!("not in time: {what}: {last:?}"))
    }

    pub async fn ready(&self) -> AdminStatus {
        self.status_until("ready", |status| status.ready).await
    }

    pub async fn probe(&self, path: &str) -> (u16, String) {
        request(self.http, &format!("GET {path}"), "").await
    }

    pub async fn connect(&self) -> Wire {
        Wire::connect(self.addr, Serialization::Json).await
    }

    pub async fn stop(self) {
        self.shutdown.trigger();
        soon("broker stops", self.task).await.unwrap().unwrap();
    }
}

/// Replaces the live file in the folder of a pod, as a whole.
pub fn write_live(folder: &Path, text: &str) {
    let temp = folder.join("live.new");
    std::fs::write(&temp, text).unwrap();
    std::fs::rename(temp, folder.join("live.properties")).unwrap();
}

async fn request(addr: SocketAddr, request: &str, body: &str) -> (u16, String) {
    let mut stream = soon("connect", TcpStream::connect(addr)).await.unwrap();
    let text = format!(
        "{request} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.trim_end().to_owned())
}
