// Rows: what is read of them, a column at a time, and the entities that they become.

import * as columns from "./columns.js";
import { cellOf } from "./json.js";
import { Decimal, Reject, isInt64, reject, unsignedOf, wholeOf } from "./values.js";

/**
 * What a cell is made of. Reads all rows at once: a call for each cell costs more than what it does.
 * A cell that cannot be read is a Reject among the others. A null stays null, unless a function over
 * the whole row says otherwise.
 */
export class Reader {
  constructor(kind, make, label = "a cell") {
    this.kind = kind;
    this.make = make;
    this.label = label;
  }

  /** What a function makes of a value, as type `type`; it may call `reject`. */
  map(type, make) {
    return new Reader(columns.kindOf(type), (rows) => {
      const { count, live } = rows;
      const from = rows.cells(this);
      // Undefined is no cell in any type; null would be a value in one.
      const cells = new Array(count).fill(undefined);
      for (let row = 0; row < count; row += 1) {
        const cell = from[row];
        if (cell === null || cell === undefined || (live !== null && !live[row])) continue;
        cells[row] = cell instanceof Reject ? cell : attempt(make, cell);
      }
      return cells;
    }, this.label);
  }

  /** What a function makes of a value, as text. */
  text(make) {
    return this.map("text", make);
  }

  /** What follows a prefix, without which the row is refused. */
  after(prefix) {
    const refused = new Reject(`${this.label} does not begin with ${prefix}`);
    return this.map("text", (text) => (text.startsWith(prefix) ? text.slice(prefix.length) : refused));
  }

  /** Whether a text begins with a prefix; false where there is none. */
  startsWith(prefix) {
    return new Reader(columns.kindOf("boolean"), (rows) =>
      rows.cells(this).map((cell) => (cell instanceof Reject ? cell : (cell?.startsWith(prefix) ?? false))));
  }

  /** The whole number that a text is. */
  parseInteger() {
    return this.digits("integer", wholeOf);
  }

  /** The whole number that a text is, which is never negative: an id of BIGINT UNSIGNED. */
  parseUnsigned() {
    return this.digits("unsigned", unsignedOf);
  }

  digits(kind, read) {
    const refused = new Reject(`${this.label} is no integer`);
    // Only digits are a whole number: `7.0` and `7E0` are none.
    const why = (text) => (/^[+-]?\d{1,40}$/.test(text) ? columns.beyond(kind, BigInt(text.replace("+", ""))) : undefined);
    return this.map(kind, (text) => read(text) ?? (why(text) === undefined ? refused : new Reject(`${this.label} ${why(text)}`)));
  }

  /**
   * The dynamically typed cell that a JSON text is: objects become Maps, numbers stay exact. The text `null`
   * is the JSON document, which is no null; `.rule("json-null=null")` overlooks that.
   */
  parseJson() {
    return this.map("value", (text) => {
      const { cell, why } = cellOf(text);
      return why === undefined ? cell : new Reject(`${this.label} ${why}`);
    });
  }

  /** The exact number that a text is. */
  parseDecimal() {
    const refused = new Reject(`${this.label} is no decimal`);
    return this.map("decimal", (text) => Decimal.parse(text) ?? refused);
  }

  /** The exact number that a whole one stands for: cents are `scaled(-2)`. */
  scaled(exponent) {
    return this.map("decimal", (whole) => new Decimal(whole, exponent));
  }

  /** The instant that a number of seconds since 1970 is. */
  seconds() {
    return this.instant(1_000_000n);
  }

  /** The instant that a number of milliseconds since 1970 is. */
  millis() {
    return this.instant(1_000n);
  }

  /** The instant that a number of microseconds since 1970 is. */
  micros() {
    return this.instant(1n);
  }

  instant(unit) {
    const refused = new Reject(`${this.label} is out of range`);
    return this.map("timestamp", (count) => (isInt64(count * unit) ? count * unit : refused));
  }

  /** Says in other words why a row cannot be mapped. */
  orReject(why) {
    const refused = new Reject(why);
    return new Reader(this.kind, (rows) =>
      rows.cells(this).map((cell) => (cell instanceof Reject ? refused : cell)), this.label);
  }
}

/** What a function makes, or why it refuses to. */
export function attempt(make, cell) {
  try {
    return make(cell);
  } catch (error) {
    if (error instanceof Reject) return error;
    throw error;
  }
}

