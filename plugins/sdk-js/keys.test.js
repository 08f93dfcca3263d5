// `node --test plugins/sdk-js`: keys of every type, as `plugins/keys` maps, locates and identifies them, on
// the fixtures of that plugin; and JSON texts.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import * as columns from "./columns.js";
import { JSON_NULL, plugin } from "./driftd.js";
import { cellOf, isJson } from "./json.js";
import { Decimal, Moment, dateOf, datetimeOf, decode, encode, timeOf, timestampOf, wholeIn } from "./values.js";

/** For each type of a key: the entity type, which is the name of its table too, and its kind. */
const KINDS = {
  integer: "integer", unsigned: "unsigned", decimal: "decimal", whole: "decimal", text: "text", label: "text",
  binary: "binary", boolean: "boolean", timestamp: "timestamp", datetime: "datetime", date: "date", time: "time",
};

const about = {
  name: "keys",

  plan(plan) {
    const item = plan.target;
    const pk = item.text("pk");
    for (const [name, kind] of Object.entries(KINDS)) {
      const table = plan.relation("source", name);
      const entity = plan.entity(name, table, item);
      entity.key("id", table[kind]("id"), item[kind]("id"));
      entity.compared("name", table.text("name"), item.text("name"));
      entity.target.onlyIf(pk.map("boolean", (pk) => pk === name));
    }
    const pairs = plan.relation("source", "pair");
    const pair = plan.entity("pair", pairs, item);
    pair.key("tenant", pairs.text("tenant"), item.text("tenant"));
    pair.key("id", pairs.unsigned("id"), item.text("number").parseUnsigned());
    pair.compared("name", pairs.text("name"), item.text("name"));
    pair.target.onlyIf(pk.map("boolean", (pk) => pk === "pair"));
  },

  locate(locators) {
    for (const [name, kind] of Object.entries(KINDS)) {
      const entity = locators.entity(name);
      const id = entity[kind]("id");
      locators.get(entity, ["source", name], (row) => [[row.get(id)]]);
      locators.query(entity, "target", 1, () => [[name]]);
      const key = locators.key(["source", name]);
      key.identifies(entity).field("id", key[kind]("id"));
    }
    const pair = locators.entity("pair");
    const [tenant, id] = [pair.text("tenant"), pair.unsigned("id")];
    locators.get(pair, ["source", "pair"], (row) => [[row.need(tenant), row.need(id)]]);
    locators.query(pair, ["source", "pair"], 2, (row) => [[row.need(tenant), new Decimal(row.need(id))]]);
    locators.query(pair, "target", 1, () => [["pair"]]);
    const key = locators.key(["source", "pair"]);
    key.identifies(pair).field("tenant", key.text("tenant")).field("id", key.unsigned("id"));
  },
};

// --- the fixtures of plugins/keys, read with exact numbers ----------------------------------------

const fixtures = new URL("../keys/fixtures/", import.meta.url);
const text = (name) => readFileSync(new URL(name, fixtures), "utf8").trim();
const read = (json) => cellOf(json).cell;
const lines = (name) => text(name).split("\n").map(read);
const schema = read(text("schema.json"));
const bytesOf = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));

const readers = { timestamp: timestampOf, datetime: datetimeOf, date: dateOf, time: timeOf };
const I64_MIN = -(2n ** 63n);

function count(kind, json) {
  if (json === "0000-00-00") return I64_MIN;
  if (json === "0000-00-00T00:00:00") return I64_MIN;
  return readers[kind](json);
}

/** A cell in the notation of fixtures. */
function cell(logical, json) {
  if (json === null || json === undefined) return undefined;
  switch (columns.base(logical)) {
    case "integer": return wholeIn(json) ?? json;
    case "decimal": return typeof json === "string" ? Decimal.parse(json) : new Decimal(json);
    case "binary": return bytesOf(json);
    case "timestamp": case "datetime": case "date": case "time": return count(columns.base(logical), json);
    case "value": {
      const [[tag, of]] = json instanceof Map ? json : [[]];
      if (tag === undefined) return json;
      return tag === "$bytes" ? bytesOf(of) : new Moment(tag.slice(1), count(tag.slice(1), of));
    }
    default: return json;
  }
}

