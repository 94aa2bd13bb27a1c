//! The command `gantry`, built once for all tests of a process, and how it is started: as a user does, or one member
//! alone.

use std::fs::OpenOptions;
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
    let mut command = start_on(small_disk.map(|size| (data, size)));
    command
        .args(["up".as_ref(), manifest.as_os_str(), "--data".as_ref(), data.as_os_str()])
        .args(["--port-offset", &offset.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gantry starts")
}

/// Starts one member, `namesrv` or `broker`, with a file of settings; it ends when its standard input does. With
/// `small_disk`, that folder is a disk of its own with so many MiB. What it writes is appended to `log`.
pub fn member(role: &str, config: &Path, small_disk: Option<(&Path, u32)>, log: &Path) -> Child {
    let mut command = start_on(small_disk);
    command.args(["member", role, "--config"]).arg(config);
    spawn_with_log(&mut command, log)
}

/// Starts a command with a pipe as its standard input; what it writes is appended to `log`.
pub fn spawn_with_log(command: &mut Command, log: &Path) -> Child {
    let log = OpenOptions::new().create(true).append(true).open(log).expect("a log in our own folder");
    let copy = log.try_clone().expect("a second handle of an open file");
    command.stdin(Stdio::piped()).stdout(copy).stderr(log).spawn().expect("the program starts")
}

/// Returns `gantry`, where needed on a disk in memory that is mounted for it alone and goes with it.
fn start_on(small_disk: Option<(&Path, u32)>) -> Command {
    let Some((folder, size)) = small_disk else { return Command::new(gantry()) };
    let mut command = Command::new("unshare");
    if !rustix::process::getuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let script = format!("mount -t tmpfs -o size={size}m tmpfs '{}' && exec \"$@\"", folder.display());
    command.args(["--mount", "sh", "-c", &script, "sh"]).arg(gantry());
    command
}
