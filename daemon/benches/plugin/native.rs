//! The mapping of `plugins/users` in native code.
//!
//! Owns the conversions of the plugin, written out against the columns of a batch as tightly as one would
//! without a plugin: a column that goes through unchanged is copied whole. Refuses rows that the benchmark
//! does not have (nulls, rejections). Invariant: it gives the entities that the plugin gives, which the
//! benchmark asserts before it measures.

use driftd::model::{Batch, Buffer, Column, ColumnBuilder, Standing, VarBytes};

const STATUSES: [&str; 3] = ["active", "suspended", "closed"];
const MICROS: i64 = 1_000_000;

/// Entities, and whether each counts as there.
pub(super) struct Entities {
    pub(super) batch: Batch,
    pub(super) from_group: Vec<usize>,
    pub(super) standing: Vec<Standing>,
}

fn bytes(column: &Column) -> &VarBytes {
    match &column.values {
        Buffer::Bytes(values) => values,
        Buffer::Int64(_) | Buffer::UInt64(_) | Buffer::Float64(_) => {
            unreachable!("the column is of bytes")
        }
    }
}

fn numbers(column: &Column) -> &[i64] {
    match &column.values {
        Buffer::Int64(values) => values,
        Buffer::Bytes(_) | Buffer::UInt64(_) | Buffer::Float64(_) => {
            unreachable!("the column is of integers")
        }
    }
}

/// A row of the `users` table: all columns but the last are the fields of the entity.
pub(super) fn row(rows: &Batch) -> Entities {
    let (migrated, fields) = rows.columns.split_last().expect("there are ten columns");
    let standing = numbers(migrated).iter().map(|migrated| match migrated {
        0 => Standing::Excluded,
        _ => Standing::Present,
    });
    Entities {
        batch: Batch { rows: rows.rows, columns: fields.to_vec() },
        from_group: (0..rows.rows).collect(),
        standing: standing.collect(),
    }
}

/// A text in CBOR.
fn text(cell: &[u8]) -> &[u8] {
    match cell[0] {
        0x78 => &cell[2..],
        0x79 => &cell[3..],
        0x60..=0x77 => &cell[1..],
        other => unreachable!("a cell that begins with {other} is no text"),
    }
}

/// An integer in CBOR that is not negative.
fn integer(cell: &[u8]) -> i64 {
    let rest = &cell[1..];
    let wide = |rest: &[u8]| rest.iter().fold(0, |value, byte| value << 8 | i64::from(*byte));
    match cell[0] {
        small @ 0..=0x17 => i64::from(small),
        0x18..=0x1b => wide(rest),
        other => unreachable!("a cell that begins with {other} is no such integer"),
    }
}

fn digits(text: &[u8]) -> i64 {
    text.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'))
}

/// Days since 1970 of `yyyy-mm-dd`.
fn date(text: &[u8]) -> i64 {
    let (year, month, day) = (digits(&text[..4]), digits(&text[5..7]), digits(&text[8..10]));
    let year = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Microseconds since 1970 of `yyyy-mm-ddThh:mm:ss.ffffffZ`.
fn timestamp(text: &[u8]) -> i64 {
    let seconds = date(text) * 86_400
        + digits(&text[11..13]) * 3_600
        + digits(&text[14..16]) * 60
        + digits(&text[17..19]);
    let fraction = &text[20..text.len() - 1];
    let scale = (fraction.len()..6).fold(1, |scale, _| scale * 10);
    seconds * MICROS + digits(fraction) * scale
}

/// Cents as a decimal number.
fn cents(out: &mut Vec<u8>, cents: i64) {
    use std::io::Write as _;
    write!(out, "{}.{:02}", cents / 100, cents % 100).expect("a vector takes what is written");
}

/// Items of the `shop` table.
pub(super) fn item(items: &Batch) -> Entities {
    let rows = items.rows;
    let column = |at: usize| bytes(&items.columns[at]);
    let mut fields: Vec<ColumnBuilder> = Vec::with_capacity(9);
    let texts = |fields: &mut Vec<ColumnBuilder>, at: usize, skip: usize| {
        let (from, mut to) = (column(at), ColumnBuilder::bytes(rows));
        for row in 0..rows {
            let cell = from.get(row);
            to.push_bytes(if skip > 0 { &cell[skip..] } else { text(cell) });
        }
        fields.push(to);
    };
    let whole = |fields: &mut Vec<ColumnBuilder>, at: usize, read: fn(&[u8]) -> i64| {
        let (from, mut to) = (column(at), ColumnBuilder::int64(rows));
        (0..rows).for_each(|row| to.push_i64(read(from.get(row))));
        fields.push(to);
    };
    whole(&mut fields, 1, |sk| digits(&sk["USER#".len()..]));
    texts(&mut fields, 0, "TENANT#".len());
    texts(&mut fields, 2, 0);
    texts(&mut fields, 3, 0);
    let (mut status, mut balance) = (ColumnBuilder::bytes(rows), ColumnBuilder::bytes(rows));
    for row in 0..rows {
        let state = usize::try_from(integer(column(4).get(row)) - 1).expect("it is from 1 to 3");
        status.push_bytes(STATUSES[state].as_bytes());
        balance.write_bytes(|out| cents(out, integer(column(5).get(row))));
    }
    fields.extend([status, balance]);
    whole(&mut fields, 6, |born| date(text(born)));
    whole(&mut fields, 7, |created| timestamp(text(created)));
    whole(&mut fields, 8, integer);
    let batch = Batch { rows, columns: fields.into_iter().map(ColumnBuilder::finish).collect() };
    Entities { batch, from_group: (0..rows).collect(), standing: vec![Standing::Present; rows] }
}
