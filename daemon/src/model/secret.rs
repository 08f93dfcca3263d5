//! A secret that can be read again.
//!
//! Owns [`Secret`]. Refuses to say where a secret comes from: `config` makes it. Invariant: a secret
//! is never printed, and is read anew whenever it is needed, so that a rotated one is found.

use std::fmt;
use std::sync::Arc;

/// A secret could not be read. The message names the place (variable, file), never the content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SecretError(pub String);

/// A password or key, read when it is needed.
#[derive(Clone)]
pub struct Secret {
    place: String,
    read: Arc<dyn Fn() -> Result<String, SecretError> + Send + Sync>,
}

impl Secret {
    /// A secret that `read` fetches from `place`, which is shown in messages.
    pub fn new(
        place: String,
        read: impl Fn() -> Result<String, SecretError> + Send + Sync + 'static,
    ) -> Self {
        Self { place, read: Arc::new(read) }
    }

    /// The secret, as it is now.
    ///
    /// # Errors
    /// If its place cannot be read.
    pub fn read(&self) -> Result<String, SecretError> {
        (self.read)()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.place)
    }
}
