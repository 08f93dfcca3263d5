"""`python3 plugins/sdk-python/test_orders.py`: orders and their lines, as `plugins/orders` maps them, on the
fixtures of that plugin: several relations in groups, several entity types, locating, and rules over a
partition."""

import datetime
import json
import pathlib
import re
import sys
import types
import unittest
from collections import namedtuple
from decimal import Decimal
from enum import Enum

HERE = pathlib.Path(__file__).parent
FIXTURES = HERE.parent / "orders" / "fixtures"


def _module(name, **members):
    """A module of those that are generated for a plugin."""
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    return module


class _Err(Exception):
    def __init__(self, value):
        super().__init__(value)
        self.value = value


def _records(**fields):
    return {name: namedtuple(name, names) for name, names in fields.items()}


def _enum(name, *members):
    return Enum(name, list(members))


def _log(level, message):
    raise AssertionError(f"{level}: {message}")


class Level(Enum):
    ERROR = 0


_module("componentize_py_types", Err=_Err)
for _package in ("wit_world", "wit_world.exports", "wit_world.imports"):
    _module(_package, __path__=[])
wit = _module(
    "wit_world.imports.types", Side=_enum("Side", "SOURCE", "TARGET"),
    **_records(
        Batch="rows columns", Column="validity values", VarBytes="offsets data",
        Buffer_Bytes="value", Buffer_Float64="value", Buffer_Int64="value", Buffer_Uint64="value",
        Error="code message", Issue="path message help", TableSchema="name columns key",
        ColumnDef="name logical nullable", Context="pairing side as_of",
    ),
)
sys.modules["wit_world.imports"].host = _module("wit_world.imports.host", log=_log, Level=Level)
_EXPORTS = {
    "lifecycle": _records(Info="name version summary config_schema"),
    "mapping": {
        "Role": _enum("Role", "KEY", "COMPARED", "VERSION", "LABEL", "CARRIED"),
        "Standing": _enum("Standing", "PRESENT", "ABSENT", "EXCLUDED"),
        **_records(
            FieldDef="name logical role rules", EntityDef="name fields",
            RelationPlan="relation columns ignored group_by", SidePlan="relations mapped",
            MappingPlan="entities source target", Input="relation origin rows group",
            Output="entity items from_group standing", Note="input row kind message",
            Mapped="outputs notes",
        ),
    },
    "invariants": {
        "Severity": _enum("Severity", "INFO", "WARNING", "ERROR", "CRITICAL"),
        **_records(
            InvariantDef="id summary severity scope", Violation="invariant pair message",
            Pairs="entity source source_present target target_present",
        ),
    },
    "locating": _records(Located="relation access keys from_entity"),
}
for _name, _members in _EXPORTS.items():
    _module_of = _module(f"wit_world.exports.{_name}", **_members)
    setattr(sys.modules["wit_world.exports"], _name, _module_of)
mapping, invariants = (sys.modules[f"wit_world.exports.{name}"] for name in ("mapping", "invariants"))

sys.path.insert(0, str(HERE))

from driftd import Plugin, columns, excluded, reject, values  # noqa: E402


def is_order(sk):
    return sk.startswith("ORDER#") and "#LINE#" not in sk


def is_line(sk):
    return sk.startswith("ORDER#") and "#LINE#" in sk


def order_id(sk):
    found = re.match(r"ORDER#([0-9]+)(?:[@#]|$)", sk) or reject("sk has no number after ORDER#")
    return int(found[1])


def line_no(sk):
    found = re.search(r"#LINE#([0-9]+)$", sk) or reject("sk has no number after #LINE#")
    return int(found[1])


def customer(pk):
    found = re.fullmatch(r"(?:CUSTOMER|ARCHIVE)#(.*)", pk, re.S)
    return found[1] if found else reject("pk is neither CUSTOMER# nor ARCHIVE# and a name")


