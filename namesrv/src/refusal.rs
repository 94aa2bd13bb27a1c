//! Why a request is refused, and the one table from there to the code and remark a client sees. Both equal the
//! reference implementation's wherever it refuses too.

use protocol::codes::{RequestCode, ResponseCode};
use protocol::listeners::BadListeners;
use protocol::requests::MissingField;

use crate::kv_config::ChangeError;
use crate::routes::RegisterRefusal;

/// A refusal; its text is the remark.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Nobody here answers this code.
    #[error(" request type {} not supported", .0.0)]
    Unsupported(RequestCode),
    /// A required field is not there.
    #[error(transparent)]
    Missing(#[from] MissingField),
    /// The body cannot be read.
    #[error("{0}")]
    BadBody(String),
    /// The body is not what the sender had.
    #[error("crc32 not match")]
    ChecksumMismatch,
    /// The addresses at further listeners cannot be used.
    #[error("gantryListeners: {0}")]
    BadListeners(#[from] BadListeners),
    /// The registration itself.
    #[error(transparent)]
    Register(#[from] RegisterRefusal),
    /// No broker that is there has the topic. Clients look for the first words and show the rest to people.
    #[error(
        "No topic route info in name server for the topic: {0}\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ \
         for further details."
    )]
    TopicUnknown(String),
    /// Too early: brokers have not had time to register.
    #[error("name server not ready")]
    NotReady,
    /// Switched off by a setting.
    #[error("disable")]
    Disabled,
    /// A KV entry without a place.
    #[error("namespace or key is null")]
    NoNamespaceOrKey,
    /// No such KV entry.
    #[error("No config item, Namespace: {namespace} Key: {key}")]
    NoConfigItem {
        /// Asked for.
        namespace: String,
        /// Asked for.
        key: String,
    },
    /// No such KV namespace.
    #[error("No config item, Namespace: {0}")]
    NoNamespace(String),
    /// The KV change was not made.
    #[error(transparent)]
    KvChange(#[from] ChangeError),
    /// A setting that may not be changed live.
    #[error("Can not update config in black list.")]
    BlackListed,
    /// A setting that cannot be changed to this value; the text says why.
    #[error("{0}")]
    Setting(String),
}

impl Refusal {
    /// Returns what the reference implementation says when an entry to be put (100) has no place.
    #[must_use]
    pub fn of_kv_put(refusal: Self) -> Self {
        match refusal {
            Self::Missing(MissingField("namespace" | "key")) => Self::NoNamespaceOrKey,
            other => other,
        }
    }

    /// Returns the code a client sees.
    #[must_use]
    pub fn code(&self) -> ResponseCode {
        match self {
            Self::Unsupported(_) => ResponseCode::REQUEST_CODE_NOT_SUPPORTED,
            Self::TopicUnknown(_) => ResponseCode::TOPIC_NOT_EXIST,
            Self::NoConfigItem { .. } | Self::NoNamespace(_) => ResponseCode::QUERY_NOT_FOUND,
            Self::BlackListed => ResponseCode::NO_PERMISSION,
            Self::Missing(_)
            | Self::BadBody(_)
            | Self::ChecksumMismatch
            | Self::BadListeners(_)
            | Self::Register(_)
            | Self::NotReady
            | Self::Disabled
            | Self::NoNamespaceOrKey
            | Self::KvChange(_)
            | Self::Setting(_) => ResponseCode::SYSTEM_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_remarks_are_the_reference_implementations() {
        for (refusal, code, remark) in [
            (Refusal::Unsupported(RequestCode(9999)), 3, " request type 9999 not supported"),
            (Refusal::Missing(MissingField("topic")), 1, "the custom field <topic> is null"),
            (Refusal::ChecksumMismatch, 1, "crc32 not match"),
            (Refusal::Register(RegisterRefusal::SingleTopicFirst), 1, "register broker failed"),
            (
                Refusal::TopicUnknown("T".to_owned()),
                17,
                "No topic route info in name server for the topic: T\nSee \
                 https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.",
            ),
            (Refusal::NotReady, 1, "name server not ready"),
            (Refusal::Disabled, 1, "disable"),
            (Refusal::NoNamespaceOrKey, 1, "namespace or key is null"),
            (
                Refusal::NoConfigItem { namespace: "n".to_owned(), key: "k".to_owned() },
                22,
                "No config item, Namespace: n Key: k",
            ),
            (Refusal::NoNamespace("n".to_owned()), 22, "No config item, Namespace: n"),
            (Refusal::BlackListed, 16, "Can not update config in black list."),
        ] {
            assert_eq!((refusal.code().0, refusal.to_string().as_str()), (code, remark));
        }
    }
}
