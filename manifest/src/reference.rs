//! The reference of the manifest as a page, made from the definition: every field with its type, default, what a change of
//! it does, and what it means.

use std::fmt::Write;

use serde_json::Value;

use crate::cluster::schema::{DURATION_PATTERN, QUANTITY_PATTERN};
use crate::config_keys::{BROKER_KEYS, ConfigKey, KeyClass, NAME_SERVER_KEYS, ValueForm, in_words};
use crate::crd;
use crate::marks::{Mark, mark_of};
use crate::support;

const HEAD: &str = "<!-- Generated from manifest/src/cluster by `make generate`; a test fails when it is stale. -->
# The manifest

A `RocketMQCluster` (`gantry.rs/v1alpha1`, short `rktmq`) says what a cluster should be. Only `spec.version` and
`spec.brokers.storage` must be given. `kubectl explain rktmq.spec` says the same as this page, `gantry plan FILE` what a change
would do. Examples are in [deploy](../deploy), days with a running cluster in [day-2.md](day-2.md).

**Units.** A duration is whole numbers with `ms`, `s`, `m` or `h`: `500ms`, `1h30m`. A quantity is a number of bytes with `Ki`,
`Mi`, `Gi`, `Ti`, `Pi`, `Ei`, `k`, `M`, `G`, `T`, `P` or `E`: `10Gi`. Lists and maps have at most 64 entries unless a bound is given.

**Change** says what a change does to a cluster that runs:

| Word | Means |
|---|---|
| live | running members take it over, or only objects beside them change |
| restart | members restart one by one, slaves before masters |
| staged | a longer operation in safe steps |
| fixed | it cannot change; the API server refuses it |
| operator | it only steers the operator |

Fields marked *not supported yet* are refused when they differ from their default.
";

/// Objects that several roles have; one place tells of them.
const SHARED: [&str; 2] = ["resources", "scheduling"];
const SHARED_AT: &str = "spec.brokers";

/// Returns the page.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    object("spec", &crd::schema()["properties"]["spec"], &mut page);
    keys("Keys of spec.brokers.config", BROKER_KEYS, "spec.brokers.config", &mut page);
    keys("Keys of spec.nameServers.config", NAME_SERVER_KEYS, "spec.nameServers.config", &mut page);
    page
}

/// Writes a section for an object, then for those in it.
fn object(path: &str, schema: &Value, page: &mut String) {
    let text = meaning(schema);
    let _ = write!(page, "\n## {path}\n\n");
    if path != "spec" && !text.is_empty() {
        let _ = write!(page, "{text}{}\n\n", not_yet(path));
    }
    page.push_str("| Field | Type | Default | Change | Meaning |\n|---|---|---|---|---|\n");
    let mut inside = Vec::new();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let here = format!("{path}.{name}");
        let entries = field.get("items").filter(|items| items.get("properties").is_some());
        if field.get("properties").is_none() && entries.is_none() {
            row(&here, name, field, page);
            continue;
        }
        let below = if entries.is_some() { format!("{here}[]") } else { here.clone() };
        let told =
            if SHARED.contains(&name.as_str()) { format!("{SHARED_AT}.{name}") } else { below.clone() };
        let kind = if entries.is_some() { "list" } else { "object" };
        let mark =
            mark_of(&below).or_else(|| mark_of(&here)).map(|mark| mark.to_string()).unwrap_or_default();
        let text = meaning(field);
        let _ = writeln!(
            page,
            "| `{name}` | [{kind}](#{}) | {} | {mark} | {text}{} |",
            anchor(&told),
            default_in_words(field),
            not_yet(&here)
        );
        if told == below {
            inside.push((below, entries.unwrap_or(field)));
        }
    }
    for (path, field) in inside {
        object(&path, field, page);
    }
}

fn row(path: &str, name: &str, field: &Value, page: &mut String) {
    let required = is_required(path);
    let default = match field.get("default") {
        Some(default) if default != "" => code(default),
        _ if required => "required".to_owned(),
        _ => default_in_words(field),
    };
    let mark = mark_of(path).map(|mark| mark.to_string()).unwrap_or_default();
    let _ = writeln!(
        page,
        "| `{name}` | {} | {default} | {mark} | {}{} |",
        kind(field),
        meaning(field),
        not_yet(path)
    );
}

fn is_required(path: &str) -> bool {
    let (holder, name) = path.rsplit_once('.').unwrap_or_default();
    let pointer = holder.replace("[]", "/items").replace('.', "/properties/");
    let holder = crd::schema().pointer(&format!("/properties/{pointer}"));
    holder
        .and_then(|holder| holder["required"].as_array())
        .is_some_and(|names| names.iter().any(|known| known == name))
}

