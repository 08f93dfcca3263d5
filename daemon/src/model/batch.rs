//! Rows as columns.
//!
//! Owns [`Batch`] and what it is made of, in the very layout of the plugin contract (`wit/`), so
//! that a batch crosses to a plugin by moving vectors. Refuses names and types of columns: those
//! are agreed once, in a schema or a plan, and never travel with a batch. Invariant: every column of
//! a batch has as many values as the batch has rows, and [`VarBytes`] offsets start at 0, never fall
//! and end at the length of the data.

use std::ops::Range;

/// One bit a row, least significant first. Empty means that every bit is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitmap(pub Vec<u8>);

impl Bitmap {
    /// Whether bit `row` is one. Bits beyond the end of a non-empty map are zero.
    #[inline]
    #[must_use]
    pub fn get(&self, row: usize) -> bool {
        self.0.is_empty() || self.0.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1)
    }

    /// A map of `rows` bits, each given by `bit`.
    pub fn from_fn(rows: usize, mut bit: impl FnMut(usize) -> bool) -> Self {
        let mut bytes = vec![0u8; rows.div_ceil(8)];
        let mut all = true;
        for row in 0..rows {
            if bit(row) {
                bytes[row / 8] |= 1 << (row % 8);
            } else {
                all = false;
            }
        }
        if all { Self::default() } else { Self(bytes) }
    }
}

/// Variable-width values in one arena: value `i` is `data[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VarBytes {
    /// One more than there are values; starts at 0, never falls, ends at `data.len()`.
    pub offsets: Vec<u32>,
    /// All values, one after the other.
    pub data: Vec<u8>,
}

impl Default for VarBytes {
    fn default() -> Self {
        Self { offsets: vec![0], data: Vec::new() }
    }
}

impl VarBytes {
    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Value `index`.
    ///
    /// # Panics
    /// If there is no such value.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> &[u8] {
        &self.data[self.offsets[index] as usize..self.offsets[index + 1] as usize]
    }

    /// Appends a value.
    ///
    /// # Panics
    /// If the arena would exceed 4 GiB; pages are bounded far below that.
    #[inline]
    pub fn push(&mut self, value: &[u8]) {
        self.data.extend_from_slice(value);
        self.close();
    }

    /// Appends values `rows` of another arena.
    fn extend_from(&mut self, other: &Self, rows: Range<usize>) {
        let offsets = &other.offsets[rows.start..=rows.end];
        let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
        let base = u32::try_from(self.data.len()).expect("a page is far below 4 GiB");
        self.data.extend_from_slice(&other.data[first as usize..last as usize]);
        u32::try_from(self.data.len()).expect("a page is far below 4 GiB");
        self.offsets.extend(offsets[1..].iter().map(|offset| offset - first + base));
    }

    /// Ends a value that was written to `data` directly.
    ///
    /// # Panics
    /// If the arena exceeds 4 GiB; pages are bounded far below that.
    #[inline]
    pub fn close(&mut self) {
        self.offsets.push(u32::try_from(self.data.len()).expect("a page is far below 4 GiB"));
    }
}

/// The values of a column, by physical layout.
#[derive(Clone, Debug, PartialEq)]
pub enum Buffer {
    /// Signed integers, and everything counted in them: booleans, dates, times, timestamps.
    Int64(Vec<i64>),
    /// Unsigned integers.
    UInt64(Vec<u64>),
    /// IEEE 754 doubles.
    Float64(Vec<f64>),
    /// Text, binary, decimals as ASCII, JSON, dynamically typed cells as CBOR.
    Bytes(VarBytes),
}

impl Buffer {
    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Int64(values) => values.len(),
            Self::UInt64(values) => values.len(),
            Self::Float64(values) => values.len(),
            Self::Bytes(values) => values.len(),
        }
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The layout's name in the plugin contract.
    #[must_use]
    pub const fn layout(&self) -> &'static str {
        match self {
            Self::Int64(_) => "int64",
            Self::UInt64(_) => "uint64",
            Self::Float64(_) => "float64",
            Self::Bytes(_) => "bytes",
        }
    }
}

