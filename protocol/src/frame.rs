//! Frames (P§1.1): cutting them out of a byte stream and writing them. Limits are checked before anything is
//! allocated. Knows lengths and headers, not sockets.

use crate::header::{
    self, FLAG_ONEWAY, FLAG_RESPONSE, Header, HeaderDecodeError, LANGUAGE_JAVA, Serialization, VERSION,
};
use crate::requests::EncodeExt;

/// The largest frame Java accepts, and so do we: 16 MiB, the length word not counted.
pub const MAX_FRAME: usize = 16 * 1024 * 1024;
/// A header this long is nobody's: 1 MiB. Java has no limit of its own here.
pub const MAX_HEADER: usize = 1024 * 1024;

/// What the front of a byte stream holds.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// A whole frame, and how many bytes it took.
    Frame(FrameView<'a>, usize),
    /// Not yet a whole frame; this many bytes from the start of the frame are needed at least.
    NeedMore(usize),
    /// Not a frame. The connection must be closed: the stream has no resynchronisation point.
    Malformed(MalformedFrame),
}

/// A frame in the read buffer.
#[derive(Debug, Clone)]
pub struct FrameView<'a> {
    /// Its decoded header.
    pub header: Header<'a>,
    /// Its body, possibly empty.
    pub body: &'a [u8],
}

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MalformedFrame {
    /// The length word is negative, too small for its header, or over the limit.
    #[error("frame length {0} is not between 4 and {MAX_FRAME}")]
    Length(i64),
    /// The header length does not fit the frame.
    #[error("header length {header} does not fit a frame of {frame} bytes")]
    HeaderLength {
        /// What the frame says.
        header: usize,
        /// The frame's own length.
        frame: usize,
    },
    /// The top byte of the second word names no known encoding.
    #[error("header type {0} is neither 0 (JSON) nor 1 (ROCKETMQ)")]
    HeaderType(u8),
    /// The header cannot be read.
    #[error(transparent)]
    Header(#[from] HeaderDecodeError),
}

/// Decodes the frame at the front of `buf`.
pub fn decode(buf: &[u8]) -> Decoded<'_> {
    let Some((length, rest)) = buf.split_first_chunk::<4>() else { return Decoded::NeedMore(4) };
    let length = i32::from_be_bytes(*length);
    let frame = match usize::try_from(length) {
        Ok(n @ 4..=MAX_FRAME) => n,
        _ => return Decoded::Malformed(MalformedFrame::Length(length as i64)),
    };
    let Some((word, rest)) = rest.split_first_chunk::<4>() else { return Decoded::NeedMore(8) };
    let serialization = match word[0] {
        0 => Serialization::Json,
        1 => Serialization::Binary,
        other => return Decoded::Malformed(MalformedFrame::HeaderType(other)),
    };
    let header_len = u32::from_be_bytes([0, word[1], word[2], word[3]]) as usize;
    if header_len > frame - 4 || header_len > MAX_HEADER {
        return Decoded::Malformed(MalformedFrame::HeaderLength { header: header_len, frame });
    }
    let Some(content) = rest.get(..frame - 4) else { return Decoded::NeedMore(frame + 4) };
    let (head, body) = content.split_at(header_len);
    match header::decode(serialization, head) {
        Ok(header) => Decoded::Frame(FrameView { header, body }, frame + 4),
        Err(e) => Decoded::Malformed(e.into()),
    }
}

/// The fixed fields of a frame to be written.
#[derive(Debug, Clone, Copy)]
pub struct CommandHead<'a> {
    /// Encoding of the header.
    pub serialization: Serialization,
    /// Request or response code.
    pub code: i32,
    /// Language byte (P§1.5).
    pub language: u8,
    /// Version ordinal of the sender.
    pub version: i32,
    /// Correlation id.
    pub opaque: i32,
    /// Response and one-way bits.
    pub flag: i32,
    /// Text for people.
    pub remark: Option<&'a str>,
}

