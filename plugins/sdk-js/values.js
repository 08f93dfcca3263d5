// What a cell is in JavaScript, and how dynamically typed cells are read and written.
//
// Exact numbers are exact: a whole number is a BigInt, a decimal a Decimal, and a JavaScript number is
// a binary floating-point number and nothing else. Dates and times are BigInts that count as the
// contract does: days, or microseconds.

/** Why a row cannot be mapped; not an Error, because a stack trace for every bad row costs too much. */
export class Reject {
  constructor(message) {
    this.message = message;
  }
}

/** Refuses the row that is being mapped. */
export function reject(why) {
  throw new Reject(why);
}

const I64_MIN = -(2n ** 63n);
const I64_MAX = 2n ** 63n - 1n;
const U64_MAX = 2n ** 64n - 1n;
const I128_MAX = 2n ** 127n - 1n;
const DAY = 86_400_000_000n;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** An exact decimal number: a whole number, and the power of ten that it is multiplied with. */
export class Decimal {
  /** Cents are `new Decimal(cents, -2)`. */
  constructor(mantissa, exponent = 0) {
    this.mantissa = BigInt(mantissa);
    this.exponent = exponent;
  }

  /** Reads `-12.50` or `1E-7`; undefined where the text is no decimal number within 38 digits. */
  static parse(text) {
    const plain = plainDecimal(text);
    if (plain !== undefined) return plain;
    const parts = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(text);
    if (parts === null) return undefined;
    const [, sign, whole, fraction = "", power = "0"] = parts;
    if (whole.length + fraction.length === 0 || power.length > 10) return undefined;
    const mantissa = BigInt(whole + fraction);
    if (mantissa > I128_MAX) return undefined;
    return new Decimal(sign === "-" ? -mantissa : mantissa, Number(power) - fraction.length);
  }

  get isNegative() {
    return this.mantissa < 0n;
  }

  /** The same number with the shortest mantissa. */
  normal() {
    let { mantissa, exponent } = this;
    if (mantissa === 0n) return new Decimal(0n);
    for (; mantissa % 10n === 0n; exponent += 1) mantissa /= 10n;
    return new Decimal(mantissa, exponent);
  }

  plus(other) {
    const exponent = Math.min(this.exponent, other.exponent);
    return new Decimal(this.at(exponent) + other.at(exponent), exponent);
  }

  minus(other) {
    return this.plus(new Decimal(-other.mantissa, other.exponent));
  }

  times(other) {
    return new Decimal(this.mantissa * other.mantissa, this.exponent + other.exponent);
  }

  /** Less than zero, zero or more, as this is less than, equal to or more than the other. */
  compare(other) {
    const { mantissa } = this.minus(other);
    return mantissa < 0n ? -1 : mantissa > 0n ? 1 : 0;
  }

  at(exponent) {
    if (this.mantissa === 0n) return 0n;
    if (this.exponent - exponent > 1_000) reject("the numbers are too far apart to be exact");
    return this.mantissa * 10n ** BigInt(this.exponent - exponent);
  }

  toString() {
    const sign = this.mantissa < 0n ? "-" : "";
    const digits = String(this.mantissa < 0n ? -this.mantissa : this.mantissa);
    if (this.exponent === 0) return sign + digits;
    if (this.exponent > 0 || this.exponent < -40) return `${sign}${digits}E${this.exponent}`;
    const padded = digits.padStart(1 - this.exponent, "0");
    return `${sign}${padded.slice(0, this.exponent)}.${padded.slice(this.exponent)}`;
  }
}

/** A decimal of up to 15 digits without an exponent, which most are: digit by digit, as times are. */
function plainDecimal(text) {
  const { length } = text;
  const isNegative = text.charCodeAt(0) === 45;
  const start = isNegative ? 1 : 0;
  if (length === start || length > 16) return undefined;
  let mantissa = 0;
  let scale = -1;
  for (let at = start; at < length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 46 && scale < 0 && length > start + 1) {
      scale = 0;
    } else if (code >= 48 && code <= 57) {
      mantissa = mantissa * 10 + code - 48;
      if (scale >= 0) scale += 1;
    } else {
      return undefined;
    }
  }
  if (mantissa > Number.MAX_SAFE_INTEGER) return undefined;
  return new Decimal(BigInt(isNegative ? -mantissa : mantissa), scale > 0 ? -scale : 0);
}

