//! Queries of what shares a partition key.

use driftd::model::FaultCode;
use driftd::store::Query;

use super::*;

/// A server with three tables' worth of orders in one: `p0` has 3,000 small items, `p1` ten of
/// 390 KB, `p2` two hundred of those, `p3` one.
async fn orders() -> (Server, Proxy, Arc<dyn Store>, Read) {
    let server = Server::start().await;
    server.create_table("orders", &[("pk", "S"), ("sk", "S")]);
    let item = |pk: &str, number: usize, size: usize| {
        json!({
            "pk": { "S": pk },
            "sk": { "S": format!("{}#{number:04}", if number.is_multiple_of(2) { "LINE" } else { "NOTE" }) },
            "v": { "S": "x".repeat(size) },
        })
    };
    let small = (0..3_000).map(|number| item("p0", number, 1_000));
    let large = (0..10).map(|number| item("p1", number, 390_000));
    let heavy = (0..200).map(|number| item("p2", number, 390_000));
    server.put("orders", small.chain(large).chain(heavy).chain([item("p3", 0, 1)]));
    let proxy = Proxy::start(&server.endpoint).await;
    let store = store(&proxy.endpoint, &settings());
    let read = read(&store, "orders", &["sk", "v"], &[]).await;
    (server, proxy, store, read)
}

fn partitions(values: &[&str]) -> Query {
    Query { columns: vec!["pk".to_owned()], values: keys(values), prefix: false }
}

fn begins(values: &[(&str, &[u8])], prefix: bool) -> Query {
    let mut both = keys(values.iter().map(|(partition, _)| partition));
    both.columns.extend(keys(values.iter().map(|(_, sort)| sort)).columns);
    Query { columns: vec!["pk".to_owned(), "sk".to_owned()], values: both, prefix }
}