/** A column as it comes. */
export class Column extends Reader {
  constructor(of, kind, logical, index, name) {
    const label = name.startsWith("/") ? name.slice(1).replaceAll("/", ".") : name;
    const wrong = new Reject(`${label} is no ${kind.isNo}`);
    if (kind.logical === "integer") {
      wrong.message = `${label} is no integer`;
      wrong.of = (cell) => {
        const why = columns.beyond(kind.name, cell);
        return why === undefined ? undefined : new Reject(`${label} ${why}`);
      };
    }
    super(kind, (rows) => {
      if (rows.of !== of) return this.joined(rows);
      return columns.read(kind, logical, rows.columns[index], rows.count, wrong);
    }, label);
    Object.assign(this, { of, logical, index });
  }

  /** For each row that of the one row of this column's relation in the same group. */
  joined(rows) {
    return rows.all.map((row) => {
      const others = row.all(this);
      if (others.length > 1) return new Reject(`${this.label} is in ${others.length} rows of the group`);
      return others.length === 0 ? undefined : others[0].rows.cells(this)[others[0].index];
    });
  }
}

// --- rows to entities ----------------------------------------------------------------------------

/** The rows of one input, and what was read of them. `of` is what its columns are columns of. */
export class Rows {
  constructor(context, of, batch, input = {}) {
    this.context = context;
    this.of = of;
    this.count = batch.rows;
    this.columns = batch.columns;
    this.origin = input.origin ?? "";
    this.group = input.group ?? [];
    /** The rows of each relation of the call, by group. */
    this.call = input.call ?? new Map();
    this.known = new Map();
    /** Whether the fields of a row are read; null: those of all are. */
    this.live = null;
    this.lazy = null;
  }

  cells(reader) {
    let cells = this.known.get(reader);
    if (cells === undefined) {
      cells = reader.make(this);
      this.known.set(reader, cells);
    }
    return cells;
  }

  get all() {
    this.lazy ??= Array.from({ length: this.count }, (_, index) => new Row(this, index));
    return this.lazy;
  }

  /** The same rows, of which only some are read. */
  only(live) {
    if (!live.includes(false)) return this;
    const rows = new Rows(this.context, this.of, { rows: this.count, columns: this.columns }, this);
    rows.live = live;
    return rows;
  }
}

/** A row: `get` reads what a column or any other reader makes of it. */
class Row {
  constructor(rows, index) {
    this.rows = rows;
    this.index = index;
  }

  /** The value; null where there is none. */
  get(reader) {
    const cell = this.rows.cells(reader)[this.index];
    if (cell instanceof Reject) throw cell;
    return cell ?? null;
  }

  /** The value; the row is refused where there is none. */
  need(reader) {
    return this.get(reader) ?? reject(`${reader.label} is null`);
  }

  /** Every row of the column's relation in this row's group, as they came. */
  all(column) {
    const others = this.rows.call.get(column.of);
    if (others === undefined) return [];
    if (others.groups === undefined) {
      others.groups = new Map();
      for (const row of others.all) {
        const group = others.group[row.index];
        const known = others.groups.get(group);
        if (known === undefined) others.groups.set(group, [row]);
        else known.push(row);
      }
    }
    return others.groups.get(this.rows.group[this.index]) ?? [];
  }

  /** When this check began. It may decide a standing, never a compared field. */
  get asOf() {
    return this.rows.context.asOf;
  }

  get side() {
    return this.rows.context.side;
  }

  /** The shard or store that the row comes from. */
  get origin() {
    return this.rows.origin;
  }
}

export function mapBatch(plan, context, inputs) {
  const { side } = context;
  const call = new Map();
  const given = inputs.map(({ relation, rows, origin, group }) => {
    const of = plan.relations[side][relation];
    const made = new Rows(context, of, rows, { origin, group, call });
    made.rejected = new Map();
    call.set(of, made);
    return made;
  });
  const made = [];
  plan.entities.forEach(({ sides }, entity) => {
    const rows = call.get(sides[side].relation);
    if (rows === undefined) return;
    const { make } = sides[side];
    const what = make === null
      ? { from: null, standings: standingsOf(sides[side], rows, rows.rejected) }
      : byHand(make, plan.entities[entity], rows);
    made.push({ entity, rows, ...what });
  });
  for (const rows of given) claim(made.filter((one) => one.rows === rows), rows);
  refuseOrphans(given, made);
  for (const one of made.filter(({ from }) => from === null)) {
    const live = one.standings.map((standing) => standing !== "other" && standing !== null);
    const alive = one.rows.only(live);
    const { fields } = plan.entities[one.entity];
    one.columns = fields.map(({ readers }) => fill(readers[side], alive, one.rows.rejected));
  }
  // A row that cannot be mapped takes its group with it.
  const lost = new Set();
  const notes = [];
  given.forEach(({ rejected, group }, input) => {
    const rejects = Array.from(rejected).sort(([one], [two]) => one - two);
    for (const [row, message] of rejects) {
      lost.add(group[row]);
      notes.push({ input, row, kind: "reject", message });
    }
  });
  return { outputs: made.map((one) => output(one, lost)), notes };
}

