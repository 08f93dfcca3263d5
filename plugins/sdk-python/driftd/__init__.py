"""Plugins for driftd in Python: what is the same record in two stores that are built differently.

A mapping is a table of fields; for each, where it comes from in the source and where in the target.
README.md beside this package shows one. Rows are mapped column by column: a column that is a field as it
stands is handed on without being read.
"""

import json
import sys
import types
from decimal import Decimal

from componentize_py_types import Err
from wit_world.exports import invariants as wit_invariants
from wit_world.exports import lifecycle as wit_lifecycle
from wit_world.exports import mapping as wit
from wit_world.imports import host
from wit_world.imports.types import Error, Issue

from . import columns, values
from .columns import ABSENT
from .fields import Fields, add_types, issue, told
from .locating import Locators
from .rows import Column, Made, Reader, Rows, attempt, map_batch
from .values import JSON_NULL, CellSet, Moment, Reject, reject

__all__ = [
    "ABSENT", "CellSet", "Decimal", "JSON_NULL", "Moment", "Plugin", "Reject", "absent", "excluded",
    "reject",
]


class Plugin:
    """What a plugin is derived from: it gives itself a name, and `plan`, and what else it needs."""

    name = None
    version = "0.0.0"
    summary = ""
    config_schema = {"type": "object"}

    def __init__(self):
        self.config = {}
        self.planned = None
        self._rules = None
        self._locators = None

    def configure(self, config):
        """Looks at the plugin's own configuration; returns what is wrong, as (path, message) pairs."""
        return []

    def plan(self, plan):
        """Says what is compared."""
        raise NotImplementedError

    def rules(self, rules):
        """Declares invariants."""

    def locate(self, locators):
        """Says where the stores keep entities."""

    def ruled(self):
        """The rules, for the plan that was made."""
        if self._rules is None:
            self._rules = Rules(self.planned.entities if self.planned else [])
            self.rules(self._rules)
        return self._rules

    @classmethod
    def exports(cls):
        """The classes that a plugin's module must have: Lifecycle, Mapping, Invariants."""
        return cls.complete()[:3]

    @classmethod
    def complete(cls):
        """The same for the world `complete`: Lifecycle, Mapping, Invariants, Locating."""
        plugin = cls()

        class Lifecycle:
            @_guarded
            def describe(self):
                schema = json.dumps(cls.config_schema)
                return wit_lifecycle.Info(cls.name, cls.version, cls.summary, schema)

            @_guarded
            def init(self, config_json):
                plugin.config = json.loads(config_json)
                issues = [Issue(path, why, None) for path, why in plugin.configure(plugin.config)]
                if issues:
                    raise Err(issues)

        class Mapping:
            @_guarded
            def plan(self, pairing, source, target):
                plan = Plan(pairing, source, target)
                plugin.plan(plan)
                plan.refuse_unread()
                if plan.issues:
                    raise Err(plan.issues)
                # What is wrong with the locators is known now, and only here told with what to do.
                locators = Locators(plan)
                plugin.locate(locators)
                if locators.issues:
                    raise Err(locators.issues)
                plugin.planned, plugin._rules, plugin._locators = plan, None, locators
                return plan.made()

            @_guarded
            def map_batch(self, ctx, inputs):
                return map_batch(plugin.planned, ctx, inputs)

        class Invariants:
            @_guarded
            def declare(self, pairing):
                rules = plugin.ruled()
                if rules.issues:
                    raise Err(rules.issues)
                return [
                    wit_invariants.InvariantDef(
                        rule.id, rule.summary, rule.severity,
                        "pair" if rule.told is None else "partition",
                    )
                    for rule in rules.rules
                ]

            @_guarded
            def check_pairs(self, ctx, pairs):
                return _check_pairs(plugin.ruled(), ctx, pairs)

        class Accumulator:
            def __init__(self, invariant):
                self.invariant = invariant
                self.rule = plugin.ruled().rules[invariant]
                self.tally = Tally()

            @_guarded
            def push(self, ctx, pairs):
                for entity, push in self.rule.pushes:
                    if entity == pairs.entity:
                        for pair in _pairs_of(plugin.ruled(), ctx, pairs):
                            push(self.tally, pair)

            @_guarded
            def snapshot(self):
                return values.encode(self.tally.sums)

            @_guarded
            def merge(self, state):
                for name, number in values.decode(state).items():
                    self.tally.add(name, number)

            @_guarded
            def finish(self):
                messages = self.rule.told(self.tally) if self.rule.told else []
                return [
                    wit_invariants.Violation(self.invariant, None, message) for message in messages
                ]

        class Locating:
            @_guarded
            def locate(self, ctx, entity, items):
                return plugin._locators.located(ctx, entity, items)

            @_guarded
            def keys_of(self, ctx, relation, store_keys):
                return plugin._locators.keys_of(ctx, relation, store_keys)

        # A resource is looked for in a module that has the name of its interface.
        module = types.ModuleType("invariants")
        module.Accumulator = Accumulator
        sys.modules["invariants"] = module
        return Lifecycle, Mapping, Invariants, Locating


