//! What is wrong with a manifest: the field's path, its value, and what is allowed instead.

use std::fmt;

use serde_json::Value;

/// The longest value that is repeated in a message; more is cut.
const LONGEST_VALUE: usize = 80;

/// What kind of thing is wrong, in the word that a condition has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Reason {
    #[default]
    InvalidSpec,
    UnknownConfigKey,
    ForbiddenConfigKey,
}

impl Reason {
    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::InvalidSpec => "InvalidSpec",
            Reason::UnknownConfigKey => "UnknownConfigKey",
            Reason::ForbiddenConfigKey => "ForbiddenConfigKey",
        }
    }
}

/// One thing that is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The field, as `spec.brokers.groups`; empty when the whole document is meant.
    pub path: String,
    /// The value the user gave, as JSON; absent when the field is missing.
    pub value: Option<String>,
    /// What is allowed, or what to do.
    pub text: String,
    pub reason: Reason,
}

impl Problem {
    /// Makes a problem of a field that has a value.
    pub(crate) fn with_value(path: &str, value: &Value, text: impl Into<String>) -> Self {
        let value = Some(shortened(value));
        Problem { path: path.to_owned(), value, text: text.into(), reason: Reason::InvalidSpec }
    }

    /// Makes a problem of a field that is absent, or of the document as a whole.
    pub(crate) fn plain(path: &str, text: impl Into<String>) -> Self {
        Problem { path: path.to_owned(), value: None, text: text.into(), reason: Reason::InvalidSpec }
    }

    /// Says what kind of thing is wrong.
    pub(crate) fn because(self, reason: Reason) -> Self {
        Problem { reason, ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(out, "{}: ", self.path)?;
        }
        if let Some(value) = &self.value {
            write!(out, "{value}: ")?;
        }
        out.write_str(&self.text)
    }
}

/// Everything that is wrong with a manifest, ordered by path; never empty when returned as an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Returns the problems found so far ordered by path, without doubles.
    pub(crate) fn sorted(mut self) -> Self {
        self.0.sort();
        self.0.dedup();
        self
    }

    /// Returns the one word for all of them: of several kinds, the plain one.
    pub fn reason(&self) -> Reason {
        let first = self.0.first().map(|problem| problem.reason).unwrap_or_default();
        if self.0.iter().all(|problem| problem.reason == first) { first } else { Reason::InvalidSpec }
    }

    /// Adds the problems of a later stage, but not those that only follow from one already here:
    /// on the same field, or on a parent or child of it.
    pub(crate) fn add_unrelated(&mut self, later: Problems) {
        let unrelated: Vec<Problem> = later
            .0
            .into_iter()
            .filter(|new| !self.0.iter().any(|old| related(&old.path, &new.path)))
            .collect();
        self.0.extend(unrelated);
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                out.write_str("\n")?;
            }
            write!(out, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Appends a key to a path: `spec.brokers`, or `labels["a/b"]` where a dot would mislead.
pub(crate) fn child(path: &str, key: &str) -> String {
    let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    match (path.is_empty(), plain && !key.is_empty()) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{}]", Value::from(key)),
    }
}

fn related(one: &str, other: &str) -> bool {
    let under = |parent: &str, path: &str| {
        path.strip_prefix(parent)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with('['))
    };
    under(one, other) || under(other, one)
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= LONGEST_VALUE {
        return text;
    }
    text.chars().take(LONGEST_VALUE).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_quotes_keys_that_would_read_as_something_else() {
        let cases = [
            (child("", "spec"), "spec"),
            (child("spec", "brokers"), "spec.brokers"),
            (
                child("metadata.labels", "app.kubernetes.io/name"),
                "metadata.labels[\"app.kubernetes.io/name\"]",
            ),
            (child("spec", ""), "spec[\"\"]"),
        ];
        for (path, expected) in cases {
            assert_eq!(path, expected);
        }
    }

    #[test]
    fn a_long_value_is_cut_at_a_character_and_not_inside_one() {
        let problem = Problem::with_value("spec.version", &Value::from("ü".repeat(200)), "too long");
        assert_eq!(problem.value.unwrap(), format!("\"{}...", "ü".repeat(79)));
    }

    #[test]
    fn a_later_problem_on_the_same_branch_is_a_consequence_and_is_dropped() {
        let mut problems = Problems(vec![Problem::plain("spec.brokers.storage.size", "first")]);
        problems.add_unrelated(Problems(vec![
            Problem::plain("spec.brokers.storage.size", "dropped"),
            Problem::plain("spec.brokers.storage", "dropped"),
            Problem::plain("spec.brokers.storage.sizes", "kept"),
        ]));
        assert_eq!(
            problems.to_string(),
            "spec.brokers.storage.size: first\nspec.brokers.storage.sizes: kept"
        );
    }
}
