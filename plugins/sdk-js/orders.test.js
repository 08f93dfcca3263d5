// `node --test plugins/sdk-js`: orders and their lines, as `plugins/orders` maps them, on the fixtures of
// that plugin: several relations in groups, several entity types, locating, and rules over a partition.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import * as columns from "./columns.js";
import { excluded, plugin, reject } from "./driftd.js";
import { Decimal, encode, timestampOf } from "./values.js";

const isOrder = (sk) => sk.startsWith("ORDER#") && !sk.includes("#LINE#");
const isLine = (sk) => sk.startsWith("ORDER#") && sk.includes("#LINE#");

function orderId(sk) {
  const [, id] = /^ORDER#(\d+)(?:[@#]|$)/.exec(sk) ?? reject("sk has no number after ORDER#");
  return BigInt(id);
}

function lineNo(sk) {
  const [, number] = /#LINE#(\d+)$/.exec(sk) ?? reject("sk has no number after #LINE#");
  return BigInt(number);
}

function customer(pk) {
  const [, name] = /^(?:CUSTOMER|ARCHIVE)#(.*)$/s.exec(pk)
    ?? reject("pk is neither CUSTOMER# nor ARCHIVE# and a name");
  return name;
}

const about = {
  name: "orders",

  plan(plan) {
    const orders = plan.relation("source", "orders");
    const lines = plan.relation("source", "order_lines");
    orders.groupBy("id");
    lines.groupBy("order_id");
    const item = plan.target;
    const [pk, sk, ttl] = [item.text("pk"), item.text("sk"), item.integer("ttl")];
    const migrated = orders.boolean("migrated");
    const unexpired = (is) => (row) => {
      if (!is(row.need(sk))) return "other";
      const expires = row.get(ttl);
      return expires !== null && expires < row.asOf / 1_000_000n ? "absent" : "present";
    };

    const order = plan.entity("order", orders, item);
    const lineNumber = lines.integer("line_no");
    const lineCount = orders.read("integer", (row) => BigInt(row.all(lineNumber).length));
    order.key("id", orders.integer("id"), sk.map("integer", orderId));
    order.label("customer", orders.text("customer"), pk.text(customer));
    order.compared("status", orders.text("status"), item.text("status"));
    order.compared("total", orders.decimal("total"), item.integer("cents").scaled(-2));
    order.compared("line_count", lineCount, item.integer("lines"));
    order.compared("placed_at", orders.timestamp("placed_at"), item.timestamp("placed"));
    order.version("updated_at", orders.timestamp("updated_at"), item.timestamp("updated"));
    order.source.presentIf(migrated);
    order.target.standing(unexpired(isOrder));

    const line = plan.entity("line", lines, item);
    line.key("order", lines.integer("order_id"), sk.map("integer", orderId));
    line.key("line_no", lineNumber, sk.map("integer", lineNo));
    line.carried("customer", orders.text("customer"), pk.text(customer));
    line.compared("sku", lines.text("sku"), item.text("sku"));
    line.compared("quantity", lines.integer("quantity"), item.integer("quantity"));
    line.compared("price", lines.decimal("price"), item.integer("cents").scaled(-2));
    line.source.standing((row) => {
      const [of] = row.all(migrated);
      if (of === undefined) reject("belongs to no order");
      return of.get(migrated) ? "present" : "excluded";
    });
    line.target.standing(unexpired(isLine));
    item.ignore("email");
  },

  rules(rules) {
    const [order, line] = [rules.entity("order"), rules.entity("line")];
    const [id, status, total, updated] = [
      order.integer("id"), order.text("status"), order.decimal("total"), order.timestamp("updated_at"),
    ];
    const [of, quantity, price] = [line.integer("order"), line.integer("quantity"), line.decimal("price")];
    const nothing = new Decimal(0n);
    rules.error(line, "quantity-positive", "a line is of at least one piece")
      .holds((row) => row.get(quantity) > 0n);
    rules.warning(order, "target-not-ahead", "an order in the target is not newer than its source")
      .broken(({ source, target }) => {
        const isAhead = source !== null && target !== null && target.get(updated) > source.get(updated);
        return isAhead ? "the target was updated later" : null;
      });
    const add = (tally, { source, target }, amount) => {
      if (source !== null) tally.add(...amount(source, "source"));
      if (target !== null) tally.add(...amount(target, "target"));
    };
    rules.error(order, "total-is-sum-of-lines", "an order's total is the sum of its lines")
      .over(order, (tally, pair) => add(tally, pair, (row, side) =>
        [`order ${row.need(id)} in the ${side}`, row.get(total) ?? nothing]))
      .over(line, (tally, pair) => add(tally, pair, (row, side) => [
        `order ${row.need(of)} in the ${side}`,
        nothing.minus((row.get(price) ?? nothing).times(new Decimal(row.get(quantity) ?? 0n))),
      ]))
      .finish((tally) => tally.names().flatMap((name) => {
        const rest = tally.get(name);
        return rest === 0n ? [] : [`${name.replace(" in", ` is off by ${rest} in`)}`];
      }));
    rules.error(order, "count-per-status", "as many orders of each status on both sides").overAll(
      (tally, pair) => {
        if (pair.source !== null) tally.add(`${pair.source.get(status)}/1`, 1n);
        if (pair.target !== null) tally.add(`${pair.target.get(status)}/2`, 1n);
      },
      (tally) => {
        const names = new Set(tally.names().map((name) => name.slice(0, -2)));
        return Array.from(names).flatMap((name) => {
          const [one, two] = [tally.get(`${name}/1`), tally.get(`${name}/2`)];
          return one === two ? [] : [`${name}: ${one} and ${two}`];
        });
      },
    );
  },

  locate(locators) {
    const [order, line] = [locators.entity("order"), locators.entity("line")];
    const [id, status, whose] = [order.integer("id"), order.text("status"), order.text("customer")];
    locators.get(order, ["source", "orders"], (row) => [[row.need(id)]]);
    locators.get(order, "target", (row) => [[`CUSTOMER#${row.need(whose)}`, `ORDER#${row.need(id)}`]]);
    locators.query(order, "target", 2, (row) =>
      row.get(status) === "closed" ? [[`ARCHIVE#${row.need(whose)}`, `ORDER#${row.need(id)}@`]] : []);
    const [of, number, carried] = [line.integer("order"), line.integer("line_no"), line.text("customer")];
    locators.get(line, ["source", "order_lines"], (row) => [[row.need(of), row.need(number)]]);
    locators.get(line, "target", (row) =>
      [[`CUSTOMER#${row.need(carried)}`, `ORDER#${row.need(of)}#LINE#${row.need(number)}`]]);

    const orders = locators.key(["source", "orders"]);
    orders.identifies(order).field("id", orders.integer("id"));
    const lines = locators.key(["source", "order_lines"]);
    lines.identifies(line).field("order", lines.integer("order_id")).field("line_no", lines.integer("line_no"));
    const shop = locators.key("target");
    const sk = shop.text("sk");
    const is = (one) => sk.map("boolean", one);
    shop.identifies(order).field("id", sk.map("integer", orderId)).onlyIf(is(isOrder));
    shop.identifies(line)
      .field("order", sk.map("integer", orderId))
      .field("line_no", sk.map("integer", lineNo))
      .onlyIf(is(isLine));
  },
};