def _guarded(call):
    """An exception is a bug: it is told to the host, and costs this call."""
    def guarded(*args):
        try:
            return call(*args)
        except Err:
            raise
        except Reject as why:
            raise Err(Error("reject", why.message)) from why
        except Exception as error:
            # The innermost call; the module `traceback` would look for its source in a file.
            at = error.__traceback__
            while at.tb_next is not None:
                at = at.tb_next
            code = at.tb_frame.f_code
            place = f"{code.co_filename}:{at.tb_lineno}, in {code.co_name}"
            host.log(host.Level.ERROR, f"{type(error).__name__}: {error} ({place})")
            raise

    return guarded


# --- what a mapping is made of --------------------------------------------------------------------


class Plan:
    """A mapping in the making."""

    def __init__(self, pairing, source, target):
        self.pairing, self.issues, self.entities = pairing, [], []
        self.relations = {
            side: [Relation(self, side, at, schema) for at, schema in enumerate(schemas)]
            for side, schemas in (("source", source), ("target", target))
        }

    @property
    def source(self):
        """The source's relation; the first, where there are several."""
        return self._first("source")

    @property
    def target(self):
        """The target's relation; the first, where there are several."""
        return self._first("target")

    def _first(self, side):
        if not self.relations[side]:
            raise Err([issue(f"the {side} has no relation")])
        return self.relations[side][0]

    def relation(self, side, name):
        """A relation of a side by its name in the store."""
        for relation in self.relations[side]:
            if relation.schema.name == name:
                return relation
        names = ", ".join(f"`{relation.schema.name}`" for relation in self.relations[side])
        self.refuse(f"the {side} has no relation `{name}`", f"it has {names}")
        return self._first(side)

    def entity(self, name, source, target):
        """An entity type, of which each row of `source` and of `target` is one, unless said otherwise."""
        entity = Entity(self, name, source, target)
        self.entities.append(entity)
        return entity

    def refuse(self, why, help=None):
        """Refuses to map these relations, and says why."""
        self.issues.append(issue(why, help))

    def refuse_unread(self):
        """Refuses fields that come from nowhere."""
        for entity in self.entities:
            for side, of in entity.sides.items():
                unread = [field.name for field in entity.fields if field.readers[side] is None]
                if of.make is None and unread:
                    self.refuse(
                        f"field `{unread[0]}` of `{entity.name}` is read of nothing in the {side}",
                        "give it a reader, or make the entities of that side with `each`",
                    )

    def made(self):
        def side(name):
            relations = [
                wit.RelationPlan(
                    relation.position, relation.columns, relation.ignored, relation.groups
                )
                for relation in self.relations[name] if relation.columns
            ]
            return wit.SidePlan(relations, True)

        entities = [
            wit.EntityDef(entity.name, [
                wit.FieldDef(field.name, field.type, field.role, field.rules)
                for field in entity.fields
            ])
            for entity in self.entities
        ]
        return wit.MappingPlan(entities, side("source"), side("target"))


