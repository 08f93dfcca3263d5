//! Store keys between their batch form and their durable form.
//!
//! Owns encoding and decoding of [`StoreKey`]s by a relation's key columns. Refuses anything about
//! entities. Invariant: decoding what was encoded gives the same key columns.

use crate::model::{
    Batch, Column, ColumnBuilder, Logical, Number, RelationSchema, StoreKey, Value,
};

/// The durable form of the primary key in row `row` of `keys`.
pub(super) fn encode(schema: &RelationSchema, keys: &Batch, row: usize) -> StoreKey {
    let values = schema.key_columns().zip(&keys.columns);
    let list = values.map(|(def, column)| value(def.logical, column, row)).collect();
    StoreKey(Value::List(list).to_cbor().into_boxed_slice())
}

fn value(logical: Logical, column: &Column, row: usize) -> Value {
    let whole = logical == Logical::Integer;
    if let Some(integer) = if whole { column.whole(row) } else { column.integer(row) } {
        return Value::Number(Number::from(integer));
    }
    let Some(bytes) = column.bytes(row) else { return Value::Null };
    let text = || String::from_utf8_lossy(bytes).into_owned();
    match logical {
        Logical::Decimal => {
            Number::parse(&text()).map_or_else(|_odd| Value::Text(text()), Value::Number)
        }
        Logical::Text | Logical::Enum | Logical::Set | Logical::Json => Value::Text(text()),
        // The integral ones hold no bytes.
        Logical::Binary
        | Logical::Value
        | Logical::Boolean
        | Logical::Integer
        | Logical::Float
        | Logical::Timestamp
        | Logical::DateTime
        | Logical::Date
        | Logical::Time => Value::Bytes(bytes.to_vec()),
    }
}

/// The batch form of `keys`, and for each row of it the position in `keys`. What is no key of this
/// relation (its key changed since) is left out: nothing lies there.
pub(super) fn decode<'a>(
    schema: &RelationSchema,
    keys: impl IntoIterator<Item = &'a StoreKey>,
) -> (Batch, Vec<usize>) {
    let logicals: Vec<Logical> = schema.key_columns().map(|def| def.logical).collect();
    let mut columns: Vec<Vec<Value>> = vec![Vec::new(); logicals.len()];
    let mut kept = Vec::new();
    for (position, key) in keys.into_iter().enumerate() {
        let Ok(Value::List(values)) = Value::decode(&key.0) else { continue };
        let fits = values.len() == logicals.len()
            && values.iter().zip(&logicals).all(|(value, logical)| fits(value, *logical));
        if fits {
            kept.push(position);
            for (column, value) in columns.iter_mut().zip(values) {
                column.push(value);
            }
        }
    }
    let columns =
        columns.into_iter().zip(logicals).map(|(values, logical)| column(values, logical));
    (Batch { rows: kept.len(), columns: columns.collect() }, kept)
}

fn integral(logical: Logical) -> bool {
    matches!(
        logical,
        Logical::Integer
            | Logical::Boolean
            | Logical::Timestamp
            | Logical::DateTime
            | Logical::Date
            | Logical::Time
    )
}

#[expect(clippy::wildcard_enum_match_arm, reason = "nothing but these can be in a key")]
fn fits(value: &Value, logical: Logical) -> bool {
    match value {
        Value::Number(number) if integral(logical) => number
            .to_integer()
            .is_some_and(|whole| i64::try_from(whole).is_ok() || u64::try_from(whole).is_ok()),
        Value::Number(_) => logical == Logical::Decimal,
        Value::Text(_) | Value::Bytes(_) => !integral(logical),
        _ => false,
    }
}

/// A column of values that fit.
#[expect(clippy::wildcard_enum_match_arm, reason = "nothing but these can be in a key")]
fn column(values: Vec<Value>, logical: Logical) -> Column {
    let number = |value: &Value| {
        let Value::Number(number) = value else { return None };
        Some(*number)
    };
    if !integral(logical) {
        let mut builder = ColumnBuilder::bytes(values.len());
        for value in values {
            match value {
                Value::Text(text) => builder.push_bytes(text.as_bytes()),
                Value::Bytes(bytes) => builder.push_bytes(&bytes),
                other => {
                    let decimal = number(&other).map(|number| match number.to_integer() {
                        Some(whole) => whole.to_string(),
                        None => number.to_string(),
                    });
                    builder.push_bytes(decimal.unwrap_or_default().as_bytes());
                }
            }
        }
        return builder.finish();
    }
    let whole = |value: &Value| number(value)?.to_integer();
    Column::of_integers(&values.iter().map(whole).collect::<Vec<_>>())
}

/// Whether row `row` of `one` and row `other` of `two` are the same key. Columns of decimals are
/// compared by value: a store may write them in another form.
pub(super) fn same(schema: &RelationSchema, one: (&Batch, usize), two: (&Batch, usize)) -> bool {
    let columns = one.0.columns.iter().zip(&two.0.columns);
    schema
        .key_columns()
        .zip(columns)
        .all(|(def, (a, b))| value(def.logical, a, one.1) == value(def.logical, b, two.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bitmap, Buffer, ColumnDef};

    #[test]
    fn decoding_undoes_encoding() {
        let def =
            |name: &str, logical| ColumnDef { name: name.to_owned(), logical, nullable: false };
        let schema = RelationSchema {
            relation: "r".to_owned(),
            columns: vec![
                def("a", Logical::Integer),
                def("b", Logical::Text),
                def("c", Logical::Decimal),
                def("d", Logical::Binary),
            ],
            key: vec![0, 1, 2, 3],
            open: false,
        };
        let integers = [Buffer::Int64(vec![-1, 7]), Buffer::UInt64(vec![7, u64::MAX])];
        let mut integers =
            integers.map(|values| Column { validity: Bitmap::default(), values }).to_vec();
        integers.push(Column::of_integers(&[Some(-5), Some(u64::MAX.into())]));
        for integers in integers {
            let mut columns = vec![integers];
            for cells in [["x", "é"], ["1.5", "-30"], ["", "b"]] {
                let mut builder = ColumnBuilder::bytes(2);
                cells.iter().for_each(|cell| builder.push_bytes(cell.as_bytes()));
                columns.push(builder.finish());
            }
            let keys = Batch { rows: 2, columns };
            let encoded: Vec<_> = (0..2).map(|row| encode(&schema, &keys, row)).collect();
            let odd = StoreKey(Box::from(&b"odd"[..]));
            let (decoded, kept) = decode(&schema, [&odd, &encoded[0], &encoded[1]]);
            assert_eq!(kept, [1, 2]);
            assert_eq!(decoded, keys);
            assert!(same(&schema, (&keys, 1), (&decoded, 1)));
            assert!(!same(&schema, (&keys, 0), (&decoded, 1)));
        }
    }
}
