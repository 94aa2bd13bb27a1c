//! What the operator is started with. The chart's deployment passes exactly these flags; a test compares them.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use daemon::logs::LogFormat;
use planner::facts::OperatorSettings;

/// Runs the operator until SIGTERM or SIGINT.
#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// Namespaces whose clusters are looked after, separated by commas; all when none is given.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// Put before gantry-broker and gantry-namesrv where a manifest does not say: a registry and a path with a slash at
    /// the end.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub image_prefix: String,
    /// A secret for that registry, in the namespace of each cluster; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub image_pull_secret: Vec<String>,
    /// Whether nodes may be read: for NodePort addresses.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub observe_nodes: bool,
    /// Whether storage classes may be read: to say beforehand whether a volume can grow.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub observe_storage: bool,
    /// How many clusters may be restarting pods at a time.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_rolling_clusters: u32,
    /// The lease that says who of several operators works.
    #[arg(long, value_name = "NAME", default_value = "gantry-operator")]
    pub lease_name: String,
    /// How long the lease holds after it was last renewed.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub lease_duration: Duration,
    /// How long its holder tries to renew it before it ends.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub renew_deadline: Duration,
    /// How often it is renewed or tried for.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub retry_period: Duration,
    /// error, warn, info, debug, trace or off; also per crate, as in info,operator=debug.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
    /// How a log line looks.
    #[arg(long, value_enum, ignore_case = true, default_value_t = Format::Text)]
    pub log_format: Format,
    /// Where metrics are served.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    pub metrics_address: SocketAddr,
    /// Where /livez and /readyz are served.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8081")]
    pub health_address: SocketAddr,
    /// The operator's own pod: who holds the lease.
    #[arg(long, env = "POD_NAME", value_name = "NAME", default_value = "gantry-operator", hide = true)]
    pub pod_name: String,
    /// The namespace of the operator's own pod and of the lease.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME", default_value = "default", hide = true)]
    pub pod_namespace: String,
}

/// The forms of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> LogFormat {
        match format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        }
    }
}

impl RunArguments {
    /// Returns what plans are made with, but for what is found out about this Kubernetes.
    pub fn settings(&self) -> OperatorSettings {
        OperatorSettings {
            version: daemon::build::VERSION.to_owned(),
            image_prefix: self.image_prefix.clone(),
            pull_secrets: self.image_pull_secret.clone(),
            namespace: self.pod_namespace.clone(),
            ..OperatorSettings::default()
        }
    }

    /// Checks what flags must be together.
    ///
    /// # Errors
    /// Which flags clash, with their values.
    pub fn validate(&self) -> Result<(), String> {
        let (lease, renew, retry) = (self.lease_duration, self.renew_deadline, self.retry_period);
        if retry.is_zero() || renew < 2 * retry || lease <= renew {
            return Err(format!(
                "--lease-duration {lease:?}, --renew-deadline {renew:?}, --retry-period {retry:?}: a lease must hold \
                 longer than its holder tries to renew it, and that at least two tries"
            ));
        }
        Ok(())
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    manifest::units::parse_duration(text).ok_or_else(|| manifest::units::DURATION_FORM.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        run: RunArguments,
    }

    fn parse(arguments: &[&str]) -> Result<RunArguments, String> {
        let all = std::iter::once("gantry-operator").chain(arguments.iter().copied());
        Program::try_parse_from(all).map(|program| program.run).map_err(|error| error.to_string())
    }

    #[test]
    fn every_flag_of_the_chart_is_known_and_no_other_is_needed() {
        let deployment = include_str!("../../charts/gantry-operator/templates/deployment.yaml");
        let flags: Vec<&str> = deployment
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- --")?.split_once('='))
            .map(|(flag, _)| flag)
            .collect();
        assert!(flags.len() > 10, "{flags:?}");
        for flag in &flags {
            let value = match *flag {
                "observe-nodes" | "observe-storage" => "false",
                "max-rolling-clusters" => "3",
                "lease-duration" | "renew-deadline" | "retry-period" => "7s",
                "log-format" => "Json",
                "metrics-address" | "health-address" => "0.0.0.0:8080",
                _ => "text",
            };
            parse(&[&format!("--{flag}={value}")]).unwrap();
        }
        let command = <Program as clap::CommandFactory>::command();
        let known = command.get_arguments().filter(|argument| !argument.is_hide_set());
        for argument in known.filter_map(clap::Arg::get_long) {
            assert!(flags.contains(&argument), "--{argument} is not in the chart");
        }
    }

    #[test]
    fn flags_that_clash_are_refused_with_their_values() {
        assert_eq!(parse(&[]).unwrap().validate(), Ok(()));
        let refused = parse(&["--lease-duration=5s"]).unwrap().validate().unwrap_err();
        assert!(refused.contains("--lease-duration 5s, --renew-deadline 10s"), "{refused}");
        assert!(parse(&["--max-rolling-clusters=0"]).unwrap_err().contains("0 is not in 1.."));
        assert!(parse(&["--retry-period=soon"]).unwrap_err().contains("soon"));
    }
}
