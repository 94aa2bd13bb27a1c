//! Servers whose answers are ready at once: one function from request to reply. Every request is answered exactly
//! once and a one-way request never, by construction.

use std::sync::Arc;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{self, CommandHead, ExtWriter, FrameView};
use protocol::header::Header;
use protocol::requests::EncodeExt;

use crate::connection::{Peer, Session};
use crate::server::Service;

/// A server that answers at once.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request; `reply` begins as an empty success.
    fn handle(&self, peer: &Peer, request: &Request<'_>, reply: &mut Reply);

    /// A connection is gone.
    fn closed(&self, _peer: &Peer) {}
}

/// A request as a handler sees it.
pub struct Request<'a> {
    /// Decoded header.
    pub header: Header<'a>,
    /// Body, possibly empty.
    pub body: &'a [u8],
}

impl Request<'_> {
    /// Returns what is asked for.
    pub fn code(&self) -> RequestCode {
        RequestCode(self.header.code)
    }
}

/// The answer to be.
pub struct Reply {
    /// How the request ended.
    pub code: ResponseCode,
    /// Text for people; expected with every code but success.
    pub remark: Option<String>,
    /// Body, possibly empty.
    pub body: Vec<u8>,
    ext: Option<Box<dyn EncodeExt + Send>>,
}

impl Default for Reply {
    fn default() -> Self {
        Reply { code: ResponseCode::SUCCESS, remark: None, body: Vec::new(), ext: None }
    }
}

impl Reply {
    /// Sets the custom fields.
    pub fn set_ext(&mut self, ext: impl EncodeExt + Send + 'static) {
        self.ext = Some(Box::new(ext));
    }

    /// Makes it a refusal.
    pub fn refuse(&mut self, code: ResponseCode, remark: impl Into<String>) {
        self.code = code;
        self.remark = Some(remark.into());
    }

    /// Appends the answer to a request as a frame.
    pub fn encode(&self, request: &Header<'_>, out: &mut Vec<u8>) {
        let head = CommandHead::answer(request, self.code.0, self.remark.as_deref());
        frame::encode(out, &head, self, &self.body);
    }
}

impl EncodeExt for Reply {
    fn encode(&self, w: &mut ExtWriter<'_>) {
        if let Some(ext) = &self.ext {
            ext.encode(w);
        }
    }
}

/// A handler as a service.
pub struct HandlerService<H>(pub Arc<H>);

impl<H: Handler> Service for HandlerService<H> {
    type Session = HandlerSession<H>;

    fn accept(&self, peer: &Peer) -> HandlerSession<H> {
        HandlerSession { handler: self.0.clone(), peer: peer.clone() }
    }
}

/// One connection of a handler.
pub struct HandlerSession<H> {
    handler: Arc<H>,
    peer: Peer,
}

impl<H: Handler> Session for HandlerSession<H> {
    fn on_frame(&mut self, frame: FrameView<'_>, out: &mut Vec<u8>) {
        if frame.header.is_response() {
            return;
        }
        let request = Request { header: frame.header, body: frame.body };
        let mut reply = Reply::default();
        self.handler.handle(&self.peer, &request, &mut reply);
        if !request.header.is_oneway() {
            reply.encode(&request.header, out);
        }
    }

    fn on_close(&mut self) {
        self.handler.closed(&self.peer);
    }
}
