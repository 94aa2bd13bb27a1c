//! What the exit status means, in one place.

use std::fmt;
use std::process::ExitCode;

use client::admin::AdminError;
use client::routes::RouteError;

use crate::output;

/// Shown below the help of every command.
pub const HELP: &str = "\
Exit status:
  0  done, or stopped as asked
  1  failed; standard error says why
  2  wrong use of the command
  3  the manifest has problems; standard error lists them
  4  the cluster cannot start here: a port, the data folder, the version
  5  a member died too often
  6  the cluster answers, but a broker is missing, unreachable or out of sync; in Kubernetes: it is not Ready

plan: 0 nothing to do, 2 changes, 1 refused or failed";

/// A failure with a status of its own. Any other error ends with status 1.
#[derive(Debug)]
pub struct Failure {
    pub status: u8,
    pub text: String,
}

impl Failure {
    /// Makes a failure as an error.
    pub fn because(status: u8, text: impl fmt::Display) -> anyhow::Error {
        anyhow::Error::new(Failure { status, text: text.to_string() })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// The manifest has problems.
pub const BAD_MANIFEST: u8 = 3;
/// The cluster cannot start here.
pub const CANNOT_START: u8 = 4;
/// A member was given up.
pub const MEMBER_FAILED: u8 = 5;

/// The cluster answers, but not all is as it should be.
pub const DEGRADED: u8 = 6;

/// Says how the command is used.
pub fn wrong_use(wrong: &clap::Error) -> ExitCode {
    // Where nobody reads it, nobody misses it.
    let _ = wrong.print();
    let of_plan = std::env::args_os().nth(1).is_some_and(|command| command == "plan");
    match wrong.exit_code() {
        0 => ExitCode::SUCCESS,
        // There 2 are changes.
        _ if of_plan => ExitCode::FAILURE,
        _ => ExitCode::from(2),
    }
}

/// Says what went wrong and what to do, and returns the exit status.
pub fn report(result: anyhow::Result<()>) -> ExitCode {
    report_status(result.map(|()| 0))
}

/// The same for a command that ends well with more than one status.
pub fn report_status(result: anyhow::Result<u8>) -> ExitCode {
    let error = match result {
        Ok(status) => return ExitCode::from(status),
        Err(error) => error,
    };
    // A reader that went away, as in `gantry topic list | head`, is nobody's failure.
    let broken_pipe = error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
    if broken_pipe {
        return ExitCode::SUCCESS;
    }
    output::note(&format!("gantry: {}", in_words(&error)));
    if let Some(remedy) = error.chain().find_map(remedy) {
        output::note(&remedy);
    }
    let status = error.downcast_ref::<Failure>().map_or(1, |failure| failure.status);
    ExitCode::from(status)
}

/// The error and its causes, without those that are in its words already.
pub fn in_words(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if words.is_empty() {
            words = cause;
        } else if !words.contains(&cause) {
            words = format!("{words}: {cause}");
        }
    }
    words
}

fn remedy(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    let route = match cause.downcast_ref::<AdminError>() {
        // Transparent: in a chain of causes it stands for the route error in it.
        Some(AdminError::Route(route)) => route,
        _ => cause.downcast_ref::<RouteError>()?,
    };
    match route {
        RouteError::NoTopic(topic) => Some(format!("create it with: gantry topic create {topic}")),
        RouteError::NoNameServer(error) if error.refusal().is_none() => {
            Some("is the cluster up? gantry up FILE starts one; -n HOST:PORT names another".to_owned())
        }
        RouteError::NoNameServer(_) | RouteError::NoneGiven => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let cause = || anyhow::anyhow!("no space");
        assert_eq!(in_words(&cause().context("write f")), "write f: no space");
        assert_eq!(in_words(&cause().context("write f: no space")), "write f: no space");
    }

    #[test]
    fn a_topic_that_does_not_exist_comes_with_the_command_that_creates_it() {
        let no_topic = || RouteError::NoTopic("orders".to_owned());
        for error in [anyhow::Error::new(no_topic()).context("read"), AdminError::Route(no_topic()).into()] {
            let found = error.chain().find_map(remedy);
            assert_eq!(found.as_deref(), Some("create it with: gantry topic create orders"));
        }
    }
}
