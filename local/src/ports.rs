//! Who listens where on loopback, pure. RocketMQ's usual ports first, so that a client's defaults work.

use std::net::{Ipv4Addr, SocketAddr};

use manifest::{Member, Role};

/// The first name server's port, RocketMQ's usual one.
const NAME_SERVER: u16 = 9876;
/// The health port of the first name server.
const NAME_SERVER_HEALTH: u16 = 9776;
/// The first broker's port, RocketMQ's usual one.
const BROKER: u16 = 10911;
/// From one broker's port to the next one's: room for the ports around it.
const BROKER_STEP: u32 = 20;

/// The largest offset: the largest cluster a manifest allows still fits below port 65536.
pub const LARGEST_OFFSET: u16 = 48_000;

/// A member's ports on loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Where clients connect.
    pub remoting: u16,
    /// A broker's second port for clients, two below the first, as RocketMQ has it.
    pub fast: Option<u16>,
    /// Where a broker's slaves connect, one above the first. A slave's own is kept free for the day when it
    /// becomes a master.
    pub ha: Option<u16>,
    /// Probes and metrics.
    pub health: u16,
}

impl Ports {
    /// Returns the ports that must be free, with the word for each.
    pub fn listened(&self) -> impl Iterator<Item = (&'static str, u16)> {
        let fast = self.fast.map(|port| ("fast port", port));
        let ha = self.ha.map(|port| ("HA port", port));
        [("port", self.remoting)].into_iter().chain(fast).chain(ha).chain([("health port", self.health)])
    }
}

/// Returns a member's ports; `replicas` is the number of members per broker group, `offset` is added to
/// every port.
///
/// # Errors
/// The member's name and port when the offset pushes it past 65535.
pub fn ports(member: &Member, replicas: u32, offset: u16) -> Result<Ports, PortTooLarge> {
    let place = |base: u16, index: u32| {
        let port = u32::from(base) + index + u32::from(offset);
        u16::try_from(port).map_err(|_| PortTooLarge { member: member.name.clone(), port, offset })
    };
    match member.role {
        Role::NameServer => Ok(Ports {
            remoting: place(NAME_SERVER, member.ordinal)?,
            fast: None,
            ha: None,
            health: place(NAME_SERVER_HEALTH, member.ordinal)?,
        }),
        Role::Broker => {
            let index = BROKER_STEP * (member.group * replicas + member.ordinal);
            Ok(Ports {
                remoting: place(BROKER, index)?,
                fast: Some(place(BROKER - 2, index)?),
                ha: Some(place(BROKER + 1, index)?),
                health: place(BROKER + 3, index)?,
            })
        }
    }
}

/// Returns the loopback address of a port.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A port that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{member} would need port {port}, past 65535; use a port offset smaller than {offset}, at most {LARGEST_OFFSET}"
)]
pub struct PortTooLarge {
    pub member: String,
    pub port: u32,
    pub offset: u16,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn member(role: Role, group: u32, ordinal: u32) -> Member {
        Member { name: "m".to_owned(), role, group, ordinal, config: BTreeMap::new() }
    }

    #[test]
    fn members_get_rocketmqs_usual_ports_and_those_after_them() {
        let name_server = |remoting, health| Ports { remoting, fast: None, ha: None, health };
        let broker = |remoting, fast, ha, health| Ports { remoting, fast: Some(fast), ha: Some(ha), health };
        let cases = [
            (member(Role::NameServer, 0, 0), 1, 0, name_server(9876, 9776)),
            (member(Role::NameServer, 0, 8), 1, 0, name_server(9884, 9784)),
            (member(Role::Broker, 0, 0), 1, 0, broker(10911, 10909, 10912, 10914)),
            (member(Role::Broker, 1, 0), 1, 0, broker(10931, 10929, 10932, 10934)),
            (member(Role::Broker, 2, 1), 3, 0, broker(11051, 11049, 11052, 11054)),
            (member(Role::Broker, 0, 0), 1, 1000, broker(11911, 11909, 11912, 11914)),
        ];
        for (member, replicas, offset, expected) in cases {
            assert_eq!(ports(&member, replicas, offset), Ok(expected), "{member:?}");
        }
    }

    #[test]
    fn the_largest_cluster_at_the_largest_offset_has_ports() {
        assert!(ports(&member(Role::Broker, 63, 4), 5, LARGEST_OFFSET).is_ok());
    }

    #[test]
    fn a_port_that_does_not_exist_is_refused_with_the_remedy() {
        let refused = ports(&member(Role::Broker, 0, 0), 1, 60_000).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "m would need port 70911, past 65535; use a port offset smaller than 60000, at most 48000"
        );
    }
}
