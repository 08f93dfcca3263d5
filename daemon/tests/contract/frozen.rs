//! What was released of the contract does not change.
//!
//! Owns the comparison of `wit/` with the packages in `wit/released/`. Refuses to compare texts: comments
//! and the order of items may change, and new interfaces and worlds may come. Invariant: every type and
//! every function of a released interface, and every import and export of a released world, is part of
//! what is compared.

use std::collections::BTreeMap;

use wit_parser::{
    Function, FunctionKind, Handle, Interface, PackageName, Resolve, Type, TypeDefKind, TypeId,
    WorldItem,
};

use super::{directories, name, repository};

/// What was released, oldest first: the directory, and the BLAKE3 digest of its one file. A release that
/// adds an interface or a version adds a line.
const RELEASED: [(&str, &str); 1] =
    [("0.1.0", "9488afd1ca85ff8ec017c6b723a6ce6375718191bb73cd2b80c237cc9594bf82")];

/// Of each interface and world each item, in words that say all that a plugin depends on.
type Described = BTreeMap<String, BTreeMap<String, String>>;

/// A package in a directory.
fn package(directory: &str) -> (PackageName, Described) {
    let mut resolve = Resolve::default();
    let (id, _) = resolve.push_dir(repository(directory)).unwrap();
    (resolve.packages[id].name.clone(), described(&resolve, id))
}

fn described(resolve: &Resolve, id: wit_parser::PackageId) -> Described {
    let package = &resolve.packages[id];
    let interfaces = package.interfaces.iter().map(|(name, interface)| {
        (format!("interface {name}"), items(resolve, &resolve.interfaces[*interface]))
    });
    let worlds = package.worlds.iter().map(|(name, world)| {
        let world = &resolve.worlds[*world];
        let imports = world.imports.iter().map(|(key, item)| ("import", key, item));
        let exports = world.exports.iter().map(|(key, item)| ("export", key, item));
        let item = |(way, key, item): (&str, &wit_parser::WorldKey, &WorldItem)| {
            let what = match item {
                WorldItem::Interface { .. } => "interface".to_owned(),
                WorldItem::Function(function) => self::function(resolve, function),
                WorldItem::Type { id, .. } => kind(resolve, *id),
            };
            (format!("{way} {}", resolve.name_world_key(key)), what)
        };
        (format!("world {name}"), imports.chain(exports).map(item).collect())
    });
    interfaces.chain(worlds).collect()
}

fn items(resolve: &Resolve, interface: &Interface) -> BTreeMap<String, String> {
    let types = interface.types.iter();
    let types = types.map(|(name, id)| (format!("type {name}"), kind(resolve, *id)));
    let functions = interface.functions.iter();
    let functions = functions.map(|(name, it)| (format!("function {name}"), function(resolve, it)));
    types.chain(functions).collect()
}

fn function(resolve: &Resolve, function: &Function) -> String {
    let is_async = match function.kind {
        FunctionKind::Freestanding
        | FunctionKind::Method(_)
        | FunctionKind::Static(_)
        | FunctionKind::Constructor(_) => "",
        FunctionKind::AsyncFreestanding
        | FunctionKind::AsyncMethod(_)
        | FunctionKind::AsyncStatic(_) => "async ",
    };
    let param = |param: &wit_parser::Param| format!("{}: {}", param.name, ty(resolve, &param.ty));
    let params: Vec<String> = function.params.iter().map(param).collect();
    let result = optional(resolve, function.result.as_ref());
    format!("{is_async}func({}) -> {result}", params.join(", "))
}

fn optional(resolve: &Resolve, ty: Option<&Type>) -> String {
    ty.map_or_else(|| "_".to_owned(), |ty| self::ty(resolve, ty))
}

/// A type where it is used: by its name and interface if it has one.
fn ty(resolve: &Resolve, ty: &Type) -> String {
    let id = match ty {
        Type::Id(id) => *id,
        Type::Bool
        | Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::S8
        | Type::S16
        | Type::S32
        | Type::S64
        | Type::F32
        | Type::F64
        | Type::Char
        | Type::String
        | Type::ErrorContext => return format!("{ty:?}").to_lowercase(),
    };
    let def = &resolve.types[id];
    // `use` makes an alias: what counts is where it leads.
    if let TypeDefKind::Type(alias) = &def.kind
        && matches!(alias, Type::Id(_))
    {
        return self::ty(resolve, alias);
    }
    let Some(name) = &def.name else { return kind(resolve, id) };
    match resolve.type_interface_dep(id).and_then(|it| resolve.interfaces[it].name.clone()) {
        Some(interface) => format!("{interface}.{name}"),
        None => match def.owner {
            wit_parser::TypeOwner::Interface(owner) => {
                let owner = resolve.interfaces[owner].name.as_deref().unwrap_or("_");
                format!("{owner}.{name}")
            }
            wit_parser::TypeOwner::World(_) | wit_parser::TypeOwner::None => name.clone(),
        },
    }
}

