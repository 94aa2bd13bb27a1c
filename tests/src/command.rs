//! The command `gantry`, built once for all tests of a process, and how it is started.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// Builds the command `gantry` in the profile of this test, once, and returns its path. `GANTRY_BIN` names another.
pub fn gantry() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(path) = std::env::var_os("GANTRY_BIN") {
            return path.into();
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the workspace");
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--quiet", "--workspace", "--bin", "gantry"]).current_dir(root);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs").success(), "gantry does not build");
        let test = std::env::current_exe().expect("this test has a path");
        test.ancestors().nth(2).expect("tests lie in <profile>/deps").join("gantry")
    })
}

/// Starts `gantry up`; with `small_disk`, the data lies on a disk of its own with so many MiB.
pub fn up(manifest: &Path, data: &Path, offset: u16, small_disk: Option<u32>) -> Child {
    let mut command = match small_disk {
        None => Command::new(gantry()),
        Some(size) => on_a_small_disk(data, size),
    };
    command
        .args(["up".as_ref(), manifest.as_os_str(), "--data".as_ref(), data.as_os_str()])
        .args(["--port-offset", &offset.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gantry starts")
}

/// Runs gantry where `data` is a disk in memory. The disk is its own, and goes with it.
fn on_a_small_disk(data: &Path, size: u32) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::getuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let script = format!("mount -t tmpfs -o size={size}m tmpfs '{}' && exec \"$@\"", data.display());
    command.args(["--mount", "sh", "-c", &script, "sh"]).arg(gantry());
    command
}
