//! Whether a roll may begin now: windows are cron schedules in UTC with a duration.

use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::civil::{Date, DateTime};
use k8s_openapi::jiff::tz::TimeZone;
use manifest::cluster::RolloutWindow;
use manifest::schedule::Schedule;
use manifest::units::parse_duration;

/// A window is open for so long at most.
const LONGEST_MINUTES: u64 = 7 * 24 * 60;

/// How far ahead the next opening is looked for: less rare than once in four years.
const DAYS_AHEAD: usize = 4 * 366;

/// Returns why nothing may begin to restart now, with the time from when it may; `None` while a window is open, and where
/// there are no windows.
///
/// # Errors
/// A schedule that cannot be read, with its text.
pub fn closed_window(windows: &[RolloutWindow], now: Timestamp) -> Result<Option<String>, String> {
    if is_open(windows, now)? {
        return Ok(None);
    }
    let schedules = windows.iter().filter_map(|window| Schedule::read(&window.schedule));
    let next = schedules.filter_map(|schedule| next_opening(&schedule, now)).min();
    let when = next
        .map_or_else(|| "none opens in the next years".to_owned(), |at| format!("the next opens at {at}"));
    Ok(Some(format!("no window of spec.brokers.rollout.window is open; {when}")))
}

fn next_opening(schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let dates = std::iter::successors(Some(today), |date| date.tomorrow().ok()).take(DAYS_AHEAD);
    dates.filter(|date| is_day(schedule, *date)).find_map(|date| {
        let times =
            schedule.hours.iter().flat_map(|hour| schedule.minutes.iter().map(move |minute| (hour, minute)));
        let at = |(hour, minute): (&u8, &u8)| {
            let time = date.at(i8::try_from(*hour).ok()?, i8::try_from(*minute).ok()?, 0, 0);
            Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
        };
        times.filter_map(at).filter(|at| *at > now).min()
    })
}

/// Whether one of the windows is open; without any there is no limit.
fn is_open(windows: &[RolloutWindow], now: Timestamp) -> Result<bool, String> {
    let mut open = windows.is_empty();
    for window in windows {
        open |= began_within(window, now)?;
    }
    Ok(open)
}

fn began_within(window: &RolloutWindow, now: Timestamp) -> Result<bool, String> {
    let schedule = Schedule::read(&window.schedule).ok_or_else(|| {
        format!("{:?} is not a cron schedule of five fields, such as \"0 2 * * 6\"", window.schedule)
    })?;
    let minutes =
        parse_duration(&window.duration).unwrap_or_default().as_secs().div_ceil(60).min(LONGEST_MINUTES);
    let minute = now.as_second().div_euclid(60);
    let began = (0..minutes).any(|back| {
        let start = Timestamp::from_second((minute - i64::try_from(back).unwrap_or(0)) * 60);
        start.is_ok_and(|start| matches(&schedule, start.to_zoned(TimeZone::UTC).datetime()))
    });
    Ok(began)
}

fn matches(schedule: &Schedule, time: DateTime) -> bool {
    has(&schedule.minutes, time.minute())
        && has(&schedule.hours, time.hour())
        && is_day(schedule, time.date())
}

fn is_day(schedule: &Schedule, date: Date) -> bool {
    let day = has(&schedule.days, date.day());
    let weekday = has(&schedule.weekdays, date.weekday().to_sunday_zero_offset());
    has(&schedule.months, date.month()) && if schedule.any_day { day || weekday } else { day && weekday }
}

fn has(field: &[u8], value: i8) -> bool {
    u8::try_from(value).is_ok_and(|value| field.contains(&value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_open_from_its_schedule_on_for_its_duration() {
        // A Tuesday.
        let cases = [
            ("0 2 * * *", "1h", "2030-01-01T02:00:00Z", Some(true)),
            ("0 2 * * *", "1h", "2030-01-01T02:59:59Z", Some(true)),
            ("0 2 * * *", "1h", "2030-01-01T03:00:00Z", Some(false)),
            ("0 22 * * 1", "6h", "2030-01-01T03:30:00Z", Some(true)),
            ("0 22 * * 7", "6h", "2030-01-01T03:30:00Z", Some(false)),
            ("*/15 1-3,5 * * *", "1m", "2030-01-01T05:45:10Z", Some(true)),
            ("*/15 1-3,5 * * *", "1m", "2030-01-01T04:45:10Z", Some(false)),
            ("0 0 13 * 2", "24h", "2030-01-01T12:00:00Z", Some(true)),
            ("0 0 13 * 3", "24h", "2030-01-01T12:00:00Z", Some(false)),
            ("0 2 * *", "1h", "2030-01-01T02:00:00Z", None),
            ("60 2 * * *", "1h", "2030-01-01T02:00:00Z", None),
        ];
        for (schedule, duration, now, expected) in cases {
            let window = RolloutWindow { schedule: schedule.to_owned(), duration: duration.to_owned() };
            assert_eq!(is_open(&[window], now.parse().unwrap()).ok(), expected, "{schedule} {now}");
        }
        assert_eq!(is_open(&[], "2030-01-01T00:00:00Z".parse().unwrap()), Ok(true));
    }

    #[test]
    fn a_closed_window_says_when_the_next_one_opens() {
        // A Tuesday.
        let now = "2030-01-01T03:30:20Z".parse().unwrap();
        let cases: [(&[&str], &str); 7] = [
            (&["0 2 * * *"], "the next opens at 2030-01-02T02:00:00Z"),
            (&["30 5,1-2,4 * * *"], "the next opens at 2030-01-01T04:30:00Z"),
            (&["0 2 * * 6"], "the next opens at 2030-01-05T02:00:00Z"),
            (&["0 2 * * 6", "0 9 31 1 *"], "the next opens at 2030-01-05T02:00:00Z"),
            (&["0 0 1 1 *"], "the next opens at 2031-01-01T00:00:00Z"),
            (&["0 0 29 2 *"], "the next opens at 2032-02-29T00:00:00Z"),
            (&["0 0 31 2 *"], "none opens in the next years"),
        ];
        for (schedules, expected) in cases {
            let window = |schedule: &&str| RolloutWindow {
                schedule: (*schedule).to_owned(),
                duration: "1m".to_owned(),
            };
            let windows: Vec<RolloutWindow> = schedules.iter().map(window).collect();
            let text = format!("no window of spec.brokers.rollout.window is open; {expected}");
            assert_eq!(closed_window(&windows, now), Ok(Some(text)), "{schedules:?}");
        }
        assert_eq!(closed_window(&[], now), Ok(None));
    }
}