fn count(pages: &[Page]) -> usize {
    pages.iter().map(|page| page.rows.rows).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_paged_and_pays_for_what_it_reads() {
    let (_server, proxy, store, read) = orders().await;
    for (consistency, each) in [(Consistency::Eventual, 0.5), (Consistency::Strong, 1.0)] {
        let before = proxy.calls("Query").len();
        let query = partitions(&["p0", "p1", "p3", "p0", "none"]);
        let (pages, cost) = all_read(store.query(&read, &query, consistency).await);
        assert_eq!(count(&pages), 3_011);
        let calls = proxy.calls("Query").split_off(before);
        assert_eq!(cost.requests, calls.len() as u64);
        assert!(calls.len() > 8, "a megabyte is the most of one answer: {}", calls.len());
        let consistent = consistency == Consistency::Strong;
        assert!(calls.iter().all(|call| call.body["ConsistentRead"] == consistent));
        // 3 MB and 3.9 MB, at 4 KB a unit.
        assert!((1_600.0 * each..2_000.0 * each).contains(&cost.capacity), "{cost:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_sort_key_begins_is_asked_of_the_store() {
    let (_server, proxy, store, read) = orders().await;
    for (start, expected) in
        [(&b"LINE#"[..], 1_500), (b"NOTE#00", 50), (b"line", 0), (b"", 3_000), (b"NOTE#0001", 1)]
    {
        let query = begins(&[("p0", start)], true);
        let (pages, cost) = all_read(store.query(&read, &query, Consistency::Eventual).await);
        assert_eq!((count(&pages), cost.rows), (expected, expected as u64));
    }
    let calls = proxy.calls("Query");
    let conditions = calls.iter().filter(|call| {
        call.body["KeyConditionExpression"].as_str().unwrap().contains("begins_with(#sort, :start)")
    });
    assert!(conditions.count() >= 4);
    let long = "x".repeat(1_025);
    let impossible = begins(&[("p0", long.as_bytes()), ("", b"a"), ("p0", b"\xff")], true);
    let (pages, _) = all_read(store.query(&read, &impossible, Consistency::Eventual).await);
    assert_eq!(pages, []);
    assert_eq!(proxy.calls("Query").len(), calls.len(), "what no item can have is not sent");
    // Whole keys are fetched, many at a time.
    let asked: Vec<_> = (0..150).map(|number| format!("LINE#{number:04}")).collect();
    let asked: Vec<_> = asked.iter().map(|sort| ("p0", sort.as_bytes())).collect();
    let (pages, _) =
        all_read(store.query(&read, &begins(&asked, false), Consistency::Eventual).await);
    assert_eq!((count(&pages), proxy.calls("BatchGetItem").len()), (75, 2));
    assert_eq!(proxy.calls("Query").len(), calls.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_memory_is_not_read_to_its_end() {
    let (_server, proxy, store, read) = orders().await;
    let query = partitions(&["p3", "p2", "p1"]);
    let fetched = store.query(&read, &query, Consistency::Eventual).await;
    let [(positions, error)] = fetched.unread.as_slice() else { panic!("{:?}", fetched.unread) };
    assert_eq!(positions, &[1]);
    assert!(error.to_string().contains("more than 32 MiB of rows belong to one value of `pk`"));
    assert_eq!(count(&fetched.pages), 11);
    let calls = proxy.calls("Query").len();
    assert!(calls < 60, "{calls} requests, and all of it would be more than 70");
    let mut spent = cost(&fetched.pages);
    spent.add(fetched.cost);
    assert!(spent.bytes > 32 << 20, "what was given up was paid for: {spent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_query_goes_on_where_it_was() {
    let (_server, proxy, store, read) = orders().await;
    proxy.rule(|call| {
        let again = call.operation == "Query" && call.before % 3 == 1;
        if again { Action::throttle() } else { Action::Forward }
    });
    let (pages, _) =
        all_read(store.query(&read, &partitions(&["p0", "p1"]), Consistency::Eventual).await);
    assert_eq!(count(&pages), 3_010);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_not_asked_question_by_question() {
    let (_server, proxy, store, read) = orders().await;
    proxy.rule(|_| Action::Fail(400, "AccessDeniedException", "not authorized: dynamodb:Query"));
    let asked: Vec<_> = (0..200).map(|number| format!("q{number}")).collect();
    let asked: Vec<_> = asked.iter().map(String::as_str).collect();
    let fetched = store.query(&read, &partitions(&asked), Consistency::Eventual).await;
    let mut unread: Vec<_> = fetched.unread.iter().flat_map(|(at, _)| at.iter().copied()).collect();
    unread.sort_unstable();
    assert_eq!(unread, (0..200).collect::<Vec<_>>());
    assert!(fetched.unread.iter().all(|(_, error)| error.kind.code().as_str() == "store-denied"));
    assert!(proxy.calls("Query").len() < 20, "{}", proxy.calls("Query").len());
    // An answer without items has not looked.
    proxy.rule(|_| Action::Say(200, "{}"));
    let fetched = store.query(&read, &partitions(&["p0"]), Consistency::Eventual).await;
    assert_eq!(fetched.unread[0].1.kind.code(), FaultCode::StoreError);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_keys_are_asked_by_and_only_as_dynamodb_can() {
    let (_server, _proxy, store, read) = orders().await;
    for columns in [&["sk"][..], &["sk", "pk"], &["pk", "v"], &["pk", "sk", "v"], &[]] {
        let columns: Vec<_> = columns.iter().map(ToString::to_string).collect();
        let error = store.found_by("orders", &columns).await.unwrap_err();
        let words = error.to_string();
        assert_eq!(error.kind.code(), FaultCode::StoreUnfit, "{words}");
        assert!(
            words.contains("partition key `pk`, alone or followed by the sort key `sk`"),
            "{words}"
        );
    }
    let whole = Query { prefix: true, ..partitions(&["p"]) };
    let fetched = store.query(&read, &whole, Consistency::Eventual).await;
    assert_eq!(fetched.unread[0].1.kind.code(), FaultCode::StoreUnfit);
}
