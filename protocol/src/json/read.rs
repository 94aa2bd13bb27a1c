//! The lenient reader: text to tree. It knows the dialect's grammar and its limits, not what a body means.

use serde_json::{Map, Number, Value};

use super::{JsonError, MAX_DEPTH, MAX_VALUES};

/// Reads one value and nothing but blanks after it.
pub(super) fn read(text: &[u8]) -> Result<Value, JsonError> {
    let text = String::from_utf8_lossy(text);
    let mut reader = Reader { text: &text, at: 0, depth: 0, values: 0, in_key: false };
    if text.starts_with('\u{feff}') {
        reader.at = '\u{feff}'.len_utf8();
    }
    let value = reader.value()?;
    reader.skip_blanks();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.expected("end of text")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    values: usize,
    /// Inside an object that is itself a key. A key in a key would double its escapes at every level.
    in_key: bool,
}

impl Reader<'_> {
    fn value(&mut self) -> Result<Value, JsonError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(JsonError::TooLarge { at: self.at });
        }
        self.skip_blanks();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(quote @ (b'"' | b'\'')) => self.string(quote).map(Value::String),
            Some(b'-' | b'+' | b'.' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(_) => self.word(),
            None => Err(self.expected("a value")),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, JsonError>) -> Result<Value, JsonError> {
        if self.depth == MAX_DEPTH {
            return Err(JsonError::TooDeep { at: self.at });
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Result<Value, JsonError> {
        let mut entries = Map::new();
        loop {
            self.skip_blanks_and_commas();
            if self.take(b'}') {
                return Ok(Value::Object(entries));
            }
            let key = self.key()?;
            self.skip_blanks();
            if !self.take(b':') {
                return Err(self.expected("':' after a name"));
            }
            let value = self.value()?;
            entries.insert(key, value);
            self.skip_blanks();
            if !matches!(self.peek(), Some(b',' | b'}')) {
                return Err(self.expected("',' or '}'"));
            }
        }
    }

    fn array(&mut self) -> Result<Value, JsonError> {
        let mut items = Vec::new();
        loop {
            self.skip_blanks_and_commas();
            if self.take(b']') {
                return Ok(Value::Array(items));
            }
            items.push(self.value()?);
            self.skip_blanks();
            if !matches!(self.peek(), Some(b',' | b']')) {
                return Err(self.expected("',' or ']'"));
            }
        }
    }

    /// A name in quotes, a bare name, a bare number, or any whole value in its canonical text.
    fn key(&mut self) -> Result<String, JsonError> {
        match self.peek() {
            Some(quote @ (b'"' | b'\'')) => self.string(quote),
            Some(b'{' | b'[') if self.in_key => Err(self.expected("a plain name inside a key")),
            Some(b'{' | b'[') => {
                self.in_key = true;
                let key = self.value();
                self.in_key = false;
                key.map(|key| key.to_string())
            }
            Some(_) => self.bare_name(),
            None => Err(self.expected("a name")),
        }
    }

    fn bare_name(&mut self) -> Result<String, JsonError> {
        let rest = &self.text[self.at..];
        let ends = |c: char| c.is_whitespace() || matches!(c, ':' | ',' | '{' | '}' | '[' | ']' | '"' | '\'');
        let name = &rest[..rest.find(ends).unwrap_or(rest.len())];
        if name.is_empty() {
            return Err(self.expected("a name"));
        }
        self.at += name.len();
        Ok(name.to_owned())
    }

    fn string(&mut self, quote: u8) -> Result<String, JsonError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(plain) = rest.find([char::from(quote), '\\']) else {
                return Err(self.expected("the end of a string"));
            };
            out.push_str(&rest[..plain]);
            self.at += plain + 1;
            if rest.as_bytes()[plain] == quote {
                return Ok(out);
            }
            out.push(self.escape()?);
        }
    }

    /// The character an escape stands for; the backslash is already behind us.
    fn escape(&mut self) -> Result<char, JsonError> {
        let Some(letter) = self.text[self.at..].chars().next() else {
            return Err(self.expected("an escaped character"));
        };
        self.at += letter.len_utf8();
        Ok(match letter {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            '0' => '\0',
            'x' => char::from_u32(self.hex(2)?).unwrap_or(char::REPLACEMENT_CHARACTER),
            'u' => self.utf16_escape()?,
            // Quotes, slashes and whatever else a peer thought worth escaping stand for themselves.
            other => other,
        })
    }

    fn utf16_escape(&mut self) -> Result<char, JsonError> {
        let first = self.hex(4)?;
        if !(0xd800..0xdc00).contains(&first) || !self.text[self.at..].starts_with("\\u") {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let before = self.at;
        self.at += 2;
        let second = self.hex(4)?;
        if (0xdc00..0xe000).contains(&second) {
            let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        self.at = before;
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex(&mut self, digits: usize) -> Result<u32, JsonError> {
        let code = self.text.as_bytes().get(self.at..self.at + digits).and_then(|digits| {
            digits.iter().try_fold(0, |code, digit| Some(code * 16 + char::from(*digit).to_digit(16)?))
        });
        let code = code.ok_or_else(|| self.expected("hexadecimal digits"))?;
        self.at += digits;
        Ok(code)
    }

    fn number(&mut self) -> Result<Number, JsonError> {
        let rest = &self.text[self.at..];
        let part_of_number = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
        let digits = &rest[..rest.find(|c| !part_of_number(c)).unwrap_or(rest.len())];
        let integer =
            digits.parse::<i64>().map(Number::from).or_else(|_| digits.parse::<u64>().map(Number::from));
        let number = integer.ok().or_else(|| digits.parse().ok().and_then(Number::from_f64));
        let number = number.ok_or_else(|| self.expected("a number"))?;
        self.at += digits.len();
        // Java's own suffixes: 1L, 1.0D and the like.
        if matches!(self.peek(), Some(b'L' | b'D' | b'F' | b'S' | b'B')) {
            self.at += 1;
        }
        Ok(number)
    }

    fn word(&mut self) -> Result<Value, JsonError> {
        let rest = &self.text[self.at..];
        let word = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len())];
        let value = match word {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" | "undefined" | "NaN" => Value::Null,
            _ => return Err(self.expected("a value")),
        };
        self.at += word.len();
        Ok(value)
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            self.at += rest.len() - rest.trim_start().len();
            let rest = &self.text[self.at..];
            let comment = match rest.as_bytes() {
                [b'/', b'*', ..] => rest.find("*/").map_or(rest.len(), |end| end + 2),
                [b'/', b'/', ..] => rest.find('\n').unwrap_or(rest.len()),
                _ => return,
            };
            self.at += comment;
        }
    }

    fn skip_blanks_and_commas(&mut self) {
        self.skip_blanks();
        while self.take(b',') {
            self.skip_blanks();
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expected(&self, expected: &'static str) -> JsonError {
        JsonError::Syntax { at: self.at, expected }
    }
}
