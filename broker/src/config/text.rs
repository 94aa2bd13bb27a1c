//! All settings of a broker as text, as GET_BROKER_CONFIG (26) shows them and [`Config::from_properties`] reads them.

use std::path::Path;
use std::time::Duration;

use daemon::logs::LOG_FORMATS;

use super::{Config, ConnectionLimits, HaConfig};

fn path(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| path.display().to_string())
}

fn ms(duration: Duration) -> String {
    duration.as_millis().to_string()
}

impl Config {
    /// Returns every setting as [`Config::from_properties`] reads it, the live ones as they were at the start.
    pub fn to_properties(&self) -> Vec<(String, String)> {
        let hours: Vec<String> = self.delete_when.iter().map(|hour| format!("{hour:02}")).collect();
        let format = LOG_FORMATS.iter().find(|(_, f)| *f == self.log_format).map_or("text", |(word, _)| word);
        let mut pairs = vec![
            ("brokerClusterName", self.cluster.clone()),
            ("brokerName", self.name.clone()),
            ("brokerId", self.id.to_string()),
            ("bindAddress", self.bind_address.to_string()),
            ("listenPort", self.listen_port.to_string()),
            ("podIP", self.pod_ip.map_or_else(String::new, |ip| ip.to_string())),
            ("registerNameServerPeriod", ms(self.register_period)),
            ("healthPort", self.health_port.to_string()),
            ("adminPort", self.admin_port.to_string()),
            ("adminTokenFile", path(self.admin_token_file.as_deref())),
            ("storePathRootDir", self.store_dir.display().to_string()),
            ("maxUnflushedBytes", self.max_unflushed_bytes.to_string()),
            ("maxUnansweredSends", self.max_unanswered_sends.to_string()),
            ("mappedFileSizeCommitLog", self.segment_bytes.to_string()),
            ("tailCacheBytes", self.cache_bytes.to_string()),
            ("maxMessageSize", self.max_message_size.to_string()),
            ("deleteWhen", hours.join(";")),
            ("defaultTopicQueueNums", self.default_queues.to_string()),
            ("longPollingEnable", self.long_polling.to_string()),
            ("maxTransferCountOnMessageInMemory", self.max_pull_messages.to_string()),
            ("maxTransferBytesOnMessageInMemory", self.max_pull_bytes.to_string()),
            ("maxParkedPulls", self.max_parked_pulls.to_string()),
            ("accessMessageInMemoryMaxRatio", self.in_memory_ratio.to_string()),
            ("flushConsumerOffsetInterval", ms(self.offset_interval)),
            ("channelExpiredTimeout", ms(self.client_expiry)),
            ("regionId", self.region.clone()),
            ("drainTimeoutMillis", ms(self.drain_timeout)),
            ("writeGraceMillis", ms(self.write_grace)),
            ("logFormat", format.to_owned()),
        ];
        pairs.extend(self.ha.to_properties());
        pairs.extend(self.limits.to_properties());
        pairs.extend(self.live.to_properties());
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

impl HaConfig {
    fn to_properties(&self) -> [(&'static str, String); 7] {
        [
            ("haListenPort", self.listen_port.to_string()),
            ("haMasterAddress", self.master_address.clone().unwrap_or_default()),
            ("haSendHeartbeatInterval", ms(self.heartbeat)),
            ("haHousekeepingInterval", ms(self.housekeeping)),
            ("haTransferBatchSize", self.transfer_bytes.to_string()),
            ("maxHaConnections", self.max_connections.to_string()),
            ("offsetReplicationInterval", ms(self.offset_interval)),
        ]
    }
}

impl ConnectionLimits {
    fn to_properties(&self) -> [(&'static str, String); 6] {
        [
            ("maxConnections", self.max_connections.to_string()),
            ("serverChannelMaxIdleTimeSeconds", self.idle.as_secs().to_string()),
            ("frameTimeoutMillis", ms(self.frame)),
            ("writeTimeoutMillis", ms(self.write)),
            ("maxBufferedBytes", self.buffered.to_string()),
            ("maxUnansweredBytes", self.unanswered.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::from_properties(&daemon::config::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn settings_survive_being_written() {
        for text in
            ["", "brokerRole=SLAVE\nbrokerId=2\nhaMasterAddress=m:1\ndeleteWhen=03;22\nbrokerIP1=::1\n"]
        {
            let config = config(text);
            assert_eq!(Config::from_properties(&config.to_properties()), Ok(config));
        }
    }

    #[test]
    fn every_setting_is_written_as_it_was_given() {
        // Each with a value that is not its default: one that is forgotten would come back as the default.
        let given = "accessMessageInMemoryMaxRatio=41 adminPort=7 adminTokenFile=/t brokerPermission=4 expectedStoreId=s \
            listeners=internal=h:1 podIP=::2 autoCreateSubscriptionGroup=false autoCreateTopicEnable=false \
            bindAddress=::1 brokerClusterName=c brokerIP1=::1 brokerId=3 brokerName=n brokerRole=SLAVE \
            channelExpiredTimeout=1001 defaultTopicQueueNums=9 deleteWhen=05 diskMaxUsedSpaceRatio=76 \
            diskSpaceCleanForciblyRatio=86 diskSpaceWarningLevelRatio=91 drainTimeoutMillis=1 fileReservedTime=73 \
            flushConsumerOffsetInterval=101 flushDiskType=SYNC_FLUSH flushIntervalCommitLog=501 \
            frameTimeoutMillis=101 haCatchUpBytesPerSecond=65536 haHousekeepingInterval=20001 haListenPort=77 \
            haMasterAddress=m:1 haMaxTimeSlaveNotCatchup=101 haSendHeartbeatInterval=5001 haTransferBatchSize=4096 \
            healthPort=8 inSyncReplicas=2 listenPort=1026 logFormat=json logLevel=debug longPollingEnable=false \
            mappedFileSizeCommitLog=10000000 maxBufferedBytes=20000000 maxConnections=9 maxHaConnections=9 \
            maxMessageSize=1025 maxParkedPulls=9 maxTransferBytesOnMessageInMemory=4097 \
            maxTransferCountOnMessageInMemory=9 maxUnansweredBytes=1025 maxUnansweredSends=9 \
            maxUnflushedBytes=2000000 namesrvAddr=a:1;b:2 offsetReplicationInterval=10 regionId=r \
            registerNameServerPeriod=10001 serverChannelMaxIdleTimeSeconds=9 slaveReadEnable=true slaveTimeout=9 \
            storePathRootDir=/x syncFlushTimeout=9 tailCacheBytes=2000000 writeGraceMillis=9 writeTimeoutMillis=101";
        let mut given: Vec<String> = given.split_whitespace().map(str::to_owned).collect();
        let config = config(&given.join("\n"));
        assert_eq!(config.unknown, []);
        let mut written: Vec<_> =
            config.to_properties().into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        given.sort();
        written.sort();
        assert_eq!(written, given);
    }
}
