//! Cells in fixtures, and wherever a cell is shown to somebody.
//!
//! Owns the notation of every logical type in JSON, as `plugins/sdk/FIXTURES.md` has it. Refuses what
//! is no cell of its type. Invariant: what is written is read back as the same cell.

use serde_json::{Value as Json, json};

use crate::model::{Buffer, Column, ColumnBuilder, Logical, Number, NumberError, Value, text};

/// A column of a logical type; none is a cell that is absent.
pub(super) fn column(logical: Logical, cells: &[Option<&Json>]) -> Result<Column, String> {
    if logical == Logical::Integer && cells.iter().flatten().any(|cell| is_large(cell)) {
        return unsigned(cells);
    }
    let mut column = logical.column(cells.len());
    for cell in cells {
        match cell {
            None => column.push_null(),
            Some(Json::Null) if logical != Logical::Value => column.push_null(),
            Some(cell) => {
                push(&mut column, logical, cell).ok_or_else(|| format!("{cell} is no {logical}"))?
            }
        }
    }
    Ok(column.finish())
}

fn is_large(cell: &Json) -> bool {
    cell.as_i64().is_none() && cell.as_u64().is_some()
}

fn unsigned(cells: &[Option<&Json>]) -> Result<Column, String> {
    let mut column = ColumnBuilder::uint64(cells.len());
    for cell in cells {
        match cell {
            None | Some(Json::Null) => column.push_null(),
            Some(cell) => column.push_u64(cell.as_u64().ok_or_else(|| {
                format!("{cell} is negative in a column with numbers beyond 63 bits")
            })?),
        }
    }
    Ok(column.finish())
}

fn push(column: &mut ColumnBuilder, logical: Logical, cell: &Json) -> Option<()> {
    match logical {
        Logical::Boolean
        | Logical::Integer
        | Logical::Timestamp
        | Logical::DateTime
        | Logical::Date
        | Logical::Time => column.push_i64(counted(logical, cell)?),
        Logical::Float | Logical::Float32 => column.push_f64(float(cell)?),
        Logical::Value => column.push_bytes(&value(cell)?.to_cbor()),
        Logical::Binary => column.push_bytes(&unhex(cell.as_str()?)?),
        Logical::Decimal | Logical::Text | Logical::Json | Logical::Enum | Logical::Set => {
            column.push_bytes(text(logical, cell)?.as_bytes())
        }
    }
    Some(())
}

fn counted(logical: Logical, cell: &Json) -> Option<i64> {
    if let Json::Bool(value) = cell {
        return Some(i64::from(*value));
    }
    let text = cell.as_str();
    match logical {
        Logical::Date => text::read_date(text?),
        Logical::Time => text::read_time(text?),
        Logical::Timestamp => {
            let stamp = text::read_stamp(text?)?;
            text::Stamp { offset: stamp.offset.or(Some(0)), ..stamp }.instant()
        }
        Logical::DateTime => {
            let stamp = text::read_stamp(text?)?;
            stamp.offset.is_none().then_some(stamp.local)
        }
        Logical::Boolean
        | Logical::Integer
        | Logical::Decimal
        | Logical::Float
        | Logical::Float32
        | Logical::Text
        | Logical::Binary
        | Logical::Json
        | Logical::Enum
        | Logical::Set
        | Logical::Value => cell.as_i64(),
    }
}

fn float(cell: &Json) -> Option<f64> {
    match cell.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        Some(_) => None,
        None => cell.as_f64(),
    }
}

fn text(logical: Logical, cell: &Json) -> Option<String> {
    // A number that is too wide for any value is a decimal still: a plugin has to refuse it.
    let is_decimal = |text: &str| Number::parse(text) != Err(NumberError::Syntax);
    match (logical, cell) {
        (Logical::Decimal, Json::Number(number)) => Some(number.to_string()),
        (Logical::Decimal, Json::String(text)) => is_decimal(text).then(|| text.clone()),
        (Logical::Set, Json::Array(labels)) => {
            let labels: Option<Vec<&str>> = labels.iter().map(Json::as_str).collect();
            Some(labels?.join(","))
        }
        (_, Json::String(text)) => Some(text.clone()),
        (Logical::Json, cell) => Some(cell.to_string()),
        _ => None,
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok()).collect()
}

