//! The server's own settings: 318 changes the live ones, 319 shows all.

use daemon::config;
use tracing::info;

use crate::config::{Config, Live};
use crate::name_server::NameServer;
use crate::persist;
use crate::refusal::Refusal;

/// 318: changes live settings, all of the text or none. Written to `configStorePath`, if there is one.
///
/// # Errors
/// [`Refusal::BlackListed`], [`Refusal::Setting`]; nothing has changed.
pub fn update(server: &NameServer, text: &[u8]) -> Result<(), Refusal> {
    let setting = |error: &dyn std::fmt::Display| Refusal::Setting(error.to_string());
    let wanted = config::parse(&String::from_utf8_lossy(text)).map_err(|error| setting(&error))?;
    if wanted.is_empty() {
        return Ok(());
    }
    let settings = server.settings();
    if wanted.iter().any(|(key, _)| settings.is_black_listed(key)) {
        return Err(Refusal::BlackListed);
    }
    if let Some((key, value)) = wanted.iter().find(|(key, _)| !Live::KEYS.contains(&key.as_str())) {
        let live = Live::KEYS.join(", ");
        return Err(Refusal::Setting(format!(
            "{key}={value}: cannot be changed while the name server runs; allowed are {live}"
        )));
    }
    let mut pairs = settings.to_properties();
    pairs.extend(wanted.iter().cloned());
    let changed = Config::from_properties(&pairs).map_err(|error| setting(&error))?;
    if let Some(path) = &changed.config_store_path {
        let text = config::write(&changed.to_properties());
        persist::blocking(|| persist::replace(path, text.as_bytes())).map_err(|error| setting(&error))?;
    }
    server.set_settings(changed);
    for (key, value) in wanted {
        info!(key, value, "setting changed");
    }
    Ok(())
}

/// 319: every setting as text.
pub fn show(server: &NameServer) -> String {
    config::write(&server.settings().to_properties())
}
