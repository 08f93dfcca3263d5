//! The text forms of words, as they stand in the file.
//!
//! Owns [`Word`] and the text of every small word that the journal keeps: hexadecimal digests and
//! keys, moments as ISO 8601, extents, partitions, names of kinds. Refuses structure: `format` has
//! it. Invariant: [`Word::from_text`] is the exact inverse of [`Word::to_text`].

use std::fmt::Write as _;

use crate::model::{
    Digest, Direction, DriftKind, Extent, FaultCode, HookState, Key, MappingIdentity, Moment,
    Number, Partition, PartitionEnd, Placed, Range, RelationNames, Severity, Side, StoreKey,
    Unjudged, Value, Version, Why, text,
};

/// A word that has a text form.
pub(super) trait Word: Sized {
    /// Its text.
    fn to_text(&self) -> String;
    /// The word with this text, if there is one.
    fn from_text(text: &str) -> Option<Self>;
}

/// Lower-case hexadecimal digits, two for each byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes all that is written to it");
    }
    text
}

/// The bytes of hexadecimal digits.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
    pairs
        .map(|pair| {
            let digits = pair.bytes().all(|byte| byte.is_ascii_hexdigit());
            digits.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
        })
        .collect()
}

fn unhex128(text: &str) -> Option<u128> {
    let bytes = <[u8; 16]>::try_from(unhex(text)?).ok()?;
    Some(u128::from_be_bytes(bytes))
}

impl Word for Digest {
    fn to_text(&self) -> String {
        format!("{:032x}", self.0)
    }

    fn from_text(text: &str) -> Option<Self> {
        unhex128(text).map(Self)
    }
}

impl Word for MappingIdentity {
    fn to_text(&self) -> String {
        format!("{:032x}", self.0)
    }

    fn from_text(text: &str) -> Option<Self> {
        unhex128(text).map(Self)
    }
}

impl Word for Key {
    fn to_text(&self) -> String {
        hex(&self.0)
    }

    fn from_text(text: &str) -> Option<Self> {
        Some(Self(unhex(text)?.into_boxed_slice()))
    }
}

impl Word for StoreKey {
    fn to_text(&self) -> String {
        hex(&self.0)
    }

    fn from_text(text: &str) -> Option<Self> {
        Some(Self(unhex(text)?.into_boxed_slice()))
    }
}

impl Word for Version {
    fn to_text(&self) -> String {
        let (mantissa, exponent) = self.0.parts();
        format!("{mantissa}e{exponent}")
    }

    fn from_text(text: &str) -> Option<Self> {
        let (mantissa, exponent) = text.split_once('e')?;
        Number::new(mantissa.parse().ok()?, exponent.parse().ok()?).ok().map(Self)
    }
}

impl Word for Moment {
    /// ISO 8601 in UTC; beyond the calendar's range, `@` and microseconds.
    fn to_text(&self) -> String {
        jiff::Timestamp::from_microsecond(self.0)
            .map_or_else(|_beyond| format!("@{}", self.0), |time| time.to_string())
    }

    fn from_text(text: &str) -> Option<Self> {
        match text.strip_prefix('@') {
            Some(micros) => micros.parse().ok().map(Self),
            None => Some(Self(text.parse::<jiff::Timestamp>().ok()?.as_microsecond())),
        }
    }
}

