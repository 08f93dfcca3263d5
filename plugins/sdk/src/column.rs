//! Reading and building columns.
//!
//! Owns the layout of columns: bitmaps, offsets, arenas. Refuses to know what a cell means.
//! Invariant: a built column has a value or a null for every push.

use std::str::FromStr;

use crate::cell::{Found, Wrong};
use crate::wire::{Batch, Buffer, Column, VarBytes};

/// One bit a row, least significant first; empty means that all are ones.
#[inline(always)]
pub(crate) fn bit(bits: &[u8], row: usize) -> bool {
    bits.is_empty() || bits[row / 8] >> (row % 8) & 1 == 1
}

/// A whole number in decimal digits.
#[cold]
pub(crate) fn parsed<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

impl Column {
    #[inline(always)]
    pub(crate) fn int(&self, row: usize) -> Option<i64> {
        match &self.values {
            Buffer::Int64(values) if bit(&self.validity, row) => Some(values[row]),
            _ => None,
        }
    }

    #[inline(always)]
    pub(crate) fn float(&self, row: usize) -> Option<f64> {
        match &self.values {
            Buffer::Float64(values) if bit(&self.validity, row) => Some(values[row]),
            _ => None,
        }
    }

    /// The whole number of a row, whichever layout holds it. Where a host has put batches of several
    /// layouts together it is a text.
    #[inline(always)]
    pub(crate) fn whole<T: TryFrom<i64> + TryFrom<u64> + FromStr>(&self, row: usize) -> Found<T> {
        if !bit(&self.validity, row) {
            return Ok(None);
        }
        let whole = match &self.values {
            Buffer::Int64(values) => T::try_from(values[row]).ok(),
            Buffer::Uint64(values) => T::try_from(values[row]).ok(),
            Buffer::Bytes(_) => self.bytes(row).and_then(|text| parsed(text)),
            Buffer::Float64(_) => return Ok(None),
        };
        whole.map(Some).ok_or(Wrong)
    }

    /// The bytes of a row, unless it is null (or, in a column of CBOR cells, absent).
    #[inline(always)]
    pub(crate) fn bytes(&self, row: usize) -> Option<&[u8]> {
        match &self.values {
            Buffer::Bytes(VarBytes { offsets, data }) if bit(&self.validity, row) => {
                Some(&data[offsets[row] as usize..offsets[row + 1] as usize])
            }
            _ => None,
        }
    }

    /// The column, with nulls where rows are not live.
    pub(crate) fn only(&self, live: &[bool]) -> Self {
        let rows = || live.iter().enumerate();
        let values = match &self.values {
            Buffer::Bytes(_) => {
                let mut kept = Bytes::new(live.len());
                rows().for_each(|(row, live)| kept.push(self.bytes(row).filter(|_| *live)));
                return kept.finish();
            }
            counted => counted.clone(),
        };
        let mut validity = Validity::default();
        rows().for_each(|(row, live)| validity.push(*live && bit(&self.validity, row)));
        Self { validity: validity.bits, values }
    }

    /// The rows at `indices` only.
    pub(crate) fn take(self, indices: &[u32]) -> Self {
        let rows = || indices.iter().map(|row| *row as usize);
        let mut validity = Validity::default();
        let values = match &self.values {
            Buffer::Bytes(_) => {
                let mut taken = Bytes::new(indices.len());
                rows().for_each(|row| taken.push(self.bytes(row)));
                return taken.finish();
            }
            Buffer::Int64(values) => Buffer::Int64(rows().map(|row| values[row]).collect()),
            Buffer::Uint64(values) => Buffer::Uint64(rows().map(|row| values[row]).collect()),
            Buffer::Float64(values) => Buffer::Float64(rows().map(|row| values[row]).collect()),
        };
        rows().for_each(|row| validity.push(bit(&self.validity, row)));
        Self { validity: validity.bits, values }
    }
}

/// The items by ascending key; items of one key stay in their order. The one sort of a plugin: every
/// other kind of it would make each plugin larger.
pub(crate) fn sorted<T>(items: Vec<T>, key: impl Fn(&T) -> u64) -> Vec<T> {
    if items.is_sorted_by_key(&key) {
        return items;
    }
    let keys = items.iter().zip(0u128..).map(|(item, at)| u128::from(key(item)) << 64 | at);
    let mut keys: Vec<u128> = keys.collect();
    keys.sort_unstable();
    let mut items: Vec<_> = items.into_iter().map(Some).collect();
    keys.into_iter().filter_map(|key| items[key as u64 as usize].take()).collect()
}

