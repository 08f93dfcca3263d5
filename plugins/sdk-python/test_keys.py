"""`python3 plugins/sdk-python/test_keys.py`: keys of every type, as `plugins/keys` maps, locates and
identifies them, on the fixtures of that plugin; and JSON texts."""

import pathlib
import sys
import unittest
from decimal import Decimal

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))

# It has the modules that are generated for a plugin.
import test_orders as shop  # noqa: E402
from driftd import JSON_NULL, Moment, Plugin, columns, documents, values  # noqa: E402

FIXTURES = HERE.parent / "keys" / "fixtures"
wit, mapping = shop.wit, shop.mapping

# For each type of a key: the entity type, which is the name of its table too, and its kind.
KINDS = {
    "integer": "integer", "unsigned": "unsigned", "decimal": "decimal", "whole": "decimal", "text": "text",
    "label": "text", "binary": "binary", "boolean": "boolean", "timestamp": "timestamp",
    "datetime": "datetime", "date": "date", "time": "time",
}


class Keys(Plugin):
    name = "keys"

    def plan(self, plan):
        item = plan.target
        pk = item.text("pk")
        for name, kind in KINDS.items():
            table = plan.relation("source", name)
            entity = plan.entity(name, table, item)
            entity.key("id", table.column("id", kind), item.column("id", kind))
            entity.compared("name", table.text("name"), item.text("name"))
            entity.target.only_if(pk.map("boolean", lambda pk, name=name: pk == name))
        pairs = plan.relation("source", "pair")
        pair = plan.entity("pair", pairs, item)
        pair.key("tenant", pairs.text("tenant"), item.text("tenant"))
        pair.key("id", pairs.unsigned("id"), item.text("number").parse_unsigned())
        pair.compared("name", pairs.text("name"), item.text("name"))
        pair.target.only_if(pk.map("boolean", lambda pk: pk == "pair"))

    def locate(self, locators):
        for name, kind in KINDS.items():
            entity = locators.entity(name)
            id = entity.column("id", kind)
            locators.get(entity, ("source", name), lambda row, id=id: [(row.get(id),)])
            locators.query(entity, "target", 1, lambda row, name=name: [(name,)])
            key = locators.key(("source", name))
            key.identifies(entity).field("id", key.column("id", kind))
        pair = locators.entity("pair")
        tenant, id = pair.text("tenant"), pair.unsigned("id")
        at = ("source", "pair")
        locators.get(pair, at, lambda row: [(row.need(tenant), row.need(id))])
        locators.query(pair, at, 2, lambda row: [(row.need(tenant), Decimal(row.need(id)))])
        locators.query(pair, "target", 1, lambda row: [("pair",)])
        key = locators.key(at)
        key.identifies(pair).field("tenant", key.text("tenant")).field("id", key.unsigned("id"))


def lines_of(name):
    return [documents.cell_of(line) for line in (FIXTURES / name).read_text().splitlines()]


SCHEMA = documents.cell_of((FIXTURES / "schema.json").read_text())
COUNTS = {"timestamp": values.timestamp_of, "datetime": values.datetime_of, "date": values.date_of,
          "time": values.time_of}


def count(kind, text):
    return values.I64_MIN if text.startswith("0000-00-00") else COUNTS[kind](text)


def cell(logical, given):
    """A cell in the notation of fixtures."""
    logical = columns.base(logical)
    if given is None:
        return None
    if logical == "decimal":
        return Decimal(given)
    if logical == "binary":
        return bytes.fromhex(given)
    if logical in COUNTS:
        return count(logical, given)
    if logical == "value" and isinstance(given, dict):
        [(tag, of)] = given.items()
        return bytes.fromhex(of) if tag == "$bytes" else Moment(tag[1:], count(tag[1:], of))
    return given


def column(logical, cells):
    """A column as a store has it: of whole numbers beyond 63 bits without a sign."""
    layout = columns.layout_of(logical)
    is_wide = layout == "integer" and any(one is not None and one > values.I64_MAX for one in cells)
    kind = columns.kind_of("unsigned" if is_wide else layout)
    return kind.write([kind.nothing if one is None else one for one in cells])


