"""Columns of store keys: what is given becomes what the column is.

Any whole number is one for a column of integers, signed or not; a whole or exact number for one of decimals;
and for any other what it holds. A value that the column cannot hold at all, such as a fraction where it holds
integers, is the key of no row. A value of another kind is a mistake of the plugin: the call fails with the
column and what to write.
"""

import re
from decimal import Decimal

from componentize_py_types import Err
from wit_world.imports.types import Error

from . import columns, values
from .columns import ABSENT
from .values import I64_MAX, I64_MIN, U64_MAX, Moment


def refuse(code, message):
    """Fails the call. The code says what matters, because a message is kept out of logs."""
    raise Err(Error(re.sub(r"[^A-Za-z0-9_.-]", "-", code), message))


def is_wide(cell):
    """Whether a whole number is beyond 63 bits."""
    return type(cell) is int and cell > I64_MAX


class NotOfColumn(Exception):
    """A cell is of a kind that the column never holds."""


def _integer(cell):
    if type(cell) is not int and not isinstance(cell, Decimal):
        raise NotOfColumn
    whole = values.whole_in(cell)
    return whole if whole is not None and I64_MIN <= whole <= U64_MAX else None


def _decimal(cell):
    if type(cell) is int:
        return Decimal(cell)
    return _of_type(Decimal)(cell)


def _boolean(cell):
    if type(cell) is int:
        return bool(cell) if cell in (0, 1) else None
    return _of_type(bool)(cell)


def _text(cell):
    if isinstance(cell, (bytes, bytearray)):
        try:
            return str(cell, "utf-8")
        except UnicodeDecodeError:
            return None
    return _of_type(str)(cell)


def _binary(cell):
    return cell.encode() if isinstance(cell, str) else bytes(_of_type(bytes, bytearray)(cell))


def _of_type(*types):
    def of(cell):
        if type(cell) not in types:
            raise NotOfColumn
        return cell

    return of


def _counted(kind):
    def of(cell):
        if isinstance(cell, Moment) and cell.kind == kind:
            return cell.count
        return _of_type(int)(cell)

    return of


FORMS = {
    "integer": ("an int, or a Decimal that is a whole number", _integer),
    "decimal": ("a Decimal or an int", _decimal),
    "boolean": ("a bool", _boolean),
    "float": ("a float", _of_type(float)),
    "text": ('a text: f"{id}"', _text),
    "json": ('a text: f"{id}"', _text),
    "binary": ("bytes", _binary),
    "timestamp": ("an int of microseconds", _counted("timestamp")),
    "datetime": ("an int of microseconds", _counted("datetime")),
    "date": ("an int of days", _counted("date")),
    "time": ("an int of microseconds", _counted("time")),
    "value": ("what the column holds", lambda cell: cell),
}
NAMES = {bool: "boolean", int: "integer", float: "float", str: "text", bytes: "binary",
         bytearray: "binary", Decimal: "decimal", list: "list", dict: "map"}


class KeyColumn:
    """A column of store keys in the making."""

    def __init__(self, table, column):
        self.table, self.name, self.logical = table, column.name, columns.base(column.logical)
        self.layout, self.cells = columns.layout_of(column.logical) or "value", []

    def push(self, cell):
        """Takes the column of one more key."""
        # Null is the key of no row.
        if cell is None or cell is ABSENT:
            self.cells.append(None)
            return
        write, of = FORMS[self.layout]
        try:
            self.cells.append(of(cell))
        except NotOfColumn:
            given = cell.kind if isinstance(cell, Moment) else NAMES.get(type(cell), type(cell).__name__)
            article = "an" if given[0] in "aeiou" else "a"
            refuse(
                f"{self.table}.{self.name}-is-{self.logical}-not-{given}",
                f"key column `{self.name}` of `{self.table}` is {self.logical}, "
                f"and {article} {given} was given: give {write}",
            )

    def fits_one_layout(self):
        """Whether one layout holds all: none holds negative numbers and such beyond 63 bits."""
        if self.layout != "integer":
            return True
        return not (any(map(is_wide, self.cells))
                    and any(cell is not None and cell < 0 for cell in self.cells))

    def taken(self, kept):
        """Those that are kept."""
        cells = [self.cells[at] for at in kept]
        kind = columns.kind_of(
            "unsigned" if self.layout == "integer" and any(map(is_wide, cells)) else self.layout
        )
        return kind.write([kind.nothing if cell is None else cell for cell in cells])


def parts(made, count):
    """The keys, in one part, or in several where no layout holds all whole numbers of a column."""
    if all(column.fits_one_layout() for column in made):
        return [list(range(count))]
    by_width = {}
    for at in range(count):
        wide = tuple(is_wide(column.cells[at]) for column in made)
        by_width.setdefault(wide, []).append(at)
    return list(by_width.values())