/// The values of one column of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Zero means null; in a column of logical type `value` it means absent (there, null is a CBOR
    /// null). The value under a zero is a placeholder.
    pub validity: Bitmap,
    /// One value a row.
    pub values: Buffer,
}

impl Column {
    /// Whether row `row` holds a value.
    #[inline]
    #[must_use]
    pub fn is_valid(&self, row: usize) -> bool {
        self.validity.get(row)
    }

    /// The bytes of row `row`, if this is a column of bytes and the row holds a value.
    #[inline]
    #[must_use]
    pub fn bytes(&self, row: usize) -> Option<&[u8]> {
        match &self.values {
            Buffer::Bytes(values) if self.is_valid(row) => Some(values.get(row)),
            Buffer::Bytes(_) | Buffer::Int64(_) | Buffer::UInt64(_) | Buffer::Float64(_) => None,
        }
    }

    /// A column of integers, null where there is none. Signed if that holds them all, else unsigned;
    /// if neither does, as text, which [`Column::whole`] reads.
    #[must_use]
    pub fn of_integers(integers: &[Option<i128>]) -> Self {
        let mut values = integers.iter().flatten();
        let validity = Bitmap::from_fn(integers.len(), |row| integers[row].is_some());
        let there = |integer: &Option<i128>| integer.unwrap_or_default();
        if values.clone().all(|value| i64::try_from(*value).is_ok()) {
            let signed = integers.iter().map(|value| i64::try_from(there(value)));
            let signed = signed.map(Result::unwrap_or_default).collect();
            return Self { validity, values: Buffer::Int64(signed) };
        }
        if values.all(|value| u64::try_from(*value).is_ok()) {
            let unsigned = integers.iter().map(|value| u64::try_from(there(value)));
            let unsigned = unsigned.map(Result::unwrap_or_default).collect();
            return Self { validity, values: Buffer::UInt64(unsigned) };
        }
        let mut text = VarBytes::default();
        integers.iter().for_each(|value| text.push(there(value).to_string().as_bytes()));
        Self { validity, values: Buffer::Bytes(text) }
    }

    /// The integer of row `row` of a column of logical type `integer`, whatever its layout.
    #[inline]
    #[must_use]
    pub fn whole(&self, row: usize) -> Option<i128> {
        self.integer(row).or_else(|| std::str::from_utf8(self.bytes(row)?).ok()?.parse().ok())
    }

    /// The integer of row `row`, if this is a column of integers and the row holds a value.
    #[inline]
    #[must_use]
    pub fn integer(&self, row: usize) -> Option<i128> {
        match &self.values {
            Buffer::Int64(values) if self.is_valid(row) => Some(i128::from(values[row])),
            Buffer::UInt64(values) if self.is_valid(row) => Some(i128::from(values[row])),
            Buffer::Int64(_) | Buffer::UInt64(_) | Buffer::Float64(_) | Buffer::Bytes(_) => None,
        }
    }
}

/// Rows of one relation, or canonical entities of one type, as columns in an order agreed before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// How many rows.
    pub rows: usize,
    /// The columns; each holds `rows` values.
    pub columns: Vec<Column>,
}

