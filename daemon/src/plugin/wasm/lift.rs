//! Checks on what a guest returned.
//!
//! Owns what must hold for columns that come from a guest before anything else sees them. Refuses to
//! repair. Invariant: a batch that passed has the columns, layouts and lengths of its plan, and every
//! cell is a value of its type, but for the rows that are named as unmappable.

use std::borrow::Cow;
use std::fmt;

use crate::model::{
    Batch, Bitmap, Buffer, CELL_VALUES_MAX, Column, FieldDef, JsonError, Logical, Number,
    NumberError, Value, VarBytes,
};

const TOO_MANY: &str = "holds more values than a cell may";

/// A number that no canonical value can hold: trouble of its row, not of the plugin. It is told only of
/// the first one of a row, as there may be as many as there are cells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wide<'f> {
    field: &'f str,
    why: NumberError,
}

impl fmt::Display for Wide<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field `{}`: {}", self.field, self.why)
    }
}

/// Rows that hold such numbers.
pub(super) type Unmappable<'f> = Vec<(usize, Wide<'f>)>;

/// Checks a batch of entities. The error says what is wrong and where, and holds no values.
pub(super) fn check<'f>(batch: &Batch, fields: &'f [FieldDef]) -> Result<Unmappable<'f>, String> {
    if batch.columns.len() != fields.len() {
        return Err(format!(
            "{} columns where the entity has {} fields",
            batch.columns.len(),
            fields.len()
        ));
    }
    let mut unmappable = Unmappable::new();
    for (field, column) in fields.iter().zip(&batch.columns) {
        check_column(column, batch.rows, field, &mut unmappable)
            .map_err(|what| format!("column `{}`: {what}", field.name))?;
        if unmappable.len() > batch.rows {
            // Every row of every column may have one.
            first_of_each(&mut unmappable);
        }
    }
    first_of_each(&mut unmappable);
    Ok(unmappable)
}

fn first_of_each(unmappable: &mut Unmappable<'_>) {
    unmappable.sort_by_key(|(row, _)| *row);
    unmappable.dedup_by_key(|(row, _)| *row);
}

fn check_column<'f>(
    column: &Column,
    rows: usize,
    field: &'f FieldDef,
    unmappable: &mut Unmappable<'f>,
) -> Result<(), String> {
    check_validity(&column.validity, rows)?;
    if let Buffer::Bytes(values) = &column.values {
        check_offsets(values, rows)?;
    } else if column.values.len() != rows {
        return Err(format!("{} values for {rows} rows", column.values.len()));
    }
    match (field.logical, &column.values) {
        (Logical::Integer, Buffer::Int64(_) | Buffer::UInt64(_))
        | (
            Logical::Timestamp | Logical::DateTime | Logical::Date | Logical::Time,
            Buffer::Int64(_),
        )
        | (Logical::Float | Logical::Float32, Buffer::Float64(_))
        | (Logical::Binary, Buffer::Bytes(_)) => Ok(()),
        (Logical::Boolean, Buffer::Int64(values)) => {
            let wrong =
                |(row, value): (usize, &i64)| !matches!(value, 0 | 1) && column.is_valid(row);
            match values.iter().enumerate().position(wrong) {
                Some(row) => Err(format!("row {row} is a boolean other than 0 and 1")),
                None => Ok(()),
            }
        }
        (Logical::Text | Logical::Enum, Buffer::Bytes(values)) => check_text(column, values),
        (Logical::Set, Buffer::Bytes(values)) => {
            check_text(column, values)?;
            check_cells(column, rows, |_, bytes| {
                let commas = bytes.iter().filter(|byte| **byte == b',').count();
                if commas < CELL_VALUES_MAX { Ok(()) } else { Err(TOO_MANY.into()) }
            })
        }
        (Logical::Decimal, Buffer::Bytes(values)) => {
            if are_plain(values) {
                return Ok(());
            }
            check_cells(column, rows, |row, bytes| match number(bytes) {
                Ok(_) => Ok(()),
                Err(NumberError::Syntax) => Err("is no decimal number".into()),
                Err(why @ (NumberError::TooManyDigits | NumberError::Exponent)) => {
                    unmappable.push((row, Wide { field: &field.name, why }));
                    Ok(())
                }
            })
        }
        (Logical::Json, Buffer::Bytes(_)) => {
            check_cells(column, rows, |row, bytes| match Value::parse_json(bytes) {
                Ok(_) => Ok(()),
                Err(JsonError::Syntax { .. }) => Err("is no JSON text".into()),
                Err(JsonError::TooMany) => Err(TOO_MANY.into()),
                Err(JsonError::Number(why)) => {
                    unmappable.push((row, Wide { field: &field.name, why }));
                    Ok(())
                }
            })
        }
        (Logical::Value, Buffer::Bytes(_)) => {
            check_cells(column, rows, |_, bytes| match Value::decode(bytes) {
                Ok(_) => Ok(()),
                Err(wrong) if wrong.is_too_many() => Err(TOO_MANY.into()),
                // Where in the cell is told by none of its values.
                Err(wrong) => Err(format!("is no canonical value in CBOR: {}", wrong.what).into()),
            })
        }
        (logical, values) => {
            Err(format!("layout {} where the field is of type {logical}", values.layout()))
        }
    }
}

