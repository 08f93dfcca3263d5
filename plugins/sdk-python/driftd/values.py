"""What a cell is in Python, and how dynamically typed cells are read and written.

Exact numbers are exact: a whole number is an int, a decimal a decimal.Decimal, and a float is a binary
floating-point number and nothing else. Dates and times are ints that count as the contract does: days,
or microseconds.
"""

import datetime
import decimal
import re
import struct
from decimal import Decimal

# What cannot be exact is refused rather than rounded.
decimal.DefaultContext.prec = 200
decimal.DefaultContext.traps[decimal.Inexact] = True
decimal.setcontext(decimal.DefaultContext)

I64_MIN, I64_MAX = -(2 ** 63), 2 ** 63 - 1
U64_MAX = 2 ** 64 - 1
I128_MIN, I128_MAX = -(2 ** 127), 2 ** 127 - 1
DAY = 86_400_000_000


class Reject(Exception):
    """Why a row cannot be mapped: raised by what maps a row, or put in place of its cell."""

    @property
    def message(self):
        return str(self.args[0]) if self.args else ""


def reject(why):
    """Refuses the row that is being mapped."""
    raise Reject(why)


DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?")


def decimal_of(text):
    """Reads `-12.50` or `1E-7`; None where it is no decimal number within 38 digits."""
    if DECIMAL.fullmatch(text) is None:
        return None
    number = Decimal(text)
    return number if len(number.as_tuple().digits) <= 38 else None


def decimal_text(number):
    """A decimal as the contract has it."""
    if not number.is_finite():
        raise TypeError("a decimal is a finite number")
    _, digits, exponent = number.as_tuple()
    if -40 <= exponent <= 0:
        return format(number, "f")
    sign = "-" if number.is_signed() else ""
    return f"{sign}{''.join(map(str, digits))}E{exponent}"


def scaled(whole, exponent):
    """`whole` times ten to the power of `exponent`, exactly."""
    return Decimal(whole).scaleb(exponent)


WHOLE = re.compile(r"[+-]?[0-9]{1,40}")


def whole_of(text):
    """Reads a whole number of 64 bits in decimal digits."""
    if WHOLE.fullmatch(text) is None:
        return None
    number = int(text)
    return number if I64_MIN <= number <= I64_MAX else None


def unsigned_of(text):
    """Reads a whole number of 64 bits without a sign in decimal digits."""
    if WHOLE.fullmatch(text) is None or text.startswith("-"):
        return None
    number = int(text)
    return number if number <= U64_MAX else None


def whole_in(cell):
    """The whole number that an int or a Decimal is; None where it is none."""
    if type(cell) is int:
        return cell
    if not isinstance(cell, Decimal) or not cell.is_finite():
        return None
    if not -200 < cell.adjusted() < 80 or cell != cell.to_integral_value():
        return None
    return int(cell)


EPOCH = datetime.date(1970, 1, 1).toordinal()
DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
STAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?"
    r"(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))?"
)
TIME = re.compile(r"(-?)([0-9]{2,6}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?")


def _days(year, month, day):
    try:
        return datetime.date(int(year), int(month), int(day)).toordinal() - EPOCH
    except ValueError:
        return None


def date_of(text):
    """Reads `2024-01-02` as days since 1970-01-01."""
    parts = DATE.fullmatch(text)
    return _days(*parts.groups()) if parts else None


def _of_day(hour, minute, second, fraction):
    seconds = (int(hour) * 60 + int(minute)) * 60 + int(second)
    return seconds * 1_000_000 + (int(fraction.ljust(6, "0")) if fraction else 0)


def _stamp(text):
    parts = STAMP.fullmatch(text)
    if parts is None:
        return None
    year, month, day, hour, minute, second, fraction, zulu, sign, hours, minutes = parts.groups()
    days = _days(year, month, day)
    if days is None or hour > "23" or minute > "59" or second > "59":
        return None
    micros = days * DAY + _of_day(hour, minute, second, fraction)
    if sign is None:
        return micros, zulu is None
    if hours > "23" or minutes > "59":
        return None
    offset = (int(hours) * 60 + int(minutes)) * 60_000_000
    return (micros + offset if sign == "-" else micros - offset), False


def timestamp_of(text):
    """Reads RFC 3339 as microseconds since 1970; text without an offset is taken for UTC."""
    stamp = _stamp(text)
    return stamp[0] if stamp else None


