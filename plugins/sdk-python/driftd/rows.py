"""Rows: what is read of them, a column at a time, and the entities that they become."""

from wit_world.exports import mapping as wit
from wit_world.imports.types import Batch, Side

from . import columns, values
from .columns import ABSENT
from .documents import NoCell, cell_of
from .values import Reject, reject

SIDES = {Side.SOURCE: "source", Side.TARGET: "target"}


class Reader:
    """What a cell is made of. Reads all rows at once; a cell that cannot be read is a Reject among the
    others. A null stays null, unless a function over the whole row says otherwise."""

    def __init__(self, kind, make, label="a cell"):
        self.kind, self.make, self.label_of = kind, make, label

    def map(self, type, make):
        """What a function makes of a value, as a logical type; it may call `reject`."""
        kind = columns.kind_of(type)

        def read(rows):
            return [
                kind.nothing if cell is None or cell is ABSENT or not rows.is_live(row)
                else cell if isinstance(cell, Reject) else attempt(make, cell)
                for row, cell in enumerate(rows.cells(self))
            ]

        return Reader(kind, read, self.label_of)

    def text(self, make):
        """What a function makes of a value, as text."""
        return self.map("text", make)

    def after(self, prefix):
        """What follows a prefix, without which the row is refused."""
        refused = Reject(f"{self.label_of} does not begin with {prefix}")
        length = len(prefix)
        return self.map("text", lambda text: text[length:] if text.startswith(prefix) else refused)

    def starts_with(self, prefix):
        """Whether a text begins with a prefix; false where there is none."""
        def read(rows):
            return [
                cell if isinstance(cell, Reject) else cell is not None and cell.startswith(prefix)
                for cell in rows.cells(self)
            ]

        return Reader(columns.kind_of("boolean"), read)

    def _parsed(self, type, parse, refused):
        def read(cell):
            found = parse(cell)
            return refused if found is None else found

        return self.map(type, read)

    def parse_integer(self):
        """The whole number that a text is."""
        return self._digits("integer", values.whole_of)

    def parse_unsigned(self):
        """The whole number that a text is, which is never negative: an id of BIGINT UNSIGNED."""
        return self._digits("unsigned", values.unsigned_of)

    def _digits(self, kind, parse):
        def read(text):
            found = parse(text)
            if found is not None:
                return found
            # Only digits are a whole number: `7.0` and `7E0` are none.
            whole = int(text) if values.WHOLE.fullmatch(text) else None
            return Reject(f"{self.label_of} {columns.beyond(kind, whole) or 'is no integer'}")

        return self.map(kind, read)

    def parse_json(self):
        """The dynamically typed cell that a JSON text is: objects become dicts, numbers stay exact. The
        text `null` is JSON_NULL, which is no null; `.rule("json-null=null")` overlooks that."""
        def read(text):
            try:
                return cell_of(text)
            except NoCell as why:
                return Reject(f"{self.label_of} {why}")

        return self.map("value", read)

    def parse_decimal(self):
        """The exact number that a text is."""
        return self._parsed("decimal", values.decimal_of, Reject(f"{self.label_of} is no decimal"))

    def scaled(self, exponent):
        """The exact number that a whole one stands for: cents are `scaled(-2)`."""
        return self.map("decimal", lambda whole: values.scaled(whole, exponent))

    def seconds(self):
        """The instant that a number of seconds since 1970 is."""
        return self._instant(1_000_000)

    def millis(self):
        """The instant that a number of milliseconds since 1970 is."""
        return self._instant(1_000)

    def micros(self):
        """The instant that a number of microseconds since 1970 is."""
        return self._instant(1)

    def _instant(self, unit):
        def instant(count):
            micros = count * unit
            return micros if values.I64_MIN <= micros <= values.I64_MAX else None

        return self._parsed("timestamp", instant, Reject(f"{self.label_of} is out of range"))

    def or_reject(self, why):
        """Says in other words why a row cannot be mapped."""
        refused = Reject(why)

        def read(rows):
            return [refused if isinstance(cell, Reject) else cell for cell in rows.cells(self)]

        return Reader(self.kind, read, self.label_of)


def attempt(make, cell):
    """What a function makes, or why it refuses to."""
    try:
        return make(cell)
    except Reject as why:
        return why


