//! JSON texts as dynamically typed cells.
//!
//! Owns reading of JSON, as the daemon reads it. Refuses floats: a number is as exact as it is written.
//! Invariant: what [`is_json`] takes, the daemon takes, and nothing else.

use std::collections::BTreeMap;

use crate::cell::{Cell, CellWriter, DEPTH_MAX};
use crate::decimal::Decimal;

/// Arrays and objects within each other, beyond which a text is none.
const NESTED_MAX: usize = 127;

/// Why a text makes no cell.
type Why = &'static str;

const NO_JSON: Why = "is no JSON";

/// Whether a text is JSON.
pub(crate) fn is_json(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok()
        && Reader { text, at: 0, is_narrow: false }.whole(None).is_ok()
}

/// Whether a JSON text has a number of more than 38 digits.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn has_wide_number(text: &[u8]) -> bool {
    Reader { text, at: 0, is_narrow: true }.whole(None).is_err()
}

/// Appends the cell that a text is, or says why it is none; then what was written is to be thrown away.
pub(crate) fn write(text: &[u8], out: &mut Vec<u8>) -> Result<(), Why> {
    Reader { text, at: 0, is_narrow: true }.whole(Some(out))
}

/// Reads a UTF-8 text.
struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    /// Whether numbers have at most 38 digits.
    is_narrow: bool,
}

