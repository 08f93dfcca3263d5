//! Tests of the whole format: messages, defaults, schema, reference, and what no file may do.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::describe::{Key, Need, Shape, Table};
use super::{Display, EMBEDDED_DEFAULT, Loaded, ROOT, parse};
use crate::plugin::builtin;
use crate::store::{Kind, Tls};
use crate::{hook, plan, plugin, settle, store};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Compares `actual` with the file at `path`; with `UPDATE_EXPECT=1` writes it there instead.
fn expect_file(path: &Path, actual: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    let path = path.display();
    assert_eq!(actual, expected, "{path} is out of date; if that is meant, set UPDATE_EXPECT=1");
}

/// What a file's reading says, with the place of the repository left out.
fn said(text: &str, file: &str, directory: &Path) -> String {
    let said = match parse(text, file, directory) {
        Ok(loaded) if loaded.warnings.is_empty() => super::check_report(&loaded.settings),
        Ok(loaded) => loaded.warnings.render(Display::Plain),
        Err(errors) => errors.issues().render(Display::Plain),
    };
    said.replace(directory.to_str().unwrap(), "<directory>")
}

#[test]
fn every_case_says_what_is_expected() {
    let directory = repository().join("tests/cases/config").canonicalize().unwrap();
    let mut cases: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    cases.sort();
    assert!(cases.len() > 10, "the cases are gone");
    for case in cases {
        let text = std::fs::read_to_string(&case).unwrap();
        let file = case.file_name().unwrap().to_str().unwrap();
        let said = said(&text, file, &directory);
        assert!(!said.contains("hunter2"), "{file} shows a secret:\n{said}");
        expect_file(&case.with_extension("txt"), &said);
    }
}

#[test]
fn places_are_told_as_json() {
    let text = "[stores.shop]\nkind = \"mysql\"\nhost = \"\u{fc}\"\nprot = 5\nuser = \"u\"\ndatabase = \"d\"\n";
    let errors = parse(text, "a.toml", Path::new("/")).unwrap_err();
    let json = serde_json::json!([{
        "file": "a.toml",
        "line": 4,
        "column": 1,
        "path": "stores.shop.prot",
        "message": "unknown key `prot` in [stores.shop]",
        "help": "did you mean `port`?",
    }]);
    assert_eq!(errors.issues().to_json(), json);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("driftd.toml");
    let said = super::load(&path).unwrap_err().to_string();
    assert!(said.contains("cannot read the file") && said.contains("driftd.toml"), "{said}");
    std::fs::write(&path, b"[journal]\npath = \"\xff\"").unwrap();
    let said = super::load(&path).unwrap_err().to_string();
    assert!(said.contains("line 2 is not UTF-8"), "{said}");
    std::fs::write(&path, "[journal]\npath = \"j\"").unwrap();
    let loaded = super::load(&path).unwrap();
    assert_eq!(loaded.settings.journal.path, directory.path().join("j"));
    let said = loaded.require_pairings().unwrap_err().to_string();
    assert!(said.contains("no pairing") && said.contains("driftd.toml"), "{said}");
}

// --- defaults -----------------------------------------------------------------------------------

/// The embedded default with all its examples.
fn full_default() -> Loaded {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("orders.wasm"), "").unwrap();
    let text = super::schema::uncommented(EMBEDDED_DEFAULT).replace("SHOP_PASSWORD", "PATH");
    parse(&text, "default.toml", directory.path()).unwrap()
}

#[test]
fn the_embedded_default_is_what_an_empty_file_means() {
    let empty = parse("", "empty.toml", Path::new("/")).unwrap();
    let mut default = parse(EMBEDDED_DEFAULT, "default.toml", Path::new("/")).unwrap();
    default.settings.lines = empty.settings.lines.clone();
    assert!(default.warnings.is_empty());
    assert_eq!(format!("{:?}", empty.settings), format!("{:?}", default.settings));
}

