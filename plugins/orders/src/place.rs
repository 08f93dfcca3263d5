//! Where things lie in the table of items: `ORDER#7` is an order, and so is `ORDER#7@2024-01-02` in the
//! archive; `ORDER#7#LINE#1` is a line of it.

use driftd_plugin::prelude::*;

pub fn is_order(sk: &str) -> bool {
    sk.starts_with("ORDER#") && !sk.contains("#LINE#")
}

pub fn is_line(sk: &str) -> bool {
    sk.starts_with("ORDER#") && sk.contains("#LINE#")
}

pub fn order_id(sk: &str) -> Result<i64> {
    let rest = sk.strip_prefix("ORDER#").unwrap_or_default();
    let id = rest.split(['@', '#']).next().and_then(|id| id.parse().ok());
    id.ok_or_else(|| "sk has no number after ORDER#".into())
}

pub fn line_no(sk: &str) -> Result<i64> {
    let number = sk.split_once("#LINE#").and_then(|(_, number)| number.parse().ok());
    number.ok_or_else(|| "sk has no number after #LINE#".into())
}

pub fn customer(pk: &str) -> Result<Cow<'_, str>> {
    match pk.strip_prefix("CUSTOMER#").or_else(|| pk.strip_prefix("ARCHIVE#")) {
        Some(customer) => Ok(customer.into()),
        None => reject("pk is neither CUSTOMER# nor ARCHIVE# and a name"),
    }
}
