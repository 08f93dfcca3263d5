"""Where the stores keep entities: entities to store keys, and store keys to entity keys."""

from componentize_py_types import Err
from wit_world.exports import mapping as wit
from wit_world.imports.types import Batch

from . import columns
from .fields import Fields, add_types, issue, told
from .keys import KeyColumn, parts, refuse
from .rows import SIDES, Column, Rows, attempt, fill, sift
from .values import Reject

try:
    from wit_world.exports.locating import Located
except ImportError:
    # The plugin's world has no locating, so nobody asks.
    Located = None


class Locators:
    """Where the stores keep entities, in the making. A place is a side, or a side and a relation's
    name."""

    def __init__(self, plan):
        self.plan, self.entities = plan, plan.entities
        self.issues, self.locators, self.identities = [], [], []

    def entity(self, name):
        """The entity type of a name, whose fields are read like columns: `order.integer("id")`."""
        for index, entity in enumerate(self.entities):
            if entity.name == name:
                return Fields(self, index, entity)
        raise Err([issue(f"there is no entity type `{name}`", told(self.entities))])

    def _at(self, place):
        side, name = (place, None) if isinstance(place, str) else place
        relations = self.plan.relations[side]
        here = [relation for relation in relations if name in (None, relation.schema.name)]
        if len(here) != 1:
            what = "several relations: name one" if name is None else f"no relation `{name}`"
            self.issues.append(issue(f"the {side} has {what}"))
        return (here or relations)[0]

    def get(self, of, place, keys):
        """Entities are got by their full keys: `keys` gives a list of them, each a tuple of its
        columns."""
        relation = self._at(place)
        self.locators.append((of.index, relation, "get", len(relation.schema.key), keys))

    def query(self, of, place, width, keys):
        """Entities are all rows under the first columns of a key, which are equal; with all columns the
        last, if it is text or binary, is a prefix. `keys` gives a list of these, each a tuple."""
        relation = self._at(place)
        most = len(relation.schema.key)
        if not 1 <= width <= most:
            self.issues.append(issue(f"a query by {width} columns of a key of {most}"))
        self.locators.append((of.index, relation, "query", width, keys))

    def key(self, place):
        """The key of a relation, whose columns are read like those of a row."""
        return StoreKey(self, self._at(place))

    def located(self, ctx, entity, items):
        """The keys that entities are looked for by."""
        side = SIDES[ctx.side]
        rows, located = Rows(ctx.as_of, side, self.entities[entity], items), []
        for of, relation, access, width, keys in self.locators:
            if of != entity or relation.side != side:
                continue
            schema = relation.schema
            made = [KeyColumn(schema.name, schema.columns[at]) for at in schema.key[:width]]
            origins = []
            for row in rows.all():
                found = attempt(keys, row)
                # One that is refused is located nowhere.
                for key in () if isinstance(found, Reject) else found:
                    if len(key) != width:
                        names = ", ".join(column.name for column in made)
                        refuse(
                            f"{schema.name}-key-of-{len(key)}-columns",
                            f"a key of `{schema.name}` has the columns {names}, "
                            f"and {len(key)} were given",
                        )
                    for column, cell in zip(made, key):
                        column.push(cell)
                    origins.append(row.index)
            for kept in parts(made, len(origins)):
                batch = Batch(len(kept), [column.taken(kept) for column in made])
                of_entity = [origins[at] for at in kept]
                located.append(Located(relation.position, access, batch, of_entity))
        return located

    def keys_of(self, ctx, relation, keys):
        """The keys of the entities that store keys tell of."""
        of = self.plan.relations[SIDES[ctx.side]][relation]
        return [
            identity.output(self.entities[identity.entity], ctx, keys)
            for identity in self.identities if identity.key.relation is of
        ]


class StoreKey:
    """The key of a relation, as a store has it."""

    def __init__(self, locators, relation):
        self.locators, self.relation = locators, relation

    def column(self, name, type):
        """A column of the key, read as a logical type."""
        schema, kind = self.relation.schema, columns.kind_of(type)
        known = [schema.columns[at] for at in schema.key]
        for index, column in enumerate(known):
            if column.name != name:
                continue
            logical = columns.base(column.logical)
            if logical not in kind.accepts and logical != "value":
                self.locators.issues.append(issue(
                    f"key column `{name}` of `{schema.name}` is {logical}, and is read as {type}",
                    columns.to_read(name, type, logical),
                ))
            return Column(self, kind, logical, index, name)
        what = f"the key of `{schema.name}` has no column `{name}`"
        names = ", ".join(column.name for column in known)
        raise Err([issue(what, f"at the {self.relation.side} it has {names}")])

    def identifies(self, of):
        """Says that the key tells the key of an entity."""
        identity = KeyOf(self, of.index)
        self.locators.identities.append(identity)
        return identity


add_types(StoreKey)


class KeyOf:
    """How a store's key tells the key of an entity."""

    def __init__(self, key, entity):
        self.key, self.entity, self.readers, self.condition = key, entity, {}, None

    def field(self, name, reader):
        """A field of the entity's key."""
        locators = self.key.locators
        entity = locators.entities[self.entity]
        known = [field.kind for field in entity.fields if field.name == name]
        if not known:
            what = f"entity type `{entity.name}` has no field `{name}`"
            locators.issues.append(issue(what, told(entity.fields)))
        elif known[0].logical != reader.kind.logical:
            locators.issues.append(issue(
                f"field `{name}` is {known[0].name}, and the key gives {reader.kind.name} for it",
                f"read the key's column as {known[0].name}, or make one of it: "
                "`.map(..)`, `.parse_..()`",
            ))
        self.readers[name] = reader
        return self

    def only_if(self, condition):
        """Keys for which it does not hold are of something else."""
        self.condition = condition
        return self

    def output(self, entity, ctx, keys):
        """The entities' keys; a store key that is no such entity's is left out."""
        rows, rejected = Rows(ctx.as_of, SIDES[ctx.side], self.key, keys), {}
        live = [True] * rows.count
        if self.condition is not None:
            live = [one is True for one in sift(rows.cells(self.condition), rejected)]
        alive, made = rows.only(live), []
        for field in entity.fields:
            reader = self.readers.get(field.name)
            nothing = [field.kind.nothing] * rows.count
            made.append(
                field.kind.write(nothing) if reader is None else fill(reader, alive, rejected)
            )
        kept = [row for row in range(rows.count) if live[row] and row not in rejected]
        items = Batch(len(kept), [columns.take(column, kept) for column in made])
        return wit.Output(self.entity, items, kept, [wit.Standing.PRESENT] * len(kept))
