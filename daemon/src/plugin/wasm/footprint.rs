//! What a file takes of the host when it is instantiated.
//!
//! Owns counting, before anything is compiled, how many instances a component consists of and what the
//! host holds for them beside linear memory and tables. Refuses what cannot be counted. Invariant: a
//! file never takes more than was counted, however often its parts name each other.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ElementItems, Instance, Parser, Payload, Result,
};

/// More than the engine keeps of a function, a global or an element for each instance.
const ITEM_BYTES: u64 = 48;
/// Instances of a file, of modules and of components: those of some languages consist of dozens.
const INSTANCES_MAX: u64 = 1_000;
/// Bytes that the host may hold for them: beyond that, compiling them alone takes too much.
const BYTES_MAX: u64 = 64 << 20;

/// What instances take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Footprint {
    instances: u64,
    /// Bytes that the host holds.
    pub(super) bytes: u64,
}

impl Footprint {
    /// That of the component in `bytes`. The error says what is wrong with it.
    pub(super) fn of(bytes: &[u8]) -> std::result::Result<Self, String> {
        let counted = count(bytes).map_err(|error| error.to_string())?;
        match counted {
            None => Err("it takes modules or components from elsewhere".to_owned()),
            Some(Self { instances, .. }) if instances > INSTANCES_MAX => {
                Err(format!("it consists of {instances} instances; at most {INSTANCES_MAX}"))
            }
            Some(Self { bytes, .. }) if bytes > BYTES_MAX => Err(format!(
                "its instances take {bytes} bytes before they run; at most {BYTES_MAX}"
            )),
            Some(counted) => Ok(counted),
        }
    }