impl Batch {
    /// How much memory its values take, about.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let of = |column: &Column| match &column.values {
            Buffer::Int64(_) | Buffer::UInt64(_) | Buffer::Float64(_) => self.rows * 8,
            Buffer::Bytes(values) => values.data.len() + self.rows * 4,
        };
        self.columns.iter().map(of).sum::<usize>() as u64
    }

    /// The rows at `indices`, in that order.
    ///
    /// # Panics
    /// If an index is not below `rows`.
    #[must_use]
    pub fn take(&self, indices: &[usize]) -> Self {
        Self {
            rows: indices.len(),
            columns: self
                .columns
                .iter()
                .map(|column| {
                    let mut builder = ColumnBuilder::like(&column.values, indices.len());
                    for run in runs(indices) {
                        builder.extend_from(column, run);
                    }
                    builder.finish()
                })
                .collect(),
        }
    }

    /// Batches of one plan, one after the other. Integers alone have several layouts, of which each
    /// batch may have chosen one.
    #[must_use]
    pub fn concat(batches: &[&Self]) -> Self {
        let filled: Vec<&Self> = batches.iter().filter(|batch| batch.rows > 0).copied().collect();
        let Some(first) = filled.first().or_else(|| batches.first()) else {
            return Self::default();
        };
        if filled.len() <= 1 {
            return (*first).clone();
        }
        let columns = (0..first.columns.len()).map(|at| concat_column(&filled, first, at));
        Self { rows: filled.iter().map(|batch| batch.rows).sum(), columns: columns.collect() }
    }

    /// Appends the rows of `other`, which has the same columns in the same layouts.
    ///
    /// # Panics
    /// If the layouts differ, which is a bug of the caller.
    pub fn append(&mut self, other: &Self) {
        if self.columns.is_empty() {
            self.clone_from(other);
            return;
        }
        assert_eq!(self.columns.len(), other.columns.len(), "batches of one plan have one shape");
        let columns = std::mem::take(&mut self.columns);
        self.columns = columns
            .into_iter()
            .zip(&other.columns)
            .map(|(column, more)| {
                let mut builder = ColumnBuilder::resume(column);
                builder.extend_from(more, 0..other.rows);
                builder.finish()
            })
            .collect();
        self.rows += other.rows;
    }
}

fn concat_column(batches: &[&Batch], first: &Batch, at: usize) -> Column {
    let layout = |column: &Column| std::mem::discriminant::<Buffer>(&column.values);
    if batches.iter().any(|batch| layout(&batch.columns[at]) != layout(&first.columns[at])) {
        let cells = batches
            .iter()
            .flat_map(|batch| (0..batch.rows).map(|row| batch.columns[at].whole(row)));
        return Column::of_integers(&cells.collect::<Vec<_>>());
    }
    let rows = batches.iter().map(|batch| batch.rows).sum();
    let mut builder = ColumnBuilder::like(&first.columns[at].values, rows);
    for batch in batches {
        builder.extend_from(&batch.columns[at], 0..batch.rows);
    }
    builder.finish()
}

/// `indices` as ranges of successive ones, in the same order.
fn runs(indices: &[usize]) -> impl Iterator<Item = Range<usize>> {
    indices
        .chunk_by(|one, next| one.checked_add(1) == Some(*next))
        .filter_map(|run| Some(*run.first()?..run.last()? + 1))
}

/// Builds a column value by value. Nulls cost nothing until the first one.
#[derive(Clone, Debug)]
pub struct ColumnBuilder {
    values: Buffer,
    /// Empty while no null was pushed.
    validity: Vec<u8>,
    rows: usize,
}

impl ColumnBuilder {
    /// Starts a column of the layout that `values` has; its contents are not taken.
    #[must_use]
    pub fn like(values: &Buffer, capacity: usize) -> Self {
        match values {
            Buffer::Int64(_) => Self::int64(capacity),
            Buffer::UInt64(_) => Self::uint64(capacity),
            Buffer::Float64(_) => Self::float64(capacity),
            Buffer::Bytes(_) => Self::bytes(capacity),
        }
    }

    /// Goes on with a finished column.
    #[must_use]
    pub fn resume(column: Column) -> Self {
        let rows = column.values.len();
        Self { values: column.values, validity: column.validity.0, rows }
    }

    /// Starts a column of signed integers.
    #[must_use]
    pub fn int64(capacity: usize) -> Self {
        Self::new(Buffer::Int64(Vec::with_capacity(capacity)))
    }

    /// Starts a column of unsigned integers.
    #[must_use]
    pub fn uint64(capacity: usize) -> Self {
        Self::new(Buffer::UInt64(Vec::with_capacity(capacity)))
    }