/// A type where it is defined.
fn kind(resolve: &Resolve, id: TypeId) -> String {
    let one = |ty: &Type| self::ty(resolve, ty);
    let list = |parts: Vec<String>| parts.join(", ");
    match &resolve.types[id].kind {
        TypeDefKind::Record(record) => {
            let field = |field: &wit_parser::Field| format!("{}: {}", field.name, one(&field.ty));
            format!("record {{ {} }}", list(record.fields.iter().map(field).collect()))
        }
        TypeDefKind::Variant(variant) => {
            let case = |case: &wit_parser::Case| {
                format!("{}({})", case.name, optional(resolve, case.ty.as_ref()))
            };
            format!("variant {{ {} }}", list(variant.cases.iter().map(case).collect()))
        }
        TypeDefKind::Enum(it) => {
            let cases = it.cases.iter().map(|case| case.name.clone());
            format!("enum {{ {} }}", list(cases.collect()))
        }
        TypeDefKind::Flags(it) => {
            let flags = it.flags.iter().map(|flag| flag.name.clone());
            format!("flags {{ {} }}", list(flags.collect()))
        }
        TypeDefKind::Resource => "resource".to_owned(),
        TypeDefKind::Handle(Handle::Own(of)) => format!("own<{}>", one(&Type::Id(*of))),
        TypeDefKind::Handle(Handle::Borrow(of)) => format!("borrow<{}>", one(&Type::Id(*of))),
        TypeDefKind::Tuple(it) => format!("tuple<{}>", list(it.types.iter().map(one).collect())),
        TypeDefKind::Option(of) => format!("option<{}>", one(of)),
        TypeDefKind::Result(it) => format!(
            "result<{}, {}>",
            optional(resolve, it.ok.as_ref()),
            optional(resolve, it.err.as_ref())
        ),
        TypeDefKind::List(of) => format!("list<{}>", one(of)),
        TypeDefKind::FixedLengthList(of, length) => format!("list<{}, {length}>", one(of)),
        TypeDefKind::Map(from, to) => format!("map<{}, {}>", one(from), one(to)),
        TypeDefKind::Future(of) => format!("future<{}>", optional(resolve, of.as_ref())),
        TypeDefKind::Stream(of) => format!("stream<{}>", optional(resolve, of.as_ref())),
        TypeDefKind::Type(of) => format!("= {}", one(of)),
        TypeDefKind::Unknown => panic!("a resolved package has no unknown type"),
    }
}

/// What of a released package is not as it was.
fn changes(released: &Described, now: &Described) -> Vec<String> {
    let mut changes = Vec::new();
    for (of, were) in released {
        let Some(are) = now.get(of) else {
            changes.push(format!("{of} is gone"));
            continue;
        };
        for (item, was) in were {
            match are.get(item) {
                Some(is) if is == was => {}
                Some(is) => changes.push(format!("{of}, {item}: was `{was}`, is `{is}`")),
                None => changes.push(format!("{of}, {item} is gone")),
            }
        }
        let added = are.keys().filter(|item| !were.contains_key(*item));
        changes.extend(added.map(|item| format!("{of} has a new {item}")));
    }
    changes
}

#[test]
fn what_was_released_is_part_of_the_contract_as_it_was() {
    let (current, now) = package("wit");
    assert!(now.len() > 5, "the contract is where it is looked for: {:?}", now.keys());
    for (release, _) in RELEASED {
        let (released, was) = package(&format!("wit/released/{release}"));
        if released == current {
            let changes = changes(&was, &now);
            assert!(
                changes.is_empty(),
                "wit/ is not what {release} released: {changes:#?}\nadd a new interface for what \
                 is new, or a version; wit/README.md says how"
            );
        } else {
            assert!(
                released.version < current.version,
                "{released} was released, wit/ is {current}"
            );
        }
    }
}

