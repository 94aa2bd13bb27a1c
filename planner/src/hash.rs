//! A hash of JSON that is the same on every machine, in every version, whatever the order of keys in memory.

use serde_json::Value;

const START: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// Returns 16 hexadecimal digits (FNV-1a, 64 bits): enough to tell versions of one object apart.
pub fn hash(value: &Value) -> String {
    let mut state = START;
    add_value(&mut state, value);
    format!("{state:016x}")
}

/// Returns 8 hexadecimal digits, for names.
pub fn hash8(value: &Value) -> String {
    let long = hash(value);
    let (high, low) = long.split_at(8);
    let part = |text: &str| u32::from_str_radix(text, 16).unwrap_or_default();
    format!("{:08x}", part(high) ^ part(low))
}

fn add_value(state: &mut u64, value: &Value) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            add(state, b"{");
            for key in keys {
                add_text(state, key);
                add_value(state, &map[key]);
            }
            add(state, b"}");
        }
        Value::Array(list) => {
            add(state, b"[");
            list.iter().for_each(|entry| add_value(state, entry));
            add(state, b"]");
        }
        Value::String(text) => add_text(state, text),
        other => add(state, format!("{other};").as_bytes()),
    }
}

/// With its length, so that two texts in a row are not two others.
fn add_text(state: &mut u64, text: &str) {
    add(state, format!("\"{}:", text.len()).as_bytes());
    add(state, text.as_bytes());
}

fn add(state: &mut u64, bytes: &[u8]) {
    for byte in bytes {
        *state = (*state ^ u64::from(*byte)).wrapping_mul(PRIME);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_hash_is_of_the_content_and_stays() {
        assert_eq!(hash(&json!({ "a": 1, "b": [true, null] })), hash(&json!({ "b": [true, null], "a": 1 })));
        assert_ne!(hash(&json!(["ab", "c"])), hash(&json!(["a", "bc"])));
        assert_ne!(hash(&json!("1")), hash(&json!(1)));
        // Children carry it: another function would write all of them again.
        assert_eq!(hash(&json!({ "a": "b" })), "6cec9fd9e492b796");
        assert_eq!(hash8(&json!({ "a": "b" })).len(), 8);
    }
}
