// Columns of a batch: how the cells of each logical type are read from every layout that they come in,
// and written. What is read of another kind than it was asked for costs its row.

import { isJson } from "./json.js";
import * as values from "./values.js";
import { Decimal, Moment } from "./values.js";

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

/** The logical type without its parameters. */
export function base(logical) {
  return logical.replace(/\(.*/, "");
}

/** Whether a bit is set in a bitmap, in which none at all stands for all ones. */
export function bit(bitmap, row) {
  return bitmap.length === 0 || ((bitmap[row >> 3] >> (row & 7)) & 1) === 1;
}

/** Cells that are numbers of 64 bits. */
function counts({ validity, values: { val } }, rows) {
  const cells = new Array(rows);
  for (let row = 0; row < rows; row += 1) cells[row] = bit(validity, row) ? val[row] : null;
  return cells;
}

/** Cells that are bytes. */
function bytes({ validity, values: { val } }, rows) {
  const { offsets, data } = val;
  const cells = new Array(rows);
  for (let row = 0; row < rows; row += 1) {
    cells[row] = bit(validity, row) ? data.subarray(offsets[row], offsets[row + 1]) : null;
  }
  return cells;
}

/** Cells that are text. All at once, where a character is a byte. */
function texts(column, rows) {
  const { validity, values: { val: { offsets, data } } } = column;
  const all = utf8.decode(data);
  if (all.length !== data.length) {
    return bytes(column, rows).map((cell) => (cell === null ? null : utf8.decode(cell)));
  }
  const cells = new Array(rows);
  for (let row = 0; row < rows; row += 1) {
    cells[row] = bit(validity, row) ? all.slice(offsets[row], offsets[row + 1]) : null;
  }
  return cells;
}

/** Cells that are dynamically typed; one that is absent is undefined. */
function dynamic({ validity, values: { val: { offsets, data } } }, rows, wrong) {
  const decoder = new values.Decoder(data);
  const cells = new Array(rows).fill(undefined);
  for (let row = 0; row < rows; row += 1) {
    if (!bit(validity, row)) continue;
    const cell = decoder.decode(offsets[row], offsets[row + 1]);
    cells[row] = cell === undefined ? wrong : cell;
  }
  return cells;
}

/** `read` of what is there; what it does not know is wrong, or what `wrong.of` says of it. */
function each(cells, wrong, read) {
  for (let row = 0; row < cells.length; row += 1) {
    const cell = cells[row];
    if (cell === undefined) cells[row] = null;
    else if (cell !== null && cell !== wrong) cells[row] = read(cell) ?? wrong.of?.(cell) ?? wrong;
  }
  return cells;
}

/** Writes cells: `put` takes one that is there; what it refuses is a bug of the plugin. */
function writing(cells, put) {
  let validity = new Uint8Array(0);
  for (let row = 0; row < cells.length; row += 1) {
    const cell = cells[row];
    if (cell === null || cell === undefined) {
      if (validity.length === 0) validity = new Uint8Array((cells.length + 7) >> 3).fill(0xff);
      validity[row >> 3] &= ~(1 << (row & 7));
      put(null, row);
    } else {
      put(cell, row);
    }
  }
  return validity;
}

function isNo(kind, cell) {
  throw new TypeError(`a ${typeof cell} was given for a field of type ${kind}`);
}

function writeCounts(cells, kind) {
  const val = new BigInt64Array(cells.length);
  const validity = writing(cells, (cell, row) => {
    if (cell === null) return;
    if (typeof cell !== "bigint") isNo(kind, cell);
    if (!values.isInt64(cell)) throw new TypeError(`a field of type ${kind} holds more than 64 bits`);
    val[row] = cell;
  });
  return { validity, values: { tag: "int64", val } };
}

function writeUnsigned(cells) {
  const val = new BigUint64Array(cells.length);
  const validity = writing(cells, (cell, row) => {
    if (cell === null) return;
    if (typeof cell !== "bigint") isNo("unsigned", cell);
    if (!values.isUint64(cell)) throw new TypeError("a field of type unsigned holds 0 to 2^64 - 1");
    val[row] = cell;
  });
  return { validity, values: { tag: "uint64", val } };
}

function writeBytes(cells) {
  return pack(cells, writing(cells, (cell) => {
    if (cell !== null && !values.isBytes(cell)) isNo("binary", cell);
  }));
}

function pack(cells, validity) {
  const offsets = new Uint32Array(cells.length + 1);
  let length = 0;
  for (let row = 0; row < cells.length; row += 1) {
    length += cells[row]?.length ?? 0;
    offsets[row + 1] = length;
  }
  const data = new Uint8Array(length);
  for (let row = 0; row < cells.length; row += 1) {
    if (offsets[row] < offsets[row + 1]) data.set(cells[row], offsets[row]);
  }
  return { validity, values: { tag: "bytes", val: { offsets, data } } };
}

/** Text, all at once where a character is a byte. */
function writeTexts(cells, kind) {
  const offsets = new Uint32Array(cells.length + 1);
  const texts = new Array(cells.length);
  let length = 0;
  const validity = writing(cells, (cell, row) => {
    if (cell !== null && typeof cell !== "string") isNo(kind, cell);
    texts[row] = cell ?? "";
    length += texts[row].length;
    offsets[row + 1] = length;
  });
  const data = encoder.encode(texts.join(""));
  if (data.length === length) return { validity, values: { tag: "bytes", val: { offsets, data } } };
  return writeBytes(cells.map((cell) => (typeof cell === "string" ? encoder.encode(cell) : cell)));
}

const kinds = {
  boolean: {
    accepts: ["integer", "boolean"],
    own: (column, rows, wrong) => each(counts(column, rows), wrong, (cell) => cell !== 0n),
    cell: (cell) => (typeof cell === "boolean" ? cell : undefined),
    write: (cells) =>
      writeCounts(cells.map((cell) => (typeof cell === "boolean" ? BigInt(cell) : cell)), "boolean"),
  },
  integer: {
    accepts: ["integer"],
    own: (column, rows, wrong) =>
      each(counts(column, rows), wrong, (cell) => (values.isInt64(cell) ? cell : undefined)),
    cell: (cell) => (typeof cell === "bigint" ? cell : undefined),
    write: (cells) => writeCounts(cells, "integer"),
  },
  // A whole number that is never negative, such as an id of BIGINT UNSIGNED.
  unsigned: {
    accepts: ["integer"],
    logical: "integer",
    own: (column, rows, wrong) =>
      each(counts(column, rows), wrong, (cell) => (values.isUint64(cell) ? cell : undefined)),
    cell: (cell) => {
      const whole = values.wholeIn(cell);
      return whole !== undefined && values.isUint64(whole) ? whole : undefined;
    },
    write: writeUnsigned,
  },
  decimal: {
    accepts: ["decimal", "text", "integer"],
    own: (column, rows, wrong) =>
      column.values.tag === "bytes"
        ? each(texts(column, rows), wrong, Decimal.parse)
        : each(counts(column, rows), wrong, (cell) => new Decimal(cell)),
    text: Decimal.parse,
    cell: (cell) => {
      if (typeof cell === "bigint") return new Decimal(cell);
      return cell instanceof Decimal ? cell : undefined;
    },
    write: (cells) =>
      writeTexts(cells.map((cell) => (cell instanceof Decimal ? cell.toString() : cell == null ? cell : isNo("decimal", cell)))),
  },
  float: {
    accepts: ["float", "float32"],
    isNo: "floating-point number",
    own: counts,
    cell: (cell) => (typeof cell === "number" ? cell : undefined),
    write: (cells) => {
      const val = new Float64Array(cells.length);
      const validity = writing(cells, (cell, row) => {
        if (cell !== null) val[row] = typeof cell === "number" ? cell : isNo("float", cell);
      });
      return { validity, values: { tag: "float64", val } };
    },
  },
  text: {
    accepts: ["text", "enum", "set", "json"],
    own: texts,
    cell: (cell) => (typeof cell === "string" ? cell : undefined),
    write: (cells) => writeTexts(cells, "text"),
  },
  binary: {
    accepts: ["binary"],
    own: bytes,
    cell: (cell) => (values.isBytes(cell) ? cell : undefined),
    write: writeBytes,
  },
  json: {
    accepts: ["json", "text"],
    own: texts,
    // What a store keeps as JSON is some; a text may be anything.
    text: (text) => (isJson(text) ? text : undefined),
    cell: (cell) => (typeof cell === "string" && isJson(cell) ? cell : undefined),
    write: (cells) => writeTexts(cells, "json"),
  },
  value: {
    accepts: ["value"],
    own: dynamic,
    // Null is a value here, and absent is what is not there.
    write: (cells) =>
      writeBytes(cells.map((cell) => (cell === undefined ? null : values.encode(cell)))),
  },
};

for (const [logical, read, accepts, isNo] of [
  ["timestamp", values.timestampOf, ["timestamp", "datetime", "text"], "time"],
  ["datetime", values.datetimeOf, ["datetime", "text"], "local time"],
  ["date", values.dateOf, ["date", "text"], "date"],
  ["time", values.timeOf, ["time", "text"], "time"],
]) {
  kinds[logical] = {
    accepts,
    isNo,
    own: counts,
    text: read,
    cell: (cell) => {
      if (typeof cell === "string") return read(cell);
      return cell instanceof Moment && cell.kind === logical ? cell.count : undefined;
    },
    write: (cells) => writeCounts(cells, logical),
  };
}

/** The kinds that a column or field may be read as. */
export const KINDS = Object.keys(kinds);

/** The kind of cells of a name: a logical type, or `unsigned`. */
export function kindOf(logical) {
  const name = base(logical);
  const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
  if (kind === undefined) throw new TypeError(`there is no logical type \`${logical}\``);
  return { isNo: name, logical: name, ...kind, name };
}

/** The layout of a logical type, and what it means; undefined: there is no such type. */
export function layoutOf(logical) {
  const name = base(logical);
  if (["enum", "set"].includes(name)) return "text";
  if (name === "float32") return "float";
  return Object.hasOwn(kinds, name) && name !== "unsigned" ? name : undefined;
}

/** What to write where a column or field of a logical type was read as a kind that it is not. */
export function toRead(name, kind, logical) {
  const isText = ["text", "enum", "set"].includes(logical);
  const parsers = { integer: "parseInteger", unsigned: "parseUnsigned", decimal: "parseDecimal", value: "parseJson" };
  if ((isText && parsers[kind] !== undefined) || (logical === "json" && kind === "value")) {
    return `write \`.${isText ? "text" : "json"}("${name}").${parsers[kind]}()\``;
  }
  if (isText) return `write \`.text("${name}")\``;
  return `write \`.${logical}("${name}")\`, which reads it as what it is; \`.map(..)\` makes another kind of it`;
}

/** Why a number is none of the kind `integer` or `unsigned`; undefined where it is no whole number. */
export function beyond(kind, cell) {
  const whole = values.wholeIn(cell);
  if (whole === undefined) return undefined;
  if (kind === "integer" && values.isUint64(whole)) return "is beyond 63 bits; read it as unsigned, or as decimal";
  if (kind === "unsigned" && values.isInt64(whole)) return "is negative; read it as integer, or as decimal";
  return "is beyond 64 bits; read it as decimal";
}

/** The cells of a column of logical type `logical`, read as a kind; what is of another kind is `wrong`. */
export function read(kind, logical, column, rows, wrong) {
  if (logical === "value" && kind.logical !== "value") {
    return each(dynamic(column, rows, wrong), wrong, kind.cell);
  }
  if (kind.text !== undefined && kind.name !== logical && ["text", "enum", "set", "json"].includes(logical)) {
    return each(texts(column, rows), wrong, kind.text);
  }
  return kind.own(column, rows, wrong);
}

/** Whether a column is a field of the kind as it stands. */
export function passes(kind, logical, column) {
  if (kind.logical === "boolean") return false;
  // A number that the kind does not hold is told with what reads it.
  if (kind.logical === "integer") {
    return logical === "integer" && column.values.tag === (kind.name === "unsigned" ? "uint64" : "int64");
  }
  if (kind.logical === "decimal") return logical === "decimal" && column.values.tag === "bytes";
  if (kind.logical === "text") return kind.accepts.includes(logical);
  return kind.logical === logical || (kind.logical === "timestamp" && logical === "datetime");
}

/** The rows of a column that are kept. */
export function take(column, kept) {
  const { validity, values: { tag, val } } = column;
  let bits = validity;
  if (validity.length > 0) {
    bits = new Uint8Array((kept.length + 7) >> 3);
    kept.forEach((row, at) => {
      if (bit(validity, row)) bits[at >> 3] |= 1 << (at & 7);
    });
  }
  if (tag !== "bytes") {
    return { validity: bits, values: { tag, val: val.constructor.from(kept, (row) => val[row]) } };
  }
  const cells = kept.map((row) => val.data.subarray(val.offsets[row], val.offsets[row + 1]));
  return pack(cells, bits);
}
