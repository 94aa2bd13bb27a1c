//! `gantry plan`: what a manifest would do, before it is applied: what changes, what restarts in which order, which groups
//! stop taking messages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use manifest::{Problems, Validated};
use planner::Timestamp;
use planner::facts::{Facts, Observed, OperatorSettings};
use planner::object::ObjectRef;
use planner::rehearse::{Moment, Rehearsal, new_cluster, rehearse, settled};
use planner::step::Action;
use serde_json::{Value, json};

use crate::exit::in_words;
use crate::kubernetes::view::View;
use crate::kubernetes::{Kubernetes, Place};
use crate::name_server::runtime;
use crate::output::{self, Format};
use report::Report;

mod effective;
mod objects;
mod report;
mod text;

/// Shows what a manifest would do: objects, restarts in order, write pauses, and what each changed field does.
///
/// Without --from and --live it is a new cluster. Ends with status 0 where nothing would be done, 2 with changes, 1 where
/// the manifest is refused.
#[derive(Args)]
pub struct Arguments {
    /// The manifest, a YAML file with one RocketMQCluster
    file: PathBuf,
    /// Compares with a cluster that runs as this manifest says, without asking anybody
    #[arg(long, value_name = "OLD", conflicts_with_all = ["live", "effective"])]
    from: Option<PathBuf>,
    /// Compares with the cluster of this name in Kubernetes; nothing is written
    #[arg(long, conflicts_with = "effective")]
    live: bool,
    /// Shows the manifest with everything decided that it leaves open, and plans nothing
    #[arg(long)]
    effective: bool,
    #[command(flatten)]
    place: Place,
    /// Writes text for people, or one JSON object
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// There are changes.
const CHANGES: u8 = 2;
/// The manifest is refused, as it is or as a change.
const REFUSED: u8 = 1;

/// Returns the exit status.
///
/// # Errors
/// It could not be planned; who asked for JSON has it in JSON too.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let planned = plan(arguments);
    if let (Format::Json, Err(error)) = (arguments.output, &planned) {
        output::json(&Report { refused: vec![in_words(error)], ..Report::default() })?;
    }
    planned
}

fn plan(arguments: &Arguments) -> anyhow::Result<u8> {
    let after = match load(&arguments.file)? {
        Ok(after) => after,
        Err(problems) => return refuse(arguments, &problems),
    };
    if arguments.effective {
        effective::show(&after, arguments.output)?;
        return Ok(0);
    }
    let now = now()?;
    let report = if arguments.live {
        runtime()?.block_on(live(arguments, after, now))?
    } else {
        match &arguments.from {
            Some(old) => match load(old)? {
                Ok(before) => from(&before, &after, now)?,
                Err(problems) => {
                    anyhow::bail!("manifest {} cannot be used:{}", old.display(), lines(&problems))
                }
            },
            None => anew(&after, now),
        }
    };
    show(arguments, &report)
}

fn show(arguments: &Arguments, report: &Report) -> anyhow::Result<u8> {
    match arguments.output {
        Format::Json => output::json(report)?,
        Format::Text if report.refused.is_empty() => output::line(&text::text(report))?,
        Format::Text => {}
    }
    if !report.refused.is_empty() {
        let refused: String = report.refused.iter().map(|text| format!("\n  {text}")).collect();
        output::note(&format!("gantry: {} is refused:{refused}", arguments.file.display()));
        return Ok(REFUSED);
    }
    Ok(if report.is_empty() { 0 } else { CHANGES })
}

fn refuse(arguments: &Arguments, problems: &Problems) -> anyhow::Result<u8> {
    show(arguments, &refused(problems))
}

fn refused(problems: &Problems) -> Report {
    let refused = problems.0.iter().map(ToString::to_string).collect();
    Report { refused, ..Report::default() }
}

fn load(file: &Path) -> anyhow::Result<Result<Validated, Problems>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read manifest {}", file.display()))?;
    Ok(manifest::load(&text))
}

