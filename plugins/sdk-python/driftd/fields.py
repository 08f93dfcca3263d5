"""Entity types as rules and locators see them: their fields, by name."""

from componentize_py_types import Err
from wit_world.imports.types import Issue

from . import columns
from .rows import Column

TYPES = tuple(columns.KINDS)


def issue(message, help=None):
    """A fault in the configuration, or in what is to be mapped."""
    return Issue("", message, help)


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
            raise Err([issue(f"entity type `{self.entity.name}` has no field `{name}`")])
        logical = field.kind.logical
        if logical not in kind.accepts and logical != "value":
            self.rules.issues.append(
                issue(f"field `{name}` is of type {logical}, and is read as {type}")
            )
        return Column(self.entity, kind, logical, index, name)


add_types(Fields)
