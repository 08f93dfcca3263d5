//! From nothing to a tested plugin, in Rust.

use driftd_tests::scenario::{Said, Scenario};

use super::{empty, parsed, plugins};

/// An empty directory from which cargo can be run; it asks no registry.
#[expect(clippy::disallowed_methods, reason = "cargo needs the surroundings that the tests have")]
pub(super) fn workshop() -> Scenario {
    let mut scenario = empty();
    let of = |name: &str| std::env::var(name).ok().map(|value| format!("{name}={value}"));
    let mut words = vec!["env".to_owned(), "CARGO_NET_OFFLINE=true".to_owned()];
    words.extend(["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME"].into_iter().filter_map(of));
    // What is built once serves every run.
    let target = plugins().join("target/made");
    words.push(format!("CARGO_TARGET_DIR={}", target.display()));
    if let Ok(rustc) = std::process::Command::new(plugins().join("../tests/setup/wasm.sh")).output()
        && rustc.status.success()
    {
        words.push(format!("RUSTC={}", String::from_utf8_lossy(&rustc.stdout).trim()));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    scenario.before(&words);
    scenario
}

pub(super) async fn ran(scenario: &Scenario, arguments: &[&str], code: i32) -> Said {
    let said = scenario.run(arguments).await;
    assert_eq!(said.code, Some(code), "{arguments:?}: {said:?}");
    said
}

/// Where the template declares its rule.
const DECLARED: &str = r#"let balance = customer.decimal("balance");"#;
/// A rule over all customers.
const COUNTED: &str = r#"
        rules.error(customer, "as-many", "as many customers on both sides").over_all(
            |counts: &mut std::collections::BTreeMap<String, i64>, pair| {
                *counts.entry("source".to_owned()).or_default() += i64::from(pair.source.is_some());
                *counts.entry("target".to_owned()).or_default() += i64::from(pair.target.is_some());
                Ok(())
            },
            |counts| {
                let of = |side: &str| counts.get(side).copied().unwrap_or_default();
                let (source, target) = (of("source"), of("target"));
                if source == target { vec![] } else { vec![format!("{source} and {target}")] }
            },
        );"#;

/// What it takes is told beside the limits.
async fn measured(scenario: &Scenario) {
    let told = parsed(&ran(scenario, &["plugin", "bench", "shop-map", "--json"], 0).await.out);
    let functions: Vec<_> = told["measured"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["function"].as_str().unwrap())
        .collect();
    assert_eq!(functions, ["map-batch, source", "map-batch, target", "check-pairs"]);
    for one in told["measured"].as_array().unwrap() {
        assert_eq!(one["rows"], 1_024, "{one}");
        assert!(one["fuel_per_row"].as_u64().unwrap() > 0, "{one}");
        assert!(one["memory_bytes"]["used"].as_u64().unwrap() >= 65_536, "{one}");
        assert_eq!(one["over"], serde_json::json!([]), "{one}");
    }
    let said = ran(scenario, &["plugin", "bench", "shop-map"], 0).await;
    for word in ["1,024 rows a call", "map-batch, source", "fuel", "2,098,000,000", "64 MiB"] {
        assert!(said.out.contains(word), "{word}: {said:?}");
    }
    assert!(!said.out.contains('\u{1b}'), "no colour where nobody looks: {said:?}");
}

#[tokio::test]
async fn from_an_empty_directory_to_a_tested_plugin() {
    let scenario = workshop();
    let sdk = plugins().join("sdk").display().to_string();
    let said = ran(&scenario, &["plugin", "new", "shop-map", "--sdk", &sdk], 0).await;
    for word in ["shop-map/src/lib.rs", "cd shop-map", "driftd plugin test"] {
        assert!(said.out.contains(word), "{word}: {said:?}");
    }
    // What this repository's plugins are built of is at hand without a registry.
    let locked = std::fs::read_to_string(plugins().join("Cargo.lock")).unwrap();
    scenario.write("shop-map/Cargo.lock", &locked);
    let said = ran(&scenario, &["plugin", "test", "shop-map"], 2).await;
    assert!(said.err.contains("not built") && said.err.contains("driftd plugin build"), "{said:?}");
    let said = ran(&scenario, &["plugin", "build", "shop-map", "--json"], 0).await;
    let told = parsed(&said.out);
    assert_eq!((&told["name"], &told["loads"]), (&"shop-map".into(), &true.into()), "{said:?}");
    let said = ran(&scenario, &["plugin", "test", "shop-map"], 0).await;
    assert!(said.out.contains("9 cases, 3 files: all good"), "{said:?}");
    assert_eq!(said.err, "", "nothing is newer than what was built");

    measured(&scenario).await;

    // A compared field that is as old as the check, and what a changed mapping gives.
    let code = scenario.read("shop-map/src/lib.rs");
    let lawless = code.replace(
        r#"customer.compared("email", row.text("email"), item.text("/profile/email"));"#,
        r#"let email = row.write_text(|row, out| {
            _ = std::fmt::Write::write_fmt(out, format_args!("{}", row.as_of()));
            Ok(())
        });
        customer.compared("email", email, item.text("/profile/email"));"#,
    );
    assert_ne!(code, lawless);
    scenario.write(
        "shop-map/src/lib.rs",
        &(lawless.replace(DECLARED, &format!("{DECLARED}{COUNTED}"))),
    );
    let said = ran(&scenario, &["plugin", "test", "shop-map"], 0).await;
    assert!(said.err.contains("is older than"), "{said:?}");
    ran(&scenario, &["plugin", "build", "shop-map"], 0).await;
    let said = ran(&scenario, &["plugin", "test", "shop-map", "--update"], 1).await;
    for word in ["law: compared fields do not depend on as-of", "field `email`", "a second later"] {
        assert!(said.out.contains(word), "{word}: {said:?}");
    }
    assert_eq!(said.out.matches("golden file written").count(), 1, "{said:?}");
    let pairs = scenario.read("shop-map/fixtures/pairs.golden.jsonl");
    let counted = r#"{"partition": [{"invariant": "as-many", "message": "3 and 2"}]}"#;
    assert_eq!(pairs.lines().next_back(), Some(counted), "what a rule over all cases says");
    // What takes more than production grants is measured, told, and not tested as good.
    let hog = code.replace(
        r#"let pk = item.text("pk");"#,
        r#"let pk = item.text("pk");
        std::hint::black_box(vec![1u8; 100 << 20]);"#,
    );
    assert_ne!(code, hog);
    scenario.write("shop-map/src/lib.rs", &hog);
    ran(&scenario, &["plugin", "build", "shop-map"], 0).await;
    let said = ran(&scenario, &["plugin", "test", "shop-map"], 1).await;
    assert!(said.err.contains("wanted more memory than 67108864 bytes"), "{said:?}");
    let said = ran(&scenario, &["plugin", "bench", "shop-map"], 1).await;
    let over: Vec<_> = said.out.lines().filter(|line| line.ends_with("OVER")).collect();
    assert_eq!(over.len(), 3, "{said:?}");
    assert!(
        over.iter().all(|line| line.contains("memory")) && said.out.contains("to do: "),
        "{said:?}"
    );

    // Code that does not compile says so, and leaves what was built.
    let built = std::fs::read(scenario.path("shop-map/shop-map.wasm")).unwrap();
    scenario.write("shop-map/src/lib.rs", &code.replace("use driftd_plugin", "use drifted_plugin"));
    let said = ran(&scenario, &["plugin", "build", "shop-map"], 1).await;
    for word in ["drifted_plugin", "cargo failed", "in shop-map", "rustup target add"] {
        assert!(said.err.contains(word), "{word}: {said:?}");
    }
    assert_eq!(std::fs::read(scenario.path("shop-map/shop-map.wasm")).unwrap(), built);
}

