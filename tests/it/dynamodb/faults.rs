//! The DynamoDB store when DynamoDB, the network or the credentials are in trouble.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_sdk_dynamodb::config::IdentityCache;
use driftd::model::FaultCode;
use driftd::store::dynamodb::with_client;
use driftd_tests::dynamodb::config;
use tokio::net::TcpListener;

use super::*;

/// Settings of a store that gives up soon.
fn impatient() -> Settings {
    let mut settings = settings();
    settings.timeouts.connect = Duration::from_millis(500);
    settings.timeouts.read = Duration::from_millis(500);
    settings.timeouts.patience = Duration::from_millis(800);
    settings
}

async fn proxied(count: usize) -> (Server, Proxy) {
    let server = users(count).await;
    let proxy = Proxy::start(&server.endpoint).await;
    (server, proxy)
}

/// What a scan of the whole table gives, and a fetch of `u0`, `u1`, `u2`.
async fn both(store: &Arc<dyn Store>, read: &Read) -> (Result<Vec<Page>, StoreError>, Fetched) {
    let extent = Extent::Segment { index: 0, of: 1 };
    let scanned = store.scan(read, &extent).try_collect().await;
    (scanned, store.fetch(read, &keys(["u0", "u1", "u2"]), Consistency::Eventual).await)
}