/** Reads a whole number of 64 bits without a sign in decimal digits. */
export function unsignedOf(text) {
  if (!/^\+?\d{1,40}$/.test(text)) return undefined;
  const number = BigInt(text.replace("+", ""));
  return isUint64(number) ? number : undefined;
}

/** Reads a whole number of 64 bits in decimal digits. */
export function wholeOf(text) {
  const start = text.charCodeAt(0) === 45 ? 1 : 0;
  if (text.length > start && text.length <= 15) {
    const number = digits(text, start, text.length);
    if (!Number.isNaN(number)) return BigInt(start === 1 ? -number : number);
  }
  if (!/^[+-]?\d{1,40}$/.test(text)) return undefined;
  const number = BigInt(text.replace("+", ""));
  return isInt64(number) ? number : undefined;
}

/** Whether it is a Uint8Array; those that come from the host have a constructor of their own. */
export function isBytes(value) {
  return ArrayBuffer.isView(value) && value.BYTES_PER_ELEMENT === 1;
}

export function isInt64(number) {
  return number >= I64_MIN && number <= I64_MAX;
}

export function isUint64(number) {
  return number >= 0n && number <= U64_MAX;
}

/** The whole number that a BigInt or a Decimal is; undefined where it is none. */
export function wholeIn(cell) {
  if (typeof cell === "bigint") return cell;
  if (!(cell instanceof Decimal)) return undefined;
  const { mantissa, exponent } = cell.normal();
  return exponent >= 0 && exponent <= 40 ? mantissa * 10n ** BigInt(exponent) : undefined;
}

/** The JSON document `null`, which is no null of a store. */
export const JSON_NULL = Object.freeze({ toString: () => "the JSON document null" });

// Dates and times are read digit by digit, and into plain variables: in an interpreter a regular
// expression, or an array that is taken apart, costs ten times as much.

/** The number that the digits at a place are; NaN where one is none. */
function digits(text, start, end) {
  let number = 0;
  for (let at = start; at < end; at += 1) {
    const code = text.charCodeAt(at);
    if (!(code >= 48 && code <= 57)) return NaN;
    number = number * 10 + code - 48;
  }
  return number;
}

const MONTHS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const [HYPHEN, COLON, POINT, PLUS] = [45, 58, 46, 43];

/** Days since 1970-01-01 of the ten characters that a text begins with; NaN where they are no date. */
function daysOf(text) {
  if (text.charCodeAt(4) !== HYPHEN || text.charCodeAt(7) !== HYPHEN) return NaN;
  let year = digits(text, 0, 4);
  let month = digits(text, 5, 7);
  const day = digits(text, 8, 10);
  const leap = month === 2 && year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 1 : 0;
  if (!(year > 0 && day > 0 && day <= MONTHS[month - 1] + leap)) return NaN;
  // Years begin in March, so that the leap day comes last.
  if (month > 2) {
    month -= 3;
  } else {
    year -= 1;
    month += 9;
  }
  const leaps = Math.floor(year / 4) - Math.floor(year / 100) + Math.floor(year / 400);
  return year * 365 + leaps + Math.floor((153 * month + 2) / 5) + day - 719_469;
}

/** Reads `2024-01-02` as days since 1970-01-01. */
export function dateOf(text) {
  const days = text.length === 10 ? daysOf(text) : NaN;
  return Number.isNaN(days) ? undefined : BigInt(days);
}

// Where the last time that was read ends.
let ended = 0;

/** Reads `:04:05.123456` at a place as microseconds, NaN where there is none. */
function ofHour(text, at) {
  const minute = digits(text, at + 1, at + 3);
  const second = digits(text, at + 4, at + 6);
  if (text.charCodeAt(at) !== COLON || text.charCodeAt(at + 3) !== COLON) return NaN;
  if (!(minute < 60 && second < 60)) return NaN;
  ended = at + 6;
  const micros = (minute * 60 + second) * 1_000_000;
  if (text.charCodeAt(ended) !== POINT) return micros;
  const start = ended + 1;
  for (ended = start; digits(text, ended, ended + 1) >= 0; ended += 1);
  const length = ended - start;
  if (length === 0 || length > 6) return NaN;
  return micros + digits(text, start, ended) * 10 ** (6 - length);
}

/** Whether the last stamp that was read has no offset. */
let isLocal = false;

