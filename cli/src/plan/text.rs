//! A plan for people. Pure.

use std::fmt::Write;

use serde_json::Value;

use super::objects::{Change, ObjectChange};
use super::report::{Report, count};

/// Places of one object that are listed; JSON has all.
const MOST_PATHS: usize = 6;
/// The longest value that is shown whole.
const LONGEST_VALUE: usize = 48;
/// Of a longer one, how much from where it differs on.
const CONTEXT: usize = 40;

/// Writes a report.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    let [created, changed, removed] = count(&report.objects);
    if report.is_empty() {
        out.push_str(&format!("{}: nothing to do\n", report.cluster));
    } else {
        let _ = writeln!(
            out,
            "{}: {} changed; {created} to create, {changed} to change, {removed} to remove; {}, {}",
            report.cluster,
            plural(report.fields.len(), "field"),
            plural(report.restarts.len(), "restart"),
            plural(report.write_pauses.len(), "write pause"),
        );
    }
    section(&mut out, "Fields", fields(report));
    section(&mut out, "Objects", objects(&report.objects));
    let numbered = report.restarts.iter().enumerate();
    section(
        &mut out,
        "Restarts, in this order",
        numbered.map(|(place, restart)| format!("{}. {}: {}", place + 1, restart.pod, restart.why)),
    );
    section(&mut out, "Write pauses", report.write_pauses.iter().map(|pause| pause.why.clone()));
    section(&mut out, "Groups, storage and identity", report.steps.iter().cloned());
    section(&mut out, "Waits", report.waits.iter().map(|wait| format!("{}: {}", wait.reason, wait.message)));
    section(&mut out, "Notes", report.notes.iter().cloned());
    out.truncate(out.trim_end().len());
    out
}

fn section(out: &mut String, title: &str, lines: impl IntoIterator<Item = String>) {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_none() {
        return;
    }
    let _ = writeln!(out, "\n{title}");
    for line in lines {
        let _ = writeln!(out, "  {line}");
    }
}

fn fields(report: &Report) -> Vec<String> {
    let rows: Vec<(String, String)> = report
        .fields
        .iter()
        .map(|field| {
            (format!("{}: {}", field.path, change(&field.before, &field.after)), field.mark.to_string())
        })
        .collect();
    let width = rows.iter().map(|(change, _)| change.chars().count()).max().unwrap_or(0);
    rows.into_iter().map(|(change, mark)| format!("{change:width$}  {mark}")).collect()
}

/// A new version changes a label of every object: that is one line.
fn objects(objects: &[ObjectChange]) -> Vec<String> {
    let is_label = |object: &&ObjectChange| {
        object.change == Change::Changed && object.paths.iter().all(|path| path.path == VERSION_LABEL)
    };
    let mut lines: Vec<String> = objects.iter().filter(|other| !is_label(other)).flat_map(object).collect();
    let labels = objects.iter().filter(is_label).count();
    if labels > 0 {
        lines.push(format!("~ {}: only the version in {VERSION_LABEL}", plural(labels, "object")));
    }
    lines
}

const VERSION_LABEL: &str = "metadata.labels[\"app.kubernetes.io/version\"]";

fn object(object: &ObjectChange) -> Vec<String> {
    let sign = match object.change {
        Change::Created => '+',
        Change::Changed => '~',
        Change::Removed => '-',
    };
    let mut lines = vec![format!("{sign} {} {}", object.kind, object.name)];
    let paths = object.paths.iter().take(MOST_PATHS);
    lines.extend(paths.map(|path| format!("    {}: {}", path.path, change(&path.before, &path.after))));
    if object.paths.len() > MOST_PATHS {
        lines.push(format!("    and {} more", object.paths.len() - MOST_PATHS));
    }
    lines
}

fn change(before: &Option<Value>, after: &Option<Value>) -> String {
    match (before, after) {
        (None, Some(after)) => format!("set to {}", shortened(&after.to_string(), 0)),
        (Some(before), None) => format!("{} removed", shortened(&before.to_string(), 0)),
        (before, after) => {
            let of = |value: &Option<Value>| value.as_ref().map(Value::to_string).unwrap_or_default();
            let (before, after) = (of(before), of(after));
            let same =
                before.chars().zip(after.chars()).take_while(|(before, after)| before == after).count();
            format!("{} -> {}", shortened(&before, same), shortened(&after, same))
        }
    }
}

/// A long text from where it differs on, after that many characters.
fn shortened(text: &str, same: usize) -> String {
    let length = text.chars().count();
    if length <= LONGEST_VALUE {
        return text.to_owned();
    }
    let cut = (same + CONTEXT).saturating_sub(LONGEST_VALUE).min(length - LONGEST_VALUE);
    let middle: String = text.chars().skip(cut).take(LONGEST_VALUE).collect();
    let dots = |is: bool| if is { "..." } else { "" };
    format!("{}{middle}{}", dots(cut > 0), dots(cut + LONGEST_VALUE < length))
}

fn plural(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
