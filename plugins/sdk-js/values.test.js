// `node --test plugins/sdk-js`: exact numbers, dates, times and cells.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Decimal, Moment, dateOf, datetimeOf, decode, encode, timeOf, timestampOf, wholeOf } from "./values.js";

const hex = (bytes) => Buffer.from(bytes).toString("hex");

test("decimals are exactly what was written, or none", () => {
  for (const [text, written] of [
    ["-12.50", "-12.50"], ["1E-7", "0.0000001"], [".5", "0.5"], ["5.", "5"], ["+1e3", "1E3"],
    ["99999999999999999999999999999999999999", "99999999999999999999999999999999999999"],
  ]) assert.equal(String(Decimal.parse(text)), written);
  for (const text of ["", ".", "1,5", "1e", "--1", "0x1", "999999999999999999999999999999999999999"]) {
    assert.equal(Decimal.parse(text), undefined, text);
  }
  const sum = Decimal.parse("0.1").plus(Decimal.parse("0.2"));
  assert.equal(sum.compare(Decimal.parse("0.3")), 0);
  assert.equal(String(new Decimal(1999n, -2).times(new Decimal(3n))), "59.97");
  assert.equal(new Decimal(-1n, -2).isNegative, true);
});

test("whole numbers have 64 bits", () => {
  assert.equal(wholeOf("-9223372036854775808"), -(2n ** 63n));
  assert.equal(wholeOf("+7"), 7n);
  for (const text of ["9223372036854775808", "", "-", "1.0", " 1"]) assert.equal(wholeOf(text), undefined);
});

test("dates and times are exact or none", () => {
  assert.equal(dateOf("2000-02-29"), 11_016n);
  assert.equal(dateOf("0001-01-01"), -719_162n);
  assert.equal(dateOf("9999-12-31"), 2_932_896n);
  for (const text of ["1990-02-30", "1900-02-29", "0000-01-01", "2024-13-01", "2024-1-01", "2024-01-0x", ""]) {
    assert.equal(dateOf(text), undefined, text);
  }
  for (const [text, micros] of [
    ["1970-01-01T00:00:00Z", 0n], ["1970-01-01 00:00:00", 0n], ["1970-01-01T01:30:00+01:30", 0n],
    ["1969-12-31T23:00:00.25-01:00", 250_000n], ["1969-12-31t23:59:59.999999z", -1n],
  ]) assert.equal(timestampOf(text), micros, text);
  for (const text of [
    "1970-01-01T00:00:60Z", "1970-01-01T24:00:00Z", "1970-01-01T00:00:00.1234567Z", "1970-01-01T00:00:00.Z",
    "1970-01-01T00:00:00+0100", "1970-01-01T00:00Z", "1970-01-01", "1970-01-01T00:00:00Zx",
  ]) assert.equal(timestampOf(text), undefined, text);
  assert.equal(datetimeOf("1970-01-01T00:00:00.5"), 500_000n);
  assert.equal(datetimeOf("1970-01-01T00:00:00Z"), undefined);
  assert.equal(timeOf("-30:00:01.25"), -108_001_250_000n);
  assert.equal(timeOf("838:59:59"), 3_020_399_000_000n);
  for (const text of ["1:00:00", "", "00:60:00", "00:00:00.", "00:00:00Z"]) assert.equal(timeOf(text), undefined, text);
});

test("cells are read back as they were written, in one encoding", () => {
  for (const [cell, bytes] of [
    [null, "f6"], [true, "f5"], [0n, "00"], [24n, "1818"], [-1n, "20"], [2n ** 63n - 1n, "1b7fffffffffffffff"],
    [-(2n ** 63n), "3b7fffffffffffffff"], [new Decimal(2n ** 64n), "c249010000000000000000"],
    [new Decimal(-5n, -2), "c4822124"], ["Zoë", "645a6fc3ab"], [new Uint8Array([0, 255]), "4200ff"],
    [1.5, "f93e00"], [65_504, "f97bff"], [65_536, "fa47800000"], [0.1, "fb3fb999999999999a"], [-Infinity, "f9fc00"],
    [5.960464477539063e-8, "f90001"], [NaN, "f97e00"], [[1n, "a"], "82016161"],
    [new Map([["bb", 2n], ["c", 1n]]), "a261630162626202"], [new Set(["b", "a"]), "d901028261616162"],
    [new Moment("date", 1n), "d86401"], [new Moment("date", -(2n ** 63n)), "d9d7038100"],
    [new Moment("datetime", -(2n ** 63n) + 86_400_000_005n), "d9d703820105"],
    [new Moment("timestamp", -1n), "d903e9a201202" + "51a000f423f"], [new Moment("time", 5n), "d9d70205"],
  ]) {
    assert.equal(hex(encode(cell)), bytes, String(cell));
    assert.equal(hex(encode(decode(Buffer.from(bytes, "hex")))), bytes, String(cell));
  }
  assert.equal(hex(encode(-0)), "f90000");
  assert.equal(hex(encode(new Decimal(1200n, -2))), "0c");
});

test("nonsense is no cell", () => {
  for (const bytes of ["", "61", "61ff", "0101", "9bffffffffffffffff", "5fff", "c501", "c4820160", "81".repeat(100_000)]) {
    assert.equal(decode(Buffer.from(bytes, "hex")), undefined, bytes.slice(0, 20));
  }
});