    const fn add(&mut self, other: Self) {
        self.instances = self.instances.saturating_add(other.instances);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// A module or a component on the way. None stands for one that comes from elsewhere.
#[derive(Debug, Default)]
struct Part {
    /// Of one instance.
    total: Option<Footprint>,
    modules: Vec<Option<Footprint>>,
    components: Vec<Option<Footprint>>,
}

impl Part {
    fn new() -> Self {
        let total = Some(Footprint { instances: 1, bytes: 0 });
        Self { total, ..Self::default() }
    }

    /// Adds what an instance of `part` takes.
    fn instantiate(&mut self, part: Option<Footprint>) {
        self.total = self.total.zip(part).map(|(mut total, part)| {
            total.add(part);
            total
        });
    }

    /// Adds an instance, of what if it is of something, and what it is given.
    fn instance(&mut self, of: Option<Option<Footprint>>, given: usize) {
        self.items(1 + given as u64);
        if let Some(of) = of {
            self.instantiate(of);
        }
    }

    fn items(&mut self, count: u64) {
        let bytes = count.saturating_mul(ITEM_BYTES);
        self.instantiate(Some(Footprint { instances: 0, bytes }));
    }

    const fn space(&mut self, kind: ComponentExternalKind) -> Option<&mut Vec<Option<Footprint>>> {
        match kind {
            ComponentExternalKind::Module => Some(&mut self.modules),
            ComponentExternalKind::Component => Some(&mut self.components),
            ComponentExternalKind::Func
            | ComponentExternalKind::Value
            | ComponentExternalKind::Type
            | ComponentExternalKind::Instance => None,
        }
    }
}

/// What `list` has at `index`.
fn known(list: &[Option<Footprint>], index: u32) -> Option<Footprint> {
    list.get(index as usize).copied().flatten()
}

fn count(bytes: &[u8]) -> Result<Option<Footprint>> {
    // The last one is under way; the others are those around it, with what they are.
    let mut parts = vec![Part::new()];
    let mut within = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        if let Payload::ModuleSection { .. } | Payload::ComponentSection { .. } = payload {
            within.push(matches!(payload, Payload::ModuleSection { .. }));
            parts.push(Part::new());
            continue;
        }
        let Some((part, around)) = parts.split_last_mut() else { break };
        if !matches!(payload, Payload::End(_)) {
            add(part, around, payload)?;
            continue;
        }
        let (total, is_module) = (part.total, within.pop());
        let (Some(is_module), Some(outer)) = (is_module, around.last_mut()) else {
            return Ok(total);
        };
        let space = if is_module { &mut outer.modules } else { &mut outer.components };
        space.push(total);
        parts.pop();
    }
    Ok(None)
}

/// Adds a section.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others define nothing that is kept")]
fn add(part: &mut Part, around: &[Part], payload: Payload<'_>) -> Result<()> {
    match payload {
        Payload::ImportSection(all) => {
            let count = all.into_imports().try_fold(0, |count, it| it.map(|_| count + 1))?;
            part.items(count);
        }
        Payload::FunctionSection(all) => part.items(all.count().into()),
        Payload::TableSection(all) => part.items(all.count().into()),
        Payload::MemorySection(all) => part.items(all.count().into()),
        Payload::TagSection(all) => part.items(all.count().into()),
        Payload::GlobalSection(all) => part.items(all.count().into()),
        Payload::DataSection(all) => part.items(all.count().into()),
        // Each of these may become a function of the host, for every instance of the component.
        Payload::ComponentCanonicalSection(all) => part.items(all.count().into()),
        Payload::ComponentTypeSection(all) => part.items(all.count().into()),
        Payload::ElementSection(all) => {
            for element in all {
                let items = match element?.items {
                    ElementItems::Functions(items) => items.count(),
                    ElementItems::Expressions(_, items) => items.count(),
                };
                part.items(1 + u64::from(items));
            }
        }
        Payload::InstanceSection(all) => {
            for instance in all {
                let (of, given) = match instance? {
                    Instance::Instantiate { module_index: of, args } => (Some(of), args.len()),
                    Instance::FromExports(exports) => (None, exports.len()),
                };
                part.instance(of.map(|of| known(&part.modules, of)), given);
            }
        }
        Payload::ComponentInstanceSection(all) => {
            for instance in all {
                let (of, given) = match instance? {
                    ComponentInstance::Instantiate { component_index: of, args } => {
                        (Some(of), args.len())
                    }
                    ComponentInstance::FromExports(exports) => (None, exports.len()),
                };
                part.instance(of.map(|of| known(&part.components, of)), given);
            }
        }
        Payload::ComponentImportSection(all) => {
            part.items(all.count().into());
            for import in all {
                if let Some(space) = part.space(import?.ty.kind()) {
                    space.push(None);
                }
            }
        }
        Payload::ComponentExportSection(all) => {
            part.items(all.count().into());
            for export in all {
                let export = export?;
                if let Some(space) = part.space(export.kind) {
                    let exported = known(space, export.index);
                    space.push(exported);
                }
            }
        }
        Payload::ComponentAliasSection(all) => {
            part.items(all.count().into());
            for alias in all {
                add_alias(part, around, &alias?);
            }
        }
        _ => {}
    }
    Ok(())
}

fn add_alias(part: &mut Part, around: &[Part], alias: &ComponentAlias<'_>) {
    match alias {
        ComponentAlias::InstanceExport { kind, .. } => {
            if let Some(space) = part.space(*kind) {
                space.push(None);
            }
        }
        ComponentAlias::CoreInstanceExport { .. } => {}
        ComponentAlias::Outer { kind, count, index } => {
            let outward = (*count as usize).checked_sub(1);
            let outer = match outward {
                None => Some(&*part),
                Some(outward) => around.iter().rev().nth(outward),
            };
            match kind {
                ComponentOuterAliasKind::CoreModule => {
                    let aliased = outer.and_then(|outer| known(&outer.modules, *index));
                    part.modules.push(aliased);
                }
                ComponentOuterAliasKind::Component => {
                    let aliased = outer.and_then(|outer| known(&outer.components, *index));
                    part.components.push(aliased);
                }
                ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{
        Alias, Component, ComponentAliasSection, ComponentExportKind, ComponentExportSection,
        ComponentInstanceSection, ComponentOuterAliasKind as Outer, ConstExpr, GlobalSection,
        GlobalType, InstanceSection, ModuleArg, ModuleSection, NestedComponentSection, ValType,
    };

    use super::*;

    fn module(globals: u32) -> wasm_encoder::Module {
        let mut section = GlobalSection::new();
        let ty = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        (0..globals).for_each(|_| _ = section.global(ty, &ConstExpr::i32_const(0)));
        let mut module = wasm_encoder::Module::new();
        module.section(&section);
        module
    }

    /// A component with a module of so many globals in so many instances.
    fn component(globals: u32, instances: u32) -> Component {
        let mut component = Component::new();
        component.section(&ModuleSection(&module(globals)));
        let mut section = InstanceSection::new();
        let none: [(&str, ModuleArg); 0] = [];
        (0..instances).for_each(|_| _ = section.instantiate(0, none));
        component.section(&section);
        component
    }

    /// A component that holds `inner` and has it in so many instances.
    fn around(inner: &Component, instances: u32) -> Component {
        let mut component = Component::new();
        component.section(&NestedComponentSection(inner));
        component.section(&nested(0, instances));
        component
    }

    fn nested(index: u32, instances: u32) -> ComponentInstanceSection {
        let mut section = ComponentInstanceSection::new();
        let none: [(&str, ComponentExportKind, u32); 0] = [];
        (0..instances).for_each(|_| _ = section.instantiate(index, none));
        section
    }

    fn counted(component: Component) -> (u64, u64) {
        let Footprint { instances, bytes } = Footprint::of(&component.finish()).unwrap();
        (instances, bytes / ITEM_BYTES)
    }

    #[test]
    fn what_is_instantiated_counts_as_often_as_it_is() {
        assert_eq!(counted(component(10, 0)), (1, 0));
        // An instance is an item, too, and so are what it is given, aliases, imports and exports.
        assert_eq!(counted(component(10, 3)), (4, 33));
        assert_eq!(counted(around(&component(10, 3), 2)), (1 + 2 * 4, 2 + 2 * 33));
        let mut aliased = component(10, 0);
        let mut within = Component::new();
        let mut alias = ComponentAliasSection::new();
        alias.alias(Alias::Outer { kind: Outer::CoreModule, count: 1, index: 0 });
        within.section(&alias);
        let mut section = InstanceSection::new();
        let none: [(&str, ModuleArg); 0] = [];
        section.instantiate(0, none);
        within.section(&section);
        aliased.section(&NestedComponentSection(&within));
        let mut export = ComponentExportSection::new();
        export.export("again", ComponentExportKind::Component, 0, None);
        aliased.section(&export);
        aliased.section(&nested(1, 5));
        assert_eq!(counted(aliased), (1 + 5 * 2, 1 + 5 + 5 * 12));
    }

    #[test]
    fn instances_that_multiply_are_refused_before_they_are_made() {
        let mut bomb = component(0, 1);
        for _ in 0..12 {
            bomb = around(&bomb, 10);
        }
        let wide = Footprint::of(&component(20_000, 99).finish()).unwrap_err();
        assert_eq!(wide, "its instances take 95044752 bytes before they run; at most 67108864");
        let refused = Footprint::of(&bomb.finish()).unwrap_err();
        assert_eq!(refused, "it consists of 2111111111111 instances; at most 1000");
    }
}
