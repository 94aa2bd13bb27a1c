//! What `gantry up` writes: a line per event, and what a user needs to know once the cluster is ready.

use std::path::PathBuf;
use std::time::Duration;

use local::{Cluster, Event, Ready};
use manifest::Effective;
use serde_json::{Value, json};

use crate::output::{self, Format};

/// Something to write.
pub enum Line {
    Event(Event),
    ClusterReady(Summary),
}

/// What a user needs to know about a cluster that is ready.
pub struct Summary {
    cluster_name: String,
    name_server: String,
    data: PathBuf,
    kept: bool,
    topics_are_created: bool,
}

impl Summary {
    /// Collects it; `kept` says whether the data outlives the cluster.
    pub fn of(cluster: &Cluster, effective: &Effective, kept: bool) -> Summary {
        Summary {
            cluster_name: effective.cluster_name.clone(),
            name_server: cluster.name_server_address(),
            data: cluster.data().to_owned(),
            kept,
            topics_are_created: effective.brokers.auto_create_topics,
        }
    }

    fn text(&self) -> String {
        let kept = if self.kept { "" } else { "  (goes at the end; keep it with --data DIR)" };
        let usual = self.name_server == "127.0.0.1:9876";
        let address = if usual { String::new() } else { format!(" -n '{}'", self.name_server) };
        let create = if self.topics_are_created {
            String::new()
        } else {
            format!("\n  gantry topic create TopicTest{address}")
        };
        format!(
            "\nCluster {} is ready. Name server: {}\nData and logs: {}{kept}\n\n\
             Send a first message and read it back:{create}\n  \
             gantry produce TopicTest --body hello{address}\n  \
             gantry consume TopicTest --from earliest{address}\n\n\
             Ctrl-C stops the cluster.",
            self.cluster_name,
            self.name_server,
            self.data.display(),
        )
    }
}

impl Line {
    /// Writes the line to standard output.
    pub fn write(&self, format: Format, width: usize) -> std::io::Result<()> {
        match format {
            Format::Json => output::json(&self.json()),
            Format::Text => output::line(&self.text(width)),
        }
    }

    fn json(&self) -> Value {
        let ready = |event: &str, ready: &Ready| {
            json!({
                "event": event, "member": ready.member, "role": ready.role.as_str(), "duty": ready.duty, "pid": ready.pid,
                "address": ready.address, "health": ready.health, "took_ms": millis(ready.took),
            })
        };
        match self {
            Line::Event(Event::Ready(member)) => ready("ready", member),
            Line::Event(Event::Restarted(member)) => ready("restarted", member),
            Line::Event(Event::Died { member, how, last_words, log, restart_in }) => json!({
                "event": "died", "member": member, "how": how, "last_words": last_words, "log": log,
                "restart_in_ms": millis(*restart_in),
            }),
            Line::Event(Event::Stopped { member, problem }) => {
                json!({ "event": "stopped", "member": member, "problem": problem })
            }
            Line::Event(Event::Killed { member, after }) => {
                json!({ "event": "killed", "member": member, "after_ms": millis(*after) })
            }
            Line::Event(Event::EditAccepted) => json!({ "event": "edit_accepted" }),
            Line::Event(Event::EditRefused { problems }) => {
                json!({ "event": "edit_refused", "problems": problems })
            }
            Line::Event(Event::Step { reason, text }) => {
                json!({ "event": "step", "reason": reason, "text": text })
            }
            Line::Event(Event::Waiting { reason, text, blocked }) => {
                json!({ "event": "waiting", "reason": reason, "text": text, "blocked": blocked })
            }
            Line::Event(Event::AsWanted) => json!({ "event": "as_wanted" }),
            Line::Event(Event::Note(text)) => json!({ "event": "note", "text": text }),
            Line::ClusterReady(summary) => json!({
                "event": "cluster_ready", "cluster": summary.cluster_name,
                "name_server": summary.name_server, "data": summary.data,
            }),
        }
    }

    fn text(&self, width: usize) -> String {
        let ready = |word: &str, ready: &Ready| {
            format!(
                "{:width$}  {word:9}  {:11}  {:21}  {} ms",
                ready.member,
                ready.duty,
                ready.address.to_string(),
                millis(ready.took)
            )
        };
        match self {
            Line::Event(Event::Ready(member)) => ready("ready", member),
            Line::Event(Event::Restarted(member)) => ready("restarted", member),
            Line::Event(Event::Died { member, how, last_words, log, restart_in }) => {
                let words =
                    last_words.as_ref().map(|words| format!("\n  it last said: {words}")).unwrap_or_default();
                format!(
                    "{member:width$}  died       {how}; starting it again in {restart_in:?}{words}\n  its log is {}",
                    log.display()
                )
            }
            Line::Event(Event::Stopped { member, problem: None }) => format!("{member:width$}  stopped"),
            Line::Event(Event::Stopped { member, problem: Some(how) }) => {
                format!("{member:width$}  stopped    but not cleanly: {how}")
            }
            Line::Event(Event::Killed { member, after }) => {
                format!("{member:width$}  killed     did not stop within {after:?}")
            }
            Line::Event(Event::EditAccepted) => {
                "edit: the cluster becomes what the manifest says now".to_owned()
            }
            Line::Event(Event::EditRefused { problems }) => {
                let lines: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
                format!("edit: not followed, the cluster goes on as it is:{lines}")
            }
            Line::Event(Event::Step { text, .. }) => format!("edit: {text}"),
            Line::Event(Event::Waiting { text, blocked: false, .. }) => format!("edit: waiting: {text}"),
            Line::Event(Event::Waiting { text, blocked: true, .. }) => format!("note: {text}"),
            Line::Event(Event::AsWanted) => "edit: done, the cluster is as the manifest says".to_owned(),
            Line::Event(Event::Note(text)) => format!("note: {text}"),
            Line::ClusterReady(summary) => summary.text(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the width of the column of names.
pub fn longest_name(effective: &Effective) -> usize {
    manifest::members(effective).iter().map(|member| member.name.len()).max().unwrap_or(0)
}