impl<'a> CommandHead<'a> {
    /// Returns the head of an answer to `request`, in its encoding and with its opaque id.
    pub fn answer(request: &Header<'_>, code: i32, remark: Option<&'a str>) -> CommandHead<'a> {
        CommandHead {
            serialization: request.serialization,
            code,
            language: LANGUAGE_JAVA,
            version: VERSION,
            opaque: request.opaque,
            flag: FLAG_RESPONSE,
            remark,
        }
    }

    /// Returns the head of a request of ours.
    pub fn request(serialization: Serialization, code: i32, opaque: i32) -> CommandHead<'static> {
        CommandHead {
            serialization,
            code,
            language: LANGUAGE_JAVA,
            version: VERSION,
            opaque,
            flag: 0,
            remark: None,
        }
    }

    /// Returns the same head with the one-way bit set.
    pub fn oneway(mut self) -> Self {
        self.flag |= FLAG_ONEWAY;
        self
    }
}

/// Appends one frame to `out`.
pub fn encode(out: &mut Vec<u8>, head: &CommandHead<'_>, ext: &(impl EncodeExt + ?Sized), body: &[u8]) {
    let start = begin(out, head, ext);
    out.extend_from_slice(body);
    end(out, start);
}

/// Starts a frame whose body the caller appends to `out` before calling [`end`] with the returned mark.
pub fn begin(out: &mut Vec<u8>, head: &CommandHead<'_>, ext: &(impl EncodeExt + ?Sized)) -> usize {
    let start = out.len();
    match head.serialization {
        Serialization::Json => encode_json(out, head, ext),
        Serialization::Binary => encode_binary(out, head, ext),
    }
    let header_len = (out.len() - start - 8) as u32;
    let word = header_len | ((head.serialization as u32) << 24);
    out[start + 4..start + 8].copy_from_slice(&word.to_be_bytes());
    start
}

/// Completes a frame begun at `start`: writes its length.
pub fn end(out: &mut [u8], start: usize) {
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn encode_json(out: &mut Vec<u8>, head: &CommandHead<'_>, ext: &(impl EncodeExt + ?Sized)) {
    out.extend_from_slice(b"\0\0\0\0\0\0\0\0{\"code\":");
    json_int(out, head.code as i64);
    let mut w = ExtWriter { out, json: true, first: true };
    ext.encode(&mut w);
    let any = !w.first;
    if any {
        out.push(b'}');
    } else if ext.always_present() {
        out.extend_from_slice(b",\"extFields\":{}");
    }
    out.extend_from_slice(b",\"flag\":");
    json_int(out, head.flag as i64);
    out.extend_from_slice(b",\"language\":\"");
    out.extend_from_slice(header::language_name(head.language).as_bytes());
    out.extend_from_slice(b"\",\"opaque\":");
    json_int(out, head.opaque as i64);
    if let Some(remark) = head.remark {
        out.extend_from_slice(b",\"remark\":");
        json_str(out, remark);
    }
    out.extend_from_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    json_int(out, head.version as i64);
    out.push(b'}');
}

fn encode_binary(out: &mut Vec<u8>, head: &CommandHead<'_>, ext: &(impl EncodeExt + ?Sized)) {
    let remark = head.remark.unwrap_or("");
    // Length and header word come first and are filled in later; all fixed fields go out in one piece.
    let mut fixed = [0; 25];
    // Codes above 32,767 lose their high bits, exactly as in Java (P§1.3).
    fixed[8..10].copy_from_slice(&(head.code as i16).to_be_bytes());
    fixed[10] = head.language;
    fixed[11..13].copy_from_slice(&(head.version as i16).to_be_bytes());
    fixed[13..17].copy_from_slice(&head.opaque.to_be_bytes());
    fixed[17..21].copy_from_slice(&head.flag.to_be_bytes());
    fixed[21..25].copy_from_slice(&(remark.len() as u32).to_be_bytes());
    out.extend_from_slice(&fixed);
    out.extend_from_slice(remark.as_bytes());
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    ext.encode(&mut ExtWriter { out, json: false, first: true });
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
}

/// Writes ext fields in the encoding of the frame. Its small functions are always inlined: their keys are literals,
/// so what is left of them is a few stores.
pub struct ExtWriter<'w> {
    out: &'w mut Vec<u8>,
    json: bool,
    first: bool,
}

