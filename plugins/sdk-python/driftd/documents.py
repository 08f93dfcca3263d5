"""JSON texts as dynamically typed cells.

Numbers are as exact as they are written. What is no JSON for driftd is none here.
"""

import json
import re
from decimal import Decimal, InvalidOperation

from .values import JSON_NULL

# Arrays and objects within each other, beyond which driftd takes a text for none.
NESTED_MAX = 127
# The same beyond which bytes are no cell.
CELL_DEPTH_MAX = 64
STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.S)


class NoCell(Exception):
    """Why a text makes no cell."""


NO_JSON = "is no JSON"


def _depth(text):
    depth = most = 0
    for sign in re.findall(r"[\[\]{}]", STRING.sub("", text)):
        depth += 1 if sign in "[{" else -1
        most = max(most, depth)
    return most


def _constant(word):
    raise ValueError(f"{word} is no JSON")


def _checked(cell):
    """Half a character is none."""
    if isinstance(cell, str):
        cell.encode()
    elif isinstance(cell, list):
        for item in cell:
            _checked(item)
    elif isinstance(cell, dict):
        for key, value in cell.items():
            key.encode()
            _checked(value)


def _read(text, number):
    # Before it is read: the depth of what reads it is not bounded.
    if _depth(text) > NESTED_MAX:
        raise NoCell(NO_JSON)
    try:
        cell = json.loads(text, parse_int=number, parse_float=number, parse_constant=_constant)
        _checked(cell)
    except (ValueError, RecursionError) as error:
        raise NoCell(NO_JSON) from error
    return cell


def is_json(text):
    """Whether a text is JSON."""
    try:
        _read(text, lambda number: None)
    except NoCell:
        return False
    return True


def _exact(text):
    """A number of at most 38 digits, zeros at its ends aside."""
    try:
        sign, digits, exponent = Decimal(text).as_tuple()
    except InvalidOperation as error:
        raise NoCell("has a number of more than 38 digits") from error
    written = "".join(map(str, digits)).lstrip("0")
    shortest = written.rstrip("0")
    exponent += len(written) - len(shortest)
    if len(shortest) > 38 or abs(exponent) > 2 ** 31 - 1:
        raise NoCell("has a number of more than 38 digits")
    if not shortest:
        return 0
    if 0 <= exponent < 40:
        return int(("-" if sign else "") + shortest) * 10 ** exponent
    return Decimal((sign, tuple(map(int, shortest)), exponent))


def cell_of(text):
    """The cell that a JSON text is; raises NoCell where it is none. The text `null` is JSON_NULL."""
    if _depth(text) > CELL_DEPTH_MAX:
        raise NoCell("is nested too deeply" if is_json(text) else NO_JSON)
    cell = _read(text, _exact)
    return JSON_NULL if cell is None else cell