// --- the fixtures of plugins/orders --------------------------------------------------------------

const fixtures = new URL("../orders/fixtures/", import.meta.url);
const lines = (name) => readFileSync(new URL(name, fixtures), "utf8").trim().split("\n").map((line) => JSON.parse(line));
const schema = JSON.parse(readFileSync(new URL("schema.json", fixtures), "utf8"));
const AS_OF = timestampOf(schema["as-of"]);

const logicalOf = (logical) => (logical === "enum" ? "text" : columns.base(logical));

function cell(logical, json) {
  if (json === null || json === undefined) return undefined;
  switch (logical) {
    case "integer": return BigInt(json);
    case "decimal": return Decimal.parse(json);
    case "timestamp": return timestampOf(json);
    case "value":
      if (typeof json !== "number") return json;
      return Number.isInteger(json) ? BigInt(json) : Decimal.parse(String(json));
    default: return json;
  }
}

const column = (type, cells) => {
  const logical = logicalOf(type);
  return columns.kindOf(logical).write(cells.map((json) => cell(logical, json)));
};

const batch = (defs, rows) => ({
  rows: rows.length,
  columns: defs.map(({ name, logical }) => column(logical, rows.map((row) => row[name]))),
});

/** A cell as golden files have it. */
function shown(logical, cells, row) {
  const one = columns.read(columns.kindOf(logical), logical, cells, row + 1, "wrong")[row];
  if (one === null || one === undefined) return null;
  if (logical === "integer") return Number(one);
  if (logical === "decimal") return String(one.normal());
  if (logical === "timestamp") return new Date(Number(one / 1000n)).toISOString().replace(".000Z", "Z");
  return one;
}

