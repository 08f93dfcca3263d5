// Plugins for driftd in JavaScript: what is the same record in two stores that are built differently.
//
// A mapping is a table of fields; for each, where it comes from in the source and where in the target.
// README.md beside this file shows one. Rows are mapped column by column, because every step costs:
// a column that is a field as it stands is handed on without being read.

import * as columns from "./columns.js";
import { Column, Made, Reader, Rows, attempt, fill, mapBatch, sift } from "./rows.js";
import { KeyColumn, isWide, refuse } from "./keys.js";
import { Decimal, JSON_NULL, Moment, Reject, decode, encode, isInt64, reject } from "./values.js";

export { Decimal, JSON_NULL, Moment, reject };

/**
 * The exports of a plugin, of which it takes those of its world. `host` is the contract's interface of
 * that name; `about` has `name`, `version`, `summary`, and the functions `plan(plan, config)`,
 * `rules(rules, config)`, `locate(locators, config)` and `configure(config)`, of which only the first is
 * needed.
 */
export function plugin(host, about) {
  let config = {};
  let planned;
  const guarded = (call) => (...args) => {
    try {
      return call(...args);
    } catch (error) {
      // What is no Error is the contract's own answer. An Error is a bug: it costs this call.
      if (error instanceof Error) host.log("error", `${error}\n${error.stack ?? ""}`);
      if (error instanceof Reject) throw { code: "reject", message: error.message };
      throw error;
    }
  };
  const declared = () => {
    const rules = new Rules(planned?.entities ?? []);
    about.rules?.(rules, config);
    return rules;
  };
  let rules;
  let locators;
  return {
    lifecycle: {
      describe: guarded(() => ({
        name: about.name,
        version: about.version ?? "0.0.0",
        summary: about.summary ?? "",
        configSchema: JSON.stringify(about.configSchema ?? { type: "object" }),
      })),
      init: guarded((json) => {
        config = JSON.parse(json);
        const issues = about.configure?.(config) ?? [];
        if (issues.length > 0) throw issues.map((issue) => ({ path: "", ...issue }));
      }),
    },
    mapping: {
      plan: guarded((pairing, source, target) => {
        const plan = new Plan(pairing, source, target);
        about.plan(plan, config);
        plan.refuseUnread();
        if (plan.issues.length > 0) throw plan.issues;
        // What is wrong with the locators is known now, and only here told with what to do.
        const made = new Locators(plan);
        about.locate?.(made, config);
        if (made.issues.length > 0) throw made.issues;
        planned = plan;
        locators = made;
        rules = undefined;
        return plan.made();
      }),
      mapBatch: guarded((context, inputs) => mapBatch(planned, context, inputs)),
    },
    invariants: {
      declare: guarded(() => {
        rules = declared();
        if (rules.issues.length > 0) throw rules.issues;
        return rules.rules.map(({ id, summary, severity, finish }) => ({
          id, summary, severity, scope: finish === undefined ? "pair" : "partition",
        }));
      }),
      checkPairs: guarded((context, pairs) => checkPairs((rules ??= declared()), context, pairs)),
      Accumulator: class {
        constructor(invariant) {
          rules ??= declared();
          this.invariant = invariant;
          this.rule = rules.rules[invariant];
          this.tally = new Tally();
        }

        push(context, pairs) {
          guarded(() => {
            for (const { entity, push } of this.rule.pushes) {
              if (entity !== pairs.entity) continue;
              for (const pair of pairsOf(rules.entities, context, pairs)) push(this.tally, pair);
            }
          })();
        }

        snapshot() {
          return encode(this.tally.sums);
        }

        merge(state) {
          guarded(() => {
            for (const [name, sum] of decode(state)) this.tally.add(name, sum);
          })();
        }

        finish() {
          return guarded(() => {
            const messages = this.rule.finish?.(this.tally) ?? [];
            return messages.map((message) => ({ invariant: this.invariant, pair: undefined, message }));
          })();
        }
      },
    },
    locating: {
      locate: guarded((context, entity, items) => locators.locate(context, entity, items)),
      keysOf: guarded((context, relation, keys) => locators.keysOf(context, relation, keys)),
    },
  };
}

