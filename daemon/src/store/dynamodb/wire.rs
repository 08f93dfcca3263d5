//! Asking DynamoDB.
//!
//! Owns the client, its credentials, and how long and how often one request is tried. Refuses to
//! know what is asked. Invariant: every try passes the limiter, and a request ends within the
//! patience that it was given, time in the limiter's queue not counted.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    Builder, Config, IdentityCache, Region, StalledStreamProtectionConfig,
};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::request_error::{Nature, RequestError};
use crate::store::rate_limiter::{Permit, RateLimiter};
use crate::store::{DynamodbSettings, Settings, StoreError, StoreErrorKind, Timeouts};

/// The first pause between two tries; the next ones double.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Credentials are not made anew more often than this.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// The way to DynamoDB.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) store: String,
    /// Where DynamoDB is, for messages.
    place: String,
    origin: Origin,
    current: Mutex<Current>,
    /// One renewal at a time.
    renewing: Semaphore,
    limiter: Arc<RateLimiter>,
    /// Capacity units a second that may be asked for.
    pub(super) capacity: Option<f64>,
    /// Reads at the same time.
    pub(super) concurrency: usize,
    timeouts: Timeouts,
}

/// Where clients come from.
#[derive(Debug)]
enum Origin {
    /// The SDK's default chain.
    Chain(DynamodbSettings),
    /// A client that was handed over.
    Given(Box<Config>),
}

#[derive(Debug)]
struct Current {
    client: Client,
    generation: u64,
    renewed: Option<Instant>,
}

/// What is asked, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand<'a> {
    pub(super) doing: &'static str,
    pub(super) relation: Option<&'a str>,
}

/// What is left of the time for one request.
#[derive(Debug)]
pub(super) struct Patience {
    left: Duration,
    /// Failures in a row.
    failures: u32,
    /// Requests sent.
    pub(super) requests: u64,
}

impl Patience {
    /// Waits before another try; false if there is no time for one.
    pub(super) async fn pause(&mut self) -> bool {
        let full = PAUSE_FIRST.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
        self.failures += 1;
        // Between half and all of it, so that those who failed together do not return together.
        let jitter = u32::try_from(RandomState::new().hash_one(self.failures) % 512).unwrap_or(0);
        let pause = full * (512 + jitter) / 1024;
        if pause >= self.left {
            return false;
        }
        self.left -= pause;
        tokio::time::sleep(pause).await;
        true
    }

    /// Something was served: the next pause is short again.
    pub(super) fn progress(&mut self) {
        self.failures = 0;
    }
}

impl Wire {
    /// A way through the SDK's default chain.
    pub(super) async fn open(
        settings: &Settings,
        dynamodb: &DynamodbSettings,
        limiter: Arc<RateLimiter>,
    ) -> Result<Self, StoreError> {
        let limit = settings.timeouts.patience;
        let config = tokio::time::timeout(limit, chain(dynamodb)).await.map_err(|_elapsed| {
            let doing = "looking for region and profile".to_owned();
            refuse(&settings.name, StoreErrorKind::Timeout { doing, after: limit })
        })?;
        if config.region().is_none() {
            let what = "no region: set `region`, AWS_REGION, or one in the profile";
            return Err(refuse(&settings.name, StoreErrorKind::Unfit(what.to_owned())));
        }
        let origin = Origin::Chain(dynamodb.clone());
        Ok(Self::new(settings, dynamodb, (origin, limiter), &config))
    }

    /// A way through a client that is there already.
    pub(super) fn given(settings: &Settings, dynamodb: &DynamodbSettings, client: &Client) -> Self {
        let origin = Origin::Given(Box::new(client.config().clone()));
        let limiter = Arc::new(RateLimiter::new(&settings.limits));
        Self::new(settings, dynamodb, (origin, limiter), client.config())
    }

    fn new(
        settings: &Settings,
        dynamodb: &DynamodbSettings,
        (origin, limiter): (Origin, Arc<RateLimiter>),
        config: &Config,
    ) -> Self {
        let region = config.region().map_or("an unknown region", Region::as_ref);
        let place = match &dynamodb.endpoint {
            Some(endpoint) => format!("DynamoDB at {}", without_user(endpoint)),
            None => format!("DynamoDB in {region}"),
        };
        let client = Client::from_conf(tuned(config, settings.timeouts));
        Self {
            store: settings.name.clone(),
            place,
            origin,
            current: Mutex::new(Current { client, generation: 0, renewed: None }),
            renewing: Semaphore::new(1),
            limiter,
            capacity: settings.limits.capacity_per_second,
            concurrency: usize::try_from(settings.limits.concurrency.get()).unwrap_or(1),
            timeouts: settings.timeouts,
        }
    }

    /// The time for one request.
    pub(super) fn patience(&self) -> Patience {
        Patience { left: self.timeouts.patience, failures: 0, requests: 0 }
    }

    /// The limits of the store.
    pub(super) fn limiter(&self) -> &RateLimiter {
        &self.limiter
    }

