//! The bad manifests of `tests/e2e/refusals`: who refuses each, at which field and with which words. There a real API
//! server and a running operator are asked; here what stands in their place, so that it is known after each change.
//!
//! A file's first line is `# api-server: FIELD: WORDS` or `# operator REASON: FIELD: WORDS`. Of two documents the first is
//! good, and the second is an edit of it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;

use kube_cel::Validator;
use manifest::{Problem, check_change, crd, load};
use serde_json::Value;

/// What the API server says of a value by the schema alone, in words of its own.
const BY_SCHEMA: [&str; 11] = [
    "should be",
    "supported values",
    "must be of type",
    "Required value",
    "should match",
    "may not be more than",
    "Duplicate value",
    "unknown field",
    "chars long",
    "at least",
    "at most",
];

struct Refusal {
    file: String,
    /// `None`: the API server.
    reason: Option<String>,
    field: String,
    words: String,
    before: Option<String>,
    bad: String,
}

fn refusals() -> Vec<Refusal> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/e2e/refusals");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .map(|path| read(path.file_name().unwrap().to_str().unwrap(), &fs::read_to_string(path).unwrap()))
        .collect()
}

fn read(file: &str, text: &str) -> Refusal {
    let (line, documents) = text.split_once('\n').unwrap();
    let parts: Vec<&str> = line.strip_prefix("# ").unwrap().splitn(3, ": ").collect();
    let [who, field, words] = parts.as_slice() else { panic!("{file}: {line}") };
    let reason = match who.split_once(' ') {
        None => {
            assert_eq!(*who, "api-server", "{file}");
            None
        }
        Some((who, reason)) => {
            assert_eq!(who, "operator", "{file}");
            Some(reason.to_owned())
        }
    };
    let mut documents: Vec<String> = documents.split("---\n").map(str::to_owned).collect();
    let bad = documents.pop().unwrap();
    assert!(documents.len() <= 1, "{file}");
    let (field, words) = ((*field).to_owned(), (*words).to_owned());
    Refusal { file: file.to_owned(), reason, field, words, before: documents.pop(), bad }
}

/// What the rules of the definition say of a manifest as the API server keeps it.
fn rules_say(refusal: &Refusal) -> Vec<(String, String)> {
    let kept = |text: &String| crd::with_defaults(&serde_saphyr::from_str::<Value>(text).unwrap());
    let schema = &crd::definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let result =
        Validator::new().validate(schema, &kept(&refusal.bad), refusal.before.as_ref().map(kept).as_ref());
    let errors = result.err().map(|errors| errors.into_vec()).unwrap_or_default();
    errors.into_iter().map(|error| (error.field_path, error.message)).collect()
}

/// What is said here of a manifest or of its edit.
fn we_say(refusal: &Refusal) -> Vec<Problem> {
    match (load(&refusal.bad), &refusal.before) {
        (Err(problems), _) => problems.0,
        (Ok(_), None) => Vec::new(),
        (Ok(after), Some(before)) => {
            check_change(&load(before).unwrap(), &after).err().map(|problems| problems.0).unwrap_or_default()
        }
    }
}

#[test]
fn there_are_many_of_each_kind() {
    let all = refusals();
    let of = |operator: bool| all.iter().filter(|refusal| refusal.reason.is_some() == operator).count();
    assert!(
        of(false) >= 40 && of(true) >= 25,
        "{} by the API server, {} by the operator",
        of(false),
        of(true)
    );
    assert!(all.iter().filter(|refusal| refusal.before.is_some()).count() >= 12);
    let names: BTreeSet<String> = all
        .iter()
        .map(|refusal| serde_saphyr::from_str::<Value>(&refusal.bad).unwrap()["metadata"]["name"].to_string())
        .collect();
    assert_eq!(names.len(), all.len(), "two manifests of one name would be edits of each other");
}

#[test]
fn what_an_edit_starts_from_is_good() {
    for refusal in refusals() {
        if let Some(before) = &refusal.before {
            assert!(load(before).is_ok(), "{}", refusal.file);
        }
    }
}

#[test]
fn what_the_api_server_refuses_is_refused_by_schema_or_rule_and_also_here() {
    for refusal in refusals().iter().filter(|refusal| refusal.reason.is_none()) {
        let file = &refusal.file;
        let by_rule = rules_say(refusal).iter().any(|(_, message)| message.contains(&refusal.words));
        let by_schema = BY_SCHEMA.iter().any(|words| refusal.words.contains(words));
        assert!(by_rule || by_schema, "{file}: nothing says {:?}", refusal.words);
        assert!(!we_say(refusal).is_empty(), "{file} passes where there is no API server");
    }
}

#[test]
fn what_the_operator_refuses_passes_the_api_server_and_is_refused_here_with_field_and_remedy() {
    for refusal in refusals() {
        let Some(reason) = &refusal.reason else { continue };
        let file = &refusal.file;
        assert_eq!(rules_say(&refusal), [], "{file}");
        let ours = we_say(&refusal);
        // What needs a look at the cluster that runs is the planner's to say.
        let observed = ["UnsupportedVersionJump", "UnknownGroupIndex"].contains(&reason.as_str());
        if observed && load(&refusal.bad).is_ok() {
            continue;
        }
        let said = ours.iter().any(|problem| {
            problem.path == refusal.field
                && problem.text.contains(&refusal.words)
                && problem.reason.as_str() == reason
        });
        assert!(said, "{file}: {ours:?}");
    }
}
