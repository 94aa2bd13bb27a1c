//! Which messages count as being in memory: those behind the last so many bytes of the log. Consumers behind them are
//! far behind (P§6.3), and groups that never committed do not begin before them.

use crate::config::Config;

/// What a slave takes off the share, as Java does: a consumer it sends back is not sent here again at once.
const SLAVE_LESS: u8 = 10;

/// Returns how many bytes of the log's end count as being in memory.
pub fn bytes(config: &Config) -> u64 {
    let less = if config.live.is_slave() { SLAVE_LESS } else { 0 };
    machine() / 100 * u64::from(config.in_memory_ratio.saturating_sub(less))
}

/// Physical memory of the machine.
fn machine() -> u64 {
    static BYTES: std::sync::LazyLock<u64> = std::sync::LazyLock::new(|| {
        let info = rustix::system::sysinfo();
        info.totalram as u64 * info.mem_unit as u64
    });
    *BYTES
}