/// The rows at `indices` only.
pub(crate) fn take(columns: Vec<Column>, indices: &[u32]) -> Batch {
    Batch {
        rows: indices.len() as u32,
        columns: columns.into_iter().map(|column| column.take(indices)).collect(),
    }
}

/// Which values are there. Costs nothing until the first null.
#[derive(Debug, Default)]
pub struct Validity {
    bits: Vec<u8>,
    rows: usize,
}

impl Validity {
    #[inline(always)]
    fn push(&mut self, valid: bool) {
        self.rows += 1;
        if !(valid && self.bits.is_empty()) {
            self.mark(self.rows - 1, valid);
        }
    }

    #[inline(never)]
    fn mark(&mut self, row: usize, valid: bool) {
        if self.bits.is_empty() {
            self.bits = vec![u8::MAX; row / 8];
        }
        if self.bits.len() * 8 <= row {
            // Where the map begins within a byte, the rows before it were all there.
            self.bits.push(!(u8::MAX << (row % 8)));
        }
        self.bits[row / 8] = self.bits[row / 8] & !(1 << (row % 8)) | u8::from(valid) << (row % 8);
    }
}

/// A column that grows by a cell at a time.
pub trait Build: 'static {
    /// An empty column with room for `rows`.
    fn new(rows: usize) -> Self
    where
        Self: Sized;
    /// A null.
    fn push_null(&mut self);
    /// How many cells there are.
    fn rows(&self) -> usize;
    /// The column.
    fn finish(self) -> Column
    where
        Self: Sized;
    /// The column of this layout; none if it is of another.
    fn of(any: &mut AnyColumn) -> Option<&mut Self>;
}

/// A column of any layout.
#[derive(Debug)]
pub enum AnyColumn {
    /// Integers.
    Ints(Ints),
    /// Integers without a sign.
    Uints(Uints),
    /// Floats.
    Floats(Floats),
    /// Bytes.
    Bytes(Bytes),
}

impl AnyColumn {
    /// An empty column in the layout of a logical type, or of the kind `unsigned`.
    pub(crate) fn new(logical: &str) -> Self {
        match base(logical) {
            "boolean" | "integer" | "timestamp" | "datetime" | "date" | "time" => {
                Self::Ints(Ints::new(0))
            }
            "unsigned" => Self::Uints(Uints::new(0)),
            "float" | "float32" => Self::Floats(Floats::new(0)),
            _ => Self::Bytes(Bytes::new(0)),
        }
    }

    /// How many cells there are.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Ints(ints) => ints.rows(),
            Self::Uints(uints) => uints.rows(),
            Self::Floats(floats) => floats.rows(),
            Self::Bytes(bytes) => bytes.rows(),
        }
    }

    /// Nulls until there are `rows` cells.
    pub(crate) fn pad(&mut self, rows: usize) {
        match self {
            Self::Ints(ints) => (ints.rows()..rows).for_each(|_| ints.push(None)),
            Self::Uints(uints) => (uints.rows()..rows).for_each(|_| uints.push(None)),
            Self::Floats(floats) => (floats.rows()..rows).for_each(|_| floats.push(None)),
            Self::Bytes(bytes) => (bytes.rows()..rows).for_each(|_| bytes.push(None)),
        }
    }

    pub(crate) fn finish(self) -> Column {
        match self {
            Self::Ints(ints) => ints.finish(),
            Self::Uints(uints) => uints.finish(),
            Self::Floats(floats) => floats.finish(),
            Self::Bytes(bytes) => bytes.finish(),
        }
    }
}

/// A logical type without its parameters: `decimal` of `decimal(12,2)`.
pub(crate) fn base(logical: &str) -> &str {
    logical.split('(').next().unwrap_or_default()
}

/// A column of cells of a fixed size.
#[derive(Debug)]
pub struct Fixed<T> {
    values: Vec<T>,
    validity: Validity,
}

/// A column of integers.
pub type Ints = Fixed<i64>;
/// A column of integers without a sign.
pub type Uints = Fixed<u64>;
/// A column of floats.
pub type Floats = Fixed<f64>;

/// What has a layout of fixed size.
pub trait Plain: Copy + Default + 'static {
    /// The layout.
    fn buffer(values: Vec<Self>) -> Buffer;
    /// The column of this layout; none if it is of another.
    fn of(any: &mut AnyColumn) -> Option<&mut Fixed<Self>>;
}

impl Plain for i64 {
    fn buffer(values: Vec<Self>) -> Buffer {
        Buffer::Int64(values)
    }

