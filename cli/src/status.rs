//! `gantry status`: how a cluster is, and whether that is as it should be. By a name server here: every broker, how far
//! its slaves are; in Kubernetes in `status/cluster.rs`.

use anyhow::Context;
use clap::Args;
use client::admin::Admin;
use client::broker;
use client::routes::Routes;
use comfy_table::CellAlignment;
use protocol::bodies::cluster_info::ClusterInfo;
use tokio::task::JoinSet;

use crate::exit::{DEGRADED, Failure};
use crate::kubernetes::is_plugin;
use crate::name_server::{NameServer, runtime};
use crate::output::{self, Format};
use crate::table::table;
use members::{Answer, Observed, Row, Status, judge};
use whom::Whom;

mod cluster;
mod members;
mod whom;
pub mod words;

/// Shows how a cluster is; ends with status 6 when not all is as it should be.
///
/// By a name server: every broker, and how far its slaves are. In Kubernetes: conditions, groups and members of the
/// cluster of that NAME, or all clusters of the namespace. It is Kubernetes where a NAME, a namespace or a context is
/// given, and as `kubectl gantry`; otherwise a name server.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    whom: whom::Arguments,
    /// Only this cluster of those that a name server knows
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// In Kubernetes: goes on and writes again when something changes
    #[arg(short, long)]
    watch: bool,
    /// Writes a table for people, or one JSON object per broker, in Kubernetes per cluster
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match whom::whom(&arguments.whom, is_plugin())? {
        Whom::NameServer(address) => by_name_server(&NameServer::at(&address), arguments),
        Whom::Kubernetes { name, place } => {
            runtime()?.block_on(cluster::show(&place, name.as_deref(), arguments.watch, arguments.output))
        }
    }
}

fn by_name_server(name_server: &NameServer, arguments: &Arguments) -> anyhow::Result<()> {
    let routes = name_server.routes();
    let observed = runtime()?.block_on(observe(&routes, arguments.cluster.as_deref()))?;
    let status = judge(observed);
    match arguments.output {
        Format::Json => status.rows.iter().try_for_each(output::json)?,
        Format::Text => write_table(&status)?,
    }
    if status.problems.is_empty() {
        return Ok(());
    }
    let lines = status.problems.iter().map(|problem| format!("\n  {problem}")).collect::<String>();
    Err(Failure::because(DEGRADED, format!("not all is as it should be:{lines}")))
}

/// Asks every broker that the name servers know; one that does not answer says why in its place.
async fn observe(routes: &Routes, cluster: Option<&str>) -> anyhow::Result<Vec<Observed>> {
    let info = Admin::new(routes.clone()).cluster_info().await?;
    if let Some(cluster) = cluster
        && !info.cluster_addr_table.contains_key(cluster)
    {
        let known: Vec<&str> = info.cluster_addr_table.keys().map(String::as_str).collect();
        anyhow::bail!("cluster {cluster} is not known to the name server; known are: {}", known.join(", "));
    }
    let mut asked = JoinSet::new();
    for broker in brokers(info).into_iter().filter(|broker| cluster.is_none_or(|name| name == broker.cluster))
    {
        let routes = routes.clone();
        asked.spawn(async move {
            let answer = ask(&routes, &broker.address).await.map_err(|error| format!("{error:#}"));
            Observed { answer, ..broker }
        });
    }
    let mut observed = Vec::new();
    while let Some(broker) = asked.join_next().await {
        observed.push(broker.context("ask a broker")?);
    }
    Ok(observed)
}

fn brokers(info: ClusterInfo) -> Vec<Observed> {
    let groups = info.broker_addr_table.into_values();
    let members = groups.flat_map(|group| {
        group.broker_addrs.into_iter().map(move |(id, address)| Observed {
            cluster: group.cluster.clone(),
            group: group.broker_name.clone(),
            id,
            address,
            answer: Err("not asked yet".to_owned()),
        })
    });
    members.collect()
}

async fn ask(routes: &Routes, address: &str) -> anyhow::Result<Answer> {
    let client = routes.connections().to(address).await?;
    // Together, so that the ends of the log and the followers are of one moment.
    let (facts, followers) = tokio::join!(broker::runtime_info(&client), broker::ha_status(&client));
    let facts = facts?;
    let replication = match followers {
        Ok(replication) => Some(replication),
        // A broker before 5.0 knows no such request.
        Err(error) if error.refusal().is_some() => None,
        Err(error) => return Err(error.into()),
    };
    let log_end = facts.get("commitLogMaxOffset").and_then(|end| end.parse().ok());
    Ok(Answer { log_end, replication })
}

fn write_table(status: &Status) -> std::io::Result<()> {
    const HEADER: [&str; 10] =
        ["CLUSTER", "GROUP", "ID", "ROLE", "ADDRESS", "LOG END", "ACKED", "LAG", "FOR", "IN SYNC"];
    let mut table = table(HEADER, 5);
    if let Some(last) = table.column_mut(HEADER.len() - 1) {
        last.set_cell_alignment(CellAlignment::Left);
    }
    for row in &status.rows {
        table.add_row(cells(row));
    }
    output::line(&table.trim_fmt())
}

fn cells(row: &Row) -> [String; 10] {
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let in_sync = match (row.in_sync, row.in_sync_members) {
        _ if !row.reachable => "unreachable".to_owned(),
        (Some(true), _) => "yes".to_owned(),
        (Some(false), _) => "no".to_owned(),
        (None, Some(members)) => format!("{members} of {}", row.members),
        (None, None) => "-".to_owned(),
    };
    [
        row.cluster.clone(),
        row.group.clone(),
        row.id.to_string(),
        row.role.to_owned(),
        row.address.clone(),
        number(row.log_end),
        number(row.acked),
        row.lag_bytes.map_or_else(|| "-".to_owned(), words::bytes),
        row.lag_ms.map_or_else(|| "-".to_owned(), words::time),
        in_sync,
    ]
}