class Orders(Plugin):
    name = "orders"

    def plan(self, plan):
        orders, lines = plan.relation("source", "orders"), plan.relation("source", "order_lines")
        orders.group_by("id")
        lines.group_by("order_id")
        item = plan.target
        pk, sk, ttl = item.text("pk"), item.text("sk"), item.integer("ttl")
        migrated = orders.boolean("migrated")

        def unexpired(is_one):
            def standing(row):
                if not is_one(row.need(sk)):
                    return "other"
                expires = row.get(ttl)
                has_expired = expires is not None and expires < row.as_of // 1_000_000
                return "absent" if has_expired else "present"

            return standing

        def of_its_order(row):
            of = row.all(migrated) or reject("belongs to no order")
            return "present" if of[0].get(migrated) else "excluded"

        order, number = plan.entity("order", orders, item), lines.integer("line_no")
        line_count = orders.read("integer", lambda row: len(row.all(number)))
        order.key("id", orders.integer("id"), sk.map("integer", order_id))
        order.label("customer", orders.text("customer"), pk.text(customer))
        order.compared("status", orders.text("status"), item.text("status"))
        order.compared("total", orders.decimal("total"), item.integer("cents").scaled(-2))
        order.compared("line_count", line_count, item.integer("lines"))
        order.compared("placed_at", orders.timestamp("placed_at"), item.timestamp("placed"))
        order.version("updated_at", orders.timestamp("updated_at"), item.timestamp("updated"))
        order.source.present_if(migrated)
        order.target.standing(unexpired(is_order))

        line = plan.entity("line", lines, item)
        line.key("order", lines.integer("order_id"), sk.map("integer", order_id))
        line.key("line_no", number, sk.map("integer", line_no))
        line.carried("customer", orders.text("customer"), pk.text(customer))
        line.compared("sku", lines.text("sku"), item.text("sku"))
        line.compared("quantity", lines.integer("quantity"), item.integer("quantity"))
        line.compared("price", lines.decimal("price"), item.integer("cents").scaled(-2))
        line.source.standing(of_its_order)
        line.target.standing(unexpired(is_line))
        item.ignore("email")

    def rules(self, rules):
        order, line = rules.entity("order"), rules.entity("line")
        id, status, total = order.integer("id"), order.text("status"), order.decimal("total")
        updated, of = order.timestamp("updated_at"), line.integer("order")
        quantity, price = line.integer("quantity"), line.decimal("price")
        rules.error(line, "quantity-positive", "a line is of at least one piece").holds(
            lambda row: (row.get(quantity) or 0) > 0
        )

        def ahead(pair):
            if pair.source is None or pair.target is None:
                return None
            one, two = pair.source.get(updated), pair.target.get(updated)
            is_ahead = None not in (one, two) and two > one
            return "the target was updated later" if is_ahead else None

        rules.warning(order, "target-not-ahead", "a target is not newer than its source").broken(ahead)

        def adding(amount):
            def add(tally, pair):
                for side, row in (("source", pair.source), ("target", pair.target)):
                    if row is not None:
                        key, rest = amount(row)
                        tally.add(f"order {key} in the {side}", rest)

            return add

        def less(row):
            return row.need(of), -((row.get(price) or Decimal()) * (row.get(quantity) or 0))

        sums = rules.error(order, "total-is-sum-of-lines", "a total is the sum of its lines")
        sums.over(order, adding(lambda row: (row.need(id), row.get(total) or Decimal())))
        sums.over(line, adding(less))
        sums.finish(lambda tally: [
            name.replace(" in", f" is off by {tally.get(name)} in")
            for name in tally.names() if tally.get(name) != 0
        ])

        def count(tally, pair):
            for side, row in enumerate((pair.source, pair.target)):
                if row is not None:
                    tally.add(f"{row.get(status)}/{side}", 1)

        def counted(tally):
            names = sorted({name[:-2] for name in tally.names()})
            both = [(name, tally.get(f"{name}/0"), tally.get(f"{name}/1")) for name in names]
            return [f"{name}: {one} and {two}" for name, one, two in both if one != two]

        rules.error(order, "count-per-status", "as many of each status").over_all(count, counted)

    def locate(self, locators):
        order, line = locators.entity("order"), locators.entity("line")
        id, status, whose = order.integer("id"), order.text("status"), order.text("customer")
        of, number, carried = line.integer("order"), line.integer("line_no"), line.text("customer")
        locators.get(order, ("source", "orders"), lambda row: [(row.need(id),)])
        locators.get(order, "target", lambda row: [
            (f"CUSTOMER#{row.need(whose)}", f"ORDER#{row.need(id)}")
        ])
        locators.query(order, "target", 2, lambda row: [
            (f"ARCHIVE#{row.need(whose)}", f"ORDER#{row.need(id)}@")
        ] if row.get(status) == "closed" else [])
        locators.get(line, ("source", "order_lines"), lambda row: [(row.need(of), row.need(number))])
        locators.get(line, "target", lambda row: [
            (f"CUSTOMER#{row.need(carried)}", f"ORDER#{row.need(of)}#LINE#{row.need(number)}")
        ])

        orders, lines = locators.key(("source", "orders")), locators.key(("source", "order_lines"))
        orders.identifies(order).field("id", orders.integer("id"))
        lines.identifies(line).field("order", lines.integer("order_id")) \
            .field("line_no", lines.integer("line_no"))
        shop = locators.key("target")
        sk = shop.text("sk")
        shop.identifies(order).field("id", sk.map("integer", order_id)) \
            .only_if(sk.map("boolean", is_order))
        shop.identifies(line).field("order", sk.map("integer", order_id)) \
            .field("line_no", sk.map("integer", line_no)).only_if(sk.map("boolean", is_line))


