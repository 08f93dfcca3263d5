"""Columns of a batch: how the cells of each logical type are read from every layout that they come in,
and written. What is read of another kind than it was asked for costs its row."""

import re
from decimal import Decimal

from wit_world.imports.types import (
    Buffer_Bytes, Buffer_Float64, Buffer_Int64, Column, VarBytes,
)

from . import values
from .values import I64_MAX, I64_MIN, Malformed, Moment

TEXTS = ("text", "enum", "set", "json")


def base(logical):
    """The logical type without its parameters."""
    return re.sub(r"\(.*", "", logical)


def bit(bitmap, row):
    """Whether a bit is set in a bitmap, in which none at all stands for all ones."""
    return not bitmap or bitmap[row >> 3] >> (row & 7) & 1 == 1


def _valid(column, cells):
    validity = column.validity
    if not validity:
        return list(cells)
    return [
        cell if validity[row >> 3] >> (row & 7) & 1 else None for row, cell in enumerate(cells)
    ]


def _counts(column):
    return _valid(column, column.values.value)


def _bytes(column):
    offsets, data = column.values.value.offsets, column.values.value.data
    return _valid(column, [data[start:end] for start, end in zip(offsets, offsets[1:])])


def _texts(column):
    """Text, all at once where a character is a byte."""
    offsets, data = column.values.value.offsets, column.values.value.data
    if not data.isascii():
        return [None if cell is None else str(cell, "utf-8") for cell in _bytes(column)]
    text = str(data, "ascii")
    return _valid(column, [text[start:end] for start, end in zip(offsets, offsets[1:])])


def _dynamic(column, wrong):
    """Dynamically typed cells; what is absent is ABSENT."""
    offsets, data, validity = column.values.value.offsets, column.values.value.data, column.validity
    cells = []
    for row, (start, end) in enumerate(zip(offsets, offsets[1:])):
        if not bit(validity, row):
            cells.append(ABSENT)
            continue
        try:
            cells.append(values.decode(data, start, end))
        except Malformed:
            cells.append(wrong)
    return cells


class Absent:
    """What an item does not have, which is not the same as null; false."""

    def __bool__(self):
        return False

    def __repr__(self):
        return "ABSENT"


ABSENT = Absent()


def _each(cells, wrong, read):
    """`read` of what is there; what it gives None for is wrong."""
    def one(cell):
        if cell is None or cell is ABSENT:
            return None
        if cell is wrong:
            return wrong
        found = read(cell)
        return wrong if found is None else found

    return [one(cell) for cell in cells]