    /// Starts a column of doubles.
    #[must_use]
    pub fn float64(capacity: usize) -> Self {
        Self::new(Buffer::Float64(Vec::with_capacity(capacity)))
    }

    /// Starts a column of bytes.
    #[must_use]
    pub fn bytes(capacity: usize) -> Self {
        let mut values = VarBytes::default();
        values.offsets.reserve(capacity);
        Self::new(Buffer::Bytes(values))
    }

    fn new(values: Buffer) -> Self {
        Self { values, validity: Vec::new(), rows: 0 }
    }

    /// Makes room for `bytes` bytes of values, in a column of bytes.
    #[must_use]
    pub fn with_room(mut self, bytes: usize) -> Self {
        if let Buffer::Bytes(values) = &mut self.values {
            values.data.reserve(bytes);
        }
        self
    }

    /// How many values were pushed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether nothing was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Appends a signed integer.
    ///
    /// # Panics
    /// If the column has another layout, which is a bug of the caller. So do the other pushes.
    #[inline]
    pub fn push_i64(&mut self, value: i64) {
        match &mut self.values {
            Buffer::Int64(values) => values.push(value),
            Buffer::UInt64(_) | Buffer::Float64(_) | Buffer::Bytes(_) => self.wrong("int64"),
        }
        self.note(true);
    }

    /// Appends an unsigned integer.
    #[inline]
    pub fn push_u64(&mut self, value: u64) {
        match &mut self.values {
            Buffer::UInt64(values) => values.push(value),
            Buffer::Int64(_) | Buffer::Float64(_) | Buffer::Bytes(_) => self.wrong("uint64"),
        }
        self.note(true);
    }

    /// Appends a double.
    #[inline]
    pub fn push_f64(&mut self, value: f64) {
        match &mut self.values {
            Buffer::Float64(values) => values.push(value),
            Buffer::Int64(_) | Buffer::UInt64(_) | Buffer::Bytes(_) => self.wrong("float64"),
        }
        self.note(true);
    }

    /// Appends bytes.
    #[inline]
    pub fn push_bytes(&mut self, value: &[u8]) {
        self.write_bytes(|data| data.extend_from_slice(value));
    }

    /// Appends the bytes that `write` adds to the end of the arena.
    #[inline]
    pub fn write_bytes(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        match &mut self.values {
            Buffer::Bytes(values) => {
                write(&mut values.data);
                values.close();
            }
            Buffer::Int64(_) | Buffer::UInt64(_) | Buffer::Float64(_) => self.wrong("bytes"),
        }
        self.note(true);
    }

    /// Appends a null; in a column of logical type `value`, an absent cell.
    #[inline]
    pub fn push_null(&mut self) {
        match &mut self.values {
            Buffer::Int64(values) => values.push(0),
            Buffer::UInt64(values) => values.push(0),
            Buffer::Float64(values) => values.push(0.0),
            Buffer::Bytes(values) => values.close(),
        }
        self.note(false);
    }

    /// Appends rows `rows` of `column`, which has the same layout.
    ///
    /// # Panics
    /// If the column has no such rows.
    pub fn extend_from(&mut self, column: &Column, rows: Range<usize>) {
        match (&mut self.values, &column.values) {
            (Buffer::Int64(to), Buffer::Int64(from)) => to.extend_from_slice(&from[rows.clone()]),
            (Buffer::UInt64(to), Buffer::UInt64(from)) => to.extend_from_slice(&from[rows.clone()]),
            (Buffer::Float64(to), Buffer::Float64(from)) => {
                to.extend_from_slice(&from[rows.clone()]);
            }
            (Buffer::Bytes(to), Buffer::Bytes(from)) => to.extend_from(from, rows.clone()),
            _ => self.wrong("other rows"),
        }
        if self.validity.is_empty() && column.validity.0.is_empty() {
            self.rows += rows.len();
            return;
        }
        for row in rows {
            self.note(column.is_valid(row));
        }
    }

    /// The column.
    #[must_use]
    pub fn finish(self) -> Column {
        Column { validity: Bitmap(self.validity), values: self.values }
    }

