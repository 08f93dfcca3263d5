//! Keys of every type: a table for each, all of them one DynamoDB table in the target. It is mapped, it is
//! located by `get` and by `query`, and a store's key tells the entity.

use driftd_plugin::prelude::*;
use driftd_plugin::{Binary, Boolean, Col, Integer, Text, Unsigned};

#[derive(Default)]
struct Keys;
driftd_plugin::export!(Keys: Mapping + Locating);

/// For each type of a key: the entity type, which is the name of its table too, and its kind.
macro_rules! each_kind {
    ($do:ident) => {
        $do! {
            integer: Integer, unsigned: Unsigned, decimal: Decimal, whole: Decimal, text: Text, label: Text,
            binary: Binary, boolean: Boolean, timestamp: Timestamp, datetime: DateTime, date: Date, time: Time,
        }
    };
}

impl Mapping for Keys {
    const NAME: &'static str = "keys";
    const SUMMARY: &'static str = "maps tables with keys of every type";

    fn plan(&self, plan: &Plan) {
        let item = plan.target();
        let kind = item.text("pk");
        macro_rules! entities {
            ($($name:ident: $kind:ident,)*) => {$(
                let table = plan.relation(Side::Source, stringify!($name));
                let entity = plan.entity(stringify!($name), table, item);
                entity.key("id", table.column::<$kind>("id"), item.column::<$kind>("id"));
                entity.compared("name", table.text("name"), item.text("name"));
                entity.on(Side::Target).only_if(kind.map(|kind| kind == stringify!($name)));
            )*};
        }
        each_kind!(entities);

        let pairs = plan.relation(Side::Source, "pair");
        let pair = plan.entity("pair", pairs, item);
        pair.key("tenant", pairs.text("tenant"), item.text("tenant"));
        pair.key("id", pairs.unsigned("id"), item.text("number").parse_unsigned());
        pair.compared("name", pairs.text("name"), item.text("name"));
        pair.on(Side::Target).only_if(kind.map(|kind| kind == "pair"));
    }
}

impl Locating for Keys {
    fn locate(&self, locators: &Locators) {
        macro_rules! places {
            ($($name:ident: $kind:ident,)*) => {$(
                let entity = locators.entity(stringify!($name));
                let id: Col<$kind> = entity.field("id");
                let at = (Side::Source, stringify!($name));
                locators.get(entity, at, move |entity, key| {
                    key.push(entity.get(id)?);
                    key.end();
                    Ok(())
                });
                locators.query(entity, Side::Target, 1, |_, key| {
                    key.push(stringify!($name));
                    key.end();
                    Ok(())
                });
                let key = locators.key(at);
                key.identifies(entity).field("id", key.column::<$kind>("id"));
            )*};
        }
        each_kind!(places);

        let pair = locators.entity("pair");
        let (tenant, id) = (pair.text("tenant"), pair.unsigned("id"));
        locators.get(pair, (Side::Source, "pair"), move |pair, key| {
            key.push(pair.need(tenant)?);
            key.push(pair.need(id)?);
            key.end();
            Ok(())
        });
        // All columns, of which the last is no text: a `get`.
        locators.query(pair, (Side::Source, "pair"), 2, move |pair, key| {
            key.push(pair.need(tenant)?);
            key.push(Decimal::from(pair.need(id)?));
            key.end();
            Ok(())
        });
        locators.query(pair, Side::Target, 1, |_, key| {
            key.push("pair");
            key.end();
            Ok(())
        });
        let key = locators.key((Side::Source, "pair"));
        key.identifies(pair).field("tenant", key.text("tenant")).field("id", key.unsigned("id"));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn fixtures() {
        driftd_plugin::fixtures::check::<super::Keys>("fixtures");
    }
}