/** A column as a store has it: of whole numbers beyond 63 bits without a sign. */
function column(logical, cells) {
  const layout = columns.layoutOf(logical);
  const isWide = layout === "integer" && cells.some((one) => one > 2n ** 63n - 1n);
  return columns.kindOf(isWide ? "unsigned" : layout).write(cells);
}

const batch = (defs, rows) => ({
  rows: rows.length,
  columns: defs.map(({ name, logical }) => column(logical, rows.map((row) => cell(logical, row.get(name))))),
});

/** What a row of a column holds, in a form that compares; no layout is the SDK's word alone. */
function held(logical, { validity, values: { tag, val } }, row) {
  if (!columns.bit(validity, row)) return "null";
  if (tag !== "bytes") return columns.base(logical) === "boolean" ? String(val[row] === 1n) : String(val[row]);
  const bytes = val.data.subarray(val.offsets[row], val.offsets[row + 1]);
  if (columns.base(logical) === "decimal") return String(Decimal.parse(Buffer.from(bytes).toString()).normal());
  return Buffer.from(bytes).toString("hex");
}

/** The same of a cell of a golden file. */
function golden(logical, json) {
  const one = cell(logical, json);
  if (one === undefined) return "null";
  if (one instanceof Decimal) return String(one.normal());
  if (typeof one === "string") return Buffer.from(one).toString("hex");
  return one instanceof Uint8Array ? Buffer.from(one).toString("hex") : String(one);
}

function started() {
  const tables = (side) => schema.get(side).map((table) => {
    const [known, key] = [table.get("columns"), table.get("key")];
    const defs = Array.from(known, ([name, logical]) => ({ name, logical, nullable: !key.includes(name) }));
    return { name: table.get("name"), columns: defs, key: key.map((one) => defs.findIndex(({ name }) => name === one)) };
  });
  const made = plugin({ log: (level, message) => assert.fail(`${level}: ${message}`) }, about);
  made.lifecycle.init("{}");
  const relations = { source: tables("source"), target: tables("target") };
  return { ...made, relations, plan: made.mapping.plan("keys", relations.source, relations.target) };
}

for (const side of ["source", "target"]) {
  test(`rows of the ${side} with keys of every type become what they become in Rust`, () => {
    const keys = started();
    const cases = lines(`${side}.jsonl`);
    // Each by itself, as whole numbers of one column are signed or not.
    const told = cases.map((one) => {
      const inputs = keys.plan[side].relations.flatMap(({ relation, columns: names }) => {
        const table = keys.relations[side][relation];
        const rows = one.has("row") ? [one.get("row")] : one.get("rows").get(table.name) ?? [];
        if (rows.length === 0) return [];
        const defs = names.map((name) =>
          table.columns.find((column) => column.name === name) ?? { name, logical: "value" });
        return [{ relation, origin: "", rows: batch(defs, rows), group: Uint32Array.from(rows, () => 0) }];
      });
      const { outputs, notes } = keys.mapping.mapBatch({ pairing: "keys", side, asOf: 0n }, inputs);
      const entities = outputs.flatMap(({ entity, items, standing }) => standing.map((standing, row) => {
        const { name, fields } = keys.plan.entities[entity];
        return [name, standing, ...fields.map(({ logical }, at) => held(logical, items.columns[at], row))];
      }));
      return { case: one.get("case"), entities, notes: notes.map(({ message }) => message) };
    });
    const known = lines(`${side}.golden.jsonl`).map((one) => ({
      case: one.get("case"),
      entities: one.get("entities").map((entity) => {
        const { fields } = keys.plan.entities.find(({ name }) => name === entity.get("entity"));
        const cells = fields.map(({ name, logical }) => golden(logical, entity.get("fields").get(name)));
        return [entity.get("entity"), entity.get("standing"), ...cells];
      }),
      notes: (one.get("notes") ?? []).map((note) => note.get("message")),
    }));
    assert.deepEqual(told, known);
  });
}