class Column(Reader):
    """A column as it comes. `of` is what it is a column of: a relation, an entity type, a key."""

    def __init__(self, of, kind, logical, index, name):
        label = name[1:].replace("/", ".") if name.startswith("/") else name
        wrong = Reject(f"{label} is no {kind.is_no}")
        if kind.logical == "integer":
            def told(cell):
                why = columns.beyond(kind.name, cell)
                return why and Reject(f"{label} {why}")

            wrong.of = told

        def read(rows):
            if rows.of is not of:
                return self._joined(rows)
            return kind.read(logical, rows.columns[index], wrong)

        super().__init__(kind, read, label)
        self.of, self.logical, self.index = of, logical, index

    def _joined(self, rows):
        """For each row that of the one row of this column's relation in the same group."""
        def one(row):
            others = row.all(self)
            if len(others) > 1:
                return Reject(f"{self.label_of} is in {len(others)} rows of the group")
            return others[0].rows.cells(self)[others[0].index] if others else self.kind.nothing

        return [one(row) for row in rows.all()]


# --- rows to entities -----------------------------------------------------------------------------


class Rows:
    """The rows of one input, and what was read of them."""

    def __init__(self, as_of, side, of, batch, origin="", group=(), call=None):
        self.as_of, self.side, self.of, self.batch = as_of, side, of, batch
        self.origin, self.group = origin, group
        # The rows of each relation of the call.
        self.call = {} if call is None else call
        self.count, self.columns = batch.rows, batch.columns
        self.live, self.known, self.rows, self.groups, self.rejected = None, {}, None, None, {}

    def cells(self, reader):
        """What a reader makes of every row."""
        cells = self.known.get(reader)
        if cells is None:
            cells = self.known[reader] = reader.make(self)
        return cells

    def is_live(self, row):
        """Whether the fields of a row are read."""
        return self.live is None or self.live[row]

    def all(self):
        """Every row."""
        if self.rows is None:
            self.rows = [Row(self, index) for index in range(self.count)]
        return self.rows

    def only(self, live):
        """The same rows, of which only some are read."""
        if all(live):
            return self
        rows = Rows(
            self.as_of, self.side, self.of, self.batch, self.origin, self.group, self.call
        )
        rows.live = live
        return rows

    def within(self, group):
        """Every row of a group."""
        if self.groups is None:
            self.groups = {}
            for row, one in zip(self.all(), self.group):
                self.groups.setdefault(one, []).append(row)
        return self.groups.get(group, [])


class Row:
    """A row: `get` reads what a column or any other reader makes of it."""

    __slots__ = ("rows", "index")

    def __init__(self, rows, index):
        self.rows, self.index = rows, index

    def get(self, reader):
        """The value; None where there is none."""
        cell = self.rows.cells(reader)[self.index]
        if isinstance(cell, Reject):
            raise cell
        return None if cell is ABSENT else cell

    def need(self, reader):
        """The value; the row is refused where there is none."""
        cell = self.get(reader)
        return reject(f"{reader.label_of} is null") if cell is None else cell

    def all(self, column):
        """Every row of the column's relation in this row's group, as they came."""
        others = self.rows.call.get(column.of)
        return others.within(self.rows.group[self.index]) if others is not None else []

    @property
    def as_of(self):
        """When this check began. It may decide a standing, never a compared field."""
        return self.rows.as_of

    @property
    def side(self):
        """The side that it is of: "source" or "target"."""
        return self.rows.side

    @property
    def origin(self):
        """The shard or store that it comes from."""
        return self.rows.origin


def map_batch(plan, ctx, inputs):
    """The entities of all rows of a call."""
    side, call = SIDES[ctx.side], {}
    for given in inputs:
        of = plan.relations[side][given.relation]
        call[of] = Rows(ctx.as_of, side, of, given.rows, given.origin, given.group, call)
    made = []
    for index, entity in enumerate(plan.entities):
        rows = call.get(entity.sides[side].relation)
        if rows is not None:
            made.append(_Output(index, entity, side, rows))
    for rows in call.values():
        _claim([one for one in made if one.rows is rows], rows.count, rows.rejected)
    _refuse_orphans(call, {one.rows.of for one in made})
    for one in made:
        one.fill(side)
    # A row that cannot be mapped takes its group with it.
    lost, notes = set(), []
    for at, rows in enumerate(call.values()):
        for row, message in sorted(rows.rejected.items()):
            lost.add(rows.group[row])
            notes.append(wit.Note(at, row, "reject", message))
    return wit.Mapped([one.without(lost) for one in made], notes)


def _refuse_orphans(call, leading):
    """Rows that must belong to others, as their relation says, are refused where no other is in their
    group."""
    led = {group for of in leading for group in call[of].group}
    for of, rows in call.items():
        bound = of not in leading and of.is_bound
        for row, group in enumerate(rows.group if bound else ()):
            if group not in led:
                why = "belongs to no entity, and must: its group has no row that is one"
                rows.rejected.setdefault(row, why)


