//! Who watches stores.
//!
//! Owns a task for each store that looks for it while it does not answer, and what the loop was told of
//! stores. Refuses to decide what follows. Invariant: a store is watched once, however often it is
//! opened; and of each it is told how it stands as soon as that is known, so that what was down before a
//! restart is not down for ever.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::PairingSettings;
use crate::model::{Moment, Outage, StoreStates};
use crate::report::panics;
use crate::run::Clock;
use crate::store::Store;
use crate::store::watched::{Board, Watch};

/// The wait after a probe that failed because of driftd itself.
const AFTER_PANIC: Duration = Duration::from_secs(30);

/// The stores that are watched. The tasks end with this.
pub(super) struct Watching {
    clock: Clock,
    board: Board,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    stores: BTreeMap<String, Arc<Watch>>,
    tasks: JoinSet<()>,
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watching").finish_non_exhaustive()
    }
}

impl Watching {
    pub(super) fn new(clock: &Clock) -> Self {
        let (clock, board) = (clock.clone(), Board::default());
        Self { clock, board, watched: Mutex::default() }
    }

    /// Watches a store that was opened, which tries one request for `patience`.
    pub(super) fn watch(&self, store: &Arc<dyn Store>, patience: Duration) -> Arc<Watch> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = watched.stores.get(store.name()) {
            known.reopened(Arc::clone(store));
            return Arc::clone(known);
        }
        let now = Arc::from(self.clock.shared());
        let watch = Watch::new(Arc::clone(store), patience, now, self.board.clone());
        watched.stores.insert(store.name().to_owned(), Arc::clone(&watch));
        watched.tasks.spawn(attend(
            store.name().to_owned(),
            Arc::clone(&watch),
            self.clock.clone(),
        ));
        watch
    }

    /// How stores stand, from the begin on. Of those that are `down` and that no pairing reads nothing
    /// will be known: that is over.
    pub(super) fn told(&self, down: &[Outage], pairings: &[PairingSettings]) -> Told {
        let used = |store: &String| {
            pairings
                .iter()
                .any(|pairing| [&pairing.source.store, &pairing.target.store].contains(&store))
        };
        let gone = down.iter().map(|outage| &outage.store).filter(|store| !used(store));
        Told {
            board: self.board.subscribe(),
            told: StoreStates::new(),
            gone: gone.cloned().collect(),
        }
    }
}

/// Looks for a store whenever it does not answer, for ever.
async fn attend(store: String, watch: Arc<Watch>, clock: Clock) {
    let now = clock.shared();
    let sleep = move |until: Moment| -> BoxFuture<'static, ()> {
        let clock = clock.clone();
        async move { clock.sleep_until(until).await }.boxed()
    };
    while let Err(panicked) = panics::caught_in(watch.attend(&sleep)).await {
        tracing::error!(target: "driftd", store, "driftd itself failed to probe: {panicked}");
        // What is due still is, and may fail again.
        sleep(now().after(AFTER_PANIC)).await;
    }
}

/// What was told of stores.
pub(super) struct Told {
    board: watch::Receiver<StoreStates>,
    told: StoreStates,
    /// Those of which nothing will be known.
    gone: Vec<String>,
}

impl Told {
    /// The next store that stands otherwise than was told.
    pub(super) async fn next(&mut self) -> (String, Option<Outage>) {
        if let Some(gone) = self.gone.pop() {
            return (gone, None);
        }
        loop {
            let new = |(store, outage): &(&String, &Option<Outage>)| {
                self.told.get(*store) != Some(*outage)
            };
            let states = self.board.borrow_and_update();
            let next =
                states.iter().find(new).map(|(store, outage)| (store.clone(), outage.clone()));
            drop(states);
            if let Some((store, outage)) = next {
                self.told.insert(store.clone(), outage.clone());
                return (store, outage);
            }
            if self.board.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// How stores stand, as was told.
    pub(super) const fn states(&self) -> &StoreStates {
        &self.told
    }
}