/** Names that were there to choose from. */
function told(of) {
  return `it has ${of.map(({ name }) => `\`${name}\``).join(", ")}`;
}

function issue(message, help) {
  return { path: "", message, help };
}

// --- what a mapping is made of -------------------------------------------------------------------

/** A mapping in the making. */
class Plan {
  constructor(pairing, source, target) {
    this.pairing = pairing;
    this.issues = [];
    this.entities = [];
    const relation = (side) => (schema, position) => new Relation(this, side, position, schema);
    this.relations = { source: source.map(relation("source")), target: target.map(relation("target")) };
    for (const side of ["source", "target"]) {
      if (this.relations[side].length === 0) this.refuse(`the ${side} has no relation`);
    }
  }

  /** The source's relation; the first, where there are several. */
  get source() {
    return this.relations.source[0];
  }

  /** The target's relation; the first, where there are several. */
  get target() {
    return this.relations.target[0];
  }

  /** A relation of a side by its name in the store. */
  relation(side, name) {
    const found = this.relations[side].find(({ schema }) => schema.name === name);
    if (found === undefined) {
      const names = this.relations[side].map(({ schema }) => `\`${schema.name}\``).join(", ");
      this.refuse(`the ${side} has no relation \`${name}\``, `it has ${names}`);
    }
    return found ?? this.relations[side][0];
  }

  /** An entity type, of which each row of `source` and each row of `target` is one, unless said otherwise. */
  entity(name, source, target) {
    const entity = new Entity(this, name, source, target);
    this.entities.push(entity);
    return entity;
  }

  /** Refuses to map these relations, and says why. */
  refuse(why, help) {
    this.issues.push(issue(why, help));
  }

  /** Refuses fields that come from nowhere. */
  refuseUnread() {
    for (const { name, fields, sides } of this.entities) {
      for (const side of ["source", "target"]) {
        const unread = fields.find(({ readers }) => readers[side] === null);
        if (sides[side].make === null && unread !== undefined) {
          this.refuse(
            `field \`${unread.name}\` of \`${name}\` is read of nothing in the ${side}`,
            `give it a reader, or make the entities of that side with \`each\``,
          );
        }
      }
    }
  }

  made() {
    const side = (relations) => ({
      relations: relations
        .filter(({ columns }) => columns.length > 0)
        .map(({ position, columns, ignored, groups }) => ({
          relation: position,
          columns,
          ignored,
          groupBy: Uint32Array.from(groups),
        })),
      mapped: true,
    });
    return {
      entities: this.entities.map(({ name, fields }) => ({
        name,
        fields: fields.map(({ name, logical, role, rules }) => ({ name, logical, role, rules })),
      })),
      source: side(this.relations.source),
      target: side(this.relations.target),
    };
  }
}

/**
 * A relation of one side. A method for each logical type names a column and how it is read; a name that
 * begins with a slash is a JSON pointer into an item.
 */
class Relation {
  constructor(plan, side, position, schema) {
    Object.assign(this, { plan, side, position, schema, columns: [], ignored: [], groups: [], mustLead: false });
  }

  column(name, type) {
    const kind = columns.kindOf(type);
    const known = this.schema.columns.find((column) => column.name === name);
    // A column that is missing altogether is told by the host, with the nearest names.
    const logical = columns.base(known?.logical ?? "value");
    if (!kind.accepts.includes(logical) && logical !== "value") {
      this.plan.refuse(
        `column \`${name}\` of the ${this.side} is of type ${logical}; this plugin can read ${kind.accepts.join(", ")}`,
        columns.toRead(name, type, logical),
      );
    }
    return new Column(this, kind, logical, this.positionOf(name), name);
  }

  positionOf(name) {
    const index = this.columns.indexOf(name);
    return index < 0 ? this.columns.push(name) - 1 : index;
  }

  /**
   * The columns whose values make a group: rows of all relations of this side with equal values arrive
   * together. A column of another relation is then that of the row in the same group, and `row.all(column)`
   * gives several.
   */
  groupBy(...names) {
    this.groups = names.map((name) => this.positionOf(name));
  }

