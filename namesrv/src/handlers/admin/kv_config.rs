//! The KV configuration: 100 put, 101 get, 102 delete, 219 list.

use protocol::bodies::kv_table::KvTable;
use protocol::requests::{KvConfigKey, KvConfigReply, KvNamespace, PutKvConfig};
use tracing::info;

use crate::name_server::NameServer;
use crate::refusal::Refusal;

/// 100: durable when answered.
///
/// # Errors
/// [`Refusal::KvChange`]; the old value stays.
pub fn put(server: &NameServer, request: &PutKvConfig<'_>) -> Result<(), Refusal> {
    server.kv.put(&request.namespace, &request.key, &request.value)?;
    info!(namespace = %request.namespace, key = %request.key, "kv config put");
    Ok(())
}

/// 101.
///
/// # Errors
/// [`Refusal::NoConfigItem`]
pub fn get(server: &NameServer, request: &KvConfigKey<'_>) -> Result<KvConfigReply<'static>, Refusal> {
    let value = server.kv.get(&request.namespace, &request.key).ok_or_else(|| Refusal::NoConfigItem {
        namespace: request.namespace.clone().into_owned(),
        key: request.key.clone().into_owned(),
    })?;
    Ok(KvConfigReply { value: Some(value.into()) })
}

/// 102: durable when answered; deleting what is not there succeeds.
///
/// # Errors
/// [`Refusal::KvChange`]; the value stays.
pub fn delete(server: &NameServer, request: &KvConfigKey<'_>) -> Result<(), Refusal> {
    server.kv.delete(&request.namespace, &request.key)?;
    info!(namespace = %request.namespace, key = %request.key, "kv config deleted");
    Ok(())
}

/// 219.
///
/// # Errors
/// [`Refusal::NoNamespace`]
pub fn list(server: &NameServer, request: &KvNamespace<'_>) -> Result<KvTable, Refusal> {
    let missing = || Refusal::NoNamespace(request.namespace.clone().into_owned());
    server.kv.namespace(&request.namespace).ok_or_else(missing)
}
