//! The contract, for whoever exports a plugin.
//!
//! Owns a copy of `wit/driftd.wit`, so that a plugin outside of this repository needs no file beside it.
//! Refuses to be edited: a test compares it.
//! Invariant: a plugin's bindings are of exactly one world, because those of several do not link.

/// The bindings of a world of the contract.
#[doc(hidden)]
#[macro_export]
macro_rules! __bindings {
    ($world:tt) => {
        $crate::glue::wit_bindgen::generate!({
            world: $world,
            runtime_path: "::driftd_plugin::glue::wit_bindgen::rt",
            inline: r#"
// The contract between driftd and its plugins. Frozen once a version is tagged: no
// record gains a field and no variant or enum gains a case; what must grow is an open
// string or a new exported interface. See README.md for how it is used, and for the
// registries of open strings.
package driftd:plugin@0.1.0;

interface types {
  /// Variable-width values in one arena: value i is data[offsets[i]..offsets[i+1]].
  /// offsets has one entry more than there are rows, starts at 0 and never falls.
  record var-bytes {
    offsets: list<u32>,
    data: list<u8>,
  }

  /// Physical layouts, a closed set; each payload crosses as one bulk copy.
  variant buffer {
    int64(list<s64>),
    uint64(list<u64>),
    float64(list<f64>),
    bytes(var-bytes),
  }

  record column {
    /// One bit a row, least significant first; empty = all ones. 0 means null, and in
    /// a column of logical type "value" it means absent (null is a CBOR null there).
    validity: list<u8>,
    values: buffer,
  }

  /// Columns in the order agreed in `plan`; names never travel with a batch.
  record batch {
    rows: u32,
    columns: list<column>,
  }

  /// `logical` is an open registry, kept in wit/README.md: "integer", "decimal(12,2)",
  /// "text", "binary", "boolean", "timestamp" (int64, microseconds since the Unix
  /// epoch, UTC), "datetime", "date", "time", "json", "enum", "set", and "value": a
  /// dynamically typed cell in deterministic CBOR (RFC 8949, section 4.2).
  record column-def {
    name: string,
    logical: string,
    nullable: bool,
  }

  /// What the store says of a relation (table). A schemaless store lists its key
  /// attributes; all its other cells are of logical type "value".
  record table-schema {
    name: string,
    columns: list<column-def>,
    /// Positions in `columns` of the primary key, in the order of that key.
    key: list<u32>,
  }

  enum side { source, target }

  record context {
    pairing: string,
    /// The side that the rows, entities or keys of the call are of. Calls about pairs are
    /// of both: it says "source" there and means nothing.
    side: side,
    /// When this check began: microseconds since the Unix epoch, the same for both
    /// sides and for every repetition. It may decide a standing (expired), never the
    /// value of a compared field.
    as-of: s64,
  }

  /// A fault in the user's configuration; `path` is a JSON pointer into it.
  record issue {
    path: string,
    message: string,
    help: option<string>,
  }

  /// The whole call failed. Trouble with one row is a `note`, never this.
  record error {
    code: string,
    message: string,
  }
}

/// What a plugin may call. Nothing here reads anything.
interface host {
  enum level { trace, debug, info, warn, error }
  log: func(level: level, message: string);
  count: func(name: string, delta: u64);
}

interface lifecycle {
  use types.{issue};
  record info {
    name: string,
    version: string,
    summary: string,
    /// JSON Schema (2020-12) of this plugin's own configuration table.
    config-schema: string,
  }
  describe: func() -> info;
  init: func(config-json: string) -> result<_, list<issue>>;
}

/// Rows of either store to canonical entities.
interface mapping {
  use types.{batch, table-schema, context, issue, error};

  /// key: identifies the entity. compared: part of its digest. version: grows with
  /// every change (a version number or an update time), so that an older copy can be
  /// told from a wrong one. label: counted by (wave, tenant, currency), not compared.
  /// carried: neither; for locating and invariants.
  enum role { key, compared, version, label, carried }

  record field-def {
    name: string,
    logical: string,
    role: role,
    /// Open registry of declared equivalences: "absent=null", "trim-end", ...
    rules: list<string>,
  }

  record entity-def {
    name: string,
    fields: list<field-def>,
  }

  record relation-plan {
    /// Position in the list of schemas given to `plan`.
    relation: u32,
    /// Columns, or JSON pointers into an item such as "/profile/email"; batches of
    /// this relation carry exactly these, in this order.
    columns: list<string>,
    /// Attributes known and left out on purpose; any other is reported as unmapped.
    ignored: list<string>,
    /// Positions in `columns` whose values make a group: rows of all relations of
    /// this side with equal group values arrive in one call. Empty: a row is a group.
    /// Where one relation of a side is grouped, all are, by as many columns of the same
    /// types.
    group-by: list<u32>,
  }

  record side-plan {
    relations: list<relation-plan>,
    /// false: the columns are the canonical fields already, and map-batch is not called.
    mapped: bool,
  }

  record mapping-plan {
    entities: list<entity-def>,
    source: side-plan,
    target: side-plan,
  }

  /// Rows of one relation. A call has at most one input of each; one that has no row in
  /// any group of the call may be left out.
  record input {
    /// Position in the list of schemas given to `plan`.
    relation: u32,
    /// The shard or store that these rows come from.
    origin: string,
    rows: batch,
    /// For each row the number of its group within this call, in any order. Groups are
    /// numbered from 0, across all inputs.
    group: list<u32>,
  }

  /// excluded: out of scope (not migrated yet, another kind of item); where the row is
  /// no such entity at all, its fields are null, the key included. absent: counts as not
  /// there (expired, tombstone).
  enum standing { present, absent, excluded }

  /// The entities of one type. A call gives at most one output of each type; a group may
  /// yield entities of several types, and several of one.
  record output {
    /// Position in the plan's `entities`.
    entity: u32,
    /// Canonical entities: a column for each field of the type, in the plan's order.
    items: batch,
    /// For each entity the group that it came from; it never falls.
    from-group: list<u32>,
    standing: list<standing>,
  }

  /// A row that cannot be mapped (`kind` "reject") or deserves a word ("warn"). A
  /// rejected row rejects its whole group, which then yields no entity of any type.
  record note {
    /// Position in the call's `inputs`, and the row within it.
    input: u32,
    row: u32,
    kind: string,
    message: string,
  }

  record mapped {
    outputs: list<output>,
    notes: list<note>,
  }

  /// Called once on every instance, after `init` and before any batch. The same schemas
  /// give the same plan.
  plan: func(pairing: string, source: list<table-schema>, target: list<table-schema>)
    -> result<mapping-plan, list<issue>>;

  /// Pure, and independent of how groups are cut into calls.
  map-batch: func(ctx: context, inputs: list<input>) -> result<mapped, error>;
}

/// Optional: where the store of `ctx.side` keeps an entity.
interface locating {
  use types.{batch, context, error};
  use mapping.{output};

  record located {
    /// Position in the list of schemas given to `plan`. Where the rows of the side are
    /// grouped, the keys must contain the columns of the group, and the whole group of
    /// what is found is read.
    relation: u32,
    /// Open registry. "get": full primary keys. "query": all rows under the leading
    /// columns of the primary key. Fewer columns than the key has are equal; with all of
    /// them the last, if it is text or binary, is a prefix of the row's ("begins with").
    access: string,
    /// Columns of the primary key, in its order and of its types.
    keys: batch,
    /// For each key the entity (row of `items`) that it belongs to, in any order: an
    /// entity may have none, one or several.
    from-entity: list<u32>,
  }

  /// `entity` is a position in the plan's `entities`, and `items` has all fields of that
  /// type, in the plan's order.
  locate: func(ctx: context, entity: u32, items: batch) -> result<list<located>, error>;

  /// Full primary keys of a relation (a position in the list of schemas given to `plan`)
  /// to the keys of the entities that lie there: for changes of which only the key is
  /// known, and for rows that the mapping rejects, so that they are told under their
  /// entity's key. `from-group` is the row of `store-keys`, every standing is "present",
  /// and fields that are not part of the key are null. A store key that tells of no entity
  /// is left out.
  keys-of: func(ctx: context, relation: u32, store-keys: batch) -> result<list<output>, error>;
}

/// Optional: rules that must hold.
interface invariants {
  use types.{batch, context, issue, error};

  enum severity { info, warning, error, critical }

  record invariant-def {
    id: string,
    /// Shown in events; must hold no values. A violation's own message may, and is
    /// treated as a value.
    summary: string,
    severity: severity,
    /// Open registry. "pair": checked by `check-pairs`. "partition": checked by an
    /// accumulator over all pairs of a partition.
    scope: string,
  }

  /// Canonical entities of one type and of both sides, with all its fields, aligned by
  /// key; a bitmap (one bit a pair, least significant first) says which are there. The
  /// cells of what is not there are placeholders.
  record pairs {
    /// Position in the plan's `entities`.
    entity: u32,
    source: batch,
    source-present: list<u8>,
    target: batch,
    target-present: list<u8>,
  }

  record violation {
    /// Position in what `declare` returned.
    invariant: u32,
    /// The pair concerned; none for a rule over a partition.
    pair: option<u32>,
    message: string,
  }

  declare: func(pairing: string) -> result<list<invariant-def>, list<issue>>;

  /// All rules of scope "pair" about the pairs' entity type.
  check-pairs: func(ctx: context, pairs: pairs) -> result<list<violation>, error>;

  /// A rule of scope "partition" (sums, counts, uniqueness). `push` gets the pairs of
  /// every entity type, those that the rule is not about too, one call a type and part,
  /// in any order; each pair once. merge is associative and commutative; a snapshot
  /// survives a restart under the same mapping identity. `finish` may be called again,
  /// and between pushes.
  resource accumulator {
    constructor(invariant: u32);
    push: func(ctx: context, pairs: pairs) -> result<_, error>;
    snapshot: func() -> list<u8>;
    merge: func(state: list<u8>) -> result<_, error>;
    finish: func() -> result<list<violation>, error>;
  }
}

world mapper {
  import host;
  export lifecycle;
  export mapping;
}

world mapper-with-invariants {
  include mapper;
  export invariants;
}

world mapper-with-locating {
  include mapper;
  export locating;
}

world complete {
  include mapper-with-invariants;
  export locating;
}
"#
        });
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_copy_is_the_contract() {
        let contract = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit/driftd.wit");
        let contract = std::fs::read_to_string(contract).unwrap();
        let copy = include_str!("bindings.rs").split("r#\"\n").nth(1).unwrap();
        let copy = copy.split("\"#\n").next().unwrap();
        assert!(copy == contract, "copy wit/driftd.wit into plugins/sdk/src/bindings.rs");
    }
}