function started(mapping = about) {
  const tables = (side) => schema[side].map(({ name, key, columns: known }) => {
    const defs = Object.entries(known).map(([name, logical]) => ({ name, logical, nullable: !key.includes(name) }));
    return { name, columns: defs, key: key.map((one) => defs.findIndex((def) => def.name === one)) };
  });
  const made = plugin({ log: (level, message) => assert.fail(`${level}: ${message}`) }, mapping);
  made.lifecycle.init("{}");
  const relations = { source: tables("source"), target: tables("target") };
  const plan = made.mapping.plan("orders", relations.source, relations.target);
  return { ...made, plan, relations };
}

function inputs({ plan, relations }, side, cases) {
  return plan[side].relations.map(({ relation, columns: names }) => {
    const table = relations[side][relation];
    const of = ({ row, rows }) => (row === undefined ? rows[table.name] ?? [] : [row]);
    const defs = names.map((name) =>
      table.columns.find((column) => column.name === name) ?? { name, logical: "value" });
    return {
      relation,
      origin: "",
      rows: batch(defs, cases.flatMap(of)),
      group: Uint32Array.from(cases.flatMap((one, at) => of(one).map(() => at))),
    };
  });
}

for (const side of ["source", "target"]) {
  test(`rows of the ${side} become what they become in Rust`, () => {
    const orders = started();
    const cases = lines(`${side}.jsonl`);
    const context = { pairing: "orders", side, asOf: AS_OF };
    const given = inputs(orders, side, cases);
    const { outputs, notes } = orders.mapping.mapBatch(context, given);
    const golden = cases.map(({ case: name }) => ({ case: name, entities: [] }));
    for (const { entity, items, fromGroup, standing } of outputs) {
      const { name, fields } = orders.plan.entities[entity];
      fromGroup.forEach((group, row) => golden[group].entities.push({
        entity: name,
        standing: standing[row],
        fields: Object.fromEntries(fields.map(({ name, logical }, at) =>
          [name, shown(logical, items.columns[at], row)])),
      }));
    }
    for (const { input, row, kind, message } of notes) {
      const { relation, group } = given[input];
      const place = given.length > 1
        ? { relation: orders.relations[side][relation].name, row: row - group.indexOf(group[row]) }
        : {};
      (golden[group[row]].notes ??= []).push({ ...place, kind, message });
    }
    assert.deepEqual(golden, lines(`${side}.golden.jsonl`));
  });
}

test("the rows of a group need not lie together, and one that is refused takes its group with it", () => {
  const orders = started();
  const given = inputs(orders, "source", [
    { rows: { orders: [{ id: 1, customer: "ada", migrated: true }], order_lines: [{ order_id: 1, line_no: 1 }] } },
    { rows: { orders: [{ id: 2, migrated: true }, { id: 2, migrated: true }], order_lines: [{ order_id: 2, line_no: 1 }] } },
    { rows: { orders: [{ id: 3, migrated: true }], order_lines: [{ order_id: 3, line_no: 1 }, { order_id: 3, line_no: 2 }] } },
  ]);
  given[0].group = Uint32Array.of(2, 1, 1, 0);
  given[1].group = Uint32Array.of(2, 1, 0, 0);
  const context = { pairing: "orders", side: "source", asOf: AS_OF };
  const { outputs, notes } = orders.mapping.mapBatch(context, given);
  assert.deepEqual(notes.map(({ input, row, message }) => [input, row, message]), [
    [1, 1, "customer is in 2 rows of the group"],
  ]);
  assert.deepEqual(outputs.map(({ fromGroup }) => Array.from(fromGroup)), [[0, 2], [0, 0, 2]]);
  assert.deepEqual([0, 1].map((row) => shown("integer", outputs[0].items.columns[0], row)), [3, 1]);
});