    #[inline]
    fn note(&mut self, valid: bool) {
        if !valid && self.validity.is_empty() {
            // All ones so far; the bits beyond the last row stay zero.
            self.validity = vec![u8::MAX; self.rows / 8];
            let rest = self.rows % 8;
            if rest > 0 {
                self.validity.push((1u8 << rest) - 1);
            }
        }
        if !valid || !self.validity.is_empty() {
            if self.validity.len() * 8 <= self.rows {
                self.validity.push(0);
            }
            if valid {
                self.validity[self.rows / 8] |= 1 << (self.rows % 8);
            }
        }
        self.rows += 1;
    }

    #[cold]
    fn wrong(&self, pushed: &str) -> ! {
        // The values stay out of it: what panics say is shown.
        let layout = self.values.layout();
        panic!("pushed {pushed} to a column of layout {layout}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn integers_come_back_whatever_their_neighbours(
            integers in prop::collection::vec(
                prop::option::of(prop_oneof![
                    any::<i64>().prop_map(i128::from),
                    any::<u64>().prop_map(i128::from),
                    any::<i128>(),
                ]),
                0..12,
            ),
        ) {
            let column = Column::of_integers(&integers);
            let back: Vec<_> = (0..integers.len()).map(|row| column.whole(row)).collect();
            prop_assert_eq!(back, integers);
        }

        #[test]
        fn rows_in_bulk_are_rows_one_by_one(
            cells in prop::collection::vec(prop::option::of(any::<Vec<u8>>()), 1..40),
            numbers in prop::collection::vec(prop::option::of(any::<i64>()), 40),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
            from in any::<prop::sample::Index>(),
        ) {
            let rows = cells.len();
            let (mut bytes, mut integers) = (ColumnBuilder::bytes(0), ColumnBuilder::int64(0));
            for (cell, number) in cells.iter().zip(&numbers) {
                match cell {
                    Some(cell) => bytes.push_bytes(cell),
                    None => bytes.push_null(),
                }
                match number {
                    Some(number) => integers.push_i64(*number),
                    None => integers.push_null(),
                }
            }
            let columns = vec![bytes.finish(), integers.finish()];
            let batch = Batch { rows, columns };
            let mut indices: Vec<_> = picks.iter().map(|pick| pick.index(rows)).collect();
            indices.extend(from.index(rows)..rows);
            prop_assert_eq!(runs(&indices).flatten().collect::<Vec<_>>(), indices.clone());
            let taken = batch.take(&indices);
            for (column, taken) in batch.columns.iter().zip(&taken.columns) {
                let mut builder = ColumnBuilder::like(&column.values, 0);
                indices.iter().for_each(|&index| builder.extend_from(column, index..index + 1));
                prop_assert_eq!(taken, &builder.finish());
            }
        }

        #[test]
        fn a_built_column_gives_back_what_was_pushed(cells in prop::collection::vec(prop::option::of(any::<Vec<u8>>()), 0..40)) {
            let mut builder = ColumnBuilder::bytes(0);
            for cell in &cells {
                match cell {
                    Some(bytes) => builder.push_bytes(bytes),
                    None => builder.push_null(),
                }
            }
            let column = builder.finish();
            let back: Vec<_> = (0..cells.len()).map(|row| column.bytes(row).map(<[u8]>::to_vec)).collect();
            prop_assert_eq!(back, cells.clone());
            let batch = Batch { rows: cells.len(), columns: vec![column] };
            let mut twice = batch.take(&[]);
            twice.append(&batch);
            twice.append(&batch);
            let reversed: Vec<_> = (0..twice.rows).rev().collect();
            let expected: Vec<_> = cells.iter().rev().chain(cells.iter().rev()).cloned().collect();
            let taken = twice.take(&reversed);
            let back: Vec<_> = (0..taken.rows).map(|row| taken.columns[0].bytes(row).map(<[u8]>::to_vec)).collect();
            prop_assert_eq!(back, expected);
        }
    }
}