#[test]
fn the_embedded_default_shows_the_defaults_of_every_stage() {
    let settings = full_default().settings;
    for store in &settings.stores {
        assert_eq!(store.timeouts, store::Timeouts::default(), "{}", store.name);
        assert_eq!(store.limits.concurrency, store::Limits::default().concurrency);
    }
    let Kind::Mysql(mysql) = &settings.stores[0].kind else { panic!("the first is MySQL") };
    assert_eq!((mysql.port, &mysql.tls), (super::stores::MYSQL_PORT, &Tls::default()));
    assert_eq!(settings.plugins[0].limits, plugin::Limits::default());
    assert_eq!(settings.plugin_memory, plugin::wasm::MEMORY);
    let hook::Settings { timeout, deadline, backoff, .. } = settings.hooks[0];
    let expected = (super::hooks::TIMEOUT, super::hooks::DEADLINE, super::hooks::BACKOFF);
    assert_eq!((timeout, deadline, backoff), expected);
    assert_eq!(settings.pairings[1].plan, plan::Settings { seed: Some(42), ..Default::default() });
    assert_eq!(settings.pairings[1].settle, settle::Settings::default());
    assert_eq!(settings.pairings[1].leader, crate::model::Side::Source);
    let otlp = settings.report.otlp.unwrap();
    assert_eq!(otlp.protocol, crate::report::OtlpProtocol::Grpc);
}

/// Calls `visit` with every key of the description and the path to it.
fn visit_keys(path: &str, table: &'static Table, visit: &mut impl FnMut(&str, &'static Key)) {
    for key in table.keys {
        let path = format!("{path}/properties/{}", key.name);
        visit(&path, key);
        visit_shape(&path, &key.shape, visit);
    }
}

fn visit_shape(path: &str, shape: &'static Shape, visit: &mut impl FnMut(&str, &'static Key)) {
    match shape {
        Shape::Table(table) => visit_keys(path, table, visit),
        Shape::Secret => visit_keys(path, &super::secret::TABLE, visit),
        Shape::Map { of, .. } => visit_shape(&format!("{path}/additionalProperties"), of, visit),
        Shape::List { of, .. } => visit_shape(&format!("{path}/items"), of, visit),
        Shape::Kinds(kinds) => {
            for (index, (_, table)) in kinds.iter().enumerate() {
                visit_keys(&format!("{path}/oneOf/{index}"), table, visit);
            }
        }
        Shape::Either(one, other) => {
            visit_shape(&format!("{path}/anyOf/0"), one, visit);
            visit_shape(&format!("{path}/anyOf/1"), other, visit);
        }
        Shape::Text
        | Shape::AnyText
        | Shape::Count { .. }
        | Shape::Ratio
        | Shape::Flag
        | Shape::Positive
        | Shape::Duration { .. }
        | Shape::Size { .. }
        | Shape::Choice(_)
        | Shape::Path
        | Shape::Address
        | Shape::Url
        | Shape::Reference(_)
        | Shape::AnyTable => {}
    }
}

#[test]
fn every_default_is_shown_and_every_key_is_in_the_schema_and_the_reference() {
    let schema = super::schema();
    let reference = super::reference();
    let mut count = 0;
    visit_keys("", &ROOT, &mut |path, key| {
        count += 1;
        let property = schema.pointer(path);
        let property = property.unwrap_or_else(|| panic!("{path} is not in the schema"));
        assert_eq!(property["description"], key.doc, "{path}");
        let literal = format!("{} = \"hunter2\"", key.name);
        let names = super::describe::names(&ROOT);
        let whole = 0..literal.len();
        let covered = !super::secret::suspicious(&literal, &[whole], &names).is_empty();
        assert_eq!(covered, key.is_secret(), "{path}: secrets are covered in broken TOML too");
        let leaf = !matches!(key.shape, Shape::Table(_));
        let shown = property.get("default").is_some();
        assert_eq!(shown, leaf && key.need == Need::Defaulted, "{path}: default.toml must show it");
        let in_secret = path.contains("/password/properties/");
        let row = format!("| `{}` |", key.name);
        assert!(in_secret || reference.contains(&row), "{path} is not in the reference");
    });
    assert!(count > 90, "{count} keys");
}