    /// Sends a request until it is answered, is refused for good, or patience ends. The permit under
    /// which it was answered is to be charged with its cost.
    pub(super) async fn ask<T, E, F>(
        &self,
        errand: Errand<'_>,
        patience: &mut Patience,
        send: impl Fn(Client) -> F,
    ) -> Result<(T, Permit<'_>), StoreError>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let mut renewed = false;
        loop {
            let permit = self.limiter.enter().await;
            let (client, generation) = self.client();
            let begun = now();
            patience.requests += 1;
            let answer = tokio::time::timeout(patience.left, send(client)).await;
            patience.left = patience.left.saturating_sub(begun.elapsed());
            let error = match answer {
                Ok(Ok(answer)) => {
                    permit.served();
                    return Ok((answer, permit));
                }
                Ok(Err(error)) => RequestError::of(&error),
                Err(_elapsed) => RequestError::late(),
            };
            if error.nature == Nature::Throttled {
                permit.throttled();
            }
            drop(permit);
            if error.nature == (Nature::Denied { fresh: true }) && !renewed {
                renewed = true;
                if self.renew(generation).await {
                    continue;
                }
            }
            if !error.heals_soon() || !patience.pause().await {
                return Err(self.failed(errand, error));
            }
        }
    }

    /// Sends a request once, apart from the limits.
    pub(super) async fn ask_once<T, E, F>(
        &self,
        errand: Errand<'_>,
        send: impl FnOnce(Client) -> F,
    ) -> Result<(), StoreError>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let (client, generation) = self.client();
        let error = match send(client).await {
            Ok(_answer) => return Ok(()),
            Err(error) => RequestError::of(&error),
        };
        if error.nature == (Nature::Denied { fresh: true }) {
            // The next one goes with other credentials, if there are any.
            self.renew(generation).await;
        }
        Err(self.failed(errand, error))
    }

    /// An error of this store.
    pub(super) fn error(&self, relation: Option<&str>, kind: StoreErrorKind) -> StoreError {
        let relation = relation.map(str::to_owned);
        StoreError { store: self.store.clone(), relation, kind, source: None }
    }

    fn failed(&self, errand: Errand<'_>, error: RequestError) -> StoreError {
        let after = if error.nature == (Nature::Late { connecting: true }) {
            self.timeouts.connect
        } else {
            self.timeouts.read.min(self.timeouts.patience)
        };
        self.error(errand.relation, error.into_kind(&self.place, errand.doing, after))
    }

    fn client(&self) -> (Client, u64) {
        let current = self.current();
        (current.client.clone(), current.generation)
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the client anew, because DynamoDB refused the credentials of client `generation`: the
    /// SDK keeps credentials without an expiry, and what it read of a profile, for ever. Whether
    /// there is another client now.
    async fn renew(&self, generation: u64) -> bool {
        let Ok(_alone) = self.renewing.acquire().await else { return false };
        {
            let current = self.current();
            if current.generation != generation {
                return true;
            }
            if current.renewed.is_some_and(|renewed| renewed.elapsed() < RENEW_EVERY) {
                return false;
            }
        }
        let config = match &self.origin {
            Origin::Chain(dynamodb) => {
                match tokio::time::timeout(self.timeouts.read, chain(dynamodb)).await {
                    Ok(config) => config,
                    Err(_elapsed) => return false,
                }
            }
            Origin::Given(config) => {
                config.to_builder().identity_cache(IdentityCache::lazy().build()).build()
            }
        };
        let client = Client::from_conf(tuned(&config, self.timeouts));
        let mut current = self.current();
        *current = Current { client, generation: generation + 1, renewed: Some(now()) };
        true
    }
}

/// The configuration that the SDK's default chain gives.
async fn chain(dynamodb: &DynamodbSettings) -> Config {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(region) = &dynamodb.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &dynamodb.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(endpoint) = &dynamodb.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let mut shared = loader.load().await;
    if shared.region().is_none() && dynamodb.endpoint.is_some() {
        // Requests to an endpoint of one's own are signed for some region; which does not matter.
        shared = shared.into_builder().region(Region::from_static("us-east-1")).build();
    }
    Builder::from(&shared).build()
}

/// `config` with our limits. The SDK does not try again: we do, under the limiter.
fn tuned(config: &Config, timeouts: Timeouts) -> Config {
    config
        .to_builder()
        .retry_config(RetryConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(timeouts.connect)
                .operation_attempt_timeout(timeouts.read)
                .build(),
        )
        // The timeout of the whole request says it already, and in one place.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build()
}

fn refuse(store: &str, kind: StoreErrorKind) -> StoreError {
    StoreError { store: store.to_owned(), relation: None, kind, source: None }
}

/// `endpoint` without user and password.
fn without_user(endpoint: &str) -> String {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    let host = rest.split('/').next().unwrap_or(rest);
    let host = host.rsplit('@').next().unwrap_or(host);
    format!("{scheme}://{host}")
}

#[expect(clippy::disallowed_methods, reason = "a store times its own requests")]
fn now() -> Instant {
    Instant::now()
}
