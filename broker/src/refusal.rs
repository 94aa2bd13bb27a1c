//! What a handler says instead of an answer: a code and a remark, both as the reference has them, because clients and
//! tools show and match them.

use protocol::codes::ResponseCode;
use protocol::requests::MissingField;

/// Ends remarks about topics and groups that do not exist, as in Java.
pub const FAQ: &str = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Code of the answer.
    pub code: ResponseCode,
    /// Text for people.
    pub remark: String,
}

impl Refusal {
    /// Makes a refusal.
    pub fn new(code: ResponseCode, remark: impl Into<String>) -> Refusal {
        Refusal { code, remark: remark.into() }
    }

    /// A request that RocketMQ knows and this version does not serve.
    pub fn not_supported(what: &str) -> Refusal {
        Refusal::new(ResponseCode::REQUEST_CODE_NOT_SUPPORTED, format!("{what} is not supported yet"))
    }

    /// A request that only masters serve; clients turn to the master. In Java's words.
    pub fn not_by_a_slave() -> Refusal {
        Refusal::new(ResponseCode::SYSTEM_BUSY, "[REJECTREQUEST]system busy, start flow control for a while")
    }

    /// A change of topics or groups asked of a slave. In Java's words.
    pub fn tables_of_a_slave() -> Refusal {
        Refusal::new(
            ResponseCode::SYSTEM_ERROR,
            "Can't modify topic or subscription group from slave broker, please execute it from master broker.",
        )
    }

    /// An internal failure.
    pub fn failed(error: impl std::fmt::Display) -> Refusal {
        Refusal::new(ResponseCode::SYSTEM_ERROR, error.to_string())
    }
}

impl From<MissingField> for Refusal {
    fn from(e: MissingField) -> Refusal {
        Refusal::failed(e)
    }
}

impl From<protocol::json::JsonError> for Refusal {
    fn from(e: protocol::json::JsonError) -> Refusal {
        Refusal::failed(format!("read the request's body: {e}"))
    }
}

impl From<store::ReadError> for Refusal {
    fn from(e: store::ReadError) -> Refusal {
        Refusal::failed(e)
    }
}