/** Rows that must belong to others, as their relation says, are refused where no other is in their group. */
function refuseOrphans(given, made) {
  const leads = (rows) => made.some((one) => one.rows === rows);
  const bound = (rows) => !leads(rows) && rows.of.mustLead;
  if (!given.some(bound)) return;
  const led = new Set(given.filter(leads).flatMap(({ group }) => Array.from(group)));
  for (const { group, rejected } of given.filter(bound)) {
    group.forEach((one, row) => {
      if (!led.has(one)) rejected.set(row, "belongs to no entity, and must: its group has no row that is one");
    });
  }
}

/** Takes what cannot be read out of cells; the first reason of a row is the one that is told. */
export function sift(cells, rejected) {
  for (let row = 0; row < cells.length; row += 1) {
    if (cells[row] instanceof Reject) {
      if (!rejected.has(row)) rejected.set(row, cells[row].message);
      cells[row] = undefined;
    }
  }
  return cells;
}

/** What becomes of each row; null: it is left out. */
function standingsOf({ condition, otherwise, decide }, rows, rejected) {
  if (decide !== null) return sift(rows.all.map((row) => attempt(decide, row)), rejected);
  if (condition === null) return new Array(rows.count).fill("present");
  const holds = sift(rows.cells(condition).slice(), rejected);
  return holds.map((holds) => (holds === true ? "present" : otherwise));
}

/** An entity that is made by hand, and is not simply present. */
export class Made {
  constructor(standing, fields) {
    Object.assign(this, { standing, fields });
  }
}

/** The entities that a function makes of each row: none, one or several. */
function byHand(make, { name, fields }, rows) {
  const from = [];
  const standings = [];
  const cells = fields.map(() => []);
  for (const row of rows.all) {
    // A row that is refused half-way gives nothing, whatever it gave before.
    const all = attempt((row) => Array.from(make(row)), row);
    if (all instanceof Reject) {
      if (!rows.rejected.has(row.index)) rows.rejected.set(row.index, all.message);
      continue;
    }
    for (const one of all) {
      const { standing, fields: given } = one instanceof Made ? one : new Made("present", one);
      const odd = Object.keys(given).find((key) => !fields.some((field) => field.name === key));
      if (odd !== undefined) throw new TypeError(`entity type ${name} has no field ${odd}`);
      from.push(row.index);
      standings.push(standing);
      fields.forEach((field, at) => cells[at].push(given[field.name]));
    }
  }
  return { from, standings, columns: fields.map(({ kind }, at) => kind.write(cells[at])) };
}

/** A row that is no entity of any type is excluded in the first; elsewhere it is left out. */
function claim(made, { count, rejected }) {
  if (made.length < 2) return;
  const whole = made.filter(({ from }) => from === null).map(({ standings }) => standings);
  const byHand = new Set(made.flatMap(({ from }) => from ?? []));
  for (let row = 0; row < count; row += 1) {
    const claimed = rejected.has(row) || byHand.has(row)
      || whole.some((standing) => standing[row] !== "other");
    whole.forEach((standing, which) => {
      if (standing[row] === "other" && (claimed || which > 0)) standing[row] = null;
    });
  }
}

export function fill(reader, rows, rejected) {
  if (reader instanceof Column && rows.live === null && reader.of === rows.of) {
    const column = rows.columns[reader.index];
    if (columns.passes(reader.kind, reader.logical, column)) return column;
  }
  let cells = rows.cells(reader);
  const { live } = rows;
  if (live !== null) cells = cells.map((cell, row) => (live[row] ? cell : undefined));
  return reader.kind.write(sift(cells.slice(), rejected));
}

/** The entities of a type without those of lost groups, by ascending group. */
function output({ entity, rows, from, standings, columns: made }, lost) {
  const standing = (one) => (one === "other" ? "excluded" : one);
  const group = from === null ? rows.group : Uint32Array.from(from, (row) => rows.group[row]);
  const ascends = group.every((one, at) => at === 0 || group[at - 1] <= one);
  if (lost.size === 0 && ascends && !standings.includes(null)) {
    return {
      entity,
      items: { rows: group.length, columns: made },
      fromGroup: group,
      standing: standings.map(standing),
    };
  }
  const kept = [];
  for (let at = 0; at < group.length; at += 1) {
    if (standings[at] !== null && !lost.has(group[at])) kept.push(at);
  }
  if (!ascends) kept.sort((one, two) => group[one] - group[two] || one - two);
  return {
    entity,
    items: { rows: kept.length, columns: made.map((column) => columns.take(column, kept)) },
    fromGroup: Uint32Array.from(kept, (at) => group[at]),
    standing: kept.map((at) => standing(standings[at])),
  };
}
