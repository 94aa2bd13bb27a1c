//! `gantry explain`: says in words why a cluster is not ready, and what to do about it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use kube::api::ListParams;
use planner::Timestamp;
use planner::facts::ClusterFacts;
use planner::labels::OPERATOR;
use planner::object::Kind;

use crate::exit::{BAD_MANIFEST, DEGRADED, Failure};
use crate::kubernetes::{Kubernetes, Place, of_cluster};
use crate::name_server::runtime;
use crate::output::{self, Format};
use findings::{Explanation, Seen, explain};

mod findings;
mod objects;

/// Says in words why a cluster in Kubernetes is not ready and what to do; ends with status 6 when it is not.
#[derive(Args)]
pub struct Arguments {
    /// The cluster; without it the only one of the namespace
    name: Option<String>,
    /// A manifest instead: says why it would not be accepted, and asks nobody
    #[arg(short, long, value_name = "FILE", conflicts_with = "name")]
    file: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// Writes text for people, or one JSON object
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// Events that are looked through.
const MOST_EVENTS: u32 = 2_000;
/// The operator's lease where it has no label: of an operator of before, by the name that the chart usually gives it.
const LEASE: &str = "gantry-operator";

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let explanation = match (&arguments.file, &arguments.name) {
        (Some(file), _) => return of_file(file, arguments.output),
        (None, name) => runtime()?.block_on(look(&arguments.place, name.as_deref()))?,
    };
    show(&explanation, arguments.output)?;
    match explanation.ready {
        true => Ok(()),
        false => Err(Failure::because(DEGRADED, format!("{} is not ready", explanation.cluster))),
    }
}

fn show(explanation: &Explanation, format: Format) -> std::io::Result<()> {
    match format {
        Format::Json => output::json(explanation),
        Format::Text => output::line(findings::text(explanation).trim_end()),
    }
}

/// What the operator would say with SpecAccepted=False.
fn of_file(file: &Path, format: Format) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read manifest {}", file.display()))?;
    let loaded = manifest::load(&text);
    let explanation = findings::of_manifest(&loaded);
    show(&explanation, format)?;
    match explanation.ready {
        true => Ok(()),
        false => Err(Failure::because(BAD_MANIFEST, format!("manifest {} cannot be used", file.display()))),
    }
}

async fn look(place: &Place, name: Option<&str>) -> anyhow::Result<Explanation> {
    let kubernetes = place.kubernetes(None).await?;
    let name = match name {
        Some(name) => name,
        None => &kubernetes.only_cluster().await?,
    };
    let json = kubernetes.the_cluster(name).await?;
    let cluster = ClusterFacts::read(&json).context(
        "read the cluster's status: another version of the operator wrote it, or somebody by hand",
    )?;
    let pods: Vec<Pod> = kubernetes.list("pods", &of_cluster(name)).await?;
    let claims: Vec<PersistentVolumeClaim> = kubernetes.list("volume claims", &of_cluster(name)).await?;
    let sets = kubernetes.children(Kind::StatefulSet, name).await?.unwrap_or_default();
    let events: Vec<Event> = kubernetes.list("events", &ListParams::default().limit(MOST_EVENTS)).await?;
    let lease = lease(&kubernetes).await?;
    let seen = Seen { cluster: &cluster, pods: &pods, claims: &claims, sets: &sets, events: &events, lease };
    Ok(explain(&seen, Timestamp::now()))
}

/// The lease of the operator, wherever it runs; not known where the user may not look. The last renewed one: some may be
/// left of operators that were uninstalled.
async fn lease(kubernetes: &Kubernetes) -> anyhow::Result<Option<Lease>> {
    let (label, value) = OPERATOR;
    let ours = ListParams::default().labels(&format!("{label}={value}"));
    let named = ListParams::default().fields(&format!("metadata.name={LEASE}"));
    for these in [ours, named] {
        let leases: Vec<Lease> = kubernetes.list_where_allowed("leases", &these).await?;
        let renewed = |lease: &Lease| Some(lease.spec.as_ref()?.renew_time.as_ref()?.0);
        if let Some(last) = leases.into_iter().max_by_key(renewed) {
            return Ok(Some(last));
        }
    }
    Ok(None)
}
