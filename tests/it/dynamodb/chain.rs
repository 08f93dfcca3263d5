//! Region and credentials from the SDK's default chain.
//!
//! The chain reads the environment, and a test must not change its own: so this one runs itself
//! again, as a child with an environment of its own.

use std::fs;
use std::process::Stdio;

use driftd::store::Kind;

use super::*;

const ENDPOINT: &str = "DRIFTD_TEST_ENDPOINT";
const CREDENTIALS: &str = "AWS_SHARED_CREDENTIALS_FILE";

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_those_that_the_chain_finds_now() {
    if let (Some(endpoint), Some(file)) =
        (std::env::var_os(ENDPOINT), std::env::var_os(CREDENTIALS))
    {
        return child(endpoint.into_string().unwrap(), file.as_ref()).await;
    }
    let server = users(3).await;
    let proxy = Proxy::start(&server.endpoint).await;
    proxy.rule(|call| {
        let old = call.access_key == "OLDKEY";
        let words = "The security token included in the request is invalid.";
        if old { Action::Fail(400, "UnrecognizedClientException", words) } else { Action::Forward }
    });
    let folder = tempfile::tempdir().unwrap();
    let run = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "dynamodb::chain::credentials_are_those_that_the_chain_finds_now"])
        .env_clear()
        .env(ENDPOINT, &proxy.endpoint)
        .env(CREDENTIALS, folder.path().join("credentials"))
        .env("AWS_CONFIG_FILE", folder.path().join("config"))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && words.contains("1 passed"), "{words}");
    let used: Vec<_> = proxy.calls("DescribeTable").into_iter().map(|c| c.access_key).collect();
    assert!(used.contains(&"OLDKEY".to_owned()) && used.contains(&"NEWKEY".to_owned()), "{used:?}");
}

async fn child(endpoint: String, file: &std::path::Path) {
    let write = |key: &str| {
        let text = format!("[mine]\naws_access_key_id = {key}\naws_secret_access_key = s3cret\n");
        fs::write(file, text).unwrap();
    };
    let dynamodb = DynamodbSettings {
        endpoint: Some(endpoint),
        profile: Some("mine".to_owned()),
        ..DynamodbSettings::default()
    };
    let elsewhere = DynamodbSettings { endpoint: None, ..dynamodb.clone() };
    let error = open(&elsewhere).await.unwrap_err();
    assert!(error.to_string().contains("no region: set `region`"), "{error}");

    let store = open(&dynamodb).await.unwrap();
    let denied = |error: StoreError| {
        let StoreErrorKind::Denied(words) = &error.kind else { panic!("{error}") };
        words.clone()
    };
    let words = denied(store.describe("users").await.unwrap_err());
    assert!(words.contains("credentials"), "{words}");
    // Each of these is found without a restart; how soon is bounded by the runner.
    write("OLDKEY");
    while !denied(store.describe("users").await.unwrap_err()).contains("security token") {}
    write("NEWKEY");
    while let Err(error) = store.describe("users").await {
        assert!(!denied(error).contains("s3cret"));
    }
}

async fn open(dynamodb: &DynamodbSettings) -> Result<Arc<dyn Store>, StoreError> {
    let kind = Kind::Dynamodb(dynamodb.clone());
    driftd::store::open(&Settings { kind, ..settings() }).await
}
