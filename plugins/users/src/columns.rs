//! Reading and building columns of a batch.
//!
//! Owns the layout of columns, and the few forms of text and CBOR that this plugin meets. Refuses to
//! know what a user is. Invariant: a built column has a value or a null for every push.

use crate::driftd::plugin::types::{Buffer, Column, VarBytes};
use crate::exports::driftd::plugin::mapping::Batch;

/// One bit a row, least significant first; empty means that all are ones.
pub fn bit(bits: &[u8], row: usize) -> bool {
    bits.is_empty() || bits[row / 8] >> (row % 8) & 1 == 1
}

impl Column {
    /// The integer of a row, unless it is null.
    pub fn int(&self, row: usize) -> Option<i64> {
        match &self.values {
            Buffer::Int64(values) if bit(&self.validity, row) => Some(values[row]),
            Buffer::Uint64(values) if bit(&self.validity, row) => i64::try_from(values[row]).ok(),
            _ => None,
        }
    }

    /// The bytes of a row, unless it is null (or, in a column of CBOR cells, absent).
    pub fn bytes(&self, row: usize) -> Option<&[u8]> {
        match &self.values {
            Buffer::Bytes(VarBytes { offsets, data }) if bit(&self.validity, row) => {
                Some(&data[offsets[row] as usize..offsets[row + 1] as usize])
            }
            _ => None,
        }
    }

    /// The rows at `indices` only.
    fn take(self, indices: &[u32]) -> Column {
        let rows = indices.iter().map(|row| *row as usize);
        if let Buffer::Bytes(_) = self.values {
            let mut taken = Texts::new(indices.len());
            rows.for_each(|row| taken.push(self.bytes(row)));
            return taken.column();
        }
        let mut taken = Ints::new(indices.len());
        match &self.values {
            // No signed value stands for one above the signed range.
            Buffer::Uint64(values) => {
                let values = rows.clone().map(|row| values[row]).collect();
                rows.for_each(|row| taken.push(bit(&self.validity, row).then_some(0)));
                return Column { values: Buffer::Uint64(values), ..taken.column() };
            }
            _ => rows.for_each(|row| taken.push(self.int(row))),
        }
        taken.column()
    }
}

/// The rows at `indices` only.
pub fn take(columns: Vec<Column>, indices: &[u32]) -> Batch {
    Batch {
        rows: indices.len() as u32,
        columns: columns.into_iter().map(|column| column.take(indices)).collect(),
    }
}

/// Which values are there. Costs nothing until the first null.
struct Validity {
    bits: Vec<u8>,
    rows: usize,
}

impl Validity {
    fn push(&mut self, valid: bool) {
        let row = self.rows;
        self.rows += 1;
        if self.bits.is_empty() {
            if valid {
                return;
            }
            self.bits = vec![u8::MAX; row / 8];
        }
        if self.bits.len() * 8 <= row {
            // Where the map begins within a byte, the rows before it were all there.
            self.bits.push(!(u8::MAX << (row % 8)));
        }
        self.bits[row / 8] = self.bits[row / 8] & !(1 << (row % 8)) | u8::from(valid) << (row % 8);
    }
}

/// A column of integers.
pub struct Ints {
    values: Vec<i64>,
    validity: Validity,
}

impl Ints {
    pub fn new(rows: usize) -> Self {
        let validity = Validity { bits: Vec::new(), rows: 0 };
        Self { values: Vec::with_capacity(rows), validity }
    }

    pub fn push(&mut self, value: Option<i64>) {
        self.values.push(value.unwrap_or(0));
        self.validity.push(value.is_some());
    }

    pub fn column(self) -> Column {
        Column { validity: self.validity.bits, values: Buffer::Int64(self.values) }
    }
}

/// A column of text, decimals among them.
pub struct Texts {
    values: VarBytes,
    validity: Validity,
}

impl Texts {
    pub fn new(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        let values = VarBytes { offsets, data: Vec::with_capacity(rows * 16) };
        Self { values, validity: Validity { bits: Vec::new(), rows: 0 } }
    }

    pub fn push(&mut self, value: Option<&[u8]>) {
        self.values.data.extend_from_slice(value.unwrap_or_default());
        self.values.offsets.push(self.values.data.len() as u32);
        self.validity.push(value.is_some());
    }

    pub fn column(self) -> Column {
        Column { validity: self.validity.bits, values: Buffer::Bytes(self.values) }
    }
}

/// A dynamically typed cell, as far as this plugin needs to know.
pub enum Cell<'a> {
    Null,
    Text(&'a [u8]),
    Int(i64),
    Other,
}

/// Reads a CBOR cell.
pub fn cell(cbor: &[u8]) -> Cell<'_> {
    let (Some(first), rest) = (cbor.first(), cbor.get(1..).unwrap_or_default()) else {
        return Cell::Other;
    };
    let width = match first & 0x1f {
        0..=23 => 0,
        info @ 24..=27 => 1 << (info - 24),
        _ => return Cell::Other,
    };
    let argument = if width == 0 {
        u64::from(first & 0x1f)
    } else if let Some(bytes) = rest.get(..width) {
        bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    } else {
        return Cell::Other;
    };
    match (first >> 5, i64::try_from(argument)) {
        (0, Ok(value)) => Cell::Int(value),
        (1, Ok(value)) => Cell::Int(-1 - value),
        (3, _) => Cell::Text(&rest[width..]),
        _ if *first == 0xf6 => Cell::Null,
        _ => Cell::Other,
    }
}

/// Reads an integer in decimal digits.
pub fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads `2024-01-02` as days since 1970-01-01.
pub fn date(text: &[u8]) -> Option<i64> {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(&text[..4])?, digits(&text[5..7])?, digits(&text[8..])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of = [31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if year == 0 || !(1..=12).contains(&month) || day < 1 || day > days_of[month as usize - 1] {
        return None;
    }
    // Years begin in March, so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468)
}

/// Reads `2024-01-02T03:04:05.123456Z` as microseconds; without a zone it is UTC.
pub fn timestamp(text: &[u8]) -> Option<i64> {
    if text.len() < 19 || !matches!(text[10], b'T' | b' ') || text[13] != b':' || text[16] != b':' {
        return None;
    }
    let days = date(&text[..10])?;
    let (hour, minute) = (digits(&text[11..13])?, digits(&text[14..16])?);
    let second = digits(&text[17..19])?;
    let rest = text[19..].strip_suffix(b"Z").unwrap_or(&text[19..]);
    let micros = match rest {
        [] => 0,
        [b'.', fraction @ ..] if (1..=6).contains(&fraction.len()) => {
            digits(fraction)? * 10i64.pow(6 - fraction.len() as u32)
        }
        _ => return None,
    };
    let in_range = hour < 24 && minute < 60 && second < 60;
    in_range.then_some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0i64, |number, byte| {
        byte.is_ascii_digit().then_some(number * 10 + i64::from(byte & 0xf))
    })
}