#[tokio::test]
async fn what_cannot_be_begun_or_built_says_what_to_do() {
    let scenario = empty();
    for (arguments, words) in [
        (vec!["Users"], vec!["no name of a plugin", "lower-case"]),
        (vec!["users", "--sdk", "nowhere"], vec!["no SDK", "where: nowhere", "plugins/sdk"]),
        (vec!["users", "--lang", "cobol"], vec!["rust, js, python"]),
    ] {
        let arguments = [vec!["plugin", "new"], arguments].concat();
        let said = ran(&scenario, &arguments, 2).await;
        for word in words {
            assert!(said.err.contains(word), "{word}: {said:?}");
        }
    }
    let address = "https://git.example.org/driftd.git";
    ran(&scenario, &["plugin", "new", "users", "--sdk", address], 0).await;
    let manifest = scenario.read("users/Cargo.toml");
    assert!(manifest.contains(&format!("driftd-plugin = {{ git = \"{address}\" }}")), "{manifest}");
    let said = ran(&scenario, &["plugin", "new", "users", "--sdk", address], 2).await;
    assert!(said.err.contains("something already"), "{said:?}");
    let said = ran(&scenario, &["plugin", "build", "users"], 2).await;
    assert!(said.err.contains("no `cargo`") && said.err.contains("rustup.rs"), "{said:?}");

    for (directory, manifest, build) in [
        (
            "script",
            "package.json",
            r#"{"name": "script", "driftd": {"build": WORDS, "install": "npm install"}}"#,
        ),
        (
            "snake",
            "pyproject.toml",
            "[project]\nname = \"snake\"\n[tool.driftd]\nbuild = WORDS\ninstall = \"pip install it\"",
        ),
    ] {
        std::fs::create_dir(scenario.path(directory)).unwrap();
        let manifest = format!("{directory}/{manifest}");
        let hint = if directory == "script" { "npm install" } else { "pip install it" };
        for (words, code, told) in [
            (r#"["no-such-tool"]"#, 2, "no `no-such-tool`"),
            (r#"["false"]"#, 1, "false failed"),
            (r#"["true"]"#, 1, "made no"),
            (r#""true""#, 2, "does not say how"),
        ] {
            scenario.write(&manifest, &build.replace("WORDS", words));
            let said = ran(&scenario, &["plugin", "build", directory], code).await;
            assert!(said.err.contains(told), "{said:?}");
            assert!(
                code == 2 && told.starts_with("does")
                    || told == "made no"
                    || said.err.contains(hint),
                "{said:?}"
            );
        }
        let copy = plugins().join("users/users.wasm");
        let words = format!(r#"["cp", "{}", "{directory}.wasm"]"#, copy.display());
        scenario.write(&manifest, &build.replace("WORDS", &words));
        let said = ran(&scenario, &["plugin", "build", directory], 0).await;
        assert!(said.out.contains("plugin `users`"), "{said:?}");
    }
}
