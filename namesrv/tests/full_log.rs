//! A log that cannot be written, because its disk is full, costs its lines and nothing else.

use std::fs::OpenOptions;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn a_server_whose_log_is_on_a_full_disk_serves_and_stops_cleanly() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_gantry-namesrv"))
        .args(["--set", "bindAddress=127.0.0.1", "--set", &format!("listenPort={port}")])
        .args(["--set", &format!("kvConfigPath={}", folder.path().join("kv.json").display())])
        .stderr(full)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(server.try_wait().unwrap().is_none(), "it ended");
        assert!(Instant::now() < deadline, "it does not listen");
        std::thread::yield_now();
    }
    assert!(Command::new("kill").arg(server.id().to_string()).status().unwrap().success());
    let status = server.wait().unwrap();
    assert!(status.success(), "{status}");
}