def batch(defs, rows):
    made = [column(logical, [cell(logical, row.get(name)) for row in rows]) for name, logical in defs]
    return wit.Batch(len(rows), made)


def held(logical, column, row):
    """What a row of a column holds, in a form that compares; no layout is the SDK's word alone."""
    if not columns.bit(column.validity, row):
        return None
    if not isinstance(column.values, wit.Buffer_Bytes):
        number = column.values.value[row]
        return number == 1 if columns.base(logical) == "boolean" else number
    offsets, data = column.values.value
    found = bytes(data[offsets[row]:offsets[row + 1]])
    return Decimal(found.decode()) if columns.base(logical) == "decimal" else found


def golden(logical, given):
    """The same of a cell of a golden file."""
    one = cell(logical, given)
    return one.encode() if isinstance(one, str) else one


class KeysOfEveryType(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        def table(given):
            defs = [
                wit.ColumnDef(name, logical, name not in given["key"])
                for name, logical in given["columns"].items()
            ]
            names = [one.name for one in defs]
            return wit.TableSchema(given["name"], defs, [names.index(key) for key in given["key"]])

        self.tables = {side: [table(one) for one in SCHEMA[side]] for side in ("source", "target")}
        lifecycle, self.mapping, _, self.locating = (one() for one in Keys.complete())
        lifecycle.init("{}")
        self.plan = self.mapping.plan("keys", self.tables["source"], self.tables["target"])
        self.fields = {entity.name: entity.fields for entity in self.plan.entities}

    def context(self, side):
        return wit.Context("keys", getattr(wit.Side, side.upper()), 0)

    def input(self, side, case):
        """A case by itself, as whole numbers of one column are signed or not."""
        for plan in getattr(self.plan, side).relations:
            table = self.tables[side][plan.relation]
            rows = [case["row"]] if "row" in case else case["rows"].get(table.name, [])
            if rows:
                known = {one.name: one.logical for one in table.columns}
                defs = [(name, known.get(name, "value")) for name in plan.columns]
                yield mapping.Input(plan.relation, "", batch(defs, rows), [0] * len(rows))

    def test_rows_become_what_they_become_in_rust(self):
        for side in ("source", "target"):
            for case, known in zip(lines_of(f"{side}.jsonl"), lines_of(f"{side}.golden.jsonl")):
                mapped = self.mapping.map_batch(self.context(side), list(self.input(side, case)))
                told = [
                    (self.plan.entities[output.entity].name, standing.name.lower(), [
                        held(field.logical, cells, row) for field, cells in
                        zip(self.plan.entities[output.entity].fields, output.items.columns)
                    ])
                    for output in mapped.outputs for row, standing in enumerate(output.standing)
                ]
                expected = [
                    (one["entity"], one["standing"], [
                        golden(field.logical, one["fields"].get(field.name))
                        for field in self.fields[one["entity"]]
                    ])
                    for one in known["entities"]
                ]
                self.assertEqual(told, expected, case["case"])
                messages = [note["message"] for note in known.get("notes", [])]
                self.assertEqual([note.message for note in mapped.notes], messages, case["case"])

    def test_keys_are_located_and_identified_as_in_rust(self):
        for case, known in zip(lines_of("places.jsonl"), lines_of("places.golden.jsonl")):
            side, told = case["side"], []
            tables, context = self.tables[side], self.context(side)
            if "key" in case:
                at = [table.name for table in tables].index(case["relation"])
                defs = [tables[at].columns[one] for one in tables[at].key]
                keys = batch([(one.name, one.logical) for one in defs], [case["key"]])
                for output in self.locating.keys_of(context, at, keys):
                    entity = self.plan.entities[output.entity]
                    told += [
                        (entity.name, {
                            field.name: held(field.logical, cells, row)
                            for field, cells in zip(entity.fields, output.items.columns)
                            if field.role is mapping.Role.KEY
                        })
                        for row in range(output.items.rows)
                    ]
                expected = [
                    (one["entity"], {
                        field.name: golden(field.logical, one["key"].get(field.name))
                        for field in self.fields[one["entity"]] if field.role is mapping.Role.KEY
                    })
                    for one in known["entities"]
                ]
                self.assertEqual(told, expected, case["case"])
                continue
            at = [entity.name for entity in self.plan.entities].index(case["entity"])
            defs = [(field.name, field.logical) for field in self.plan.entities[at].fields]
            for located in self.locating.locate(context, at, batch(defs, [case["fields"]])):
                table = tables[located.relation]
                defs = [table.columns[one] for one in table.key]
                told += [
                    (table.name, located.access, [
                        held(one.logical, cells, row) for one, cells in zip(defs, located.keys.columns)
                    ])
                    for row in range(located.keys.rows)
                ]
            expected = []
            for one in known["keys"]:
                table = next(table for table in tables if table.name == one["relation"])
                defs = [table.columns[at] for at in table.key if table.columns[at].name in one["key"]]
                cells = [golden(of.logical, one["key"][of.name]) for of in defs]
                expected.append((table.name, one["access"], cells))
            self.assertEqual(told, expected, case["case"])


def located(key, given):
    """Where an entity lies in a table with such a key, if these are given for it."""
    class Things(Plugin):
        name = "things"

        def plan(self, plan):
            thing = plan.entity("thing", plan.source, plan.target)
            thing.key("n", plan.source.decimal("amount"), plan.target.decimal("amount"))

        def locate(self, locators):
            locators.get(locators.entity("thing"), "source", lambda row: given)

    def table(name):
        defs = [wit.ColumnDef(name, logical, False) for name, logical in key]
        return [wit.TableSchema(name, defs, list(range(len(key))))]

    lifecycle, mapped, _, locating = (one() for one in Things.complete())
    lifecycle.init("{}")
    mapped.plan("p", table("t"), table("u"))
    items = wit.Batch(1, [columns.kind_of("decimal").write([Decimal(1)])])
    return locating.locate(wit.Context("p", wit.Side.SOURCE, 0), 0, items)


class WhatIsGiven(unittest.TestCase):
    def test_numbers_of_both_signs_are_told_in_two_parts(self):
        parts = located([("n", "integer")], [(-1,), (2 ** 63,), (Decimal("1.0"),), (Decimal("1.5"),)])
        told = [
            [held("integer", part.keys.columns[0], row) for row in range(part.keys.rows)] for part in parts
        ]
        # What no column holds is the key of no row.
        self.assertEqual(told, [[-1, 1, None], [2 ** 63]])

    def refused(self, key, given):
        with self.assertRaises(shop._Err) as refused:
            located(key, given)
        return refused.exception.value

    def test_a_wrong_kind_is_told_with_the_column_and_what_to_write(self):
        why = self.refused([("n", "integer")], [("7",)])
        self.assertEqual(why.code, "t.n-is-integer-not-text")
        self.assertEqual(
            why.message,
            "key column `n` of `t` is integer, and a text was given: "
            "give an int, or a Decimal that is a whole number",
        )
        self.assertEqual(self.refused([("n", "integer")], [(7.0,)]).code, "t.n-is-integer-not-float")
        self.assertEqual(self.refused([("n", "text")], [(7,)]).code, "t.n-is-text-not-integer")
        why = self.refused([("tenant", "text"), ("n", "integer")], [("a",)])
        self.assertEqual(why.message, "a key of `t` has the columns tenant, n, and 1 were given")


class WhatIsRead(unittest.TestCase):
    def issues(self, plan, locate=lambda locators: None):
        made = type("Wrong", (Plugin,), {
            "name": "wrong", "plan": lambda self, it: plan(it), "locate": lambda self, it: locate(it),
        })

        def table(name, *defs):
            return [wit.TableSchema(name, [wit.ColumnDef(*one, True) for one in defs], [0])]

        lifecycle, mapped, _, _ = (one() for one in made.complete())
        lifecycle.init("{}")
        with self.assertRaises(shop._Err) as refused:
            mapped.plan("p", table("orders", ("id", "integer"), ("sku", "text")), table("shop", ("pk", "text")))
        return [f"{issue.message}; {issue.help}" for issue in refused.exception.value]

    @staticmethod
    def order(plan):
        row, item = plan.source, plan.target
        order = plan.entity("order", row, item)
        order.key("id", row.unsigned("id"), item.text("pk").parse_unsigned())
        order.compared("sku", row.text("sku"), item.text("sku"))
        return order

    def test_columns_and_fields_are_read_as_what_they_are_or_refused(self):
        def plan(plan):
            self.order(plan)
            plan.source.integer("sku")
            plan.source.text("id")

        as_it_is = "which reads it as what it is; `.map(..)` makes another kind of it"
        self.assertEqual(self.issues(plan), [
            "column `sku` of the source is of type text; this plugin can read integer; "
            'write `.text("sku").parse_integer()`',
            "column `id` of the source is of type integer; this plugin can read text, enum, set, json; "
            f'write `.integer("id")`, {as_it_is}',
        ])

        def locate(locators):
            order = locators.entity("order")
            order.integer("id")
            key = locators.key("source")
            key.identifies(order).field("id", key.text("id"))

        self.assertEqual(self.issues(self.order, locate), [
            'field `id` is unsigned, and is read as integer; write `.unsigned("id")`, as in the plan',
            f'key column `id` of `orders` is integer, and is read as text; write `.integer("id")`, {as_it_is}',
            "field `id` is unsigned, and the key gives text for it; "
            "read the key's column as unsigned, or make one of it: `.map(..)`, `.parse_..()`",
        ])
        self.assertEqual(self.issues(self.order, lambda locators: locators.entity("order").text("nmae")), [
            "entity type `order` has no field `nmae`; it has `id`, `sku`",
        ])

        def of_other_types(plan):
            order, row, item = self.order(plan), plan.source, plan.target
            order.compared("ratio", row.float("ratio"), item.float("ratio")).logical("float32")
            order.compared("other", row.float("other"), item.float("other")).logical("decimal(20,0)")

        self.assertEqual(self.issues(of_other_types), [
            "field `other` is read as float, and is no decimal(20,0); "
            "read a decimal(20,0) on both sides, or leave `.logical(..)` out",
        ])


class Documents(unittest.TestCase):
    def test_json_texts_are_exact_cells_or_none(self):
        for text, encoded in [
            (" null ", "d9d700f6"), ("[null]", "81f6"), ("18446744073709551615", "1bffffffffffffffff"),
            ("12.50", "c48220187d"), ("1e2", "1864"), ('{"bb": 1, "a": 2, "bb": 3}', "a261610262626203"),
            ('"\\ud83d\\ude00"', "64f09f9880"),
        ]:
            self.assertEqual(values.encode(documents.cell_of(text)).hex(), encoded, text)
        self.assertIs(values.decode(bytes.fromhex("d9d700f6")), JSON_NULL)
        with self.assertRaises(values.Malformed):
            values.decode(bytes.fromhex("d9d700f5"))
        for text in [
            "", "01", "1.", "[1,]", '{"a" 1}', '"\\ud83d"', '"a', "NaN", "'a'", "1 2", '"\n"',
            "[" * 128 + "]" * 128, "[" * 100_000,
        ]:
            self.assertFalse(documents.is_json(text), text[:20])
            with self.assertRaises(documents.NoCell):
                documents.cell_of(text)
        for text, why in [
            ("9" * 39, "has a number of more than 38 digits"), ("[" * 70 + "]" * 70, "is nested too deeply"),
        ]:
            self.assertTrue(documents.is_json(text))
            with self.assertRaisesRegex(documents.NoCell, why):
                documents.cell_of(text)


if __name__ == "__main__":
    unittest.main()