impl Reader<'_> {
    fn whole(&mut self, out: Option<&mut Vec<u8>>) -> Result<(), Why> {
        self.value(0, out)?;
        self.blanks();
        if self.at == self.text.len() { Ok(()) } else { Err(NO_JSON) }
    }

    fn blanks(&mut self) {
        while self.text.get(self.at).is_some_and(|byte| b" \t\n\r".contains(byte)) {
            self.at += 1;
        }
    }

    /// Goes beyond `word`, if that is what comes.
    fn take(&mut self, word: &[u8]) -> bool {
        let is_next = self.text[self.at..].starts_with(word);
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    /// The same for a sign, which blanks may stand before.
    fn sign(&mut self, sign: &[u8]) -> bool {
        self.blanks();
        self.take(sign)
    }

    fn value(&mut self, depth: usize, out: Option<&mut Vec<u8>>) -> Result<(), Why> {
        if out.is_some() && depth > DEPTH_MAX {
            return Err("is nested too deeply");
        }
        self.blanks();
        match self.text.get(self.at) {
            Some(b'{' | b'[') if depth == NESTED_MAX => Err(NO_JSON),
            Some(b'{') => self.object(depth, out),
            Some(b'[') => self.array(depth, out),
            Some(b'"') => {
                let text = self.string()?;
                if let Some(out) = out {
                    CellWriter::new(out).text(&text);
                }
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => self.number(out),
            _ => {
                let words = [("null", Cell::Null), ("true", Cell::Boolean(true))];
                let mut words = words.into_iter().chain([("false", Cell::Boolean(false))]);
                let word = words.find(|(word, _)| self.take(word.as_bytes()));
                let (_, cell) = word.ok_or(NO_JSON)?;
                // Only as a whole document it is another one than the null of a store.
                let cell = if cell.is_null() && depth == 0 { Cell::JsonNull } else { cell };
                if let Some(out) = out {
                    CellWriter::new(out).cell(cell);
                }
                Ok(())
            }
        }
    }

    /// Items up to `end`, each read by `item`.
    fn items(
        &mut self,
        end: &[u8],
        mut item: impl FnMut(&mut Self) -> Result<(), Why>,
    ) -> Result<(), Why> {
        self.at += 1;
        if self.sign(end) {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.sign(end) {
                return Ok(());
            }
            if !self.sign(b",") {
                return Err(NO_JSON);
            }
        }
    }

    fn array(&mut self, depth: usize, out: Option<&mut Vec<u8>>) -> Result<(), Why> {
        let Some(out) = out else { return self.items(b"]", |json| json.value(depth + 1, None)) };
        let (mut items, mut len) = (Vec::new(), 0);
        self.items(b"]", |json| {
            len += 1;
            json.value(depth + 1, Some(&mut items))
        })?;
        CellWriter::new(out).list(len);
        out.extend_from_slice(&items);
        Ok(())
    }

    fn object(&mut self, depth: usize, out: Option<&mut Vec<u8>>) -> Result<(), Why> {
        let is_kept = out.is_some();
        // By the encodings of keys, which is their order in a cell. Of two of one key the last counts.
        let mut entries: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        self.items(b"}", |json| {
            json.blanks();
            if json.text.get(json.at) != Some(&b'"') {
                return Err(NO_JSON);
            }
            let name = json.string()?;
            if !json.sign(b":") {
                return Err(NO_JSON);
            }
            if !is_kept {
                return json.value(depth + 1, None);
            }
            let (mut key, mut value) = (Vec::new(), Vec::new());
            CellWriter::new(&mut key).text(&name);
            json.value(depth + 1, Some(&mut value))?;
            entries.insert(key, value);
            Ok(())
        })?;
        if let Some(out) = out {
            CellWriter::new(out).map(entries.len());
            entries.into_iter().for_each(|(key, value)| {
                out.extend_from_slice(&key);
                out.extend_from_slice(&value);
            });
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self, out: Option<&mut Vec<u8>>) -> Result<(), Why> {
        let start = self.at;
        self.take(b"-");
        let leads_with_zero = self.text.get(self.at) == Some(&b'0');
        let whole = self.digits();
        let is_whole = whole == 1 || whole > 1 && !leads_with_zero;
        if !is_whole || self.take(b".") && self.digits() == 0 {
            return Err(NO_JSON);
        }
        if self.take(b"e") || self.take(b"E") {
            _ = self.take(b"-") || self.take(b"+");
            if self.digits() == 0 {
                return Err(NO_JSON);
            }
        }
        if self.is_narrow {
            let number = Decimal::read(&self.text[start..self.at]).filter(|it| it.is_short());
            let number = number.ok_or("has a number of more than 38 digits")?;
            if let Some(out) = out {
                CellWriter::new(out).decimal(number);
            }
        }
        Ok(())
    }

    fn string(&mut self) -> Result<String, Why> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let byte = *self.text.get(self.at).ok_or(NO_JSON)?;
            self.at += 1;
            match byte {
                b'"' => return String::from_utf8(text).map_err(|_| NO_JSON),
                b'\\' => self.escape(&mut text)?,
                0..0x20 => return Err(NO_JSON),
                byte => text.push(byte),
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), Why> {
        let byte = *self.text.get(self.at).ok_or(NO_JSON)?;
        self.at += 1;
        text.push(match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut unit = self.unit()?;
                if (0xd800..0xdc00).contains(&unit) {
                    let low = if self.take(b"\\u") { self.unit()? } else { 0 };
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(NO_JSON);
                    }
                    unit = 0x1_0000 + ((unit - 0xd800) << 10 | (low - 0xdc00));
                }
                let char = char::from_u32(unit).ok_or(NO_JSON)?;
                text.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(NO_JSON),
        });
        Ok(())
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Result<u32, Why> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(NO_JSON)?;
        self.at += 4;
        let digit = |unit: u32, byte: &u8| Some(unit << 4 | char::from(*byte).to_digit(16)?);
        digits.iter().try_fold(0, digit).ok_or(NO_JSON)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> Result<Vec<u8>, Why> {
        let mut out = Vec::new();
        write(text.as_bytes(), &mut out).map(|()| out)
    }

    #[test]
    fn a_text_is_json_where_another_reader_says_so() {
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let mut texts: Vec<String> = vec![deep(64), deep(127), deep(128), deep(200)];
        texts.extend(
            [
                "null",
                " true ",
                "false",
                "tru",
                "nul",
                "",
                " ",
                "1",
                "-1",
                "-",
                "01",
                "1.",
                ".5",
                "1.5e",
                "1.5e+",
                "1.5e+3",
                "1E-9",
                "--1",
                "+1",
                "1 2",
                "[]",
                "[ ]",
                "[1,]",
                "[1 2]",
                "[,]",
                "[1",
                "{}",
                "{ }",
                r#"{"a":1}"#,
                r#"{"a":1,}"#,
                r#"{"a" 1}"#,
                r#"{a:1}"#,
                r#"{"a":1,"a":2}"#,
                r#""\u00e9\ud83d\ude00\n\/""#,
                r#""\ud83d""#,
                r#""\ude00""#,
                r#""\ud83dx""#,
                r#""\x""#,
                r#""a"#,
                "\"\n\"",
                "\"\u{7f}\"",
                "[1]x",
                "[]]",
                "'a'",
                "NaN",
                "123456789012345678901234567890123456789012345",
                r#"{"a":{"b":[{}]}}"#,
                r#"{"":""}"#,
                r#"{1:2}"#,
                r#""\u12g4""#,
                r#""\u12"#,
                "\u{feff}1",
                "\u{a0}1",
            ]
            .map(str::to_owned),
        );
        for text in texts {
            let known = serde_json::from_str::<serde_json::Value>(&text);
            assert_eq!(is_json(text.as_bytes()), known.is_ok(), "{text}");
        }
        assert!(!is_json(b"\"\xff\""));
    }

    #[test]
    fn numbers_are_exact_and_keys_are_sorted() {
        let bytes = cell(r#"{"bb": 12.50, "a": 18446744073709551615, "bb": 1e2}"#).unwrap();
        let map = Cell::read(&bytes).unwrap().map().unwrap();
        let keys: Vec<&str> = map.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a", "bb"]);
        assert_eq!(map.get("a"), Some(Cell::Decimal(Decimal::from(u64::MAX))));
        assert_eq!(map.get("bb"), Some(Cell::Integer(100)));
        let wide = "9".repeat(38);
        let digits = Cell::Decimal(wide.parse().unwrap());
        assert_eq!(Cell::read(&cell(&wide).unwrap()), Some(digits));
        let zeros = "1".to_owned() + &"0".repeat(60);
        let number = Cell::Decimal(Decimal::new(1, 60));
        assert_eq!(Cell::read(&cell(&zeros).unwrap()), Some(number));
        assert_eq!(cell(&(wide + "1")), Err("has a number of more than 38 digits"));
        let deep = "[".repeat(70) + &"]".repeat(70);
        assert_eq!((is_json(deep.as_bytes()), cell(&deep)), (true, Err("is nested too deeply")));
        assert_eq!(cell("{"), Err(NO_JSON));
        assert_eq!(Cell::read(&cell(" null ").unwrap()), Some(Cell::JsonNull));
        let bytes = cell("[null]").unwrap();
        let Some(Cell::List(items)) = Cell::read(&bytes) else { panic!("{bytes:?}") };
        assert_eq!(items.iter().collect::<Vec<_>>(), [Cell::Null]);
    }
}