class Relation:
    """A relation of one side. A method for each logical type names a column and how it is read; a name
    that begins with a slash is a JSON pointer into an item."""

    def __init__(self, plan, side, position, schema):
        self.plan, self.side, self.position, self.schema = plan, side, position, schema
        self.columns, self.ignored, self.groups = [], [], []
        self.is_bound = False

    def column(self, name, type):
        """A column, read as a logical type."""
        kind = columns.kind_of(type)
        known = [column.logical for column in self.schema.columns if column.name == name]
        # A column that is missing altogether is told by the host, with the nearest names.
        logical = columns.base(known[0]) if known else "value"
        if logical not in kind.accepts and logical != "value":
            self.plan.refuse(
                f"column `{name}` of the {self.side} is of type {logical}; "
                f"this plugin can read {', '.join(kind.accepts)}",
                columns.to_read(name, type, logical),
            )
        return Column(self, kind, logical, self._position_of(name), name)

    def _position_of(self, name):
        if name not in self.columns:
            self.columns.append(name)
        return self.columns.index(name)

    def group_by(self, *names):
        """The columns whose values make a group: rows of all relations of this side with equal values
        arrive together. A column of another relation is then that of the row in the same group, and
        `row.all(column)` gives several."""
        self.groups = [self._position_of(name) for name in names]

    def must_belong(self):
        """Says that each row of this relation must belong to an entity. A relation that no entity is made
        of gives details to those of others in its groups; a row of it in whose group there is no other is
        nothing, unless this is said: then it cannot be mapped."""
        self.is_bound = True

    def ignore(self, *names):
        """Attributes that are known and left out on purpose; driftd reports any other."""
        self.ignored.extend(names)

    def read(self, type, make):
        """A cell of a logical type that a function makes of a row."""
        def read(rows):
            return [
                attempt(make, row) if rows.is_live(row.index) else None for row in rows.all()
            ]

        return Reader(columns.kind_of(type), read)


class Field:
    """A field in the making. A reader may be None on a side whose entities are made by `each`."""

    def __init__(self, plan, name, role, source, target):
        kind = (source or target).kind
        if source and target and source.kind is not target.kind:
            raise TypeError(
                f"field `{name}` is {source.kind.name} in the source "
                f"and {target.kind.name} in the target"
            )
        self.plan, self.name, self.role, self.kind, self.rules = plan, name, role, kind, []
        self.type = kind.logical
        self.readers = {"source": source, "target": target}

    def rule(self, rule):
        """A declared equivalence, such as `absent=null`."""
        self.rules.append(rule)
        return self

    def logical(self, other):
        """Another logical type of the same layout: `decimal(12,2)`, `enum`, `set`, `float32`."""
        if columns.layout_of(other) != self.kind.logical:
            self.plan.refuse(
                f"field `{self.name}` is read as {self.kind.name}, and is no {other}",
                f"read a {other} on both sides, or leave `.logical(..)` out",
            )
        self.type = other
        return self


class Entity:
    """An entity type in the making."""

    def __init__(self, plan, name, source, target):
        self.plan, self.name, self.fields = plan, name, []
        self.source, self.target = EntitySide(source), EntitySide(target)
        self.sides = {"source": self.source, "target": self.target}

    def field(self, role, name, source, target):
        """A field, where it comes from in the source and where in the target."""
        field = Field(self.plan, name, role, source, target)
        self.fields.append(field)
        return field

    def key(self, name, source, target):
        """Identifies the entity."""
        return self.field(wit.Role.KEY, name, source, target)

    def compared(self, name, source, target):
        """Must be the same on both sides."""
        return self.field(wit.Role.COMPARED, name, source, target)

    def version(self, name, source, target):
        """Grows with every change. Not compared."""
        return self.field(wit.Role.VERSION, name, source, target)

    def label(self, name, source, target):
        """Is counted by. Not compared."""
        return self.field(wit.Role.LABEL, name, source, target)

    def carried(self, name, source, target):
        """Serves key templates and rules. Not compared."""
        return self.field(wit.Role.CARRIED, name, source, target)


class EntitySide:
    """How an entity comes from one side."""

    def __init__(self, relation):
        self.relation = relation
        self.condition, self.otherwise, self.decide, self.make = None, "present", None, None

    def present_if(self, condition):
        """Rows for which it does not hold are out of scope, known by their key."""
        self.condition, self.otherwise = condition, "excluded"

    def only_if(self, condition):
        """Rows for which it does not hold are no such entity: their fields are not read."""
        self.condition, self.otherwise = condition, "other"

    def standing(self, decide):
        """What becomes of a row: "present", "absent", "excluded", or "other" where it is none."""
        self.decide = decide

    def each(self, make):
        """Entities of this side are made by hand: `make` gives none, one or several of a row, each a
        dict of fields by name; what it leaves out is null. `absent(fields)` and `excluded(fields)` give
        one that is not simply present. The fields' own readers of this side may be None, and its
        standing is not asked."""
        self.make = make