# --- the fixtures of plugins/orders ---------------------------------------------------------------

SCHEMA = json.loads((FIXTURES / "schema.json").read_text())
AS_OF = values.timestamp_of(SCHEMA["as-of"])


def lines_of(name):
    return [json.loads(line, parse_float=Decimal) for line in (FIXTURES / name).read_text().splitlines()]


def column(type, cells):
    logical = columns.base(type)
    kind = columns.kind_of("text" if logical == "enum" else logical)
    read = {"decimal": values.decimal_of, "timestamp": values.timestamp_of}.get(logical, lambda it: it)
    return kind.write([kind.nothing if cell is None else read(cell) for cell in cells])


def batch(defs, rows):
    made = [column(logical, [row.get(name) for row in rows]) for name, logical in defs]
    return wit.Batch(len(rows), made)


def shown(logical, cells, row):
    """A cell as golden files have it."""
    logical = columns.base(logical)
    logical = "text" if logical == "enum" else logical
    cell = columns.kind_of(logical).read(logical, cells, "wrong")[row]
    if cell is None:
        return None
    if logical == "decimal":
        return format(cell.normalize(), "f") if cell else "0"
    if logical == "timestamp":
        epoch = datetime.datetime(1970, 1, 1)
        return (epoch + datetime.timedelta(microseconds=cell)).isoformat() + "Z"
    return cell


class Pieces(Plugin):
    """Lines of which each gives as many pieces as its quantity says, by hand; the first is excluded."""

    name = "pieces"
    are_made = True

    def plan(self, plan):
        orders, lines = plan.relation("source", "orders"), plan.relation("source", "order_lines")
        item = plan.target
        sk, quantity, sku = item.text("sk"), item.integer("quantity"), item.text("sku")
        order = plan.entity("order", orders, item)
        order.key("id", orders.integer("id"), sk.map("integer", order_id))
        order.target.only_if(sk.map("boolean", is_order))
        piece = plan.entity("piece", lines, item)
        piece.key("number", lines.integer("line_no"), None)
        piece.label("sku", lines.text("sku"), None)

        def pieces(row):
            for number in range(row.need(quantity) if is_line(row.need(sk)) else 0):
                made = {"number": number}
                if number != 1:
                    made["sku"] = row.get(sku)
                yield excluded(made) if number == 0 else made
                if number == 3:
                    reject("there are too many")

        if self.are_made:
            piece.target.each(pieces)