/** Reads a date and time as microseconds. */
function stampOf(text) {
  const days = daysOf(text);
  const hour = digits(text, 11, 13);
  const micros = ofHour(text, 13);
  const between = text.charCodeAt(10);
  const isStamp = between === 84 || between === 116 || between === 32;
  if (!isStamp || !(hour < 24) || Number.isNaN(days + micros)) return undefined;
  // Seconds and what is below them, so that both are exact as numbers.
  let seconds = days * 86_400 + hour * 3_600 + Math.floor(micros / 1_000_000);
  isLocal = ended === text.length;
  const sign = text.charCodeAt(ended);
  if (!isLocal && !(ended + 1 === text.length && (sign === 90 || sign === 122))) {
    const hours = digits(text, ended + 1, ended + 3);
    const minutes = digits(text, ended + 4, ended + 6);
    const isOffset = (sign === PLUS || sign === HYPHEN) && text.charCodeAt(ended + 3) === COLON;
    if (!isOffset || ended + 6 !== text.length || !(hours < 24 && minutes < 60)) return undefined;
    seconds -= (sign === HYPHEN ? -1 : 1) * (hours * 60 + minutes) * 60;
  }
  return BigInt(seconds) * 1_000_000n + BigInt(micros % 1_000_000);
}

/** Reads RFC 3339 as microseconds since 1970; text without an offset is taken for UTC. */
export function timestampOf(text) {
  return stampOf(text);
}

/** Reads `2024-01-02T03:04:05.5`, which has no offset, as microseconds. */
export function datetimeOf(text) {
  const micros = stampOf(text);
  return isLocal ? micros : undefined;
}

/** Reads `-30:00:01.25` as microseconds. */
export function timeOf(text) {
  const start = text[0] === "-" ? 1 : 0;
  const colon = text.indexOf(":");
  const hours = digits(text, start, colon);
  const micros = ofHour(text, colon);
  if (colon - start < 2 || colon - start > 6 || Number.isNaN(hours + micros)) return undefined;
  if (ended !== text.length) return undefined;
  const count = BigInt(hours) * 3_600_000_000n + BigInt(micros);
  return start === 1 ? -count : count;
}

/** A date or time within a dynamically typed cell: `kind` is date, time, datetime or timestamp. */
export class Moment {
  constructor(kind, count) {
    this.kind = kind;
    this.count = count;
  }
}

// --- dynamically typed cells ---------------------------------------------------------------------
//
// null, a boolean, a BigInt, a Decimal, a number (a float), a string, a Uint8Array, a Moment, an
// Array, a Set, a Map with strings for keys, or JSON_NULL.

/** The cell that these bytes of deterministic CBOR are; undefined if they are none. */
export function decode(bytes) {
  return new Decoder(bytes).decode(0, bytes.length);
}

const MALFORMED = Symbol("malformed");
// Deeper than any item of a store.
const DEPTH_MAX = 64;