def datetime_of(text):
    """Reads `2024-01-02T03:04:05.5`, which has no offset, as microseconds."""
    stamp = _stamp(text)
    return stamp[0] if stamp and stamp[1] else None


def time_of(text):
    """Reads `-30:00:01.25` as microseconds."""
    parts = TIME.fullmatch(text)
    if parts is None:
        return None
    sign, hour, minute, second, fraction = parts.groups()
    if minute > "59" or second > "59":
        return None
    micros = _of_day(hour, minute, second, fraction)
    return -micros if sign else micros


# --- dynamically typed cells ----------------------------------------------------------------------
#
# None, a bool, an int, a Decimal, a float, a str, bytes, a Moment, a list, a CellSet, a dict with
# texts for keys, or JSON_NULL.


class JsonNull:
    """The JSON document `null`, which is no null of a store."""

    def __repr__(self):
        return "JSON_NULL"


JSON_NULL = JsonNull()


class Moment:
    """A date or time in a dynamically typed cell: `kind` is date, time, datetime or timestamp."""

    __slots__ = ("kind", "count")

    def __init__(self, kind, count):
        self.kind, self.count = kind, count

    def __eq__(self, other):
        return isinstance(other, Moment) and (self.kind, self.count) == (other.kind, other.count)

    def __hash__(self):
        return hash((self.kind, self.count))

    def __repr__(self):
        return f"Moment({self.kind!r}, {self.count})"


class CellSet(list):
    """A set, whose members may be anything that a cell may be."""


class Malformed(Exception):
    """Bytes are no cell."""


# Deeper than any item of a store.
DEPTH_MAX = 64


def decode(data, start=0, end=None):
    """The cell that these bytes of deterministic CBOR are."""
    end = len(data) if end is None else end
    try:
        cell, at = _cell(data, start, end, 0)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
        raise Malformed from error
    if at != end:
        raise Malformed
    return cell


def _head(data, at):
    first = data[at]
    info = first & 0x1F
    if info < 24:
        return first >> 5, info, at + 1
    if info > 27:
        raise Malformed
    end = at + 1 + (1 << (info - 24))
    if end > len(data):
        raise Malformed
    return first >> 5, int.from_bytes(data[at + 1:end], "big"), end


def _cell(data, at, end, depth):
    if depth > DEPTH_MAX or at >= end:
        raise Malformed
    first = data[at]
    major, argument, at = _head(data, at)
    if major == 0:
        return argument, at
    if major == 1:
        return -1 - argument, at
    if major in (2, 3):
        after = at + argument
        if after > end:
            raise Malformed
        taken = data[at:after]
        return (str(taken, "utf-8") if major == 3 else bytes(taken)), after
    if major == 4:
        items = []
        for _ in range(argument):
            item, at = _cell(data, at, end, depth + 1)
            items.append(item)
        return items, at
    if major == 5:
        entries = {}
        for _ in range(argument):
            key, at = _cell(data, at, end, depth + 1)
            entries[key], at = _cell(data, at, end, depth + 1)
        return entries, at
    if major == 6:
        inner, at = _cell(data, at, end, depth + 1)
        return _tagged(argument, inner), at
    if first in SIMPLE:
        return SIMPLE[first], at
    if first in FLOATS:
        layout = FLOATS[first]
        return struct.unpack_from(layout, data, at - struct.calcsize(layout))[0], at
    raise Malformed


SIMPLE = {0xF4: False, 0xF5: True, 0xF6: None}
FLOATS = {0xF9: ">e", 0xFA: ">f", 0xFB: ">d"}


def _tagged(tag, inner):
    if tag == 2:
        return int.from_bytes(inner, "big")
    if tag == 3:
        return -1 - int.from_bytes(inner, "big")
    if tag == 4:
        exponent, mantissa = inner
        return scaled(mantissa, exponent)
    if tag == 258 and isinstance(inner, list):
        return CellSet(inner)
    if tag == 1001:
        return Moment("timestamp", inner[1] * 1_000_000 + inner.get(-6, 0))
    if tag == 55040 and inner is None:
        return JSON_NULL
    if tag in MOMENTS:
        return Moment(MOMENTS[tag], int(inner))
    if tag == 55043:
        # No calendar date: counted from the smallest number.
        if len(inner) == 1:
            return Moment("date", I64_MIN + inner[0])
        day, micros = inner
        return Moment("datetime", I64_MIN + day * DAY + micros)
    raise Malformed