fn lines(problems: &Problems) -> String {
    problems.0.iter().map(|problem| format!("\n  {problem}")).collect()
}

/// The clock, for windows of restarts and revisions of settings.
fn now() -> anyhow::Result<Timestamp> {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).context("read the clock")?;
    Timestamp::from_second(i64::try_from(since.as_secs())?).context("read the clock")
}

/// An operator as it usually is, where nobody is asked.
fn usual_operator() -> OperatorSettings {
    OperatorSettings { monitoring_kinds: true, ..OperatorSettings::default() }
}

/// A cluster that is made anew.
fn anew(after: &Validated, now: Timestamp) -> Report {
    let facts = new_cluster(after, &usual_operator());
    let rehearsal = rehearse(after, &facts, now);
    let objects = changed(&facts, &rehearsal, &BTreeMap::new());
    without_kubernetes(finish(after, Report::of(&facts, &rehearsal, Vec::new(), objects)))
}

/// A cluster that runs as another manifest says.
fn from(before: &Validated, after: &Validated, now: Timestamp) -> anyhow::Result<Report> {
    if before.name() != after.name() {
        anyhow::bail!(
            "metadata.name: the manifests are of two clusters, {} and {}; compare two of one cluster",
            before.name(),
            after.name()
        );
    }
    if let Err(problems) = manifest::check_change(before, after) {
        return Ok(refused(&problems));
    }
    let mut facts = settled(&running(before)?, &usual_operator(), now);
    if before.cluster().spec.stopped {
        facts = rehearse(before, &facts, now).after;
    }
    facts.cluster.generation += 1;
    facts.cluster.annotations = after.cluster().metadata.annotations.clone().unwrap_or_default();
    let rehearsal = rehearse(after, &facts, now);
    let owned = facts.objects.iter().map(|(reference, observed)| (reference.clone(), observed.json.clone()));
    let objects = changed(&facts, &rehearsal, &owned.collect());
    let fields = manifest::changes(before, after);
    Ok(without_kubernetes(finish(after, Report::of(&facts, &rehearsal, fields, objects))))
}

/// Says so where something is shown that only Kubernetes decides.
fn without_kubernetes(mut report: Report) -> Report {
    let made_up = |value: &Value| {
        let text = value.to_string();
        ["198.51.100.", "192.0.2.", "203.0.113.", "10.96."].iter().any(|range| text.contains(range))
    };
    let paths = report.objects.iter().flat_map(|object| &object.paths);
    if paths.filter_map(|path| path.after.as_ref()).any(made_up) {
        report.notes.push("addresses and node ports are made up: Kubernetes gives them".to_owned());
    }
    if report.objects.iter().any(|object| ["PodMonitor", "PrometheusRule"].contains(&object.kind)) {
        report.notes.push(
            "PodMonitor and PrometheusRule are made where Kubernetes has these kinds, those of the Prometheus operator"
                .to_owned(),
        );
    }
    report
}

/// A paused cluster came to be before it was paused, a stopped one before it was stopped.
fn running(before: &Validated) -> anyhow::Result<Validated> {
    let mut json = json!(before.cluster());
    json["spec"]["paused"] = json!(false);
    json["spec"]["stopped"] = json!(false);
    manifest::read(&json).map_err(|problems| anyhow::anyhow!("{problems}"))
}