/// The errors of a scan and a fetch that both failed as a whole.
async fn errors(store: &Arc<dyn Store>, read: &Read) -> [StoreError; 2] {
    let (scanned, fetched) = both(store, read).await;
    let (positions, mut unread): (Vec<_>, Vec<_>) = fetched.unread.into_iter().unzip();
    let mut positions = positions.concat();
    positions.sort_unstable();
    assert_eq!(positions, [0, 1, 2]);
    assert_eq!(cells(read, &fetched.pages), []);
    [scanned.unwrap_err(), unread.pop().unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_heals_is_tried_again_and_counted() {
    let faults = [
        Action::throttle(),
        Action::Fail(400, "ThrottlingException", "Rate exceeded"),
        Action::Fail(400, "RequestLimitExceeded", "Too much"),
        Action::Fail(500, "InternalServerError", "Internal"),
        Action::Say(503, "<html>busy</html>"),
        Action::Cut,
    ];
    let healed = faults.map(|fault| async move {
        let (_server, proxy) = proxied(3).await;
        let store = store(&proxy.endpoint, &settings());
        let read = read(&store, "users", &["age"], &[]).await;
        proxy.rule(move |call| if call.before < 3 { fault.clone() } else { Action::Forward });
        let (scanned, fetched) = both(&store, &read).await;
        let (scanned, (fetched, fetch_cost)) = (scanned.unwrap(), all_read(fetched));
        assert_eq!(cells(&read, &scanned).len(), 3);
        assert_eq!(cells(&read, &fetched).len(), 3);
        assert_eq!((cost(&scanned).requests, fetch_cost.requests), (4, 4));
    });
    futures::future::join_all(healed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_heal_is_told_when_patience_ends() {
    let garbage = r#"{"Items": [{"pk": {"S": s3cret}}]}"#;
    let cases = [
        (
            Action::throttle(),
            "store-throttled",
            "ProvisionedThroughputExceededException: The level",
        ),
        (Action::Say(429, ""), "store-throttled", "HTTP status 429"),
        (
            Action::Fail(500, "InternalServerError", "Internal"),
            "store-unreachable",
            "InternalServerError: Internal",
        ),
        (Action::Say(503, "<html>"), "store-unreachable", "HTTP status 503"),
        (Action::Say(200, garbage), "store-unreachable", "is not that of a DynamoDB"),
        (Action::Cut, "store-unreachable", "cannot reach DynamoDB in us-east-1"),
    ];
    let told = cases.map(|(fault, code, words)| async move {
        let (_server, proxy) = proxied(3).await;
        let store = store(&proxy.endpoint, &impatient());
        let read = read(&store, "users", &["age"], &[]).await;
        proxy.rule(move |_| fault.clone());
        for error in errors(&store, &read).await {
            assert_eq!(error.kind.code().as_str(), code, "{error}");
            let told = error.to_string();
            assert!(told.contains(words), "{told}");
            assert!(told.contains("store `target`, relation `users`"), "{told}");
            assert!(!told.contains("s3cret"), "{told}");
        }
        assert!(proxy.calls("Scan").len() > 2, "it was tried again");
    });
    futures::future::join_all(told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_heal_is_not_tried_again() {
    let (_server, proxy) = proxied(3).await;
    let store = store(&proxy.endpoint, &settings());
    let read = read(&store, "users", &["age"], &[]).await;
    proxy.rule(|_| Action::Fail(400, "ValidationException", "Limit must be positive"));
    for error in errors(&store, &read).await {
        assert_eq!(
            error.kind,
            StoreErrorKind::Answer("ValidationException: Limit must be positive".to_owned())
        );
    }
    let denied = "User: arn:aws:iam::1:user/x is not authorized to perform: dynamodb:Scan";
    proxy.rule(move |_| Action::Fail(400, "AccessDeniedException", denied));
    for error in errors(&store, &read).await {
        let StoreErrorKind::Denied(words) = &error.kind else { panic!("{error}") };
        assert!(words.contains("not authorized to perform: dynamodb:Scan"), "{words}");
    }
    assert_eq!(proxy.calls("Scan").len(), 2);
    // What may be the fault of one key of three is asked in parts; whom nothing is allowed is not.
    assert_eq!(proxy.calls("BatchGetItem").len(), 5 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_left_unprocessed_are_asked_again() {
    let (_server, proxy) = proxied(250).await;
    let store = store(&proxy.endpoint, &settings());
    let read = read(&store, "users", &["age"], &[]).await;
    // The first answers leave out every key that ends in 7; the second ones one of them still.
    let sevens = Arc::new(|key: &Json| key["pk"]["S"].as_str().unwrap().ends_with('7'));
    let one = Arc::new(|key: &Json| key["pk"]["S"] == "u17");
    proxy.rule(move |call| match call.body["RequestItems"]["users"]["Keys"].as_array() {
        Some(keys) if keys.len() > 25 => Action::Unprocessed(sevens.clone()),
        Some(keys) if keys.len() > 1 => Action::Unprocessed(one.clone()),
        Some(_) | None => Action::Forward,
    });
    let asked: Vec<_> = (0..250).map(|n| format!("u{n}")).collect();
    let (pages, _) = all_read(store.fetch(&read, &keys(&asked), Consistency::Eventual).await);
    let mut found: Vec<_> = cells(&read, &pages).into_iter().map(|(key, _)| key).collect();
    found.sort();
    let mut expected: Vec<_> = asked.into_iter().map(String::into_bytes).collect();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(proxy.calls("BatchGetItem").len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_unprocessed_to_the_end_are_unread_and_no_others() {
    let (_server, proxy) = proxied(250).await;
    let store = store(&proxy.endpoint, &impatient());
    let read = read(&store, "users", &["age"], &[]).await;
    let stuck = Arc::new(|key: &Json| ["u7", "u8", "gone"].iter().any(|k| key["pk"]["S"] == *k));
    proxy.rule(move |_| Action::Unprocessed(stuck.clone()));
    let mut asked: Vec<_> = (0..250).map(|n| format!("u{n}")).collect();
    asked.extend(["u7".to_owned(), "gone".to_owned(), "missing".to_owned(), "u0".to_owned()]);
    let fetched = store.fetch(&read, &keys(&asked), Consistency::Strong).await;
    assert_eq!(cells(&read, &fetched.pages).len(), 248);
    let mut unread: Vec<_> = fetched.unread.iter().flat_map(|(rows, _)| rows.clone()).collect();
    unread.sort_unstable();
    assert_eq!(unread, [7, 8, 250, 251]);
    for (_, error) in &fetched.unread {
        assert!(matches!(error.kind, StoreErrorKind::Throttled(_)), "{error}");
    }
    assert!(
        proxy
            .calls("BatchGetItem")
            .iter()
            .all(|call| { call.body["RequestItems"]["users"]["ConsistentRead"] == true })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_batch_that_fails_costs_no_other() {
    let (_server, proxy) = proxied(250).await;
    let store = store(&proxy.endpoint, &impatient());
    let read = read(&store, "users", &["age"], &[]).await;
    let holds = |call: &Call, key: &str| call.body.to_string().contains(&format!("\"{key}\""));
    proxy.rule(move |call| if holds(call, "u7") { Action::throttle() } else { Action::Forward });
    let asked: Vec<_> = (0..250).map(|n| format!("u{n}")).collect();
    let fetched = store.fetch(&read, &keys(&asked), Consistency::Eventual).await;
    assert_eq!(fetched.unread.len(), 1);
    let unread = &fetched.unread[0].0;
    assert!(unread.contains(&7) && unread.len() <= 100);
    assert_eq!(cells(&read, &fetched.pages).len() + unread.len(), 250);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_never_answers_is_a_timeout() {
    let (_server, proxy) = proxied(3).await;
    let store = store(&proxy.endpoint, &impatient());
    let read = read(&store, "users", &["age"], &[]).await;
    proxy.rule(|_| Action::Hang);
    let [scanned, fetched] = errors(&store, &read).await;
    let described = store.describe("users").await.unwrap_err();
    let cases = [(scanned, "scanning"), (fetched, "fetching"), (described, "describing a table")];
    for (error, what) in cases {
        let StoreErrorKind::Timeout { doing, after } = &error.kind else { panic!("{error}") };
        assert_eq!(doing, what);
        assert_eq!(*after, Duration::from_millis(500));
    }
    // It takes connections and says nothing, as a stopped server does.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let error = super::store(&endpoint, &impatient()).describe("users").await.unwrap_err();
    assert_eq!(error.kind.code(), FaultCode::StoreTimeout);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_where_nobody_listens_is_unreachable() {
    let (_server, proxy) = proxied(3).await;
    let read = read(&store(&proxy.endpoint, &settings()), "users", &["age"], &[]).await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let store = store(&format!("http://{free}"), &impatient());
    for error in errors(&store, &read).await {
        let StoreErrorKind::Unreachable(words) = &error.kind else { panic!("{error}") };
        assert!(words.contains("Connection refused"), "{words}");
    }
    // Where it was looked for is told, and neither user nor password.
    let dynamodb = DynamodbSettings {
        endpoint: Some(format!("http://me:s3cret@{free}/")),
        ..DynamodbSettings::default()
    };
    let store = with_client(&impatient(), &dynamodb, &client(&format!("http://{free}")));
    let words = store.describe("users").await.unwrap_err().to_string();
    assert!(words.contains(&format!("cannot reach DynamoDB at http://{free}: ")), "{words}");
    assert!(!words.contains("s3cret"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_ordinary_reads_may_be_stale() {
    let (server, proxy) = proxied(3).await;
    let behind = users(0).await;
    let old = |n: usize| json!({ "pk": { "S": format!("u{n}") }, "age": { "N": "-1" } });
    behind.put("users", (0..3).map(old));
    proxy.rule(move |call| {
        let fresh = call.body["RequestItems"]["users"]["ConsistentRead"] == true;
        if fresh { Action::Forward } else { Action::To(behind.endpoint.clone()) }
    });
    let store = store(&proxy.endpoint, &settings());
    let read = read(&store, "users", &["age"], &[]).await;
    assert!(store.capabilities().consistent);
    for (consistency, expected) in [(Consistency::Eventual, "-1"), (Consistency::Strong, "1")] {
        let (pages, _) = all_read(store.fetch(&read, &keys(["u1"]), consistency).await);
        assert_eq!(cells(&read, &pages), [(b"u1".to_vec(), vec![Some(number(expected))])]);
    }
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_does_not_advance_ends() {
    let (_server, proxy) = proxied(3).await;
    let store = store(&proxy.endpoint, &settings());
    let read = read(&store, "users", &["age"], &[]).await;
    let stuck = r#"{"Items": [], "Count": 0, "LastEvaluatedKey": {"pk": {"S": "s3cret"}}}"#;
    proxy.rule(move |_| Action::Say(200, stuck));
    let extent = Extent::Segment { index: 0, of: 1 };
    let pages: Vec<_> = store.scan(&read, &extent).collect().await;
    let Some(Err(error)) = pages.last() else { panic!("{pages:?}") };
    assert!(error.to_string().contains("does not advance"), "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_says_nothing_is_not_an_empty_one() {
    let (_server, proxy) = proxied(3).await;
    let store = store(&proxy.endpoint, &impatient());
    let read = read(&store, "users", &["age"], &[]).await;
    for answer in ["", "{}", "{\"ok\": true}", "[]", "<html>welcome</html>", "null"] {
        proxy.rule(move |_| Action::Say(200, answer));
        errors(&store, &read).await;
    }
    let cut = r#"{"Items": [{"pk": {"S": "u0"}}], "Count": 2}"#;
    proxy.rule(move |_| Action::Say(200, cut));
    let extent = Extent::Segment { index: 0, of: 1 };
    let pages: Vec<_> = store.scan(&read, &extent).collect().await;
    let [Err(error)] = &pages[..] else { panic!("{pages:?}") };
    assert!(error.to_string().contains("an answer of 2 items that has 1"), "{error}");
    proxy.rule(|_| Action::Say(200, r#"{"Responses": {}, "UnprocessedKeys": {}}"#));
    let fetched = store.fetch(&read, &keys(["u0", "none"]), Consistency::Eventual).await;
    assert_eq!(fetched.unread.len(), 2, "{fetched:?}");
    // A key that was not asked for may stand for one that was.
    let strange =
        r#"{"Responses": {}, "UnprocessedKeys": {"users": {"Keys": [{"pk": {"S": "u9"}}]}}}"#;
    proxy.rule(move |_| Action::Say(200, strange));
    let fetched = store.fetch(&read, &keys(["u0", "u1"]), Consistency::Eventual).await;
    let unread: Vec<_> = fetched.unread.iter().flat_map(|(whose, _)| whose).collect();
    assert_eq!(unread, [&0, &1]);
    assert!(fetched.unread[0].1.to_string().contains("not asked for"), "{:?}", fetched.unread);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_refused_costs_itself_alone() {
    let (_server, proxy) = proxied(250).await;
    let store = store(&proxy.endpoint, &impatient());
    let read = read(&store, "users", &["age"], &[]).await;
    let holds = |call: &Call| call.body.to_string().contains("\"u7\"");
    proxy.rule(move |call| match holds(call) {
        true => {
            Action::Fail(400, "ValidationException", "One or more parameter values were invalid")
        }
        false => Action::Forward,
    });
    let asked: Vec<_> = (0..250).map(|n| format!("u{n}")).collect();
    let fetched = store.fetch(&read, &keys(&asked), Consistency::Eventual).await;
    let unread: Vec<_> = fetched.unread.iter().flat_map(|(whose, _)| whose).collect();
    assert_eq!((unread, cells(&read, &fetched.pages).len()), (vec![&7], 249));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_cannot_be_exact_are_errors() {
    let (_server, proxy) = proxied(3).await;
    let store = store(&proxy.endpoint, &settings());
    let read = read(&store, "users", &["age"], &[]).await;
    for (answer, words) in [
        (
            r#"{"Items": [{"pk": {"S": "a"}, "age": {"N": "123456789012345678901234567890123456789"}}]}"#,
            "attribute `age` of an item holds a number that",
        ),
        (r#"{"Items": [{"pk": {"S": "a"}, "age": {"N": "1x"}}]}"#, "attribute `age` of an item"),
        (r#"{"Items": [{"pk": {"S": "a"}, "age": {"NEW": "1"}}]}"#, "a type that this version"),
        (r#"{"Items": [{"pk": {"N": "1"}}]}"#, "key attribute `pk` of an item holds"),
        (r#"{"Items": [{"age": {"N": "1"}}]}"#, "an item has no key attribute `pk`"),
    ] {
        proxy.rule(move |_| Action::Say(200, answer));
        let extent = Extent::Segment { index: 0, of: 1 };
        let pages: Vec<_> = store.scan(&read, &extent).collect().await;
        let [Err(error)] = &pages[..] else { panic!("{answer}: {pages:?}") };
        assert!(matches!(error.kind, StoreErrorKind::Answer(_)), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.to_string().contains("1x"), "{error}");
    }
}

/// Gives one access key after the other.
#[derive(Debug, Default)]
struct Rotating(AtomicUsize);

impl ProvideCredentials for Rotating {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let turn = self.0.fetch_add(1, Ordering::Relaxed);
        let credentials = Credentials::new(format!("KEY{turn}"), "s", None, None, "test");
        future::ProvideCredentials::ready(Ok(credentials))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_fetched_again_when_they_are_refused() {
    for code in
        ["ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException"]
    {
        let (_server, proxy) = proxied(3).await;
        proxy.rule(move |call| {
            let old = call.access_key == "KEY0";
            if old { Action::Fail(400, code, "no longer") } else { Action::Forward }
        });
        let config = config(&proxy.endpoint)
            .credentials_provider(Rotating::default())
            // As a client has it that was made from a shared configuration.
            .identity_cache(IdentityCache::lazy().build())
            .build();
        let client = aws_sdk_dynamodb::Client::from_conf(config);
        let store = with_client(&settings(), &DynamodbSettings::default(), &client);
        let read = read(&store, "users", &["age"], &[]).await;
        assert_eq!(cells(&read, &scan(&store, &read, 100).await.unwrap()).len(), 3);
        let used: Vec<_> = proxy.calls("DescribeTable").into_iter().map(|c| c.access_key).collect();
        assert_eq!(used[..2], ["KEY0", "KEY1"]);

        // Those that stay refused are told, after one more try and not for ever.
        let told = "The request signature does not match.\n\nThe Canonical String for this request \
                    should have been\n'x-amz-security-token:s3cret'";
        proxy.rule(move |_| Action::Fail(400, code, told));
        for error in errors(&store, &read).await {
            let StoreErrorKind::Denied(words) = &error.kind else { panic!("{error}") };
            assert!(words.contains(code) && words.contains("does not match"), "{words}");
            assert!(!words.contains("s3cret"), "{words}");
        }
        assert!(proxy.calls("BatchGetItem").len() <= 2);
    }
}

#[derive(Debug)]
struct Missing;

impl ProvideCredentials for Missing {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let error = provider::error::CredentialsError::not_loaded("nothing in the environment");
        future::ProvideCredentials::ready(Err(error))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_credentials_are_told_as_such() {
    let server = users(1).await;
    let config = config(&server.endpoint).credentials_provider(Missing).build();
    let client = aws_sdk_dynamodb::Client::from_conf(config);
    let store = with_client(&settings(), &DynamodbSettings::default(), &client);
    let error = store.describe("users").await.unwrap_err();
    let StoreErrorKind::Denied(words) = &error.kind else { panic!("{error}") };
    assert!(words.contains("no credentials found"), "{words}");
    assert!(words.contains("nothing in the environment"), "{words}");
}
