//! GET_BROKER_RUNTIME_INFO (28): the keys of P§3.5 that this broker can fill truthfully.

use std::sync::atomic::Ordering;
use std::time::Instant;

use protocol::bodies::kv_table::KvTable;
use protocol::json::JsonBody;
use remoting::handler::Reply;

use crate::broker::Broker;
use crate::refusal::Refusal;

/// Returns what tools show of a broker.
pub fn info(broker: &Broker, reply: &mut Reply) -> Result<(), Refusal> {
    let store = &broker.store;
    let mut table = KvTable::default();
    let mut put = |key: &str, value: String| _ = table.table.insert(key.to_owned(), value);
    put("brokerVersionDesc", "V5_3_3".to_owned());
    put("brokerVersion", protocol::header::VERSION.to_string());
    put("brokerActive", (!broker.is_stopping()).to_string());
    put("bootTimestamp", broker.boot_ms.to_string());
    let [put_rate, got, found, missed] = broker.rates.per_second(Instant::now()).map(three);
    put("putTps", put_rate);
    put("getTransferredTps", got.clone());
    // Older readers look for it under a misspelt name.
    put("getTransferedTps", got);
    put("getTotalTps", three(broker.rates.pulls_per_second(Instant::now())));
    put("getFoundTps", found);
    put("getMissTps", missed);
    put("putMessageTimesTotal", broker.rates.put.load(Ordering::Relaxed).to_string());
    put("commitLogMinOffset", store.begin().to_string());
    put("commitLogMaxOffset", store.written().to_string());
    put("commitLogDiskRatio", (store.used_percent() as f64 / 100.0).to_string());
    put("consumeQueueDiskRatio", (store.used_percent() as f64 / 100.0).to_string());
    // Index entries are made in the append: nothing is ever behind.
    put("dispatchBehindBytes", "0".to_owned());
    put("remainHowManyDataToFlush", format!("{} B", store.written() - store.flushed_offset()));
    put("runtime", runtime_text(crate::broker::now_ms() - broker.boot_ms));
    reply.body = table.encode();
    Ok(())
}

/// Three numbers: over 10 s, a minute, ten minutes.
fn three(rates: [f64; 3]) -> String {
    format!("{:.1} {:.1} {:.1}", rates[0], rates[1], rates[2])
}

fn runtime_text(ms: i64) -> String {
    let s = ms.max(0) / 1000;
    format!("[ {} days, {} hours, {} minutes, {} seconds ]", s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_a_broker_runs_is_told_in_javas_words() {
        assert_eq!(runtime_text(90_061_000), "[ 1 days, 1 hours, 1 minutes, 1 seconds ]");
    }
}
