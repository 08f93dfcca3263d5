"""Columns of a batch: how the cells of each logical type are read from every layout that they come in,
and written. What is read of another kind than it was asked for costs its row."""

import re
from decimal import Decimal

from wit_world.imports.types import (
    Buffer_Bytes, Buffer_Float64, Buffer_Int64, Buffer_Uint64, Column, VarBytes,
)

from . import values
from .documents import is_json
from .values import I64_MAX, I64_MIN, U64_MAX, Malformed, Moment

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
    """`read` of what is there; what it gives None for is wrong, or what `wrong.of` says of it."""
    def one(cell):
        if cell is None or cell is ABSENT:
            return None
        if cell is wrong:
            return wrong
        found = read(cell)
        if found is None:
            return getattr(wrong, "of", lambda cell: None)(cell) or wrong
        return found

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


def _write_unsigned(cells):
    _checked(cells, "unsigned", (int,))
    numbers = [0 if cell is None else cell for cell in cells]
    if any(not 0 <= number <= U64_MAX for number in numbers):
        raise TypeError("a field of type unsigned holds 0 to 2**64 - 1")
    return Column(_validity(cells), Buffer_Uint64(numbers))


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

    def __init__(self, logical, accepts, own, cell, write, text=None, is_no=None, name=None):
        self.logical, self.accepts, self.own, self.cell = logical, accepts, own, cell
        self.write, self.text, self.is_no = write, text, is_no or logical
        self.name = name or logical
        # The cell where there is none.
        self.nothing = ABSENT if logical == "value" else None

    def read(self, logical, column, wrong):
        """The cells of a column of another logical type; what is of another kind is `wrong`."""
        if logical == "value" and self.logical != "value":
            return _each(_dynamic(column, wrong), wrong, self.cell)
        if self.text is not None and logical in TEXTS and logical != self.name:
            return _each(_texts(column), wrong, self.text)
        return self.own(column, wrong)

    def passes(self, logical, column):
        """Whether a column is a field of this kind as it stands."""
        if self.logical == "boolean":
            return False
        # A number that the kind does not hold is told with what reads it.
        if self.logical == "integer":
            layout = Buffer_Uint64 if self.name == "unsigned" else Buffer_Int64
            return logical == "integer" and isinstance(column.values, layout)
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


def _cell_unsigned(cell):
    whole = values.whole_in(cell)
    return whole if whole is not None and 0 <= whole <= U64_MAX else None


def _cell_json(cell):
    return cell if type(cell) is str and is_json(cell) else None


def _cell_decimal(cell):
    if type(cell) is int:
        return Decimal(cell)
    return cell if isinstance(cell, Decimal) else None


KINDS = {kind.name: kind for kind in (
    Kind("boolean", ["integer", "boolean"],
         lambda column, _: [None if cell is None else cell != 0 for cell in _counts(column)],
         _of_type(bool), _write_booleans),
    Kind("integer", ["integer"],
         lambda column, wrong: _each(_counts(column), wrong, _cell_integer),
         _cell_integer, _write_counts("integer")),
    # A whole number that is never negative, such as an id of BIGINT UNSIGNED.
    Kind("integer", ["integer"],
         lambda column, wrong: _each(_counts(column), wrong, _cell_unsigned),
         _cell_unsigned, _write_unsigned, name="unsigned"),
    Kind("decimal", ["decimal", "text", "integer"], _own_decimal, _cell_decimal, _write_decimals,
         text=values.decimal_of),
    Kind("float", ["float", "float32"], lambda column, _: _counts(column), _of_type(float), _write_floats,
         is_no="floating-point number"),
    Kind("text", list(TEXTS), lambda column, _: _texts(column), _of_type(str), _write_texts("text")),
    Kind("binary", ["binary"], lambda column, _: _bytes(column), _of_type(bytes), _write_bytes),
    # What a store keeps as JSON is some; a text may be anything.
    Kind("json", ["json", "text"], lambda column, _: _texts(column), _cell_json,
         _write_texts("json"), text=_cell_json, is_no="json"),
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


def layout_of(logical):
    """The layout of a logical type, and what it means; None: there is no such type."""
    name = base(logical)
    if name in ("enum", "set"):
        return "text"
    if name == "float32":
        return "float"
    return name if name in KINDS and name != "unsigned" else None


PARSERS = {"integer": "parse_integer", "unsigned": "parse_unsigned", "decimal": "parse_decimal",
           "value": "parse_json"}


def to_read(name, kind, logical):
    """What to write where a column or field of a logical type was read as a kind that it is not."""
    is_text = logical in ("text", "enum", "set")
    if is_text and kind in PARSERS or (logical, kind) == ("json", "value"):
        return f'write `.{"text" if is_text else "json"}("{name}").{PARSERS[kind]}()`'
    if is_text:
        return f'write `.text("{name}")`'
    return (f'write `.{logical}("{name}")`, which reads it as what it is; '
            "`.map(..)` makes another kind of it")


def beyond(kind, cell):
    """Why a number is none of the kind `integer` or `unsigned`; None where it is no whole number."""
    whole = values.whole_in(cell)
    if whole is None:
        return None
    if kind == "integer" and 0 <= whole <= U64_MAX:
        return "is beyond 63 bits; read it as unsigned, or as decimal"
    if kind == "unsigned" and I64_MIN <= whole <= I64_MAX:
        return "is negative; read it as integer, or as decimal"
    return "is beyond 64 bits; read it as decimal"


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