impl Word for f64 {
    /// The shortest text that reads back as the same number, which JSON numbers do not promise.
    fn to_text(&self) -> String {
        format!("{self:?}")
    }

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Word for Extent {
    /// `5..10`, `5..`, `..10`, `..`; a segment is `3/8`.
    fn to_text(&self) -> String {
        match self {
            Self::Segment { index, of } => format!("{index}/{of}"),
            Self::Range(Range { from, until }) => {
                let bound =
                    |bound: &Option<i128>| bound.map_or_else(String::new, |b| b.to_string());
                format!("{}..{}", bound(from), bound(until))
            }
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        if let Some((index, of)) = text.split_once('/') {
            return Some(Self::Segment { index: index.parse().ok()?, of: of.parse().ok()? });
        }
        let bound = |bound: &str| match bound {
            "" => Some(None),
            number => number.parse().ok().map(Some),
        };
        let (from, until) = text.split_once("..")?;
        Some(Self::Range(Range { from: bound(from)?, until: bound(until)? }))
    }
}

impl Word for Direction {
    fn to_text(&self) -> String {
        match self {
            Self::Aligned => "aligned",
            Self::FromSource => "from-source",
            Self::FromTarget => "from-target",
        }
        .to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        [Self::Aligned, Self::FromSource, Self::FromTarget]
            .into_iter()
            .find(|direction| direction.to_text() == text)
    }
}

impl Word for Partition {
    /// `from-source 17 5..10`.
    fn to_text(&self) -> String {
        format!("{} {} {}", self.direction.to_text(), self.number, self.extent.to_text())
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        Some(Self {
            direction: Direction::from_text(words.next()?)?,
            number: words.next()?.parse().ok()?,
            extent: Extent::from_text(words.next()?)?,
        })
    }
}

impl Word for PartitionEnd {
    fn to_text(&self) -> String {
        match self {
            Self::Compared => "compared".to_owned(),
            Self::Unread => "unread".to_owned(),
            Self::Continued(rest) => format!("continued {}", rest.to_text()),
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "compared" => Some(Self::Compared),
            "unread" => Some(Self::Unread),
            _ => Extent::from_text(text.strip_prefix("continued ")?).map(Self::Continued),
        }
    }
}

impl Word for Side {
    fn to_text(&self) -> String {
        self.to_string()
    }

    fn from_text(text: &str) -> Option<Self> {
        [Self::Source, Self::Target].into_iter().find(|side| side.to_string() == text)
    }
}

impl Word for DriftKind {
    fn to_text(&self) -> String {
        self.as_str().to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl Word for FaultCode {
    fn to_text(&self) -> String {
        self.as_str().to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

impl Word for Severity {
    fn to_text(&self) -> String {
        self.as_str().to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Error, Self::Critical]
            .into_iter()
            .find(|severity| severity.as_str() == text)
    }
}

impl Word for HookState {
    fn to_text(&self) -> String {
        match self {
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Succeeded => "succeeded",
            Self::Cancelled => "cancelled",
        }
        .to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        [Self::Pending, Self::Failed, Self::Succeeded, Self::Cancelled]
            .into_iter()
            .find(|state| state.to_text() == text)
    }
}

impl Word for Why {
    fn to_text(&self) -> String {
        self.as_str().to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.as_str() == text)
    }
}

impl Unjudged {
    /// What it is known by in the file.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Key(key) => key.to_text(),
            Self::Members(partition) => format!("members of {}", partition.to_text()),
            Self::Rule { partition, invariant } => {
                format!("rule of {} {invariant}", partition.to_text())
            }
        }
    }
}

/// The key's fields as JSON text that a person can read, such as `[42,"de"]`. A key that is no list
/// of canonical values is shown as its hexadecimal digits in a JSON string.
#[must_use]
pub fn readable_key(key: &Key) -> String {
    readable(if key.is_typed() { key.array() } else { &key.0 })
}

/// The same, and before it the name of its entity type where the mapping has several: `order [42]`,
/// or `type 1 [42]` where the name is not known.
#[must_use]
pub fn named_key(entity: Option<&str>, key: &Key) -> String {
    let fields = readable_key(key);
    match entity {
        _ if !key.is_typed() => fields,
        Some(name) => format!("{name} {fields}"),
        None => format!("type {} {fields}", key.entity_type()),
    }
}

/// The same for a place in a side, whose relations are these: `[42,"de"]` for a row where there is one
/// relation, `order_lines(id) [42]` where there are several, `orders(id) [42]` for the rows of a group,
/// and `items(pk,sk) under ["SHOP","ORDER#"]` for whatever lies there. What a relation that is not known
/// is called is left out.
#[must_use]
pub fn readable_place(relations: &[RelationNames], at: &StoreKey) -> String {
    let (placed, array) = at.shown();
    let values = readable(array);
    let named = |of: &RelationNames, columns: &[String]| {
        // As many columns as there are values: a place may say only the first.
        let width = match Value::decode(array) {
            Ok(Value::List(values)) => values.len(),
            Ok(_) | Err(_) => columns.len(),
        };
        format!("{}({})", of.relation, columns.get(..width).unwrap_or(columns).join(","))
    };
    match placed {
        Placed::Row(relation) => match relations.get(relation) {
            Some(of) if relations.len() > 1 => format!("{} {values}", named(of, &of.key)),
            Some(_) | None => values,
        },
        Placed::Group => match relations.iter().find(|of| !of.group.is_empty()) {
            Some(of) => format!("{} {values}", named(of, &of.group)),
            None => format!("group {values}"),
        },
        Placed::Under(relation) => match relations.get(relation) {
            Some(of) => format!("{} under {values}", named(of, &of.key)),
            None => format!("under {values}"),
        },
    }
}

fn readable(bytes: &[u8]) -> String {
    let mut text = String::new();
    match Value::decode(bytes) {
        Ok(value) => json(&mut text, &value),
        Err(_undecodable) => quoted(&mut text, &hex(bytes)),
    }
    text
}

fn quoted(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// Points and spans of time are as stores write them. Other values that JSON does not have are objects
/// of one member that names them.
fn json(out: &mut String, value: &Value) {
    let named = |out: &mut String, name: &str, text: &str| {
        out.push_str("{\"");
        out.push_str(name);
        out.push_str("\":");
        quoted(out, text);
        out.push('}');
    };
    match value {
        Value::Null => out.push_str("null"),
        Value::JsonNull => named(out, "json", "null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::Float(float) => named(out, "float", &float.to_string()),
        Value::Text(text) => quoted(out, text),
        Value::Bytes(bytes) => named(out, "bytes", &hex(bytes)),
        Value::Timestamp(_) | Value::DateTime(_) | Value::Date(_) | Value::Time(_) => {
            quoted(out, &text::of_time(value).unwrap_or_default());
        }
        Value::List(values) => list(out, values),
        Value::Set(values) => {
            out.push_str("{\"set\":");
            list(out, values);
            out.push('}');
        }
        Value::Map(values) => {
            out.push('{');
            for (at, (name, value)) in values.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                quoted(out, name);
                out.push(':');
                json(out, value);
            }
            out.push('}');
        }
    }
}

fn list(out: &mut String, values: &[Value]) {
    out.push('[');
    for (at, value) in values.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { "," });
        json(out, value);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same<T: Word + PartialEq + std::fmt::Debug>(word: &T) {
        assert_eq!(T::from_text(&word.to_text()).as_ref(), Some(word));
    }

    proptest! {
        #[test]
        fn every_text_reads_back(
            digest in any::<u128>(),
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            micros in any::<i64>(),
            bounds in any::<(Option<i128>, Option<i128>)>(),
            segment in any::<(u32, u32)>(),
            float in any::<f64>(),
        ) {
            same(&Digest(digest));
            same(&MappingIdentity(digest));
            same(&Key(bytes.clone().into()));
            same(&StoreKey(bytes.into()));
            same(&Moment(micros));
            same(&float);
            let range = Extent::Range(Range { from: bounds.0, until: bounds.1 });
            let segment = Extent::Segment { index: segment.0, of: segment.1 };
            for extent in [range, segment] {
                same(&extent);
                same(&PartitionEnd::Continued(extent));
                for direction in [Direction::Aligned, Direction::FromSource, Direction::FromTarget] {
                    same(&Partition { direction, number: 7, extent });
                }
            }
        }
    }

    #[test]
    fn moments_are_iso_text() {
        assert_eq!(Moment(0).to_text(), "1970-01-01T00:00:00Z");
        assert_eq!(Moment(1_500_000).to_text(), "1970-01-01T00:00:01.5Z");
        assert_eq!(Moment(i64::MAX).to_text(), format!("@{}", i64::MAX));
    }

    #[test]
    fn what_is_no_word_is_refused() {
        assert_eq!(Digest::from_text("zz"), None);
        assert_eq!(Key::from_text("0"), None);
        assert_eq!(Key::from_text("+1"), None);
        assert_eq!(Extent::from_text("5-10"), None);
        assert_eq!(PartitionEnd::from_text("continued"), None);
        assert_eq!(DriftKind::from_text("Missing"), None);
    }

    #[test]
    fn keys_are_readable() {
        let key = |value: Value| readable_key(&Key(value.to_cbor().into()));
        let text = |text: &str| Value::Text(text.to_owned());
        let list = Value::List(vec![
            Value::Number(42i64.into()),
            text("a\"b"),
            Value::Bytes(vec![0xab]),
            Value::Timestamp(0),
            Value::Date(1),
            Value::DateTime(i64::MIN),
            Value::Time(-3_723_000_001),
            Value::Time(43_200_000_000),
        ]);
        assert_eq!(
            key(list),
            r#"[42,"a\"b",{"bytes":"ab"},"1970-01-01T00:00:00Z","1970-01-02","0000-00-00T00:00:00","-01:02:03.000001","12:00:00"]"#
        );
        assert_eq!(readable_key(&Key([0xff, 0x00].into())), r#""ff00""#);
    }

    #[test]
    fn places_are_told_with_their_relation_and_its_columns() {
        let list = |values: &[i64]| {
            let numbers = values.iter().map(|value| Value::Number((*value).into())).collect();
            Value::List(numbers).to_cbor()
        };
        let at = |head: &[u8], array: Vec<u8>| StoreKey([head, &array].concat().into());
        let relation = |name: &str, key: &[&str], group: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            RelationNames { relation: name.to_owned(), key: names(key), group: names(group) }
        };
        let alone = [relation("users", &["id"], &[])];
        let items = [relation("items", &["pk", "sk"], &["pk"])];
        let orders = [
            relation("orders", &["id"], &["id"]),
            relation("order_lines", &["order_id", "no"], &["order_id"]),
        ];
        let row = at(&[], list(&[42]));
        let line = at(&[0xd9, 0xd7, 0x06, 0x82, 1], list(&[42, 1]));
        let group = at(&StoreKey::OF_GROUP, list(&[15]));
        let under = at(&[0xd9, 0xd7, 0x08, 0x83, 0, 0xf5], list(&[15]));
        for (relations, at, expected) in [
            (&alone[..], &row, "[42]"),
            (&orders, &row, "orders(id) [42]"),
            (&orders, &line, "order_lines(order_id,no) [42,1]"),
            (&orders, &group, "orders(id) [15]"),
            (&items, &group, "items(pk) [15]"),
            (&items, &under, "items(pk) under [15]"),
            (&[], &line, "[42,1]"),
            (&[], &group, "group [15]"),
            (&[], &under, "under [15]"),
        ] {
            assert_eq!(readable_place(relations, at), expected);
        }
    }

    #[test]
    fn keys_of_one_of_several_types_are_named() {
        let array = Value::List(vec![Value::Number(17i64.into())]).to_cbor();
        let (plain, typed) = (Key(array.clone().into()), Key::of_type(1, &array));
        assert_eq!(named_key(Some("order"), &plain), "[17]");
        assert_eq!(named_key(Some("order"), &typed), "order [17]");
        assert_eq!(named_key(None, &typed), "type 1 [17]");
        assert_eq!(readable_key(&typed), "[17]");
    }
}
