//! Fixtures: rows as JSON lines, and the entities that they become.
//!
//! The same files run natively, under `cargo test`, and in WebAssembly, under `driftd plugin test`.
//! `FIXTURES.md` beside this crate says what is in them.
//!
//! ```no_run
//! # use driftd_plugin::{Mapping, Plan};
//! # #[derive(Default)]
//! # struct Users;
//! # driftd_plugin::export!(Users: Mapping);
//! # impl Mapping for Users {
//! #     const NAME: &'static str = "users";
//! #     const SUMMARY: &'static str = "maps users";
//! #     fn plan(&self, _: &Plan) {}
//! # }
//! #[test]
//! fn fixtures() {
//!     driftd_plugin::fixtures::check::<Users>("fixtures");
//! }
//! # fn main() {}
//! ```
//!
//! Where a golden file differs, the test fails and says in which case and field. With the environment
//! variable `DRIFTD_UPDATE=1` it writes the golden files instead; look at what changed before you
//! commit it.

mod cells;
mod host;
mod lift;
mod places;
mod run;

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value as Json;

use crate::glue::Exported;
use crate::plan::Plan;
use crate::wire::TableSchema;

/// What went wrong with fixtures, in words.
type Outcome<T> = Result<T, String>;

/// Checks a plugin against the fixtures of a directory, which is relative to the crate that is tested.
///
/// ```no_run
/// # use driftd_plugin::{Mapping, Plan};
/// # #[derive(Default)]
/// # struct Users;
/// # driftd_plugin::export!(Users: Mapping);
/// # impl Mapping for Users {
/// #     const NAME: &'static str = "users";
/// #     const SUMMARY: &'static str = "maps users";
/// #     fn plan(&self, _: &Plan) {}
/// # }
/// # fn main() {
/// driftd_plugin::fixtures::check::<Users>("fixtures");
/// # }
/// ```
///
/// # Panics
///
/// With every difference, by case and field, and with every law of the contract that does not hold.
#[expect(clippy::disallowed_methods, reason = "a test has no configuration but its environment")]
pub fn check<T: Exported>(directory: impl AsRef<Path>) {
    let update = std::env::var("DRIFTD_UPDATE").is_ok_and(|update| !matches!(&*update, "" | "0"));
    let mut wrong = Vec::new();
    let checked = visit::<T>(directory.as_ref(), update, &mut wrong);
    let checked = checked.unwrap_or_else(|why| {
        wrong.push(why);
        1
    });
    if checked == 0 {
        wrong.push(format!("{}: no fixtures", directory.as_ref().display()));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Checks a directory and those below it; how many files of cases there are.
fn visit<T: Exported>(directory: &Path, update: bool, wrong: &mut Vec<String>) -> Outcome<usize> {
    let failed = |why: std::io::Error| format!("{}: {why}", directory.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    let mut checked = 0;
    for below in paths.iter().filter(|path| path.is_dir()) {
        checked += visit::<T>(below, update, wrong)?;
    }
    let schema = directory.join("schema.json");
    if !schema.exists() {
        return Ok(checked);
    }
    let schema = run::Schema::parse(&text(&schema)?)
        .map_err(|why| format!("{}: {why}", schema.display()))?;
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(kind) = run::Kind::of(&name) else { continue };
        checked += 1;
        let golden = path.with_file_name(name.replace(".jsonl", ".golden.jsonl"));
        let result = lines(&path).and_then(|cases| schema.run::<T>(kind, &cases));
        let result = result.and_then(|lines| compare(&golden, &lines, update));
        if let Err(why) = result {
            wrong.push(format!("{}: {why}", path.display()));
        }
    }
    Ok(checked)
}

fn text(path: &Path) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))
}

fn lines(path: &Path) -> Outcome<Vec<Json>> {
    let line = |(at, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|why| format!("line {}: {why}", at + 1))
    };
    text(path)?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(line).collect()
}

/// Compares lines with a golden file as JSON values, or writes it.
fn compare(golden: &Path, lines: &[String], update: bool) -> Outcome<()> {
    if update {
        let text = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>();
        return std::fs::write(golden, text).map_err(|why| format!("{}: {why}", golden.display()));
    }
    let known = if golden.exists() { self::lines(golden)? } else { Vec::new() };
    let mut wrong = String::new();
    for at in 0..known.len().max(lines.len()) {
        let given = lines.get(at).and_then(|line| serde_json::from_str(line).ok());
        let (given, known) = (given.unwrap_or(Json::Null), known.get(at).unwrap_or(&Json::Null));
        let case = given.get("case").or(known.get("case")).and_then(Json::as_str);
        let mut differences = Vec::new();
        differ("", &given, known, &mut differences);
        for (place, given, known) in differences {
            let case = case.unwrap_or("the partition");
            _ = write!(wrong, "\n  {case}: {place}: is {given}, and was {known}");
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("differs from {} (DRIFTD_UPDATE=1 writes it){wrong}", golden.display()))
}

/// Every place in which two values differ.
fn differ(place: &str, given: &Json, known: &Json, out: &mut Vec<(String, Json, Json)>) {
    let nothing = Json::Null;
    match (given, known) {
        (Json::Object(one), Json::Object(two)) => {
            let keys: std::collections::BTreeSet<_> = one.keys().chain(two.keys()).collect();
            for key in keys {
                let (one, two) = (one.get(key), two.get(key));
                let place = format!("{place}/{key}");
                if one.is_some() != two.is_some() {
                    let absent = || Json::String("absent".to_owned());
                    let cell = |cell: Option<&Json>| cell.cloned().unwrap_or_else(absent);
                    out.push((place, cell(one), cell(two)));
                } else {
                    differ(&place, one.unwrap_or(&nothing), two.unwrap_or(&nothing), out);
                }
            }
        }
        (Json::Array(one), Json::Array(two)) if one.len() == two.len() => {
            for (at, (one, two)) in one.iter().zip(two).enumerate() {
                differ(&format!("{place}/{at}"), one, two, out);
            }
        }
        _ if given == known => {}
        _ => out.push((place.to_owned(), given.clone(), known.clone())),
    }
}

/// Runs a plan for relations of which nothing is known, as the examples of this documentation do.
#[doc(hidden)]
pub fn plan_alone(plan: impl FnOnce(&Plan)) {
    let schema = |name: &str| TableSchema { name: name.to_owned(), ..TableSchema::default() };
    let source = ["users", "orders", "order_lines"].map(schema).to_vec();
    let alone = Plan::new("users".to_owned(), source, vec![schema("shop")]);
    plan(&alone);
    assert_eq!(alone.inner.borrow().issues, []);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_by_case_and_field() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compare.golden.jsonl");
        let line = |name: &str, id: &str| {
            format!(r#"{{"case": "{name}", "entities": [{{"fields": {{"id": {id}}}}}]}}"#)
        };
        assert_eq!(compare(&golden, &[line("one", "1"), line("two", "2")], false), Ok(()));
        let told = compare(&golden, &[line("one", "1"), line("two", "3")], false).unwrap_err();
        assert!(told.ends_with("\n  two: /entities/0/fields/id: is 3, and was 2"), "{told}");
        let told = compare(&golden, &[line("one", "1")], false).unwrap_err();
        assert!(told.contains("\n  two: : is null, and was {"), "{told}");
    }
}