impl ExtWriter<'_> {
    /// Writes a text field.
    #[inline(always)]
    pub fn text(&mut self, key: &str, value: &str) {
        self.utf8(key, value.as_bytes());
    }

    /// Writes a text field of which the caller has only the bytes.
    #[inline(always)]
    pub fn utf8(&mut self, key: &str, value: &[u8]) {
        if self.json {
            self.json_key(key);
            json_bytes(self.out, value);
        } else {
            self.binary_entry(key, value);
        }
    }

    /// Writes fields that [`Prepared`] has put together.
    pub fn prepared(&mut self, fields: &Prepared) {
        if fields.json.is_empty() {
            return;
        }
        if self.json {
            self.out.extend_from_slice(if self.first { b",\"extFields\":{" } else { b"," });
            self.out.extend_from_slice(&fields.json);
        } else {
            self.out.extend_from_slice(&fields.binary);
        }
        self.first = false;
    }

    /// Writes a number field.
    #[inline(always)]
    pub fn int(&mut self, key: &str, value: i64) {
        let mut digits = [0u8; 20];
        let text = format_int(value, &mut digits);
        if self.json {
            self.json_key(key);
            self.out.push(b'"');
            self.out.extend_from_slice(text);
            self.out.push(b'"');
        } else {
            self.binary_entry(key, text);
        }
    }

    /// Writes a boolean field.
    pub fn bool(&mut self, key: &str, value: bool) {
        self.text(key, if value { "true" } else { "false" });
    }

    #[inline(always)]
    fn binary_entry(&mut self, key: &str, value: &[u8]) {
        self.first = false;
        self.out.reserve(6 + key.len() + value.len());
        self.out.extend_from_slice(&(key.len() as u16).to_be_bytes());
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(&(value.len() as u32).to_be_bytes());
        self.out.extend_from_slice(value);
    }

    fn json_key(&mut self, key: &str) {
        self.out.extend_from_slice(if self.first { b",\"extFields\":{" } else { b"," });
        self.first = false;
        json_str(self.out, key);
        self.out.push(b':');
    }
}

/// Fields that are the same in every answer, in both encodings.
#[derive(Debug, Default, Clone)]
pub struct Prepared {
    json: Vec<u8>,
    binary: Vec<u8>,
}

impl Prepared {
    /// Puts fields together.
    pub fn new(fields: &[(&str, &str)]) -> Prepared {
        let mut p = Prepared::default();
        for (key, value) in fields {
            if !p.json.is_empty() {
                p.json.push(b',');
            }
            json_str(&mut p.json, key);
            p.json.push(b':');
            json_str(&mut p.json, value);
            ExtWriter { out: &mut p.binary, json: false, first: true }.text(key, value);
        }
        p
    }
}

fn json_int(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(format_int(value, &mut [0; 20]));
}

/// Writes decimal digits from the back of `digits`; no formatting machinery, because every answer does this.
fn format_int(value: i64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    &digits[at..]
}

/// Appends a quoted JSON string.
fn json_str(out: &mut Vec<u8>, text: &str) {
    json_bytes(out, text.as_bytes());
}

fn json_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let mut plain = 0;
    for (i, b) in bytes.iter().enumerate() {
        if *b >= 0x20 && *b != b'"' && *b != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[plain..i]);
        plain = i + 1;
        match *b {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            low => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(low >> 4), hex(low & 15)]),
        }
    }
    out.extend_from_slice(&bytes[plain..]);
    out.push(b'"');
}