  /**
   * Says that each row of this relation must belong to an entity. A relation that no entity is made of gives
   * details to those of others in its groups; a row of it in whose group there is no other is nothing, unless
   * this is said: then it cannot be mapped.
   */
  mustBelong() {
    this.mustLead = true;
  }

  /** Attributes that are known and left out on purpose; driftd reports any other. */
  ignore(...names) {
    this.ignored.push(...names);
  }

  /** A cell of type `type` that a function makes of a row. */
  read(type, make) {
    return new Reader(columns.kindOf(type), (rows) => {
      const cells = new Array(rows.count).fill(null);
      for (const row of rows.all) {
        if (rows.live === null || rows.live[row.index]) cells[row.index] = attempt(make, row);
      }
      return cells;
    });
  }
}

/** An entity type in the making. */
class Entity {
  constructor(plan, name, source, target) {
    this.plan = plan;
    this.name = name;
    this.fields = [];
    this.sides = { source: new EntitySide(source), target: new EntitySide(target) };
  }

  /** How an entity comes from the source. */
  get source() {
    return this.sides.source;
  }

  /** How an entity comes from the target. */
  get target() {
    return this.sides.target;
  }

  /** A reader may be null on a side whose entities are made by `each`. */
  field(role, name, source, target) {
    const { kind } = source ?? target;
    if (source !== null && target !== null && source.kind.name !== target.kind.name) {
      throw new TypeError(
        `field \`${name}\` is ${source.kind.name} in the source and ${target.kind.name} in the target`,
      );
    }
    const { logical } = kind;
    const { plan } = this;
    const field = { name, logical, kind, role, rules: [], readers: { source, target } };
    this.fields.push(field);
    return {
      /** A declared equivalence, such as `absent=null`. */
      rule(rule) {
        field.rules.push(rule);
        return this;
      },
      /** Another logical type of the same layout: `decimal(12,2)`, `enum`, `set`, `float32`. */
      logical(other) {
        if (columns.layoutOf(other) !== logical) {
          plan.refuse(
            `field \`${name}\` is read as ${kind.name}, and is no ${other}`,
            `read a ${other} on both sides, or leave \`.logical(..)\` out`,
          );
        }
        field.logical = other;
        return this;
      },
    };
  }
}

for (const role of ["key", "compared", "version", "label", "carried"]) {
  Entity.prototype[role] = function (name, source, target) {
    return this.field(role, name, source, target);
  };
}

class EntitySide {
  constructor(relation) {
    Object.assign(this, { relation, condition: null, otherwise: "present", decide: null, make: null });
  }

  /** Rows for which the condition does not hold are out of scope, known by their key. */
  presentIf(condition) {
    Object.assign(this, { condition, otherwise: "excluded" });
  }

  /** Rows for which the condition does not hold are no such entity: their fields are not read. */
  onlyIf(condition) {
    Object.assign(this, { condition, otherwise: "other" });
  }

  /** What becomes of a row: "present", "absent", "excluded", or "other" where it is no such entity. */
  standing(decide) {
    this.decide = decide;
  }

  /**
   * Entities of this side are made by hand: `make` gives none, one or several of a row, each an object of
   * fields by name; what it leaves out is null. `absent(fields)` and `excluded(fields)` give one that is
   * not simply present. The fields' own readers of this side may be null, and its standing is not asked.
   */
  each(make) {
    this.make = make;
  }
}

/** An entity that is made by hand, and counts as not there: expired, a tombstone. */
export function absent(fields) {
  return new Made("absent", fields);
}

/** An entity that is made by hand, and is out of scope. */
export function excluded(fields) {
  return new Made("excluded", fields);
}

for (const type of columns.KINDS) {
  Relation.prototype[type] = function (name) {
    return this.column(name, type);
  };
}

// --- rules ---------------------------------------------------------------------------------------

/** The rules of a plugin in the making. */
class Rules {
  constructor(entities) {
    this.entities = entities;
    this.issues = [];
    this.rules = [];
  }

