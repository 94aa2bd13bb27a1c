//! Subscription groups: 200, 201, 207, 225, 352.

use protocol::bodies::subscription_group::{
    SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupWrapper,
};
use protocol::codes::ResponseCode;
use protocol::json::JsonBody;
use protocol::requests::{DecodeExt, DeleteSubscriptionGroup, GroupName};
use remoting::handler::{Reply, Request};

use crate::broker::{Broker, OffsetsToo};
use crate::groups::check_name;
use crate::metadata::MAX_CONFIG;
use crate::refusal::Refusal;
use crate::topics::MAX_QUEUES;

/// Makes or changes a group.
pub fn put(broker: &Broker, request: &Request<'_>) -> Result<(), Refusal> {
    put_config(broker, SubscriptionGroupConfig::decode(request.body)?)
}

/// Makes or changes several groups.
pub fn put_list(broker: &Broker, request: &Request<'_>) -> Result<(), Refusal> {
    SubscriptionGroupList::decode(request.body)?
        .group_config_list
        .into_iter()
        .try_for_each(|g| put_config(broker, g))
}

fn put_config(broker: &Broker, group: SubscriptionGroupConfig) -> Result<(), Refusal> {
    check_name(&group.group_name).map_err(|e| Refusal::new(ResponseCode::INVALID_PARAMETER, e))?;
    if !(0..=MAX_QUEUES).contains(&group.retry_queue_nums) {
        let remark = format!("retryQueueNums {} is not between 0 and {MAX_QUEUES}", group.retry_queue_nums);
        return Err(Refusal::new(ResponseCode::INVALID_PARAMETER, remark));
    }
    let bytes = group.encode().len();
    if bytes > MAX_CONFIG {
        let remark =
            format!("group[{}]: {bytes} bytes of settings are more than {MAX_CONFIG}", group.group_name);
        return Err(Refusal::new(ResponseCode::INVALID_PARAMETER, remark));
    }
    broker.put_group(group)
}

/// Returns all groups.
pub fn all(broker: &Broker, reply: &mut Reply) -> Result<(), Refusal> {
    let (subscription_group_table, data_version) = broker.groups.all();
    reply.body =
        SubscriptionGroupWrapper { data_version, subscription_group_table, ..Default::default() }.encode();
    Ok(())
}

/// Returns one group.
pub fn get(broker: &Broker, request: &Request<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    let r = GroupName::decode(&request.header.ext)?;
    let missing = || {
        Refusal::new(
            ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
            format!("No group in this broker. group: {}", r.group),
        )
    };
    reply.body = broker.groups.get(&r.group).ok_or_else(missing)?.encode();
    Ok(())
}

/// Deletes a group, with its offsets if that is asked for.
pub fn delete(broker: &Broker, request: &Request<'_>) -> Result<(), Refusal> {
    let r = DeleteSubscriptionGroup::decode(&request.header.ext)?;
    broker.delete_group(&r.group_name, if r.clean_offset { OffsetsToo::Yes } else { OffsetsToo::No })
}
