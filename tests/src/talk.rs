//! One blocking connection that speaks the wire: typed requests, or any bytes at all. Deliberately not crate `client`,
//! so that the rings judge servers by the protocol alone.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{self, CommandHead, Decoded};
use protocol::header::{ExtFields, Serialization};
use protocol::requests::EncodeExt;

/// How long one answer may take before the server counts as not serving.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to a server.
pub struct Talk {
    stream: TcpStream,
    buffer: Vec<u8>,
    opaque: i32,
    /// How headers are written.
    pub serialization: Serialization,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// How the request ended.
    pub code: ResponseCode,
    /// Text for people.
    pub remark: String,
    /// Custom fields in the order of the wire.
    pub fields: Vec<(String, String)>,
    /// Body, possibly empty.
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns a custom field, empty when there is none.
    pub fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// Returns a numeric custom field.
    ///
    /// # Panics
    /// When it is absent or no number: the answer is not the one it was taken for.
    pub fn number(&self, name: &str) -> i64 {
        self.field(name).parse().unwrap_or_else(|_| panic!("no number {name} in {self:?}"))
    }
}

impl Talk {
    /// Connects to `host:port`.
    pub fn connect(addr: &str) -> io::Result<Talk> {
        let addr = addr.parse().map_err(|_| io::Error::new(ErrorKind::InvalidInput, addr.to_string()))?;
        let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Talk { stream, buffer: Vec::new(), opaque: 0, serialization: Serialization::Json })
    }

    /// Sends a request and waits for its answer; other answers that come before it are passed over.
    pub fn call(&mut self, code: RequestCode, ext: &impl EncodeExt, body: &[u8]) -> io::Result<Answer> {
        let opaque = self.send(code, ext, body)?;
        loop {
            match self.receive()? {
                (got, answer) if got == opaque => return Ok(answer),
                _ => {}
            }
        }
    }

    /// Sends a request without waiting; returns its opaque id.
    pub fn send(&mut self, code: RequestCode, ext: &impl EncodeExt, body: &[u8]) -> io::Result<i32> {
        self.opaque += 1;
        let mut out = Vec::with_capacity(body.len() + 512);
        frame::encode(&mut out, &CommandHead::request(self.serialization, code.0, self.opaque), ext, body);
        self.stream.write_all(&out)?;
        Ok(self.opaque)
    }

    /// Sends a request that is never answered.
    pub fn tell(&mut self, code: RequestCode, ext: &impl EncodeExt, body: &[u8]) -> io::Result<()> {
        self.opaque += 1;
        let mut out = Vec::new();
        let head = CommandHead::request(self.serialization, code.0, self.opaque).oneway();
        frame::encode(&mut out, &head, ext, body);
        self.stream.write_all(&out)
    }

    /// Writes bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Waits for the next answer; returns its opaque id with it. Requests of the server are passed over.
    pub fn receive(&mut self) -> io::Result<(i32, Answer)> {
        loop {
            if let Some(found) = self.take()? {
                return Ok(found);
            }
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => self.buffer.extend_from_slice(&chunk[..n]),
            }
        }
    }

    /// Reads and drops what the server sends until it closes the connection or is silent for `silence`. Returns
    /// whether it closed.
    pub fn drain(&mut self, silence: Duration) -> io::Result<bool> {
        self.stream.set_read_timeout(Some(silence))?;
        let mut chunk = [0; 64 * 1024];
        let closed = loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break false,
                Err(_) => break true,
            }
        };
        self.stream.set_read_timeout(Some(PATIENCE))?;
        Ok(closed)
    }

    fn take(&mut self) -> io::Result<Option<(i32, Answer)>> {
        loop {
            let (found, used) = match frame::decode(&self.buffer) {
                Decoded::NeedMore(_) => return Ok(None),
                Decoded::Malformed(reason) => return Err(io::Error::new(ErrorKind::InvalidData, reason)),
                Decoded::Frame(view, used) => {
                    let header = &view.header;
                    let answer = header.is_response().then(|| Answer {
                        code: ResponseCode(header.code),
                        remark: header.remark.as_deref().unwrap_or_default().to_string(),
                        fields: fields(&header.ext),
                        body: view.body.to_vec(),
                    });
                    (answer.map(|answer| (header.opaque, answer)), used)
                }
            };
            self.buffer.drain(..used);
            if found.is_some() {
                return Ok(found);
            }
        }
    }
}

fn fields(ext: &ExtFields<'_>) -> Vec<(String, String)> {
    let mut all = Vec::new();
    ext.visit(|key, value| all.push((key.to_string(), value.into_owned())));
    all
}
