use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;

#[test]
fn strict_and_loose_texts_give_the_same_tree() {
    let wanted = json!({"a": {"0": "x", "1": "y"}, "b": [1, -2, 2.5, true, null], "c": "é\n"});
    for text in [
        r#"{"a":{"0":"x","1":"y"},"b":[1,-2,2.5,true,null],"c":"é\n"}"#,
        r#"{a:{0:"x",1:'y'},b:[1,-2,2.5,true,null],'c':"\u00e9\n"}"#,
        "\u{feff} { a : {0:'x',,1:'y',}, /* note */ b:[1,-2,+2.5,true,null,], // rest\n c:'\\xe9\\n' , } ",
        r#"{,a:{0:"x",1:"y",},"b":[,1L,-2,2.5D,true,undefined],"c":"é\n"}"#,
    ] {
        assert_eq!(parse(text.as_bytes()), Ok(wanted.clone()), "{text}");
    }
}

#[test]
fn an_object_as_key_becomes_its_canonical_text() {
    let text = br#"{"offsetTable":{{"topic":"T","queueId":0, brokerName:'b'}:{"maxOffset":7}},"tps":0.0}"#;
    let wanted = json!({
        "offsetTable": {r#"{"brokerName":"b","queueId":0,"topic":"T"}"#: {"maxOffset": 7}},
        "tps": 0.0,
    });
    assert_eq!(parse(text), Ok(wanted));
}

#[test]
fn a_key_inside_a_key_is_refused_because_its_escapes_would_double_at_every_level() {
    let refusal = JsonError::Syntax { at: 2, expected: "a plain name inside a key" };
    assert_eq!(parse(b"{{{1:1}:1}:1}"), Err(refusal));
}

#[test]
fn every_escape_is_understood() {
    let text = br#"["\"\\\/\b\f\n\r\t", '\'', "\ud83d\ude00", "\ud83dx", "\u0041", "\v\0"]"#;
    let wanted = json!(["\"\\/\u{8}\u{c}\n\r\t", "'", "😀", "\u{fffd}x", "A", "\u{b}\0"]);
    assert_eq!(parse(text), Ok(wanted));
}

#[test]
fn malformed_texts_are_refused_with_their_place() {
    for (text, at, expected) in [
        ("", 0, "a value"),
        ("   ", 3, "a value"),
        ("{", 1, "a name"),
        ("{a", 2, "':' after a name"),
        ("{a:1 b:2}", 5, "',' or '}'"),
        ("{:1}", 1, "a name"),
        ("[1 2]", 3, "',' or ']'"),
        ("[1,2", 4, "',' or ']'"),
        ("\"abc", 1, "the end of a string"),
        ("'\\", 2, "an escaped character"),
        ("'\\u12'", 3, "hexadecimal digits"),
        ("'\\u1\u{e9}9'", 3, "hexadecimal digits"),
        ("--", 0, "a number"),
        ("truth", 0, "a value"),
        ("{} {}", 3, "end of text"),
    ] {
        assert_eq!(parse(text.as_bytes()), Err(JsonError::Syntax { at, expected }), "{text:?}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert_eq!(parse(nested(MAX_DEPTH + 1).as_bytes()), Err(JsonError::TooDeep { at: MAX_DEPTH }));
    let bomb = "{a:".repeat(1_000_000);
    assert!(matches!(parse(bomb.as_bytes()), Err(JsonError::TooDeep { .. })));
}

#[test]
fn the_number_of_values_is_bounded() {
    let text = format!("[{}]", "0,".repeat(MAX_VALUES));
    assert!(matches!(parse(text.as_bytes()), Err(JsonError::TooLarge { .. })));
}

#[test]
fn references_are_replaced_by_what_they_name() {
    let text = br#"{"consumers":[{"name":"G1","subs":[{"topic":"T"}]},{"name":"G2","subs":{"$ref":"$.consumers[0].subs"}}]}"#;
    let wanted = json!({"consumers": [
        {"name": "G1", "subs": [{"topic": "T"}]},
        {"name": "G2", "subs": [{"topic": "T"}]},
    ]});
    assert_eq!(parse(text), Ok(wanted));
}

#[test]
fn references_in_circles_and_to_nowhere_become_null() {
    for path in ["$", "@", "..", "$.missing", "$.list[9]", "$.list[x", "$.a.b", "", "$.", "$x"] {
        let text = format!(r#"{{"a":{{"$ref":"{path}"}},"list":[1]}}"#);
        assert_eq!(parse(text.as_bytes()), Ok(json!({"a": null, "list": [1]})), "{path}");
    }
}

#[test]
fn references_may_name_protected_and_quoted_names() {
    for path in [r"$.x.T\\@G", r"$.x['T@G']", r"$['x'].T\\@G"] {
        let text = format!(r#"{{"a":{{"$ref":"{path}"}},"x":{{"T@G":1}}}}"#);
        assert_eq!(parse(text.as_bytes()), Ok(json!({"a": 1, "x": {"T@G": 1}})), "{path}");
    }
}

#[test]
fn references_that_multiply_stop_at_the_limit() {
    // Each level names the one below ten times: 10^30 values if nobody counted.
    let mut text = String::from(r#"{"l0":[1]"#);
    for level in 1..30 {
        let one = format!(r#"{{"$ref":"$.l{}"}}"#, level - 1);
        text.push_str(&format!(r#","l{level}":[{}]"#, vec![one; 10].join(",")));
    }
    text.push('}');
    assert!(parse(text.as_bytes()).is_ok());
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Sample {
    by_id: BTreeMap<i64, String>,
    #[serde(deserialize_with = "object_keys")]
    by_queue: BTreeMap<Queue, i64>,
    flag: bool,
    kind: Kind,
    maybe: Option<i32>,
    number: i64,
    rate: f64,
    text: String,
}

#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
struct Queue {
    id: i32,
    topic: String,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Kind {
    #[default]
    FirstKind,
    SecondKind,
}

fn sample() -> Sample {
    Sample {
        by_id: BTreeMap::from([(0, "zero".to_owned()), (-1, "é\u{1f600}".to_owned())]),
        by_queue: BTreeMap::from([(Queue { id: 3, topic: "T\"".to_owned() }, 9)]),
        flag: true,
        kind: Kind::SecondKind,
        maybe: None,
        number: i64::MIN,
        rate: 1e20,
        text: "a\\\u{1}\u{2028}".to_owned(),
    }
}

#[test]
fn the_java_dialect_writes_number_keys_bare_and_leaves_nulls_out() {
    let wanted = concat!(
        r#"{"byId":{-1:"é😀",0:"zero"},"byQueue":{{"id":3,"topic":"T\""}:9},"flag":true,"kind":"SECOND_KIND","#,
        r#""number":-9223372036854775808,"rate":100000000000000000000.0,"text":"a\\\u0001\u2028"}"#,
    );
    assert_eq!(String::from_utf8(to_vec(&sample(), Dialect::Java)).unwrap(), wanted);
}

#[test]
fn the_standard_dialect_quotes_number_keys_and_stays_in_ascii() {
    let body = BTreeMap::from([(0, Some("é😀")), (1, None)]);
    assert_eq!(to_vec(&body, Dialect::Standard), br#"{"0":"\u00E9\uD83D\uDE00"}"#);
}

#[test]
fn both_dialects_are_read_back() {
    for dialect in [Dialect::Java, Dialect::Standard] {
        assert_eq!(from_slice::<Sample>(&to_vec(&sample(), dialect)), Ok(sample()), "{dialect:?}");
    }
}

#[test]
fn values_are_cast_as_fastjson_casts_them() {
    let text = br#"{"number":"12","rate":"0.5","flag":"true","kind":1,"text":7,"maybe":"3","byId":{1:2}}"#;
    let wanted = Sample {
        number: 12,
        rate: 0.5,
        flag: true,
        kind: Kind::SecondKind,
        text: "7".to_owned(),
        maybe: Some(3),
        by_id: BTreeMap::from([(1, "2".to_owned())]),
        ..Sample::default()
    };
    assert_eq!(from_slice(text), Ok(wanted));
}

#[test]
fn nulls_and_unknown_fields_leave_the_defaults() {
    let text = br#"{"number":null,"byId":null,"text":null,"kind":null,"maybe":null,"later":{"x":[1]}}"#;
    assert_eq!(from_slice(text), Ok(Sample::default()));
}

#[test]
fn values_that_do_not_fit_are_refused() {
    for (text, message) in [
        (r#"{"number":"x"}"#, "read json: expected a number in range, found text of 1 bytes"),
        (r#"{"number":[1]}"#, "read json: expected a number, found an array"),
        (r#"{"flag":{}}"#, "read json: expected true or false, found an object"),
        (r#"{"kind":2}"#, "read json: expected an enum's ordinal, found 2"),
        (r#"{"byId":{"x":"y"}}"#, "read json: expected a number as key"),
    ] {
        let refusal = from_slice::<Sample>(text.as_bytes()).unwrap_err();
        assert_eq!(refusal.to_string(), message, "{text}");
    }
}

#[test]
fn a_quoted_object_key_is_read_like_a_bare_one() {
    let wanted = Sample {
        by_queue: BTreeMap::from([(Queue { id: 1, topic: "T".to_owned() }, 2)]),
        ..Sample::default()
    };
    assert_eq!(from_slice(br#"{"byQueue":{"{\"id\":1,\"topic\":\"T\"}":2}}"#).as_ref(), Ok(&wanted));
    assert_eq!(from_slice(br#"{"byQueue":{{"id":1,"topic":"T"}:2}}"#).as_ref(), Ok(&wanted));
}

#[test]
fn a_reference_in_strict_json_is_not_swallowed_as_an_unknown_field() {
    let text = br#"{"a":{"number":5},"b":{"$ref":"$.a"}}"#;
    let bodies: BTreeMap<String, Sample> = from_slice(text).unwrap();
    assert_eq!(bodies["b"], Sample { number: 5, ..Sample::default() });
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(entries) => 1 + entries.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn any_tree() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    scalar.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,6}", inner, 0..6)
                .prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_within_the_depth(text in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(tree) = parse(&text) {
            prop_assert!(depth(&tree) <= MAX_DEPTH);
        }
    }

    #[test]
    fn any_text_near_the_grammar_is_read_or_refused_within_the_depth(
        text in r#"[\{\}\[\]:,"'0-9a-f\\u$ .\-/*]{0,200}"#
    ) {
        if let Ok(tree) = parse(text.as_bytes()) {
            prop_assert!(depth(&tree) <= MAX_DEPTH);
        }
        let _ = from_slice::<Sample>(text.as_bytes());
    }

    #[test]
    fn any_tree_survives_both_dialects(tree in any_tree()) {
        for dialect in [Dialect::Java, Dialect::Standard] {
            prop_assert_eq!(parse(&to_vec(&tree, dialect)), Ok(tree.clone()));
        }
    }

    #[test]
    fn strict_texts_are_read_as_serde_json_reads_them(tree in any_tree()) {
        prop_assert_eq!(read::read(tree.to_string().as_bytes()), Ok(tree));
    }
}

proptest! {
    // Each case may fill its whole budget of values, so a few cases do.
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn any_references_end(paths in prop::collection::vec(r"\$(\.[ab](\[[0-3]\])?){0,3}", 0..8)) {
        let items: Vec<Value> = paths.iter().map(|path| json!({"$ref": path})).collect();
        let text = json!({"a": items, "b": {"a": items, "b": [1]}}).to_string();
        prop_assert!(depth(&parse(text.as_bytes()).unwrap()) <= MAX_DEPTH + 1);
    }
}