def _validity(cells, absent=None):
    if absent not in cells:
        return b""
    validity = bytearray(b"\xff" * ((len(cells) + 7) // 8))
    for row, cell in enumerate(cells):
        if cell is absent:
            validity[row >> 3] &= ~(1 << (row & 7))
    return bytes(validity)


def _is_no(kind, cell):
    raise TypeError(f"{type(cell).__name__} was given for a field of type {kind}")


def _checked(cells, kind, types):
    for cell in cells:
        if cell is not None and type(cell) not in types:
            _is_no(kind, cell)


def _write_counts(kind):
    def write(cells):
        _checked(cells, kind, (int,))
        numbers = [0 if cell is None else cell for cell in cells]
        if any(not I64_MIN <= number <= I64_MAX for number in numbers):
            raise TypeError(f"a field of type {kind} holds more than 64 bits")
        return Column(_validity(cells), Buffer_Int64(numbers))

    return write


def _pack(cells, validity):
    offsets, length = [0], 0
    for cell in cells:
        length += len(cell)
        offsets.append(length)
    return Column(validity, Buffer_Bytes(VarBytes(offsets, b"".join(cells))))


def _write_bytes(cells):
    _checked(cells, "binary", (bytes, bytearray))
    return _pack([b"" if cell is None else cell for cell in cells], _validity(cells))


def _write_texts(kind):
    def write(cells):
        _checked(cells, kind, (str,))
        return _pack([b"" if cell is None else cell.encode() for cell in cells], _validity(cells))

    return write


def _write_booleans(cells):
    _checked(cells, "boolean", (bool,))
    return Column(_validity(cells), Buffer_Int64([int(bool(cell)) for cell in cells]))


def _write_decimals(cells):
    _checked(cells, "decimal", (Decimal,))
    texts = [b"" if cell is None else values.decimal_text(cell).encode() for cell in cells]
    return _pack(texts, _validity(cells))


def _write_floats(cells):
    _checked(cells, "float", (float,))
    return Column(_validity(cells), Buffer_Float64([cell or 0.0 for cell in cells]))


def _write_values(cells):
    # None is a value here, and absent is what is not there.
    encoded = [b"" if cell is ABSENT else values.encode(cell) for cell in cells]
    return _pack(encoded, _validity(cells, ABSENT))


def _of_type(*types):
    return lambda cell: cell if type(cell) in types else None


class Kind:
    """The kind of a column's or field's cells: how they are read, and written."""

    def __init__(self, logical, accepts, own, cell, write, text=None, is_no=None):
        self.logical, self.accepts, self.own, self.cell = logical, accepts, own, cell
        self.write, self.text, self.is_no = write, text, is_no or logical
        # The cell where there is none.
        self.nothing = ABSENT if logical == "value" else None

    def read(self, logical, column, wrong):
        """The cells of a column of another logical type; what is of another kind is `wrong`."""
        if logical == "value" and self.logical != "value":
            return _each(_dynamic(column, wrong), wrong, self.cell)
        if self.text is not None and logical in TEXTS:
            return _each(_texts(column), wrong, self.text)
        return self.own(column, wrong)

    def passes(self, logical, column):
        """Whether a column is a field of this kind as it stands."""
        if self.logical == "boolean":
            return False
        if self.logical == "decimal":
            return logical == "decimal" and isinstance(column.values, Buffer_Bytes)
        if self.logical == "text":
            return logical in self.accepts
        return logical == self.logical or (self.logical, logical) == ("timestamp", "datetime")


def _own_decimal(column, wrong):
    if isinstance(column.values, Buffer_Bytes):
        return _each(_texts(column), wrong, values.decimal_of)
    return _each(_counts(column), wrong, Decimal)


def _cell_integer(cell):
    return cell if type(cell) is int and I64_MIN <= cell <= I64_MAX else None


def _cell_decimal(cell):
    if type(cell) is int:
        return Decimal(cell)
    return cell if isinstance(cell, Decimal) else None


KINDS = {kind.logical: kind for kind in (
    Kind("boolean", ["integer", "boolean"],
         lambda column, _: [None if cell is None else cell != 0 for cell in _counts(column)],
         _of_type(bool), _write_booleans),
    Kind("integer", ["integer"],
         lambda column, wrong: _each(_counts(column), wrong, _cell_integer),
         _cell_integer, _write_counts("integer")),
    Kind("decimal", ["decimal", "text"], _own_decimal, _cell_decimal, _write_decimals,
         text=values.decimal_of),
    Kind("float", ["float"], lambda column, _: _counts(column), _of_type(float), _write_floats,
         is_no="floating-point number"),
    Kind("text", list(TEXTS), lambda column, _: _texts(column), _of_type(str), _write_texts("text")),
    Kind("binary", ["binary"], lambda column, _: _bytes(column), _of_type(bytes), _write_bytes),
    Kind("json", ["json", "text"], lambda column, _: _texts(column), _of_type(str),
         _write_texts("json")),
    Kind("value", ["value"], _dynamic, None, _write_values),
)}


def _moments(logical, read, accepts, is_no):
    def cell(found):
        if type(found) is str:
            return read(found)
        is_one = isinstance(found, Moment) and found.kind == logical
        return found.count if is_one else None

    KINDS[logical] = Kind(logical, accepts, lambda column, _: _counts(column), cell,
                          _write_counts(logical), text=read, is_no=is_no)


_moments("timestamp", values.timestamp_of, ["timestamp", "datetime", "text"], "time")
_moments("datetime", values.datetime_of, ["datetime", "text"], "local time")
_moments("date", values.date_of, ["date", "text"], "date")
_moments("time", values.time_of, ["time", "text"], "time")


def kind_of(logical):
    """The kind of cells of a logical type."""
    kind = KINDS.get(base(logical))
    if kind is None:
        raise TypeError(f"there is no logical type `{logical}`")
    return kind


def take(column, kept):
    """The rows of a column that are kept."""
    validity = column.validity
    if validity:
        bits = bytearray((len(kept) + 7) // 8)
        for at, row in enumerate(kept):
            bits[at >> 3] |= int(bit(validity, row)) << (at & 7)
        validity = bytes(bits)
    held = column.values
    if not isinstance(held, Buffer_Bytes):
        return Column(validity, type(held)([held.value[row] for row in kept]))
    offsets, data = held.value.offsets, held.value.data
    return _pack([data[offsets[row]:offsets[row + 1]] for row in kept], validity)