/// A cluster in Kubernetes.
async fn live(arguments: &Arguments, after: Validated, now: Timestamp) -> anyhow::Result<Report> {
    let named = after.cluster().metadata.namespace.clone();
    let kubernetes = arguments.place.kubernetes(named.as_deref()).await;
    let kubernetes = kubernetes.context("--live asks Kubernetes, --from OLD would ask nobody")?;
    let after = in_namespace(&after, &kubernetes.namespace)?;
    let Some(json) = kubernetes.cluster(after.name()).await? else {
        let mut report = anew(&after, now);
        report.notes.push(format!(
            "there is no cluster {} in namespace {} yet",
            after.name(),
            kubernetes.namespace
        ));
        return Ok(report);
    };
    let before = manifest::read(&json);
    if let Ok(before) = &before
        && let Err(problems) = manifest::check_change(before, &after)
    {
        return Ok(refused(&problems));
    }
    let view = View::read(&kubernetes, &json).await?;
    let mut facts = view.facts();
    let fields = before.as_ref().map(|before| manifest::changes(before, &after)).unwrap_or_default();
    if !fields.is_empty() || before.is_err() {
        facts.cluster.generation += 1;
    }
    facts.cluster.annotations.extend(after.cluster().metadata.annotations.clone().unwrap_or_default());
    // What runs is of the last manifest that was accepted.
    let running = view.accepted.as_ref().map(|spec| json!({ "metadata": json["metadata"], "spec": spec }));
    let running = running.and_then(|json| manifest::read(&json).ok()).or(before.ok());
    let owned = running.map(|running| planner::objects(&running, &facts, now)).unwrap_or_default();
    let owned = owned.into_iter().map(|object| (object.reference, object.json)).collect();
    let mut rehearsal = rehearse(&after, &facts, now);
    if find_foreign(&kubernetes, &mut facts, &rehearsal).await? {
        rehearsal = rehearse(&after, &facts, now);
    }
    let mut report = Report::of(&facts, &rehearsal, fields, changed(&facts, &rehearsal, &owned));
    if facts.cluster.deleting {
        report.notes.push("the cluster is being deleted".to_owned());
    }
    let ready = facts.cluster.status.conditions.iter().find(|condition| condition.kind == "Ready");
    if let Some(ready) = ready.filter(|ready| ready.status != "True") {
        report.notes.push(format!("not all is well already: {}: {}", ready.reason, ready.message));
    }
    Ok(finish(&after, report))
}

fn in_namespace(manifest: &Validated, namespace: &str) -> anyhow::Result<Validated> {
    let mut json = json!(manifest.cluster());
    json["metadata"]["namespace"] = json!(namespace);
    manifest::read(&json).map_err(|problems| anyhow::anyhow!("{problems}"))
}

/// Objects of someone else that have names of ours: they lack our label, and so are in no list.
async fn find_foreign(
    kubernetes: &Kubernetes,
    facts: &mut Facts,
    rehearsal: &Rehearsal,
) -> anyhow::Result<bool> {
    let mut found = false;
    for moment in &rehearsal.moments {
        let Moment::Step(step) = moment else { continue };
        let (Action::Create(object) | Action::CreateSecret { object, .. }) = &step.action else { continue };
        let reference = object.reference.clone();
        if facts.objects.contains_key(&reference) {
            continue;
        }
        let controller = kubernetes.controller_of(&reference).await?;
        if controller.is_some_and(|uid| uid != facts.cluster.uid) {
            facts.objects.insert(reference, Observed { foreign: true, ..Observed::default() });
            found = true;
        }
    }
    Ok(found)
}

fn changed(
    facts: &Facts,
    rehearsal: &Rehearsal,
    owned: &BTreeMap<ObjectRef, Value>,
) -> Vec<objects::ObjectChange> {
    objects::changes(&facts.objects, &rehearsal.after.objects, owned)
}

/// Adds what has to be known besides.
fn finish(after: &Validated, mut report: Report) -> Report {
    let spec = &after.cluster().spec;
    if spec.paused {
        report.notes.push("spec.paused is true: nothing of this happens before it is false".to_owned());
    }
    if spec.brokers.scale_in.policy == manifest::cluster::ScaleInPolicy::Force {
        report.notes.push(
            "spec.brokers.scaleIn.policy is Force: groups that go take unread messages with them".to_owned(),
        );
    }
    report
}