/** Reads the cells of an arena. */
export class Decoder {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
    this.end = bytes.length;
  }

  /** The cell between two places; undefined if there is not exactly one. */
  decode(start, end) {
    this.at = start;
    this.end = end;
    try {
      const cell = this.cell(0);
      return this.at === end ? cell : undefined;
    } catch {
      return undefined;
    }
  }

  /** The argument of a head whose first byte was read: a BigInt where it has 64 bits. */
  argument(info) {
    if (info < 24) return info;
    const { at, view } = this;
    switch (info) {
      case 24: this.at += 1; return view.getUint8(at);
      case 25: this.at += 2; return view.getUint16(at);
      case 26: this.at += 4; return view.getUint32(at);
      case 27: this.at += 8; return view.getBigUint64(at);
      default: throw MALFORMED;
    }
  }

  taken(length) {
    const start = this.at;
    this.at += Number(length);
    if (this.at > this.end) throw MALFORMED;
    return this.bytes.subarray(start, this.at);
  }

  cell(depth) {
    if (depth > DEPTH_MAX || this.at >= this.end) throw MALFORMED;
    const start = this.at;
    const first = this.bytes[start];
    this.at += 1;
    const argument = this.argument(first & 0x1f);
    switch (first >> 5) {
      case 0: return narrowed(BigInt(argument));
      case 1: return narrowed(-1n - BigInt(argument));
      case 2: return this.taken(argument);
      case 3: return this.text(argument);
      case 4: return this.list(argument, depth);
      case 5: return this.map(argument, depth);
      case 6: return this.tagged(Number(argument), depth);
      default: return this.simple(first, start);
    }
  }

  /** Text; one that is short and ASCII is put together here, because a decoder costs more. */
  text(length) {
    const bytes = this.taken(length);
    if (bytes.length > 48) return utf8.decode(bytes);
    for (let at = 0; at < bytes.length; at += 1) {
      if (bytes[at] > 0x7f) return utf8.decode(bytes);
    }
    return String.fromCharCode.apply(null, bytes);
  }

  list(length, depth) {
    const items = [];
    for (let left = Number(length); left > 0; left -= 1) items.push(this.cell(depth + 1));
    return items;
  }

  map(length, depth) {
    const entries = new Map();
    for (let left = Number(length); left > 0; left -= 1) {
      const key = this.cell(depth + 1);
      entries.set(key, this.cell(depth + 1));
    }
    return entries;
  }

  simple(first, start) {
    switch (first) {
      case 0xf4: return false;
      case 0xf5: return true;
      case 0xf6: return null;
      case 0xf9: return half(this.view.getUint16(start + 1));
      case 0xfa: return this.view.getFloat32(start + 1);
      case 0xfb: return this.view.getFloat64(start + 1);
      default: throw MALFORMED;
    }
  }

  whole(depth) {
    const cell = this.cell(depth + 1);
    if (typeof cell === "bigint") return cell;
    if (cell instanceof Decimal && cell.exponent === 0) return cell.mantissa;
    throw MALFORMED;
  }

  tagged(tag, depth) {
    const cell = tag === 4 || tag === 55043 ? undefined : this.cell(depth + 1);
    switch (tag) {
      case 2: return narrowed(magnitude(cell));
      case 3: return narrowed(-1n - magnitude(cell));
      case 4: {
        if (this.bytes[this.at++] !== 0x82) throw MALFORMED;
        const exponent = Number(this.whole(depth));
        return new Decimal(this.whole(depth), exponent);
      }
      case 55040:
        if (cell !== null) throw MALFORMED;
        return JSON_NULL;
      case 100: return new Moment("date", cell);
      case 258: return new Set(cell);
      case 1001: return new Moment("timestamp", cell.get(1n) * 1_000_000n + (cell.get(-6n) ?? 0n));
      case 55041: return new Moment("datetime", cell);
      case 55042: return new Moment("time", cell);
      case 55043: {
        // No calendar date: counted from the smallest number.
        const [day, micros] = this.cell(depth + 1);
        if (micros === undefined) return new Moment("date", I64_MIN + day);
        return new Moment("datetime", I64_MIN + day * DAY + micros);
      }
      default: throw MALFORMED;
    }
  }
}

/** A whole number as an integer where it has 64 bits, as a decimal where it has more. */
function narrowed(number) {
  return isInt64(number) ? number : new Decimal(number);
}

function magnitude(bytes) {
  if (!isBytes(bytes)) throw MALFORMED;
  return bytes.reduce((number, byte) => (number << 8n) | BigInt(byte), 0n);
}

function half(bits) {
  const [exponent, mantissa] = [(bits >> 10) & 0x1f, bits & 0x3ff];
  const sign = bits >> 15 ? -1 : 1;
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : NaN;
  return sign * (exponent === 0 ? mantissa * 2 ** -24 : (mantissa + 1024) * 2 ** (exponent - 25));
}

/** A cell as deterministic CBOR. */
export function encode(cell) {
  const out = [];
  write(out, cell);
  return Uint8Array.from(out);
}

function head(out, major, argument) {
  const number = BigInt(argument);
  const width = number < 24n ? 0 : number < 0x100n ? 1 : number < 0x10000n ? 2 : number < 0x100000000n ? 4 : 8;
  out.push((major << 5) | (width === 0 ? Number(number) : 24 + Math.log2(width)));
  for (let at = width - 1; at >= 0; at -= 1) out.push(Number((number >> BigInt(8 * at)) & 0xffn));
}

function append(out, bytes) {
  for (const byte of bytes) out.push(byte);
}

function whole(out, number) {
  const [major, size] = number < 0n ? [1, -1n - number] : [0, number];
  if (size < 2n ** 64n) return head(out, major, size);
  head(out, 6, 2 + major);
  const digits = size.toString(16);
  const padded = digits.padStart(digits.length + (digits.length % 2), "0");
  write(out, Uint8Array.from(padded.match(/../g), (byte) => parseInt(byte, 16)));
}

