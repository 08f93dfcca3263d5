//! A plugin that misbehaves in the way that its configuration says: `{"mode": "spin"}`. The host's
//! tests are made of it. A mode is `<function>:<way>`, or only a way, which means `map`.

wit_bindgen::generate!({ world: "mapper-with-invariants", path: "../../wit" });
export!(Hostile);

use driftd::plugin::host::{self, Level};
use driftd::plugin::types::{Batch, Buffer, Column, Context, Error, Issue, TableSchema, VarBytes};
use exports::driftd::plugin::{invariants, lifecycle, mapping};
use invariants::{InvariantDef, Pairs, Severity, Violation};
use mapping::{
    EntityDef, FieldDef, Input, Mapped, MappingPlan, Note, Output, RelationPlan, Role, SidePlan,
    Standing,
};
use std::cell::RefCell;

thread_local! {
    static MODE: RefCell<String> = const { RefCell::new(String::new()) };
    static CALLS: RefCell<u32> = const { RefCell::new(0) };
}

fn mode() -> String {
    MODE.with(|mode| mode.borrow().clone())
}

/// More values than any cell may hold.
const WIDE: u32 = 300_000;

/// Ten megabytes of a name.
fn long() -> String {
    "n".repeat(10 << 20)
}

struct Hostile;

/// Misbehaves, if the mode is for `function`. Ways that need no output of the function.
fn misbehave(function: &str) {
    let mode = mode();
    let (of, way) = mode.split_once(':').unwrap_or(("map", &mode));
    if of != function {
        return;
    }
    match way {
        "spin" => loop {
            std::hint::black_box(0);
        },
        "trap" => core::arch::wasm32::unreachable(),
        "panic" => panic!("the guest panics on purpose"),
        "memory" => {
            let mut taken: Vec<Vec<u8>> = Vec::new();
            loop {
                taken.push(vec![1; 1 << 20]);
                std::hint::black_box(&taken);
            }
        }
        "deep-stack" => {
            std::hint::black_box(deeper(1));
        }
        "out-of-bounds" => unsafe {
            std::ptr::write_volatile(0xffff_0000 as *mut u8, 1);
        },
        "long-log" => {
            host::log(Level::Error, &long());
            host::count(&long(), 1);
        }
        "log-flood" => {
            for line in 0..2_000 {
                host::log(Level::Info, &format!("line {line} {}", "x".repeat(1_000)));
                host::count("lines", 1);
            }
        }
        _ => {}
    }
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    // No array here: the host's stack is to end before the guest's own does.
    if depth == u64::MAX { 0 } else { deeper(std::hint::black_box(depth + 1)) + depth }
}

fn issue(path: &str, message: &str) -> Issue {
    Issue { path: path.to_owned(), message: message.to_owned(), help: Some("help".to_owned()) }
}

impl lifecycle::Guest for Hostile {
    fn describe() -> lifecycle::Info {
        lifecycle::Info {
            name: "hostile".to_owned(),
            version: "0".to_owned(),
            summary: "misbehaves".to_owned(),
            config_schema: "{}".to_owned(),
        }
    }

    fn init(config: String) -> Result<(), Vec<Issue>> {
        std::panic::set_hook(Box::new(|panic| host::log(Level::Error, &panic.to_string())));
        let mode = config.split('"').nth(3).unwrap_or_default().to_owned();
        MODE.with(|known| *known.borrow_mut() = mode.clone());
        misbehave("init");
        match mode.as_str() {
            "long-issue" => Err(vec![issue(&long(), &long())]),
            "many-issues" => Err(vec![issue("/mode", "is not liked"); 100_000]),
            "refuse" => Err(vec![issue("/mode", "is not liked"), issue("/other", "is missing")]),
            _ => Ok(()),
        }
    }
}