fn kind(field: &Value) -> String {
    if let Some(allowed) = field["enum"].as_array() {
        return allowed.iter().map(code).collect::<Vec<_>>().join(", ");
    }
    match (field["type"].as_str().unwrap_or_default(), field["pattern"].as_str()) {
        (_, Some(DURATION_PATTERN)) => "duration".to_owned(),
        (_, Some(QUANTITY_PATTERN)) => "quantity".to_owned(),
        ("boolean", _) => "true or false".to_owned(),
        ("integer", _) => match (field["minimum"].as_i64(), field["maximum"].as_i64()) {
            (Some(least), Some(most)) => format!("{least} to {most}"),
            _ => "integer".to_owned(),
        },
        ("array", _) => match field["items"]["type"].as_str() {
            Some("object") => "list of Kubernetes objects".to_owned(),
            _ => format!("list of {}", kind(&field["items"])),
        },
        ("object", _) if field.get("additionalProperties").is_some() => "map of texts".to_owned(),
        ("object", _) => "Kubernetes object".to_owned(),
        _ => "text".to_owned(),
    }
}

/// The description without what has a column of its own.
fn meaning(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    let sentences = text.split(". ").map(|sentence| sentence.trim_end_matches('.'));
    let has_column = |sentence: &str| {
        sentence.starts_with("Default: ") || Mark::ALL.iter().any(|mark| mark.as_str() == sentence)
    };
    let kept: Vec<&str> =
        sentences.filter(|sentence| !sentence.is_empty() && !has_column(sentence)).collect();
    let text = kept.join(". ").replace('|', "\\|");
    if text.is_empty() { text } else { text + "." }
}

fn default_in_words(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    let mut sentences = text.split(". ").map(|sentence| sentence.trim_end_matches('.'));
    sentences.find_map(|sentence| sentence.strip_prefix("Default: ")).unwrap_or_default().replace('|', "\\|")
}

/// Said once, of the outermost that is missing.
fn not_yet(path: &str) -> String {
    let why = support::why_later(path).filter(|_| support::is_later(path));
    why.map(|why| format!(" *Not supported yet: {why}.*")).unwrap_or_default()
}

fn keys(title: &str, keys: &[ConfigKey], map: &str, page: &mut String) {
    let _ = write!(
        page,
        "\n## {title}\n\nAll values are texts. Absent is RocketMQ's default, or the server's own where RocketMQ has no such \
         key.\n\n| Key | Value | Change |\n|---|---|---|\n"
    );
    for key in keys {
        let form = match key.class {
            KeyClass::Live(form) | KeyClass::Restart(form) | KeyClass::Immutable(form) => form,
            KeyClass::Forbidden | KeyClass::Field(_) | KeyClass::Unsupported(_) => continue,
        };
        let mark = mark_of(&format!("{map}.{}", key.name)).map(|mark| mark.to_string()).unwrap_or_default();
        let _ = writeln!(page, "| `{}` | {} | {mark} |", key.name, form_in_words(form));
    }
    let by_field = keys.iter().filter_map(|key| match key.class {
        KeyClass::Field(field) => Some(format!("`{}` (set `{field}`)", key.name)),
        _ => None,
    });
    let forbidden =
        keys.iter().filter(|key| key.class == KeyClass::Forbidden).map(|key| format!("`{}`", key.name));
    let _ = write!(
        page,
        "\nRefused, because a field sets it: {}.\n\nRefused, because it follows from who a member is and where it runs: {}.\n",
        by_field.collect::<Vec<_>>().join(", "),
        forbidden.collect::<Vec<_>>().join(", ")
    );
    let later = keys.iter().filter_map(|key| match key.class {
        KeyClass::Unsupported(why) => Some(format!("`{}` ({why})", key.name)),
        _ => None,
    });
    let later: Vec<String> = later.collect();
    if !later.is_empty() {
        let _ = write!(page, "\nNot supported yet: {}.\n", later.join(", "));
    }
}

fn form_in_words(form: ValueForm) -> String {
    match form {
        ValueForm::Flag => "`true` or `false`".to_owned(),
        ValueForm::Number(least, most) => format!("{least} to {most}"),
        ValueForm::Bytes(least, most) => {
            format!("{} to {}, in bytes, `KiB`, `MiB`, `GiB`", in_words(least), in_words(most))
        }
        ValueForm::Text => "text".to_owned(),
        ValueForm::HoursOfDay => "hours of the day: `04`, `04;16`".to_owned(),
    }
}

fn code(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

/// As code hosts make them of headings.
fn anchor(path: &str) -> String {
    path.chars().filter(|letter| letter.is_alphanumeric()).collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_reference_is_current() {
        let committed = include_str!("../../docs/manifest.md");
        assert!(committed == reference(), "docs/manifest.md is stale: run make generate");
    }

    #[test]
    fn every_field_stands_in_the_reference_and_every_link_leads_somewhere() {
        let page = reference();
        let headings: Vec<String> =
            page.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
        for link in page.split("(#").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(headings.contains(&anchor(link)), "{link}");
        }
        for field in crate::marks::fields() {
            let (holder, name) = field.path.rsplit_once('.').unwrap();
            let shared = SHARED
                .iter()
                .any(|shared| holder.ends_with(&format!(".{shared}")) && !holder.starts_with(SHARED_AT));
            let section = page.split(&format!("\n## {holder}\n")).nth(1).unwrap_or_default();
            let section = section.split("\n## ").next().unwrap_or_default();
            assert!(
                shared || section.contains(&format!("| `{}` |", name.trim_end_matches("[]"))),
                "{}",
                field.path
            );
        }
    }
}