MOMENTS = {100: "date", 55041: "datetime", 55042: "time"}


def encode(cell):
    """A cell as deterministic CBOR."""
    out = bytearray()
    _write(out, cell)
    return bytes(out)


def _put(out, major, argument):
    if argument < 24:
        out.append(major << 5 | argument)
        return
    for power in range(4):
        if argument < 1 << (8 << power):
            out.append(major << 5 | 24 + power)
            out += argument.to_bytes(1 << power, "big")
            return
    raise TypeError("a cell is too long")


def _whole(out, number):
    major, size = (1, -1 - number) if number < 0 else (0, number)
    if size < 1 << 64:
        _put(out, major, size)
    else:
        _put(out, 6, 2 + major)
        _write(out, size.to_bytes((size.bit_length() + 7) // 8, "big"))


def _write(out, cell):
    if cell is None:
        out.append(0xF6)
    elif isinstance(cell, bool):
        out.append(0xF5 if cell else 0xF4)
    elif isinstance(cell, int):
        _number(out, cell, 0)
    elif isinstance(cell, float):
        _float(out, cell)
    elif isinstance(cell, str):
        text = cell.encode()
        _put(out, 3, len(text))
        out += text
    elif isinstance(cell, (bytes, bytearray)):
        _put(out, 2, len(cell))
        out += cell
    elif isinstance(cell, Decimal):
        sign, digits, exponent = cell.as_tuple()
        mantissa = int("".join(map(str, digits)))
        _number(out, -mantissa if sign else mantissa, exponent)
    elif cell is JSON_NULL:
        _put(out, 6, 55040)
        out.append(0xF6)
    elif isinstance(cell, Moment):
        _moment(out, cell)
    elif isinstance(cell, CellSet):
        members = sorted({encode(member) for member in cell})
        _put(out, 6, 258)
        _put(out, 4, len(members))
        out += b"".join(members)
    elif isinstance(cell, (list, tuple)):
        _put(out, 4, len(cell))
        for item in cell:
            _write(out, item)
    elif isinstance(cell, dict):
        entries = sorted((encode(str(key)), encode(value)) for key, value in cell.items())
        _put(out, 5, len(entries))
        for key, value in entries:
            out += key + value
    else:
        raise TypeError(f"{type(cell).__name__} is nothing that a cell may be")


def _number(out, mantissa, exponent):
    if mantissa == 0:
        exponent = 0
    while mantissa != 0 and mantissa % 10 == 0 and exponent < 0:
        mantissa, exponent = mantissa // 10, exponent + 1
    if 0 <= exponent < 40 and I128_MIN <= mantissa * 10 ** exponent <= I128_MAX:
        return _whole(out, mantissa * 10 ** exponent)
    while mantissa % 10 == 0:
        mantissa, exponent = mantissa // 10, exponent + 1
    _put(out, 6, 4)
    _put(out, 4, 2)
    _whole(out, exponent)
    _whole(out, mantissa)


def _float(out, number):
    if number != number:
        out += b"\xf9\x7e\x00"
        return
    number = number or 0.0
    for first, layout in FLOATS.items():
        try:
            packed = struct.pack(layout, number)
        except OverflowError:
            continue
        if struct.unpack(layout, packed)[0] == number:
            out.append(first)
            out += packed
            return


def _moment(out, moment):
    kind, count = moment.kind, moment.count
    packed = count - I64_MIN
    if kind == "timestamp":
        seconds, micros = divmod(count, 1_000_000)
        _put(out, 6, 1001)
        _put(out, 5, 2 if micros else 1)
        _whole(out, 1)
        _whole(out, seconds)
        if micros:
            _whole(out, -6)
            _whole(out, micros)
    elif kind == "date" and packed < 100_000_000:
        _put(out, 6, 55043)
        _write(out, [packed])
    elif kind == "datetime" and packed < 100_000_000 * DAY:
        _put(out, 6, 55043)
        _write(out, list(divmod(packed, DAY)))
    else:
        _put(out, 6, next(tag for tag, name in MOMENTS.items() if name == kind))
        _whole(out, count)