impl mapping::Guest for Hostile {
    fn plan(
        _pairing: String,
        _source: Vec<TableSchema>,
        _target: Vec<TableSchema>,
    ) -> Result<MappingPlan, Vec<Issue>> {
        misbehave("plan");
        let field = |name: &str, logical: &str, role| FieldDef {
            name: name.to_owned(),
            logical: logical.to_owned(),
            role,
            rules: vec![],
        };
        let relation = || RelationPlan {
            relation: 0,
            columns: vec!["id".to_owned(), "name".to_owned()],
            ignored: vec![],
            group_by: vec![],
        };
        let side = || SidePlan { relations: vec![relation()], mapped: true };
        let fields = vec![field("id", "integer", Role::Key), field("name", "text", Role::Compared)];
        let entity = EntityDef { name: "thing".to_owned(), fields };
        let mut plan = MappingPlan { entities: vec![entity], source: side(), target: side() };
        match mode().as_str() {
            "two-relations" => plan.source.relations.push(relation()),
            "no-relation" => plan.target.relations.clear(),
            "two-entities" => plan.entities.push(plan.entities[0].clone()),
            "group" => plan.source.relations[0].group_by = vec![1],
            "many-groups" => plan.source.relations[0].group_by = vec![1; 1_000_000],
            "group-by-key" => plan.source.relations[0].group_by = vec![0],
            "wrong-plan" => {
                plan.source.relations[0].columns = vec!["idd".to_owned(), "idd".to_owned()];
                let fields = &mut plan.entities[0].fields;
                fields[0] = field("id", "integre", Role::Compared);
                fields[1] = FieldDef {
                    rules: vec!["trim".to_owned()],
                    ..field("name", "text", Role::Version)
                };
                fields.push(field("name", "decimal(12,2)", Role::Compared));
            }
            "long-field" => plan.entities[0].fields[1].name = long(),
            "long-type" => plan.entities[0].fields[1].logical = long(),
            "long-rule" => plan.entities[0].fields[1].rules = vec![long()],
            "long-entity" => plan.entities[0].name = long(),
            "long-column" => plan.source.relations[0].columns[1] = long(),
            "long-ignored" => plan.source.relations[0].ignored = vec![long()],
            "many-fields" => {
                let more = field("name", "text", Role::Compared);
                plan.entities[0].fields.resize(100_000, more);
            }
            "wide-value" => plan.entities[0].fields[1].logical = "value".to_owned(),
            "wide-json" => plan.entities[0].fields[1].logical = "json".to_owned(),
            "wide-set" => plan.entities[0].fields[1].logical = "set".to_owned(),
            "fickle-plan" => plan.target.relations[0].ignored = vec![format!("{:p}", &plan)],
            _ => {}
        }
        Ok(plan)
    }

