//! Whether a roll may begin now: windows are cron schedules in UTC with a duration.

use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::civil::DateTime;
use k8s_openapi::jiff::tz::TimeZone;
use manifest::cluster::RolloutWindow;
use manifest::schedule::Schedule;
use manifest::units::parse_duration;

/// A window is open for so long at most.
const LONGEST_MINUTES: u64 = 7 * 24 * 60;

/// Whether one of the windows is open; without any there is no limit.
///
/// # Errors
/// A schedule that cannot be read, with its text.
pub(crate) fn is_open(windows: &[RolloutWindow], now: Timestamp) -> Result<bool, String> {
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
    let has = |field: &[u8], value: i8| u8::try_from(value).is_ok_and(|value| field.contains(&value));
    let day = has(&schedule.days, time.day());
    let weekday = has(&schedule.weekdays, time.weekday().to_sunday_zero_offset());
    let on_day = if schedule.any_day { day || weekday } else { day && weekday };
    has(&schedule.minutes, time.minute())
        && has(&schedule.hours, time.hour())
        && has(&schedule.months, time.month())
        && on_day
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
}
