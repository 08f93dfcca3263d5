//! How the house is kept: who may use whom, what pure modules may not touch, how files look.
//!
//! Owns the table of allowed edges, which is the architecture diagram. Refuses to judge what a
//! compiler or a linter can. Invariant: every edge points downward in the order of `lib.rs`, and the
//! table says neither more nor less than the code.
#![expect(clippy::unwrap_used, reason = "a helper of tests fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The modules in the order of `lib.rs`, and whom each may use. A change that adds an edge changes
/// the architecture: it needs a reason, and a line in ARCHITECTURE.md.
const MAY_USE: [(&str, &[&str]); 18] = [
    // The demo brings a store of its own.
    ("cli", &["author", "run", "config", "store", "plugin", "journal", "report", "model"]),
    ("author", &["plugin", "model"]),
    (
        "run",
        &[
            "api", "check", "engine", "config", "plan", "store", "plugin", "compare", "journal",
            "report", "hook", "model",
        ],
    ),
    ("api", &["report", "model"]),
    ("check", &["store", "plugin", "compare", "model"]),
    ("engine", &["plan", "settle", "abort", "model"]),
    // Yields the settings of each stage; no stage knows it.
    (
        "config",
        &["plan", "store", "plugin", "settle", "journal", "report", "abort", "hook", "model"],
    ),
    ("plan", &["model"]),
    ("store", &["model"]),
    ("plugin", &["model"]),
    ("compare", &["model"]),
    ("settle", &["model"]),
    ("journal", &["model"]),
    ("report", &["model"]),
    ("abort", &["model"]),
    ("hook", &["model"]),
    ("model", &[]),
    // The program, which is no module of the library, but stands above all of them.
    ("main", &["cli"]),
];

/// Modules that a list of events or values must be able to drive alone.
const PURE: [&str; 6] = ["engine", "plan", "compare", "settle", "abort", "model"];

/// What a pure module may not name.
const IMPURE: [&str; 16] = [
    "async",
    "await",
    "tokio",
    "futures",
    "Instant",
    "SystemTime",
    "wasmtime",
    "tracing",
    "opentelemetry",
    "rusqlite",
    "std::fs",
    "std::net",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
];

/// Who may ask what time it is; for all others time is an argument.
const CLOCKS: [(&str, &str); 3] = [
    ("run/clock.rs", "it is the clock"),
    ("store/dynamodb/wire.rs", "a store times its own requests"),
    ("store/rate_limiter.rs", "a store paces itself"),
];

/// Modules in which no error may become a value without a reason: `quiet.txt` has the reasons.
const LOUD: [&str; 7] = ["check", "compare", "settle", "model", "engine", "plugin", "store"];

/// How results and options are turned into something else without a word.
const QUIET: [&str; 7] = [
    ".ok()",
    "unwrap_or_default",
    ".unwrap_or(",
    ".unwrap_or_else(",
    "filter_map(",
    "let Ok(",
    ".is_ok_and(",
];

const LINES_MAX: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Every file of the repository below `directory`, in order.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        // In a work tree of its own `.git` is a file. The last two hold what tools installed.
        if ["target", ".git", "node_modules", ".venv"].iter().any(|other| name == *other) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    files(directory)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

/// The daemon's own code without comments, literals and tests, by path below `daemon/src`.
fn sources() -> BTreeMap<String, String> {
    let src = root().join("daemon/src");
    let mut sources = BTreeMap::new();
    let mut tests = BTreeSet::new();
    for path in rust_files(&src) {
        let name = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        let (code, outlined) = without_tests(&without_words(&fs::read_to_string(&path).unwrap()));
        let directory = match name.as_str() {
            "lib.rs" | "main.rs" => String::new(),
            _ => format!("{}/", name.strip_suffix(".rs").unwrap()),
        };
        tests.extend(outlined.into_iter().map(|module| format!("{directory}{module}")));
        sources.insert(name, code);
    }
    sources.retain(|name, _| {
        !tests.iter().any(|test| {
            name.strip_prefix(test.as_str())
                .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        })
    });
    assert!(sources.len() > 100 && !tests.is_empty(), "the sources are where they are looked for");
    sources
}