    fn map_batch(_ctx: Context, inputs: Vec<Input>) -> Result<Mapped, Error> {
        let calls = CALLS.with(|calls| {
            *calls.borrow_mut() += 1;
            *calls.borrow()
        });
        let input = inputs.into_iter().next().expect("one input");
        let rows = input.rows.rows;
        // Tests tell by the name of the first row when to misbehave.
        if rows > 0 && first_name(&input.rows) == b"be good" {
            return Ok(whole(input.rows));
        }
        misbehave("map");
        if names(&input.rows).any(|name| name == b"bad") {
            misbehave("row");
        }
        let mut mapped = whole(input.rows);
        let output = &mut mapped.outputs[0];
        match mode().as_str() {
            "garbage-offsets" => text(output).offsets = vec![7; rows as usize + 1],
            "falling-offsets" => text(output).offsets = (0..=rows).rev().collect(),
            "short-offsets" => text(output).offsets = vec![0],
            "long-offsets" => *text(output).offsets.last_mut().expect("one") = u32::MAX,
            "bad-utf8" => text(output).data.fill(0xff),
            "wrong-layout" => {
                output.items.columns[1].values = Buffer::Float64(vec![0.0; rows as usize])
            }
            "wrong-columns" => output.items.columns.truncate(1),
            "wrong-rows" => output.items.rows += 1,
            "short-column" => output.items.columns[0].values = Buffer::Int64(vec![]),
            "short-validity" => output.items.columns[0].validity = vec![1; 1_000],
            "wrong-standing" => output.standing.clear(),
            "group-order" => output.from_group.reverse(),
            "group-range" => *output.from_group.last_mut().expect("one") = u32::MAX,
            "wrong-entity" => output.entity = 1,
            "two-outputs" => {
                let twice = whole_empty();
                mapped.outputs.push(twice);
            }
            "nothing" => mapped.outputs.clear(),
            "same-key" => output.items.columns[0].values = Buffer::Int64(vec![1; rows as usize]),
            "huge-length" => text(output).data = unsafe { claimed(1) },
            "huge-list" => output.from_group = unsafe { claimed(4) },
            "long-note" => mapped.notes.push(Note { message: long(), ..note(0, "reject") }),
            "long-error" => return Err(Error { code: long(), message: long() }),
            "huge-output" => text(output).data = vec![0; 40 << 20],
            // One cell that is small to write and large to hold.
            "wide-value" => {
                let mut list = vec![0x9a];
                list.extend_from_slice(&WIDE.to_be_bytes());
                list.resize(list.len() + WIDE as usize, 0);
                alone(output, list);
            }
            "wide-json" => alone(output, [b"[0", &*b",0".repeat(WIDE as usize), b"]"].concat()),
            "wide-set" => alone(output, b"a,".repeat(WIDE as usize)),
            "wrong-note" => mapped.notes.push(note(rows, "reject")),
            "both" => mapped.notes.push(note(0, "reject")),
            "warn" => mapped.notes.push(note(0, "warn")),
            "error" => {
                let message = "does not feel like it".to_owned();
                return Err(Error { code: "mood".to_owned(), message });
            }
            "calls" => {
                let calls = calls.to_string();
                let column = text(output);
                column.data = calls.as_bytes().repeat(rows as usize);
                column.offsets = (0..=rows).map(|row| row * calls.len() as u32).collect();
            }
            _ => {}
        }
        Ok(mapped)
    }
}

/// A list that claims to be of four gigabytes.
unsafe fn claimed<T>(size: usize) -> Vec<T> {
    let length = std::hint::black_box(u32::MAX as usize / size);
    unsafe { Vec::from_raw_parts(std::ptr::dangling_mut(), length, length) }
}

fn names(batch: &Batch) -> impl Iterator<Item = &[u8]> {
    let Buffer::Bytes(VarBytes { offsets, data }) = &batch.columns[1].values else {
        panic!("the tests' columns are an integer and a text")
    };
    offsets.windows(2).map(|pair| &data[pair[0] as usize..pair[1] as usize])
}

fn first_name(batch: &Batch) -> &[u8] {
    match &batch.columns[1].values {
        Buffer::Bytes(values) => &values.data[..values.offsets[1] as usize],
        _ => b"",
    }
}

fn note(row: u32, kind: &str) -> Note {
    Note { input: 0, row, kind: kind.to_owned(), message: "noted".to_owned() }
}

fn whole(items: Batch) -> Mapped {
    let rows = items.rows;
    let output = Output {
        entity: 0,
        items,
        from_group: (0..rows).collect(),
        standing: vec![Standing::Present; rows as usize],
    };
    Mapped { outputs: vec![output], notes: vec![] }
}

/// Makes `cell` the text of the first row; the others get an empty cell.
fn alone(output: &mut Output, cell: Vec<u8>) {
    let rows = output.items.rows as usize;
    output.items.columns[1].validity = vec![1; rows.div_ceil(8)];
    let text = text(output);
    text.offsets = vec![cell.len() as u32; rows + 1];
    text.offsets[0] = 0;
    text.data = cell;
}

