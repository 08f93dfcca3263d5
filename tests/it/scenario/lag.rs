//! A pipeline that stops, and goes on.

use driftd_tests::scenario::names;
use driftd_tests::scenario::users::{Shop, User};

use super::scenario;

#[tokio::test]
async fn a_pipeline_that_stops_is_one_lag_incident_and_not_missing_rows() {
    let shop = Shop::new(60).await;
    let scenario = scenario(&shop.config(""));
    let mut daemon = scenario.start();
    daemon.ready().await;
    scenario.passes("users", 1).await;
    // The source goes on: changes, new users, deletions. Nothing arrives in the target.
    let changed: Vec<User> = (1..=30).map(|id| User::new(id).changed_now()).collect();
    let new: Vec<User> = (201..=215).map(|id| User::new(id).changed_now()).collect();
    for user in changed.iter().chain(&new) {
        shop.put_source(user).await;
    }
    for id in 51..=55 {
        shop.delete_source(id).await;
    }
    scenario.events_of("lag.opened", 1).await;
    scenario.passes("users", 12).await;
    assert_eq!(names(&scenario.findings(true).await), Vec::<String>::new(), "{}", daemon.log());
    let status = scenario.status("users").await;
    assert!(status["lagging_since"].is_string(), "{status}");
    assert_eq!(daemon.page("/readyz").await.unwrap().code, 200);
    // The pipeline goes on.
    for user in changed.iter().chain(&new) {
        shop.put_target(user).await;
    }
    for id in 51..=55 {
        shop.delete_target(&User::new(id)).await;
    }
    scenario.events_of("lag.closed", 1).await;
    scenario.passes("users", 4).await;
    assert_eq!(names(&scenario.findings(true).await), Vec::<String>::new(), "{}", daemon.log());
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
    let events = scenario.events();
    assert_eq!((events.of("lag.opened").len(), events.of("lag.closed").len()), (1, 1));
}
