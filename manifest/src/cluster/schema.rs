//! Schemas of texts that are amounts, and of Kubernetes objects that are passed on. Nothing here checks a value.

use schemars::{Schema, SchemaGenerator, json_schema};

/// `72h`, `1h30m`: see [`crate::units::parse_duration`].
pub(crate) const DURATION_PATTERN: &str = "^([0-9]+(ms|s|m|h))+$";
/// `10Gi`: see [`crate::units::parse_quantity`].
pub(crate) const QUANTITY_PATTERN: &str =
    r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[kMGTPE]|[eE]\+?[0-9]+)?$";

const LONGEST_AMOUNT: u32 = 32;

/// Returns the schema of a duration.
pub(crate) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": DURATION_PATTERN, "maxLength": LONGEST_AMOUNT })
}

/// Returns the schema of a quantity. A plain string, not int-or-string, so that rules can compare it.
pub(crate) fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": QUANTITY_PATTERN, "maxLength": LONGEST_AMOUNT })
}

/// Returns the schema of a Kubernetes object that is passed on as it is.
pub(crate) fn object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// Returns the schema of a list of Kubernetes objects that are passed on as they are.
pub(crate) fn objects(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "maxItems": 64, "items": object(generator) })
}