fn whole_empty() -> Output {
    let int = Column { validity: vec![], values: Buffer::Int64(vec![]) };
    let values = VarBytes { offsets: vec![0], data: vec![] };
    let text = Column { validity: vec![], values: Buffer::Bytes(values) };
    Output {
        entity: 0,
        items: Batch { rows: 0, columns: vec![int, text] },
        from_group: vec![],
        standing: vec![],
    }
}

fn text(output: &mut Output) -> &mut VarBytes {
    match &mut output.items.columns[1].values {
        Buffer::Bytes(values) => values,
        _ => panic!("the tests' columns are an integer and a text"),
    }
}

impl invariants::Guest for Hostile {
    type Accumulator = Nothing;

    fn declare(_pairing: String) -> Result<Vec<InvariantDef>, Vec<Issue>> {
        misbehave("declare");
        let rule = |id: &str| InvariantDef {
            id: id.to_owned(),
            summary: "a rule".to_owned(),
            severity: Severity::Error,
            scope: "pair".to_owned(),
        };
        let of_all = || InvariantDef { scope: "partition".to_owned(), ..rule("all") };
        Ok(match mode().as_str() {
            // These are to be told by what they do to rows alone.
            mode if mode.starts_with("row:") => vec![],
            "long-invariant" => vec![InvariantDef { summary: long(), ..rule(&long()) }],
            "twin-rules" => vec![rule("one"), rule("one"), rule("")],
            "odd-scope" => vec![InvariantDef { scope: "table".to_owned(), ..rule("one") }],
            "long-scope" => vec![InvariantDef { scope: long(), ..rule("one") }],
            "violation-scope" => vec![rule("one"), of_all()],
            mode if tallies(mode) => vec![rule("one"), of_all()],
            _ => vec![rule("one")],
        })
    }

    fn check_pairs(_ctx: Context, pairs: Pairs) -> Result<Vec<Violation>, Error> {
        misbehave("check");
        let violation = |invariant, pair| Violation { invariant, pair, message: "so".to_owned() };
        Ok(match mode().as_str() {
            "long-violation" => vec![Violation { message: long(), ..violation(0, Some(0)) }],
            "violation-pair" => vec![violation(0, Some(pairs.source.rows))],
            "violation-none" => vec![violation(0, None)],
            "violation-rule" | "violation-scope" => vec![violation(1, Some(0))],
            "violation-flood" => vec![violation(0, Some(0)); pairs.source.rows as usize + 1],
            _ => vec![violation(0, Some(0))],
        })
    }
}

/// Whether a mode is about accumulators: these need a rule over a partition.
fn tallies(mode: &str) -> bool {
    let ways = ["tally-", "accumulator:", "push:", "snapshot:", "merge:", "finish:"];
    ways.iter().any(|way| mode.starts_with(way))
}

/// An accumulator that sums nothing.
struct Nothing(u32);

impl invariants::GuestAccumulator for Nothing {
    fn new(invariant: u32) -> Self {
        misbehave("accumulator");
        Self(invariant)
    }

    fn push(&self, _ctx: Context, _pairs: Pairs) -> Result<(), Error> {
        misbehave("push");
        Ok(())
    }

    fn snapshot(&self) -> Vec<u8> {
        misbehave("snapshot");
        vec![]
    }

    fn merge(&self, _state: Vec<u8>) -> Result<(), Error> {
        misbehave("merge");
        Ok(())
    }

    fn finish(&self) -> Result<Vec<Violation>, Error> {
        misbehave("finish");
        let violation = |invariant, pair| Violation { invariant, pair, message: "so".to_owned() };
        Ok(match mode().as_str() {
            "tally-rule" => vec![violation(0, None)],
            "tally-pair" => vec![violation(self.0, Some(0))],
            "tally-long" => vec![Violation { message: long(), ..violation(self.0, None) }],
            "tally-flood" => vec![violation(self.0, None); 1_000_000],
            _ => vec![],
        })
    }
}
