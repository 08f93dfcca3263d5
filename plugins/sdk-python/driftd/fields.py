"""Entity types as rules and locators see them: their fields, by name."""

from componentize_py_types import Err
from wit_world.imports.types import Issue

from . import columns
from .rows import Column

TYPES = tuple(columns.KINDS)


def issue(message, help=None):
    """A fault in the configuration, or in what is to be mapped."""
    return Issue("", message, help)


def told(of):
    """Names that were there to choose from."""
    return f"it has {', '.join(f'`{one.name}`' for one in of)}"


def add_types(of):
    """A method for each logical type, which names a column or field."""
    for type in TYPES:
        setattr(of, type, lambda self, name, type=type: self.column(name, type))


class Fields:
    """An entity type, for the rules and locators that are about it."""

    def __init__(self, rules, index, entity):
        self.rules, self.index, self.entity = rules, index, entity

    def column(self, name, type):
        """A field, read as a logical type."""
        kind = columns.kind_of(type)
        for index, field in enumerate(self.entity.fields):
            if field.name == name:
                break
        else:
            what = f"entity type `{self.entity.name}` has no field `{name}`"
            raise Err([issue(what, told(self.entity.fields))])
        logical, known = columns.base(field.type), field.kind
        if logical not in kind.accepts and logical != "value":
            self.rules.issues.append(issue(
                f"field `{name}` is of type {logical}, and is read as {type}",
                columns.to_read(name, type, logical),
            ))
        # Of a sign that is lost or was never there it would be told only when such a number comes.
        elif kind.logical == known.logical == "integer" and kind is not known:
            self.rules.issues.append(issue(
                f"field `{name}` is {known.name}, and is read as {type}",
                f'write `.{known.name}("{name}")`, as in the plan',
            ))
        return Column(self.entity, kind, logical, index, name)


add_types(Fields)