#[test]
fn schema_and_reference_are_up_to_date() {
    let schema = serde_json::to_string_pretty(&super::schema()).unwrap() + "\n";
    expect_file(&repository().join("config/schema.json"), &schema);
    let path = repository().join("config/README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, _) = readme.split_once(BEGIN).expect("the README has a place for the reference");
    expect_file(&path, &format!("{before}{BEGIN}\n\n{}", super::reference()));
}

const BEGIN: &str =
    "<!-- Written by `UPDATE_EXPECT=1` from the description in daemon/src/config. -->";

/// Every key that a file gives must be one that the schema names at that place.
fn conforms(value: &toml::Value, schema: &serde_json::Value, path: &str) -> Result<(), String> {
    if let Some(all) = schema.get("anyOf").or_else(|| schema.get("oneOf")) {
        let all = all.as_array().unwrap();
        let mut tries = all.iter().map(|schema| conforms(value, schema, path));
        return tries.find(Result::is_ok).unwrap_or_else(|| Err(format!("{path}: fits nothing")));
    }
    let expected = match value {
        toml::Value::String(_) => "string",
        toml::Value::Integer(_) | toml::Value::Float(_) => "number",
        toml::Value::Array(_) => "array",
        toml::Value::Table(_) => "object",
        toml::Value::Boolean(_) => "boolean",
        toml::Value::Datetime(_) => {
            return Err(format!("{path}: {value} has no place in the format"));
        }
    };
    let typed = schema.get("type").and_then(serde_json::Value::as_str).unwrap_or("string");
    let typed = if typed == "integer" { "number" } else { typed };
    if typed != expected {
        return Err(format!("{path}: {typed}, not {expected}"));
    }
    if let Some(words) = schema.get("enum").and_then(serde_json::Value::as_array) {
        let text = value.as_str().unwrap();
        return words
            .iter()
            .any(|word| word == text)
            .then_some(())
            .ok_or_else(|| format!("{path}: {text}"));
    }
    if let Some(items) = value.as_array() {
        return items.iter().try_for_each(|item| conforms(item, &schema["items"], path));
    }
    let (Some(table), Some(_)) = (value.as_table(), schema.get("additionalProperties")) else {
        return Ok(());
    };
    for (key, value) in table {
        let path = format!("{path}.{key}");
        let inner = schema.get("properties").and_then(|all| all.get(key));
        let rest = schema.get("additionalProperties").filter(|rest| rest.is_object());
        let inner = inner.or(rest).ok_or_else(|| format!("{path} is not in the schema"))?;
        conforms(value, inner, &path)?;
    }
    let required = schema.get("required").and_then(serde_json::Value::as_array);
    let mut required = required.into_iter().flatten().filter_map(serde_json::Value::as_str);
    match required.find(|name| !table.contains_key(*name)) {
        Some(missing) => Err(format!("{path}.{missing} is missing")),
        None => Ok(()),
    }
}

#[test]
fn the_default_and_the_example_conform_to_the_schema() {
    let example = std::fs::read_to_string(repository().join(EXAMPLE)).unwrap();
    for text in [EMBEDDED_DEFAULT.to_owned(), super::schema::uncommented(EMBEDDED_DEFAULT), example]
    {
        let document: toml::Table = text.parse().unwrap();
        conforms(&toml::Value::Table(document), &super::schema(), "").unwrap();
    }
    let stray: toml::Table = "[settle]\nsetle = \"5s\"".parse().unwrap();
    conforms(&toml::Value::Table(stray), &super::schema(), "").unwrap_err();
}

const EXAMPLE: &str = "config/examples/mysql-to-dynamodb.toml";

/// The example as it would be on a machine: with the plugin and the credential in place.
fn example(directory: &Path) -> String {
    std::fs::write(directory.join("users.wasm"), "").unwrap();
    std::fs::write(directory.join("password"), "hunter2\n").unwrap();
    let text = std::fs::read_to_string(repository().join(EXAMPLE)).unwrap();
    let changed = text
        .replace("{ credential = \"mysql-password\" }", "{ file = \"password\" }")
        .replace("/etc/driftd/users.wasm", "users.wasm");
    assert_ne!(changed, text);
    changed
}

#[test]
fn the_example_is_complete() {
    let directory = tempfile::tempdir().unwrap();
    let loaded = parse(&example(directory.path()), "example.toml", directory.path()).unwrap();
    loaded.require_pairings().unwrap();
    // The hooks' programs are not on this machine; nothing else is worth a word.
    assert!(loaded.warnings.iter().all(|issue| issue.path.contains(".command")));
    let Kind::Mysql(mysql) = &loaded.settings.stores[0].kind else { panic!("the first is MySQL") };
    assert_eq!(mysql.password.as_ref().unwrap().read(), Ok("hunter2".to_owned()));
    let report = super::check_report(&loaded.settings);
    assert!(!report.contains("hunter2"), "{report}");
}

#[test]
fn the_journal_is_found_without_what_only_the_daemon_may_see() {
    let path = repository().join(EXAMPLE);
    super::load(&path).unwrap_err();
    let loaded = super::load_for_journal(&path).unwrap();
    assert_eq!(loaded.settings.journal.path, Path::new("/var/lib/driftd/driftd.journal"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let Kind::Mysql(mysql) = &loaded.settings.stores[0].kind else { panic!("the first is MySQL") };
    mysql.password.as_ref().unwrap().read().unwrap_err();
}

/// The files for deployment and the example belong together: what one says, the others allow.
#[test]
fn deployment_files_agree_with_the_example() {
    let directory = tempfile::tempdir().unwrap();
    let text = example(directory.path());
    let settings = parse(&text, "example.toml", directory.path()).unwrap().settings;
    let read =
        |file: &str| std::fs::read_to_string(repository().join("config").join(file)).unwrap();

    let unit = read("driftd.service");
    let setting = |name: &str| {
        let mut lines = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        lines.next().map(str::to_owned)
    };
    assert_eq!(setting("MemoryDenyWriteExecute"), None, "it kills the compiler of plugins");
    let stop = setting("TimeoutStopSec").unwrap().parse().unwrap();
    assert!(std::time::Duration::from_secs(stop) > settings.grace);
    let state = Path::new("/var/lib").join(setting("StateDirectory").unwrap());
    assert!(settings.journal.path.starts_with(&state));
    let original = std::fs::read_to_string(repository().join(EXAMPLE)).unwrap();
    let credential = setting("LoadCredential").unwrap();
    let (credential, _) = credential.split_once(':').unwrap();
    assert!(original.contains(&format!("{{ credential = \"{credential}\" }}")));

    let grants = read("mysql-grants.sql");
    let policy: serde_json::Value = serde_json::from_str(&read("iam-policy.json")).unwrap();
    for pairing in &settings.pairings {
        let grant = format!("GRANT SELECT ON `shop`.`{}` TO", pairing.source.relations[0]);
        assert!(grants.contains(&grant), "{grant}");
        let tables = policy["Statement"][0]["Resource"].as_array().unwrap();
        let table = format!("table/{}", pairing.target.relations[0]);
        assert!(tables.iter().any(|arn| arn.as_str().unwrap().ends_with(&table)), "{table}");
    }
    let granted = grants.lines().map(|line| line.trim_start_matches("-- "));
    let mut granted = granted.filter(|line| line.starts_with("GRANT "));
    assert!(granted.all(|line| line.starts_with("GRANT SELECT ")), "driftd only reads");
    let reads = ["BatchGetItem", "DescribeTable", "Query", "Scan"];
    let reads = reads.map(|action| format!("dynamodb:{action}"));
    assert_eq!(policy["Statement"][0]["Action"], serde_json::json!(reads));
    assert_eq!(policy["Statement"][1]["Action"], "dynamodb:ListTables");
}

#[test]
fn fields_keep_the_order_of_the_file() {
    let settings = full_default().settings;
    let super::MappingSettings::BuiltIn(builtin::Settings { fields, .. }) =
        &settings.pairings[1].mapping
    else {
        panic!("the second is built in")
    };
    let names: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["id", "email", "balance", "changed"]);
}

// --- what no file may do ------------------------------------------------------------------------

/// The default with its examples, once for each line and each wrong thing in its place.
#[test]
fn any_value_may_be_wrong_or_missing() {
    let text = super::schema::uncommented(EMBEDDED_DEFAULT);
    let lines: Vec<_> = text.lines().collect();
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        let Some((key, _)) = line.split_once(" = ") else { continue };
        for value in
            ["5", "-1", "\"\"", "\"x\"", "true", "[]", "[{}]", "{}", "{ x = 1 }", "1.5", ""]
        {
            let changed = if value.is_empty() { String::new() } else { format!("{key} = {value}") };
            let mut lines = lines.clone();
            lines[index] = &changed;
            // The files that the examples name are not there, so there is always an error.
            let errors = parse(&lines.join("\n"), "wrong.toml", Path::new("/")).unwrap_err();
            assert!(!errors.issues().is_empty(), "{changed}");
        }
    }
    for table in ROOT.keys {
        for value in ["5", "\"x\"", "[]", "[[1]]", "{}"] {
            let text = format!("{} = {value}", table.name);
            if let Err(errors) = parse(&text, "wrong.toml", Path::new("/")) {
                assert!(errors.issues().iter().all(|issue| issue.path.starts_with(table.name)));
            }
        }
    }
}

proptest! {
    /// However a file is mangled: no panic, no secret in what is shown, and every place is in it.
    #[test]
    fn a_mangled_file_is_told_without_its_secret(
        cuts in proptest::collection::vec((0.0_f64..1.0, 0_usize..30, "[\\[\\]{}=\"'#\n a0.,\\\\]{0,3}"), 1..4),
    ) {
        const LITERAL: &str = "password = \"hunter2\"\nsecret_access_key = \"hunter2\"";
        let text = super::schema::uncommented(EMBEDDED_DEFAULT);
        let text = text.replace("password = { env = \"SHOP_PASSWORD\" }", LITERAL);
        let (mut before, mut after) = {
            let at = text.find(LITERAL).unwrap();
            (text[..at].to_owned(), text[at + LITERAL.len()..].to_owned())
        };
        for (at, length, put) in cuts {
            let half = if at < 0.5 { &mut before } else { &mut after };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of a small length")]
            let start = ((at * 2.0).fract() * half.len() as f64) as usize;
            let end = (start + length).min(half.len());
            half.replace_range(start..end, &put);
        }
        let text = format!("{before}{LITERAL}{after}");
        let errors = parse(&text, "mangled.toml", Path::new("/")).unwrap_err();
        for display in [Display::Plain, Display::Drawn { colour: true, width: 80 }] {
            let shown = errors.issues().render(display);
            prop_assert!(!shown.contains("hunter2"), "{}", shown);
        }
        let json = errors.issues().to_json().to_string();
        prop_assert!(!json.contains("hunter2"), "{}", json);
        for issue in errors.issues().iter() {
            prop_assert!(errors.issues().place(issue).is_some(), "{issue:?}");
            prop_assert!(!issue.help.is_empty() && !issue.message.is_empty());
        }
    }

    #[test]
    fn no_text_panics(text in "([a-z]{1,3}|[\\[\\]{}=\"'#\n .,\\\\0-9]|stores|pairings|\u{fc}|\r){0,60}") {
        if let Err(errors) = parse(&text, "any.toml", Path::new("/")) {
            prop_assert!(!errors.issues().render(Display::Plain).is_empty());
        }
    }
}
