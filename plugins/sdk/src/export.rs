//! The boundary.
//!
//! Owns [`export!`](crate::export): what a plugin needs to be called by driftd, and the conversions
//! between the generated bindings and [`wire`](crate::wire). Refuses behaviour: it is in `plugin`.
//! Invariant: only in WebAssembly is there a boundary; natively a plugin is plain Rust.

/// Makes a type a plugin, with the abilities that are named: [`Mapping`](crate::Mapping), and
/// [`Invariants`](crate::Invariants) and [`Locating`](crate::Locating) where it has them. Once in a
/// crate, at its root or in any module.
///
/// ```
/// use driftd_plugin::{Invariants, Mapping, Plan, Rules};
///
/// #[derive(Default)]
/// struct Users;
///
/// driftd_plugin::export!(Users: Mapping + Invariants);
///
/// impl Mapping for Users {
///     const NAME: &'static str = "users";
///     const SUMMARY: &'static str = "maps users";
///
///     fn plan(&self, plan: &Plan) {
///         let (row, item) = (plan.source(), plan.target());
///         plan.entity("user", row, item).key("id", row.integer("id"), item.integer("id"));
///     }
/// }
///
/// impl Invariants for Users {
///     fn declare(&self, _: &Rules) {}
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    ($plugin:ident: Mapping) => {
        $crate::__exported!($plugin {});
        $crate::__glue!($plugin, "mapper" {});
    };
    ($plugin:ident: Mapping + Invariants) => {
        $crate::__exported!($plugin { Invariants });
        $crate::__glue!($plugin, "mapper-with-invariants" { __glue_invariants });
    };
    ($plugin:ident: Mapping + Locating) => {
        $crate::__exported!($plugin { Locating });
        $crate::__glue!($plugin, "mapper-with-locating" { __glue_locating });
    };
    ($plugin:ident: Mapping + Invariants + Locating) => {
        $crate::__exported!($plugin { Invariants Locating });
        $crate::__glue!($plugin, "complete" { __glue_invariants __glue_locating });
    };
    ($plugin:ident: Mapping + Locating + Invariants) => {
        $crate::export!($plugin: Mapping + Invariants + Locating);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __exported {
    ($plugin:ident { $($ability:ident)* }) => {
        impl $crate::glue::Exported for $plugin {
            const VERSION: &'static str = env!("CARGO_PKG_VERSION");

            $($crate::__ability!($ability);)*
        }

        // Natively a plugin is what its tests make of it, and used all the same.
        const _: fn() -> $crate::glue::Plugin<$plugin> = Default::default;
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __ability {
    (Invariants) => {
        fn declare_rules(&self, rules: &$crate::Rules) {
            $crate::Invariants::declare(self, rules);
        }
    };
    (Locating) => {
        fn locators(&self, locators: &$crate::Locators) {
            $crate::Locating::locate(self, locators);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __glue {
    ($plugin:ident, $world:tt { $($ability:ident)* }) => {
        #[cfg(target_family = "wasm")]
        mod __driftd_plugin {
            use $crate::{glue, wire};

            mod bindings {
                $crate::__bindings!($world);
            }
            use bindings::driftd::plugin::{host, types};
            use bindings::exports::driftd::plugin::{lifecycle, mapping};

            thread_local! {
                static PLUGIN: std::cell::RefCell<glue::Plugin<super::$plugin>> =
                    std::cell::RefCell::default();
            }

            fn plugin<R>(call: impl FnOnce(&mut glue::Plugin<super::$plugin>) -> R) -> R {
                PLUGIN.with_borrow_mut(call)
            }

            struct Glue;

            impl lifecycle::Guest for Glue {
                fn describe() -> lifecycle::Info {
                    let info = glue::Plugin::<super::$plugin>::describe();
                    lifecycle::Info {
                        name: info.name,
                        version: info.version,
                        summary: info.summary,
                        config_schema: info.config_schema,
                    }
                }

                fn init(config: String) -> Result<(), Vec<types::Issue>> {
                    glue::connect(
                        |level, message| host::log(level_out(level), message),
                        |name, delta| host::count(name, delta),
                    );
                    plugin(|plugin| plugin.init(config)).map_err(issues_out)
                }
            }

            impl mapping::Guest for Glue {
                fn plan(
                    pairing: String,
                    source: Vec<types::TableSchema>,
                    target: Vec<types::TableSchema>,
                ) -> Result<mapping::MappingPlan, Vec<types::Issue>> {
                    let (source, target) = (schemas_in(source), schemas_in(target));
                    let plan = plugin(|plugin| plugin.plan(pairing, source, target));
                    plan.map(plan_out).map_err(issues_out)
                }

                fn map_batch(
                    context: types::Context,
                    inputs: Vec<mapping::Input>,
                ) -> Result<mapping::Mapped, types::Error> {
                    let input = |input: mapping::Input| wire::Input {
                        relation: input.relation,
                        origin: input.origin,
                        rows: batch_in(input.rows),
                        group: input.group,
                    };
                    let (context, inputs) = (context_in(context), inputs.into_iter().map(input));
                    let result = plugin(|plugin| plugin.map_batch(context, inputs.collect()));
                    let note = |note: wire::Note| mapping::Note {
                        input: note.input,
                        row: note.row,
                        kind: note.kind,
                        message: note.message,
                    };
                    let mapped = |mapped: wire::Mapped| mapping::Mapped {
                        outputs: mapped.outputs.into_iter().map(output_out).collect(),
                        notes: mapped.notes.into_iter().map(note).collect(),
                    };
                    result.map(mapped).map_err(error_out)
                }
            }

            $($crate::$ability!();)*

            $crate::__glue_types!();

            bindings::export!(Glue with_types_in bindings);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __glue_types {
    () => {
        fn level_out(level: wire::Level) -> host::Level {
            match level {
                wire::Level::Trace => host::Level::Trace,
                wire::Level::Debug => host::Level::Debug,
                wire::Level::Info => host::Level::Info,
                wire::Level::Warn => host::Level::Warn,
                wire::Level::Error => host::Level::Error,
            }
        }

        fn issues_out(issues: Vec<$crate::Issue>) -> Vec<types::Issue> {
            let issue = |issue: $crate::Issue| types::Issue {
                path: issue.path,
                message: issue.message,
                help: issue.help,
            };
            issues.into_iter().map(issue).collect()
        }

        fn error_out(error: wire::Error) -> types::Error {
            types::Error { code: error.code, message: error.message }
        }

        fn context_in(context: types::Context) -> wire::Context {
            let side = match context.side {
                types::Side::Source => wire::Side::Source,
                types::Side::Target => wire::Side::Target,
            };
            wire::Context { pairing: context.pairing, side, as_of: context.as_of }
        }

        fn schemas_in(schemas: Vec<types::TableSchema>) -> Vec<wire::TableSchema> {
            let column = |column: types::ColumnDef| wire::ColumnDef {
                name: column.name,
                logical: column.logical,
                nullable: column.nullable,
            };
            let schema = |schema: types::TableSchema| wire::TableSchema {
                name: schema.name,
                columns: schema.columns.into_iter().map(column).collect(),
                key: schema.key,
            };
            schemas.into_iter().map(schema).collect()
        }

        fn batch_in(batch: types::Batch) -> wire::Batch {
            let column = |column: types::Column| wire::Column {
                validity: column.validity,
                values: match column.values {
                    types::Buffer::Int64(values) => wire::Buffer::Int64(values),
                    types::Buffer::Uint64(values) => wire::Buffer::Uint64(values),
                    types::Buffer::Float64(values) => wire::Buffer::Float64(values),
                    types::Buffer::Bytes(types::VarBytes { offsets, data }) => {
                        wire::Buffer::Bytes(wire::VarBytes { offsets, data })
                    }
                },
            };
            wire::Batch {
                rows: batch.rows,
                columns: batch.columns.into_iter().map(column).collect(),
            }
        }

        fn batch_out(batch: wire::Batch) -> types::Batch {
            let column = |column: wire::Column| types::Column {
                validity: column.validity,
                values: match column.values {
                    wire::Buffer::Int64(values) => types::Buffer::Int64(values),
                    wire::Buffer::Uint64(values) => types::Buffer::Uint64(values),
                    wire::Buffer::Float64(values) => types::Buffer::Float64(values),
                    wire::Buffer::Bytes(wire::VarBytes { offsets, data }) => {
                        types::Buffer::Bytes(types::VarBytes { offsets, data })
                    }
                },
            };
            types::Batch {
                rows: batch.rows,
                columns: batch.columns.into_iter().map(column).collect(),
            }
        }

        fn output_out(output: wire::Output) -> mapping::Output {
            let standing = |standing| match standing {
                wire::Standing::Present => mapping::Standing::Present,
                wire::Standing::Absent => mapping::Standing::Absent,
                wire::Standing::Excluded => mapping::Standing::Excluded,
            };
            mapping::Output {
                entity: output.entity,
                items: batch_out(output.items),
                from_group: output.from_group,
                standing: output.standing.into_iter().map(standing).collect(),
            }
        }

        fn plan_out(plan: wire::MappingPlan) -> mapping::MappingPlan {
            let field = |field: wire::FieldDef| mapping::FieldDef {
                name: field.name,
                logical: field.logical,
                role: match field.role {
                    wire::Role::Key => mapping::Role::Key,
                    wire::Role::Compared => mapping::Role::Compared,
                    wire::Role::Version => mapping::Role::Version,
                    wire::Role::Label => mapping::Role::Label,
                    wire::Role::Carried => mapping::Role::Carried,
                },
                rules: field.rules,
            };
            let entity = |entity: wire::EntityDef| mapping::EntityDef {
                name: entity.name,
                fields: entity.fields.into_iter().map(field).collect(),
            };
            let relation = |relation: wire::RelationPlan| mapping::RelationPlan {
                relation: relation.relation,
                columns: relation.columns,
                ignored: relation.ignored,
                group_by: relation.group_by,
            };
            let side = |side: wire::SidePlan| mapping::SidePlan {
                relations: side.relations.into_iter().map(relation).collect(),
                mapped: side.mapped,
            };
            mapping::MappingPlan {
                entities: plan.entities.into_iter().map(entity).collect(),
                source: side(plan.source),
                target: side(plan.target),
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __glue_invariants {
    () => {
        use bindings::exports::driftd::plugin::invariants;

        struct Accumulator(std::cell::RefCell<glue::Accumulator>);

        fn pairs_in(pairs: invariants::Pairs) -> wire::Pairs {
            wire::Pairs {
                entity: pairs.entity,
                source: batch_in(pairs.source),
                source_present: pairs.source_present,
                target: batch_in(pairs.target),
                target_present: pairs.target_present,
            }
        }

        fn violations_out(violations: Vec<wire::Violation>) -> Vec<invariants::Violation> {
            let violation = |violation: wire::Violation| invariants::Violation {
                invariant: violation.invariant,
                pair: violation.pair,
                message: violation.message,
            };
            violations.into_iter().map(violation).collect()
        }

        impl invariants::Guest for Glue {
            type Accumulator = Accumulator;

            fn declare(
                _pairing: String,
            ) -> Result<Vec<invariants::InvariantDef>, Vec<types::Issue>> {
                let def = |def: wire::InvariantDef| invariants::InvariantDef {
                    id: def.id,
                    summary: def.summary,
                    severity: match def.severity {
                        wire::Severity::Info => invariants::Severity::Info,
                        wire::Severity::Warning => invariants::Severity::Warning,
                        wire::Severity::Error => invariants::Severity::Error,
                        wire::Severity::Critical => invariants::Severity::Critical,
                    },
                    scope: def.scope.name().to_owned(),
                };
                let declared = plugin(|plugin| plugin.declare());
                declared.map(|defs| defs.into_iter().map(def).collect()).map_err(issues_out)
            }

            fn check_pairs(
                context: types::Context,
                pairs: invariants::Pairs,
            ) -> Result<Vec<invariants::Violation>, types::Error> {
                let (context, pairs) = (context_in(context), pairs_in(pairs));
                let violations = plugin(|plugin| plugin.check_pairs(context, pairs));
                violations.map(violations_out).map_err(error_out)
            }
        }

        impl invariants::GuestAccumulator for Accumulator {
            fn new(invariant: u32) -> Self {
                Self(std::cell::RefCell::new(plugin(|plugin| plugin.accumulator(invariant))))
            }

            fn push(
                &self,
                context: types::Context,
                pairs: invariants::Pairs,
            ) -> Result<(), types::Error> {
                let (context, pairs) = (context_in(context), pairs_in(pairs));
                self.0.borrow_mut().push(context, pairs).map_err(error_out)
            }

            fn snapshot(&self) -> Vec<u8> {
                self.0.borrow_mut().snapshot()
            }

            fn merge(&self, state: Vec<u8>) -> Result<(), types::Error> {
                self.0.borrow_mut().merge(&state).map_err(error_out)
            }

            fn finish(&self) -> Result<Vec<invariants::Violation>, types::Error> {
                Ok(violations_out(self.0.borrow_mut().finish()))
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __glue_locating {
    () => {
        use bindings::exports::driftd::plugin::locating;

        impl locating::Guest for Glue {
            fn locate(
                context: types::Context,
                entity: u32,
                items: types::Batch,
            ) -> Result<Vec<locating::Located>, types::Error> {
                let (context, items) = (context_in(context), batch_in(items));
                let located = |located: wire::Located| locating::Located {
                    relation: located.relation,
                    access: located.access,
                    keys: batch_out(located.keys),
                    from_entity: located.from_entity,
                };
                plugin(|plugin| plugin.locate(context, entity, items))
                    .map(|all| all.into_iter().map(located).collect())
                    .map_err(error_out)
            }

            fn keys_of(
                context: types::Context,
                relation: u32,
                store_keys: types::Batch,
            ) -> Result<Vec<mapping::Output>, types::Error> {
                let (context, keys) = (context_in(context), batch_in(store_keys));
                plugin(|plugin| plugin.keys_of(context, relation, keys))
                    .map(|all| all.into_iter().map(output_out).collect())
                    .map_err(error_out)
            }
        }
    };
}