function write(out, cell) {
  if (cell === null) return out.push(0xf6);
  if (typeof cell === "boolean") return out.push(cell ? 0xf5 : 0xf4);
  if (typeof cell === "bigint") return whole(out, cell);
  if (typeof cell === "number") return float(out, cell);
  if (typeof cell === "string") {
    const bytes = encoder.encode(cell);
    head(out, 3, bytes.length);
    return append(out, bytes);
  }
  if (isBytes(cell)) {
    head(out, 2, cell.length);
    return append(out, cell);
  }
  if (cell instanceof Decimal) return decimal(out, cell);
  if (cell instanceof Moment) return moment(out, cell);
  if (cell === JSON_NULL) {
    head(out, 6, 55040);
    return out.push(0xf6);
  }
  if (Array.isArray(cell)) {
    head(out, 4, cell.length);
    return cell.forEach((item) => write(out, item));
  }
  if (cell instanceof Set) {
    const members = sorted(Array.from(cell, encode));
    head(out, 6, 258);
    head(out, 4, members.length);
    return members.forEach((member) => append(out, member));
  }
  if (cell instanceof Map) {
    const entries = new Map(Array.from(cell, ([key, value]) => [String(key), value]));
    head(out, 5, entries.size);
    const ordered = Array.from(entries, ([key, value]) => ({ key: encode(key), value }));
    ordered.sort((one, two) => compareBytes(one.key, two.key));
    return ordered.forEach(({ key, value }) => {
      append(out, key);
      write(out, value);
    });
  }
  throw new TypeError("a cell is null, a boolean, BigInt, Decimal, number, string, Uint8Array, Moment, Array, Set or Map");
}

function sorted(encodings) {
  encodings.sort(compareBytes);
  return encodings.filter((one, at) => at === 0 || compareBytes(one, encodings[at - 1]) !== 0);
}

function compareBytes(one, two) {
  for (let at = 0; at < Math.min(one.length, two.length); at += 1) {
    if (one[at] !== two[at]) return one[at] - two[at];
  }
  return one.length - two.length;
}

function decimal(out, value) {
  const { mantissa, exponent } = value.normal();
  if (exponent >= 0 && exponent < 40) {
    const number = mantissa * 10n ** BigInt(exponent);
    if (number <= I128_MAX && number >= -I128_MAX - 1n) return whole(out, number);
  }
  head(out, 6, 4);
  head(out, 4, 2);
  whole(out, BigInt(exponent));
  whole(out, mantissa);
}

function float(out, value) {
  if (Number.isNaN(value)) return append(out, [0xf9, 0x7e, 0x00]);
  const number = value === 0 ? 0 : value;
  const view = new DataView(new ArrayBuffer(8));
  if (Math.fround(number) !== number) {
    view.setFloat64(0, number);
    out.push(0xfb);
    return append(out, new Uint8Array(view.buffer));
  }
  const short = toHalf(number);
  if (short !== undefined) return append(out, [0xf9, short >> 8, short & 0xff]);
  view.setFloat32(0, number);
  out.push(0xfa);
  append(out, new Uint8Array(view.buffer, 0, 4));
}

function toHalf(number) {
  const sign = number < 0 ? 0x8000 : 0;
  const size = Math.abs(number);
  if (size === Infinity) return sign | 0x7c00;
  if (size === 0) return sign;
  if (size >= 65_536) return undefined;
  const exponent = Math.max(Math.floor(Math.log2(size)), -14);
  const mantissa = size * 2 ** (10 - exponent);
  if (!Number.isInteger(mantissa)) return undefined;
  return sign | (mantissa >= 1024 ? ((exponent + 15) << 10) | (mantissa - 1024) : mantissa);
}

function moment(out, { kind, count }) {
  const packed = count - I64_MIN;
  switch (kind) {
    case "timestamp": {
      const micros = ((count % 1_000_000n) + 1_000_000n) % 1_000_000n;
      head(out, 6, 1001);
      head(out, 5, micros === 0n ? 1 : 2);
      whole(out, 1n);
      whole(out, (count - micros) / 1_000_000n);
      if (micros !== 0n) {
        whole(out, -6n);
        whole(out, micros);
      }
      return;
    }
    case "date":
      if (packed >= 100_000_000n) {
        head(out, 6, 100);
        return whole(out, count);
      }
      head(out, 6, 55043);
      head(out, 4, 1);
      return whole(out, packed);
    case "datetime":
      if (packed >= 100_000_000n * DAY) {
        head(out, 6, 55041);
        return whole(out, count);
      }
      head(out, 6, 55043);
      head(out, 4, 2);
      whole(out, packed / DAY);
      return whole(out, packed % DAY);
    case "time":
      head(out, 6, 55042);
      return whole(out, count);
    default:
      throw new TypeError(`there is no kind of moment \`${kind}\``);
  }
}