/// A dynamically typed cell.
fn value(cell: &Json) -> Option<Value> {
    Some(match cell {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => Value::Number(Number::parse(&number.to_string()).ok()?),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(value).collect::<Option<_>>()?),
        Json::Object(entries) => {
            if let Some((tag, of)) = entries.iter().next()
                && entries.len() == 1
                && tag.starts_with('$')
                && !tag.starts_with("$$")
            {
                return tagged(tag, of);
            }
            let entry = |(key, cell): (&String, &Json)| {
                let key = if key.starts_with("$$") { &key[1..] } else { key };
                Some((key.to_owned(), value(cell)?))
            };
            Value::Map(entries.iter().map(entry).collect::<Option<_>>()?)
        }
    })
}

fn tagged(tag: &str, of: &Json) -> Option<Value> {
    Some(match tag {
        "$float" => Value::Float(float(of)?),
        "$bytes" => Value::Bytes(unhex(of.as_str()?)?),
        "$timestamp" => Value::Timestamp(counted(Logical::Timestamp, of)?),
        "$datetime" => Value::DateTime(counted(Logical::DateTime, of)?),
        "$date" => Value::Date(counted(Logical::Date, of)?),
        "$time" => Value::Time(counted(Logical::Time, of)?),
        "$json" if of.is_null() => Value::JsonNull,
        "$set" => Value::Set(of.as_array()?.iter().map(value).collect::<Option<_>>()?),
        _ => return None,
    })
}

/// The cell of a row; none where it is absent.
pub(super) fn shown(logical: Logical, column: &Column, row: usize) -> Option<Json> {
    if !column.is_valid(row) {
        return (logical != Logical::Value).then_some(Json::Null);
    }
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(match (logical, &column.values) {
        (Logical::Boolean, Buffer::Int64(values)) => json!(values[row] != 0),
        (
            Logical::Timestamp | Logical::DateTime | Logical::Date | Logical::Time,
            Buffer::Int64(values),
        ) => moment(logical, values[row]),
        (_, Buffer::Int64(values)) => json!(values[row]),
        (_, Buffer::UInt64(values)) => json!(values[row]),
        (_, Buffer::Float64(values)) => float_shown(values[row]),
        (Logical::Value, Buffer::Bytes(values)) => Value::decode(values.get(row))
            .map_or_else(|_wrong| json!("no cell"), |cell| value_shown(&cell)),
        (Logical::Binary, Buffer::Bytes(values)) => json!(hex(values.get(row))),
        (Logical::Decimal, Buffer::Bytes(values)) => {
            let text = lossy(values.get(row));
            json!(Number::parse(&text).map_or(text, |number| number.to_string()))
        }
        (_, Buffer::Bytes(values)) => json!(lossy(values.get(row))),
    })
}

fn moment(logical: Logical, count: i64) -> Json {
    let mut text = Vec::new();
    let written = match logical {
        Logical::Timestamp => text::write_timestamp(&mut text, count),
        Logical::DateTime => text::write_datetime(&mut text, count),
        Logical::Date => text::write_date(&mut text, count),
        Logical::Time => text::write_time(&mut text, count),
        Logical::Boolean
        | Logical::Integer
        | Logical::Decimal
        | Logical::Float
        | Logical::Float32
        | Logical::Text
        | Logical::Binary
        | Logical::Json
        | Logical::Enum
        | Logical::Set
        | Logical::Value => false,
    };
    // Beyond the years that can be written, only the count says which it is.
    if written { json!(String::from_utf8_lossy(&text)) } else { json!(count) }
}