test("keys of every type are located and identified as in Rust", () => {
  const keys = started();
  const told = lines("places.jsonl").map((one) => {
    const side = one.get("side");
    const context = { pairing: "keys", side, asOf: 0n };
    if (one.has("key")) {
      const at = keys.relations[side].findIndex(({ name }) => name === one.get("relation"));
      const { columns: known, key } = keys.relations[side][at];
      const rows = batch(key.map((position) => known[position]), [one.get("key")]);
      return keys.locating.keysOf(context, at, rows).flatMap(({ entity, items, fromGroup }) => {
        const { name, fields } = keys.plan.entities[entity];
        return Array.from(fromGroup, (_, row) => [name, ...fields.flatMap(({ role, logical }, at) =>
          (role === "key" ? [held(logical, items.columns[at], row)] : []))]);
      });
    }
    const at = keys.plan.entities.findIndex(({ name }) => name === one.get("entity"));
    const items = batch(keys.plan.entities[at].fields, [one.get("fields")]);
    return keys.locating.locate(context, at, items).flatMap(({ relation, access, keys: found, fromEntity }) => {
      const { name, columns: known, key } = keys.relations[side][relation];
      return Array.from(fromEntity, (_, row) =>
        [name, access, ...found.columns.map((cells, at) => held(known[key[at]].logical, cells, row))]);
    });
  });
  const known = lines("places.golden.jsonl").map((one, line) => {
    const side = lines("places.jsonl")[line].get("side");
    const cells = (defs, key) => defs.filter(({ name }) => key.has(name)).map(({ name, logical }) => golden(logical, key.get(name)));
    return (one.get("entities") ?? one.get("keys")).map((told) => {
      if (told.has("entity")) {
        const { fields } = keys.plan.entities.find(({ name }) => name === told.get("entity"));
        return [told.get("entity"), ...cells(fields, told.get("key"))];
      }
      const { columns: defs } = keys.relations[side].find(({ name }) => name === told.get("relation"));
      return [told.get("relation"), told.get("access"), ...cells(defs, told.get("key"))];
    });
  });
  assert.deepEqual(told, known);
});

/** Where an entity lies in a table with such a key, if these are given for it. */
function located(key, given) {
  const table = (name) => [{
    name,
    columns: key.map(([name, logical]) => ({ name, logical, nullable: false })),
    key: key.map((_, at) => at),
  }];
  const made = plugin({ log: assert.fail }, {
    name: "things",
    plan(plan) {
      plan.entity("thing", plan.source, plan.target).key("n", plan.source.decimal("amount"), plan.target.decimal("amount"));
    },
    locate: (locators) => locators.get(locators.entity("thing"), "source", () => given),
  });
  made.lifecycle.init("{}");
  made.mapping.plan("p", table("t"), table("u"));
  const items = { rows: 1, columns: [columns.kindOf("decimal").write([new Decimal(1n)])] };
  return made.locating.locate({ pairing: "p", side: "source", asOf: 0n }, 0, items);
}

test("numbers of both signs are told in two parts, and what no column holds is the key of no row", () => {
  const parts = located([["n", "integer"]], [[-1n], [2n ** 63n], [new Decimal(10n, -1)], [new Decimal(15n, -1)]]);
  const told = parts.map(({ keys: { rows, columns: [column] } }) =>
    [column.values.tag, ...Array.from({ length: rows }, (_, row) => held("integer", column, row))]);
  assert.deepEqual(told, [["int64", "-1", "1", "null"], ["uint64", "9223372036854775808"]]);
});

test("a wrong kind is told with the column and what to write", () => {
  const refused = (key, given) => {
    try {
      located(key, given);
    } catch (why) {
      return why;
    }
    return assert.fail("it is taken");
  };
  assert.deepEqual(refused([["n", "integer"]], [["7"]]), {
    code: "t.n-is-integer-not-text",
    message: "key column `n` of `t` is integer, and a text was given: give a BigInt, or a Decimal that is a whole number",
  });
  assert.equal(refused([["n", "integer"]], [[7]]).code, "t.n-is-integer-not-float");
  assert.equal(refused([["n", "text"]], [[7n]]).code, "t.n-is-text-not-integer");
  assert.equal(refused([["tenant", "text"], ["n", "integer"]], [["a"]]).message,
    "a key of `t` has the columns tenant, n, and 1 were given");
});

