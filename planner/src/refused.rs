//! What is reported of a cluster whose manifest cannot be read or breaks a rule: nothing is planned, what runs is left as
//! it is, and the conditions say so.

use k8s_openapi::jiff::Timestamp;
use manifest::Problems;
use manifest::cluster::ClusterStatus;
use manifest::cluster::status::Condition;

use crate::conditions::LONGEST_MESSAGE;
use crate::facts::Facts;

/// Returns the status that was, with the problems in its conditions.
pub fn refused(problems: &Problems, facts: &Facts, now: Timestamp) -> ClusterStatus {
    let mut status = facts.cluster.status.clone();
    let texts: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
    let text = texts.join("; ");
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
    let mut say = |kind: &str, reason: &str, message: String| {
        let message: String = message.chars().take(LONGEST_MESSAGE).collect();
        let before = status.conditions.iter().find(|condition| condition.kind == kind);
        let since = before.filter(|before| before.status == "False");
        let said = Condition {
            kind: kind.to_owned(),
            status: "False".to_owned(),
            reason: reason.to_owned(),
            message,
            last_transition_time: since
                .map_or_else(|| now.clone(), |before| before.last_transition_time.clone()),
            observed_generation: Some(facts.cluster.generation),
        };
        match status.conditions.iter_mut().find(|condition| condition.kind == kind) {
            Some(condition) => *condition = said,
            None => status.conditions.push(said),
        }
    };
    say("SpecAccepted", problems.reason().as_str(), text.clone());
    say("Ready", "InvalidSpec", format!("what runs is left as it is: {text}"));
    status.observed_generation = Some(facts.cluster.generation);
    status.operator.version.clone_from(&facts.operator.version);
    status
}
