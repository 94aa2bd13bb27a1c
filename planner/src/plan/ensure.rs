//! What has to be written so that children are what they should be: those that are missing, those that were meant
//! differently, and those that somebody changed where we have a say. What others added stays.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::facts::Observed;
use crate::labels::INTENT_HASH;
use crate::object::Object;

/// Returns why a child has to be written again.
pub(crate) fn difference(object: &Object, observed: &Observed) -> Option<String> {
    let hash =
        |json: &Value| json.pointer("/metadata/annotations")?.get(INTENT_HASH)?.as_str().map(str::to_owned);
    if hash(&object.json) != hash(&observed.json) {
        return Some(format!("{} is to be different", object.reference));
    }
    let place = first_difference(&object.json, &observed.json, "")?;
    Some(format!("{}: somebody changed {place}", object.reference))
}

/// Returns the first place where a child is not what it should be. More than that is no difference.
pub fn drift(object: &Object, json: &Value) -> Option<String> {
    first_difference(&object.json, json, "")
}

/// Returns the first place where what is observed is not what is wanted. More than what is wanted is no difference.
pub(crate) fn first_difference(wanted: &Value, observed: &Value, path: &str) -> Option<String> {
    match (wanted, observed) {
        (Value::Object(wanted), Value::Object(observed)) => wanted.iter().find_map(|(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            first_difference(value, observed.get(key).unwrap_or(&Value::Null), &path)
        }),
        // Others may add to such a list, and its order is nobody's.
        (Value::Array(wanted), Value::Array(observed)) if key_of(wanted).is_some() => {
            let key = key_of(wanted).unwrap_or_default();
            wanted.iter().find_map(|wanted| {
                let path = format!("{path}[{}]", wanted[key].as_str().unwrap_or_default());
                let same = observed.iter().find(|observed| observed[key] == wanted[key]);
                first_difference(wanted, same.unwrap_or(&Value::Null), &path)
            })
        }
        (Value::Array(wanted), Value::Array(observed)) if wanted.len() == observed.len() => {
            let pairs = wanted.iter().zip(observed).enumerate();
            pairs.into_iter().find_map(|(place, (wanted, observed))| {
                first_difference(wanted, observed, &format!("{path}[{place}]"))
            })
        }
        // Kubernetes leaves out what is empty.
        (wanted, Value::Null) if is_empty(wanted) => None,
        (Value::String(wanted), Value::String(observed)) if same_amount(wanted, observed) => None,
        _ if wanted == observed => None,
        _ => Some(path.to_owned()),
    }
}

/// What tells the entries of a list apart where Kubernetes merges it, entry by entry; other lists are replaced as a whole.
fn key_of(list: &[Value]) -> Option<&'static str> {
    let keys = ["mountPath", "uid", "name"];
    let is_key = |key: &&str| {
        let values: BTreeSet<&str> = list.iter().filter_map(|entry| entry.get(*key)?.as_str()).collect();
        !list.is_empty() && values.len() == list.len()
    };
    keys.into_iter().find(is_key)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Number(_) => false,
    }
}

/// Kubernetes writes amounts its own way: `0.5` becomes `500m`, `1024Mi` becomes `1Gi`.
pub fn same_amount(left: &str, right: &str) -> bool {
    left == right
        || matches!((thousandths(left), thousandths(right)), (Some(left), Some(right)) if left == right)
}

fn thousandths(text: &str) -> Option<u128> {
    if let Some(milli) = text.strip_suffix('m') {
        return milli.parse().ok();
    }
    match text.split_once('.') {
        Some((whole, fraction))
            if fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            Some(whole.parse::<u128>().ok()? * 1_000 + format!("{fraction:0<3}").parse::<u128>().ok()?)
        }
        _ => manifest::units::parse_quantity(text).map(|size| u128::from(size.0) * 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn others_may_add_to_a_list_whose_entries_have_names() {
        let port = |name: &str, port: u16| json!({ "name": name, "port": port });
        let wanted = json!([port("a", 1), port("b", 2)]);
        let cases = [
            (json!([port("a", 1), port("b", 2)]), None),
            (json!([port("theirs", 9), port("b", 2), port("a", 1)]), None),
            // Who looks for a name takes the first.
            (json!([port("a", 9), port("a", 1), port("b", 2)]), Some("ports[a].port")),
            (json!([port("a", 1)]), Some("ports[b]")),
            (json!([port("a", 1), port("b", 3)]), Some("ports[b].port")),
        ];
        for (observed, place) in cases {
            assert_eq!(first_difference(&wanted, &observed, "ports").as_deref(), place, "{observed}");
        }
        let mounts = json!([{ "name": "v", "mountPath": "/a" }, { "name": "v", "mountPath": "/b" }]);
        assert_eq!(first_difference(&mounts, &mounts, ""), None);
        let peers = json!([{ "podSelector": {} }]);
        let more = json!([{ "podSelector": {} }, { "namespaceSelector": {} }]);
        assert_eq!(first_difference(&peers, &more, "from").as_deref(), Some("from"));
    }

    #[test]
    fn only_what_we_have_a_say_in_is_compared() {
        let wanted =
            json!({ "a": { "b": [{ "c": 1 }], "empty": {}, "no": false }, "cpu": "0.5", "memory": "1024Mi" });
        let same =
            json!({ "a": { "b": [{ "c": 1, "default": 2 }], "theirs": 3 }, "cpu": "500m", "memory": "1Gi" });
        assert_eq!(first_difference(&wanted, &same, ""), None);
        let cases = [
            (json!({ "a": { "b": [{ "c": 2 }] }, "cpu": "500m", "memory": "1Gi" }), "a.b[0].c"),
            (json!({ "a": { "b": [{ "c": 1 }, {}] }, "cpu": "500m", "memory": "1Gi" }), "a.b"),
            (json!({ "a": { "b": [{ "c": 1 }] }, "cpu": "501m", "memory": "1Gi" }), "cpu"),
            (json!({ "a": { "b": [{ "c": 1 }], "no": true }, "cpu": "0.5", "memory": "1Gi" }), "a.no"),
            (json!({ "cpu": "0.5", "memory": "1Gi" }), "a"),
        ];
        for (observed, place) in cases {
            assert_eq!(first_difference(&wanted, &observed, "").as_deref(), Some(place), "{observed}");
        }
    }
}
