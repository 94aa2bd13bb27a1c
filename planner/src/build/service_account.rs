//! The account that all pods run as. It may do nothing, and no pod gets its token.

use serde_json::json;

use super::object;
use crate::desired::Desired;
use crate::labels::Part;
use crate::object::{Kind, Object};

/// Returns the account. Where a manifest names another one, that one is used and this one is there all the same.
pub(super) fn build(desired: &Desired) -> Object {
    let body = json!({ "automountServiceAccountToken": false });
    object(desired, Part::Cluster, Kind::ServiceAccount, &desired.names.cluster, body)
}

/// Returns the name of the account that pods run as.
pub(super) fn name<'a>(desired: &'a Desired) -> &'a str {
    desired.spec().service_account_name.as_deref().unwrap_or(&desired.names.cluster)
}