/// A bitmap that comes from a guest: one bit a row, or nothing.
pub(super) fn check_validity(bitmap: &Bitmap, rows: usize) -> Result<(), String> {
    let (given, wanted) = (bitmap.0.len(), rows.div_ceil(8));
    if given == 0 || given == wanted {
        Ok(())
    } else {
        Err(format!("a validity bitmap of {given} bytes for {rows} rows"))
    }
}

fn check_offsets(values: &VarBytes, rows: usize) -> Result<(), String> {
    let VarBytes { offsets, data } = values;
    if offsets.len() != rows + 1 {
        return Err(format!("{} offsets for {rows} rows; there must be one more", offsets.len()));
    }
    if offsets[0] != 0 {
        return Err("offsets do not start at 0".to_owned());
    }
    if let Some(row) = falls(offsets) {
        return Err(format!("offsets fall at row {row}"));
    }
    if offsets[rows] as usize != data.len() {
        return Err(format!("offsets end at {} of {} bytes", offsets[rows], data.len()));
    }
    Ok(())
}

/// Where numbers that must not fall do, if anywhere. Looked for only when it is known that they do: a
/// search that may end anywhere is several times as slow.
pub(super) fn falls(numbers: &[u32]) -> Option<usize> {
    let rising = numbers.windows(2).fold(true, |rising, pair| rising & (pair[0] <= pair[1]));
    if rising { None } else { numbers.windows(2).position(|pair| pair[0] > pair[1]) }
}

fn check_text(column: &Column, values: &VarBytes) -> Result<(), String> {
    // The whole arena at once, which is several times as fast as cell by cell; and most often it is
    // ASCII, in which every place is a boundary.
    if values.data.is_ascii() {
        return Ok(());
    }
    if let Ok(text) = std::str::from_utf8(&values.data)
        && values.offsets.iter().all(|offset| text.is_char_boundary(*offset as usize))
    {
        return Ok(());
    }
    check_cells(column, values.len(), |_, bytes| {
        std::str::from_utf8(bytes).map(drop).map_err(|_utf8| "is no UTF-8".into())
    })
}

fn check_cells(
    column: &Column,
    rows: usize,
    mut check: impl FnMut(usize, &[u8]) -> Result<(), Cow<'static, str>>,
) -> Result<(), String> {
    for row in 0..rows {
        if let Some(bytes) = column.bytes(row) {
            check(row, bytes).map_err(|what| format!("row {row} {what}"))?;
        }
    }
    Ok(())
}

/// Whether all cells are numbers such as `-12.50`, short enough and of one scale, which is all that a
/// column of money holds. Bytes are counted over the whole arena, and nothing ends a loop early: that is
/// several times as fast as cell by cell. What is not found to be plain may be numbers still.
fn are_plain(values: &VarBytes) -> bool {
    /// Digits of any number that a canonical value holds.
    const DIGITS: u32 = 38;
    let VarBytes { offsets, data } = values;
    let rows = values.len();
    let digits = count(data, |byte| byte.is_ascii_digit());
    let points = count(data, |byte| byte == b'.');
    let signs = data.len() - digits - points;
    if points != 0 && points != rows {
        return false;
    }
    // What ends every cell: a point that is as far from its end as the first cell's, and the digits
    // behind it.
    let mut end = 0;
    if points != 0 {
        let first = values.get(0).iter().rev().position(|byte| *byte == b'.');
        let Some(scale) = first.filter(|scale| *scale != 0) else { return false };
        end = scale + 1;
        let is_point = |till: u32| data.get((till as usize).wrapping_sub(end)) == Some(&b'.');
        if !offsets[1..].iter().fold(true, |all, till| all & is_point(*till)) {
            return false;
        }
    }
    // A digit at least stands before that. A length that is too small wraps, and is too large.
    let (Ok(least), true) = (u32::try_from(end + 1), end < DIGITS as usize) else { return false };
    let fits = |length: u32| length.wrapping_sub(least) <= DIGITS - least;
    let cells = offsets.windows(2).map(|cell| (cell[0], cell[1]));
    if signs == 0 {
        return cells.fold(true, |all, (from, till)| all & fits(till - from));
    }
    // What is neither digit nor point is a sign, if there is one at the begin of so many cells.
    let mut signed = 0;
    for (from, till) in cells {
        let sign = u32::from(data.get(from as usize) == Some(&b'-'));
        signed += sign as usize;
        if till - from > DIGITS || !fits((till - from).wrapping_sub(sign)) {
            return false;
        }
    }
    signed == signs
}

