//! Who listens where on loopback, pure. RocketMQ's usual ports first, so that a client's defaults work.

use std::net::{Ipv4Addr, SocketAddr};

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
    /// Probes and metrics.
    pub health: u16,
    /// What only a broker has.
    pub of_broker: Option<BrokerPorts>,
}

/// The further ports of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerPorts {
    /// A second port for clients, two below the first, as RocketMQ has it.
    pub fast: u16,
    /// Where slaves connect, one above the first. A slave's own is kept free for the day when it becomes a master.
    pub ha: u16,
    /// Where the runner asks how it is.
    pub admin: u16,
}

/// Where a member stands among its like: each has ports of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    NameServer(u32),
    Broker(u32),
}

impl Ports {
    /// Returns the ports that must be free, with the word for each.
    pub fn listened(&self) -> impl Iterator<Item = (&'static str, u16)> {
        let further = self
            .of_broker
            .map(|ports| [("fast port", ports.fast), ("HA port", ports.ha), ("admin port", ports.admin)]);
        let first = [("port", self.remoting), ("health port", self.health)];
        first.into_iter().chain(further.into_iter().flatten())
    }
}

/// Returns a member's ports; `offset` is added to every port.
///
/// # Errors
/// The port when the offset pushes it past 65535.
pub fn ports(seat: Seat, offset: u16) -> Result<Ports, PortTooLarge> {
    let place = |base: u16, index: u32| {
        let port = u32::from(base).saturating_add(index).saturating_add(u32::from(offset));
        u16::try_from(port).map_err(|_| PortTooLarge { port, offset })
    };
    match seat {
        Seat::NameServer(number) => Ok(Ports {
            remoting: place(NAME_SERVER, number)?,
            health: place(NAME_SERVER_HEALTH, number)?,
            of_broker: None,
        }),
        Seat::Broker(number) => {
            let index = BROKER_STEP.saturating_mul(number);
            Ok(Ports {
                remoting: place(BROKER, index)?,
                health: place(BROKER + 3, index)?,
                of_broker: Some(BrokerPorts {
                    fast: place(BROKER - 2, index)?,
                    ha: place(BROKER + 1, index)?,
                    admin: place(BROKER + 4, index)?,
                }),
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
#[error("port {port} is past 65535; use a port offset smaller than {offset}, at most {LARGEST_OFFSET}")]
pub struct PortTooLarge {
    pub port: u32,
    pub offset: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_get_rocketmqs_usual_ports_and_those_after_them() {
        let name_server = |remoting, health| Ports { remoting, health, of_broker: None };
        let broker = |fast, remoting, ha, health, admin| Ports {
            remoting,
            health,
            of_broker: Some(BrokerPorts { fast, ha, admin }),
        };
        let cases = [
            (Seat::NameServer(0), 0, name_server(9876, 9776)),
            (Seat::NameServer(8), 0, name_server(9884, 9784)),
            (Seat::Broker(0), 0, broker(10909, 10911, 10912, 10914, 10915)),
            (Seat::Broker(1), 0, broker(10929, 10931, 10932, 10934, 10935)),
            (Seat::Broker(7), 0, broker(11049, 11051, 11052, 11054, 11055)),
            (Seat::Broker(0), 1000, broker(11909, 11911, 11912, 11914, 11915)),
        ];
        for (seat, offset, expected) in cases {
            assert_eq!(ports(seat, offset), Ok(expected), "{seat:?}");
        }
    }

    #[test]
    fn the_largest_cluster_at_the_largest_offset_has_ports() {
        assert!(ports(Seat::Broker(64 * 5 - 1), LARGEST_OFFSET).is_ok());
    }

    #[test]
    fn a_port_that_does_not_exist_is_refused_with_the_remedy() {
        let refused = ports(Seat::Broker(0), 60_000).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "port 70911 is past 65535; use a port offset smaller than 60000, at most 48000"
        );
    }
}