/// The top-level module that a file belongs to.
fn module(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Rust code with comments left out and literals emptied.
fn without_words(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(len) = raw_string(rest, &code) {
            code.push_str("\"\"");
            len
        } else if first == '"' {
            code.push_str("\"\"");
            literal(rest, '"')
        } else if first == '\'' && is_char(rest) {
            code.push_str("' '");
            literal(rest, '\'')
        } else {
            code.push(first);
            first.len_utf8()
        };
        rest = &rest[skipped..];
    }
    code
}

/// The length of a raw string that starts here, if one does.
fn raw_string(rest: &str, before: &str) -> Option<usize> {
    let inside =
        before.chars().next_back().is_some_and(|last| last.is_alphanumeric() || last == '_');
    let hashes = rest.strip_prefix('r').filter(|_| !inside || before.ends_with('b'))?;
    let fence = hashes.len() - hashes.trim_start_matches('#').len();
    let body = hashes[fence..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(fence));
    Some(rest.len() - body.len() + body.find(&end).map_or(body.len(), |at| at + end.len()))
}

/// The length of a literal between `quote`s that starts here.
fn literal(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, char) in rest.char_indices().skip(1) {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if char == quote => return at + char.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// Whether an apostrophe begins a character, not a lifetime.
fn is_char(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    matches!((chars.next(), chars.next()), (Some('\\'), _) | (Some(_), Some('\'')))
}

/// Code without what is compiled for tests only, and the names of such modules in other files.
fn without_tests(code: &str) -> (String, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let (mut kept, mut outlined, mut rest) = (String::new(), Vec::new(), code);
    while let Some(at) = rest.find(MARK) {
        kept.push_str(&rest[..at]);
        rest = &rest[at + MARK.len()..];
        let open = rest.find(['{', ';']).unwrap();
        if rest[open..].starts_with(';') {
            let item = rest[..open].split_whitespace().collect::<Vec<_>>();
            if let Some(("mod", name)) = item.iter().rev().nth(1).copied().zip(item.last()) {
                outlined.push((*name).to_owned());
            }
            rest = &rest[open + 1..];
            continue;
        }
        let mut depth = 0;
        let end = rest.char_indices().find(|(_, char)| {
            match char {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            *char == '}' && depth == 0
        });
        rest = &rest[end.unwrap().0 + 1..];
    }
    kept.push_str(rest);
    (kept, outlined)
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// What follows each `path::` in the code: a name, or the first names of a group.
fn names_below(code: &str, path: &str) -> Vec<String> {
    let prefix = format!("{path}::");
    let mut names = Vec::new();
    for (at, _) in code.match_indices(&prefix) {
        if code[..at].chars().next_back().is_some_and(|before| is_word(before) || before == ':') {
            continue;
        }
        let rest = code[at + prefix.len()..].trim_start();
        let first = |item: &str| item.trim_start().chars().take_while(|c| is_word(*c)).collect();
        let Some(group) = rest.strip_prefix('{') else {
            names.push(first(rest));
            continue;
        };
        let (mut depth, mut start) = (0u32, 0);
        for (at, char) in group.char_indices() {
            match char {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' if depth == 0 => {
                    names.push(first(&group[start..at]));
                    start = at + 1;
                }
                '}' => {
                    names.push(first(&group[start..at]));
                    break;
                }
                _ => {}
            }
        }
    }
    names
}

/// Whom the code of a file uses: through `crate`, from `main.rs` through the crate's name, or through
/// as many `super`s as it takes.
fn used(file: &str, code: &str) -> Vec<String> {
    let depth = if file == "lib.rs" { 0 } else { file.matches('/').count() + 1 };
    let mut names = names_below(code, "crate");
    names.extend(names_below(code, "driftd"));
    names.extend(names_below(code, &vec!["super"; depth.max(1)].join("::")));
    names
}

#[test]
fn every_use_points_downward_and_is_in_the_table() {
    let order = MAY_USE.map(|(name, _)| name);
    let lib = &sources()["lib.rs"];
    let declared: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    assert_eq!(declared, order[..order.len() - 1], "lib.rs and the table list the same modules");
    for (at, (name, uses)) in MAY_USE.iter().enumerate().filter(|(_, (name, _))| *name != "main") {
        for used in *uses {
            let below = order.iter().position(|known| known == used);
            assert!(
                below.is_some_and(|below| below > at),
                "{name} -> {used} does not point downward"
            );
        }
    }

    let mut wrong = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (file, code) in &sources() {
        let here = module(file);
        if here == "lib" {
            continue;
        }
        let (_, allowed) = MAY_USE
            .iter()
            .find(|(name, _)| *name == here)
            .unwrap_or_else(|| panic!("{file} belongs to no module of the table"));
        for name in used(file, code) {
            if name == here || !order.contains(&name.as_str()) {
                continue;
            }
            if !allowed.contains(&name.as_str()) {
                wrong.insert(format!("{here} -> {name} ({file})"));
            }
            seen.insert((here.to_owned(), name));
        }
    }
    assert!(wrong.is_empty(), "edges that the table does not allow: {wrong:#?}");
    let idle: Vec<_> = MAY_USE
        .iter()
        .flat_map(|(name, uses)| {
            uses.iter().map(move |used| ((*name).to_owned(), (*used).to_owned()))
        })
        .filter(|edge| !seen.contains(edge))
        .collect();
    assert!(idle.is_empty(), "edges of the table that no code uses: {idle:?}");
}

#[test]
fn pure_modules_touch_nothing() {
    let mut wrong = Vec::new();
    for (file, code) in sources().iter().filter(|(file, _)| PURE.contains(&module(file))) {
        let words: BTreeSet<&str> = code.split(|char| !is_word(char)).collect();
        let of_std = names_below(code, "std");
        for impure in IMPURE {
            let named = match impure.strip_prefix("std::") {
                Some(name) => of_std.iter().any(|used| used == name),
                None => words.contains(impure),
            };
            if named {
                wrong.push(format!("{file}: {impure}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn time_is_an_argument() {
    let asks = |code: &str| code.contains("Instant::now") || code.contains("SystemTime::now");
    let sources = sources();
    let asking: Vec<&str> =
        sources.iter().filter(|(_, code)| asks(code)).map(|(file, _)| file.as_str()).collect();
    assert_eq!(asking, CLOCKS.map(|(file, _)| file), "who reads the clock, and who may");
}

#[test]
fn every_file_says_what_it_is_and_can_be_read() {
    for file in rust_files(&root()) {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.display();
        assert!(text.starts_with("//!"), "{name} does not begin with what it owns");
        assert!(text.lines().count() <= LINES_MAX, "{name} has more than {LINES_MAX} lines");
        assert!(!file.ends_with("mod.rs"), "{name}: modules are foo.rs and foo/");
    }
}

/// How many quiet places code has.
fn quiet_places(code: &str) -> usize {
    let ends = ["::MAX", "::MIN"];
    let is_quiet = |word: &str, at: usize| {
        let rest = code[at + word.len()..].trim_start();
        match word {
            // A number that is too large becomes the largest of its type.
            ".unwrap_or(" => {
                let argument = rest.split([')', ',']).next().unwrap();
                let kind = argument.trim_start_matches(['u', 'i']);
                !(kind.starts_with(|first: char| first.is_ascii_digit() || first == 's')
                    && ends.iter().any(|end| argument.trim_end().ends_with(end)))
            }
            // What a panic left behind is whole.
            ".unwrap_or_else(" => !rest.starts_with("PoisonError::into_inner"),
            _ => true,
        }
    };
    let of = |word: &str| code.match_indices(word).filter(|(at, _)| is_quiet(word, *at)).count();
    QUIET.iter().map(|word| of(word)).sum()
}

#[test]
fn an_error_becomes_no_value_without_a_reason() {
    let list = fs::read_to_string(root().join("daemon/tests/quiet.txt")).unwrap();
    let entries = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut known = BTreeMap::new();
    for entry in entries {
        let mut parts = entry.splitn(3, ' ');
        let (file, count, why) = (parts.next(), parts.next(), parts.next());
        let count: usize = count.unwrap().parse().unwrap();
        assert!(why.is_some_and(|why| why.len() > 10), "{entry}: say why");
        assert_eq!(known.insert(file.unwrap().to_owned(), count), None, "{entry}: named twice");
    }
    let mut wrong = Vec::new();
    for (file, code) in sources() {
        let known = known.remove(&file).unwrap_or(0);
        let found = if LOUD.contains(&module(&file)) { quiet_places(&code) } else { 0 };
        if found != known {
            wrong.push(format!("{file}: {found} places, of which {known} have a reason"));
        }
    }
    wrong.extend(known.into_keys().map(|file| format!("{file}: there is no such file")));
    assert!(
        wrong.is_empty(),
        "see that no error becomes a value there, or \"the same\", and say why in \
         daemon/tests/quiet.txt: {wrong:#?}"
    );
}

#[test]
fn quiet_places_are_counted_as_they_are() {
    let code = "a.ok(); b.unwrap_or(0) + c.unwrap_or(u64::MAX); d.map(T::unwrap_or_default); \
                e.unwrap_or_else(PoisonError::into_inner); if let Ok(f) = g {} h.unwrap_or(ME::MAX); \
                i.unwrap_or_default(); all.filter_map(one); j.unwrap_or( usize::MAX ).max(1);";
    assert_eq!(quiet_places(code), 7);
}

#[test]
fn what_a_reader_looks_for_is_there() {
    let root = root();
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap_or_default();
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "TELEMETRY.md",
        "LICENSE",
        "config/README.md",
        "config/operating.md",
        "plugins/README.md",
        "wit/README.md",
    ] {
        assert!(!read(name).trim().is_empty(), "{name} is missing");
    }
    for name in [".ci/run", "tests/run"] {
        let mode = fs::metadata(root.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{name} can be run");
    }
    let readme = read("README.md");
    for command in ["cargo run --release -- demo", "tests/run"] {
        assert!(readme.lines().any(|line| line == command), "README.md says `{command}`");
    }
}

#[test]
fn what_documents_link_to_is_there() {
    let root = root();
    let mut broken = Vec::new();
    for file in
        files(&root).into_iter().filter(|file| file.extension().is_some_and(|it| it == "md"))
    {
        let text = fs::read_to_string(&file).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        for (link, _) in links.filter(|(link, _)| !link.contains("://") && !link.starts_with('#')) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = file.parent().unwrap().join(path);
            let heading = |line: &str| line.starts_with('#') && slug(line) == anchor;
            let is_there = match anchor {
                "" => target.exists(),
                _ => fs::read_to_string(&target).is_ok_and(|text| text.lines().any(heading)),
            };
            if !is_there {
                broken.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The anchor of a heading.
fn slug(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect()
}

#[test]
fn no_file_tells_of_where_it_was_written() {
    // Taken apart, so that this file passes.
    let words = ["/ro-ot/", "/ho-me/", "/wo-rk/", "TO-DO", "FIX-ME"].map(|w| w.replace('-', ""));
    let root = root();
    for file in files(&root) {
        // A schema or a plugin may hold what it likes; what people wrote is text.
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for (at, line) in text.lines().enumerate() {
            let found = words.iter().find(|word| line.contains(word.as_str()));
            assert!(found.is_none(), "{}:{}: {found:?}", file.display(), at + 1);
        }
    }
}

#[test]
fn the_scan_sees_what_it_must() {
    let text = r##"
        use crate::{alpha, beta::{inner, other}, gamma as renamed};
        // use crate::comment;
        const WORDS: &str = "crate::text";
        const RAW: &str = r#"crate::raw " crate::raw"#;
        fn quote<'a>(one: &'a str) -> bool { one.starts_with('"') || crate::delta(one) }
        /// [`link`](crate::link)
        #[cfg(test)]
        mod tests { fn inside() { crate::tested(); if true {} } }
        #[cfg(test)]
        pub(crate) mod elsewhere;
        fn after() { super::epsilon(); super::super::zeta(); mycrate::eta(); }
    "##;
    let (code, outlined) = without_tests(&without_words(text));
    assert_eq!(names_below(&code, "crate"), ["alpha", "beta", "gamma", "delta"]);
    assert_eq!(outlined, ["elsewhere"]);
    assert_eq!(names_below(&code, "super::super"), ["zeta"]);
    assert_eq!(used("alpha.rs", &code), ["alpha", "beta", "gamma", "delta", "epsilon", "super"]);
    assert_eq!(used("alpha/more.rs", &code), ["alpha", "beta", "gamma", "delta", "zeta"]);
}
