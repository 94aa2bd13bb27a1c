//! The manifest's units: durations such as `1h30m` and quantities such as `10Gi`.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// What a duration looks like, for messages.
pub const DURATION_FORM: &str =
    "must be a duration of whole numbers with ms, s, m or h, such as 500ms, 90s or 1h30m";

/// What a quantity looks like, for messages.
pub const QUANTITY_FORM: &str =
    "must be a quantity: a number of bytes with Ki, Mi, Gi, Ti, Pi, Ei, k, M, G, T, P or E, such as 10Gi";

/// An amount of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl fmt::Display for ByteSize {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
        for (suffix, shift) in units {
            if self.0 > 0 && self.0.trailing_zeros() >= shift {
                return write!(out, "{}{suffix}", self.0 >> shift);
            }
        }
        write!(out, "{}", self.0)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads `^([0-9]+(ms|s|m|h))+$`; `None` when the text is anything else or too large to hold.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total_ms: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let amount: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        // "ms" before "m": the longer unit wins, as in the pattern.
        let (unit, unit_ms) = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)]
            .into_iter()
            .find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        total_ms = total_ms.checked_add(amount.checked_mul(unit_ms)?)?;
    }
    (!text.is_empty()).then(|| Duration::from_millis(total_ms))
}

/// Writes a duration the way a manifest would, in the largest units that lose nothing.
pub fn format_duration(duration: Duration) -> String {
    let mut rest_ms = duration.as_millis();
    let mut text = String::new();
    for (unit, unit_ms) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        let amount = rest_ms / unit_ms;
        rest_ms %= unit_ms;
        if amount > 0 {
            text.push_str(&format!("{amount}{unit}"));
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Reads a Kubernetes quantity of bytes (`10Gi`, `1.5Ti`, `500M`, `1e9`); a fraction of a byte is
/// rounded up, as Kubernetes does. `None` when the text is anything else or exceeds 2^63 - 1.
pub fn parse_quantity(text: &str) -> Option<ByteSize> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let number_len = unsigned.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, suffix) = unsigned.split_at(number_len);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') || fraction.len() > 9 {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let divisor = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let bytes = digits.checked_mul(multiplier(suffix)?)?.div_ceil(divisor);
    u64::try_from(bytes).ok().filter(|bytes| i64::try_from(*bytes).is_ok()).map(ByteSize)
}

/// Reads an amount of anything in Kubernetes' words, in thousandths: `500m`, `2`, `4Gi`.
pub(crate) fn parse_amount(text: &str) -> Option<u128> {
    match text.strip_suffix('m') {
        Some(thousandths) => {
            Some(u128::from(parse_quantity(thousandths).filter(|_| is_number(thousandths))?.0))
        }
        // Fractions of cores.
        None if is_number(text) => {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            let digits = format!("{fraction:0<3}").get(..3)?.parse::<u128>().ok()?;
            let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
            whole.checked_mul(1_000)?.checked_add(digits)
        }
        None => Some(u128::from(parse_quantity(text)?.0) * 1_000),
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

fn multiplier(suffix: &str) -> Option<u128> {
    let binary = |power: u32| Some(1_u128 << (10 * power));
    let decimal = |power: u32| Some(1000_u128.pow(power));
    match suffix {
        "" => Some(1),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        "k" => decimal(1),
        "M" => decimal(2),
        "G" => decimal(3),
        "T" => decimal(4),
        "P" => decimal(5),
        "E" => decimal(6),
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E'])?;
            let power: u32 =
                digits.strip_prefix('+').unwrap_or(digits).parse().ok().filter(|power| *power <= 18)?;
            Some(10_u128.pow(power))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_follow_the_pattern_exactly() {
        let cases = [
            ("500ms", Some(500)),
            ("2s", Some(2_000)),
            ("15m", Some(900_000)),
            ("72h", Some(259_200_000)),
            ("1h30m", Some(5_400_000)),
            ("1s1ms", Some(1_001)),
            ("0s", Some(0)),
            ("", None),
            ("72", None),
            ("h", None),
            ("3d", None),
            ("1.5h", None),
            ("-1s", None),
            ("1h ", None),
            (" 1h", None),
            ("1H", None),
            ("99999999999999999999h", None),
            ("18446744073709551615h", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text), expected.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn a_formatted_duration_reads_back_as_itself() {
        for text in ["500ms", "2s", "72h", "1h30m", "1s1ms", "0s"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        let cases = [
            ("10Gi", Some(10 << 30)),
            ("1.5Ti", Some(3 << 39)),
            ("500M", Some(500_000_000)),
            ("1k", Some(1_000)),
            ("1e9", Some(1_000_000_000)),
            ("1E3", Some(1_000)),
            ("1E", Some(1_000_000_000_000_000_000)),
            ("+5", Some(5)),
            ("0.3", Some(1)),
            (".5Ki", Some(512)),
            ("5.", Some(5)),
            ("0", Some(0)),
            ("", None),
            (".", None),
            ("10GB", None),
            ("10gi", None),
            ("10 Gi", None),
            ("-1Gi", None),
            ("100m", None),
            ("1.2.3", None),
            ("1e", None),
            ("8Ei", None),
            ("99999999999999999999999999999999999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_quantity(text), expected.map(ByteSize), "{text:?}");
        }
    }

    #[test]
    fn amounts_of_resources_may_have_thousandths() {
        let cases = [
            ("500m", Some(500)),
            ("2", Some(2_000)),
            ("0.5", Some(500)),
            ("1.25", Some(1_250)),
            (".5", Some(500)),
            ("1Ki", Some(1_024_000)),
            ("lots", None),
            ("-1", None),
            ("m", None),
            ("1.2.3", None),
            ("1 Gi", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_amount(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_size_is_written_in_the_largest_binary_unit_that_loses_nothing() {
        for (bytes, text) in [(10 << 30, "10Gi"), (1536 << 20, "1536Mi"), (1, "1"), (0, "0")] {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }
}