fn float_shown(float: f64) -> Json {
    match float {
        _ if float.is_finite() => json!(float),
        _ if float.is_nan() => json!("NaN"),
        _ if float > 0.0 => json!("Infinity"),
        _ => json!("-Infinity"),
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

fn value_shown(cell: &Value) -> Json {
    match cell {
        Value::Null => Json::Null,
        Value::JsonNull => json!({ "$json": null }),
        Value::Bool(value) => json!(value),
        Value::Number(number) => {
            let text = number.to_string();
            serde_json::from_str(&text).unwrap_or_else(|_wrong| json!(text))
        }
        Value::Float(float) => json!({ "$float": float_shown(*float) }),
        Value::Text(text) => json!(text),
        Value::Bytes(bytes) => json!({ "$bytes": hex(bytes) }),
        Value::Timestamp(count) => json!({ "$timestamp": moment(Logical::Timestamp, *count) }),
        Value::DateTime(count) => json!({ "$datetime": moment(Logical::DateTime, *count) }),
        Value::Date(count) => json!({ "$date": moment(Logical::Date, *count) }),
        Value::Time(count) => json!({ "$time": moment(Logical::Time, *count) }),
        Value::List(items) => items.iter().map(value_shown).collect(),
        Value::Set(members) => {
            json!({ "$set": members.iter().map(value_shown).collect::<Json>() })
        }
        Value::Map(map) => {
            let key = |key: &String| {
                if key.starts_with('$') { format!("${key}") } else { key.clone() }
            };
            Json::Object(map.iter().map(|(name, cell)| (key(name), value_shown(cell))).collect())
        }
    }
}

/// JSON with a blank after every colon and comma, members of a map in the order of their bytes.
pub(super) fn spaced(json: &Json) -> String {
    match json {
        Json::Array(items) => {
            format!("[{}]", items.iter().map(spaced).collect::<Vec<_>>().join(", "))
        }
        Json::Object(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let entry = |(key, cell): (&String, &Json)| format!("{}: {}", json!(key), spaced(cell));
            format!("{{{}}}", entries.into_iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => json.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_read_back_as_they_were_written() {
        for (logical, cell) in [
            (Logical::Integer, json!(-7)),
            (Logical::Integer, json!(u64::MAX)),
            (Logical::Boolean, json!(true)),
            (Logical::Decimal, json!("12.5")),
            (Logical::Decimal, json!("1E-50")),
            (Logical::Float, json!(0.1)),
            (Logical::Float, json!("NaN")),
            (Logical::Text, json!("Zoë")),
            (Logical::Binary, json!("00ff")),
            (Logical::Timestamp, json!("2024-01-02T03:04:05.5Z")),
            (Logical::DateTime, json!("2024-01-02T03:04:05.5")),
            (Logical::DateTime, json!("0000-00-00T00:00:01")),
            (Logical::Date, json!("2024-02-29")),
            (Logical::Date, json!("0000-00-00")),
            (Logical::Time, json!("-30:00:00")),
            (Logical::Json, json!("{\"a\": 1}")),
            (Logical::Set, json!("a,b")),
            (Logical::Value, json!({"a": [1, 12.5, null, true], "bb": {"$$x": {"$float": 0.5}}})),
            (Logical::Value, json!({"$set": [{"$bytes": "00"}, "a"]})),
            (Logical::Value, json!({"$date": "0000-00-00"})),
            (Logical::Value, json!({"$timestamp": "1969-12-31T23:59:59.5Z"})),
            (Logical::Value, json!({"$datetime": "2024-01-02T03:04:05"})),
            (Logical::Value, json!({"$time": "03:04:05"})),
            (Logical::Value, json!({"$json": null})),
            (Logical::Value, json!(123_456_789_012_345_678_901_234_567_890_u128)),
        ] {
            let column = column(logical, &[None, Some(&cell), Some(&Json::Null)]).unwrap();
            assert_eq!(shown(logical, &column, 1), Some(cell), "{logical}");
            let absent = if logical == Logical::Value { None } else { Some(Json::Null) };
            assert_eq!(
                (shown(logical, &column, 0), shown(logical, &column, 2)),
                (absent, Some(Json::Null))
            );
        }
    }

    #[test]
    fn what_is_no_cell_of_its_type_is_refused() {
        for (logical, cell) in [
            (Logical::Integer, json!(1.5)),
            (Logical::Decimal, json!("1,5")),
            (Logical::Date, json!("2024-02")),
            (Logical::Text, json!(1)),
            (Logical::Binary, json!("0")),
            (Logical::Value, json!({"$unknown": 1})),
        ] {
            assert!(column(logical, &[Some(&cell)]).is_err(), "{logical}");
        }
    }

    #[test]
    fn other_spellings_are_read_as_the_one_that_is_written() {
        for (logical, given, written) in [
            (Logical::Boolean, json!(1), json!(true)),
            (Logical::Decimal, json!(12.50), json!("12.5")),
            (Logical::Decimal, json!("1200.00"), json!("1200")),
            (Logical::Timestamp, json!("2024-01-02 03:04:05"), json!("2024-01-02T03:04:05Z")),
            (Logical::Set, json!(["a", "b"]), json!("a,b")),
            (Logical::Json, json!([1]), json!("[1]")),
        ] {
            let column = column(logical, &[Some(&given)]).unwrap();
            assert_eq!(shown(logical, &column, 0), Some(written), "{logical}");
        }
    }
}
