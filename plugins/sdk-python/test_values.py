"""`python3 plugins/sdk-python/test_values.py`: exact numbers, dates, times and cells."""

import pathlib
import sys
import unittest
from decimal import Decimal, Inexact

# Without the package, which needs the modules that are generated for a plugin.
sys.path.insert(0, str(pathlib.Path(__file__).parent / "driftd"))

import values  # noqa: E402
from values import CellSet, Moment  # noqa: E402


class Values(unittest.TestCase):
    def test_decimals_are_exactly_what_was_written_or_none(self):
        nines = "9" * 38
        for text, written in [
            ("-12.50", "-12.50"), ("1E-7", "0.0000001"), (".5", "0.5"), ("5.", "5"), ("+1e3", "1E3"),
            (nines, nines),
        ]:
            self.assertEqual(values.decimal_text(values.decimal_of(text)), written)
        for text in ["", ".", "1,5", "1e", "--1", "0x1", "NaN", "Infinity", "1_0", "\u0661", nines + "9"]:
            self.assertIsNone(values.decimal_of(text), text)
        self.assertEqual(values.scaled(-5, -2), Decimal("-0.05"))
        with self.assertRaises(Inexact):
            Decimal(1) / Decimal(3)

    def test_whole_numbers_have_64_bits(self):
        self.assertEqual(values.whole_of("-9223372036854775808"), -(2 ** 63))
        self.assertEqual(values.whole_of("+7"), 7)
        for text in ["9223372036854775808", "", "-", "1.0", " 1", "1_0", "\u0661"]:
            self.assertIsNone(values.whole_of(text), text)

    def test_dates_and_times_are_exact_or_none(self):
        self.assertEqual(values.date_of("2000-02-29"), 11_016)
        self.assertEqual(values.date_of("0001-01-01"), -719_162)
        self.assertEqual(values.date_of("9999-12-31"), 2_932_896)
        for text in ["1990-02-30", "1900-02-29", "0000-01-01", "2024-13-01", "2024-1-01", "2024-01-0x", ""]:
            self.assertIsNone(values.date_of(text), text)
        for text, micros in [
            ("1970-01-01T00:00:00Z", 0), ("1970-01-01 00:00:00", 0), ("1970-01-01T01:30:00+01:30", 0),
            ("1969-12-31T23:00:00.25-01:00", 250_000), ("1969-12-31t23:59:59.999999z", -1),
        ]:
            self.assertEqual(values.timestamp_of(text), micros, text)
        for text in [
            "1970-01-01T00:00:60Z", "1970-01-01T24:00:00Z", "1970-01-01T00:00:00.1234567Z",
            "1970-01-01T00:00:00.Z", "1970-01-01T00:00:00+0100", "1970-01-01T00:00Z", "1970-01-01",
        ]:
            self.assertIsNone(values.timestamp_of(text), text)
        self.assertEqual(values.datetime_of("1970-01-01T00:00:00.5"), 500_000)
        self.assertIsNone(values.datetime_of("1970-01-01T00:00:00Z"))
        self.assertEqual(values.time_of("-30:00:01.25"), -108_001_250_000)
        self.assertEqual(values.time_of("838:59:59"), 3_020_399_000_000)
        for text in ["1:00:00", "", "00:60:00", "00:00:00.", "00:00:00Z"]:
            self.assertIsNone(values.time_of(text), text)

    def test_cells_are_read_back_as_they_were_written_in_one_encoding(self):
        for cell, encoded in [
            (None, "f6"), (True, "f5"), (0, "00"), (24, "1818"), (-1, "20"),
            (2 ** 63 - 1, "1b7fffffffffffffff"), (-(2 ** 63), "3b7fffffffffffffff"),
            (2 ** 64, "c249010000000000000000"), (Decimal("-0.05"), "c4822124"), ("Zo\u00eb", "645a6fc3ab"),
            (b"\x00\xff", "4200ff"), (1.5, "f93e00"), (65_504.0, "f97bff"), (65_536.0, "fa47800000"),
            (0.1, "fb3fb999999999999a"), (float("-inf"), "f9fc00"), (5.960464477539063e-8, "f90001"),
            (float("nan"), "f97e00"), ([1, "a"], "82016161"), ({"bb": 2, "c": 1}, "a261630162626202"),
            (CellSet(["b", "a"]), "d901028261616162"), (Moment("date", 1), "d86401"),
            (Moment("date", -(2 ** 63)), "d9d7038100"),
            (Moment("datetime", -(2 ** 63) + 86_400_000_005), "d9d703820105"),
            (Moment("timestamp", -1), "d903e9a2012025" + "1a000f423f"), (Moment("time", 5), "d9d70205"),
        ]:
            self.assertEqual(values.encode(cell).hex(), encoded, cell)
            self.assertEqual(values.encode(values.decode(bytes.fromhex(encoded))).hex(), encoded, cell)
        self.assertEqual(values.encode(-0.0).hex(), "f90000")
        self.assertEqual(values.encode(Decimal("12.00")).hex(), "0c")

    def test_nonsense_is_no_cell(self):
        for encoded in ["", "61", "61ff", "0101", "9bffffffffffffffff", "5fff", "c501", "c4820160", "81" * 100_000]:
            with self.assertRaises(values.Malformed):
                values.decode(bytes.fromhex(encoded))


if __name__ == "__main__":
    unittest.main()