/// How many bytes are such; counted in bytes as far as these reach, which many are at once.
fn count(bytes: &[u8], is_such: impl Fn(u8) -> bool) -> usize {
    let few = |part: &[u8]| part.iter().fold(0u8, |count, byte| count + u8::from(is_such(*byte)));
    bytes.chunks(usize::from(u8::MAX)).map(|part| usize::from(few(part))).sum()
}

fn number(bytes: &[u8]) -> Result<Number, NumberError> {
    Number::parse(std::str::from_utf8(bytes).map_err(|_utf8| NumberError::Syntax)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Role;

    type Told = Vec<(usize, String)>;

    fn checked(logical: Logical, rows: usize, column: Column) -> Result<Told, String> {
        let field = FieldDef { name: "f".to_owned(), logical, role: Role::Compared, rules: vec![] };
        let fields = [field];
        let unmappable = check(&Batch { rows, columns: vec![column] }, &fields)?;
        Ok(unmappable.into_iter().map(|(row, wide)| (row, wide.to_string())).collect())
    }

    proptest! {
        #[test]
        fn cells_that_are_plainly_numbers_are_numbers(
            cells in prop::collection::vec("-?[0-9]{0,20}[.-]?[0-9]{0,2}[.e]?", 0..4),
        ) {
            if are_plain(&arena(&cells)) {
                for cell in &cells {
                    prop_assert!(number(cell.as_bytes()).is_ok(), "{cells:?}");
                }
            }
        }

        #[test]
        fn a_fall_is_found_where_it_is(
            numbers in prop::collection::vec(prop_oneof![4 => 0u32..9, 1 => any::<u32>()], 0..9),
        ) {
            let slow = (1..numbers.len()).find(|at| numbers[at - 1] > numbers[*at]);
            prop_assert_eq!(falls(&numbers), slow.map(|at| at - 1));
        }
    }

    fn arena(cells: &[impl AsRef<str>]) -> VarBytes {
        let mut values = VarBytes { offsets: vec![0], data: Vec::new() };
        cells.iter().for_each(|cell| values.push(cell.as_ref().as_bytes()));
        values
    }

    #[test]
    fn ordinary_numbers_are_plain_and_others_are_not() {
        let (most, more) = ("9".repeat(38), "9".repeat(39));
        for plain in [&["0"][..], &["-1", "2", &most], &["12.50", "-0.00", "3.25"], &[]] {
            assert!(are_plain(&arena(plain)), "{plain:?}");
        }
        for other in [
            &[""][..],
            &["-"],
            &["."],
            &["1."],
            &[".5"],
            &["-.5"],
            &["1.2.3"],
            &["12.50", "1.2.50"],
            &["1.50", "2.5"],
            &["5", "1.5"],
            &["1.25", "--1.25"],
            &["1-2"],
            &["1", "2-"],
            &["1E5"],
            &["+1"],
            &[" 1"],
            &[&more],
        ] {
            assert!(!are_plain(&arena(other)), "{other:?}");
        }
    }

    fn bytes(offsets: &[u32], data: &[u8]) -> Column {
        let values = VarBytes { offsets: offsets.to_vec(), data: data.to_vec() };
        Column { validity: Bitmap::default(), values: Buffer::Bytes(values) }
    }

    #[test]
    fn malformed_columns_are_refused_with_their_place() {
        use Logical as L;
        let int = |validity: &[u8], values: &[i64]| Column {
            validity: Bitmap(validity.to_vec()),
            values: Buffer::Int64(values.to_vec()),
        };
        for (logical, rows, column, expected) in [
            (L::Text, 2, bytes(&[0, 1], b"a"), "2 offsets for 2 rows; there must be one more"),
            (L::Text, 1, bytes(&[1, 1], b"a"), "offsets do not start at 0"),
            (L::Text, 2, bytes(&[0, 2, 1], b"a"), "offsets fall at row 1"),
            (L::Text, 1, bytes(&[0, 9], b"a"), "offsets end at 9 of 1 bytes"),
            (L::Text, 0, bytes(&[], b""), "0 offsets for 0 rows; there must be one more"),
            (L::Text, 2, bytes(&[0, 1, 2], b"a\xff"), "row 1 is no UTF-8"),
            (L::Enum, 2, bytes(&[0, 1, 2], "ü".as_bytes()), "row 0 is no UTF-8"),
            (L::Decimal, 1, bytes(&[0, 1], b"x"), "row 0 is no decimal number"),
            (L::Json, 1, bytes(&[0, 1], b"{"), "row 0 is no JSON text"),
            (
                L::Value,
                1,
                bytes(&[0, 1], b"\xff"),
                "row 0 is no canonical value in CBOR: indefinite length",
            ),
            (L::Boolean, 2, int(&[], &[1, 2]), "row 1 is a boolean other than 0 and 1"),
            (L::Integer, 2, int(&[], &[1]), "1 values for 2 rows"),
            (L::Integer, 9, int(&[1], &[0; 9]), "a validity bitmap of 1 bytes for 9 rows"),
            (L::Integer, 1, bytes(&[0, 0], b""), "layout bytes where the field is of type integer"),
            (L::Text, 1, int(&[], &[1]), "layout int64 where the field is of type text"),
        ] {
            let wrong = checked(logical, rows, column).unwrap_err();
            assert_eq!(wrong, format!("column `f`: {expected}"));
        }
    }

    /// The column that a line of the table that the SDK decides as well describes.
    fn described(line: &serde_json::Value) -> Column {
        fn numbers<T: serde::de::DeserializeOwned>(json: &serde_json::Value) -> Option<Vec<T>> {
            json.as_array()?.iter().map(|cell| serde_json::from_value(cell.clone()).ok()).collect()
        }
        let values = if let Some(values) = numbers(&line["int64"]) {
            Buffer::Int64(values)
        } else if let Some(values) = numbers(&line["uint64"]) {
            Buffer::UInt64(values)
        } else if let Some(values) = numbers(&line["float64"]) {
            Buffer::Float64(values)
        } else {
            let hex = |cell: &str| -> Vec<u8> {
                let byte = |at: usize| u8::from_str_radix(&cell[at..at + 2], 16).unwrap();
                (0..cell.len()).step_by(2).map(byte).collect()
            };
            let cells = line["texts"].as_array().or_else(|| line["hex"].as_array()).unwrap();
            let mut values = VarBytes::default();
            for cell in cells.iter().map(|cell| cell.as_str().unwrap()) {
                match line.get("texts") {
                    Some(_) => values.push(cell.as_bytes()),
                    None => values.push(&hex(cell)),
                }
            }
            values.offsets = numbers(&line["offsets"]).unwrap_or(values.offsets);
            Buffer::Bytes(values)
        };
        Column { validity: Bitmap(numbers(&line["validity"]).unwrap_or_default()), values }
    }

    #[test]
    fn columns_are_decided_as_the_sdk_does_natively() {
        let table = include_str!("../../../../plugins/sdk/tests/columns.jsonl");
        for line in table.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let logical = Logical::parse(line["logical"].as_str().unwrap()).unwrap();
            let rows = usize::try_from(line["rows"].as_u64().unwrap()).unwrap();
            let told = match checked(logical, rows, described(&line)) {
                Ok(told) => serde_json::json!(told.iter().map(|(row, _)| row).collect::<Vec<_>>()),
                Err(why) => serde_json::Value::String(why),
            };
            assert_eq!(told, line["says"], "{line}");
        }
    }

    #[test]
    fn types_and_rules_are_those_that_the_sdk_knows() {
        let registry = include_str!("../../../../plugins/sdk/tests/registry.json");
        let registry: serde_json::Value = serde_json::from_str(registry).unwrap();
        let types: Vec<_> = Logical::names().collect();
        let rules: Vec<_> = crate::model::Rule::names().collect();
        assert_eq!(registry, serde_json::json!({ "types": types, "rules": rules }));
    }

    #[test]
    fn what_lies_under_a_null_does_not_matter() {
        let mut column = bytes(&[0, 1, 2], b"a\xff");
        column.validity = Bitmap(vec![1]);
        assert_eq!(checked(Logical::Text, 2, column), Ok(vec![]));
    }

    #[test]
    fn too_many_digits_are_the_rows_trouble() {
        let column = bytes(&[0, 1, 40], b"1123456789012345678901234567890123456789");
        let unmappable = checked(Logical::Decimal, 2, column).unwrap();
        assert_eq!(unmappable, [(1, "field `f`: more than 38 significant digits".to_owned())]);
    }

    proptest! {
        #[test]
        fn what_passes_can_be_read(
            offsets in prop::collection::vec(0u32..12, 0..6),
            data in prop::collection::vec(any::<u8>(), 0..12),
            validity in prop::collection::vec(any::<u8>(), 0..2),
            rows in 0usize..6,
        ) {
            for logical in [Logical::Text, Logical::Binary, Logical::Value, Logical::Decimal] {
                let mut column = bytes(&offsets, &data);
                column.validity = Bitmap(validity.clone());
                if checked(logical, rows, column.clone()).is_ok() {
                    for row in 0..rows {
                        if let (Some(cell), Logical::Text) = (column.bytes(row), logical) {
                            prop_assert!(std::str::from_utf8(cell).is_ok());
                        }
                    }
                }
            }
        }
    }
}
