//! Where a slave finds its master, of all that it was told. Pure.

use super::LinkState;

/// Where to turn to.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// For requests.
    pub address: String,
    /// For the log, if that is set; else the master says it.
    pub ha_address: Option<String>,
    /// How the address is known.
    pub known_from: &'static str,
}

impl Target {
    /// Says whether both are one place, however that is known. Where the log is set to be at one place, only that counts:
    /// name servers may call the same master by an address of a service in front of it, and it must not be left for that.
    pub fn is_at(&self, other: &Target) -> bool {
        match (&self.ha_address, &other.ha_address) {
            (Some(own), Some(others)) => own == others,
            (own, others) => own == others && self.address == other.address,
        }
    }
}

/// Decides where the master is. What name servers and the master itself told last counts; without that, a master that
/// has the usual ports is one below the one of its log.
pub(super) fn decide_target(configured_ha: Option<&str>, state: &LinkState, own: &str) -> Option<Target> {
    let ha_address = configured_ha.map(str::to_owned);
    if let Some(address) = state.master_address.as_ref().filter(|address| *address != own) {
        return Some(Target {
            address: address.clone(),
            ha_address,
            known_from: "the name servers or the master",
        });
    }
    let (host, port) = configured_ha?.rsplit_once(':')?;
    let port = port.parse::<u16>().ok()?.checked_sub(1).filter(|port| *port > 0)?;
    Some(Target {
        address: format!("{host}:{port}"),
        ha_address,
        known_from: "haMasterAddress, one port below it; no name server has named a master yet",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_is_elsewhere_when_its_log_is() {
        let target = |address: &str, ha: Option<&str>| Target {
            address: address.to_owned(),
            ha_address: ha.map(str::to_owned),
            known_from: "",
        };
        for (one, other, want) in [
            (target("a:1", None), target("a:1", None), true),
            (target("a:1", None), target("b:1", None), false),
            (target("a:1", Some("pod:2")), target("service:1", Some("pod:2")), true),
            (target("a:1", Some("pod:2")), target("a:1", Some("pod:3")), false),
            (target("a:1", Some("pod:2")), target("a:1", None), false),
        ] {
            assert_eq!(one.is_at(&other), want, "{one:?} {other:?}");
        }
    }

    #[test]
    fn what_was_told_counts_before_what_is_guessed() {
        let state = |told: Option<&str>| LinkState {
            master_address: told.map(str::to_owned),
            master_ha_address: None,
            registered_master: false,
            connected: false,
            not_ready: None,
        };
        for (configured, told, want) in [
            (None, None, None),
            (None, Some("m:10911"), Some(("m:10911", None))),
            (Some("h:10912"), None, Some(("h:10911", Some("h:10912")))),
            (Some("[::1]:10912"), None, Some(("[::1]:10911", Some("[::1]:10912")))),
            (Some("h:10912"), Some("m:9"), Some(("m:9", Some("h:10912")))),
            (Some("h:1"), None, None),
            // A broker that was the master once may be named to itself.
            (None, Some("me:1"), None),
            (Some("h:10912"), Some("me:1"), Some(("h:10911", Some("h:10912")))),
        ] {
            let got = decide_target(configured, &state(told), "me:1");
            let got = got.as_ref().map(|t| (t.address.as_str(), t.ha_address.as_deref()));
            assert_eq!(got, want, "configured {configured:?}, told {told:?}");
        }
    }
}