def absent(fields):
    """An entity that is made by hand, and counts as not there: expired, a tombstone."""
    return Made("absent", fields)


def excluded(fields):
    """An entity that is made by hand, and is out of scope."""
    return Made("excluded", fields)


add_types(Relation)

# --- rules ----------------------------------------------------------------------------------------


class Rules:
    """The rules of a plugin in the making."""

    def __init__(self, entities):
        self.entities, self.issues, self.rules = entities, [], []

    def entity(self, name):
        """The entity type of a name, whose fields are read like columns: `user.text("status")`."""
        for index, entity in enumerate(self.entities):
            if entity.name == name:
                return Fields(self, index, entity)
        raise Err([issue(f"there is no entity type `{name}`", told(self.entities))])

    def _rule(self, severity, of, id, summary):
        rule = Rule(severity, of.index, id, summary)
        self.rules.append(rule)
        return rule

    def info(self, of, id, summary):
        """A rule that is worth knowing of when it is broken."""
        return self._rule(wit_invariants.Severity.INFO, of, id, summary)

    def warning(self, of, id, summary):
        """A rule that is worth a look when it is broken."""
        return self._rule(wit_invariants.Severity.WARNING, of, id, summary)

    def error(self, of, id, summary):
        """A rule without which data is wrong."""
        return self._rule(wit_invariants.Severity.ERROR, of, id, summary)

    def critical(self, of, id, summary):
        """A rule without which data is wrong, and that is reason to stop."""
        return self._rule(wit_invariants.Severity.CRITICAL, of, id, summary)


class Rule:
    """A rule that has yet to be told what it checks."""

    def __init__(self, severity, entity, id, summary):
        self.severity, self.entity, self.id, self.summary = severity, entity, id, summary
        self.check, self.pushes, self.told = None, [], None

    def holds(self, test):
        """It must be true of the entity on every side that has it."""
        def check(pair):
            broken = [
                side for side in ("source", "target")
                if getattr(pair, side) is not None and not test(getattr(pair, side))
            ]
            return f"violated by the {' and the '.join(broken)}" if broken else None

        self.check = check

    def broken(self, tell):
        """It is broken where the function gives a message, which may hold values."""
        self.check = tell

    def over_all(self, push, finish):
        """It is about all pairs of a partition: `push` adds each to sums, `finish` gives messages."""
        self.pushes, self.told = [(self.entity, push)], finish

    def over(self, of, push):
        """It is about all pairs of a partition, of several entity types: `push` adds each of this type
        to sums; `over` adds another type, and `finish` gives messages."""
        self.pushes.append((of.index, push))
        return self

    def finish(self, finish):
        """Gives a message, which may hold values, for each thing that is wrong with the sums."""
        self.told = finish


class Pair:
    """An entity of both sides, aligned by its key."""

    __slots__ = ("source", "target")

    def __init__(self, source, target):
        self.source, self.target = source, target


class Tally:
    """Exact sums by name, which merge in any order. A name whose sum is nothing has none."""

    def __init__(self):
        self.sums = {}

    def add(self, name, number):
        """Adds an int or a Decimal."""
        total = self.sums.get(name, 0) + number
        # What sums to nothing is not kept, so what agrees takes no room.
        if total:
            self.sums[name] = total
        else:
            self.sums.pop(name, None)

    def get(self, name):
        """The sum of a name."""
        return self.sums.get(name, 0)

    def names(self):
        """Every name, in order."""
        return sorted(self.sums)


def _pairs_of(rules, ctx, pairs):
    of = rules.entities[pairs.entity]
    source = Rows(ctx.as_of, "source", of, pairs.source).all()
    target = Rows(ctx.as_of, "target", of, pairs.target).all()
    for row in range(pairs.source.rows):
        yield Pair(
            source[row] if columns.bit(pairs.source_present, row) else None,
            target[row] if columns.bit(pairs.target_present, row) else None,
        )


def _check_pairs(rules, ctx, pairs):
    violations = []
    for at, pair in enumerate(_pairs_of(rules, ctx, pairs)):
        for invariant, rule in enumerate(rules.rules):
            if rule.check is None or rule.entity != pairs.entity:
                continue
            try:
                message = rule.check(pair)
            except Reject as why:
                message = f"cannot be checked: {why.message}"
            if message is not None:
                violations.append(wit_invariants.Violation(invariant, at, message))
    return violations