test("columns and fields are read as what they are, or refused with what to write", () => {
  const refused = (about) => {
    const made = plugin({ log: assert.fail }, { name: "wrong", ...about });
    const table = (name, defs) => [{ name, columns: defs.map(([name, logical]) => ({ name, logical, nullable: true })), key: [0] }];
    made.lifecycle.init("{}");
    try {
      made.mapping.plan("p", table("orders", [["id", "integer"], ["sku", "text"]]), table("shop", [["pk", "text"]]));
    } catch (issues) {
      return issues.map(({ message, help }) => `${message}; ${help}`);
    }
    return assert.fail("it is taken");
  };
  const plan = ({ source: row, target: item, entity }, made) => {
    const order = made.entity("order", row, item);
    order.key("id", row.unsigned("id"), item.text("pk").parseUnsigned());
    order.compared("sku", row.text("sku"), item.text("sku"));
    return order;
  };
  assert.deepEqual(refused({ plan: (made) => {
    plan(made, made);
    made.source.integer("sku");
    made.source.text("id");
  } }), [
    "column `sku` of the source is of type text; this plugin can read integer; write `.text(\"sku\").parseInteger()`",
    "column `id` of the source is of type integer; this plugin can read text, enum, set, json; "
      + "write `.integer(\"id\")`, which reads it as what it is; `.map(..)` makes another kind of it",
  ]);
  assert.deepEqual(refused({ plan: (made) => plan(made, made), locate: (locators) => {
    const order = locators.entity("order");
    order.integer("id");
    order.text("nmae");
    const key = locators.key("source");
    key.identifies(order).field("id", key.text("id"));
  } }), [
    "field `id` is unsigned, and is read as integer; write `.unsigned(\"id\")`, as in the plan",
    "entity type `order` has no field `nmae`; it has `id`, `sku`",
    "key column `id` of `orders` is integer, and is read as text; "
      + "write `.integer(\"id\")`, which reads it as what it is; `.map(..)` makes another kind of it",
    "field `id` is unsigned, and the key gives text for it; "
      + "read the key's column as unsigned, or make one of it: `.map(..)`, `.parse..()`",
  ]);
  assert.deepEqual(refused({ plan: (made) => {
    const order = plan(made, made);
    order.compared("ratio", made.source.float("ratio"), made.target.float("ratio")).logical("float32");
    order.compared("other", made.source.float("other"), made.target.float("other")).logical("decimal(20,0)");
  } }), ["field `other` is read as float, and is no decimal(20,0); read a decimal(20,0) on both sides, or leave `.logical(..)` out"]);
});

test("JSON texts are exact cells, or none", () => {
  const hex = (json) => Buffer.from(encode(cellOf(json).cell)).toString("hex");
  for (const [json, bytes] of [
    [" null ", "d9d700f6"], ["[null]", "81f6"], ["18446744073709551615", "1bffffffffffffffff"], ["12.50", "c48220187d"],
    ["1e2", "1864"], ['{"bb": 1, "a": 2, "bb": 3}', "a261610262626203"], ['"\\ud83d\\ude00"', "64f09f9880"],
  ]) assert.equal(hex(json), bytes, json);
  assert.equal(decode(Buffer.from("d9d700f6", "hex")), JSON_NULL);
  assert.equal(decode(Buffer.from("d9d700f5", "hex")), undefined);
  for (const json of ["", "01", "1.", "[1,]", '{"a" 1}', '"\\ud83d"', '"a', "NaN", "'a'", "1 2", '"\n"', "[".repeat(128) + "]".repeat(128)]) {
    assert.equal(isJson(json), false, json);
    assert.equal(cellOf(json).why === undefined, false, json);
  }
  assert.deepEqual(cellOf("9".repeat(39)), { why: "has a number of more than 38 digits" });
  assert.deepEqual(cellOf("[".repeat(70) + "]".repeat(70)), { why: "is nested too deeply" });
  assert.equal(isJson("[".repeat(70) + "]".repeat(70)), true);
});
