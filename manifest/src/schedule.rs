//! Cron's five fields, read: minute, hour, day of month, month, day of week. What time it is only the caller knows.

/// What a schedule looks like, for messages.
pub const SCHEDULE_FORM: &str = "must be a cron schedule of five fields in UTC, such as \"0 2 * * 6\"";

/// Which minutes match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub minutes: Vec<u8>,
    pub hours: Vec<u8>,
    pub days: Vec<u8>,
    pub months: Vec<u8>,
    /// 0 and 7 are Sunday; with one of them both are here.
    pub weekdays: Vec<u8>,
    /// Of the two kinds of days one suffices, if both were given.
    pub any_day: bool,
}

impl Schedule {
    /// Reads a schedule; `None` when it is none.
    pub fn read(text: &str) -> Option<Schedule> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts.as_slice() else { return None };
        let mut weekdays = field(weekday, 0, 7)?;
        if weekdays.contains(&7) {
            weekdays.push(0);
        }
        Some(Schedule {
            minutes: field(minute, 0, 59)?,
            hours: field(hour, 0, 23)?,
            days: field(day, 1, 31)?,
            months: field(month, 1, 12)?,
            weekdays,
            any_day: !day.starts_with('*') && !weekday.starts_with('*'),
        })
    }
}

/// `*`, `5`, `1-5`, each perhaps with `/2`, joined by commas.
fn field(text: &str, lowest: u8, highest: u8) -> Option<Vec<u8>> {
    let mut values = Vec::new();
    for part in text.split(',') {
        let (range, step) = part.split_once('/').map_or((part, "1"), |(range, step)| (range, step));
        let step: usize = step.parse().ok().filter(|step| *step > 0)?;
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (lowest, highest),
            Some((from, to)) => (from.parse().ok()?, to.parse().ok()?),
            None if part.contains('/') => (range.parse().ok()?, highest),
            None => (range.parse().ok()?, range.parse().ok()?),
        };
        if from < lowest || to > highest || from > to {
            return None;
        }
        values.extend((from..=to).step_by(step));
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_has_five_fields_within_their_ranges() {
        let good = ["* * * * *", "0 2 * * 6", "*/15 1-3,5 1 12 7", "5/10 0 31 * *"];
        let bad = [
            "",
            "0 2 * *",
            "0 2 * * * *",
            "60 2 * * *",
            "0 24 * * *",
            "0 0 0 * *",
            "0 0 * 13 *",
            "0 0 * * 8",
        ];
        let worse = ["0 0 * * MON", "5-1 * * * *", "*/0 * * * *", "@daily", "-1 * * * *"];
        for text in good {
            assert!(Schedule::read(text).is_some(), "{text}");
        }
        for text in bad.into_iter().chain(worse) {
            assert_eq!(Schedule::read(text), None, "{text}");
        }
        let read = Schedule::read("*/20 1-2 1 2,3 7").unwrap();
        assert_eq!((read.minutes, read.hours, read.weekdays), (vec![0, 20, 40], vec![1, 2], vec![7, 0]));
    }
}
