//! What went wrong between driftd and DynamoDB.
//!
//! Owns the reading of the SDK's errors: which heal by trying again, which by fresh credentials, and
//! what is said of them. Refuses to try again itself. Invariant: a message holds the cause, and
//! neither row values nor secrets: of an error answer only its code and the first line of its words
//! are kept, of an answer that cannot be read nothing.

use std::error::Error;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::store::StoreErrorKind;

/// The most characters of a message.
const MESSAGE_MAX: usize = 400;

/// Codes with which DynamoDB says that it is asked too much.
const THROTTLES: &[&str] = &[
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "LimitExceededException",
    "SlowDown",
];

/// Codes that say that the credentials are not, or no longer, good.
const STALE_CREDENTIALS: &[&str] = &[
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

/// A request that failed.
#[derive(Debug)]
pub(super) struct RequestError {
    pub(super) nature: Nature,
    /// The cause, in words that may be shown.
    pub(super) message: String,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// Asked too much.
    Throttled,
    /// Did not reach a server that works.
    Unreachable,
    /// No answer in time.
    Late { connecting: bool },
    /// Refused; `fresh` credentials may help.
    Denied { fresh: bool },
    /// There is no such table.
    NoRelation,
    /// Any other answer.
    Answer,
}

impl RequestError {
    /// What the SDK's error means.
    pub(super) fn of<E>(error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        match error {
            SdkError::ServiceError(answer) => Self::answered(answer.err(), status),
            SdkError::TimeoutError(_) => Self::late(),
            SdkError::DispatchFailure(failure) => {
                let cause = failure.as_connector_error();
                let cause = cause.map_or(error as &(dyn Error + 'static), |cause| cause);
                if let Some(credentials) = credentials_error(cause) {
                    return Self::credentials(credentials);
                }
                let message = chain(cause);
                if failure.is_timeout() {
                    return Self { nature: Nature::Late { connecting: true }, message };
                }
                let nature = if failure.is_user() { Nature::Answer } else { Nature::Unreachable };
                Self { nature, message }
            }
            SdkError::ConstructionFailure(_) => match credentials_error(error) {
                Some(credentials) => Self::credentials(credentials),
                None => Self { nature: Nature::Answer, message: chain(error) },
            },
            SdkError::ResponseError(_) | _ => Self::garbled(),
        }
    }

    /// No answer in time.
    pub(super) fn late() -> Self {
        Self { nature: Nature::Late { connecting: false }, message: String::new() }
    }

    /// An answer that cannot be read. The SDK's words may quote it.
    fn garbled() -> Self {
        let message = "its answer was cut short, or is not that of a DynamoDB".to_owned();
        Self { nature: Nature::Unreachable, message }
    }

    fn answered<E: ProvideErrorMetadata>(error: &E, status: Option<u16>) -> Self {
        let code = error.code();
        if code.is_none() && status.is_some_and(|status| status < 400) {
            return Self::garbled();
        }
        let known = code.unwrap_or_default();
        let nature = match status {
            _ if known == "ResourceNotFoundException" => Nature::NoRelation,
            _ if THROTTLES.contains(&known) => Nature::Throttled,
            _ if STALE_CREDENTIALS.contains(&known) => Nature::Denied { fresh: true },
            _ if known.starts_with("AccessDenied") => Nature::Denied { fresh: false },
            Some(429) => Nature::Throttled,
            Some(401 | 403) => Nature::Denied { fresh: false },
            Some(500..) => Nature::Unreachable,
            Some(_) | None => Nature::Answer,
        };
        let code = code.map(str::to_owned);
        let code = code.or_else(|| status.map(|status| format!("HTTP status {status}")));
        let code = code.unwrap_or_else(|| "an error without a code".to_owned());
        let message = match error.message().map(tame).filter(|words| !words.is_empty()) {
            Some(words) => format!("{code}: {words}"),
            None => code,
        };
        Self { nature, message }
    }

    fn credentials(error: &CredentialsError) -> Self {
        let what = if matches!(error, CredentialsError::CredentialsNotLoaded(_)) {
            "no credentials found: neither in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, nor in the \
             AWS profile (AWS_PROFILE, ~/.aws), nor from a web identity, a container or an instance"
        } else {
            "the credentials cannot be loaded"
        };
        let message = format!("{what}: {}", chain(error));
        Self { nature: Nature::Denied { fresh: true }, message }
    }

    /// Whether it may heal within a request's patience.
    pub(super) const fn heals_soon(&self) -> bool {
        match self.nature {
            Nature::Throttled | Nature::Unreachable | Nature::Late { .. } => true,
            Nature::Denied { .. } | Nature::NoRelation | Nature::Answer => false,
        }
    }

    /// What the store says of it. `place` is where DynamoDB was looked for, `after` how long an
    /// answer was waited for.
    pub(super) fn into_kind(self, place: &str, doing: &str, after: Duration) -> StoreErrorKind {
        match self.nature {
            Nature::Throttled => StoreErrorKind::Throttled(self.message),
            Nature::Unreachable => {
                StoreErrorKind::Unreachable(format!("{place}: {}", self.message))
            }
            Nature::Late { connecting } => StoreErrorKind::Timeout {
                doing: if connecting { format!("connecting to {place}") } else { doing.to_owned() },
                after,
            },
            Nature::Denied { .. } => StoreErrorKind::Denied(self.message),
            Nature::NoRelation => StoreErrorKind::NoSuchRelation { near: Vec::new() },
            Nature::Answer => StoreErrorKind::Answer(self.message),
        }
    }
}

/// The error about credentials among the causes of `error`.
fn credentials_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CredentialsError> {
    causes(error).find_map(|error| error.downcast_ref::<CredentialsError>())
}

/// The error and what caused it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// The error and its causes, each once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words = String::new();
    for error in causes(error) {
        let next = error.to_string();
        if !words.contains(&next) {
            if !words.is_empty() {
                words.push_str(": ");
            }
            words.push_str(&next);
        }
    }
    tame(&words)
}

/// The first line, up to a bound. Complaints about a signature go on with the request that was
/// signed, and that holds the session token.
fn tame(words: &str) -> String {
    let line = words.lines().next().unwrap_or_default();
    let line = line.split("The Canonical String").next().unwrap_or_default().trim_end();
    line.chars().filter(|letter| !letter.is_control()).take(MESSAGE_MAX).collect()
}
