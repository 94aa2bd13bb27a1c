//! Numbers that the environment may give to a ring: how often, how much. `docs/chaos.md` lists them.

/// Returns the number in the variable `name`, `default` when it is not set.
///
/// # Panics
/// When it is no number.
pub fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}