  /** The entity type of a name, whose fields are read like columns: `user.text("status")`. */
  entity(name) {
    const index = this.entities.findIndex((entity) => entity.name === name);
    if (index < 0) this.issues.push(issue(`there is no entity type \`${name}\``, told(this.entities)));
    return new Fields(this, index, this.entities[index]);
  }

  rule(severity, { index }, id, summary) {
    const rule = { id, summary, severity, entity: index, pushes: [] };
    this.rules.push(rule);
    const over = {
      over(of, push) {
        rule.pushes.push({ entity: of.index, push });
        return over;
      },
      /** Gives a message, which may hold values, for each thing that is wrong. */
      finish(finish) {
        rule.finish = finish;
      },
    };
    return {
      /** It must be true of the entity on every side that has it. */
      holds(test) {
        rule.check = ({ source, target }) => {
          const bySource = source !== null && !test(source);
          const byTarget = target !== null && !test(target);
          if (!bySource && !byTarget) return null;
          const both = bySource && byTarget;
          return `violated by the ${both ? "source and the target" : bySource ? "source" : "target"}`;
        };
      },
      /** It is broken where the function gives a message, which may hold values. */
      broken(tell) {
        rule.check = tell;
      },
      /** It is about all pairs of a partition: `push` adds each to sums, `finish` gives messages. */
      overAll(push, finish) {
        over.over({ index }, push).finish(finish);
      },
      /**
       * It is about all pairs of a partition, of several entity types: `push` adds each of this type to
       * sums; `over` adds another type, and `finish` gives messages.
       */
      over: over.over,
    };
  }
}

for (const severity of ["info", "warning", "error", "critical"]) {
  Rules.prototype[severity] = function (of, id, summary) {
    return this.rule(severity, of, id, summary);
  };
}

/** An entity type, for the rules and locators that are about it. */
class Fields {
  constructor(rules, index, entity) {
    Object.assign(this, { rules, index, entity });
  }

  field(name, type) {
    const kind = columns.kindOf(type);
    const index = this.entity?.fields.findIndex((field) => field.name === name) ?? -1;
    const known = this.entity?.fields[index]?.kind ?? kind;
    const logical = columns.base(this.entity?.fields[index]?.logical ?? kind.logical);
    const { issues } = this.rules;
    // Of a sign that is lost or was never there it would be told only when such a number comes.
    const isOfSign = known.logical === "integer" && kind.logical === "integer" && known.name !== kind.name;
    if (index < 0 && this.entity !== undefined) {
      issues.push(issue(`entity type \`${this.entity.name}\` has no field \`${name}\``, told(this.entity.fields)));
    } else if (!kind.accepts.includes(logical) && logical !== "value") {
      issues.push(issue(
        `field \`${name}\` is of type ${logical}, and is read as ${type}`,
        columns.toRead(name, type, logical),
      ));
    } else if (isOfSign) {
      issues.push(issue(
        `field \`${name}\` is ${known.name}, and is read as ${type}`,
        `write \`.${known.name}("${name}")\`, as in the plan`,
      ));
    }
    return new Column(this.entity, kind, logical, index, name);
  }
}

for (const type of columns.KINDS) {
  Fields.prototype[type] = function (name) {
    return this.field(name, type);
  };
}

/** Exact sums by name, which merge in any order. A name whose sum is nothing has none. */
class Tally {
  constructor() {
    this.sums = new Map();
  }

  /** Adds a BigInt or a Decimal. */
  add(name, number) {
    const sum = this.sums.get(name) ?? 0n;
    const exact = (one) => (one instanceof Decimal ? one : new Decimal(one));
    const total = exact(sum).plus(exact(number)).normal();
    // One form for one sum, however it came about.
    const { mantissa, exponent } = total;
    const isShort = exponent >= 0 && exponent <= 18;
    const whole = isShort ? mantissa * 10n ** BigInt(exponent) : null;
    // What sums to nothing is not kept, so what agrees takes no room.
    if (whole === 0n) this.sums.delete(name);
    else this.sums.set(name, whole !== null && isInt64(whole) ? whole : total);
  }