#[test]
fn released_files_are_never_touched() {
    let mut found: Vec<String> =
        directories(&repository("wit/released")).iter().map(|path| name(path)).collect();
    let mut known = RELEASED.map(|(release, _)| release.to_owned());
    found.sort();
    known.sort();
    assert_eq!(found, known);
    for (release, digest) in RELEASED {
        let file = repository(&format!("wit/released/{release}/driftd.wit"));
        let is = blake3::hash(&std::fs::read(file).unwrap()).to_hex();
        assert_eq!(is.as_str(), digest, "wit/released/{release}/driftd.wit has been edited");
    }
}

const SMALL: &str = "
    package driftd:plugin@0.1.0;
    interface types {
      /// A part.
      record part { offsets: list<u32>, note: option<string> }
      variant buffer { number(s64), part(part), nothing }
      enum side { source, target }
    }
    interface mapping {
      use types.{part, side};
      resource sum { constructor(of: u32); push: func(part: part) -> result<_, string>; }
      plan: func(side: side, parts: list<part>) -> result<part, string>;
      finish: func();
    }
    world mapper { export mapping; }
";

fn parsed(text: &str) -> Described {
    let mut resolve = Resolve::default();
    let id =
        resolve.push_str("small.wit", text).unwrap_or_else(|error| panic!("{error:#}: {text}"));
    described(&resolve, id)
}

/// What the comparison says when `from` becomes `to` in a small package.
fn edited(from: &str, to: &str) -> Vec<String> {
    assert!(SMALL.contains(from), "{from}");
    changes(&parsed(SMALL), &parsed(&SMALL.replacen(from, to, 1)))
}

#[test]
fn a_change_to_a_released_interface_is_seen() {
    for (from, to, told) in [
        (
            "note: option<string> }",
            "note: option<string>, more: bool }",
            "interface types, type part: was `record { offsets: list<u32>, note: option<string> }`, \
             is `record { offsets: list<u32>, note: option<string>, more: bool }`",
        ),
        ("offsets: list<u32>", "offsets: list<u64>", "interface types, type part: was"),
        ("note: option<string>", "said: option<string>", "interface types, type part: was"),
        ("nothing }", "nothing, other(u8) }", "interface types, type buffer: was"),
        ("part(part),", "part(side),", "interface types, type buffer: was"),
        ("enum side { source, target }", "enum side { target, source }", "type side: was"),
        ("finish: func();", "", "interface mapping, function finish is gone"),
        ("finish: func();", "finish: func() -> bool;", "is `func() -> bool`"),
        ("finish: func();", "finish: async func();", "function finish"),
        (
            "finish: func();",
            "finish: func(); more: func();",
            "interface mapping has a new function more",
        ),
        ("parts: list<part>", "these: list<part>", "interface mapping, function plan: was"),
        (
            "result<part, string>",
            "result<side, string>",
            "is `func(side: types.side, parts: list<types.part>) -> result<types.side, string>`",
        ),
        ("push: func(part: part)", "push: func(part: u8)", "function [method]sum.push: was"),
        ("constructor(of: u32);", "", "function [constructor]sum is gone"),
        (
            "enum side {",
            "record more { it: bool } enum side {",
            "interface types has a new type more",
        ),
        (
            "export mapping;",
            "import types; export mapping; export run: func();",
            "world mapper has a new export run",
        ),
        ("world mapper {", "world other {", "world mapper is gone"),
    ] {
        let changes = edited(from, to);
        assert!(changes.iter().any(|change| change.contains(told)), "{from} -> {to}: {changes:?}");
    }
}

#[test]
fn growth_by_an_interface_other_words_and_another_order_are_none() {
    for (from, to) in [
        ("/// A part.", "/// One of several, and nothing else."),
        ("/// A part.", ""),
        (
            "world mapper {",
            "interface watching { use types.{part}; watch: func(part: part); }
             world watcher { include mapper; export watching; }
             world mapper {",
        ),
        (
            "plan: func(side: side, parts: list<part>) -> result<part, string>;\n      finish: func();",
            "finish: func();\n      plan: func(side: side, parts: list<part>) -> result<part, string>;",
        ),
        ("use types.{part, side};", "use types.{side, part};"),
    ] {
        assert_eq!(edited(from, to), [""; 0], "{from} -> {to}");
    }
}