def sift(cells, rejected, nothing=None):
    """Takes what cannot be read out of cells; the first reason of a row is the one that is told."""
    sifted = list(cells)
    for row, cell in enumerate(cells):
        if isinstance(cell, Reject):
            rejected.setdefault(row, cell.message)
            sifted[row] = nothing
    return sifted


def _standings(of, rows, rejected):
    """What becomes of each row; None: it is left out."""
    if of.decide is not None:
        decided = sift([attempt(of.decide, row) for row in rows.all()], rejected)
        return ["other" if one is None else one for one in decided]
    if of.condition is None:
        return ["present"] * rows.count
    holds = sift(rows.cells(of.condition), rejected)
    return ["present" if one is True else of.otherwise for one in holds]


class Made:
    """An entity that is made by hand, and is not simply present."""

    def __init__(self, standing, fields):
        self.standing, self.fields = standing, fields


def _by_hand(make, entity, rows):
    """The entities that a function makes of each row: none, one or several."""
    origins, standings, cells = [], [], [[] for _ in entity.fields]
    known = {field.name for field in entity.fields}
    for row in rows.all():
        # A row that is refused half-way gives nothing, whatever it gave before.
        made = attempt(lambda row: list(make(row)), row)
        if isinstance(made, Reject):
            rows.rejected.setdefault(row.index, made.message)
            continue
        for one in made:
            one = one if isinstance(one, Made) else Made("present", one)
            for name in one.fields.keys() - known:
                raise KeyError(f"entity type {entity.name} has no field {name}")
            origins.append(row.index)
            standings.append(one.standing)
            for field, into in zip(entity.fields, cells):
                into.append(one.fields.get(field.name, field.kind.nothing))
    return origins, standings, [field.kind.write(one) for field, one in zip(entity.fields, cells)]


def _claim(made, count, rejected):
    """A row that is no entity of any type is excluded in the first; elsewhere it is left out."""
    if len(made) < 2:
        return
    whole = [one.standings for one in made if one.origins is None]
    by_hand = {row for one in made for row in one.origins or ()}
    for row in range(count):
        claimed = row in rejected or row in by_hand
        claimed = claimed or any(standings[row] != "other" for standings in whole)
        for which, standings in enumerate(whole):
            if standings[row] == "other" and (claimed or which > 0):
                standings[row] = None


def fill(reader, rows, rejected):
    """The column that a reader makes of the rows that are read."""
    if isinstance(reader, Column) and rows.live is None and reader.of is rows.of:
        column = rows.columns[reader.index]
        if reader.kind.passes(reader.logical, column):
            return column
    cells = rows.cells(reader)
    if rows.live is not None:
        cells = [cell if live else reader.kind.nothing for cell, live in zip(cells, rows.live)]
    return reader.kind.write(sift(cells, rejected, reader.kind.nothing))


STANDINGS = {
    "present": wit.Standing.PRESENT, "absent": wit.Standing.ABSENT,
    "excluded": wit.Standing.EXCLUDED, "other": wit.Standing.EXCLUDED,
}


class _Output:
    """The entities of a type, before those of lost groups are left out."""

    def __init__(self, index, entity, side, rows):
        self.index, self.entity, self.rows, self.columns = index, entity, rows, None
        # The row of each entity; None: each row is one.
        self.origins = None
        of = entity.sides[side]
        if of.make is not None:
            self.origins, self.standings, self.columns = _by_hand(of.make, entity, rows)
        else:
            self.standings = _standings(of, rows, rows.rejected)

    def fill(self, side):
        """Reads the fields, unless the entities were made by hand."""
        if self.origins is None:
            alive = self.rows.only([one not in ("other", None) for one in self.standings])
            self.columns = [
                fill(field.readers[side], alive, self.rows.rejected) for field in self.entity.fields
            ]

    def without(self, lost):
        """What is left, by ascending group."""
        group = list(self.rows.group)
        if self.origins is not None:
            group = [group[row] for row in self.origins]
        ascends = all(one <= two for one, two in zip(group, group[1:]))
        if not lost and ascends and None not in self.standings:
            standing = [STANDINGS[one] for one in self.standings]
            return wit.Output(self.index, Batch(len(group), self.columns), group, standing)
        kept = [
            at for at, one in enumerate(group) if self.standings[at] is not None and one not in lost
        ]
        kept.sort(key=lambda at: group[at])
        items = Batch(len(kept), [columns.take(column, kept) for column in self.columns])
        standing = [STANDINGS[self.standings[at]] for at in kept]
        return wit.Output(self.index, items, [group[at] for at in kept], standing)
