//! Why a request did not get the answer it wanted, and the one way to send it.

use std::time::Duration;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::requests::{DecodeExt, EncodeExt};
use remoting::client::decode_fields;
use remoting::{CallError, Client, Response};

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No answer; unless the connection could not be made, the request may have been carried out.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The server answered with a code that is not success.
    #[error("{addr} refused {request}: {code}{}{remark}", if remark.is_empty() { "" } else { ", " })]
    Refused {
        /// The server.
        addr: String,
        /// What was asked.
        request: &'static str,
        /// Its code.
        code: ResponseCode,
        /// Its words.
        remark: String,
    },
    /// The answer is none that this request can have.
    #[error("{addr} answered {request} unreadably: {problem}")]
    Unreadable {
        /// The server.
        addr: String,
        /// What was asked.
        request: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl RequestError {
    /// Returns the code of a refusal; `None` when there was no or no readable answer.
    pub fn refusal(&self) -> Option<ResponseCode> {
        match self {
            RequestError::Refused { code, .. } => Some(*code),
            RequestError::Call(_) | RequestError::Unreadable { .. } => None,
        }
    }
}

/// A request on its way: what was asked of whom, for errors that name both.
pub(crate) struct Asked<'a> {
    pub client: &'a Client,
    pub code: RequestCode,
    pub timeout: Duration,
}

impl Asked<'_> {
    /// Sends the request; an answer of any code is `Ok`.
    pub async fn any(&self, ext: &impl EncodeExt, body: &[u8]) -> Result<Response, RequestError> {
        Ok(self.client.call(self.code, ext, body, self.timeout).await?)
    }

    /// Sends the request; only success is `Ok`.
    pub async fn success(&self, ext: &impl EncodeExt, body: &[u8]) -> Result<Response, RequestError> {
        let response = self.any(ext, body).await?;
        match response.code {
            ResponseCode::SUCCESS => Ok(response),
            _ => Err(self.refused(response)),
        }
    }

    /// Reads the custom fields of an answer that owns its texts.
    pub fn reply<T: for<'a> DecodeExt<'a>>(&self, response: &Response) -> Result<T, RequestError> {
        decode_fields(response, |ext| T::decode(ext)).map_err(|error| self.unreadable(error))
    }

    pub fn refused(&self, response: Response) -> RequestError {
        RequestError::Refused {
            addr: self.client.addr().to_owned(),
            request: self.code.name(),
            code: response.code,
            remark: response.remark.unwrap_or_default(),
        }
    }

    pub fn unreadable(&self, problem: impl ToString) -> RequestError {
        RequestError::Unreadable {
            addr: self.client.addr().to_owned(),
            request: self.code.name(),
            problem: problem.to_string(),
        }
    }
}
