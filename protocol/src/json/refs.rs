//! fastjson's references. A Java object met a second time in one tree is written as `{"$ref":"$.path.to[0].first"}`.

use serde_json::{Map, Value};

use super::{MAX_DEPTH, MAX_VALUES};

const REFERENCE: &str = "$ref";

/// Whether `text` could hold a reference at all: a cheap test that spares honest bodies the second walk.
pub(super) fn mentions_reference(text: &[u8]) -> bool {
    text.windows(REFERENCE.len()).any(|window| window == REFERENCE.as_bytes())
}

/// Returns `root` with every reference replaced by a copy of what it names. References to an enclosing object
/// (`$`, `@`, `..`) and to nothing become null: a tree cannot hold a circle. Copies count against [`MAX_VALUES`].
pub(super) fn expand(root: &Value) -> Value {
    Expansion { root, left: MAX_VALUES }.copy(root, 0)
}

struct Expansion<'a> {
    root: &'a Value,
    left: usize,
}

impl Expansion<'_> {
    fn copy(&mut self, value: &Value, depth: usize) -> Value {
        if self.left == 0 || depth > MAX_DEPTH {
            return Value::Null;
        }
        self.left -= 1;
        match value {
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.copy(item, depth + 1)).collect())
            }
            Value::Object(entries) => match reference(entries) {
                Some(path) => match follow(self.root, path) {
                    Some(target) => self.copy(target, depth + 1),
                    None => Value::Null,
                },
                None => Value::Object(
                    entries.iter().map(|(name, entry)| (name.clone(), self.copy(entry, depth + 1))).collect(),
                ),
            },
            scalar => scalar.clone(),
        }
    }
}

fn reference(entries: &Map<String, Value>) -> Option<&str> {
    if entries.len() == 1 { entries.get(REFERENCE)?.as_str() } else { None }
}

/// Walks `$.name[0].name`; a backslash protects the character after it.
fn follow<'a>(root: &'a Value, path: &str) -> Option<&'a Value> {
    let mut rest = path.strip_prefix('$')?;
    if rest.is_empty() {
        return None;
    }
    let mut value = root;
    while !rest.is_empty() {
        if let Some(index) = rest.strip_prefix('[') {
            let (index, after) = index.split_once(']')?;
            value = match index.parse::<usize>() {
                Ok(index) => value.get(index)?,
                Err(_) => value.get(index.trim_matches(['"', '\'']))?,
            };
            rest = after;
        } else {
            let (name, after) = split_name(rest.strip_prefix('.')?);
            value = value.get(name)?;
            rest = after;
        }
    }
    Some(value)
}

fn split_name(path: &str) -> (String, &str) {
    let mut name = String::new();
    let mut characters = path.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => name.extend(characters.next().map(|(_, protected)| protected)),
            '.' | '[' => return (name, &path[at..]),
            plain => name.push(plain),
        }
    }
    (name, "")
}