class Details(Plugin):
    """Orders, to which their lines give details only."""

    name = "details"
    must = False

    def plan(self, plan):
        orders, lines = plan.relation("source", "orders"), plan.relation("source", "order_lines")
        orders.group_by("id")
        lines.group_by("order_id")
        if self.must:
            lines.must_belong()
        order = plan.entity("order", orders, plan.target)
        order.key("id", orders.integer("id"), plan.target.text("sk").map("integer", order_id))


class Bound(Details):
    must = True


class Unmade(Pieces):
    are_made = False


class Odd(Plugin):
    name = "odd"

    def plan(self, plan):
        order = plan.entity("order", plan.source, plan.target)
        order.key("id", plan.source.integer("id"), plan.target.text("sk").map("integer", order_id))
        order.target.each(lambda row: [{"ident": 1}])


class OrdersOfTheShop(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.start(Orders)

    def start(self, plugin):
        def table(given):
            defs = [
                wit.ColumnDef(name, logical, name not in given["key"])
                for name, logical in given["columns"].items()
            ]
            names = [one.name for one in defs]
            return wit.TableSchema(given["name"], defs, [names.index(key) for key in given["key"]])

        self.tables = {side: [table(one) for one in SCHEMA[side]] for side in ("source", "target")}
        made = plugin.complete()
        lifecycle, self.mapping, self.invariants, self.locating = (one() for one in made)
        self.accumulator = sys.modules["invariants"].Accumulator
        lifecycle.init("{}")
        self.plan = self.mapping.plan("orders", self.tables["source"], self.tables["target"])

    def context(self, side):
        return wit.Context("orders", getattr(wit.Side, side.upper()), AS_OF)

    def inputs(self, side, cases):
        inputs = []
        for plan in getattr(self.plan, side).relations:
            table = self.tables[side][plan.relation]
            known = {one.name: one.logical for one in table.columns}
            rows = [
                (at, row) for at, case in enumerate(cases)
                for row in ([case["row"]] if "row" in case else case["rows"].get(table.name, []))
            ]
            defs = [(name, known.get(name, "value")) for name in plan.columns]
            group = [at for at, _ in rows]
            inputs.append(mapping.Input(plan.relation, "", batch(defs, [row for _, row in rows]), group))
        return inputs

    def test_rows_become_what_they_become_in_rust(self):
        for side in ("source", "target"):
            cases = lines_of(f"{side}.jsonl")
            inputs = self.inputs(side, cases)
            mapped = self.mapping.map_batch(self.context(side), inputs)
            golden = [{"case": case["case"], "entities": []} for case in cases]
            for output in mapped.outputs:
                entity = self.plan.entities[output.entity]
                for row, group in enumerate(output.from_group):
                    golden[group]["entities"].append({
                        "entity": entity.name,
                        "standing": output.standing[row].name.lower(),
                        "fields": {
                            field.name: shown(field.logical, cells, row)
                            for field, cells in zip(entity.fields, output.items.columns)
                        },
                    })
            for note in mapped.notes:
                given = inputs[note.input]
                told = {"kind": note.kind, "message": note.message}
                group = given.group[note.row]
                if len(inputs) > 1:
                    told["relation"] = self.tables[side][given.relation].name
                    told["row"] = note.row - given.group.index(group)
                golden[group].setdefault("notes", []).append(told)
            self.assertEqual(golden, lines_of(f"{side}.golden.jsonl"))

    def test_a_refused_row_takes_its_group_with_it(self):
        def case(id, orders, lines):
            return {"rows": {
                "orders": [{"id": id, "customer": "ada", "migrated": True}] * orders,
                "order_lines": [{"order_id": id, "line_no": no} for no in range(lines)],
            }}

        # The rows of a group need not lie together.
        orders, lines = self.inputs("source", [case(1, 1, 1), case(2, 2, 1), case(3, 1, 2)])
        given = [orders._replace(group=[2, 1, 1, 0]), lines._replace(group=[2, 1, 0, 0])]
        mapped = self.mapping.map_batch(self.context("source"), given)
        notes = [(note.input, note.row, note.message) for note in mapped.notes]
        self.assertEqual(notes, [(1, 1, "customer is in 2 rows of the group")])
        self.assertEqual([output.from_group for output in mapped.outputs], [[0, 2], [0, 0, 2]])
        ids = mapped.outputs[0].items.columns[0]
        self.assertEqual([shown("integer", ids, row) for row in (0, 1)], [3, 1])

    def test_details_without_an_entity_are_nothing_unless_each_must_belong_to_one(self):
        why = "belongs to no entity, and must: its group has no row that is one"
        for plugin, told in ((Details, []), (Bound, [(1, 1, why)])):
            self.start(plugin)
            given = self.inputs("source", [
                {"rows": {"orders": [{"id": 1}], "order_lines": [{"order_id": 1}]}},
                {"rows": {"order_lines": [{"order_id": 2}]}},
            ])
            mapped = self.mapping.map_batch(self.context("source"), given)
            self.assertEqual([output.from_group for output in mapped.outputs], [[0]])
            notes = [(note.input, note.row, note.message) for note in mapped.notes]
            self.assertEqual(notes, told)

    def test_entities_are_made_by_hand(self):
        self.start(Pieces)
        items = [
            {"sk": "ORDER#7#LINE#1", "quantity": 3, "sku": "tea"},
            {"sk": "PROFILE"},
            {"sk": "ORDER#7"},
            {"sk": "ORDER#8#LINE#1", "quantity": 4, "sku": "pot"},
            {"sk": "ORDER#9#LINE#1", "quantity": 1, "sku": "cup"},
        ]
        (given,) = self.inputs("target", [{"row": row} for row in items])

        def mapped(given):
            mapped = self.mapping.map_batch(self.context("target"), [given])
            entities = []
            for output in mapped.outputs:
                entity = self.plan.entities[output.entity]
                for row, group in enumerate(output.from_group):
                    cells = [
                        shown(field.logical, cells, row)
                        for field, cells in zip(entity.fields, output.items.columns)
                    ]
                    standing = output.standing[row].name.lower()
                    entities.append((group, entity.name, standing, *cells))
            return entities, [(note.row, note.message) for note in mapped.notes]

        self.assertEqual(mapped(given), ([
            # What no entity was made of is out of scope in the first type that is not made by hand.
            (1, "order", "excluded", None), (2, "order", "present", 7),
            (0, "piece", "excluded", 0, "tea"), (0, "piece", "present", 1, None),
            (0, "piece", "present", 2, "tea"), (4, "piece", "excluded", 0, "cup"),
            # What it gave before it was refused is gone.
        ], [(3, "there are too many")]))
        # In whatever order groups come.
        entities, _ = mapped(given._replace(group=[9, 8, 7, 6, 5]))
        self.assertEqual([one[:2] for one in entities], [
            (7, "order"), (8, "order"), (5, "piece"), (9, "piece"), (9, "piece"), (9, "piece"),
        ])

    def test_what_is_read_of_nothing_is_refused_and_so_is_what_is_not_there(self):
        with self.assertRaises(_Err) as refused:
            self.start(Unmade)
        why = "field `number` of `piece` is read of nothing in the target"
        self.assertEqual(refused.exception.value[0].message, why)
        self.start(Odd)
        given = self.inputs("target", [{"row": {"sk": "ORDER#7"}}])
        with self.assertRaisesRegex(AssertionError, "entity type order has no field ident"):
            self.mapping.map_batch(self.context("target"), given)

    def test_entities_are_located_and_store_keys_identified(self):
        golden = []
        for case in lines_of("places.jsonl"):
            side, tables, context = case["side"], self.tables[case["side"]], self.context(case["side"])
            if "key" in case:
                at = [table.name for table in tables].index(case.get("relation", tables[0].name))
                defs = [(one.name, one.logical) for one in tables[at].columns if one.name in case["key"]]
                known = []
                for output in self.locating.keys_of(context, at, batch(defs, [case["key"]])):
                    entity = self.plan.entities[output.entity]
                    for row in range(output.items.rows):
                        key = {
                            field.name: shown(field.logical, cells, row)
                            for field, cells in zip(entity.fields, output.items.columns)
                            if field.role is mapping.Role.KEY
                        }
                        known.append({"entity": entity.name, "key": key})
                golden.append({"case": case["case"], "entities": known})
                continue
            at = [entity.name for entity in self.plan.entities].index(case["entity"])
            defs = [(field.name, field.logical) for field in self.plan.entities[at].fields]
            keys = []
            for located in self.locating.locate(context, at, batch(defs, [case["fields"]])):
                table = tables[located.relation]
                defs = [table.columns[column] for column in table.key]
                for row in range(located.keys.rows):
                    key = {
                        one.name: shown(one.logical, cells, row)
                        for one, cells in zip(defs, located.keys.columns)
                    }
                    keys.append({"relation": table.name, "access": located.access, "key": key})
            golden.append({"case": case["case"], "keys": keys})
        self.assertEqual(golden, lines_of("places.golden.jsonl"))

    def test_rules_hold_on_pairs_and_over_a_partition_of_several_entity_types(self):
        declared = self.invariants.declare("orders")
        self.assertEqual([(rule.id, rule.scope) for rule in declared], [
            ("quantity-positive", "pair"), ("target-not-ahead", "pair"),
            ("total-is-sum-of-lines", "partition"), ("count-per-status", "partition"),
        ])
        cases, context = lines_of("pairs.jsonl"), self.context("source")
        names = [entity.name for entity in self.plan.entities]

        def pairs(entity, here):
            defs = [(field.name, field.logical) for field in self.plan.entities[entity].fields]
            bits = [sum(1 << at for at, one in enumerate(here) if one[side]) for side in ("source", "target")]
            source, target = (batch(defs, [one[side] or {} for one in here]) for side in ("source", "target"))
            return invariants.Pairs(
                entity, source, bits[0].to_bytes(4, "little"), target, bits[1].to_bytes(4, "little"),
            )

        golden = [{"case": case["case"], "violations": []} for case in cases]
        parts = []
        for entity, name in enumerate(names):
            here = [at for at, case in enumerate(cases) if case["entity"] == name]
            parts.append(pairs(entity, [cases[at] for at in here]))
            for found in self.invariants.check_pairs(context, parts[-1]):
                told = {"invariant": declared[found.invariant].id, "message": found.message}
                golden[here[found.pair]]["violations"].append(told)
        partition = []
        for invariant in (2, 3):
            whole, merged = self.accumulator(invariant), self.accumulator(invariant)
            for part in parts:
                whole.push(context, part)
            for case in reversed(cases):
                part = self.accumulator(invariant)
                part.push(context, pairs(names.index(case["entity"]), [case]))
                merged.merge(part.snapshot())
            self.assertEqual(merged.finish(), whole.finish())
            partition += [
                {"invariant": declared[invariant].id, "message": found.message}
                for found in whole.finish()
            ]
        self.assertEqual([*golden, {"partition": partition}], lines_of("pairs.golden.jsonl"))


if __name__ == "__main__":
    unittest.main()