fn hex(nibble: u8) -> u8 {
    b"0123456789abcdef"[nibble as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::Fields;

    fn sample(serialization: Serialization) -> Vec<u8> {
        let mut out = Vec::new();
        let head = CommandHead { remark: Some("r\"\u{1}ä"), ..CommandHead::request(serialization, 310, -7) };
        encode(&mut out, &head, &Fields(&[("a", "x\\y"), ("n", "42"), ("ü", "\n")]), b"body");
        out
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same_in_both_encodings() {
        for s in [Serialization::Json, Serialization::Binary] {
            let bytes = sample(s);
            let Decoded::Frame(f, used) = decode(&bytes) else { panic!("{s:?}") };
            assert_eq!(used, bytes.len());
            assert_eq!((f.header.code, f.header.opaque, f.header.version), (310, -7, VERSION));
            assert_eq!(f.header.remark.as_deref(), Some("r\"\u{1}ä"));
            assert_eq!(f.header.ext.get("a").unwrap(), "x\\y");
            assert_eq!(f.header.ext.get("n").unwrap(), "42");
            assert_eq!(f.header.ext.get("ü").unwrap(), "\n");
            assert_eq!(f.body, b"body");
        }
    }

    #[test]
    fn the_json_answer_has_javas_bytes() {
        let mut out = Vec::new();
        let head = CommandHead { flag: FLAG_RESPONSE, ..CommandHead::request(Serialization::Json, 0, 7) };
        encode(&mut out, &head, &Fields(&[]), b"");
        let text = r#"{"code":0,"flag":1,"language":"JAVA","opaque":7,"serializeTypeCurrentRPC":"JSON","version":479}"#;
        assert_eq!(&out[8..], text.as_bytes());
        assert_eq!(&out[..8], [0, 0, 0, (text.len() + 4) as u8, 0, 0, 0, text.len() as u8]);
    }

    #[test]
    fn half_a_frame_needs_more_and_says_how_much() {
        let bytes = sample(Serialization::Binary);
        for cut in 0..bytes.len() {
            match decode(&bytes[..cut]) {
                Decoded::NeedMore(n) => assert!(n > cut && n <= bytes.len(), "{cut}: {n}"),
                other => panic!("{cut}: {other:?}"),
            }
        }
    }

    #[test]
    fn lengths_outside_the_limits_are_malformed_before_anything_is_read() {
        let cases: [(&[u8], &str); 6] = [
            (&[0xff, 0xff, 0xff, 0xff], "negative"),
            (&[0, 0, 0, 3], "too small"),
            (&[1, 0, 0, 1], "16 MiB and one"),
            (&[0x16, 3, 1, 2], "a TLS hello"),
            (&[0, 0, 0, 8, 2, 0, 0, 0], "unknown header type"),
            (&[0, 0, 0, 8, 0, 0, 0, 5], "header longer than frame"),
        ];
        for (bytes, what) in cases {
            assert!(matches!(decode(bytes), Decoded::Malformed(_)), "{what}");
        }
    }

    #[test]
    fn prepared_fields_are_written_like_others() {
        struct Mixed(Prepared);
        impl EncodeExt for Mixed {
            fn encode(&self, w: &mut ExtWriter<'_>) {
                w.prepared(&self.0);
                w.int("n", 5);
                w.prepared(&self.0);
            }
        }
        for s in [Serialization::Json, Serialization::Binary] {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            let head = CommandHead::request(s, 1, 1);
            encode(&mut a, &head, &Mixed(Prepared::new(&[("x", "\""), ("y", "2")])), b"");
            encode(
                &mut b,
                &head,
                &Fields(&[("x", "\""), ("y", "2"), ("n", "5"), ("x", "\""), ("y", "2")]),
                b"",
            );
            assert_eq!(a, b);
        }
    }

    #[test]
    fn integers_are_written_as_text() {
        for v in [0, 7, -1, 1234567890123, i64::MIN, i64::MAX] {
            assert_eq!(format_int(v, &mut [0; 20]), v.to_string().as_bytes());
        }
    }
}