test("details without an entity are nothing, unless each must belong to one", () => {
  for (const must of [false, true]) {
    const details = {
      ...about,
      plan(plan) {
        about.plan(plan);
        // Of the two relations only the orders are entities here.
        plan.entities.pop();
        if (must) plan.relation("source", "order_lines").mustBelong();
      },
      locate: undefined,
    };
    const orders = started(details);
    const given = inputs(orders, "source", [
      { rows: { orders: [{ id: 1, migrated: true }], order_lines: [{ order_id: 1, line_no: 1 }] } },
      { rows: { order_lines: [{ order_id: 2, line_no: 1 }] } },
    ]);
    const { outputs, notes } = orders.mapping.mapBatch({ pairing: "orders", side: "source", asOf: AS_OF }, given);
    assert.deepEqual(outputs.map(({ fromGroup }) => Array.from(fromGroup)), [[0]]);
    assert.deepEqual(notes.map(({ input, row, message }) => [input, row, message]), must
      ? [[1, 1, "belongs to no entity, and must: its group has no row that is one"]]
      : []);
  }
});

test("entities are located, and store keys identified", () => {
  const orders = started();
  const golden = lines("places.jsonl").map((one) => {
    const { case: name, side, entity, fields, relation, key } = one;
    const context = { pairing: "orders", side, asOf: AS_OF };
    if (key !== undefined) {
      const at = orders.relations[side].findIndex((table) => relation === undefined || table.name === relation);
      const { columns: known, key: positions } = orders.relations[side][at];
      const keys = batch(positions.map((position) => known[position]), [key]);
      const entities = orders.locating.keysOf(context, at, keys).flatMap(({ entity, items, fromGroup }) => {
        const { name, fields } = orders.plan.entities[entity];
        return Array.from(fromGroup, (_, row) => ({
          entity: name,
          key: Object.fromEntries(fields.flatMap(({ name, logical, role }, at) =>
            role === "key" ? [[name, shown(logical, items.columns[at], row)]] : [])),
        }));
      });
      return { case: name, entities };
    }
    const at = orders.plan.entities.findIndex(({ name }) => name === entity);
    const items = batch(orders.plan.entities[at].fields, [fields]);
    const keys = orders.locating.locate(context, at, items).flatMap(({ relation, access, keys, fromEntity }) => {
      const { name, columns: known, key } = orders.relations[side][relation];
      return Array.from(fromEntity, (_, row) => ({
        relation: name,
        access,
        key: Object.fromEntries(keys.columns.map((cells, column) =>
          [known[key[column]].name, shown(known[key[column]].logical, cells, row)])),
      }));
    });
    return { case: name, keys };
  });
  assert.deepEqual(golden, lines("places.golden.jsonl"));
});

test("rules hold on pairs and over a partition of several entity types", () => {
  const orders = started();
  const declared = orders.invariants.declare("orders");
  assert.deepEqual(declared.map(({ id, scope }) => [id, scope]), [
    ["quantity-positive", "pair"], ["target-not-ahead", "pair"],
    ["total-is-sum-of-lines", "partition"], ["count-per-status", "partition"],
  ]);
  const cases = lines("pairs.jsonl");
  const context = { pairing: "orders", side: "source", asOf: AS_OF };
  const pairs = (entity, here) => {
    const { fields } = orders.plan.entities[entity];
    const side = (name) => batch(fields, here.map((one) => one[name] ?? {}));
    const bits = (name) => {
      const bits = new Uint8Array((here.length + 7) >> 3);
      here.forEach((one, at) => { if (one[name]) bits[at >> 3] |= 1 << (at & 7); });
      return bits;
    };
    return {
      entity,
      source: side("source"), sourcePresent: bits("source"),
      target: side("target"), targetPresent: bits("target"),
    };
  };
  const of = (entity) => cases.filter((one) => one.entity === orders.plan.entities[entity].name);
  const golden = cases.map(({ case: name }) => ({ case: name, violations: [] }));
  for (const entity of [0, 1]) {
    for (const { invariant, pair, message } of orders.invariants.checkPairs(context, pairs(entity, of(entity)))) {
      golden[cases.indexOf(of(entity)[pair])].violations.push({ invariant: declared[invariant].id, message });
    }
  }
  const partition = [2, 3].flatMap((invariant) => {
    const whole = new orders.invariants.Accumulator(invariant);
    const merged = new orders.invariants.Accumulator(invariant);
    for (const entity of [0, 1]) whole.push(context, pairs(entity, of(entity)));
    for (const one of cases.toReversed()) {
      const part = new orders.invariants.Accumulator(invariant);
      part.push(context, pairs(one.entity === "order" ? 0 : 1, [one]));
      merged.merge(part.snapshot());
    }
    assert.deepEqual(merged.finish(), whole.finish());
    return whole.finish().map(({ message }) => ({ invariant: declared[invariant].id, message }));
  });
  assert.deepEqual([...golden, { partition }], lines("pairs.golden.jsonl"));
});

