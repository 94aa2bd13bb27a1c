//! The text form of settings, as `java.util.Properties` reads it: `key=value` lines, `#` and `!`
//! comments, `\` escapes and continued lines. Knows no key.

use std::fmt::Write;

/// A line that is not a setting.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct SyntaxError {
    /// Counted from 1; of a continued line, its first.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Reads settings in the order of the text. Unlike Java, blanks at the end of a value are dropped and a
/// line without a separator is refused: both are mistakes that are hard to see.
///
/// # Errors
/// The first line that is no setting.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, SyntaxError> {
    let mut pairs = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, first)) = lines.next() {
        let first = first.trim_start();
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while ends_with_continuation(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, more)) => logical.push_str(more.trim_start()),
                None => break,
            }
        }
        pairs.push(parse_line(&logical).map_err(|problem| SyntaxError { line: index + 1, problem })?);
    }
    Ok(pairs)
}

/// Writes settings so that [`parse`], and Java, read the same ones back.
pub fn write(pairs: &[(String, String)]) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        escape(&mut text, key, |c| matches!(c, '=' | ':' | ' ' | '#' | '!'));
        text.push('=');
        let blank_at_end = value.len() - value.trim_end_matches(' ').len();
        let (body, end) = value.split_at(value.len() - blank_at_end);
        let leading = body.len() - body.trim_start_matches(' ').len();
        text.push_str(&"\\ ".repeat(leading));
        escape(&mut text, &body[leading..], |_| false);
        text.push_str(&"\\ ".repeat(end.len()));
        text.push('\n');
    }
    text
}

fn ends_with_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 1
}

fn parse_line(line: &str) -> Result<(String, String), &'static str> {
    let end_of_key = end_of_key(line).ok_or("no `=` between key and value")?;
    let rest = line[end_of_key..].trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
    let key = unescape(&line[..end_of_key])?;
    if key.is_empty() {
        return Err("no key before the `=`");
    }
    Ok((key, unescape(trim_end(value))?))
}

// The first separator that no backslash precedes.
fn end_of_key(line: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '=' | ':' => return Some(at),
            c if c.is_whitespace() => return Some(at),
            _ => {}
        }
    }
    None
}

// Trims blanks, but keeps one that is escaped.
fn trim_end(value: &str) -> &str {
    let trimmed = value.trim_end();
    if trimmed.len() < value.len() && ends_with_continuation(trimmed) {
        &value[..trimmed.len() + 1]
    } else {
        trimmed
    }
}

fn unescape(text: &str) -> Result<String, &'static str> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => plain.push('\n'),
            Some('t') => plain.push('\t'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => plain.push(unicode_escape(&mut chars)?),
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Ok(plain)
}

// `\uXXXX` holds a UTF-16 unit; two of them make one character outside the basic plane.
fn unicode_escape(chars: &mut std::str::Chars<'_>) -> Result<char, &'static str> {
    let first = utf16_unit(chars)?;
    let mut units = vec![first];
    if (0xD800..0xDC00).contains(&first) && chars.as_str().starts_with("\\u") {
        chars.nth(1);
        units.push(utf16_unit(chars)?);
    }
    match char::decode_utf16(units).next() {
        Some(Ok(c)) => Ok(c),
        _ => Err("half a character in a \\u escape"),
    }
}

fn utf16_unit(chars: &mut std::str::Chars<'_>) -> Result<u16, &'static str> {
    let digits = chars.as_str().get(..4).ok_or("\\u needs four hexadecimal digits")?;
    let unit = u16::from_str_radix(digits, 16).map_err(|_| "\\u needs four hexadecimal digits")?;
    chars.nth(3);
    Ok(unit)
}

fn escape(out: &mut String, plain: &str, special: impl Fn(char) -> bool) {
    for c in plain.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if special(c) => {
                out.push('\\');
                out.push(c);
            }
            // Java reads properties as Latin-1 unless told otherwise, so everything else is escaped.
            c if !c.is_ascii() || c.is_ascii_control() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04X}");
                }
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn lines_are_read_as_java_reads_them() {
        let text = "# a comment\n! another\n\n  brokerName=broker-a  \nlistenPort : 10911\n\
                    namesrvAddr a:1;b:2\nempty=\nlong=one,\\\n   two\npath=C:\\\\store\nname=\\u00e9\\t!\n";
        let expected = [
            pair("brokerName", "broker-a"),
            pair("listenPort", "10911"),
            pair("namesrvAddr", "a:1;b:2"),
            pair("empty", ""),
            pair("long", "one,two"),
            pair("path", "C:\\store"),
            pair("name", "é\t!"),
        ];
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn a_line_that_is_no_setting_is_named_by_its_number() {
        let cases = [
            ("a=1\nlistenPort\n", 2, "no `=` between key and value"),
            ("=1", 1, "no key before the `=`"),
            ("a=\\u00g1", 1, "\\u needs four hexadecimal digits"),
            ("a=\\u00", 1, "\\u needs four hexadecimal digits"),
            ("a=\\ud800x", 1, "half a character in a \\u escape"),
        ];
        for (text, line, problem) in cases {
            assert_eq!(parse(text), Err(SyntaxError { line, problem }), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let pairs = [
            pair("plain", "a=b:c #d"),
            pair("odd key=:", "  blanks around  "),
            pair("lines", "one\ntwo\r\n\ttab"),
            pair("unicode", "é 漢 😀 \u{1}"),
            pair("backslash", "C:\\store\\"),
            pair("blanks", "   "),
            pair("empty", ""),
        ];
        assert_eq!(parse(&write(&pairs)).unwrap(), pairs);
    }
}
