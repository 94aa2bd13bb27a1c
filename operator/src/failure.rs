//! Why a look at a cluster or one of its steps failed. The variants are labels of `reconcile_errors_total`.

use std::future::Future;
use std::time::Duration;

use crate::members::TellError;

/// What went wrong. All of it may work the next time.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Someone else was faster; the next look sees what they did.
    #[error("{what}: {why}")]
    Conflict { what: String, why: String },
    /// The API server refuses it as it is.
    #[error("{what}: refused by the API server: {why}")]
    Refused { what: String, why: String },
    /// The operator lacks a right.
    #[error("{what}: not allowed: {why}; compare the operator's role with the chart's")]
    Forbidden { what: String, why: String },
    /// Its namespace goes, and the cluster with it.
    #[error("{what}: its namespace is being terminated")]
    Ending { what: String },
    /// The API server did not answer, or with an error of its own.
    #[error("{what}: {why}")]
    Unanswered { what: String, why: String },
    /// A member was not told something.
    #[error(transparent)]
    Member(#[from] TellError),
    /// Something that Kubernetes has cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// Another operator acts now.
    #[error("this operator does not lead any more")]
    NotLeading,
    /// The same steps were taken again and again.
    #[error("taken {times} times without effect: {steps}")]
    NoEffect { times: u32, steps: String },
}

impl Failure {
    /// Returns the variant's name.
    pub fn reason(&self) -> &'static str {
        match self {
            Failure::Conflict { .. } => "Conflict",
            Failure::Refused { .. } => "Refused",
            Failure::Forbidden { .. } => "Forbidden",
            Failure::Ending { .. } => "Ending",
            Failure::Unanswered { .. } => "Unanswered",
            Failure::Member(_) => "Member",
            Failure::Unreadable(_) => "Unreadable",
            Failure::NotLeading => "NotLeading",
            Failure::NoEffect { .. } => "NoEffect",
        }
    }

    /// Sorts an error of the client by what can be done about it.
    pub fn of(what: &str, error: kube::Error) -> Failure {
        let what = what.to_owned();
        match error {
            kube::Error::Api(status) => {
                let why = format!("{} ({})", status.message, status.code);
                let causes = status.details.iter().flat_map(|details| &details.causes);
                if causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating") {
                    return Failure::Ending { what };
                }
                match status.code {
                    404 | 409 | 410 => Failure::Conflict { what, why },
                    401 | 403 => Failure::Forbidden { what, why },
                    400 | 405 | 413 | 415 | 422 => Failure::Refused { what, why },
                    _ => Failure::Unanswered { what, why },
                }
            }
            error => Failure::Unanswered { what, why: error.to_string() },
        }
    }

    /// Waits for an answer of the API server.
    ///
    /// # Errors
    /// It refused, or did not answer in time.
    pub async fn within<T>(
        limit: Duration,
        what: &str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Failure> {
        Failure::in_time(limit, what, request).await?.map_err(|error| Failure::of(what, error))
    }

    /// Waits for an answer of the API server, whatever it says.
    ///
    /// # Errors
    /// It did not answer in time.
    pub async fn in_time<T>(
        limit: Duration,
        what: &str,
        request: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        tokio::time::timeout(limit, request).await.map_err(|_| Failure::Unanswered {
            what: what.to_owned(),
            why: format!("no answer within {limit:?}"),
        })
    }
}