/** Lines of which each gives as many pieces as its quantity says, by hand; the first is out of scope. */
function pieces({ areMade }) {
  return {
    name: "pieces",
    plan(plan) {
      const item = plan.target;
      const lines = plan.relation("source", "order_lines");
      const [sk, quantity, sku] = [item.text("sk"), item.integer("quantity"), item.text("sku")];
      const order = plan.entity("order", plan.relation("source", "orders"), item);
      order.key("id", plan.source.integer("id"), sk.map("integer", orderId));
      order.target.onlyIf(sk.map("boolean", isOrder));
      const piece = plan.entity("piece", lines, item);
      piece.key("number", lines.integer("line_no"), null);
      piece.label("sku", lines.text("sku"), null);
      if (!areMade) return;
      piece.target.each(function* (row) {
        if (!isLine(row.need(sk))) return;
        for (let number = 0n; number < row.need(quantity); number += 1n) {
          const made = { number, sku: number === 1n ? null : row.get(sku) };
          yield number === 0n ? excluded(made) : made;
          if (number === 3n) reject("there are too many");
        }
      });
    },
  };
}

test("entities are made by hand: none, one or several of a row", () => {
  const made = started(pieces({ areMade: true }));
  const items = [
    { sk: "ORDER#7#LINE#1", quantity: 3, sku: "tea" },
    { sk: "PROFILE" },
    { sk: "ORDER#7" },
    { sk: "ORDER#8#LINE#1", quantity: 4, sku: "pot" },
    { sk: "ORDER#9#LINE#1", quantity: 1, sku: "cup" },
  ];
  const given = inputs(made, "target", items.map((row) => ({ row })));
  const context = { pairing: "orders", side: "target", asOf: AS_OF };
  const mapped = (given) => {
    const { outputs, notes } = made.mapping.mapBatch(context, given);
    const entities = outputs.flatMap(({ entity, items, fromGroup, standing }) =>
      Array.from(fromGroup, (group, row) => [
        group, made.plan.entities[entity].name, standing[row],
        ...made.plan.entities[entity].fields.map(({ logical }, at) => shown(logical, items.columns[at], row)),
      ]));
    return { entities, notes: notes.map(({ row, message }) => [row, message]) };
  };
  const expected = {
    entities: [
      // What no entity was made of is out of scope in the first type that is not made by hand.
      [1, "order", "excluded", null], [2, "order", "present", 7],
      [0, "piece", "excluded", 0, "tea"], [0, "piece", "present", 1, null], [0, "piece", "present", 2, "tea"],
      [4, "piece", "excluded", 0, "cup"],
    ],
    // What it gave before it was refused is gone.
    notes: [[3, "there are too many"]],
  };
  assert.deepEqual(mapped(given), expected);
  // In whatever order groups come.
  given[0].group = Uint32Array.of(9, 8, 7, 6, 5);
  const groups = mapped(given).entities.map(([group, name]) => [group, name]);
  assert.deepEqual(groups, [[7, "order"], [8, "order"], [5, "piece"], [9, "piece"], [9, "piece"], [9, "piece"]]);
});

test("a field that is read of nothing is refused, and so is one that is not there", () => {
  const refused = (call) => {
    try {
      call();
    } catch (issues) {
      return issues;
    }
    return assert.fail("it is taken");
  };
  const [why] = refused(() => started(pieces({ areMade: false })));
  assert.equal(why.message, "field `number` of `piece` is read of nothing in the target");
  const odd = { ...pieces({ areMade: true }), plan: (plan) => {
    const order = plan.entity("order", plan.source, plan.target);
    order.key("id", plan.source.integer("id"), plan.target.integer("id"));
    order.target.each(() => [{ ident: 1n }]);
  } };
  const said = [];
  const made = plugin({ log: (level, message) => said.push(message) }, odd);
  made.lifecycle.init("{}");
  const table = (name) => [{ name, columns: [{ name: "id", logical: "integer", nullable: false }], key: [0] }];
  made.mapping.plan("orders", table("orders"), table("shop"));
  const id = { relation: 0, origin: "", rows: batch([{ name: "id", logical: "integer" }], [{ id: 1 }]), group: Uint32Array.of(0) };
  const context = { pairing: "orders", side: "target", asOf: AS_OF };
  assert.throws(() => made.mapping.mapBatch(context, [id]), /entity type order has no field ident/);
  assert.match(said[0], /has no field ident/);
});