    fn of(any: &mut AnyColumn) -> Option<&mut Ints> {
        if let AnyColumn::Ints(column) = any { Some(column) } else { None }
    }
}

impl Plain for u64 {
    fn buffer(values: Vec<Self>) -> Buffer {
        Buffer::Uint64(values)
    }

    fn of(any: &mut AnyColumn) -> Option<&mut Uints> {
        if let AnyColumn::Uints(column) = any { Some(column) } else { None }
    }
}

impl Plain for f64 {
    fn buffer(values: Vec<Self>) -> Buffer {
        Buffer::Float64(values)
    }

    fn of(any: &mut AnyColumn) -> Option<&mut Floats> {
        if let AnyColumn::Floats(column) = any { Some(column) } else { None }
    }
}

impl<T: Plain> Fixed<T> {
    #[inline(always)]
    pub(crate) fn push(&mut self, value: Option<T>) {
        self.values.push(value.unwrap_or_default());
        self.validity.push(value.is_some());
    }
}

impl<T: Plain> Build for Fixed<T> {
    fn new(rows: usize) -> Self {
        Self { values: Vec::with_capacity(rows), validity: Validity::default() }
    }

    fn push_null(&mut self) {
        self.push(None);
    }

    fn rows(&self) -> usize {
        self.validity.rows
    }

    fn finish(self) -> Column {
        Column { validity: self.validity.bits, values: T::buffer(self.values) }
    }

    fn of(any: &mut AnyColumn) -> Option<&mut Self> {
        T::of(any)
    }
}

/// A column of bytes: texts, decimals, CBOR.
#[derive(Debug)]
pub struct Bytes {
    values: VarBytes,
    validity: Validity,
}

impl Bytes {
    #[inline(always)]
    pub(crate) fn push(&mut self, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.values.data.extend_from_slice(value);
        }
        self.values.offsets.push(self.values.data.len() as u32);
        self.validity.push(value.is_some());
    }

    /// A cell that `write` appends to the arena; none: it is null, and what was written is gone.
    #[inline(always)]
    pub(crate) fn write<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let start = self.values.data.len();
        let written = write(&mut self.values.data);
        if !matches!(written, Ok(true)) {
            self.values.data.truncate(start);
        }
        let valid = written?;
        self.values.offsets.push(self.values.data.len() as u32);
        self.validity.push(valid);
        Ok(())
    }
}

impl Build for Bytes {
    fn new(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        let values = VarBytes { offsets, data: Vec::with_capacity(rows * 16) };
        Self { values, validity: Validity::default() }
    }

    fn push_null(&mut self) {
        self.push(None);
    }

    fn rows(&self) -> usize {
        self.validity.rows
    }

    fn finish(self) -> Column {
        Column { validity: self.validity.bits, values: Buffer::Bytes(self.values) }
    }

    fn of(any: &mut AnyColumn) -> Option<&mut Self> {
        match any {
            AnyColumn::Bytes(column) => Some(column),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_are_told_from_values_wherever_they_begin() {
        for first in 0..20 {
            let mut ints = Ints::new(0);
            let mut texts = Bytes::new(0);
            let cell = |row| (row != first && row % 7 != 3 || row < first).then_some(row);
            for row in 0..20 {
                ints.push(cell(row));
                texts.push(cell(row).map(|row| row.to_string()).as_ref().map(String::as_bytes));
            }
            let (ints, texts) = (ints.finish(), texts.finish());
            for row in 0..20 {
                assert_eq!(ints.int(row as usize), cell(row));
                let text = cell(row).map(|row| row.to_string());
                assert_eq!(texts.bytes(row as usize), text.as_ref().map(String::as_bytes));
            }
            let taken = texts.take(&[19, 0]);
            let last = cell(19).map(|row| row.to_string());
            assert_eq!(taken.bytes(0), last.as_ref().map(String::as_bytes));
        }
    }

    #[test]
    fn what_a_failed_cell_wrote_is_gone() {
        let mut texts = Bytes::new(0);
        let half = |out: &mut Vec<u8>, result| {
            out.extend_from_slice(b"half");
            result
        };
        assert_eq!(texts.write(|out| half(out, Err("no"))), Err("no"));
        assert_eq!(texts.rows(), 0);
        assert_eq!(texts.write(|out| half(out, Ok(false))), Ok(()));
        assert_eq!(texts.write(|out| half(out, Ok(true))), Ok(()));
        let texts = texts.finish();
        assert_eq!((texts.bytes(0), texts.bytes(1)), (None, Some(&b"half"[..])));
    }
}
