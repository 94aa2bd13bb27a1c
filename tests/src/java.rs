//! Apache RocketMQ's own broker as a process: where its jars are, and how it is started.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;

use crate::command::spawn_with_log;

/// A line of its output says that it serves.
pub const SERVES: &str = "boot success";

/// Starts a broker with a file of settings; it ends when its standard input does, like our own members. `home` gets
/// its logs.
pub fn broker(home: &Path, config: &Path, log: &Path) -> Child {
    let home_text = home.display();
    // Java does not watch its standard input; somebody beside it does.
    let watched = "exec 3<&0; (cat <&3 >/dev/null; grep -qsF \"$0\" /proc/$$/cmdline && kill -9 $$) 2>/dev/null & \
                   exec 3<&-; exec \"$@\" </dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", watched]).arg(home).arg("java").arg("-cp").arg(format!("{}/lib/*", jars().display()));
    command.args([
        format!("-Drocketmq.home.dir={home_text}"),
        format!("-Duser.home={home_text}"),
        format!("-Drocketmq.client.logRoot={home_text}/logs"),
    ]);
    // JDK 17 keeps from the store what it needs for its mapped files. The rest makes it start soon and stay small.
    command.args([
        "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
        "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
        "--add-opens=java.base/java.nio=ALL-UNNAMED",
        "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
        "--add-opens=java.base/java.lang=ALL-UNNAMED",
        "-Xms256m",
        "-Xmx512m",
        "-XX:MaxDirectMemorySize=512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
    ]);
    command.args(["org.apache.rocketmq.broker.BrokerStartup", "-c"]).arg(config).current_dir(home);
    spawn_with_log(&mut command, log)
}

/// Returns the folder with the jars; `tests/java/fetch` gets them once.
fn jars() -> &'static Path {
    static JARS: OnceLock<PathBuf> = OnceLock::new();
    JARS.get_or_init(|| {
        let home = || PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache/gantry");
        let cache = std::env::var_os("GANTRY_CACHE").map_or_else(home, PathBuf::from);
        let jars = cache.join("java");
        std::fs::create_dir_all(&jars).expect("a folder in the cache");
        // Another test process may be about to fetch them too.
        let lock = File::create(jars.join("fetch.lock")).expect("a file in the cache");
        lock.lock().expect("a lock in the cache");
        if !jars.join("lib").is_dir() {
            let fetch = Path::new(env!("CARGO_MANIFEST_DIR")).join("java/fetch");
            let fetched = Command::new(&fetch).status();
            assert!(fetched.is_ok_and(|status| status.success()), "{} failed", fetch.display());
        }
        jars
    })
}
