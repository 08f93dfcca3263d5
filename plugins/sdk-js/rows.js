// Rows: what is read of them, a column at a time, and the entities that they become.

import * as columns from "./columns.js";
import { Decimal, Reject, isInt64, reject, wholeOf } from "./values.js";

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
    const refused = new Reject(`${this.label} is no integer`);
    return this.map("integer", (text) => wholeOf(text) ?? refused);
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
  constructor(kind, logical, index, name) {
    const label = name.startsWith("/") ? name.slice(1).replaceAll("/", ".") : name;
    const wrong = new Reject(`${label} is no ${kind.isNo}`);
    super(kind, (rows) => columns.read(kind, logical, rows.columns[index], rows.count, wrong), label);
    this.logical = logical;
    this.index = index;
  }
}

// --- rows to entities ----------------------------------------------------------------------------

/** The rows of one input, and what was read of them. */
export class Rows {
  constructor(context, batch, origin = "") {
    this.context = context;
    this.count = batch.rows;
    this.columns = batch.columns;
    this.origin = origin;
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
    const rows = new Rows(this.context, { rows: this.count, columns: this.columns }, this.origin);
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
  const outputs = [];
  const notes = [];
  inputs.forEach((input, at) => {
    const relation = plan.relations[side][input.relation];
    const rows = new Rows(context, input.rows, input.origin);
    const rejected = new Map();
    const entities = plan.entities.filter(({ sides }) => sides[side].relation === relation);
    const standings = entities.map(({ sides }) => standingsOf(sides[side], rows, rejected));
    claim(standings, rows, rejected);
    const made = entities.map(({ fields }, which) => {
      const live = standings[which].map((standing) => standing !== "other" && standing !== null);
      const alive = rows.only(live);
      return fields.map(({ readers }) => fill(readers[side], alive, rejected));
    });
    entities.forEach((entity, which) => {
      outputs.push(output(plan.entities.indexOf(entity), made[which], standings[which], input, rejected));
    });
    const rejects = Array.from(rejected).sort(([one], [two]) => one - two);
    for (const [row, message] of rejects) notes.push({ input: at, row, kind: "reject", message });
  });
  return { outputs, notes };
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

/** A row that is no entity of any type is excluded in the first; elsewhere it is left out. */
function claim(standings, { count }, rejected) {
  if (standings.length < 2) return;
  for (let row = 0; row < count; row += 1) {
    const claimed = rejected.has(row) || standings.some((standing) => standing[row] !== "other");
    standings.forEach((standing, which) => {
      if (standing[row] === "other" && (claimed || which > 0)) standing[row] = null;
    });
  }
}

export function fill(reader, rows, rejected) {
  if (reader instanceof Column && rows.live === null) {
    const column = rows.columns[reader.index];
    if (columns.passes(reader.kind, reader.logical, column)) return column;
  }
  let cells = rows.cells(reader);
  const { live } = rows;
  if (live !== null) cells = cells.map((cell, row) => (live[row] ? cell : undefined));
  return reader.kind.write(sift(cells.slice(), rejected));
}

function output(entity, made, standings, { rows, group }, rejected) {
  const whole = rejected.size === 0 && !standings.includes(null);
  const standing = (one) => (one === "other" ? "excluded" : one);
  if (whole) {
    return {
      entity,
      items: { rows: rows.rows, columns: made },
      fromGroup: group,
      standing: standings.map(standing),
    };
  }
  const kept = [];
  for (let row = 0; row < rows.rows; row += 1) {
    if (standings[row] !== null && !rejected.has(row)) kept.push(row);
  }
  return {
    entity,
    items: { rows: kept.length, columns: made.map((column) => columns.take(column, kept)) },
    fromGroup: Uint32Array.from(kept, (row) => group[row]),
    standing: kept.map((row) => standing(standings[row])),
  };
}
