// Columns of store keys: what is given becomes what the column is.
//
// Any whole number is one for a column of integers, signed or not; a whole or exact number for one of
// decimals; and for any other what it holds. A value that the column cannot hold at all, such as a fraction
// where it holds integers, is the key of no row. A value of another kind is a mistake of the plugin: the call
// fails with the column and what to write.

import * as columns from "./columns.js";
import { Decimal, Moment, encode, isBytes, isInt64, isUint64, wholeIn } from "./values.js";

const encoder = new TextEncoder();
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Fails the call. The code says what matters, because a message is kept out of logs. */
export function refuse(code, message) {
  throw { code: code.replace(/[^A-Za-z0-9_.-]/g, "-"), message };
}

/** Whether a whole number is beyond 63 bits. */
export function isWide(cell) {
  return typeof cell === "bigint" && !isInt64(cell);
}

const NOT_OF_COLUMN = Symbol("not of the column");

/** What a cell is in a column that counts. */
function counted(kind) {
  return (cell) => {
    if (typeof cell === "bigint") return cell;
    return cell instanceof Moment && cell.kind === kind ? cell.count : NOT_OF_COLUMN;
  };
}

function text(cell) {
  if (typeof cell === "string") return cell;
  if (!isBytes(cell)) return NOT_OF_COLUMN;
  try {
    return utf8.decode(cell);
  } catch {
    return null;
  }
}

const forms = {
  integer: {
    write: "a BigInt, or a Decimal that is a whole number",
    of(cell) {
      if (typeof cell !== "bigint" && !(cell instanceof Decimal)) return NOT_OF_COLUMN;
      const whole = wholeIn(cell);
      return whole !== undefined && (isInt64(whole) || isUint64(whole)) ? whole : null;
    },
  },
  decimal: {
    write: "a Decimal or a BigInt",
    of: (cell) => (typeof cell === "bigint" ? new Decimal(cell) : cell instanceof Decimal ? cell : NOT_OF_COLUMN),
  },
  boolean: {
    write: "a boolean",
    of(cell) {
      if (typeof cell === "bigint") return cell === 0n || cell === 1n ? cell === 1n : null;
      return typeof cell === "boolean" ? cell : NOT_OF_COLUMN;
    },
  },
  float: { write: "a number", of: (cell) => (typeof cell === "number" ? cell : NOT_OF_COLUMN) },
  text: { write: "a text: `${id}`", of: text },
  json: { write: "a text: `${id}`", of: text },
  binary: {
    write: "a Uint8Array",
    of: (cell) => (typeof cell === "string" ? encoder.encode(cell) : isBytes(cell) ? cell : NOT_OF_COLUMN),
  },
  timestamp: { write: "a BigInt of microseconds", of: counted("timestamp") },
  datetime: { write: "a BigInt of microseconds", of: counted("datetime") },
  date: { write: "a BigInt of days", of: counted("date") },
  time: { write: "a BigInt of microseconds", of: counted("time") },
  value: { write: "what the column holds", of: (cell) => cell },
};

function nameOf(cell) {
  if (typeof cell === "bigint") return "integer";
  if (typeof cell === "number") return "float";
  if (typeof cell === "string") return "text";
  if (cell instanceof Decimal) return "decimal";
  if (cell instanceof Moment) return cell.kind;
  if (isBytes(cell)) return "binary";
  if (typeof cell === "object") return Array.isArray(cell) ? "list" : "object";
  return typeof cell;
}

/** A column of store keys in the making. */
export class KeyColumn {
  /** The first `width` columns of a relation's key. */
  static of({ name, columns: known, key }, width) {
    return Array.from({ length: width }, (_, at) => new KeyColumn(name, known[key[at]]));
  }

  constructor(table, { name, logical }) {
    Object.assign(this, { table, name, logical: columns.base(logical), cells: [] });
    this.layout = columns.layoutOf(logical) ?? "value";
  }

  /** Takes the column of one more key. */
  push(cell) {
    // Null is the key of no row.
    if (cell === null || cell === undefined) return void this.cells.push(null);
    const { of, write } = forms[this.layout];
    const made = of(cell);
    if (made === NOT_OF_COLUMN) {
      const { table, name, logical } = this;
      const given = nameOf(cell);
      const article = /^[aeiou]/.test(given) ? "an" : "a";
      refuse(`${table}.${name}-is-${logical}-not-${given}`,
        `key column \`${name}\` of \`${table}\` is ${logical}, and ${article} ${given} was given: give ${write}`);
    }
    this.cells.push(made);
  }

  /** Whether one layout holds all: none holds negative numbers and such beyond 63 bits. */
  fitsOneLayout() {
    if (this.layout !== "integer") return true;
    return !(this.cells.some(isWide) && this.cells.some((cell) => cell !== null && cell < 0n));
  }

  /** Those that are kept. */
  taken(kept) {
    const cells = kept.map((at) => this.cells[at] ?? undefined);
    const kind = this.layout === "integer" && cells.some(isWide) ? "unsigned" : this.layout;
    return columns.kindOf(kind).write(cells);
  }
}
