//! Where the listeners of one broker are reached: `internal=10.0.0.1:10911,external=mq.example.com:20911`. A broker says
//! it with its registration, and a name server answers each client with the addresses of the listener it came by.

use std::collections::BTreeMap;
use std::fmt;

/// The listener that brokers and clients inside use; its address is the one a broker registers with.
pub const INTERNAL: &str = "internal";
/// Listeners of a broker at most.
pub const MAX_LISTENERS: usize = 8;
/// Bytes of a listener's name at most.
const MAX_NAME: usize = 12;
/// Bytes of an address at most: the longest host name, a colon and a port.
const MAX_ADDRESS: usize = 253 + 6;

/// Listener -> `host:port`. Its text, as `Display` writes it, has no more than [`MAX_LISTENERS`] entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerAddresses(BTreeMap<String, String>);

/// Text that says nothing about listeners.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadListeners {
    /// Not `name=host:port`.
    #[error("`{0}` is not name=host:port")]
    Entry(String),
    /// A name that no listener can have.
    #[error(
        "`{0}` is no name of a listener: a small letter, then small letters and digits, {MAX_NAME} at most"
    )]
    Name(String),
    /// An address that nobody can connect to.
    #[error("`{address}` of listener {listener} is no host:port")]
    Address {
        /// Whose.
        listener: String,
        /// What was given.
        address: String,
    },
    /// Two addresses of one listener.
    #[error("listener {0} is there twice")]
    Twice(String),
    /// Too many.
    #[error("more than {MAX_LISTENERS} listeners")]
    TooMany,
}

impl ListenerAddresses {
    /// Reads `name=host:port`, several joined by commas; nothing at all is no listener.
    ///
    /// # Errors
    /// [`BadListeners`], for the first entry that cannot be used.
    pub fn parse(text: &str) -> Result<Self, BadListeners> {
        let mut found = BTreeMap::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (name, address) = entry.split_once('=').ok_or_else(|| BadListeners::Entry(shown(entry)))?;
            if !is_listener_name(name) {
                return Err(BadListeners::Name(shown(name)));
            }
            if !is_address(address) {
                return Err(BadListeners::Address { listener: name.to_owned(), address: shown(address) });
            }
            if found.len() == MAX_LISTENERS {
                return Err(BadListeners::TooMany);
            }
            if found.insert(name.to_owned(), address.to_owned()).is_some() {
                return Err(BadListeners::Twice(name.to_owned()));
            }
        }
        Ok(Self(found))
    }

    /// Returns the address of a listener.
    #[must_use]
    pub fn get(&self, listener: &str) -> Option<&str> {
        self.0.get(listener).map(String::as_str)
    }

    /// Returns all but one.
    #[must_use]
    pub fn without(mut self, listener: &str) -> Self {
        self.0.remove(listener);
        self
    }

    /// Says whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for ListenerAddresses {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, address)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(out, "{comma}{name}={address}")?;
        }
        Ok(())
    }
}

/// Says whether a listener can have this name: a small letter, then small letters and digits, twelve at most.
#[must_use]
pub fn is_listener_name(name: &str) -> bool {
    let lower = |byte: u8| byte.is_ascii_lowercase();
    name.len() <= MAX_NAME
        && name.bytes().next().is_some_and(lower)
        && name.bytes().all(|byte| lower(byte) || byte.is_ascii_digit())
}

/// A host name, an IPv4 address or an IPv6 address in brackets, with a port.
fn is_address(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':').filter(|_| address.len() <= MAX_ADDRESS) else {
        return false;
    };
    let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_good = match in_brackets {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            !host.is_empty() && host.bytes().all(allowed)
        }
    };
    // No sign, no spaces: other implementations read it too.
    host_is_good && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0)
}

/// Strangers' text, cut to what a log line bears.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_being_written() {
        let text = "external=mq.example.com:20911,internal=10.0.0.1:10911,six=[fd00::1]:10911";
        let listeners = ListenerAddresses::parse(text).unwrap();
        assert_eq!(listeners.to_string(), text);
        assert_eq!(listeners.get("external"), Some("mq.example.com:20911"));
        assert_eq!(listeners.get("other"), None);
        assert_eq!(listeners.without("internal").to_string(), text.replace("internal=10.0.0.1:10911,", ""));
        assert!(ListenerAddresses::parse("").unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_used_is_refused_in_words() {
        let many: Vec<_> = (0..9).map(|n| format!("l{n}=h:1")).collect();
        let long = format!("a={}:1", "h".repeat(300));
        for (text, words) in [
            ("external", "`external` is not name=host:port"),
            ("Out=h:1", "`Out` is no name of a listener"),
            ("1out=h:1", "`1out` is no name of a listener"),
            ("abcdefghijklm=h:1", "`abcdefghijklm` is no name of a listener"),
            ("=h:1", "`` is no name of a listener"),
            ("a=h", "`h` of listener a is no host:port"),
            ("a=:1", "`:1` of listener a is no host:port"),
            ("a=h:0", "`h:0` of listener a is no host:port"),
            ("a=h:+1", "`h:+1` of listener a is no host:port"),
            ("a=h:70000", "`h:70000` of listener a is no host:port"),
            ("a=fd00::1:1", "`fd00::1:1` of listener a is no host:port"),
            ("a={podIP}:1", "`{podIP}:1` of listener a is no host:port"),
            ("a=h;i:1", "`h;i:1` of listener a is no host:port"),
            (&long, "of listener a is no host:port"),
            ("a=h:1,a=h:2", "listener a is there twice"),
            (&many.join(","), "more than 8 listeners"),
        ] {
            let error = ListenerAddresses::parse(text).unwrap_err().to_string();
            assert!(error.contains(words) && error.len() < 200, "{text}: {error}");
        }
    }
}
