//! Why a cluster did not start, in words that name the remedy.

use std::fmt::Write;
use std::path::PathBuf;

use crate::port_holder::PortHolder;
use crate::ports::PortTooLarge;

/// Why a cluster did not start. Nothing runs afterwards.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The manifest asks for a version that this command is not; the user changes one of them.
    #[error(
        "spec.version: {wanted:?}: this gantry is {own} and runs members of its own version; \
         set it to {own:?} or use gantry {wanted}"
    )]
    Version { wanted: String, own: &'static str },
    /// The manifest cannot follow what the data folder holds; the user changes it, or takes another folder.
    #[error("{}", refused(.0))]
    Refused(Vec<String>),
    /// The offset is too large; the user takes a smaller one.
    #[error("{member}: {source}")]
    Port { member: String, source: PortTooLarge },
    /// What an earlier run kept is not understood.
    #[error(
        "{}: {why}; use the gantry that wrote it, or take the file away: stores are found without it, but groups that \
         were draining take messages again",
        path.display()
    )]
    Kept { path: PathBuf, why: String },
    /// Somebody listens on ports of ours; the user stops it, or takes an offset.
    #[error("{}", ports_in_use(.0))]
    PortsInUse(Vec<PortInUse>),
    /// Another cluster runs on the data folder; the user stops it, or takes another folder.
    #[error("data folder {}: in use by another gantry up{}; stop it or give another folder with --data", path.display(), by_pid(.pid))]
    DataInUse { path: PathBuf, pid: Option<u32> },
    /// A folder or file could not be made; the user mends the cause.
    #[error("{what} {}: {source}", path.display())]
    Files { what: &'static str, path: PathBuf, source: std::io::Error },
}

/// A port that somebody else listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortInUse {
    pub member: String,
    /// Which of the member's ports: `port`, `fast port`, `HA port`, `health port`.
    pub what: &'static str,
    pub port: u16,
    /// Who listens on it, where the system tells us.
    pub holder: Option<PortHolder>,
}

fn ports_in_use(ports: &[PortInUse]) -> String {
    let mut text = String::new();
    for PortInUse { member, what, port, holder } in ports {
        let by = match holder {
            Some(PortHolder { pid, command }) => format!("{command} (process {pid})"),
            None => format!("another process (ss -ltnp 'sport = :{port}' may show it)"),
        };
        let _ = writeln!(text, "{what} {port} of {member} is in use by {by}");
    }
    text.push_str("stop it, or move all ports with --port-offset 1000");
    text
}

fn refused(problems: &[String]) -> String {
    let lines: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    format!("the manifest cannot follow what the data folder holds:{lines}")
}

fn by_pid(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_names_the_remedy() {
        let in_use =
            |member: &str, what, port, holder| PortInUse { member: member.to_owned(), what, port, holder };
        let java = PortHolder { pid: 7, command: "java".to_owned() };
        let cases = [
            (
                StartError::Version { wanted: "9.0.0".to_owned(), own: "0.1.0" },
                "spec.version: \"9.0.0\": this gantry is 0.1.0 and runs members of its own version; set it to \
                 \"0.1.0\" or use gantry 9.0.0",
            ),
            (
                StartError::PortsInUse(vec![
                    in_use("a-namesrv-0", "port", 9876, Some(java)),
                    in_use("a-broker-0-0", "fast port", 10909, None),
                ]),
                "port 9876 of a-namesrv-0 is in use by java (process 7)\n\
                 fast port 10909 of a-broker-0-0 is in use by another process (ss -ltnp 'sport = :10909' may show it)\n\
                 stop it, or move all ports with --port-offset 1000",
            ),
            (
                StartError::DataInUse { path: "d".into(), pid: Some(7) },
                "data folder d: in use by another gantry up (process 7); stop it or give another folder with --data",
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(error.to_string(), expected);
        }
    }
}
