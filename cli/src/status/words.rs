//! Amounts as people read them: `1.2 MiB`, `3.4 s`. Pure.

/// Writes an amount of bytes in the unit that leaves one to four digits before the point.
pub fn bytes(bytes: i64) -> String {
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut amount = bytes as f64 / 1_024.0;
    let mut unit = 0;
    // Past this it would be written as 1024.0.
    while amount >= 1_023.95 && unit + 1 < units.len() {
        amount /= 1_024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", units[unit])
}

/// Writes a time given in ms; minutes and hours lose what is below a second.
pub fn time(ms: i64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        ..1 => format!("{ms} ms"),
        1..60 => format!("{}.{} s", seconds, ms % 1_000 / 100),
        60..3_600 => format!("{} m {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} m", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_one_digit_after_the_point() {
        let cases = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (5_452_596, "5.2 MiB"),
            (10 << 30, "10.0 GiB"),
            (i64::MAX, "8.0 EiB"),
        ];
        for (amount, expected) in cases {
            assert_eq!(bytes(amount), expected);
        }
    }

    #[test]
    fn times_are_written_in_two_units_at_most() {
        let cases = [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_250, "1.2 s"),
            (60_000, "1 m 0 s"),
            (3_599_999, "59 m 59 s"),
            (7_260_000, "2 h 1 m"),
        ];
        for (ms, expected) in cases {
            assert_eq!(time(ms), expected);
        }
    }
}
