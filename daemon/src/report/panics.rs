//! Panics that end one turn of something and nothing else.
//!
//! Owns catching them, and knowing where they happened. Refuses to keep what a panic says, which may
//! hold values: the standard library's hook has it on standard error. Invariant: whoever is called
//! through here has an answer for a panic, with its place in the code.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use futures::FutureExt as _;

thread_local! {
    /// Where the last panic of this thread happened.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

static LISTENING: Once = Once::new();

/// Something panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    /// File, line and column.
    place: Option<String>,
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "a panic at {place}"),
            None => f.write_str("a panic, of which standard error says where"),
        }
    }
}

impl std::error::Error for Panicked {}

/// Does `work`. What it was changing when it panicked must not be relied on afterwards, or be whole at
/// every instant.
///
/// # Errors
/// If it panics.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    listen();
    catch_unwind(AssertUnwindSafe(work)).map_err(|_words| panicked())
}

/// As [`caught`], of a future.
///
/// # Errors
/// If it panics.
pub async fn caught_in<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    listen();
    AssertUnwindSafe(work).catch_unwind().await.map_err(|_words| panicked())
}

fn panicked() -> Panicked {
    Panicked { place: PLACE.take() }
}

/// Notes where panics happen from now on, before whoever listened until now is told of them.
fn listen() {
    LISTENING.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PLACE.set(panic.location().map(ToString::to_string));
            others(panic);
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_caught_with_its_place_and_without_its_words() {
        let told = [
            caught(|| panic!("secret")).map(|(): ()| ()),
            caught_in(async { panic!("secret") }).await.map(|(): ()| ()),
        ];
        for told in told {
            let words = told.unwrap_err().to_string();
            assert!(words.contains("report/panics.rs:"), "{words}");
            assert!(!words.contains("secret"), "{words}");
        }
        assert_eq!(caught(|| 3), Ok(3));
        assert_eq!(caught_in(async { 3 }).await, Ok(3));
    }
}