  get(name) {
    return this.sums.get(name) ?? 0n;
  }

  names() {
    return Array.from(this.sums.keys()).sort();
  }
}

function* pairsOf(entities, context, { entity, source, sourcePresent, target, targetPresent }) {
  const sides = {
    source: new Rows({ ...context, side: "source" }, entities[entity], source),
    target: new Rows({ ...context, side: "target" }, entities[entity], target),
  };
  for (let row = 0; row < source.rows; row += 1) {
    yield {
      source: columns.bit(sourcePresent, row) ? sides.source.all[row] : null,
      target: columns.bit(targetPresent, row) ? sides.target.all[row] : null,
    };
  }
}

function checkPairs(rules, context, pairs) {
  const violations = [];
  let at = 0;
  for (const pair of pairsOf(rules.entities, context, pairs)) {
    rules.rules.forEach((rule, invariant) => {
      if (rule.check === undefined || rule.entity !== pairs.entity) return;
      let message;
      try {
        message = rule.check(pair);
      } catch (error) {
        if (!(error instanceof Reject)) throw error;
        message = `cannot be checked: ${error.message}`;
      }
      if (message !== null && message !== undefined) violations.push({ invariant, pair: at, message });
    });
    at += 1;
  }
  return violations;
}

// --- locating ------------------------------------------------------------------------------------

/** Where the stores keep entities, in the making. A place is a side, or a side and a relation's name. */
class Locators {
  constructor(plan) {
    this.plan = plan;
    this.entities = plan.entities;
    this.issues = [];
    this.locators = [];
    this.identities = [];
  }

  /** The entity type of a name, whose fields are read like columns: `order.integer("id")`. */
  entity(name) {
    const index = this.entities.findIndex((entity) => entity.name === name);
    if (index < 0) this.issues.push(issue(`there is no entity type \`${name}\``, told(this.entities)));
    return new Fields(this, index, this.entities[index]);
  }

  at(place) {
    const [side, name] = Array.isArray(place) ? place : [place];
    const relations = this.plan.relations[side];
    const here = relations.filter(({ schema }) => name === undefined || schema.name === name);
    if (here.length !== 1) {
      const what = name === undefined ? "several relations: name one" : `no relation \`${name}\``;
      this.issues.push(issue(`the ${side} has ${what}`));
    }
    return here[0] ?? relations[0];
  }

  /** Entities are got by their full keys: `keys` gives a list of them, each a list of its columns. */
  get({ index }, place, keys) {
    const relation = this.at(place);
    this.locators.push({ entity: index, relation, access: "get", width: relation.schema.key.length, keys });
  }

  /**
   * Entities are all rows under the first columns of a key, which are equal; with all columns the last, if
   * it is text or binary, is a prefix. `keys` gives a list of these, each a list of its columns.
   */
  query({ index }, place, width, keys) {
    const relation = this.at(place);
    const most = relation.schema.key.length;
    if (width < 1 || width > most) this.issues.push(issue(`a query by ${width} columns of a key of ${most}`));
    this.locators.push({ entity: index, relation, access: "query", width, keys });
  }

  /** The key of a relation, whose columns are read like those of a row. */
  key(place) {
    return new StoreKey(this, this.at(place));
  }

  locate(context, entity, items) {
    const rows = new Rows(context, this.entities[entity], items);
    const here = this.locators.filter((locator) =>
      locator.entity === entity && locator.relation.side === context.side);
    return here.flatMap(({ relation, access, width, keys }) => {
      const made = KeyColumn.of(relation.schema, width);
      const from = [];
      for (const row of rows.all) {
        const found = attempt(keys, row);
        // One that is refused is located nowhere.
        if (found instanceof Reject) continue;
        for (const key of found) {
          if (key.length !== width) {
            const { name } = relation.schema;
            const names = made.map((column) => column.name).join(", ");
            refuse(`${name}-key-of-${key.length}-columns`,
              `a key of \`${name}\` has the columns ${names}, and ${key.length} were given`);
          }
          made.forEach((column, at) => column.push(key[at]));
          from.push(row.index);
        }
      }
      return parts(made, from).map((kept) => ({
        relation: relation.position,
        access,
        keys: { rows: kept.length, columns: made.map((column) => column.taken(kept)) },
        fromEntity: Uint32Array.from(kept, (at) => from[at]),
      }));
    });
  }

