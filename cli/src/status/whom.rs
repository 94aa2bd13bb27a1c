//! Whom `gantry status` asks: a name server, or Kubernetes. Pure.

use clap::Args;

use crate::kubernetes::Place;
use crate::name_server::USUAL;

#[derive(Args, Default)]
#[group(skip)]
pub struct Arguments {
    /// A cluster in Kubernetes
    name: Option<String>,
    /// A namespace, or the address of a name server: that has a colon
    #[arg(short = 'n', value_name = "NAMESPACE|HOST:PORT")]
    place: Option<String>,
    /// The namespace; without it that of the kubeconfig's context
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// The context of the kubeconfig; without it the current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The name server, host:port; several joined by ; [default: 127.0.0.1:9876]
    #[arg(long, value_name = "HOST:PORT")]
    name_server: Option<String>,
}

/// Who is asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Whom {
    /// At an address.
    NameServer(String),
    /// About one cluster, or all of the namespace.
    Kubernetes { name: Option<String>, place: Place },
}

/// The variable that names the name server where no argument does.
const VARIABLE: &str = "NAMESRV_ADDR";

/// Decides; the environment is read only where no argument says.
pub fn whom(arguments: &Arguments, is_plugin: bool) -> anyhow::Result<Whom> {
    decide(arguments, is_plugin, std::env::var(VARIABLE).ok())
}

fn decide(arguments: &Arguments, is_plugin: bool, variable: Option<String>) -> anyhow::Result<Whom> {
    let address = |text: &&String| text.contains(':');
    let place = arguments.place.as_ref();
    let name_server = arguments.name_server.as_ref().or(place.filter(address));
    let namespace = arguments.namespace.as_ref().or(place.filter(|text| !address(text)));
    let in_kubernetes =
        is_plugin || arguments.name.is_some() || namespace.is_some() || arguments.context.is_some();
    match (name_server, in_kubernetes) {
        (Some(address), true) if !is_plugin || arguments.name.is_some() => anyhow::bail!(
            "a name server ({address}) and a cluster in Kubernetes are both given; leave one out (with a name server \
             --cluster NAME chooses)"
        ),
        (Some(address), _) => Ok(Whom::NameServer(address.clone())),
        (None, true) => Ok(Whom::Kubernetes {
            name: arguments.name.clone(),
            place: Place { namespace: namespace.cloned(), context: arguments.context.clone() },
        }),
        (None, false) => Ok(Whom::NameServer(variable.unwrap_or_else(|| USUAL.to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn decided(line: &str, is_plugin: bool, variable: Option<&str>) -> Result<Whom, String> {
        let words = std::iter::once("status").chain(line.split_whitespace());
        let arguments = Command::parse_from(words).arguments;
        decide(&arguments, is_plugin, variable.map(str::to_owned)).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_is_a_name_servers_and_a_name_is_kubernetes() {
        let at = |address: &str| Ok(Whom::NameServer(address.to_owned()));
        let of = |name: Option<&str>, namespace: Option<&str>, context: Option<&str>| {
            let place =
                Place { namespace: namespace.map(str::to_owned), context: context.map(str::to_owned) };
            Ok(Whom::Kubernetes { name: name.map(str::to_owned), place })
        };
        let cases = [
            ("", false, None, at("127.0.0.1:9876")),
            ("", false, Some("env:1"), at("env:1")),
            ("-n host:9876", false, None, at("host:9876")),
            ("-n a:1;b:2", false, Some("env:1"), at("a:1;b:2")),
            ("--name-server host", false, None, at("host")),
            ("-n messaging", false, Some("env:1"), of(None, Some("messaging"), None)),
            ("mq", false, Some("env:1"), of(Some("mq"), None, None)),
            ("mq -n messaging --context c", false, None, of(Some("mq"), Some("messaging"), Some("c"))),
            ("--namespace messaging", false, None, of(None, Some("messaging"), None)),
            ("", true, Some("env:1"), of(None, None, None)),
            ("mq", true, None, of(Some("mq"), None, None)),
            ("-n host:9876", true, None, at("host:9876")),
        ];
        for (line, is_plugin, variable, expected) in cases {
            assert_eq!(decided(line, is_plugin, variable), expected, "{line}");
        }
        let both = decided("mq -n host:9876", false, None).unwrap_err();
        assert!(
            both.starts_with("a name server (host:9876) and a cluster in Kubernetes are both given"),
            "{both}"
        );
    }
}
