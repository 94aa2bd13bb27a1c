//! What has to be there before the first scenario: images, three nodes, the operator; and all of it gone afterwards.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::kube::{Kube, run, script};
use crate::say;

/// The namespace of the operator.
pub const SYSTEM: &str = "gantry-system";
/// The version of the workspace, which the manifests of `deploy/` name; and one that can follow it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
pub const NEXT_VERSION: &str = "0.1.1";

/// What images are called before their own names: nodes find those that are loaded by it, and pull none.
pub const PREFIX: &str = "docker.io/library/";

/// Why there can be no Kubernetes here, in one line.
pub fn why_not() -> Option<String> {
    let can = script().arg("can").output().expect("tests/kube/kube starts");
    (!can.status.success()).then(|| String::from_utf8_lossy(&can.stdout).trim().to_owned())
}

/// Builds everything, starts the nodes and installs the operator; with `keep`, all of it stays.
pub fn up(keep: bool) -> (Kube, Down) {
    let down = Down::new(keep);
    if std::env::var_os("E2E_AS_IS").is_some() {
        return (Kube::connect(), down);
    }
    let images = thread::scope(|scope| {
        // Compiled once per machine, some minutes: beside the images, which are compiled too but link alone.
        let setup = scope.spawn(|| run(script().arg("setup")));
        let clients =
            scope.spawn(|| PathBuf::from(run(&mut Command::new(here().join("kube/client-image"))).trim()));
        let mut images = timed("images", images);
        setup.join().expect("tests/kube/kube setup");
        images.push(clients.join().expect("tests/kube/client-image"));
        images
    });
    timed("nodes", || println!("{}", run(script().args(["up", "3"]).env("KUBE_OWNER", down.owner())).trim()));
    let kube = Kube::connect();
    timed("load images", || run(script().arg("load").args(&images)));
    timed("volumes", || kube.volumes());
    timed("operator", || operator(&kube, &images[0]));
    (kube, down)
}

/// Installs the chart as the README says, or brings what is installed up to date; the plain YAML would be taken too.
fn operator(kube: &Kube, image: &Path) {
    let sum = run(Command::new("sha256sum").arg(image));
    // A cluster that is kept has pods with an older image of the same name. More than one scenario restarts pods.
    helm(&format!(
        "upgrade --install gantry-operator charts/gantry-operator -n {SYSTEM} --create-namespace \
         --set image.prefix={PREFIX} --set rollout.maxClusters=8 --set logging.format=Text \
         --set-string podAnnotations.image={}",
        &sum[..12]
    ));
    kube.ctl(&format!("rollout status -n {SYSTEM} deployment/gantry-operator --timeout=120s"));
    // Helm has written the same objects.
    for apply in [
        "apply --server-side --force-conflicts -f deploy/kubernetes/crds.yaml",
        "apply -f deploy/kubernetes/operator.yaml",
    ] {
        run(kube.kubectl().args(apply.split(' ')).arg("--dry-run=server").current_dir(root()));
    }
}

/// Runs helm with these words, separated by blanks, at the root of the workspace.
///
/// # Panics
/// When it fails.
pub fn helm(words: &str) {
    run(script().arg("helm").args(words.split_whitespace()).current_dir(root()));
}

/// Builds the images, the same binaries under two versions, and returns the archives: the operator's first.
fn images() -> Vec<PathBuf> {
    let build = |version: &str, binaries: Option<&Path>| {
        let folder = root().join("target/images-e2e").join(version);
        let mut command = Command::new(root().join("deploy/images"));
        command.arg(&folder).envs([("PROFILE", "e2e"), ("VERSION", version)]);
        if let Some(binaries) = binaries {
            command.env("BINARIES", binaries);
        }
        run(&mut command);
        folder
    };
    let first = build(VERSION, None);
    let second = build(NEXT_VERSION, Some(&binaries()));
    let archive = |folder: &Path, name: &str| folder.join(format!("{name}.tar"));
    let members = ["gantry-broker", "gantry-namesrv"];
    let of_both = [&first, &second].into_iter().flat_map(|folder| members.map(|name| archive(folder, name)));
    ["gantry-operator", "gantry"].map(|name| archive(&first, name)).into_iter().chain(of_both).collect()
}

/// Returns the folder with the binaries that are in the images.
pub fn binaries() -> PathBuf {
    let version = run(Command::new("rustc").arg("-vV"));
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc knows its host");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join(host).join("e2e")
}

/// Takes everything down when it is dropped, and also when this process ends in any other way: a shell waits for the
/// end of its input.
pub struct Down {
    watch: Option<Child>,
}

impl Down {
    fn new(keep: bool) -> Down {
        let up_already = script().arg("config").output().is_ok_and(|output| output.status.success());
        if keep || up_already {
            say!("kube", "it stays up{}", if up_already { ", as it was found" } else { "" });
            return Down { watch: None };
        }
        use std::os::unix::process::CommandExt;
        // Another command of `kube` may be at work when this process is killed.
        let wait = "cat >/dev/null; for try in 1 2 3 4 5 6 7 8 9 10; do \"$0\" down && exit 0; sleep 2; done 2>/dev/null";
        let watch = Command::new("sh")
            .args(["-c", wait])
            .arg(here().join("kube/kube"))
            .env("KUBE_OWNER", std::process::id().to_string())
            .stdin(Stdio::piped())
            // Ctrl-C is not for it.
            .process_group(0)
            .spawn()
            .expect("sh starts");
        Down { watch: Some(watch) }
    }

    fn owner(&self) -> String {
        self.watch.as_ref().map(|_| std::process::id().to_string()).unwrap_or_default()
    }
}

impl Drop for Down {
    fn drop(&mut self) {
        let Some(mut watch) = self.watch.take() else { return };
        if let Some(mut input) = watch.stdin.take() {
            let _ = input.flush();
        }
        let ended = watch.wait();
        say!("kube", "down: {}", ended.map_or_else(|e| e.to_string(), |status| status.to_string()));
    }
}

fn timed<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let result = act();
    let seconds = Duration::as_secs_f64(&begin.elapsed());
    say!("kube", "{what}: {seconds:.1} s");
    result
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the root of the workspace.
pub fn root() -> &'static Path {
    here().parent().expect("this crate lies in the workspace")
}
