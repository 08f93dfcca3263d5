// JSON texts as dynamically typed cells.
//
// Numbers are as exact as they are written, which the language's own reader does not keep. What is no JSON
// for driftd is none here.

import { Decimal, JSON_NULL, isInt64, wholeIn } from "./values.js";

// Arrays and objects within each other, beyond which driftd takes a text for none.
const NESTED_MAX = 127;
// The same beyond which bytes are no cell.
const CELL_DEPTH_MAX = 64;
const NO_JSON = "is no JSON";

/** Whether a text is JSON. */
export function isJson(text) {
  try {
    new Reader(text, false).whole();
    return true;
  } catch (why) {
    if (typeof why === "string") return false;
    throw why;
  }
}

/** The cell that a JSON text is, or `{ why }` where it is none. The text `null` is JSON_NULL. */
export function cellOf(text) {
  try {
    const cell = new Reader(text, true).whole();
    return { cell: cell === null ? JSON_NULL : cell };
  } catch (why) {
    if (typeof why === "string") return { why };
    throw why;
  }
}

/** Reads a text; throws the reason, a string, where it is none. */
class Reader {
  constructor(text, isCell) {
    Object.assign(this, { text, at: 0, isCell });
  }

  whole() {
    const cell = this.value(0);
    this.blanks();
    if (this.at < this.text.length) throw NO_JSON;
    return cell;
  }

  blanks() {
    while (" \t\n\r".includes(this.text[this.at] ?? "x")) this.at += 1;
  }

  /** Goes beyond a sign, if it is what comes. */
  sign(sign) {
    this.blanks();
    const isNext = this.text[this.at] === sign;
    if (isNext) this.at += 1;
    return isNext;
  }

  value(depth) {
    if (this.isCell && depth > CELL_DEPTH_MAX) throw "is nested too deeply";
    this.blanks();
    const first = this.text[this.at];
    if ((first === "{" || first === "[") && depth === NESTED_MAX) throw NO_JSON;
    if (first === "{") return this.object(depth);
    if (first === "[") return this.array(depth);
    if (first === '"') return this.string();
    for (const [word, cell] of [["null", null], ["true", true], ["false", false]]) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return cell;
      }
    }
    return this.number();
  }

  /** Items up to `end`, each read by `item`. */
  items(end, item) {
    this.at += 1;
    if (this.sign(end)) return;
    for (;;) {
      item();
      if (this.sign(end)) return;
      if (!this.sign(",")) throw NO_JSON;
    }
  }

  array(depth) {
    const items = [];
    this.items("]", () => items.push(this.value(depth + 1)));
    return items;
  }

  object(depth) {
    const entries = new Map();
    this.items("}", () => {
      this.blanks();
      if (this.text[this.at] !== '"') throw NO_JSON;
      const key = this.string();
      if (!this.sign(":")) throw NO_JSON;
      entries.set(key, this.value(depth + 1));
    });
    return entries;
  }

  number() {
    const form = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
    form.lastIndex = this.at;
    const [text] = form.exec(this.text) ?? [];
    if (text === undefined) throw NO_JSON;
    this.at += text.length;
    if (!this.isCell) return null;
    const number = exact(text);
    if (number === undefined) throw "has a number of more than 38 digits";
    const whole = wholeIn(number);
    return whole !== undefined && isInt64(whole) ? whole : number;
  }

  string() {
    const start = this.at;
    this.at += 1;
    for (;; this.at += 1) {
      const code = this.text.charCodeAt(this.at);
      // Past the end it is NaN.
      if (!(code >= 0x20)) throw NO_JSON;
      if (code === 0x22) break;
      if (code === 0x5c) this.at += 1;
    }
    this.at += 1;
    let text;
    try {
      text = JSON.parse(this.text.slice(start, this.at));
    } catch {
      throw NO_JSON;
    }
    // Half a character is none.
    if (!text.isWellFormed()) throw NO_JSON;
    return text;
  }
}

/** A number of at most 38 digits, zeros at its ends aside. */
function exact(text) {
  const [, sign, whole, fraction = "", power = "0"] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text);
  const digits = `${whole}${fraction}`.replace(/^0+/, "");
  const shortest = digits.replace(/0+$/, "");
  const exponent = Number(power) - fraction.length + digits.length - shortest.length;
  if (shortest === "") return new Decimal(0n);
  if (shortest.length > 38 || Math.abs(exponent) > 2 ** 31 - 1) return undefined;
  return new Decimal(BigInt(sign + shortest), exponent);
}