  keysOf(context, relation, keys) {
    const of = this.plan.relations[context.side][relation];
    const here = this.identities.filter((identity) => identity.relation === of);
    return here.map(({ entity, key, readers, condition }) => {
      const rows = new Rows(context, key, keys);
      const rejected = new Map();
      const is = condition === null ? null : sift(rows.cells(condition).slice(), rejected);
      const alive = is === null ? rows : rows.only(is.map((holds) => holds === true));
      const made = this.entities[entity].fields.map(({ name, kind }) => {
        const reader = readers.get(name);
        if (reader !== undefined) return fill(reader, alive, rejected);
        return kind.write(new Array(rows.count).fill(undefined));
      });
      const kept = [];
      for (let row = 0; row < rows.count; row += 1) {
        if (!rejected.has(row) && (is === null || is[row] === true)) kept.push(row);
      }
      return {
        entity,
        items: { rows: kept.length, columns: made.map((column) => columns.take(column, kept)) },
        fromGroup: Uint32Array.from(kept),
        standing: kept.map(() => "present"),
      };
    });
  }
}

/** The keys, in one part, or in several where no layout holds all whole numbers of a column. */
function parts(made, from) {
  const all = from.map((_, at) => at);
  if (made.every((column) => column.fitsOneLayout())) return [all];
  const byWidth = new Map();
  for (const at of all) {
    const wide = made.map((column) => isWide(column.cells[at])).join();
    byWidth.set(wide, [...(byWidth.get(wide) ?? []), at]);
  }
  return Array.from(byWidth.values());
}

/** The key of a relation, as a store has it. */
class StoreKey {
  constructor(locators, relation) {
    Object.assign(this, { locators, relation });
  }

  column(name, type) {
    const { schema: { name: table, columns: known, key }, side } = this.relation;
    const kind = columns.kindOf(type);
    const { issues } = this.locators;
    const index = key.findIndex((at) => known[at].name === name);
    const logical = columns.base(known[key[index]]?.logical ?? "value");
    if (index < 0) {
      issues.push(issue(
        `the key of \`${table}\` has no column \`${name}\``,
        `at the ${side} it has ${key.map((at) => known[at].name).join(", ")}`,
      ));
    } else if (!kind.accepts.includes(logical) && logical !== "value") {
      issues.push(issue(
        `key column \`${name}\` of \`${table}\` is ${logical}, and is read as ${type}`,
        columns.toRead(name, type, logical),
      ));
    }
    return new Column(this, kind, logical, index, name);
  }

  /** Says that the key tells the key of an entity. */
  identifies({ index }) {
    const identity = {
      entity: index, relation: this.relation, key: this, readers: new Map(), condition: null,
    };
    this.locators.identities.push(identity);
    const { entities, issues } = this.locators;
    return {
      /** A field of the entity's key. */
      field(name, reader) {
        const known = entities[index]?.fields.find((field) => field.name === name);
        if (known === undefined && entities[index] !== undefined) {
          const { name: entity, fields } = entities[index];
          issues.push(issue(`entity type \`${entity}\` has no field \`${name}\``, told(fields)));
        } else if (known !== undefined && known.kind.logical !== reader.kind.logical) {
          issues.push(issue(
            `field \`${name}\` is ${known.kind.name}, and the key gives ${reader.kind.name} for it`,
            `read the key's column as ${known.kind.name}, or make one of it: \`.map(..)\`, \`.parse..()\``,
          ));
        }
        identity.readers.set(name, reader);
        return this;
      },
      /** Keys for which this is not true are of something else. */
      onlyIf(condition) {
        identity.condition = condition;
        return this;
      },
    };
  }
}

for (const type of columns.KINDS) {
  StoreKey.prototype[type] = function (name) {
    return this.column(name, type);
  };
}
